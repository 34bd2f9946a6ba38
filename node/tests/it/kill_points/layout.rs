//! A small network that is the same in every process: who is where, and how one of its nodes is put together on a store
//! of the test's, as the program does it on its own.
//!
//! | nodes | |
//! | --- | --- |
//! | 0 | dies; of MINE; has the smallest key, so that it dials its mates and not they it |
//! | 1, 2 | the rest of MINE; 1 is the last hop of every path, because mates always have a link |
//! | 3, 4, 5 | of OTHER; 3 and 4 are the first hops |
//! | 6 | in no swarm; hands over |
//! | 7, 8 and 9, 10 | make MINE and OTHER as large as a swarm has to be, and are away |

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use sotto_behaviours::clock::Clock;
use sotto_behaviours::network::{ConnectionLimits, Network, NetworkConfig, Peer, Role, Timeouts, WallClock};
use sotto_behaviours::onion::{Caps, HopInfo, RelayConfig, prepare_replays};
use sotto_node::chain_thread::restore::restore;
use sotto_node::chain_thread::{ChainThread, Retention, Spawned};
use sotto_node::event_loop::{About, EventLoop, Parts, Probe};
use sotto_node::http::Question;
use sotto_node::keys::{KeyDirectory, Seed, Slot};
use sotto_node::service_node::{ChainUpdate, Identity, Input, KeyRing, MailLimits, ServiceNode, Settings};
use sotto_node::store::{Store, writer};
use sotto_proto::account::test_seed;
use sotto_proto::chain::{Buckets, Genesis, NodeRecord, NodeState};
use sotto_proto::id::{ChainId, Height, NodeId, PublicKey, SwarmId};
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::network::{NetworkView, NodeList, Snapshot};
use sotto_proto::sign::SigningKey;
use sotto_proto::swarm::SwarmMap;
use sotto_proto::time::UnixMillis;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::chain::{SEED, TestChain, key, x25519};

pub(super) const MINE: SwarmId = SwarmId(0);
pub(super) const OTHER: SwarmId = SwarmId(1 << 63);
/// How many nodes there are.
const NODES: u32 = 11;
/// The final height that everybody knows.
const HEIGHT: Height = Height(5);

/// Where and when a network is. The wall clock of its nodes may be put ahead.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) subnet: u8,
    pub(super) port: u16,
    pub(super) began: UnixMillis,
    pub(super) ahead: Arc<AtomicU64>,
}

impl Layout {
    pub(super) fn new(subnet: u8) -> Self {
        // Test runners give each test a process of its own, so the process tells them apart.
        let port = 20_000 + u16::try_from(std::process::id() % 12_000).unwrap();
        Self { subnet, port, began: WallClock::system().now(), ahead: Arc::default() }
    }

    pub(super) fn clock(&self) -> WallClock {
        let (system, ahead) = (WallClock::system(), Arc::clone(&self.ahead));
        WallClock::new(move || UnixMillis(system.now().0 + ahead.load(Ordering::Relaxed)))
    }

    pub(super) fn genesis() -> Genesis {
        static GENESIS: OnceLock<Genesis> = OnceLock::new();
        // One owner of a mailbox stores far more than a person does.
        GENESIS.get_or_init(|| TestChain::with(|params| params.mailbox_quota = 1 << 40).genesis).clone()
    }

    pub(super) fn chain() -> ChainId {
        static CHAIN: OnceLock<ChainId> = OnceLock::new();
        *CHAIN.get_or_init(|| Self::genesis().chain_id())
    }

    pub(super) fn address(&self, number: u32) -> NodeAddr {
        NodeAddr::new([127, 180 + u8::try_from(number).unwrap(), self.subnet, 1].into(), self.port)
    }

    pub(super) fn view(&self) -> Arc<NetworkView> {
        let unknown = NetworkView::unknown(&Self::genesis());
        let members = |numbers: [u32; 5]| {
            let mut members = numbers.map(node).to_vec();
            members.sort_unstable();
            members
        };
        let swarms = [(MINE, members([0, 1, 2, 7, 8])), (OTHER, members([3, 4, 5, 9, 10]))];
        let swarm_of =
            |node: &NodeId| swarms.iter().find(|(_, members)| members.contains(node)).map(|(swarm, _)| *swarm);
        let record = |number| NodeRecord {
            node: node(number),
            x25519: x25519(index(number)),
            previous_x25519: None,
            operator: PublicKey::new([1; 32]),
            state: NodeState::Active,
            swarm: swarm_of(&node(number)),
            region: "eu".parse().unwrap(),
            addresses: vec![self.address(number)],
        };
        let nodes: NodeList = (0..NODES).map(|number| (node(number), Arc::new(record(number)))).collect();
        let buckets = Buckets::new(&unknown.chain, &nodes);
        let snapshot = Snapshot {
            height: HEIGHT,
            time: self.began,
            list_root: buckets.root(&unknown.chain),
            buckets,
            nodes,
            swarms: SwarmMap::from_parts(swarms, Vec::new()).unwrap(),
            ..unknown.current().clone()
        };
        Arc::new(NetworkView::new(unknown.chain, HEIGHT.plus(3), false, Arc::new(snapshot), Vec::new()))
    }

