//! A node's side of paths, from the build to the task that relays.
//!
//! ```text
//! Handler ─ stream ─▶ accept: caps ─▶ task: build frame ─ head ─ replay ─ Noise ─ time ─ position ─ next ─ limits
//!                                          │                                                   │ fails: reply, close
//!                                          │ fails: reset, nothing said            guard, middle: Relay   exit: Exit
//! ```
//!
//! | what | bound |
//! | --- | --- |
//! | path hops of the node | [`Caps::hops`] |
//! | paths of one client connection, of one neighbour | [`Caps::paths_per_client`], [`Caps::paths_per_neighbour`] |
//! | pending builds of clients, of one neighbour | [`Caps::pending_client_builds`], [`Caps::pending_neighbour_builds`] |
//! | builds of one client connection | a bucket for served ones, one for refusals; beyond both nothing is read |
//! | answers that tunnels have and have not sent | [`Caps::answer_bytes`] |
//! | memory of a path | two buffers of one cell, of eight under bulk |
//!
//! [`Caps::answer_bytes`]: super::config::Caps::answer_bytes
//! [`Caps::hops`]: super::config::Caps::hops
//! [`Caps::paths_per_client`]: super::config::Caps::paths_per_client
//! [`Caps::paths_per_neighbour`]: super::config::Caps::paths_per_neighbour
//! [`Caps::pending_client_builds`]: super::config::Caps::pending_client_builds
//! [`Caps::pending_neighbour_builds`]: super::config::Caps::pending_neighbour_builds

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::Stream;
use rand_chacha::ChaCha20Rng;
use sotto_proto::cell::{Frame, Minute, Position, Status};
use sotto_proto::chain::NodeState;
use sotto_proto::id::{ChainId, NodeId};
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::network::NetworkView;
use sotto_proto::time::{Monotonic, UnixSeconds};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::books::{Allowed, Books, Builds, Counted, Kind};
use super::build::{ArrivedBuild, HopKeys, HopSecrets, OpenedBuild};
use super::config::{Caps, Deadlines};
use super::control::{Control, OpenError};
use super::exit::Exit;
use super::life::{Life, Times};
use super::relay::Relay;
use super::replay::ReplayRefusal;
use super::replays::Replays;
use super::stalls::Stalls;
use super::streams::CreditBudget;
use crate::clock::Clock;
use crate::line::Line;
use crate::metrics::Metrics;
use crate::tunnel::server::{self, TunnelEvent, Tunnels};

/// What a node needs for other people's paths and tunnels; shared by all their tasks.
pub(crate) struct Hop {
    pub(crate) chain: ChainId,
    pub(crate) own: NodeId,
    /// Where this node listens: no exit dials that.
    pub(crate) listen: Option<NodeAddr>,
    pub(crate) private_addresses: bool,
    pub(crate) view: watch::Receiver<Arc<NetworkView>>,
    pub(crate) secrets: watch::Receiver<Arc<HopSecrets>>,
    pub(crate) replays: Replays,
    pub(crate) clock: Clock,
    pub(crate) control: Control,
    pub(crate) deadlines: Deadlines,
    pub(crate) books: NodeBooks,
    pub(crate) stalls: Arc<Stalls>,
    pub(crate) credit: Arc<CreditBudget>,
    pub(crate) rng: Mutex<ChaCha20Rng>,
    pub(crate) metrics: Metrics,
    /// Requests that came through tunnels.
    pub(crate) events: mpsc::Sender<TunnelEvent>,
    pub(crate) tunnels: Tunnels,
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

/// Places that all peers share.
#[derive(Debug)]
pub(crate) struct NodeBooks {
    hops: Arc<Semaphore>,
    client_builds: Arc<Semaphore>,
    client_rate: Mutex<Builds>,
    tunnels: Arc<Semaphore>,
    pub(crate) exit_streams: Arc<Semaphore>,
    pub(crate) server_dials: Arc<Semaphore>,
    pub(crate) unauthenticated: Arc<Semaphore>,
    /// Handshakes of all clients: keys cost them nothing, so one for each peer would be as many as they like.
    strangers: Line,
}

impl NodeBooks {
    pub(crate) fn new(caps: &Caps) -> Self {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        Self {
            hops: semaphore(caps.hops),
            client_builds: semaphore(caps.pending_client_builds),
            client_rate: Mutex::new(Builds::new(caps.client_builds_per_second, caps.client_build_burst)),
            tunnels: semaphore(caps.tunnels),
            exit_streams: semaphore(caps.exit_streams),
            server_dials: semaphore(sotto_proto::limits::PENDING_SERVER_DIALS),
            unauthenticated: semaphore(caps.unauthenticated_bytes),
            strangers: Line::new(),
        }
    }

    /// One more build of a client, within its own rate and that of all.
    fn build(&self, client: &Books, now: Monotonic) -> Allowed {
        let of_client = client.build(now);
        self.client_rate.lock().unwrap_or_else(PoisonError::into_inner).build(of_client, now)
    }
}

impl fmt::Debug for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hop").field("own", &self.own).finish_non_exhaustive()
    }
}

