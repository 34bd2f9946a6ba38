//! A guard's or middle's part of a path: cells from one stream to the other, one layer less or more.
//!
//! ```text
//!            ┌──────────────── Relay: one task ────────────────┐
//!  previous ─┼─▶ cells ─ open ─▶ write ───────────── next      │     ≤ 8 cells read, then one write, one flush
//!  previous ─┼──────────── write ◀─ seal ─ cells ◀── next      │     ≤ 8 cells read, then one write, one flush
//!            └──────────────────────────────────────────────────┘
//! ```
//!
//! Nothing lies between the two streams but these two buffers: a direction reads only after it has written, so what a
//! slow reader does not take stays with the sender. The directions never wait for each other, each has its own key,
//! and both live in one task: a cell that arrives wakes it once, and its end drops both streams, which resets them.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};
use sotto_proto::cell::DestroyReason;
use sotto_proto::limits::FRAME;

use super::keys::CellError;
use super::layers::{CellBuffer, HopBackward, HopForward, Opened};
use super::life::{End, Life, Write};

/// The task of one path at a hop that is not the exit.
pub(super) struct Relay<S> {
    previous: S,
    next: S,
    forward: Forward,
    backward: Backward,
    life: Life,
    closing: Option<Closing>,
}

/// Cells from the client.
struct Forward {
    keys: HopForward,
    cells: CellBuffer,
    /// A batch that is being written, and how far it is.
    batch: Option<(Opened, usize)>,
    write: Write,
    /// The next link takes no more. What it said before is still to be read, so the other direction ends the path.
    closed: bool,
}

/// Cells to the client.
struct Backward {
    keys: HopBackward,
    cells: CellBuffer,
    /// How many bytes of the batch that is being written are.
    batch: Option<usize>,
    write: Write,
}

