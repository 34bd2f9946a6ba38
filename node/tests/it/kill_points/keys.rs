//! A node that dies while it changes its X25519 key: whichever key the chain shows it has, the one before as long as
//! somebody may use it, and replay sets for the keys it has and for no others.
//!
//! The child has its own producer, whose blocks come fast and outlive it in a file; the time of day is that of the
//! newest block.

mod producer;

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sotto_behaviours::clock::Clock;
use sotto_behaviours::network::{Event as NetEvent, Network, NetworkConfig, Peer, Role, WallClock};
use sotto_behaviours::onion::{RelayConfig, prepare_replays};
use sotto_node::chain_thread::restore::restore;
use sotto_node::chain_thread::{ChainThread, Retention};
use sotto_node::event_loop::{About, EventLoop, Parts};
use sotto_node::http::Control;
use sotto_node::keys::{KeyDirectory, Seed, Slot};
use sotto_node::run::DATABASE;
use sotto_node::service_node::{ChainUpdate, Identity, Input, KeyRing, MailLimits, ServiceNode, Settings};
use sotto_node::store::rocks::RocksStore;
use sotto_node::store::{MetaKey, Store as _, writer};
use sotto_proto::account::test_seed;
use sotto_proto::cell::key_tag;
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::time::UnixMillis;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use self::producer::{BLOCKS, Producer, append, chain_of, changes};
use super::SEEDS;
use super::disk;
use super::layout::Layout;
use super::life::{self, Moment, Orders, Probed, What};
use super::process::{Draws, LOOK, Life, PATIENCE};
use crate::chain::{SEED, TestChain, key, node, x25519};

/// Blocks, and seconds of their time, that a key is current.
const PERIOD: u64 = 50;
/// What is registered; nobody goes there.
const ADDRESS: &str = "/ip4/127.100.0.1/tcp/27010";
const REPLAYS: &str = "replays";

/// A registered node with one key.
fn set_up(datadir: &Path) {
    let keys = KeyDirectory::of(datadir);
    keys.create().unwrap();
    keys.write_new(Slot::X25519, &Seed::take(&mut test_seed(SEED, "x25519", 0))).unwrap();
    prepare_replays(&datadir.join(REPLAYS), &x25519(0), WallClock::system().now().seconds()).unwrap();
    let (mut chain, mut file) = (chain_of(datadir), File::create(datadir.join(BLOCKS)).unwrap());
    let registration = chain.registration(0);
    append(&mut file, &chain.produce(vec![registration]));
    for _ in 0..5 {
        append(&mut file, &chain.produce(Vec::new()));
    }
}

fn config(layout: &Layout, role: Role, identity: [u8; 32], producer: Vec<NodeAddr>, host: u8) -> NetworkConfig {
    let chain = TestChain::with(|params| params.key_rotation_s = PERIOD).genesis;
    NetworkConfig {
        chain: chain.chain_id(),
        listen: Some(format!("/ip4/127.{host}.{}.1/tcp/0", layout.subnet).parse().unwrap()),
        producer: Peer { node: chain.producer, addresses: producer },
        ..layout.config(role, identity, None)
    }
}

/// Does nothing unless it is the child: then it is a node that changes its key again and again.
#[test]
fn child() {
    let Ok(orders) = std::env::var(life::ORDERS) else { return };
    let orders = Orders::decode(&orders);
    let keys = KeyDirectory::of(&orders.datadir);
    keys.promote_if_cut_short().unwrap();
    let store = RocksStore::open(&orders.datadir.join(DATABASE)).unwrap();
    let rotation = store.meta(MetaKey::Rotation).unwrap();
    let mut store = Probed::new(store, orders.executioner());
    // The blocks are the file's: on disk the chain stands still.
    let restored = restore(&chain_of(&orders.datadir).genesis, &mut store).unwrap();
    let (store, storage) = writer::spawn(store, keys.clone()).unwrap();
    let thread =
        ChainThread { restored, store: store.clone(), retention: Retention::default(), probe: Box::new(|_| {}) };
    let ring = KeyRing::load(&keys, rotation.as_deref()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let chain_thread = runtime.block_on(async {
        let chain = chain_of(&orders.datadir);
        let view = Arc::new(chain.view());
        let first = ChainUpdate { view: Arc::clone(&view), tip: chain.tip().clone() };
        let spawned = thread.spawn(watch::channel(Arc::clone(&view)).0).unwrap();
        let (sender, known) = watch::channel(view);
        let wall = Arc::new(AtomicU64::new(chain.tip().time().0));
        let (events, chain_events) = mpsc::channel(64);
        let producer = config(&orders.layout, Role::Producer, test_seed(SEED, "producer", 0), Vec::new(), 188);
        let mut network = Network::new(producer, known.clone(), None).unwrap();
        let address = loop {
            if let NetEvent::Listening(address) = network.next().await {
                break address;
            }
        };
        let file = OpenOptions::new().append(true).open(orders.datadir.join(BLOCKS)).unwrap();
        let read = Arc::clone(&wall);
        let clock = Clock::new(WallClock::new(move || UnixMillis(read.load(Ordering::Relaxed))));
        let executioner = orders.executioner();
        let producer = Producer { network, chain, file, view: sender, wall, events, executioner };
        tokio::spawn(producer.run());

        let machine = machine(ring, &clock);
        let (secrets, followed) = watch::channel(Arc::new(machine.hop_secrets().unwrap()));
        let relay = Some(RelayConfig { secrets: followed, replay_dir: orders.datadir.join(REPLAYS) });
        let own = config(&orders.layout, Role::Node, test_seed(SEED, "node", 0), vec![address], 189);
        let network = Network::new(NetworkConfig { relay, ..own }, known, None).unwrap();
        let (control, questions) = Control::channel();
        std::thread::spawn(move || life::answer(&control));
        let about = About { chain: network_chain(), moniker: "keys".into(), started: Instant::now(), damage: None };
        let chain = spawned.handle;
        let parts = Parts { network, machine, clock, about, chain, chain_events, store, questions, secrets };
        let executioner = orders.executioner();
        let probe = Box::new(move |point| executioner.pass(Moment::Loop(point)));
        let event_loop = EventLoop::new(parts).with_probe(probe);
        Box::pin(event_loop.run(Input::Chain(Box::new(first)), CancellationToken::new())).await;
        spawned.thread
    });
    chain_thread.join().unwrap();
    storage.join().unwrap();
}

fn network_chain() -> sotto_proto::id::ChainId {
    TestChain::with(|params| params.key_rotation_s = PERIOD).genesis.chain_id()
}

fn machine(ring: KeyRing, clock: &Clock) -> ServiceNode {
    let settings = Settings {
        addresses: vec![ADDRESS.parse().unwrap()],
        region: "eu".parse().unwrap(),
        register: false,
        stake: None,
        version: 1,
        mail: MailLimits::default(),
    };
    let identity = Identity { node: key("node", 0), operator: None };
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).unwrap();
    ServiceNode::new(identity, settings, ring, &seed, clock.now())
}

