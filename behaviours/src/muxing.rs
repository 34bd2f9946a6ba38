//! Yamux with bounds on what a peer opens: a stream costs memory before anybody has read a byte of it.
//!
//! Into each stream that it opens a peer may send 256 KiB, whether anybody reads them or not, and libp2p keeps 256 such
//! streams for each connection until somebody takes them. Here:
//!
//! | what | bound |
//! | --- | --- |
//! | streams of one connection that nobody has taken yet | [`limits::WAITING_STREAMS`] |
//! | those of all connections, the first of each left out | [`limits::WAITING_STREAMS_OF_ALL`] |
//! | streams that the peer has open | [`limits::INBOUND_STREAMS_OF_NODE`], [`limits::INBOUND_STREAMS_OF_STRANGER`] |
//! | streams that ended while a node reads nothing | as many again, then the connection ends |
//! | bytes of one frame | [`limits::YAMUX_FRAME`], or the connection ends (see `frames`) |
//! | frames that break Yamux' rules | one: the connection ends, which Yamux by itself only announces |
//!
//! What is beyond the first three is reset, and nothing else on the connection notices. The fourth is there because Yamux
//! keeps a stream, and what comes in on it, until its reset is sent, which a peer that reads nothing can put off. From a
//! stranger nothing is read while it does that. Between nodes this would not do: both could wait for each other.

mod frames;

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use futures::{AsyncRead, AsyncWrite, future};
use libp2p::core::UpgradeInfo;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::yamux;
use prometheus_client::metrics::counter::Counter;
use sotto_proto::limits;
use tokio::task::AbortHandle;

use self::frames::Frames;

/// What all connections of a host share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    /// Places for streams that wait, beyond the first of each connection.
    places: Arc<AtomicUsize>,
    refused: Counter,
}

impl Shared {
    /// `refused` counts the streams that were reset.
    pub(crate) fn new(refused: Counter) -> Self {
        Self { places: Arc::new(AtomicUsize::new(limits::WAITING_STREAMS_OF_ALL)), refused }
    }

    fn take_place(&self) -> Option<Place> {
        let taken = self.places.fetch_update(Relaxed, Relaxed, |free| free.checked_sub(1));
        taken.is_ok().then(|| Place(Arc::clone(&self.places)))
    }
}

/// One of the places of [`Shared`], until it is dropped.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Negotiates Yamux and puts the bounds on it.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    yamux: yamux::Config,
    is_node: bool,
    shared: Shared,
}

impl Config {
    /// For a connection with a node, or with anybody else.
    pub(crate) fn new(is_node: bool, shared: Shared) -> Self {
        let mut yamux = yamux::Config::default();
        yamux.set_max_num_streams(limits::YAMUX_STREAMS);
        Self { yamux, is_node, shared }
    }

    fn bounded<C>(is_node: bool, shared: Shared, yamux: yamux::Muxer<Wire<C>>, tally: Arc<Tally>) -> Muxer<C>
    where
        C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let open = if is_node { limits::INBOUND_STREAMS_OF_NODE } else { limits::INBOUND_STREAMS_OF_STRANGER };
        Muxer::new(Connection {
            yamux,
            tally,
            open,
            shared,
            waiting: VecDeque::new(),
            taker: None,
            driver: None,
            handed: false,
            failed: None,
        })
    }
}

impl UpgradeInfo for Config {
    type Info = <yamux::Config as UpgradeInfo>::Info;
    type InfoIter = <yamux::Config as UpgradeInfo>::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.yamux.protocol_info()
    }
}

impl<C> InboundConnectionUpgrade<C> for Config
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = future::Ready<io::Result<Muxer<C>>>;

    fn upgrade_inbound(self, io: C, info: Self::Info) -> Self::Future {
        let (wire, tally) = Wire::new(io, !self.is_node);
        let yamux = self.yamux.upgrade_inbound(wire, info).into_inner();
        future::ready(yamux.map(|yamux| Self::bounded(self.is_node, self.shared, yamux, tally)))
    }
}

impl<C> OutboundConnectionUpgrade<C> for Config
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = future::Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, io: C, info: Self::Info) -> Self::Future {
        let (wire, tally) = Wire::new(io, !self.is_node);
        let yamux = self.yamux.upgrade_outbound(wire, info).into_inner();
        future::ready(yamux.map(|yamux| Self::bounded(self.is_node, self.shared, yamux, tally)))
    }
}

/// What is known of one connection, by its streams and by what they travel on.
#[derive(Debug, Default)]
struct Tally {
    /// Streams that the peer opened and that are still held here.
    open: AtomicUsize,
    /// Whether something is written that the peer's side has no room for.
    stalled: AtomicBool,
    /// Streams that ended since then.
    unsent: AtomicUsize,
}

