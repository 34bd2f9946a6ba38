//! A process that dies at any moment of block application leaves a disk from which the same chain follows.
//!
//! The test starts itself again as a child that follows a chain with registrations, proofs and reorganisations, and
//! aborts at the n-th kill point; then it restores what the child left, lets it follow on, and compares roots.
//!
//! The modules below do the same to a whole node on its database, at the moments of storing, acknowledging, publishing,
//! handing over, expiry and key rotation. The seed draws which passing of the moment kills.
//!
//! What no such test can show: a process that dies takes nothing back that it gave the operating system. A write that
//! is acknowledged before it is *synced* survives here, and is lost only with the power; that is for a simulated disk.
//! Acknowledged before it is *written*, it is lost here too, and the check of the check in `mail` sees
//! that.

mod disk;
mod expiry;
mod handing;
mod keys;
mod layout;
mod life;
mod mail;
mod process;
mod world;

use std::process::Command;

use sotto_node::chain_thread::KillPoint;
use sotto_node::chain_thread::restore::restore;
use sotto_node::store::rocks::RocksStore;
use sotto_proto::id::Height;

use crate::chain::TestChain;
use crate::chain_thread::Thread;
use crate::support::text;

/// Deaths tried in block application.
const BLOCK_SEEDS: u64 = 50;
/// Deaths at each other moment.
const SEEDS: u64 = 20;
/// Where the child gets its orders.
const ORDERS: &str = "SOTTO_TEST_KILL";

/// The chain that everybody follows.
fn scenario() -> TestChain {
    let mut chain = TestChain::with(|params| params.epoch_blocks = 20);
    for index in 0..6 {
        let registration = chain.registration(index);
        chain.produce(vec![registration]);
    }
    for round in 0..20 {
        chain.advance(6);
        // `chain.reorganise` takes back empty blocks only, so that no nonce is lost.
        chain.reorganise(1 + round % 3);
        if chain.tip().height().0 % 20 < 10 {
            let proofs = (0..3).map(|index| chain.proof(index)).filter(|proof| is_wanted(&chain, proof)).collect();
            chain.produce(proofs);
            chain.advance(3);
        }
    }
    chain
}

fn is_wanted(chain: &TestChain, proof: &sotto_proto::chain::Transaction) -> bool {
    let sotto_proto::chain::Payload::UptimeProof { epoch, .. } = proof.body.payload else { return false };
    chain.tip().service_node(&proof.body.signer.into()).is_some_and(|entry| entry.proved_epoch < epoch)
}

/// Does nothing unless it is the child.
#[test]
fn child() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let (directory, die_at) = orders.split_once('\n').unwrap();
    let mut points_left: u64 = die_at.parse().unwrap();
    let chain = scenario();
    let probe = Box::new(move |_| {
        if points_left == 0 {
            std::process::abort();
        }
        points_left -= 1;
    });
    let store = RocksStore::open(directory.as_ref()).unwrap();
    let (mut thread, ..) = Thread::start(&chain.genesis, store, probe);
    thread.feed(&chain.arrivals);
    thread.stop();
}

#[test]
fn a_node_killed_at_fifty_moments_comes_back_to_the_same_chain() {
    // In two halves at once: most of the time goes by while children start and die.
    std::thread::scope(|scope| {
        for half in [0..BLOCK_SEEDS / 2, BLOCK_SEEDS / 2..BLOCK_SEEDS] {
            scope.spawn(|| kill_and_compare(half));
        }
    });
}

fn kill_and_compare(seeds: std::ops::Range<u64>) {
    let chain = scenario();
    let points = points(&chain);
    let rare: Vec<usize> = (0..points.len()).filter(|at| is_about_snapshots(points[*at])).collect();
    let mut random = seeds.start;
    for seed in seeds {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let drawn = usize::try_from(random >> 33).unwrap();
        // Snapshots are rare: one death in five is at one of them.
        let die_at = if seed % 5 == 0 { rare[drawn % rare.len()] } else { drawn % points.len() };
        let directory = tempfile::tempdir().unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill_points::child", "--nocapture"])
            .env(ORDERS, format!("{}\n{die_at}", directory.path().display()))
            .output()
            .unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
        assert_eq!(signal, Some(6), "seed {seed}: the child did not die at {die_at}: {}", text(&output.stderr));
        comes_back(&chain, directory.path(), &format!("seed {seed}, killed at point {die_at}, {:?}", points[die_at]));
    }
}

fn comes_back(chain: &TestChain, directory: &std::path::Path, what: &str) {
    let mut store = RocksStore::open(directory).unwrap();
    let restored = restore(&chain.genesis, &mut store).unwrap();
    let tip = restored.follower.tip();
    let was_there =
        tip.height() == Height(0) || chain.arrivals.iter().any(|block| block.hash(&tip.chain()) == tip.tip_hash());
    assert!(was_there, "{what}: restored to a block that never was");

    let (mut thread, ..) = Thread::start(&chain.genesis, store, Box::new(|_| {}));
    thread.feed_again(&chain.arrivals);
    thread.stop();
    let mut store = RocksStore::open(directory).unwrap();
    let restored = restore(&chain.genesis, &mut store).unwrap();
    let (ours, theirs) = (restored.follower.tip(), chain.tip());
    assert_eq!(ours.tip_hash(), theirs.tip_hash(), "{what}");
    assert_eq!((ours.state_root(), ours.list_root()), (theirs.state_root(), theirs.list_root()), "{what}");
    assert_eq!(ours.swarms().digest(), theirs.swarms().digest(), "{what}");
}

const fn is_about_snapshots(point: KillPoint) -> bool {
    use KillPoint::{Pruned, Pruning, SnapshotEncoded, SnapshotWritten};
    matches!(point, SnapshotEncoded | SnapshotWritten | Pruning | Pruned)
}

/// The kill points that following the whole chain passes, in order.
fn points(chain: &TestChain) -> Vec<KillPoint> {
    let (passed, points) = std::sync::mpsc::sync_channel(1 << 16);
    let probe = Box::new(move |point| passed.send(point).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let (mut thread, ..) = Thread::start(&chain.genesis, RocksStore::open(directory.path()).unwrap(), probe);
    thread.feed(&chain.arrivals);
    thread.stop();
    points.into_iter().collect()
}