    pub(super) fn config(&self, role: Role, identity: [u8; 32], relay: Option<RelayConfig>) -> NetworkConfig {
        let often = 1_000_000;
        let paths = Caps {
            builds_per_second: often,
            build_burst: often,
            client_builds_per_second: often,
            client_build_burst: often,
            tunnels_per_second: often,
            tunnel_burst: often,
            ..Caps::default()
        };
        NetworkConfig {
            identity: Zeroizing::new(identity),
            chain: Self::chain(),
            role,
            listen: None,
            producer: Peer { node: Self::genesis().producer, addresses: Vec::new() },
            bootstrap: Vec::new(),
            limits: ConnectionLimits { per_address_enabled: false, paths, ..ConnectionLimits::default() },
            private_addresses: true,
            timeouts: Timeouts::default(),
            clock: self.clock(),
            relay,
        }
    }
}

/// The index of a node's test keys: the order of the nodes is that of their keys.
fn index(number: u32) -> u32 {
    in_order()[number as usize].1
}

fn in_order() -> &'static [(NodeId, u32)] {
    static ORDER: OnceLock<Vec<(NodeId, u32)>> = OnceLock::new();
    ORDER.get_or_init(|| {
        let mut order: Vec<_> = (0..NODES).map(|index| (key("node", index).node_id(), index)).collect();
        order.sort_unstable();
        order
    })
}

pub(super) fn node_key(number: u32) -> SigningKey {
    key("node", index(number))
}

pub(super) fn identity(number: u32) -> [u8; 32] {
    test_seed(SEED, "node", index(number))
}

pub(super) fn node(number: u32) -> NodeId {
    in_order()[number as usize].0
}

pub(super) fn hop(number: u32) -> HopInfo {
    HopInfo { node: node(number), x25519: x25519(index(number)) }
}

/// A key whose mailbox is the swarm's.
pub(super) fn owner_in(swarm: SwarmId, view: &NetworkView, number: u32) -> SigningKey {
    let is_in = |key: &SigningKey| {
        let address = sotto_proto::address::Address::mailbox(&key.public());
        view.current().swarms.owner(&address) == Some(swarm)
    };
    (0..).map(|n| key("owner", n)).filter(is_in).nth(number as usize).unwrap()
}

/// A node of the network, on a store and a data directory that belong to it.
pub(super) struct Node<S> {
    pub(super) layout: Layout,
    pub(super) number: u32,
    pub(super) datadir: PathBuf,
    pub(super) store: S,
    pub(super) probe: Probe,
}

/// Makes the keys and replay sets of a node.
pub(super) fn set_up(layout: &Layout, number: u32, datadir: &Path) {
    let keys = KeyDirectory::of(datadir);
    keys.create().unwrap();
    keys.write_new(Slot::X25519, &Seed::take(&mut test_seed(SEED, "x25519", index(number)))).unwrap();
    let now = layout.clock().now().seconds();
    prepare_replays(&datadir.join("replays"), &x25519(index(number)), now).unwrap();
}

impl<S: Store> Node<S> {
    /// Runs until told to stop. Blocks the thread.
    pub(super) fn run(mut self, questions: mpsc::Receiver<Question>, shutdown: CancellationToken) {
        let restored = restore(&Layout::genesis(), &mut self.store).unwrap();
        let keys = KeyDirectory::of(&self.datadir);
        let (store, storage) = writer::spawn(self.store, keys.clone()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let chain_thread = runtime.block_on(async {
            let (layout, clock) = (&self.layout, Clock::new(self.layout.clock()));
            let machine = machine(layout, self.number, &keys, &clock);
            let (secrets, followed) = watch::channel(Arc::new(machine.hop_secrets().unwrap()));
            let relay = RelayConfig { secrets: followed, replay_dir: self.datadir.join("replays") };
            let config = NetworkConfig {
                listen: Some(layout.address(self.number)),
                ..layout.config(Role::Node, identity(self.number), Some(relay))
            };
            let (_view, known) = watch::channel(layout.view());
            let network = Network::new(config, known, None).unwrap();
            let first = ChainUpdate { view: layout.view(), tip: restored.follower.tip().clone() };
            let thread = ChainThread {
                restored,
                store: store.clone(),
                retention: Retention::default(),
                probe: Box::new(|_| {}),
            };
            // The chain stands still: what is final is what the layout says.
            let (view, _) = watch::channel(layout.view());
            let Spawned { handle: chain, events: chain_events, thread } = thread.spawn(view).unwrap();
            let about = About {
                chain: Layout::chain(),
                moniker: self.number.to_string(),
                started: Instant::now(),
                damage: None,
            };
            let parts = Parts { network, machine, clock, about, chain, chain_events, store, questions, secrets };
            let event_loop = EventLoop::new(parts).with_probe(self.probe);
            Box::pin(event_loop.run(Input::Chain(Box::new(first)), shutdown)).await;
            thread
        });
        chain_thread.join().unwrap();
        storage.join().unwrap();
    }
}

fn machine(layout: &Layout, number: u32, keys: &KeyDirectory, clock: &Clock) -> ServiceNode {
    let settings = Settings {
        addresses: vec![layout.address(number)],
        region: "eu".parse().unwrap(),
        register: false,
        stake: None,
        version: 1,
        mail: MailLimits::default(),
    };
    let identity = Identity { node: node_key(number), operator: None };
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).unwrap();
    ServiceNode::new(identity, settings, KeyRing::load(keys, None).unwrap(), &seed, clock.now())
}
