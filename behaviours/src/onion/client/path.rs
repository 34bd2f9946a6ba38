//! A path as its users see it, and the state that they share with its task.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;
use sotto_proto::cell::{Body, Destination, Minute, ResetReason, StreamId};
use sotto_proto::id::ChainId;
use sotto_proto::limits::{BODY_DATA, HOPS, STREAMS_PER_PATH};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::{PathEnd, StreamError};
use crate::clock::Clock;
use crate::onion::HopInfo;
use crate::onion::layers::ClientForward;
use crate::onion::outgoing::Outgoing;
use crate::onion::streams::{OpenError, StreamEvent, Streams};

/// How long the exit may not know of streams that nobody holds any more.
const LINGER: Duration = Duration::from_millis(500);
/// How many such streams there may be.
const ABANDONED: usize = STREAMS_PER_PATH / 2;

/// A path. Clones share it; it ends when the last of them and of its streams is dropped.
#[derive(Clone)]
pub struct Path(pub(super) Arc<Owner>);

/// What the users of a path share; its drop ends the path.
pub(super) struct Owner(pub(super) Arc<Handle>);

impl Drop for Owner {
    fn drop(&mut self) {
        let mut core = self.0.lock();
        core.wanted = false;
        core.wake();
    }
}

/// What users and task share.
pub(super) struct Handle {
    pub(super) core: Mutex<Core>,
    pub(super) hops: [HopInfo; HOPS],
    pub(super) chain: ChainId,
    pub(super) clock: Clock,
    pub(super) rng: Mutex<ChaCha20Rng>,
    pub(super) began: Instant,
    pub(super) new_streams: Duration,
    pub(super) end: watch::Receiver<Option<PathEnd>>,
    /// There may be room for a stream again, or the path has ended.
    pub(super) room: Notify,
}

impl Handle {
    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state behind the lock.
pub(super) struct Core {
    pub(super) streams: Streams,
    pub(super) open: BTreeMap<StreamId, Inbox>,
    /// Streams that nobody holds any more and that are not reset yet, and when they are at the latest.
    pub(super) abandoned: Vec<StreamId>,
    pub(super) reset_at: Option<Instant>,
    /// Somebody waits for room for a stream.
    pub(super) full: bool,
    pub(super) forward: ClientForward,
    pub(super) outgoing: Outgoing,
    pub(super) last_sent: Instant,
    pub(super) task: Option<Waker>,
    /// Whether anybody still holds the path.
    pub(super) wanted: bool,
    pub(super) end: Option<PathEnd>,
}

/// What came for a stream and was not taken yet: at most its credit.
#[derive(Default)]
pub(super) struct Inbox {
    data: VecDeque<Vec<u8>>,
    ended: bool,
    reset: Option<ResetReason>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Inbox {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl Core {
    fn wake(&mut self) {
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }

    /// Seals what the streams have to say, while there is room.
    pub(super) fn seal_control(&mut self) -> Result<(), PathEnd> {
        while self.outgoing.has_room()
            && let Some(body) = self.streams.poll_body()
        {
            self.seal(&body)?;
        }
        Ok(())
    }

    /// Seals what the streams have to say, and has it sent.
    fn say(&mut self) {
        // An error of the keys shows to the task, too, and ends the path there.
        let sealed = self.seal_control();
        if sealed.is_err() || !self.outgoing.is_idle() {
            self.wake();
        }
    }

    /// Nobody holds the stream any more. That the exit is told is not urgent, and costs less together with what goes there
    /// next: every cell alone wakes three hops.
    fn abandon(&mut self, stream: StreamId) {
        self.abandoned.push(stream);
        if self.abandoned.len() >= ABANDONED || std::mem::take(&mut self.full) {
            self.reset_abandoned();
            self.say();
        } else if self.reset_at.is_none() {
            self.reset_at = Some(Instant::now() + LINGER);
            self.wake();
        }
    }

    /// Resets the streams that nobody holds.
    pub(super) fn reset_abandoned(&mut self) {
        self.reset_at = None;
        for stream in std::mem::take(&mut self.abandoned) {
            self.streams.reset(stream, ResetReason::ClosedByDestination);
        }
    }

    pub(super) fn wake_writers(&mut self) {
        for writer in self.open.values_mut().filter_map(|inbox| inbox.writer.take()) {
            writer.wake();
        }
    }

    pub(super) fn seal(&mut self, body: &Body<'_>) -> Result<(), PathEnd> {
        self.last_sent = Instant::now();
        let forward = &mut self.forward;
        self.outgoing.push(|frame| forward.seal_body(body, frame)).map_err(|_| PathEnd::TooOld)
    }

    pub(super) fn on_event(&mut self, event: StreamEvent<'_>) {
        match event {
            StreamEvent::Data { stream, data } => match self.open.get_mut(&stream) {
                Some(inbox) => {
                    inbox.data.push_back(data.to_vec());
                    if let Some(reader) = inbox.reader.take() {
                        reader.wake();
                    }
                }
                // The stream was dropped here; its reset is on its way.
                None => self.streams.consumed(stream, 1),
            },
            StreamEvent::Credit { stream } => {
                if let Some(writer) = self.open.get_mut(&stream).and_then(|inbox| inbox.writer.take()) {
                    writer.wake();
                }
            }
            StreamEvent::Ended { stream } => {
                if let Some(inbox) = self.open.get_mut(&stream) {
                    inbox.ended = true;
                    inbox.wake();
                }
            }
            StreamEvent::Reset { stream, reason } => {
                if let Some(inbox) = self.open.get_mut(&stream) {
                    inbox.reset = Some(reason);
                    inbox.wake();
                }
            }
            // No exit opens streams; the state machine refuses that before it comes here.
            StreamEvent::Opened { stream, .. } => self.streams.reset(stream, ResetReason::Protocol),
        }
    }

    pub(super) fn finish(&mut self, end: PathEnd) {
        self.end = Some(end);
        for inbox in self.open.values_mut() {
            inbox.wake();
        }
    }
}

impl Path {
    /// The hops, from the guard on.
    #[must_use]
    pub fn hops(&self) -> &[HopInfo; HOPS] {
        &self.handle().hops
    }

    /// Whether this is a clone of the other.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How long ago it was built.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.handle().began.elapsed()
    }

    /// Open streams.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.handle().lock().open.len()
    }

