//! The exit's part of a path: bodies of cells on one side, tunnels to destinations on the other.
//!
//! ```text
//!           ┌────────────────────────── Exit: one task ──────────────────────────┐
//!           │ cells ─ open ─▶ Streams ─▶ queue (≤ credit) ─▶ tunnel 1 … 16       │
//!  middle ──┤                   │ WINDOW, END, RESET                              ├── destinations
//!           │ outgoing (≤ 8) ◀──┴──────── seal ◀── frame ◀── tunnel 1 … 16       │
//!           └────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A tunnel is read only while its stream has credit and the outgoing cells have room, and the path only while they
//! have room, so nothing grows: a slow client holds the tunnels up, a slow destination its own stream alone.

mod tunnel;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite, FutureExt as _};
use sotto_proto::cell::{Body, Destination, Direction, ResetReason, StreamId};
use sotto_proto::id::NodeId;
use sotto_proto::limits::STREAMS_PER_PATH;
use tokio::time::{Instant, Sleep, sleep, timeout};

use self::tunnel::Tunnel;
use super::books::{Bucket, Counted, Kind};
use super::build::HopKeys;
use super::control::OpenError;
use super::destination::{Policy, Verdict, server_dials};
use super::hop::Hop;
use super::keys::CellError;
use super::layers::{CellBuffer, HopBackward, HopForward};
use super::life::{End, Life, Write};
use super::outgoing::Outgoing;
use super::relay::{end_of, poll_fill};
use super::streams::{Side, StreamEvent, Streams};

/// The task of one path at its exit.
pub(super) struct Exit<'h, S> {
    hop: &'h Hop,
    sender: NodeId,
    path: S,
    forward: HopForward,
    cells: CellBuffer,
    backward: HopBackward,
    outgoing: Outgoing,
    streams: Streams,
    tunnels: Vec<Tunnel>,
    /// Which tunnel is read first, so that none is always last.
    turn: usize,
    dials: Bucket,
    life: Life,
    write: Write,
    /// Goes off when a tunnel's write may have been pending for too long.
    tunnel_timer: Option<Pin<Box<Sleep>>>,
    closing: Option<End>,
}

impl<'h, S: AsyncRead + AsyncWrite + Unpin> Exit<'h, S> {
    pub(super) fn new(hop: &'h Hop, sender: NodeId, path: S, keys: HopKeys, life: Life) -> Self {
        Self {
            hop,
            sender,
            path,
            forward: keys.forward,
            cells: CellBuffer::new(),
            backward: keys.backward,
            outgoing: Outgoing::default(),
            streams: Streams::new(Side::Exit, Arc::clone(&hop.credit)),
            tunnels: Vec::new(),
            turn: 0,
            dials: server_dials(),
            life,
            write: Write::default(),
            tunnel_timer: None,
            closing: None,
        }
    }

