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
mod outbox;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use libp2p::identity::Keypair;
pub use libp2p::metrics::Registry;
use libp2p::{PeerId, Swarm, TransportError, ping};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sotto_proto::id::{Height, NodeId, SwarmId};
use sotto_proto::limits::MAX_TX_BYTES;
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::network::NetworkView;
use sotto_proto::sign::SigningKey;
use sotto_proto::time::Monotonic;
use tokio::sync::watch;
use tokio::time::Sleep;

use self::asking::Submission;
use self::behaviour::{Behaviour, exchange};
pub use self::config::{ConnectionLimits, NetworkConfig, Peer, Role, Timeouts, WallClock};
pub use self::error::{BuildError, RequestError, SendError};
pub use self::event::{Counts, Event, FetchId, FetchOutcome, GossipId, ReplyTo, Request, RequestId, Response, Verdict};
use self::inbox::Inbox;
use self::outbox::{Outbox, Purpose};
use crate::chain_sync::route::Route;
use crate::chain_sync::state::Sync;
use crate::clock::Clock;
use crate::gated::Gated;
use crate::host::{self, HostTransport};
use crate::metrics::Metrics;
use crate::names::Names;
use crate::status::{ClockOffset, Status};
use crate::transport::{BoundTcp, multiaddr};
use crate::{gossip, limits, membership};

/// How often what has no timer of its own is looked at.
const TICK: Duration = Duration::from_secs(1);

/// The network of one process.
pub struct Network {
    swarm: Swarm<Behaviour>,
    own: NodeId,
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
    address: Option<NodeAddr>,

    /// The producer and clients do not follow the chain here.
    sync: Option<Sync>,
    status: Status,
    clock_off: bool,

    /// Peers reported to be of another network, and when.
    foreign: BTreeMap<NodeId, Monotonic>,

    outbox: Outbox,
    inbox: Inbox,
    submissions: BTreeMap<RequestId, Submission>,
    next_request: u64,

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
        let transport = host::secure(tcp, &identity(&config)?, &config.timeouts).map_err(BuildError::identity)?;
        Self::with_transport(config, view, registry, transport)
    }

    /// The same on another transport, which must authenticate as `config.identity`: for tests and simulations.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn with_transport(
        config: NetworkConfig,
        view: watch::Receiver<Arc<NetworkView>>,
        mut registry: Option<&mut Registry>,
        transport: HostTransport,
    ) -> Result<Self, BuildError> {
        let own = SigningKey::from_seed(&config.identity).node_id();
        let (role, producer) = (config.role, config.producer.node);
        let clock = Clock::new(config.clock.clone());
        let now = clock.monotonic();
        let metrics = Metrics::default();
        let libp2p_metrics = registry.as_deref_mut().map(|registry| {
            metrics.register(registry);
            libp2p::metrics::Metrics::new(registry)
        });
        let bootstrap = config.bootstrap.iter().map(|peer| peer.node).collect();
        let timeouts = config.timeouts.clone();
        let (listen, names, identity) = (config.listen, Names::new(&config.chain), identity(&config)?);

        let behaviour = compose(config, own, &names, clock.clone(), metrics.clone(), registry)?;
        let mut network = Self {
            swarm: host::swarm(transport, behaviour, &identity, &timeouts),
            own,
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
            address: None,
            status: Status::default(),
            clock_off: false,
            foreign: BTreeMap::new(),
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            submissions: BTreeMap::new(),
            next_request: 0,
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

    fn is_node(&self, node: &NodeId) -> bool {
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

fn compose(
    config: NetworkConfig,
    own: NodeId,
    names: &Names,
    clock: Clock,
    metrics: Metrics,
    mut registry: Option<&mut Registry>,
) -> Result<Behaviour, BuildError> {
    let NetworkConfig { chain, role, timeouts, .. } = config;
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
        let mut blocks = gossip::chain(chain, names, shown)?;
        blocks.subscribe(&names.chain_topic()).map_err(|error| BuildError::Gossip(error.to_string()))?;
        chain_gossip = Some(Gated::new(blocks));
        let shown = registry.map(|registry| registry.sub_registry_with_prefix("gossip_swarm"));
        swarm_gossip = Some(Gated::new(gossip::swarm(names, shown)?));
    }
    Ok(Behaviour {
        limits: limits::Behaviour::new(config.limits, metrics),
        membership: membership::Behaviour::new(settings, ChaCha20Rng::from_seed(seed), clock),
        ping: ping::Behaviour::new(ping),
        chain_gossip: chain_gossip.into(),
        swarm_gossip: swarm_gossip.into(),
        chain: exchange(names.chain(), role, &timeouts),
        list: exchange(names.list(), role, &timeouts),
        status: behaviour::status(names, role, &timeouts),
    })
}