/// The keys that a start would have, after it has finished what was begun.
fn ring(datadir: &Path) -> KeyRing {
    let keys = KeyDirectory::of(datadir);
    keys.promote_if_cut_short().unwrap();
    KeyRing::load(&keys, disk::open(datadir).meta(MetaKey::Rotation).unwrap().as_deref()).unwrap()
}

/// Whoever builds a path by the chain's record is understood. Returns how often the key has changed.
fn check(datadir: &Path, what: &str) -> usize {
    let (chain, ring) = (chain_of(datadir), ring(datadir));
    let last_final = chain.state_at(chain.view().current().height.0);
    // Some know what is final, some what is newest.
    for state in [chain.tip(), &last_final] {
        let entry = state.service_node(&node(0)).expect("registered");
        let at = state.height();
        assert!(ring.holds(&entry.record.x25519), "{what}: the key at height {at} is lost");
        let age = chain.tip().height().since(entry.key_rotated_at);
        if let Some(previous) = entry.record.previous_x25519.filter(|_| age < PERIOD) {
            assert!(
                ring.holds(&previous),
                "{what}: the previous key at height {at} is gone, {age} blocks after the change"
            );
        }
    }
    changes(&chain)
}

/// One set for paths and one for tunnels of each key there is. A node that ends just after it has written a new key has
/// not made its sets yet; the next start finds none, and refuses what could be a repetition. One that ends just after it
/// has destroyed a key leaves that key's sets, which the next start deletes. Returns what was left.
fn check_replays(datadir: &Path) -> BTreeSet<String> {
    let ring = ring(datadir);
    let expected = ring.secrets().flat_map(|(public, _)| {
        let tag = hex::encode(key_tag(public).as_bytes());
        ["paths", "tunnels"].map(|of| format!("{of}-{tag}.replay"))
    });
    let expected: BTreeSet<_> = expected.collect();
    let found = std::fs::read_dir(datadir.join(REPLAYS)).unwrap();
    let found = found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let left: BTreeSet<_> = &found - &expected;
    assert!(left.len() <= 2, "{found:?}, {expected:?}");
    assert!((&expected - &found).len() <= 2, "{found:?}, {expected:?}");
    left
}

async fn kill(subnet: u8, moments: &[Moment]) {
    for moment in moments {
        let (layout, dir) = (Layout::new(subnet), tempfile::tempdir().unwrap());
        set_up(dir.path());
        let (mut draws, mut had) = (Draws(subnet.into()), 0);
        let start = |moment, left| {
            let orders = Orders { layout: layout.clone(), datadir: dir.path().to_owned(), moment, left };
            Life::of("kill_points::keys::child", life::ORDERS, &orders.encode())
        };
        for seed in 0..SEEDS {
            let what = format!("{moment:?}, seed {seed}");
            start(*moment, draws.below(2)).died(&what).await;
            had = check(dir.path(), &what);
        }
        let last = start(Moment::Never, 0);
        let began = Instant::now();
        while changes(&chain_of(dir.path())) < had + 2 {
            assert!(began.elapsed() < PATIENCE, "the keys no longer change");
            tokio::time::sleep(LOOK).await;
        }
        last.stop().await;
        let left = check_replays(dir.path());
        start(Moment::Never, 0).stop().await;
        assert!(check_replays(dir.path()).is_disjoint(&left), "deleted by the next start: {left:?}");
        println!("{moment:?}: {SEEDS} deaths, {had} changes on the chain, 0 keys lost");
    }
}

#[tokio::test]
async fn a_node_killed_while_it_writes_and_destroys_keys_has_the_key_that_the_chain_shows() {
    kill(37, &[Moment::Unwritten(What::KeyFile), Moment::Synced(What::KeyFile), Moment::Unheard]).await;
}

#[tokio::test]
async fn a_node_killed_while_it_promotes_a_key_has_the_key_that_the_chain_shows() {
    kill(38, &[Moment::Unwritten(What::Promotion), Moment::Synced(What::Promotion)]).await;
}
