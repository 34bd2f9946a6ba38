//! The chain thread over real storage threads: what is published, what is on disk, what comes back.

use std::sync::Arc;
use std::thread::JoinHandle;

use sotto_chain::Equivocation;
use sotto_node::chain_thread::restore::restore;
use sotto_node::chain_thread::{ChainHandle, ChainThread, Event, Outcome, Probe, Retention, Spawned};
use sotto_node::keys::KeyDirectory;
use sotto_node::store::memory::MemoryStore;
use sotto_node::store::{Batch, Family, Limit, MetaKey, Row, Store, StoreError, Write, writer};
use sotto_proto::chain::{Block, Genesis};
use sotto_proto::id::Height;
use sotto_proto::network::NetworkView;
use tokio::sync::{mpsc, watch};

use crate::chain::TestChain;

pub(crate) const RETENTION: Retention = Retention { blocks: 60, slack: 5, snapshot_every: 20 };

/// A running chain thread.
pub(crate) struct Thread {
    handle: ChainHandle<u64>,
    pub(crate) events: mpsc::Receiver<Event<u64>>,
    view: watch::Receiver<Arc<NetworkView>>,
    threads: [JoinHandle<()>; 2],
    next: u64,
}

impl Thread {
    /// Restores the chain from `store` and follows on.
    pub(crate) fn start(genesis: &Genesis, mut store: impl Store, probe: Probe) -> (Self, Height, u64) {
        let restored = restore(genesis, &mut store).unwrap();
        let (from, replayed) = (restored.from, restored.replayed);
        let (store, storage) = writer::spawn(store, KeyDirectory::of(std::path::Path::new("unused"))).unwrap();
        let thread = ChainThread { restored, store, retention: RETENTION, probe };
        let (sender, view) = watch::channel(thread.update().view);
        let Spawned { handle, events, thread: chain } = thread.spawn(sender).unwrap();
        (Self { handle, events, view, threads: [chain, storage], next: 0 }, from, replayed)
    }

    /// Hands blocks over and waits for what became of them.
    pub(crate) fn insert(&mut self, blocks: Vec<Vec<u8>>) -> Outcome {
        self.next += 1;
        self.handle.try_insert(self.next, blocks).unwrap();
        loop {
            if let Event::Inserted { source, outcome, .. } = self.events.blocking_recv().unwrap() {
                assert_eq!(source, self.next);
                return outcome;
            }
        }
    }

    pub(crate) fn feed<'a>(&mut self, blocks: impl IntoIterator<Item = &'a Block>) {
        for block in blocks {
            let outcome = self.insert(vec![block.encode()]);
            // What is on disk already may be older than what is remembered.
            assert!(matches!(outcome, Outcome::Inserted | Outcome::TooOld), "{outcome:?}");
        }
    }

    /// Hands over blocks that may be old: of a replaced branch whose beginning is forgotten not even the place is known.
    pub(crate) fn feed_again<'a>(&mut self, blocks: impl IntoIterator<Item = &'a Block>) {
        for block in blocks {
            let outcome = self.insert(vec![block.encode()]);
            assert!(
                matches!(outcome, Outcome::Inserted | Outcome::TooOld | Outcome::NeedsParent { .. }),
                "{outcome:?}"
            );
        }
    }

    pub(crate) fn tip(&self) -> Height {
        self.view.borrow().tip
    }

    /// Ends both threads.
    pub(crate) fn stop(self) {
        drop((self.handle, self.events));
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// A store whose content outlives the thread that owned it, as a disk's does.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<std::sync::Mutex<MemoryStore>>);

impl Store for Shared {
    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.0.lock().unwrap().write(batch)
    }
    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    fn blocks(&self, from: Height, limit: Limit) -> Result<Vec<sotto_node::store::StoredBlock>, StoreError> {
        self.0.lock().unwrap().blocks(from, limit)
    }
    fn block_range(&self) -> Result<Option<std::ops::RangeInclusive<Height>>, StoreError> {
        self.0.lock().unwrap().block_range()
    }
    fn snapshot(&self, at_most: Height) -> Result<Option<sotto_node::store::StoredSnapshot>, StoreError> {
        self.0.lock().unwrap().snapshot(at_most)
    }
    fn meta(&self, key: MetaKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.lock().unwrap().meta(key)
    }
    fn row(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.lock().unwrap().row(family, key)
    }
    fn rows(&self, family: Family, from: &[u8], until: &[u8], count: usize) -> Result<Vec<Row>, StoreError> {
        self.0.lock().unwrap().rows(family, from, until, count)
    }
}