/// The last cell to the client.
struct Closing {
    end: End,
    frame: Box<[u8; FRAME]>,
    written: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Relay<S> {
    pub(super) fn new(previous: S, next: S, forward: HopForward, backward: HopBackward, life: Life) -> Self {
        Self {
            previous,
            next,
            forward: Forward {
                keys: forward,
                cells: CellBuffer::new(),
                batch: None,
                write: Write::default(),
                closed: false,
            },
            backward: Backward { keys: backward, cells: CellBuffer::new(), batch: None, write: Write::default() },
            life,
            closing: None,
        }
    }

    /// Both directions, until one of them ends the path.
    fn poll_relay(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let forward = self.forward.poll(&mut self.previous, &mut self.next, &mut self.life, cx);
        if let Poll::Ready(end) = forward {
            return Poll::Ready(end);
        }
        let backward = self.backward.poll(&mut self.next, &mut self.previous, &mut self.life, cx);
        if let Poll::Ready(end) = backward {
            return Poll::Ready(end);
        }
        self.life.poll_end([&self.forward.write, &self.backward.write].into_iter(), cx)
    }

    /// Prepares the last cell, where there is one to be said.
    fn close(&mut self, end: End) -> Option<Closing> {
        let End::Destroyed(reason) = end else { return None };
        let mut frame = Box::new([0; FRAME]);
        self.backward.keys.destroy(reason, &mut frame).ok()?;
        Some(Closing { end, frame, written: 0 })
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was sealed before must go first.
        ready!(self.backward.poll_write(&mut self.previous, cx))?;
        if let Some(closing) = &mut self.closing {
            ready!(poll_write_all(&mut self.previous, &closing.frame[..], &mut closing.written, cx))?;
        }
        ready!(Pin::new(&mut self.previous).poll_flush(cx))?;
        Pin::new(&mut self.previous).poll_close(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Relay<S> {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let this = self.get_mut();
        if this.closing.is_none() {
            let end = ready!(this.poll_relay(cx));
            this.closing = this.close(end);
            if this.closing.is_none() {
                return Poll::Ready(end);
            }
        }
        let end = this.closing.as_ref().map_or(End::Violation, |closing| closing.end);
        match this.poll_close(cx) {
            Poll::Ready(_) => Poll::Ready(end),
            Poll::Pending => {
                this.life.stalled(&mut this.backward.write, cx);
                this.life.poll_stall(&this.backward.write, cx)
            }
        }
    }
}

impl Forward {
    fn poll<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        from: &mut S,
        to: &mut S,
        life: &mut Life,
        cx: &mut Context<'_>,
    ) -> Poll<End> {
        while !self.closed {
            if let Some((opened, written)) = &mut self.batch {
                let moved = poll_runs(to, || self.cells.relayed(opened), written, cx);
                if moved.is_pending() {
                    life.stalled(&mut self.write, cx);
                    return Poll::Pending;
                }
                Life::moved(&mut self.write);
                if ready!(moved).is_err() {
                    self.closed = true;
                    return Poll::Pending;
                }
                self.batch = None;
                if self.cells.is_full() {
                    self.cells.advance();
                    self.cells.grow();
                } else {
                    self.cells.advance();
                }
            }
            if !ready!(poll_fill(&mut self.cells, from, cx)) {
                return Poll::Ready(End::PreviousClosed);
            }
            if self.cells.whole() == 0 {
                continue;
            }
            life.forward();
            match self.keys.open(&mut self.cells) {
                Ok(opened) => self.batch = Some((opened, 0)),
                Err(error) => return Poll::Ready(end_of(&error)),
            }
        }
        Poll::Pending
    }
}

impl Backward {
    fn poll<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        from: &mut S,
        to: &mut S,
        life: &mut Life,
        cx: &mut Context<'_>,
    ) -> Poll<End> {
        loop {
            let moved = self.poll_write(to, cx);
            if moved.is_pending() {
                life.stalled(&mut self.write, cx);
                return Poll::Pending;
            }
            Life::moved(&mut self.write);
            if ready!(moved).is_err() {
                return Poll::Ready(End::PreviousClosed);
            }
            if !ready!(poll_fill(&mut self.cells, from, cx)) {
                return Poll::Ready(End::Destroyed(DestroyReason::NextClosed));
            }
            if self.cells.whole() == 0 {
                continue;
            }
            match self.keys.wrap(&mut self.cells) {
                Ok(_) => self.batch = Some(0),
                Err(error) => return Poll::Ready(end_of(&error)),
            }
        }
    }

    /// Writes the batch there is, if there is one.
    fn poll_write<W: AsyncWrite + Unpin>(&mut self, to: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(written) = &mut self.batch else { return Poll::Ready(Ok(())) };
        ready!(poll_write_all(to, self.cells.wrapped(), written, cx))?;
        ready!(Pin::new(to).poll_flush(cx))?;
        self.batch = None;
        let full = self.cells.is_full();
        self.cells.advance();
        if full {
            self.cells.grow();
        }
        Poll::Ready(Ok(()))
    }
}

/// What an error of the keys means for the path.
pub(super) fn end_of(error: &CellError) -> End {
    match error {
        CellError::Exhausted => End::Destroyed(DestroyReason::TooOld),
        CellError::Forged | CellError::Malformed(_) => End::Violation,
    }
}

/// Reads what there is into `cells`; whether the stream goes on.
pub(super) fn poll_fill<R: AsyncRead + Unpin>(
    cells: &mut CellBuffer,
    from: &mut R,
    cx: &mut Context<'_>,
) -> Poll<bool> {
    match Pin::new(from).poll_read(cx, cells.space()) {
        Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(false),
        Poll::Ready(Ok(read)) => {
            cells.filled(read);
            Poll::Ready(true)
        }
        Poll::Pending => {
            cells.rest();
            Poll::Pending
        }
    }
}

/// Writes `bytes` from `written` on.
pub(super) fn poll_write_all<W: AsyncWrite + Unpin>(
    to: &mut W,
    bytes: &[u8],
    written: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while let Some(rest) = bytes.get(*written..).filter(|rest| !rest.is_empty()) {
        match ready!(Pin::new(&mut *to).poll_write(cx, rest))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            more => *written += more,
        }
    }
    Poll::Ready(Ok(()))
}

/// Writes several runs of bytes, of which the first `written` bytes are done, and flushes.
fn poll_runs<'a, W, I>(
    to: &mut W,
    runs: impl Fn() -> I,
    written: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>>
where
    W: AsyncWrite + Unpin,
    I: Iterator<Item = &'a [u8]>,
{
    let mut before = 0;
    for run in runs() {
        let mut within = written.saturating_sub(before);
        let result = poll_write_all(to, run, &mut within, cx);
        *written = (*written).max(before + within.min(run.len()));
        ready!(result)?;
        before += run.len();
    }
    Pin::new(to).poll_flush(cx)
}
