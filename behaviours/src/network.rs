//! The whole network of one process behind one value: events out, commands in.
//!
//! [`Network::next`] drives the libp2p swarm and all rules of this crate and must be awaited all the time: while nobody
//! awaits it, every connection of the process stands still. It is cancel-safe, so it belongs in a `select!`. No method
//! blocks, none waits for a peer, and every queue behind them is bounded.
//!
//! | file | what |
//! | --- | --- |
//! | `behaviour` | what a host speaks, put together |
//! | `drive` | swarm events into rules and events |
//! | `gossiping` | publishing, judging, topics |
//! | `asking`, `outbox` | own requests |
//! | `answering`, `inbox` | requests of peers |
//! | `members` | repair and hand-over, which only some may use |
//! | `pathing` | own paths, being a hop of others', requests from tunnels |
//! | `config`, `event`, `error` | the types of the interface |

mod answering;
mod asking;
mod behaviour;
mod config;
mod drive;
mod error;
mod event;
mod gossiping;
mod inbox;
mod members;
mod outbox;
mod pathing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use libp2p::identity::Keypair;
pub use libp2p::metrics::Registry;
use libp2p::{PeerId, Swarm, TransportError, ping};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sotto_proto::id::{ChainId, Height, NodeId, SwarmId};
use sotto_proto::limits::MAX_TX_BYTES;
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::network::NetworkView;
use sotto_proto::sign::SigningKey;
use sotto_proto::time::Monotonic;
use tokio::sync::{mpsc, watch};
use tokio::time::Sleep;

use self::asking::Submission;
use self::behaviour::{Behaviour, exchange};
pub use self::config::{ConnectionLimits, NetworkConfig, Peer, Role, Timeouts, WallClock};
pub use self::error::{BuildError, RequestError, SendError};
pub use self::event::{Counts, Event, FetchId, FetchOutcome, GossipId, ReplyTo, Request, RequestId, Response, Verdict};
use self::inbox::Inbox;
use self::outbox::{Outbox, Purpose};
use self::pathing::Paths;
use crate::bans::Bans;
use crate::chain_sync::route::Route;
use crate::chain_sync::state::Sync;
use crate::clock::Clock;
use crate::gated::{Gated, Watcher};
use crate::gossip::Intake;
use crate::host::{self, HostTransport};
use crate::membership::Direction;
use crate::metrics::Metrics;
use crate::names::Names;
use crate::onion::handler::Protocols;
use crate::status::{ClockOffset, Status};
use crate::transport::{BoundTcp, multiaddr};
use crate::tunnel::server::TunnelEvent;
use crate::{gossip, limits, membership, onion};

/// How often what has no timer of its own is looked at.
const TICK: Duration = Duration::from_secs(1);

/// The network of one process.
pub struct Network {
    swarm: Swarm<Behaviour>,
    own: NodeId,
    chain: ChainId,
    role: Role,
    producer: NodeId,
    bootstrap: Vec<NodeId>,
    timeouts: Timeouts,
    names: Names,
    clock: Clock,
    metrics: Metrics,
    libp2p_metrics: Option<libp2p::metrics::Metrics>,

    view: watch::Receiver<Arc<NetworkView>>,
    /// The owner has dropped the other end: what is known stays as it is.
    view_ended: bool,
    own_swarm: Option<SwarmId>,
    /// Members of the own swarm under any recent view.
    swarm_mates: Arc<BTreeSet<NodeId>>,
    address: Option<NodeAddr>,

    /// The producer and clients do not follow the chain here.
    sync: Option<Sync>,
    status: Status,
    clock_off: bool,

    /// Peers reported to be of another network, and when.
    foreign: BTreeMap<NodeId, Monotonic>,

    /// Blocks of each source that wait for their verdicts.
    judging: BTreeMap<PeerId, usize>,
    chain_intake: Intake,
    swarm_intake: Intake,
    bans: Bans,
    /// When a ban was last logged.
    ban_said: Option<Monotonic>,

    outbox: Outbox,
    inbox: Inbox,
    submissions: BTreeMap<RequestId, Submission>,
    next_request: u64,

