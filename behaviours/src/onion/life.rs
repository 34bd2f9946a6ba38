//! What ends a path at a hop besides its own two links: idleness, age, a write that does not move, the end of the host.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sotto_proto::cell::DestroyReason;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::config::Deadlines;
use super::stalls::{Stall, Stalls, Victim};

/// Why a path ended at this hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The link towards the client ended.
    PreviousClosed,
    /// Ended by this hop, which says why to the client.
    Destroyed(DestroyReason),
    /// A write was pending too long, or too many were.
    Stalled,
    /// A cell did not open, or broke a rule.
    Violation,
}

impl End {
    /// A fixed name for metrics and logs.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::PreviousClosed => "closed",
            Self::Destroyed(DestroyReason::NextClosed) => "next_closed",
            Self::Destroyed(DestroyReason::Idle) => "idle",
            Self::Destroyed(DestroyReason::TooOld) => "too_old",
            Self::Destroyed(DestroyReason::ShuttingDown) => "shutting_down",
            Self::Destroyed(DestroyReason::ChainBehind) => "chain_behind",
            Self::Stalled => "stalled",
            Self::Violation => "violation",
        }
    }
}

/// The times that a path keeps to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) idle: Duration,
    pub(super) age: Duration,
    pub(super) write_stall: Duration,
}

impl From<&Deadlines> for Times {
    fn from(deadlines: &Deadlines) -> Self {
        Self { idle: deadlines.idle, age: deadlines.age, write_stall: deadlines.write_stall }
    }
}

/// A write that may be pending.
#[derive(Debug, Default)]
pub(super) struct Write(Option<(Stall, Instant)>);

/// One path's clock at one hop. Its timer is set when it goes off, not whenever something moves, so that a cell costs
/// no timer.
pub(super) struct Life {
    times: Times,
    began: Instant,
    last_forward: Instant,
    timer: Pin<Box<Sleep>>,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    stalls: Arc<Stalls>,
    victim: Arc<Victim>,
}

impl Life {
    pub(super) fn new(times: Times, stalls: Arc<Stalls>, shutdown: CancellationToken) -> Self {
        let now = Instant::now();
        let first = now + times.idle.min(times.age);
        Self {
            times,
            began: now,
            last_forward: now,
            timer: Box::pin(tokio::time::sleep_until(first)),
            shutdown: Box::pin(shutdown.cancelled_owned()),
            stalls,
            victim: Arc::default(),
        }
    }

    /// A forward frame came.
    pub(super) fn forward(&mut self) {
        self.last_forward = Instant::now();
    }

    /// A write is pending.
    pub(super) fn stalled(&mut self, write: &mut Write, cx: &Context<'_>) {
        if write.0.is_some() {
            return;
        }
        let now = Instant::now();
        write.0 = Some((self.stalls.enter(&self.victim, cx), now));
        let due = now + self.times.write_stall;
        if due < self.timer.deadline() {
            self.timer.as_mut().reset(due);
        }
    }

    /// It moved.
    pub(super) fn moved(write: &mut Write) {
        write.0 = None;
    }

    /// Whether the last write of a path that ends is pending for too long.
    pub(super) fn poll_stall(&mut self, write: &Write, cx: &mut Context<'_>) -> Poll<End> {
        let Some(due) = write.0.as_ref().map(|(_, since)| *since + self.times.write_stall) else {
            return Poll::Pending;
        };
        if self.victim.is_chosen() {
            return Poll::Ready(End::Stalled);
        }
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(End::Stalled)
    }

    /// Whether the path is to end. To be asked last, after everything that could move has moved.
    pub(super) fn poll_end<'w>(
        &mut self,
        writes: impl Iterator<Item = &'w Write> + Clone,
        cx: &mut Context<'_>,
    ) -> Poll<End> {
        if self.victim.is_chosen() {
            return Poll::Ready(End::Stalled);
        }
        if self.shutdown.as_mut().poll(cx).is_ready() {
            return Poll::Ready(End::Destroyed(DestroyReason::ShuttingDown));
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            let stalled =
                writes.clone().filter_map(|write| write.0.as_ref()).map(|(_, since)| *since + self.times.write_stall);
            let (idle, old) = (self.last_forward + self.times.idle, self.began + self.times.age);
            let stalled = stalled.min();
            if stalled.is_some_and(|at| at <= now) {
                return Poll::Ready(End::Stalled);
            } else if old <= now {
                return Poll::Ready(End::Destroyed(DestroyReason::TooOld));
            } else if idle <= now {
                return Poll::Ready(End::Destroyed(DestroyReason::Idle));
            }
            self.timer.as_mut().reset(stalled.into_iter().chain([idle, old]).min().unwrap_or(old));
        }
    }
}
