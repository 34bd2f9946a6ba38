//! A network of real hosts on loopback with one mailbox behind all of them: hops 1 to 9, and members 11 to 15 of the only
//! swarm. Nodes can be made silent, stopped and started again.

mod node;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sotto_behaviours::network::{ConnectionLimits, Event, Network, NetworkConfig, Peer, Role, Timeouts, WallClock};
use sotto_behaviours::noise::Secret;
use sotto_behaviours::onion::build::HopSecrets;
use sotto_behaviours::onion::{RelayConfig, prepare_replays};
use sotto_behaviours::tunnel::TunnelId;
use sotto_proto::account::Entropy;
use sotto_proto::chain::{
    Buckets, Genesis, GenesisFile, Header, NodeRecord, NodeState, Params, Preset, Region, SignedHeader, list_root_of,
    records_of,
};
use sotto_proto::content::{Body, Content, ListeningTag, MessageId, Text};
use sotto_proto::envelope::{Envelope, Record, Ttl};
use sotto_proto::id::{BlockHash, ChainId, Hash, Height, NodeId, PublicKey, SwarmId};
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::network::{NetworkView, NodeList, Snapshot};
use sotto_proto::pow::Nonce;
use sotto_proto::request::{
    Error, Info, Line, ListRequest, ListResponse, Receipt, Records, StoredRecord, SwarmRequest, SwarmResponse,
};
use sotto_proto::sign::SigningKey;
use sotto_proto::swarm::SwarmMap;
use sotto_proto::time::{UnixMillis, UnixSeconds};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use zeroize::Zeroizing;

use self::node::Node;
use crate::crypto::{self, SealContext};
use crate::messenger::Messenger;
use crate::store::{AccountName, Accounts, DeviceKey, Guard, Kdf, NewAccount, OpenAccount, Passphrase, SavedNetwork};

pub(super) const HOPS: [u8; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];
pub(super) const MEMBERS: [u8; 5] = [11, 12, 13, 14, 15];
/// Those who kept the mail before, where a test says so.
pub(super) const FORMER: [u8; 3] = [7, 8, 9];
const SWARM: SwarmId = SwarmId(7);
const HEIGHT: Height = Height(5);
const WRONG_SWARM: Error = Error::WrongSwarm { swarm: SWARM, height: HEIGHT };

