//! The task of a path: moves frames between the shared state and the guard, and keeps the path's times.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;
use sotto_proto::cell::Body;
use sotto_proto::limits::{COALESCED_CELLS, FRAME};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use super::PathEnd;
use super::path::{Core, Handle};
use crate::onion::config::Deadlines;
use crate::onion::layers::{ClientBackward, FromPath};

/// Moves frames between the core and the guard.
pub(super) struct Task<S> {
    guard: S,
    handle: Arc<Handle>,
    backward: ClientBackward,
    deadlines: Deadlines,
    rng: ChaCha20Rng,
    frames: Vec<u8>,
    filled: usize,
    /// Since when the guard takes nothing.
    stalled: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    /// A cell goes out at least this long after the last.
    interval: Duration,
    /// The deepest DESTROY so far.
    destroyed: Option<PathEnd>,
    ended: watch::Sender<Option<PathEnd>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Task<S> {
    pub(super) fn new(
        guard: S,
        handle: Arc<Handle>,
        backward: ClientBackward,
        deadlines: Deadlines,
        rng: ChaCha20Rng,
        ended: watch::Sender<Option<PathEnd>>,
    ) -> Self {
        let mut task = Self {
            guard,
            handle,
            backward,
            deadlines,
            rng,
            frames: vec![0; FRAME],
            filled: 0,
            stalled: None,
            timer: Box::pin(sleep_until(Instant::now())),
            interval: Duration::ZERO,
            destroyed: None,
            ended,
        };
        task.interval = task.draw_interval();
        let first = Instant::now() + task.interval.min(task.deadlines.age);
        task.timer.as_mut().reset(first);
        task
    }

    fn draw_interval(&mut self) -> Duration {
        let (shortest, longest) = self.deadlines.keep_alive.clone().into_inner();
        let spread = u64::try_from(longest.saturating_sub(shortest).as_millis()).unwrap_or(u64::MAX);
        shortest + Duration::from_millis(self.rng.next_u64() % spread.saturating_add(1).max(1))
    }

    fn poll_path(&mut self, cx: &mut Context<'_>) -> Poll<PathEnd> {
        let handle = Arc::clone(&self.handle);
        let mut core = handle.lock();
        if core.task.as_ref().is_none_or(|task| !task.will_wake(cx.waker())) {
            core.task = Some(cx.waker().clone());
        }
        loop {
            let mut moved = false;
            while let Poll::Ready(read) = self.poll_frames(&mut core, cx) {
                match read {
                    Ok(()) => moved = true,
                    Err(end) => return Poll::Ready(self.destroyed.unwrap_or(end)),
                }
            }
            if !core.outgoing.is_idle() {
                // They go along.
                core.reset_abandoned();
            }
            if let Err(end) = core.seal_control() {
                return Poll::Ready(end);
            }
            if !core.outgoing.is_idle() {
                match core.outgoing.poll(&mut self.guard, cx) {
                    Poll::Ready(Ok(())) => {
                        self.stalled = None;
                        moved = true;
                        core.wake_writers();
                    }
                    Poll::Ready(Err(_)) => {
                        // What was said before the end is there by now.
                        while let Poll::Ready(Ok(())) = self.poll_frames(&mut core, cx) {}
                        return Poll::Ready(self.destroyed.unwrap_or(PathEnd::GuardClosed));
                    }
                    Poll::Pending => {
                        self.stall();
                        break;
                    }
                }
            }
            if !moved {
                break;
            }
            handle.room.notify_waiters();
        }
        if !core.wanted {
            return Poll::Ready(PathEnd::Closed);
        }
        self.poll_timer(&mut core, cx)
    }

    /// One read from the guard, and every whole frame of it.
    fn poll_frames(&mut self, core: &mut Core, cx: &mut Context<'_>) -> Poll<Result<(), PathEnd>> {
        let Some(space) = self.frames.get_mut(self.filled..) else { return Poll::Pending };
        match ready!(Pin::new(&mut self.guard).poll_read(cx, space)) {
            Ok(0) | Err(_) => return Poll::Ready(Err(PathEnd::GuardClosed)),
            Ok(read) => self.filled += read,
        }
        let (now, whole) = (self.handle.clock.monotonic(), self.filled / FRAME * FRAME);
        for frame in self.frames.get_mut(..whole).into_iter().flat_map(|frames| frames.chunks_exact_mut(FRAME)) {
            let Ok(frame) = <&mut [u8; FRAME]>::try_from(frame) else { continue };
            match self.backward.open(frame) {
                Ok(FromPath::Body(body)) => match core.streams.on_body(body, now) {
                    Ok(event) => event.into_iter().for_each(|event| core.on_event(event)),
                    Err(_) => return Poll::Ready(Err(PathEnd::Violation)),
                },
                Ok(FromPath::Destroy { position, reason }) => {
                    let deeper = match self.destroyed {
                        Some(PathEnd::Destroyed { position: known, .. }) => position > known,
                        _ => true,
                    };
                    if deeper {
                        self.destroyed = Some(PathEnd::Destroyed { position, reason });
                    }
                }
                Err(_) => return Poll::Ready(Err(PathEnd::Violation)),
            }
        }
        let full = self.filled == self.frames.len();
        self.frames.copy_within(whole..self.filled, 0);
        self.filled -= whole;
        if full && self.frames.len() < COALESCED_CELLS * FRAME {
            self.frames.resize(2 * self.frames.len(), 0);
        }
        Poll::Ready(Ok(()))
    }

    fn stall(&mut self) {
        let since = *self.stalled.get_or_insert_with(Instant::now);
        let due = since + self.deadlines.write_stall;
        if due < self.timer.deadline() {
            self.timer.as_mut().reset(due);
        }
    }

    /// Keep-alive, stall, age, and streams to be reset.
    fn poll_timer(&mut self, core: &mut Core, cx: &mut Context<'_>) -> Poll<PathEnd> {
        if let Some(at) = core.reset_at.filter(|at| *at < self.timer.deadline()) {
            self.timer.as_mut().reset(at);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let old = self.handle.began + self.deadlines.age;
            let stalled = self.stalled.map(|since| since + self.deadlines.write_stall);
            if old <= now {
                return Poll::Ready(PathEnd::TooOld);
            }
            if stalled.is_some_and(|at| at <= now) {
                return Poll::Ready(self.destroyed.unwrap_or(PathEnd::Stalled));
            }
            if core.reset_at.is_some_and(|at| at <= now) {
                core.reset_abandoned();
                cx.waker().wake_by_ref();
            }
            if core.last_sent + self.interval <= now && core.outgoing.has_room() {
                if let Err(end) = core.seal(&Body::Drop) {
                    return Poll::Ready(end);
                }
                self.interval = self.draw_interval();
                cx.waker().wake_by_ref();
            }
            // Where there is no room cells go out anyway.
            let quiet = (core.last_sent + self.interval).max(now + *self.deadlines.keep_alive.start() / 8);
            let next = stalled.into_iter().chain(core.reset_at).chain([old, quiet]).min().unwrap_or(old);
            self.timer.as_mut().reset(next);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Task<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let end = ready!(this.poll_path(cx));
        this.handle.lock().finish(end);
        this.handle.room.notify_waiters();
        this.ended.send_replace(Some(end));
        Poll::Ready(())
    }
}