/// Why a build was dropped without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    /// No whole frame in time.
    Incomplete,
    /// Not a build for any of this node's keys, or it does not open.
    Forged,
    /// It was there before.
    Replayed,
}

impl Silence {
    const fn label(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Forged => "forged",
            Self::Replayed => "replayed",
        }
    }
}

/// A path whose client has its keys.
struct Built {
    position: Position,
    previous: Counted,
    keys: HopKeys,
    next: Option<Counted>,
}

impl Hop {
    /// Whether a peer is a node of the network.
    pub(crate) fn is_registered(&self, node: &NodeId) -> bool {
        self.view.borrow().is_registered(node)
    }

    /// Takes a stream that a peer opened, or drops it, which resets it.
    pub(crate) fn accept(self: &Arc<Self>, kind: Kind, books: &Arc<Books>, stream: Stream) -> bool {
        if self.shutdown.is_cancelled() {
            return false;
        }
        let registered = self.is_registered(&books.node);
        let stream = match self.places(kind, books, registered) {
            Ok(places) => Counted::new(stream, places),
            Err(label) => {
                self.metrics.stream_refused(label);
                return false;
            }
        };
        let (hop, books) = (Arc::clone(self), Arc::clone(books));
        match kind {
            Kind::Path => self.tasks.spawn(async move { hop.serve(&books, registered, stream).await }),
            Kind::Tunnel => self.tasks.spawn(async move { server::serve(&hop, &books, stream).await }),
        };
        true
    }