pub(super) fn node_of(seed: u8) -> NodeId {
    key(seed).node_id()
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn secret(seed: u8) -> Secret {
    Secret::take(&mut [seed | 0x80; 32])
}

/// The genesis of every such network.
pub(super) fn genesis() -> Genesis {
    let mut params = Params::preset(Preset::Testnet);
    // Lists stay fresh for weeks: refreshing is another test's business.
    params.set("key_rotation_s", 1 << 32).unwrap();
    Genesis {
        preset: Preset::Testnet,
        time: UnixMillis(1),
        authority: key(99).public(),
        producer: node_of(98),
        balances: [(key(97).public(), sotto_proto::id::Amount::coins(1))].into(),
        params,
    }
}

/// What the account is unlocked with.
pub(super) fn passphrase() -> Passphrase {
    Passphrase::typed(Zeroizing::new("alice".to_owned())).unwrap()
}

/// What is kept for the one account there is, at every member.
pub(super) struct Mailbox {
    records: Mutex<Vec<Vec<u8>>>,
    grown: watch::Sender<usize>,
    /// Records that are told at once.
    pub(super) page: AtomicUsize,
    /// Milliseconds between two answers of a node that drips.
    pub(super) drip_ms: AtomicU64,
    /// Questions for mail, and subscriptions.
    pub(super) retrieves: AtomicUsize,
    pub(super) subscriptions: AtomicUsize,
    /// Who took subscriptions, in order.
    pub(super) subscribed: Mutex<Vec<u8>>,
    /// Members that refuse subscriptions, and how often they did.
    pub(super) refusing: Mutex<BTreeMap<u8, usize>>,
    /// Members whose clocks are wrong, or who say so, and by how many seconds they are ahead.
    pub(super) clocks: Mutex<BTreeMap<u8, u64>>,
    /// How many of [`FORMER`] still keep the mail.
    pub(super) keeping: AtomicUsize,
    /// Who was listened at, in order.
    pub(super) listenings: Mutex<Vec<u8>>,
    /// What was pushed, delivered or not.
    pub(super) pushes: AtomicUsize,
    /// Whether nodes say that they delivered what they did not.
    pub(super) swallowing: AtomicBool,
    /// How often they hand over once more what they have handed over.
    pub(super) doubling: AtomicUsize,
}

impl Mailbox {
    fn after(&self, seq: u64) -> Records {
        let records = self.records.lock().unwrap();
        let skip = usize::try_from(seq).unwrap();
        let page = self.page.load(Ordering::Relaxed);
        let more = records.len() - skip.min(records.len()) > page;
        let numbered = (1..).zip(records.iter()).skip(skip).take(page);
        let records: Vec<_> = numbered.map(|(seq, record)| StoredRecord { seq, record: record.clone() }).collect();
        let next_seq = records.last().map_or(seq, |record| record.seq);
        Records { epoch: 1, records, next_seq, more, syncing: false }
    }

    pub(super) fn put(&self, record: Vec<u8>) {
        let mut records = self.records.lock().unwrap();
        if !records.contains(&record) {
            records.push(record);
        }
        self.grown.send_replace(records.len());
    }

    pub(super) fn len(&self) -> usize {
        self.records.lock().unwrap().len()
    }

    pub(super) fn records(&self) -> Vec<Vec<u8>> {
        self.records.lock().unwrap().clone()
    }
}

/// Where all nodes answer for the list.
#[derive(Default)]
pub(super) struct ListDesk {
    nodes: NodeList,
    /// Questions for hashes.
    pub(super) hashes: AtomicUsize,
    /// Buckets asked for, in order.
    pub(super) buckets: Mutex<Vec<u8>>,
    pub(super) lying: AtomicBool,
    /// Whether each node is at another height, far from all others.
    pub(super) disagreeing: AtomicBool,
}

impl ListDesk {
    fn answer(&self, chain: &ChainId, request: ListRequest) -> ListResponse {
        match request {
            ListRequest::Hashes { height } => {
                self.hashes.fetch_add(1, Ordering::Relaxed);
                ListResponse::Hashes { height, hashes: Buckets::new(chain, &self.nodes) }
            }
            ListRequest::Buckets { height, buckets } => {
                self.buckets.lock().unwrap().extend(&buckets);
                let records = |bucket| records_of(&self.nodes, bucket).flat_map(|record| record.encode()).collect();
                let lying = self.lying.load(Ordering::Relaxed);
                let told = |bucket| (bucket, if lying { Vec::new() } else { records(bucket) });
                ListResponse::Buckets { height, buckets: buckets.into_iter().map(told).collect() }
            }
            _ => ListResponse::Error(Error::Busy),
        }
    }
}

pub(super) struct World {
    dir: TempDir,
    pub(super) genesis: GenesisFile,
    chain: ChainId,
    began: UnixMillis,
    subnet: u8,
    port: u16,
    pub(super) mailbox: Arc<Mailbox>,
    silent: BTreeMap<u8, Arc<AtomicBool>>,
    dripping: BTreeMap<u8, Arc<AtomicBool>>,
    running: BTreeMap<u8, JoinHandle<()>>,
    /// Connections of each node.
    established: BTreeMap<u8, Arc<AtomicUsize>>,
    /// What nodes are asked about the list, and whether they lie in their answers.
    pub(super) list: Arc<ListDesk>,
    /// What the client's wall clock is ahead, in milliseconds.
    pub(super) ahead: Arc<AtomicU64>,
    sent: u8,
}

impl Drop for World {
    fn drop(&mut self) {
        for task in self.running.values() {
            task.abort();
        }
    }
}

impl World {
    /// All nodes run.
    pub(super) fn new(subnet: u8) -> Self {
        let genesis = genesis();
        let mailbox = Mailbox {
            records: Mutex::default(),
            grown: watch::channel(0).0,
            page: AtomicUsize::new(usize::MAX),
            drip_ms: AtomicU64::new(600),
            retrieves: AtomicUsize::new(0),
            subscriptions: AtomicUsize::new(0),
            subscribed: Mutex::default(),
            refusing: Mutex::default(),
            clocks: Mutex::default(),
            keeping: AtomicUsize::new(0),
            listenings: Mutex::default(),
            pushes: AtomicUsize::new(0),
            swallowing: AtomicBool::new(false),
            doubling: AtomicUsize::new(0),
        };
        let all = HOPS.iter().chain(&MEMBERS);
        let mut world = Self {
            dir: tempfile::tempdir().unwrap(),
            chain: genesis.chain_id(),
            began: WallClock::system().now(),
            genesis: GenesisFile { genesis, producer_addresses: Vec::new(), bootstrap: Vec::new() },
            subnet,
            // Test runners give each test a process of its own, so the process tells them apart.
            port: 20_000 + u16::try_from(std::process::id() % 12_000).unwrap(),
            mailbox: Arc::new(mailbox),
            silent: all.clone().map(|seed| (*seed, Arc::default())).collect(),
            dripping: all.clone().map(|seed| (*seed, Arc::default())).collect(),
            running: BTreeMap::new(),
            established: BTreeMap::new(),
            list: Arc::default(),
            ahead: Arc::default(),
            sent: 0,
        };
        world.list = Arc::new(ListDesk { nodes: world.list(), ..ListDesk::default() });
        for seed in all {
            world.start(*seed);
        }
        world
    }

    pub(super) fn address(&self, seed: u8) -> NodeAddr {
        NodeAddr::new([127, 70 + seed, self.subnet, 1].into(), self.port)
    }

    fn record(&self, seed: u8) -> NodeRecord {
        NodeRecord {
            node: node_of(seed),
            x25519: secret(seed).public(),
            previous_x25519: None,
            operator: PublicKey::new([seed; 32]),
            state: NodeState::Active,
            swarm: MEMBERS.contains(&seed).then_some(SWARM),
            region: Region::default(),
            addresses: vec![self.address(seed)],
        }
    }

    fn list(&self) -> NodeList {
        HOPS.iter().chain(&MEMBERS).map(|seed| (node_of(*seed), Arc::new(self.record(*seed)))).collect()
    }

    fn header(&self) -> SignedHeader {
        self.header_of(HEIGHT, &self.list())
    }

    fn header_of(&self, height: Height, nodes: &NodeList) -> SignedHeader {
        let header = Header {
            height,
            previous: BlockHash::new([0; 32]),
            time: self.began,
            tx_root: Hash::new([0; 32]),
            state_root: Hash::new([0; 32]),
            list_root: list_root_of(&self.chain, nodes),
        };
        header.sign(&key(99), &self.chain)
    }

    /// The list of the block before, in which hops 7 to 9 kept the mail, and its header.
    pub(super) fn before_move(&self) -> (SignedHeader, NodeList) {
        let swarm = |seed| FORMER.contains(&seed).then_some(SwarmId(SWARM.0 - 1));
        let old = |seed| NodeRecord { swarm: swarm(seed), ..self.record(seed) };
        let nodes = HOPS.iter().chain(&MEMBERS).map(|seed| (node_of(*seed), Arc::new(old(*seed)))).collect();
        (self.header_of(Height(HEIGHT.0 - 1), &nodes), nodes)
    }

    /// The list of the block before, in which the records of all hops were others, and its header.
    pub(super) fn before_all(&self) -> (SignedHeader, NodeList) {
        let mut nodes = self.list();
        for seed in HOPS {
            let old = NodeRecord { region: "us".parse().unwrap(), ..self.record(seed) };
            nodes.insert(old.node, Arc::new(old));
        }
        (self.header_of(Height(HEIGHT.0 - 1), &nodes), nodes)
    }

    /// The list of the block before, in which only the record of `seed` was another, and its header.
    pub(super) fn before(&self, seed: u8) -> (SignedHeader, NodeList) {
        let (mut nodes, old) = (self.list(), NodeRecord { region: "us".parse().unwrap(), ..self.record(seed) });
        nodes.insert(old.node, Arc::new(old));
        (self.header_of(Height(HEIGHT.0 - 1), &nodes), nodes)
    }

    fn view(&self) -> Arc<NetworkView> {
        let nodes = self.list();
        let buckets = Buckets::new(&self.chain, &nodes);
        let mut members = MEMBERS.map(node_of).to_vec();
        members.sort();
        let snapshot = Snapshot {
            height: HEIGHT,
            block_hash: BlockHash::new([1; 32]),
            time: UnixMillis(1),
            state_root: Hash::new([0; 32]),
            list_root: buckets.root(&self.chain),
            buckets,
            nodes,
            swarms: SwarmMap::from_parts([(SWARM, members)], Vec::new()).unwrap(),
        };
        Arc::new(NetworkView::new(self.chain, HEIGHT.plus(3), false, Arc::new(snapshot), Vec::new()))
    }

    /// Starts a node, or starts it again.
    pub(super) fn start(&mut self, seed: u8) {
        let (replay_dir, clock) = (self.dir.path().join(format!("replays{seed}")), WallClock::system());
        if !replay_dir.exists() {
            prepare_replays(&replay_dir, &secret(seed).public(), clock.now().seconds()).unwrap();
        }
        let (keys, secrets) = watch::channel(Arc::new(HopSecrets::new([secret(seed)])));
        let config = NetworkConfig {
            identity: Zeroizing::new([seed; 32]),
            chain: self.chain,
            role: Role::Node,
            listen: Some(self.address(seed)),
            producer: Peer { node: node_of(98), addresses: Vec::new() },
            bootstrap: Vec::new(),
            limits: ConnectionLimits { per_address_enabled: false, ..ConnectionLimits::default() },
            private_addresses: true,
            timeouts: Timeouts::default(),
            clock,
            relay: Some(RelayConfig { secrets, replay_dir }),
        };
        let (view_sender, view) = watch::channel(self.view());
        let network = Network::new(config, view, None).unwrap();
        let established = Arc::clone(self.established.entry(seed).or_default());
        let node = Node {
            seed,
            established,
            chain: self.chain,
            header: self.header(),
            mailbox: Arc::clone(&self.mailbox),
            list: Arc::clone(&self.list),
            silent: Arc::clone(&self.silent[&seed]),
            dripping: Arc::clone(&self.dripping[&seed]),
            drops: JoinSet::new(),
            subscribers: BTreeMap::new(),
            listeners: BTreeMap::new(),
        };
        let task = tokio::spawn(async move {
            let _kept = (keys, view_sender);
            Box::pin(node.run(network)).await;
        });
        self.running.insert(seed, task);
    }

    /// Ends a node, its connections with it.
    pub(super) async fn stop(&mut self, seed: u8) {
        if let Some(task) = self.running.remove(&seed) {
            task.abort();
            let _cancelled = task.await;
        }
    }

    pub(super) fn set_silent(&self, seeds: &[u8], silent: bool) {
        for seed in seeds {
            self.silent[seed].store(silent, Ordering::Relaxed);
        }
    }

    /// From now on the node has more for every reader, and for the list one bucket an answer, each after a while.
    pub(super) fn set_dripping(&self, seed: u8) {
        self.dripping[&seed].store(true, Ordering::Relaxed);
    }

    /// The client's data directory.
    pub(super) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// An account whose guards are these, in this order.
    pub(super) fn account(&self, guards: [u8; 3]) -> OpenAccount {
        self.account_of("alice", 9, guards)
    }

    /// An account of that name and entropy.
    fn account_of(&self, name: &str, entropy: u8, guards: [u8; 3]) -> OpenAccount {
        let accounts = Accounts::new(&self.home(), self.chain);
        let name: AccountName = name.parse().unwrap();
        let passphrase = passphrase();
        let mut rng = super::super::seeded().unwrap();
        let new = NewAccount {
            name: &name,
            entropy: &Entropy::take(&mut [entropy; 16]),
            passphrase: &passphrase,
            kdf: Kdf::INSECURE,
            device: DeviceKey::generate(&mut rng),
            created: UnixMillis(1),
        };
        let mut account = accounts.create(&new, &mut rng).unwrap();
        let nodes = self.list();
        let nodes = nodes.values().map(|record| NodeRecord::clone(record)).collect();
        let fetched = WallClock::system().now();
        account.store.save_network(&SavedNetwork { header: self.header(), nodes, fetched }).unwrap();
        let far = UnixSeconds(1 << 40);
        let guards = guards.map(|seed| Guard { node: node_of(seed), chosen: UnixSeconds(1), expires: far });
        account.device().set_guards(&guards, &mut rng).unwrap();
        account
    }

    /// Waits until no connection has come or gone for a while: nodes that start together dial each other at once, and
    /// begin anew then.
    pub(super) async fn settled(&self) {
        let counts = || self.established.values().map(|count| count.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let (mut last, mut since) = (counts(), tokio::time::Instant::now());
        let end = since + Duration::from_secs(30);
        while since.elapsed() < Duration::from_millis(900) {
            assert!(tokio::time::Instant::now() < end, "connections come and go");
            tokio::time::sleep(Duration::from_millis(20)).await;
            if counts() != last {
                (last, since) = (counts(), tokio::time::Instant::now());
            }
        }
    }

    /// A messenger of that account on a network that has settled, by a clock that may be put ahead.
    pub(super) async fn messenger(&self, guards: [u8; 3], patience: Duration) -> Messenger {
        self.messenger_of(self.account(guards), patience).await
    }

    /// A messenger of another account.
    pub(super) async fn messenger_of_bob(&self, guards: [u8; 3], patience: Duration) -> Messenger {
        self.messenger_of(self.account_of("bob", 5, guards), patience).await
    }

    async fn messenger_of(&self, account: OpenAccount, patience: Duration) -> Messenger {
        self.settled().await;
        let (system, ahead) = (WallClock::system(), Arc::clone(&self.ahead));
        let wall = WallClock::new(move || UnixMillis(system.now().0 + ahead.load(Ordering::Relaxed)));
        Messenger::open_at(self.genesis.clone(), account, wall, patience, |_| ()).await.unwrap()
    }

    /// Puts a message for the account into its mailbox.
    pub(super) fn deliver(&mut self, text: &str) {
        self.sent += 1;
        let own = sotto_proto::account::Account::new(&Entropy::take(&mut [9; 16]));
        let from = sotto_proto::account::Account::new(&Entropy::take(&mut [8; 16]));
        let now = WallClock::system().now();
        let body = Body::Text(Text::new(text.to_owned()).unwrap());
        let content = Content::new(MessageId::new([self.sent; 16]), now, body);
        let ttl = Ttl::new(345_600).unwrap();
        let context = SealContext { chain: &self.chain, address: own.address(), timestamp: now.seconds(), ttl };
        let data = crypto::seal(&context, &from, content, &mut super::super::seeded().unwrap()).unwrap();
        let envelope = Envelope::new(own.address(), now.seconds(), ttl, Height(0), data).unwrap();
        self.mailbox.put(Record::new(envelope, Nonce(0), None).unwrap().encode());
    }
}