    /// Everything that can move, until nothing does.
    fn poll_exit(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let mut moved = false;
            while self.outgoing.has_room() {
                match self.poll_path(cx) {
                    Poll::Ready(Ok(())) => moved = true,
                    Poll::Ready(Err(end)) => return Poll::Ready(end),
                    Poll::Pending => break,
                }
            }
            moved |= self.poll_tunnels(cx);
            if let Err(error) = self.seal_control() {
                return Poll::Ready(end_of(&error));
            }
            match self.read_tunnels(cx) {
                Ok(read) => moved |= read,
                Err(error) => return Poll::Ready(end_of(&error)),
            }
            if !self.outgoing.is_idle() {
                match self.outgoing.poll(&mut self.path, cx) {
                    Poll::Ready(Ok(())) => moved = true,
                    Poll::Ready(Err(_)) => return Poll::Ready(End::PreviousClosed),
                    Poll::Pending => {
                        self.life.stalled(&mut self.write, cx);
                        break;
                    }
                }
                Life::moved(&mut self.write);
            }
            if !moved {
                break;
            }
        }
        if self.poll_stalled_tunnels(cx) {
            cx.waker().wake_by_ref();
        }
        self.life.poll_end(std::iter::once(&self.write), cx)
    }

    /// One batch of cells from the client.
    fn poll_path(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if !ready!(poll_fill(&mut self.cells, &mut self.path, cx)) {
            return Poll::Ready(Err(End::PreviousClosed));
        }
        if self.cells.whole() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.life.forward();
        let mut cells = std::mem::take(&mut self.cells);
        let result = self.take_cells(&mut cells);
        let full = cells.is_full();
        cells.advance();
        if full {
            cells.grow();
        }
        self.cells = cells;
        Poll::Ready(result)
    }

    fn take_cells(&mut self, cells: &mut CellBuffer) -> Result<(), End> {
        let opened = self.forward.open(cells).map_err(|error| end_of(&error))?;
        let now = self.hop.clock.monotonic();
        for body in cells.bodies(&opened) {
            let body = Body::read(Direction::Forward, body).map_err(|_| End::Violation)?;
            let event = self.streams.on_body(body, now).map_err(|_| End::Violation)?;
            if let Some(event) = event {
                self.on_event(event);
            }
        }
        Ok(())
    }

    fn on_event(&mut self, event: StreamEvent<'_>) {
        match event {
            StreamEvent::Opened { stream, destination, first } => self.open(stream, destination, first),
            StreamEvent::Data { stream, data } => match self.tunnel(stream) {
                Some(tunnel) => tunnel.queue(data),
                // Its destination has gone; the client hears of it.
                None => self.streams.consumed(stream, 1),
            },
            StreamEvent::Ended { stream } => {
                if let Some(tunnel) = self.tunnel(stream) {
                    tunnel.ended = true;
                }
            }
            StreamEvent::Reset { stream, .. } => self.tunnels.retain(|tunnel| tunnel.id != stream),
            StreamEvent::Credit { .. } => {}
        }
    }

    fn tunnel(&mut self, stream: StreamId) -> Option<&mut Tunnel> {
        self.tunnels.iter_mut().find(|tunnel| tunnel.id == stream)
    }

    fn open(&mut self, stream: StreamId, destination: Destination<'_>, first: &[u8]) {
        let verdict = self.judge(destination);
        let place = Arc::clone(&self.hop.books.exit_streams).try_acquire_owned();
        let link = match (verdict, place) {
            (Verdict::Refused(reason), _) => Err(reason),
            (_, Err(_)) => Err(ResetReason::Busy),
            // Those that are closed and still have bytes to write count, too.
            _ if self.tunnels.len() >= 2 * STREAMS_PER_PATH => Err(ResetReason::Busy),
            (Verdict::Node(node), Ok(place)) => Ok((self.to_node(node), place)),
            (Verdict::Unreachable, Ok(place)) => self.to_server().map(|link| (link, place)),
        };
        match link {
            Ok((link, place)) => {
                let mut tunnel = Tunnel::new(stream, link, place);
                if first.is_empty() {
                    self.streams.consumed(stream, 1);
                } else {
                    tunnel.queue(first);
                }
                self.tunnels.push(tunnel);
            }
            Err(reason) => self.reset(stream, reason),
        }
    }

    fn judge(&mut self, destination: Destination<'_>) -> Verdict {
        let view = self.hop.view.borrow();
        let policy = Policy {
            own: self.hop.own,
            sender: self.sender,
            listen: self.hop.listen,
            private_addresses: self.hop.private_addresses,
            view: &view,
        };
        policy.judge(destination, &mut self.dials, self.hop.clock.monotonic())
    }

    fn to_node(&self, node: NodeId) -> BoxFuture<'static, Result<Counted, ResetReason>> {
        let (control, deadline) = (self.hop.control.clone(), self.hop.deadlines.destination);
        async move {
            match timeout(deadline, control.open(node, Kind::Tunnel)).await {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(OpenError::Unreachable)) => Err(ResetReason::Unreachable),
                Ok(Err(OpenError::Busy)) => Err(ResetReason::Busy),
                Ok(Err(OpenError::Refused)) => Err(ResetReason::ClosedByDestination),
                Err(_) => Err(ResetReason::Timeout),
            }
        }
        .boxed()
    }

    /// Nodes have no way to servers yet; the answer is that of every failed dial, and takes as long.
    fn to_server(&self) -> Result<BoxFuture<'static, Result<Counted, ResetReason>>, ResetReason> {
        let place = Arc::clone(&self.hop.books.server_dials).try_acquire_owned().map_err(|_| ResetReason::Busy)?;
        let wait = self.hop.deadlines.dial_failure;
        Ok(async move {
            sleep(wait).await;
            drop(place);
            Err(ResetReason::Unreachable)
        }
        .boxed())
    }

    fn reset(&mut self, stream: StreamId, reason: ResetReason) {
        self.hop.metrics.stream_reset(reset_label(reason));
        self.streams.reset(stream, reason);
        // What was to be sent there is consumed by nobody; it must not count for ever.
        let left = self.tunnel(stream).map_or(0, |tunnel| tunnel.cells());
        self.streams.consumed(stream, left);
        self.tunnels.retain(|tunnel| tunnel.id != stream);
    }

    /// Opens tunnels and writes to them; whether anything moved.
    fn poll_tunnels(&mut self, cx: &mut Context<'_>) -> bool {
        let (mut moved, mut broken) = (false, Vec::new());
        for tunnel in &mut self.tunnels {
            match tunnel.poll_write(cx) {
                Poll::Ready(Ok(0)) => {}
                Poll::Ready(Ok(cells)) => {
                    self.streams.consumed(tunnel.id, cells);
                    moved = true;
                }
                Poll::Ready(Err(reason)) => broken.push((tunnel.id, reason)),
                Poll::Pending => {
                    if tunnel.stalled.is_some() && self.tunnel_timer.is_none() {
                        self.tunnel_timer = Some(Box::pin(sleep(self.hop.deadlines.write_stall)));
                    }
                }
            }
        }
        for (stream, reason) in broken {
            moved = true;
            self.reset(stream, reason);
        }
        let streams = &self.streams;
        self.tunnels.retain(|tunnel| streams.is_open(tunnel.id) || !tunnel.is_done());
        moved
    }

    /// WINDOW, END and RESET, while there is room.
    fn seal_control(&mut self) -> Result<(), CellError> {
        while self.outgoing.has_room()
            && let Some(body) = self.streams.poll_body()
        {
            self.outgoing.push(|frame| self.backward.seal_body(&body, frame))?;
        }
        Ok(())
    }

    /// Bytes of the destinations into cells, in turn, while there is room; whether there were any.
    fn read_tunnels(&mut self, cx: &mut Context<'_>) -> Result<bool, CellError> {
        let (mut moved, mut broken) = (false, Vec::new());
        let count = self.tunnels.len();
        for offset in 0..count {
            let index = (self.turn + offset) % count;
            let Some(tunnel) = self.tunnels.get_mut(index) else { continue };
            let stream = tunnel.id;
            while self.outgoing.has_room() && self.streams.credit(stream) > 0 {
                match tunnel.poll_read(cx) {
                    Poll::Ready(Ok(Some(data))) => {
                        moved = true;
                        if self.streams.spend(stream) {
                            let body = Body::Data { stream, data };
                            self.outgoing.push(|frame| self.backward.seal_body(&body, frame))?;
                        }
                    }
                    Poll::Ready(Ok(None)) => {
                        moved = true;
                        self.streams.end(stream);
                        break;
                    }
                    Poll::Ready(Err(reason)) => {
                        broken.push((stream, reason));
                        break;
                    }
                    Poll::Pending => break,
                }
            }
        }
        self.turn = self.turn.wrapping_add(1) % count.max(1);
        for (stream, reason) in broken {
            moved = true;
            self.reset(stream, reason);
        }
        Ok(moved)
    }

    /// Ends streams whose destination takes nothing; whether there were any.
    fn poll_stalled_tunnels(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(timer) = &mut self.tunnel_timer else { return false };
        if timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        let (now, patience) = (Instant::now(), self.hop.deadlines.write_stall);
        let (mut hopeless, mut next) = (Vec::new(), None::<Instant>);
        for tunnel in &self.tunnels {
            match tunnel.stalled.map(|since| since + patience) {
                Some(due) if due <= now => hopeless.push(tunnel.id),
                Some(due) => next = Some(next.map_or(due, |next| next.min(due))),
                None => {}
            }
        }
        self.tunnel_timer = next.map(|due| Box::pin(tokio::time::sleep_until(due)));
        let any = !hopeless.is_empty() || next.is_some();
        for stream in hopeless {
            self.reset(stream, ResetReason::Timeout);
        }
        // The new timer, or the cells of the resets, want another turn.
        any
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        ready!(self.outgoing.poll(&mut self.path, cx))?;
        Pin::new(&mut self.path).poll_close(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Exit<'_, S> {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let this = self.get_mut();
        let end = match this.closing {
            Some(end) => end,
            None => {
                let end = ready!(this.poll_exit(cx));
                let End::Destroyed(reason) = end else { return Poll::Ready(end) };
                this.tunnels.clear();
                if this.outgoing.push(|frame| this.backward.destroy(reason, frame)).is_err() {
                    return Poll::Ready(end);
                }
                this.closing = Some(end);
                end
            }
        };
        match this.poll_close(cx) {
            Poll::Ready(_) => Poll::Ready(end),
            Poll::Pending => {
                this.life.stalled(&mut this.write, cx);
                this.life.poll_stall(&this.write, cx)
            }
        }
    }
}

const fn reset_label(reason: ResetReason) -> &'static str {
    match reason {
        ResetReason::RefusedByPolicy => "refused",
        ResetReason::UnknownDestination => "unknown",
        ResetReason::Unreachable => "unreachable",
        ResetReason::ClosedByDestination => "closed",
        ResetReason::Timeout => "timeout",
        ResetReason::Busy => "busy",
        ResetReason::Protocol => "protocol",
    }
}