    /// The places that a stream takes.
    fn places(&self, kind: Kind, books: &Books, registered: bool) -> Result<Vec<OwnedSemaphorePermit>, &'static str> {
        let all = match kind {
            Kind::Path => &self.books.hops,
            Kind::Tunnel if registered => &self.books.tunnels,
            Kind::Tunnel => return Err("tunnel_of_stranger"),
        };
        if kind == Kind::Tunnel && !books.tunnel(self.clock.monotonic()) {
            return Err("tunnel_rate");
        }
        let of_peer = books.inbound(kind, registered).ok_or("peer_full")?;
        let of_node = Arc::clone(all).try_acquire_owned().map_err(|_| "node_full")?;
        Ok(vec![of_peer, of_node])
    }

    /// A path, from its build to its end.
    async fn serve(&self, books: &Books, registered: bool, previous: Counted) {
        // In a box, so that a path does not hold all its life what only its build needs.
        let Some(built) = Box::pin(self.build(books, registered, previous)).await else { return };
        let Built { position, previous, keys, next } = built;
        let times = Times::from(&self.deadlines);
        let life = Life::new(times, Arc::clone(&self.stalls), self.shutdown.clone());
        self.metrics.path_began();
        let end = match next {
            Some(next) => Relay::new(previous, next, keys.forward, keys.backward, life).await,
            None => Box::pin(Exit::new(self, books.node, previous, keys, life)).await,
        };
        tracing::debug!(%position, end = end.label(), "a path ended");
        self.metrics.path_ended(end.label());
    }

    /// A path's build, and its answer.
    async fn build(&self, books: &Books, registered: bool, mut previous: Counted) -> Option<Built> {
        let allowed = if registered { Allowed::Served } else { self.books.build(books, self.clock.monotonic()) };
        if allowed == Allowed::Ignored {
            self.metrics.build("ignored");
            return None;
        }
        let line = if registered { books.line() } else { &self.books.strangers };
        let opened = self.receive(line, registered, &mut previous).await;
        let opened = opened.inspect_err(|silence| self.metrics.build(silence.label())).ok()?;
        let pending = match registered {
            true => Arc::clone(&books.pending_builds).try_acquire_owned().ok(),
            false => Arc::clone(&self.books.client_builds).try_acquire_owned().ok(),
        };
        let refusal = self.refusal(&opened, &books.node);
        let refusal = refusal.inspect_err(|silence| self.metrics.build(silence.label())).ok()?;
        let refusal = refusal.or_else(|| (allowed == Allowed::Told || pending.is_none()).then_some(Status::Busy));
        let extended = match refusal {
            Some(status) => Err(status),
            None => self.extend(&opened).await,
        };
        let position = opened.position();
        let (keys, next) = self.answer(line, opened, extended, &mut previous).await?;
        Some(Built { position, previous, keys, next })
    }

    /// The build of a path, opened.
    async fn receive(&self, line: &Line, registered: bool, previous: &mut Counted) -> Result<OpenedBuild, Silence> {
        let frame = timeout(self.deadlines.build_frame, read_frame(previous)).await;
        let frame = frame.ok().and_then(Result::ok).ok_or(Silence::Incomplete)?;
        let secrets = Arc::clone(&self.secrets.borrow());
        let arrived = ArrivedBuild::read(&secrets, &frame).map_err(|_| Silence::Forged)?;
        // Before anything is computed, so that repeating is no way to make this node work.
        if self.replays.contains(Kind::Path, arrived.key_tag(), &arrived.ephemeral()) {
            return Err(Silence::Replayed);
        }
        let _turn = line.turn().await;
        arrived.open(&self.chain, &self.own, Position::candidates(registered)).map_err(|_| Silence::Forged)
    }

    /// Why a build that opened is not served: its time, its place, its next hop, the memory of builds.
    fn refusal(&self, opened: &OpenedBuild, sender: &NodeId) -> Result<Option<Status>, Silence> {
        let refusal = opened.refusal(self.minute());
        if refusal == Some(Status::TimeRefused) {
            return Ok(refusal);
        }
        let now = self.seconds();
        match self.replays.remember(Kind::Path, opened.key_tag(), opened.ephemeral(), opened.minute(), now) {
            Ok(()) => {}
            Err(ReplayRefusal::Replayed) => return Err(Silence::Replayed),
            Err(_) => return Ok(Some(Status::Busy)),
        }
        Ok(refusal.or_else(|| opened.next().and_then(|next| self.refuses(&next, sender))))
    }

    /// What speaks against a next hop.
    fn refuses(&self, next: &NodeId, sender: &NodeId) -> Option<Status> {
        if *next == self.own || next == sender {
            return Some(Status::Refused);
        }
        let view = self.view.borrow();
        let active = view.current().nodes.get(next).is_some_and(|record| record.state == NodeState::Active);
        (!active).then_some(Status::NextUnknown)
    }

    /// Builds the path further: the next hop's stream and reply, or nothing at the exit.
    async fn extend(&self, opened: &OpenedBuild) -> Result<Option<(Counted, Frame)>, Status> {
        let (Some(next), Some(inner)) = (opened.next(), opened.inner_frame()) else { return Ok(None) };
        let [guard, middle, _] = self.deadlines.reply;
        let deadline = Instant::now() + if opened.position() == Position::Guard { guard } else { middle };
        let mut stream = match timeout_at(deadline, self.control.open(next, Kind::Path)).await {
            Ok(Ok(stream)) => stream,
            Err(_) | Ok(Err(OpenError::Unreachable)) => return Err(Status::NextUnreachable),
            Ok(Err(OpenError::Busy)) => return Err(Status::Busy),
            Ok(Err(OpenError::Refused)) => return Err(Status::NextClosed),
        };
        let exchange = async {
            write_frame(&mut stream, inner).await?;
            read_frame(&mut stream).await
        };
        match timeout_at(deadline, exchange).await {
            Ok(Ok(reply)) => Ok(Some((stream, reply))),
            Ok(Err(_)) => Err(Status::NextClosed),
            Err(_) => Err(Status::NextTimedOut),
        }
    }

    /// Sends the reply; the keys and the next hop's stream if the path is built.
    async fn answer(
        &self,
        line: &Line,
        opened: OpenedBuild,
        built: Result<Option<(Counted, Frame)>, Status>,
        previous: &mut Counted,
    ) -> Option<(HopKeys, Option<Counted>)> {
        let (status, next, inner) = match built {
            Ok(Some((next, reply))) => (Status::Built, Some(next), Some(reply)),
            Ok(None) => (Status::Built, None, None),
            Err(status) => (status, None, None),
        };
        self.metrics.build(status_label(status));
        let sealed = {
            let _turn = line.turn().await;
            opened.reply(status, self.minute(), inner.as_ref(), &mut *self.rng())
        };
        let (frame, keys) = sealed.inspect_err(|error| tracing::error!(%error, "a reply was not sealed")).ok()?;
        let written = timeout(self.deadlines.write_stall, write_frame(previous, &frame)).await;
        written.ok()?.ok()?;
        if keys.is_none() {
            // The reply is on its way; whether the peer takes the end as well is not worth waiting for.
            let _closed = timeout(self.deadlines.write_stall, previous.close()).await;
        }
        Some((keys?, next))
    }

    pub(crate) fn seconds(&self) -> UnixSeconds {
        self.clock.now().wall.seconds()
    }

    pub(crate) fn minute(&self) -> Minute {
        self.seconds().into()
    }

    pub(crate) fn rng(&self) -> MutexGuard<'_, ChaCha20Rng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the keys until the host stops.
    pub(crate) async fn follow_keys(self: Arc<Self>) {
        let mut secrets = self.secrets.clone();
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                changed = secrets.changed() => if changed.is_err() { return },
            }
            let new = Arc::clone(&secrets.borrow_and_update());
            self.replays.follow(&new, self.seconds());
        }
    }
}

/// Reads one frame.
///
/// A stream that negotiates lazily must not be touched after an error: it has no state any more.
pub(crate) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut frame = Frame::zeroed();
    stream.read_exact(frame.as_mut_bytes()).await?;
    Ok(frame)
}

/// Writes one frame, and flushes.
pub(crate) async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> io::Result<()> {
    stream.write_all(frame.as_bytes()).await?;
    stream.flush().await
}

const fn status_label(status: Status) -> &'static str {
    match status {
        Status::Built => "built",
        Status::NextUnreachable => "next_unreachable",
        Status::NextClosed => "next_closed",
        Status::NextTimedOut => "next_timed_out",
        Status::NextUnknown => "next_unknown",
        Status::Busy => "busy",
        Status::TimeRefused => "time_refused",
        Status::Refused => "refused",
    }
}