    paths: Paths,
    /// From the tasks of tunnels.
    tunnel_events: mpsc::Receiver<TunnelEvent>,

    /// At most a few for each thing that happened since the last one was taken.
    events: VecDeque<Event>,
    timer: Pin<Box<Sleep>>,
    next_tick: Monotonic,
    /// When `next` last returned.
    left_at: Monotonic,
}

impl Network {
    /// Builds the host and starts listening. Must be called inside a tokio runtime.
    ///
    /// `view` is what admission, topology and topics follow; the sender may skip versions. What is counted is shown in
    /// `registry`, libp2p's own metrics included.
    ///
    /// # Errors
    /// [`BuildError`] when the host cannot be built or the listen address cannot be bound.
    pub fn new(
        config: NetworkConfig,
        view: watch::Receiver<Arc<NetworkView>>,
        registry: Option<&mut Registry>,
    ) -> Result<Self, BuildError> {
        let tcp = BoundTcp::new(config.listen.map(|address| address.ip), config.private_addresses);
        let metrics = Metrics::default();
        let (own, is_node) = (identity(&config)?, config.knows_nodes_of(view.clone()));
        let refused = metrics.streams_beyond.clone();
        let transport =
            host::secure_counted(tcp, &own, &config.timeouts, is_node, refused).map_err(BuildError::identity)?;
        Self::build(config, view, registry, transport, metrics)
    }