/// A store that remembers every batch, as a write-ahead log does.
#[derive(Clone, Default)]
struct Logged {
    store: Shared,
    batches: Arc<std::sync::Mutex<Vec<Batch>>>,
}

impl Store for Logged {
    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.batches.lock().unwrap().push(batch.clone());
        self.store.write(batch)
    }
    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    fn blocks(&self, from: Height, limit: Limit) -> Result<Vec<sotto_node::store::StoredBlock>, StoreError> {
        self.store.blocks(from, limit)
    }
    fn block_range(&self) -> Result<Option<std::ops::RangeInclusive<Height>>, StoreError> {
        self.store.block_range()
    }
    fn snapshot(&self, at_most: Height) -> Result<Option<sotto_node::store::StoredSnapshot>, StoreError> {
        self.store.snapshot(at_most)
    }
    fn meta(&self, key: MetaKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.meta(key)
    }
    fn row(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.row(family, key)
    }
    fn rows(&self, family: Family, from: &[u8], until: &[u8], count: usize) -> Result<Vec<Row>, StoreError> {
        self.store.rows(family, from, until, count)
    }
}

fn quiet() -> Probe {
    Box::new(|_| {})
}

/// A chain of 150 blocks with some nodes, and a store that has followed it.
fn followed() -> (TestChain, Shared) {
    let mut chain = TestChain::new();
    for index in 0..6 {
        let registration = chain.registration(index);
        chain.produce(vec![registration]);
    }
    chain.advance(144);
    let store = Shared::default();
    let (mut thread, ..) = Thread::start(&chain.genesis, store.clone(), quiet());
    thread.feed(&chain.blocks);
    assert_eq!(thread.tip(), Height(150));
    thread.stop();
    (chain, store)
}

fn restored_root(chain: &TestChain, store: &Shared) -> (Height, sotto_proto::id::Hash) {
    let restored = restore(&chain.genesis, &mut store.clone()).unwrap();
    let tip = restored.follower.tip();
    (tip.height(), tip.state_root())
}

#[test]
fn a_restart_takes_a_snapshot_and_few_blocks_and_has_all_recent_maps() {
    let (chain, store) = followed();
    let (thread, from, replayed) = Thread::start(&chain.genesis, store.clone(), quiet());
    assert_eq!((from, replayed), (Height(120), 30), "140 would leave too few to replay");
    assert_eq!(thread.view.borrow().recent().count(), 16);
    assert_eq!(thread.view.borrow().current().height, Height(147));
    thread.stop();
    assert_eq!(restored_root(&chain, &store), (Height(150), chain.tip().state_root()));
    let range = store.block_range().unwrap().unwrap();
    assert!((60..=65).contains(&(range.end().0 - range.start().0 + 1)), "{range:?}");
}

#[test]
fn a_long_lot_is_taken_whole_and_shows_how_far_it_is() {
    let mut chain = TestChain::new();
    chain.advance(200);
    let (mut thread, ..) = Thread::start(&chain.genesis, Shared::default(), quiet());
    thread.handle.try_insert(1, chain.blocks.iter().map(Block::encode).collect()).unwrap();
    let mut tips = Vec::new();
    loop {
        match thread.events.blocking_recv().unwrap() {
            Event::Updated(update) => tips.push(update.tip.height().0),
            Event::Inserted { outcome, tip, .. } => {
                assert_eq!((outcome, tip), (Outcome::Inserted, Height(200)));
                break;
            }
            Event::Evidence(evidence) => panic!("{evidence:?}"),
            Event::StorageFailed(reason) => panic!("{reason}"),
        }
    }
    assert_eq!(tips, [64, 128, 192, 200]);
    thread.stop();
}

#[test]
fn a_reorganisation_replaces_the_blocks_on_disk() {
    let (mut chain, store) = followed();
    let (mut thread, ..) = Thread::start(&chain.genesis, store.clone(), quiet());
    let blocks = chain.reorganise(3);
    thread.feed(&blocks);
    assert_eq!(thread.tip(), Height(151));
    thread.stop();
    assert_eq!(restored_root(&chain, &store), (Height(151), chain.tip().state_root()));
    for block in &chain.blocks[100..] {
        assert_eq!(store.block(block.height()).unwrap().unwrap().bytes, block.encode());
    }
}

