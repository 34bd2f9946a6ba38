//! Sealed frames on their way to a stream: some are added, then all are written at once.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::AsyncWrite;
use sotto_proto::limits::{COALESCED_CELLS, FRAME, STREAMS_PER_PATH};

use super::relay::poll_write_all;

/// The frames. No more than [`COALESCED_CELLS`], and what does not fit waits where it is; only OPEN does not wait.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
    /// Something was written and not flushed.
    unflushed: bool,
}

impl Outgoing {
    /// Whether one more frame fits.
    pub(super) const fn has_room(&self) -> bool {
        self.bytes.len() < COALESCED_CELLS * FRAME
    }

    /// Whether not even what does not wait for room is to be added.
    pub(super) const fn is_crowded(&self) -> bool {
        self.bytes.len() >= (COALESCED_CELLS + STREAMS_PER_PATH) * FRAME
    }

    /// Whether there is anything to be written or flushed.
    pub(super) const fn is_idle(&self) -> bool {
        self.bytes.is_empty() && !self.unflushed
    }

    /// Adds a frame that `seal` fills. With an error of it nothing is added.
    pub(super) fn push<E>(&mut self, seal: impl FnOnce(&mut [u8; FRAME]) -> Result<(), E>) -> Result<(), E> {
        let begin = self.bytes.len();
        self.bytes.resize(begin + FRAME, 0);
        let sealed = self.bytes.last_chunk_mut::<FRAME>().map_or(Ok(()), seal);
        if sealed.is_err() {
            self.bytes.truncate(begin);
        }
        sealed
    }

    /// Writes and flushes all of them.
    pub(super) fn poll<W: AsyncWrite + Unpin>(&mut self, to: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.bytes.is_empty() {
            self.unflushed = true;
            ready!(poll_write_all(to, &self.bytes, &mut self.written, cx))?;
            self.bytes.clear();
            self.written = 0;
        }
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_written_together_and_one_that_was_not_sealed_not_at_all() {
        let mut outgoing = Outgoing::default();
        for byte in 1..=3 {
            outgoing
                .push(|frame| {
                    if byte == 2 {
                        Err(())
                    } else {
                        frame.fill(byte);
                        Ok(())
                    }
                })
                .ok();
        }
        let mut written = futures::io::Cursor::new(Vec::new());
        let cx = &mut Context::from_waker(futures::task::noop_waker_ref());
        assert!(matches!(outgoing.poll(&mut written, cx), Poll::Ready(Ok(()))));
        assert_eq!(written.into_inner(), [[1; FRAME], [3; FRAME]].concat());
        assert!(outgoing.is_idle() && outgoing.has_room());
    }
}