    /// The same on another transport, which must authenticate as `config.identity`: for tests and simulations.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn with_transport(
        config: NetworkConfig,
        view: watch::Receiver<Arc<NetworkView>>,
        registry: Option<&mut Registry>,
        transport: HostTransport,
    ) -> Result<Self, BuildError> {
        Self::build(config, view, registry, transport, Metrics::default())
    }

    fn build(
        config: NetworkConfig,
        view: watch::Receiver<Arc<NetworkView>>,
        mut registry: Option<&mut Registry>,
        transport: HostTransport,
        metrics: Metrics,
    ) -> Result<Self, BuildError> {
        let own = SigningKey::from_seed(&config.identity).node_id();
        let (chain, role, producer) = (config.chain, config.role, config.producer.node);
        let clock = Clock::new(config.clock.clone());
        let now = clock.monotonic();
        let libp2p_metrics = registry.as_deref_mut().map(|registry| {
            metrics.register(registry);
            libp2p::metrics::Metrics::new(registry)
        });
        let bootstrap = config.bootstrap.iter().map(|peer| peer.node).collect();
        let timeouts = config.timeouts.clone();
        let (listen, names, identity) = (config.listen, Names::new(&config.chain), identity(&config)?);

        let chain_intake = Intake::of_blocks(&names, clock.clone());
        let swarm_intake = Intake::of_swarm(&names, clock.clone());
        let intakes = (&chain_intake, &swarm_intake);
        let protocols = Protocols { path: names.path(), tunnel: names.tunnel() };
        let warm = timeouts.paths.warm;
        let (mut onion, control) = onion::behaviour::Behaviour::new(protocols, config.limits.paths.clone(), warm);
        let (paths, tunnel_events) = Paths::new(&config, own, control, view.clone(), &clock, &metrics)?;
        if let Some(hop) = &paths.hop {
            onion.listen(Arc::clone(hop));
        }
        let behaviour = compose(config, &names, intakes, clock.clone(), metrics.clone(), registry, onion)?;
        let mut network = Self {
            swarm: host::swarm(transport, behaviour, &identity, &timeouts),
            own,
            chain,
            role,
            producer,
            bootstrap,
            timeouts,
            names,
            clock,
            metrics,
            libp2p_metrics,
            sync: (role == Role::Node).then(|| Sync::new(producer, view.borrow().tip, now)),
            view,
            view_ended: false,
            own_swarm: None,
            swarm_mates: Arc::default(),
            address: None,
            status: Status::default(),
            clock_off: false,
            foreign: BTreeMap::new(),
            judging: BTreeMap::new(),
            chain_intake,
            swarm_intake,
            bans: Bans::default(),
            ban_said: None,
            outbox: Outbox::default(),
            inbox: Inbox::new(now),
            submissions: BTreeMap::new(),
            next_request: 0,
            paths,
            tunnel_events,
            events: VecDeque::new(),
            timer: Box::pin(tokio::time::sleep(TICK)),
            next_tick: now.plus(TICK),
            left_at: now,
        };
        if let Some(address) = listen {
            network.swarm.listen_on(multiaddr(&address)).map_err(|error| BuildError::Listen {
                address,
                source: match error {
                    TransportError::Other(source) => source,
                    TransportError::MultiaddrNotSupported(_) => std::io::ErrorKind::Unsupported.into(),
                },
            })?;
        }
        network.on_view();
        Ok(network)
    }

    /// The next event. Cancel-safe; drives everything (see the module's documentation).
    pub async fn next(&mut self) -> Event {
        self.metrics.away.observe(self.clock.monotonic().since(self.left_at).as_secs_f64());
        loop {
            if let Some(event) = self.events.pop_front() {
                self.left_at = self.clock.monotonic();
                return event;
            }
            self.step().await;
        }
    }

    /// This process's own key.
    #[must_use]
    pub const fn local_node(&self) -> NodeId {
        self.own
    }

    /// Where it listens, once [`Event::Listening`] was seen.
    #[must_use]
    pub const fn local_address(&self) -> Option<NodeAddr> {
        self.address
    }

    /// A block at `height` came from `from` whose parent is not known: fetches what lies between.
    pub fn behind(&mut self, from: NodeId, height: Height) {
        let now = self.clock.monotonic();
        if let Some(sync) = &mut self.sync {
            sync.behind(from, height, now);
        }
    }

    /// Says what became of the blocks of [`Event::Blocks`]; must be said once for each, or sync waits a minute for it.
    pub fn fetched(&mut self, fetch: FetchId, outcome: FetchOutcome) {
        self.metrics.fetch(outcome.label());
        let now = self.clock.monotonic();
        if let Some(sync) = &mut self.sync {
            sync.inserted(fetch, outcome, now);
        }
    }

    /// Sends a request; dials first where there is no connection. The answer is an [`Event::Response`] with the id
    /// returned, exactly one for each request, at the latest after twice the request timeout.
    ///
    /// # Errors
    /// [`SendError`] when it cannot even be queued.
    pub fn request(&mut self, to: NodeId, request: Request) -> Result<RequestId, SendError> {
        let id = self.new_request();
        self.send(to, Purpose::Caller(id), request)?;
        Ok(id)
    }

    /// Submits a transaction (B7 wire bytes) to the producer, over another node if it cannot be reached. The answer is
    /// an [`Event::Response`] as with [`Network::request`].
    ///
    /// # Errors
    /// [`SendError`] when it cannot even be queued.
    pub fn submit_transaction(&mut self, bytes: Vec<u8>) -> Result<RequestId, SendError> {
        if bytes.len() > MAX_TX_BYTES {
            return Err(SendError::TooLarge { limit: MAX_TX_BYTES, actual: bytes.len() });
        }
        let id = self.new_request();
        self.submit(id, None, Route::own(self.producer), bytes)?;
        Ok(id)
    }

    /// Every connected peer, in ascending order.
    pub fn connected(&self) -> impl Iterator<Item = NodeId> {
        self.swarm.behaviour().membership.state().connected()
    }

    /// Who made the connections with a peer; two where both sides dialled at once, none if it is not connected.
    pub fn directions(&self, node: &NodeId) -> impl Iterator<Item = Direction> {
        self.swarm.behaviour().membership.state().directions(node)
    }

    /// Whoever is kept out because it gossiped what is invalid, ascending, and for how much longer.
    pub fn banned(&self) -> impl Iterator<Item = (NodeId, Duration)> {
        let now = self.clock.monotonic();
        self.bans.banned().map(move |(node, until)| (node, until.since(now)))
    }

    /// How many connections there are, by kind.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let state = self.swarm.behaviour().membership.state();
        let (nodes, clients): (Vec<_>, Vec<_>) = state.connected().partition(|node| state.is_node(node));
        let (swarm_members, swarm_connected) = state.members();
        let (pending_incoming, pending_outgoing) = self.swarm.behaviour().limits.pending();
        let established = self.swarm.network_info().connection_counters().num_established();
        Counts {
            established: usize::try_from(established).unwrap_or(usize::MAX),
            nodes: nodes.len(),
            clients: clients.len(),
            swarm_members,
            swarm_connected,
            pending_incoming,
            pending_outgoing,
        }
    }

    /// How far the own clock is from the median of the peers' clocks, if at least three answered lately.
    #[must_use]
    pub fn clock_offset(&self) -> Option<ClockOffset> {
        self.status.offset(self.clock.now())
    }

    fn new_request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    /// Whether `node` is one of the network's: registered, the producer, or a bootstrap node.
    #[must_use]
    pub fn is_node(&self, node: &NodeId) -> bool {
        *node == self.producer || self.bootstrap.contains(node) || self.view.borrow().is_registered(node)
    }

    fn is_connected(&self, peer: &PeerId) -> bool {
        self.swarm.is_connected(peer)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("own", &self.own).field("role", &self.role).finish_non_exhaustive()
    }
}

