//! One tunnel of an exit: from its opening to its end.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::{AsyncRead as _, AsyncWrite as _};
use sotto_proto::cell::{Frame, ResetReason, StreamId, read_tunnel_frame};
use sotto_proto::limits::{COALESCED_CELLS, FRAME};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::onion::books::Counted;
use crate::onion::relay::poll_write_all;

/// A stream of the path and where it leads.
pub(super) struct Tunnel {
    pub(super) id: StreamId,
    link: Link,
    /// Frames for the destination, a few in each piece.
    queue: VecDeque<Vec<u8>>,
    written: usize,
    unflushed: bool,
    pub(super) stalled: Option<Instant>,
    frame: Frame,
    filled: usize,
    /// The client sends no more.
    pub(super) ended: bool,
    /// The destination sends no more.
    eof: bool,
    closed: bool,
    /// Among the streams of this exit.
    _place: OwnedSemaphorePermit,
}

enum Link {
    Opening(BoxFuture<'static, Result<Counted, ResetReason>>),
    Open(Counted),
}

impl Tunnel {
    pub(super) fn new(
        id: StreamId,
        link: BoxFuture<'static, Result<Counted, ResetReason>>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            id,
            link: Link::Opening(link),
            queue: VecDeque::new(),
            written: 0,
            unflushed: false,
            stalled: None,
            frame: Frame::zeroed(),
            filled: 0,
            ended: false,
            eof: false,
            closed: false,
            _place: place,
        }
    }

    /// Adds the frame of a cell's bytes.
    pub(super) fn queue(&mut self, data: &[u8]) {
        // The piece in front may be partly written already; it still grows at its end.
        let piece = match self.queue.back_mut() {
            Some(piece) if piece.len() < COALESCED_CELLS * FRAME => piece,
            _ => {
                self.queue.push_back(Vec::with_capacity(FRAME));
                let Some(piece) = self.queue.back_mut() else { return };
                piece
            }
        };
        // A cell has from 1 to 1,992 bytes, as a frame has; nothing else comes here.
        if let Ok(length) = u16::try_from(data.len()) {
            let end = piece.len() + FRAME;
            piece.extend_from_slice(&length.to_be_bytes());
            piece.extend_from_slice(data);
            piece.resize(end, 0);
        }
    }

    /// Opens, writes, closes; the number of cells that left the queue.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<u16, ResetReason>> {
        if let Link::Opening(opening) = &mut self.link {
            match ready!(opening.as_mut().poll(cx)) {
                Ok(stream) => self.link = Link::Open(stream),
                Err(reason) => return Poll::Ready(Err(reason)),
            }
        }
        let Link::Open(stream) = &mut self.link else { return Poll::Pending };
        let mut cells = 0;
        while let Some(piece) = self.queue.front() {
            let before = self.written / FRAME;
            let result = poll_write_all(stream, piece, &mut self.written, cx);
            cells += self.written / FRAME - before;
            self.unflushed |= cells > 0;
            match result {
                Poll::Ready(Ok(())) => {
                    self.queue.pop_front();
                    self.written = 0;
                    self.stalled = None;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(ResetReason::ClosedByDestination)),
                Poll::Pending => {
                    if cells > 0 {
                        self.stalled = None;
                        break;
                    }
                    self.stalled.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
            }
        }
        if self.unflushed {
            match Pin::new(&mut *stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(ResetReason::ClosedByDestination)),
                Poll::Pending => {}
            }
        }
        if self.ended
            && self.queue.is_empty()
            && !self.closed
            && let Poll::Ready(closed) = Pin::new(stream).poll_close(cx)
        {
            self.closed = true;
            closed.map_err(|_| ResetReason::ClosedByDestination)?;
        }
        Poll::Ready(Ok(u16::try_from(cells).unwrap_or(u16::MAX)))
    }

    /// The bytes of the next frame; `None` at the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, ResetReason>> {
        let Link::Open(stream) = &mut self.link else { return Poll::Pending };
        if self.eof {
            return Poll::Pending;
        }
        if self.filled == FRAME {
            self.filled = 0;
        }
        while self.filled < FRAME {
            let Some(space) = self.frame.as_mut_bytes().get_mut(self.filled..) else { break };
            match ready!(Pin::new(&mut *stream).poll_read(cx, space)) {
                Ok(0) if self.filled == 0 => {
                    self.eof = true;
                    return Poll::Ready(Ok(None));
                }
                Ok(0) | Err(_) => {
                    self.eof = true;
                    return Poll::Ready(Err(ResetReason::ClosedByDestination));
                }
                Ok(read) => self.filled += read,
            }
        }
        Poll::Ready(read_tunnel_frame(&self.frame).map(Some).map_err(|_| ResetReason::Protocol))
    }

    /// Cells whose bytes are not written yet.
    pub(super) fn cells(&self) -> u16 {
        let bytes: usize = self.queue.iter().map(Vec::len).sum();
        u16::try_from(bytes / FRAME - self.written / FRAME).unwrap_or(u16::MAX)
    }

    /// Whether all that the client sent has gone.
    pub(super) fn is_done(&self) -> bool {
        self.queue.is_empty() && (self.closed || !self.ended)
    }
}