    /// How it ended, if it did.
    #[must_use]
    pub fn end(&self) -> Option<PathEnd> {
        self.handle().lock().end
    }

    /// Waits for its end.
    pub async fn closed(&self) -> PathEnd {
        let mut end = self.handle().end.clone();
        let ended = end.wait_for(Option::is_some).await;
        ended.ok().and_then(|end| *end).unwrap_or(PathEnd::Closed)
    }

    /// Opens a stream; its first bytes travel with it.
    ///
    /// # Errors
    /// [`StreamError`] when the path has ended, takes no more streams, or the bytes do not fit.
    pub fn open(&self, destination: Destination<'_>, first: &[u8]) -> Result<PathStream, StreamError> {
        if first.len() > destination.first_bytes() {
            return Err(StreamError::TooLong);
        }
        if self.age() >= self.handle().new_streams {
            return Err(StreamError::TooOld);
        }
        let mut core = self.handle().lock();
        if let Some(end) = core.end {
            return Err(StreamError::Path(end));
        }
        // OPEN must go out now, in the order of its number.
        if core.outgoing.is_crowded() {
            return Err(StreamError::Full);
        }
        core.reset_abandoned();
        // The end of a stream must not be overtaken by the OPEN that takes its place, whether there is room or not: each
        // stream leaves a few cells at most.
        while let Some(body) = core.streams.poll_body() {
            core.seal(&body).map_err(StreamError::Path)?;
        }
        let opened = core.streams.open();
        core.full = opened == Err(OpenError::TooMany);
        let stream = opened.map_err(|error| match error {
            OpenError::TooMany => StreamError::Full,
            OpenError::Exhausted | OpenError::NotClient => StreamError::TooOld,
        })?;
        core.seal(&Body::Open { stream, destination, first }).map_err(StreamError::Path)?;
        core.open.insert(stream, Inbox::default());
        core.wake();
        drop(core);
        Ok(PathStream { path: self.clone(), stream, finished: false })
    }