fn identity(config: &NetworkConfig) -> Result<Keypair, BuildError> {
    let mut seed = config.identity.clone();
    Keypair::ed25519_from_bytes(&mut seed[..]).map_err(BuildError::identity)
}

fn hears(intake: &Intake) -> Watcher {
    let intake = intake.clone();
    Box::new(move |peer| intake.hears(peer))
}

fn compose(
    config: NetworkConfig,
    names: &Names,
    (chain_intake, swarm_intake): (&Intake, &Intake),
    clock: Clock,
    metrics: Metrics,
    mut registry: Option<&mut Registry>,
    onion: onion::behaviour::Behaviour,
) -> Result<Behaviour, BuildError> {
    let NetworkConfig { chain, role, timeouts, .. } = config;
    let own = SigningKey::from_seed(&config.identity).node_id();
    let settings = membership::Settings {
        own,
        role,
        producer: config.producer,
        bootstrap: config.bootstrap,
        private_addresses: config.private_addresses,
        listen: config.listen,
        nodes: config.limits.nodes,
    };
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(BuildError::Random)?;
    let ping = ping::Config::new().with_interval(timeouts.ping_interval).with_timeout(timeouts.ping);
    let (mut chain_gossip, mut swarm_gossip) = (None, None);
    if role != Role::Client {
        let shown = registry.as_deref_mut().map(|registry| registry.sub_registry_with_prefix("gossip_chain"));
        let mut blocks = gossip::chain(chain, names, chain_intake.clone(), shown)?;
        blocks.subscribe(&names.chain_topic()).map_err(|error| BuildError::Gossip(error.to_string()))?;
        chain_gossip = Some(Gated::new(blocks).watched_by(hears(chain_intake)));
        let shown = registry.map(|registry| registry.sub_registry_with_prefix("gossip_swarm"));
        let records = gossip::swarm(chain, names, swarm_intake.clone(), shown)?;
        swarm_gossip = Some(Gated::new(records).watched_by(hears(swarm_intake)));
    }
    Ok(Behaviour {
        limits: limits::Behaviour::new(config.limits, metrics),
        membership: membership::Behaviour::new(settings, ChaCha20Rng::from_seed(seed), clock),
        ping: ping::Behaviour::new(ping),
        chain_gossip: chain_gossip.into(),
        swarm_gossip: swarm_gossip.into(),
        chain: exchange(names.chain(), role, &timeouts),
        list: exchange(names.list(), role, &timeouts),
        status: behaviour::gated((role != Role::Client).then(|| names.status()), role, &timeouts),
        repair: behaviour::gated((role == Role::Node).then(|| names.repair()), role, &timeouts),
        offer: behaviour::gated((role == Role::Node).then(|| names.offer()), role, &timeouts),
        onion,
    })
}