/// A Yamux connection within the bounds, as libp2p sees it.
///
/// A task of its own drives it. libp2p polls all protocols of a connection and compares their names whenever its task is
/// woken; most frames are cells of paths, which concern none of them.
#[derive(Debug)]
pub(crate) struct Muxer<C> {
    connection: Arc<Mutex<Connection<C>>>,
    driver: AbortHandle,
}

/// What libp2p's task and the driver share. Neither holds it across a wait.
#[derive(Debug)]
struct Connection<C> {
    yamux: yamux::Muxer<Wire<C>>,
    tally: Arc<Tally>,
    /// Streams that the peer may have open.
    open: usize,
    shared: Shared,
    waiting: VecDeque<(Stream, Option<Place>)>,
    /// libp2p's task.
    taker: Option<Waker>,
    driver: Option<Waker>,
    /// A stream was kept, and libp2p's task has not looked since: the driver waits for it, so that streams do not become
    /// too many while it is on its way.
    handed: bool,
    /// How it ended, until libp2p's task is told.
    failed: Option<io::Error>,
}

/// A peer that opens streams, or has them ended, and reads nothing.
#[derive(Debug, thiserror::Error)]
#[error("the peer reads nothing while {0} of its streams ended")]
struct ReadsNothing(usize);

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> Muxer<C> {
    fn new(connection: Connection<C>) -> Self {
        let connection = Arc::new(Mutex::new(connection));
        let driven = Arc::clone(&connection);
        let driver = tokio::spawn(async move {
            let driven = Driven(driven);
            future::poll_fn(|cx| lock(&driven.0).drive(cx)).await;
        });
        Self { connection, driver: driver.abort_handle() }
    }
}

/// A connection as long as its driver lives.
struct Driven<C>(Arc<Mutex<Connection<C>>>);

impl<C> Drop for Driven<C> {
    /// However it ended, a panic included: nobody waits for a connection that nobody drives.
    fn drop(&mut self) {
        let mut connection = lock(&self.0);
        connection.failed.get_or_insert_with(|| io::ErrorKind::ConnectionAborted.into());
        connection.wake_taker();
    }
}

impl<C> Drop for Muxer<C> {
    fn drop(&mut self) {
        self.driver.abort();
        // The task goes in its own time; places are free now.
        lock(&self.connection).waiting.clear();
    }
}

fn lock<C>(connection: &Mutex<Connection<C>>) -> MutexGuard<'_, Connection<C>> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Registers the waker of the task that polls.
fn register(waker: &mut Option<Waker>, cx: &Context<'_>) {
    match waker {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *waker = Some(cx.waker().clone()),
    }
}

impl<C> Connection<C> {
    fn wake_taker(&self) {
        if let Some(taker) = &self.taker {
            taker.wake_by_ref();
        }
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + 'static> Connection<C> {
    /// Yamux' own `poll` would keep what comes in; asking for the next inbound stream drives the connection as well.
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        register(&mut self.driver, cx);
        while !self.handed {
            match ready!(self.check().map_or_else(|error| Poll::Ready(Err(error)), |()| self.accept(cx))) {
                Ok(Some(stream)) => self.keep(stream),
                // Leaves the turn to others and asks for another.
                Ok(None) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Err(error) => {
                    self.failed = Some(error);
                    self.wake_taker();
                    return Poll::Ready(());
                }
            }
        }
        Poll::Pending
    }

    /// One more stream, or `None` in place of one too many.
    fn accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Stream>>> {
        let stream = ready!(Pin::new(&mut self.yamux).poll_inbound(cx))?;
        let stream = Stream { yamux: stream, _held: Some(Held::new(&self.tally)) };
        if self.tally.open.load(Relaxed) > self.open {
            self.shared.refused.inc();
            return Poll::Ready(Ok(None));
        }
        Poll::Ready(Ok(Some(stream)))
    }

    /// Keeps a stream until somebody takes it, if there is room.
    fn keep(&mut self, stream: Stream) {
        let place = if self.waiting.is_empty() { None } else { self.shared.take_place() };
        if self.waiting.len() >= limits::WAITING_STREAMS || (place.is_none() && !self.waiting.is_empty()) {
            self.shared.refused.inc();
        } else {
            self.waiting.push_back((stream, place));
        }
        self.handed = true;
        self.wake_taker();
    }

    /// libp2p's task looks for streams, or at how the connection does.
    fn looked(&mut self, cx: &Context<'_>) -> io::Result<()> {
        register(&mut self.taker, cx);
        self.failed.take().map_or(Ok(()), Err)
    }