    /// The same once the path has room for one more stream. Waits for as long as that takes: a caller has its own patience.
    ///
    /// # Errors
    /// [`StreamError`] when the path has ended, is too old, or the bytes do not fit.
    pub async fn open_in_turn(&self, destination: Destination<'_>, first: &[u8]) -> Result<PathStream, StreamError> {
        loop {
            // Asked for before the path is looked at, so that no room is missed.
            let mut room = pin!(self.handle().room.notified());
            room.as_mut().enable();
            match self.open(destination, first) {
                Err(StreamError::Full) => room.await,
                opened => return opened,
            }
        }
    }

    pub(crate) fn chain(&self) -> &ChainId {
        &self.handle().chain
    }

    pub(crate) fn minute(&self) -> Minute {
        self.handle().clock.now().wall.seconds().into()
    }

    pub(crate) fn rng(&self) -> MutexGuard<'_, ChaCha20Rng> {
        self.handle().rng.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn seed(&self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.rng().fill_bytes(&mut seed);
        seed
    }

    fn handle(&self) -> &Handle {
        &self.0.0
    }
}

impl fmt::Debug for Path {
    /// Nothing of its hops: they must not come into any log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Path").field("age", &self.age()).field("end", &self.end()).finish_non_exhaustive()
    }
}

/// A stream of a path. Dropped before its end it is reset.
pub struct PathStream {
    path: Path,
    stream: StreamId,
    finished: bool,
}

impl PathStream {
    /// The path it runs on.
    #[must_use]
    pub const fn path(&self) -> &Path {
        &self.path
    }

    /// Sends bytes, as few cells as they need. Waits for credit.
    ///
    /// # Errors
    /// [`StreamError`] when the stream or the path has ended.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        for cell in bytes.chunks(BODY_DATA) {
            poll_fn(|cx| self.poll_send(cell, cx)).await?;
        }
        Ok(())
    }

    fn poll_send(&self, data: &[u8], cx: &Context<'_>) -> Poll<Result<(), StreamError>> {
        let mut core = self.path.handle().lock();
        if let Some(error) = self.failed(&core) {
            return Poll::Ready(Err(error));
        }
        if !core.outgoing.has_room() || !core.streams.spend(self.stream) {
            if let Some(inbox) = core.open.get_mut(&self.stream) {
                inbox.writer = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let sealed = core.seal(&Body::Data { stream: self.stream, data });
        core.wake();
        Poll::Ready(sealed.map_err(StreamError::Path))
    }

    /// The next bytes; `None` after the destination's last.
    ///
    /// # Errors
    /// [`StreamError`] when the stream or the path has ended otherwise.
    pub async fn recv(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Vec<u8>>, StreamError>> {
        let mut core = self.path.handle().lock();
        let Some(inbox) = core.open.get_mut(&self.stream) else { return Poll::Ready(Ok(None)) };
        if let Some(data) = inbox.data.pop_front() {
            core.streams.consumed(self.stream, 1);
            core.say();
            return Poll::Ready(Ok(Some(data)));
        }
        if inbox.ended {
            return Poll::Ready(Ok(None));
        }
        if let Some(error) = self.failed(&core) {
            return Poll::Ready(Err(error));
        }
        if let Some(inbox) = core.open.get_mut(&self.stream) {
            inbox.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Says that no more bytes follow. More may still be received.
    pub fn end(&mut self) {
        let mut core = self.path.handle().lock();
        core.streams.end(self.stream);
        core.say();
        drop(core);
        self.finished = true;
    }

    fn failed(&self, core: &Core) -> Option<StreamError> {
        let reset = core.open.get(&self.stream).and_then(|inbox| inbox.reset).map(StreamError::Reset);
        reset.or_else(|| core.end.map(StreamError::Path))
    }
}

impl Drop for PathStream {
    fn drop(&mut self) {
        let mut core = self.path.handle().lock();
        let inbox = core.open.remove(&self.stream).unwrap_or_default();
        let done = inbox.ended && self.finished;
        // What nobody will read is consumed, too.
        core.streams.consumed(self.stream, u16::try_from(inbox.data.len()).unwrap_or(u16::MAX));
        if !done && core.streams.is_open(self.stream) {
            core.abandon(self.stream);
        } else {
            core.say();
        }
    }
}

impl fmt::Debug for PathStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathStream").field("stream", &self.stream).finish_non_exhaustive()
    }
}