#[test]
fn evidence_against_the_producer_is_told_once_and_survives_a_restart() {
    let (chain, store) = followed();
    let (mut thread, ..) = Thread::start(&chain.genesis, store.clone(), quiet());
    let (twin, _) = chain.block_after(&chain.state_at(149), 5, Vec::new());
    let expected = Equivocation { first: chain.blocks[149].header.clone(), second: twin.header.clone() };
    let mut told = Vec::new();
    for _ in 0..2 {
        thread.handle.try_insert(7, vec![twin.encode()]).unwrap();
        loop {
            match thread.events.blocking_recv().unwrap() {
                Event::Evidence(evidence) => told.push(evidence),
                Event::Inserted { outcome, .. } => break assert_eq!(outcome, Outcome::Inserted),
                Event::Updated(_) => {}
                Event::StorageFailed(reason) => panic!("{reason}"),
            }
        }
    }
    assert_eq!(told, [vec![expected.clone()]]);
    thread.stop();
    let restored = restore(&chain.genesis, &mut store.clone()).unwrap();
    assert!(restored.follower.evidence().eq([&expected]));
    let damaged = Write::PutMeta(MetaKey::Evidence, [expected.encode(), vec![9; 500]].concat());
    store.clone().write(&Batch::of(damaged)).unwrap();
    let restored = restore(&chain.genesis, &mut store.clone()).unwrap();
    assert!(restored.follower.evidence().eq([&expected]), "damage costs nothing but itself");
}

#[test]
fn blocks_that_do_not_fit_are_told_apart() {
    let (mut chain, store) = followed();
    let (mut thread, ..) = Thread::start(&chain.genesis, store, quiet());
    assert_eq!(thread.insert(vec![chain.blocks[149].encode()]), Outcome::Inserted, "known");
    assert_eq!(thread.insert(vec![chain.blocks[3].encode()]), Outcome::TooOld);
    assert!(matches!(thread.insert(vec![vec![1, 2, 3]]), Outcome::Invalid(_)));
    let mut forged = chain.blocks[149].clone();
    forged.header.header.state_root = sotto_proto::id::Hash::new([9; 32]);
    assert!(matches!(thread.insert(vec![forged.encode()]), Outcome::Invalid(_)));
    chain.advance(2);
    let last = chain.blocks[151].encode();
    assert_eq!(thread.insert(vec![last.clone()]), Outcome::NeedsParent { height: Height(152) });
    let lot = vec![chain.blocks[150].encode(), last, vec![0]];
    assert!(matches!(thread.insert(lot), Outcome::Invalid(_)));
    assert_eq!(thread.tip(), Height(152), "what came before the bad one was taken");
    thread.stop();
}

#[test]
fn damage_on_disk_costs_blocks_and_never_the_start() {
    type Damage = fn(&mut Shared);
    let cases: [(&str, Damage, u64); 6] = [
        ("a damaged snapshot", |store| put_snapshot(store, 120, vec![1, 2, 3]), 150),
        (
            "a snapshot of another state",
            |store| {
                let other = store.snapshot(Height(140)).unwrap().unwrap();
                put_snapshot(store, 120, other.bytes);
            },
            150,
        ),
        (
            "both snapshots damaged",
            |store| {
                put_snapshot(store, 120, Vec::new());
                put_snapshot(store, 140, Vec::new());
            },
            0,
        ),
        ("a damaged block", |store| damage_block(store, 145), 144),
        ("a damaged block under a snapshot", |store| damage_block(store, 120), 150),
        (
            "a gap",
            |store| {
                let blocks = store.blocks(Height(142), Limit { bytes: 1 << 20, count: 99 }).unwrap();
                let mut batch = Batch::of(Write::DeleteBlocksFrom(Height(141)));
                let put = |block: sotto_node::store::StoredBlock| Write::PutBlock {
                    height: block.height,
                    hash: block.hash,
                    bytes: block.bytes,
                };
                batch.writes.extend(blocks.into_iter().map(put));
                store.write(&batch).unwrap();
            },
            140,
        ),
    ];
    let (chain, store) = followed();
    for (what, damage, expected) in cases {
        let mut damaged = Shared(Arc::new(std::sync::Mutex::new(store.0.lock().unwrap().clone())));
        damage(&mut damaged);
        assert_eq!(restored_root(&chain, &damaged).0, Height(expected), "{what}");
        // And from there everything comes back.
        let (mut thread, ..) = Thread::start(&chain.genesis, damaged.clone(), quiet());
        thread.feed(&chain.blocks);
        thread.stop();
        assert_eq!(restored_root(&chain, &damaged), (Height(150), chain.tip().state_root()), "{what}");
    }
}