    /// The driver may keep another stream.
    fn take_turn(&mut self) {
        if std::mem::take(&mut self.handed) {
            self.wake_driver();
        }
    }

    fn wake_driver(&self) {
        if let Some(driver) = &self.driver {
            driver.wake_by_ref();
        }
    }

    fn check(&self) -> io::Result<()> {
        let unsent = self.tally.unsent.load(Relaxed);
        if unsent > self.open {
            return Err(io::Error::other(ReadsNothing(unsent)));
        }
        Ok(())
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + 'static> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = io::Error;

    fn poll_inbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let mut connection = lock(&self.connection);
        if let Some((stream, _)) = connection.waiting.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        connection.looked(cx)?;
        connection.take_turn();
        Poll::Pending
    }

    fn poll_outbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let mut connection = lock(&self.connection);
        connection.looked(cx)?;
        let stream = ready!(Pin::new(&mut connection.yamux).poll_outbound(cx))?;
        // Yamux looks at a new stream when it is driven the next time.
        connection.wake_driver();
        Poll::Ready(Ok(Stream { yamux: stream, _held: None }))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // From here on this task alone is woken by what the peer takes.
        self.driver.abort();
        let mut connection = lock(&self.connection);
        // A driver that is just being polled comes too late to do anything.
        connection.handed = true;
        Pin::new(&mut connection.yamux).poll_close(cx).map_err(Into::into)
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let mut connection = lock(&self.connection);
        connection.looked(cx)?;
        connection.take_turn();
        Poll::Pending
    }
}

/// A stream.
#[derive(Debug)]
pub(crate) struct Stream {
    yamux: yamux::Stream,
    /// Of an inbound one; dropped after the stream itself.
    _held: Option<Held>,
}

/// Counts an inbound stream.
#[derive(Debug)]
struct Held(Arc<Tally>);

impl Held {
    fn new(tally: &Arc<Tally>) -> Self {
        tally.open.fetch_add(1, Relaxed);
        Self(Arc::clone(tally))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
        if self.0.stalled.load(Relaxed) {
            self.0.unsent.fetch_add(1, Relaxed);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().yamux).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().yamux).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().yamux).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().yamux).poll_close(cx)
    }
}

/// What Yamux writes to: notes whether the peer takes it, and sends together what Yamux writes in one turn.
///
/// Yamux flushes after each frame, which would encrypt, send and wake the peer for each of them. It reads only when it has
/// nothing more to write, so what it wrote goes then.
#[derive(Debug)]
struct Wire<C> {
    io: C,
    tally: Arc<Tally>,
    /// Whether Yamux has asked for a flush that was not made yet, and written nothing since.
    flush_due: bool,
    /// Whether nothing is read until the peer does.
    patient: bool,
    received: Frames,
    sent: Frames,
}

/// A peer that broke Yamux' rules.
#[derive(Debug, thiserror::Error)]
#[error("the peer broke the rules of Yamux")]
struct RulesBroken;

impl<C> Wire<C> {
    fn new(io: C, patient: bool) -> (Self, Arc<Tally>) {
        let tally = Arc::<Tally>::default();
        let (received, sent) = (Frames::default(), Frames::default());
        (Self { io, tally: Arc::clone(&tally), flush_due: false, patient, received, sent }, tally)
    }

    fn note<T>(&self, written: &Poll<T>) {
        if written.is_pending() {
            self.tally.stalled.store(true, Relaxed);
        }
    }
}

impl<C: AsyncWrite + Unpin> Wire<C> {
    /// Sends what was written, unless there is more to write first.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.flush_due {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.note(&flushed);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.flush_due = false;
            self.tally.stalled.store(false, Relaxed);
            self.tally.unsent.store(0, Relaxed);
        }
        flushed
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<C> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Poll::Ready(Err(error)) = this.send(cx) {
            return Poll::Ready(Err(error));
        }
        if this.sent.farewell() {
            return Poll::Ready(Err(io::Error::other(RulesBroken)));
        }
        if this.patient && this.tally.stalled.load(Relaxed) {
            // The writing has asked to be woken.
            return Poll::Pending;
        }
        let read = ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
        this.received.note(buffer.get(..read).unwrap_or_default()).map_err(io::Error::other)?;
        Poll::Ready(Ok(read))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Wire<C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.flush_due = false;
        this.note(&written);
        if let Poll::Ready(Ok(count)) = &written {
            this.sent.note(bytes.get(..*count).unwrap_or_default()).map_err(io::Error::other)?;
        }
        written
    }

    /// Nothing yet: the next read sends it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().flush_due = true;
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_close(cx)
    }
}

#[cfg(test)]
mod tests;
