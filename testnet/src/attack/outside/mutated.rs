//! A connection that changes what is written to it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite};
use rand_core::Rng;

use super::super::Tally;

/// What is done to the bytes that are written. Positions count from the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The bits of the mask are flipped in one byte.
    Flip {
        /// Which byte.
        at: u64,
        /// Which bits.
        mask: u8,
    },
    /// Two bytes become these, such as a length of 65,535.
    Length {
        /// The first of them.
        at: u64,
        /// What they become.
        to: [u8; 2],
    },
    /// From here on nothing is sent any more.
    Cut {
        /// Bytes that are sent.
        at: u64,
    },
    /// From there on each byte is one more.
    Increment {
        /// From which byte on.
        at: u64,
    },
}

impl Change {
    /// A change among the first `length` bytes.
    pub(super) fn draw(rng: &mut impl Rng, length: u64) -> Self {
        let at = rng.next_u64() % length.max(1);
        let byte = |rng: &mut dyn Rng| rng.next_u64().to_le_bytes()[0];
        match rng.next_u64() % 8 {
            0 => Self::Cut { at },
            1 => Self::Length { at, to: [0xff, 0xff] },
            2 => Self::Length { at, to: [0, byte(rng)] },
            3 => Self::Increment { at },
            _ => Self::Flip { at, mask: 1 << (byte(rng) % 8) },
        }
    }

    /// Changes `bytes`, the first of which is at `position`; returns how many of them are sent.
    pub(super) fn apply(self, position: u64, bytes: &mut [u8]) -> usize {
        let place = |at: u64| usize::try_from(at.checked_sub(position)?).ok();
        match self {
            Self::Flip { at, mask } => {
                if let Some(byte) = place(at).and_then(|place| bytes.get_mut(place)) {
                    *byte ^= mask;
                }
            }
            Self::Length { at, to } => {
                for (at, to) in (at..).zip(to) {
                    if let Some(byte) = place(at).and_then(|place| bytes.get_mut(place)) {
                        *byte = to;
                    }
                }
            }
            Self::Cut { at } => {
                return usize::try_from(at.saturating_sub(position)).unwrap_or(usize::MAX).min(bytes.len());
            }
            Self::Increment { at } => {
                let from = usize::try_from(at.saturating_sub(position)).unwrap_or(usize::MAX).min(bytes.len());
                bytes[from..].iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
            }
        }
        bytes.len()
    }
}

/// The connection; counts what it lets through.
pub(super) struct Mutated<S> {
    io: S,
    change: Change,
    written: u64,
    tally: Arc<Tally>,
}

impl<S> Mutated<S> {
    pub(super) const fn new(io: S, change: Change, tally: Arc<Tally>) -> Self {
        Self { io, change, written: 0, tally }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Mutated<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Mutated<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut changed = bytes.to_vec();
        let sent = this.change.apply(this.written, &mut changed);
        let taken = if sent == 0 {
            // Cut off: whoever writes thinks that it was sent.
            bytes.len()
        } else {
            std::task::ready!(Pin::new(&mut this.io).poll_write(cx, &changed[..sent]))?
        };
        this.written += taken as u64;
        this.tally.sent(1, taken.min(sent));
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::AsyncWriteExt as _;
    use futures::io::Cursor;
    use tokio_util::sync::CancellationToken;

    use super::*;

    async fn written(change: Change) -> Vec<u8> {
        let tally = Arc::new(Tally::new(None, None, CancellationToken::new()));
        let mut io = Mutated::new(Cursor::new(Vec::new()), change, tally);
        for piece in [&b"abcd"[..], b"efgh", b"ijkl"] {
            io.write_all(piece).await.unwrap();
        }
        io.io.into_inner()
    }

    #[tokio::test]
    async fn one_thing_is_changed_wherever_the_pieces_begin() {
        assert_eq!(written(Change::Flip { at: 5, mask: 0x20 }).await, b"abcdeFghijkl");
        assert_eq!(written(Change::Length { at: 3, to: *b"XY" }).await, b"abcXYfghijkl");
        assert_eq!(written(Change::Cut { at: 6 }).await, b"abcdef");
        assert_eq!(written(Change::Cut { at: 8 }).await, b"abcdefgh");
        assert_eq!(written(Change::Increment { at: 10 }).await, b"abcdefghijlm");
    }
}