#[test]
fn whatever_of_the_last_writes_a_loss_of_power_takes_is_fetched_again() {
    let (mut chain, _) = followed();
    chain.reorganise(3);
    chain.advance(30);
    let logged = Logged::default();
    let (mut thread, ..) = Thread::start(&chain.genesis, logged.clone(), quiet());
    thread.feed(&chain.arrivals);
    thread.stop();
    let batches = logged.batches.lock().unwrap().clone();
    assert!(batches.len() > 180, "{}", batches.len());
    for kept in (0..=batches.len()).rev().step_by(5) {
        let mut left = Shared::default();
        batches[..kept].iter().for_each(|batch| left.write(batch).unwrap());
        let what = format!("{kept} of {} batches", batches.len());
        // Nothing is missed, nothing has to be thrown away: the chain ends where its blocks end.
        let tip = left.block_range().unwrap().map_or(Height(0), |range| *range.end());
        assert_eq!(restored_root(&chain, &left).0, tip, "{what}");
        let (mut thread, ..) = Thread::start(&chain.genesis, left.clone(), quiet());
        thread.feed_again(&chain.arrivals);
        thread.stop();
        assert_eq!(restored_root(&chain, &left), (chain.tip().height(), chain.tip().state_root()), "{what}");
    }
}

fn put_snapshot(store: &mut Shared, height: u64, bytes: Vec<u8>) {
    store.write(&Batch::of(Write::PutSnapshot { height: Height(height), bytes })).unwrap();
}

fn damage_block(store: &mut Shared, height: u64) {
    let mut block = store.block(Height(height)).unwrap().unwrap();
    let last = block.bytes.len() - 1;
    block.bytes[last.min(100)] ^= 1;
    let put = Write::PutBlock { height: block.height, hash: block.hash, bytes: block.bytes };
    store.write(&Batch::of(put)).unwrap();
}

#[test]
fn a_database_of_another_chain_is_refused() {
    let (_, store) = followed();
    let other = TestChain::with(|params| params.block_time_ms = 999);
    let error = restore(&other.genesis, &mut store.clone()).unwrap_err();
    assert!(error.to_string().contains("belongs to chain"), "{error}");
}

#[test]
fn when_the_disk_fails_the_chain_goes_on_in_memory() {
    struct Full(MemoryStore);
    impl Store for Full {
        fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
            if matches!(batch.writes[..], [Write::PutMeta(..)]) {
                return self.0.write(batch);
            }
            Err(StoreError::Engine("No space left on device".into()))
        }
        fn sync(&mut self) -> Result<(), StoreError> {
            Ok(())
        }
        fn blocks(&self, from: Height, limit: Limit) -> Result<Vec<sotto_node::store::StoredBlock>, StoreError> {
            self.0.blocks(from, limit)
        }
        fn block_range(&self) -> Result<Option<std::ops::RangeInclusive<Height>>, StoreError> {
            self.0.block_range()
        }
        fn snapshot(&self, at_most: Height) -> Result<Option<sotto_node::store::StoredSnapshot>, StoreError> {
            self.0.snapshot(at_most)
        }
        fn meta(&self, key: MetaKey) -> Result<Option<Vec<u8>>, StoreError> {
            self.0.meta(key)
        }
        fn row(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.0.row(family, key)
        }
        fn rows(&self, family: Family, from: &[u8], until: &[u8], count: usize) -> Result<Vec<Row>, StoreError> {
            self.0.rows(family, from, until, count)
        }
    }
    let mut chain = TestChain::new();
    chain.advance(5);
    let (mut thread, ..) = Thread::start(&chain.genesis, Full(MemoryStore::default()), quiet());
    thread.handle.try_insert(1, chain.blocks.iter().map(Block::encode).collect()).unwrap();
    let mut failures = Vec::new();
    loop {
        match thread.events.blocking_recv().unwrap() {
            Event::StorageFailed(reason) => failures.push(reason),
            Event::Inserted { .. } => break,
            Event::Updated(_) | Event::Evidence(_) => {}
        }
    }
    assert_eq!(failures.len(), 1);
    assert!(failures[0].contains("No space left"));
    assert_eq!(thread.tip(), Height(5));
    thread.stop();
}
