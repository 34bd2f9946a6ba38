//! What every store must do. One suite, run on each implementation; [`mail`] has the part about records.

mod mail;

use sotto_proto::chain::{Header, SignedHeader};
use sotto_proto::id::{BlockHash, Hash, Height};
use sotto_proto::sign::Signature;
use sotto_proto::time::UnixMillis;

use super::faulty::FaultyStore;
use super::memory::MemoryStore;
use super::{Batch, Limit, MetaKey, Store, StoreError, StoredSnapshot, Write};

const ALL: Limit = Limit { bytes: usize::MAX, count: usize::MAX };

fn hash(height: u64, fork: u8) -> BlockHash {
    BlockHash::new(std::array::from_fn(|i| if i == 0 { fork } else { height as u8 }))
}

fn put(height: u64, fork: u8) -> Write {
    Write::PutBlock { height: Height(height), hash: hash(height, fork), bytes: vec![fork; 100 + height as usize] }
}

fn put_all(store: &mut dyn Store, heights: std::ops::RangeInclusive<u64>, fork: u8) {
    store.write(&Batch { writes: heights.map(|height| put(height, fork)).collect() }).unwrap();
}

fn heights(store: &dyn Store, from: u64, limit: Limit) -> Vec<u64> {
    store.blocks(Height(from), limit).unwrap().into_iter().map(|block| block.height.0).collect()
}

fn an_empty_store_has_nothing(store: &mut dyn Store) {
    assert_eq!(store.block_range().unwrap(), None);
    assert_eq!(store.block(Height(0)).unwrap(), None);
    assert_eq!(store.blocks(Height(0), ALL).unwrap(), []);
    assert_eq!(store.snapshot(Height(u64::MAX)).unwrap(), None);
    assert_eq!(store.meta(MetaKey::Rotation).unwrap(), None);
    store.write(&Batch::default()).unwrap();
    store.sync().unwrap();
}

fn blocks_come_back_in_order_with_their_hashes(store: &mut dyn Store) {
    put_all(store, 250..=260, 1); // across a byte of the key
    assert_eq!(store.block_range().unwrap(), Some(Height(250)..=Height(260)));
    assert_eq!(heights(store, 250, ALL), (250..=260).collect::<Vec<_>>());
    let block = store.block(Height(255)).unwrap().unwrap();
    assert_eq!((block.height, block.hash, block.bytes.len()), (Height(255), hash(255, 1), 355));
    assert_eq!(heights(store, 249, ALL), [0_u64; 0]);
    assert_eq!(heights(store, 261, ALL), [0_u64; 0]);
}

fn ranges_end_at_gaps_and_limits(store: &mut dyn Store) {
    put_all(store, 1..=5, 1);
    put_all(store, 7..=9, 1);
    assert_eq!(heights(store, 3, ALL), [3, 4, 5]);
    assert_eq!(heights(store, 1, Limit { bytes: usize::MAX, count: 2 }), [1, 2]);
    assert_eq!(heights(store, 1, Limit { bytes: 101 + 102, count: 9 }), [1, 2]);
    assert_eq!(heights(store, 1, Limit { bytes: 101 + 101, count: 9 }), [1]);
    assert_eq!(heights(store, 1, Limit { bytes: 0, count: 9 }), [1], "a first block always comes");
    assert_eq!(heights(store, 1, Limit { bytes: 9999, count: 0 }), [0_u64; 0]);
}

fn headers_come_without_their_blocks_and_count_them_all_the_same(store: &mut dyn Store) {
    let header = |height: u64| SignedHeader {
        header: Header {
            height: Height(height),
            previous: hash(height, 7),
            time: UnixMillis(height),
            tx_root: Hash::new([1; 32]),
            state_root: Hash::new([2; 32]),
            list_root: Hash::new([3; 32]),
        },
        signature: Signature::new([4; 64]),
    };
    let body = vec![0; 10_000];
    let put = |height| {
        let bytes = [header(height).encode(), body.clone()].concat();
        Write::PutBlock { height: Height(height), hash: hash(height, 1), bytes }
    };
    store.write(&Batch { writes: (1..=5).chain(7..=9).map(put).collect() }).unwrap();
    let found = |from, limit| store.headers(Height(from), limit).unwrap();
    assert_eq!(found(3, ALL), [3, 4, 5].map(header));
    assert_eq!(found(6, ALL), []);
    assert_eq!(found(1, Limit { bytes: usize::MAX, count: 2 }), [1, 2].map(header));
    assert_eq!(found(1, Limit { bytes: 25_000, count: 9 }), [1, 2].map(header));
    assert_eq!(found(1, Limit { bytes: 0, count: 9 }), [1].map(header), "a first one always comes");
    store.write(&Batch::of(Write::PutBlock { height: Height(10), hash: hash(10, 1), bytes: vec![1; 5] })).unwrap();
    assert!(matches!(store.headers(Height(9), ALL), Err(StoreError::Damaged(_))));
}

fn a_reorganisation_replaces_blocks_in_one_batch(store: &mut dyn Store) {
    put_all(store, 1..=10, 1);
    let mut batch = Batch::of(Write::DeleteBlocksFrom(Height(8)));
    (8..=11).for_each(|height| batch.push(put(height, 2)));
    store.write(&batch).unwrap();
    let blocks = store.blocks(Height(1), ALL).unwrap();
    assert_eq!(blocks.len(), 11);
    for block in blocks {
        assert_eq!(block.hash, hash(block.height.0, if block.height.0 < 8 { 1 } else { 2 }));
    }
}

fn pruning_takes_the_old_and_leaves_the_new(store: &mut dyn Store) {
    put_all(store, 1..=10, 1);
    store.write(&Batch::of(Write::PruneBlocksBelow(Height(4)))).unwrap();
    assert_eq!(store.block_range().unwrap(), Some(Height(4)..=Height(10)));
    assert_eq!(heights(store, 3, ALL), [0_u64; 0]);
    store.write(&Batch::of(Write::PruneBlocksBelow(Height(99)))).unwrap();
    assert_eq!(store.block_range().unwrap(), None);
}

fn the_newest_snapshot_up_to_a_height_is_found(store: &mut dyn Store) {
    let found = |store: &dyn Store, at_most| store.snapshot(Height(at_most)).unwrap().map(|found| found.height.0);
    for height in [1000, 2000, 3000] {
        store.write(&Batch::of(Write::PutSnapshot { height: Height(height), bytes: vec![height as u8; 9] })).unwrap();
    }
    assert_eq!([999, 1000, 2999, u64::MAX].map(|at| found(store, at)), [None, Some(1000), Some(2000), Some(3000)]);
    let newest = StoredSnapshot { height: Height(3000), bytes: vec![3000_u64 as u8; 9] };
    assert_eq!(store.snapshot(Height(3000)).unwrap(), Some(newest));
    store.write(&Batch::of(Write::DeleteSnapshot(Height(3000)))).unwrap();
    store.write(&Batch::of(Write::PruneSnapshotsBelow(Height(2000)))).unwrap();
    assert_eq!([1999, 3000].map(|at| found(store, at)), [None, Some(2000)]);
}

fn single_values_are_replaced(store: &mut dyn Store) {
    store.write(&Batch::of(Write::PutMeta(MetaKey::Rotation, vec![1]))).unwrap();
    store.write(&Batch::of(Write::PutMeta(MetaKey::Rotation, vec![2, 3]))).unwrap();
    assert_eq!(store.meta(MetaKey::Rotation).unwrap(), Some(vec![2, 3]));
    assert_eq!(store.meta(MetaKey::Chain).unwrap(), None);
}

const SUITE: [fn(&mut dyn Store); 8] = [
    an_empty_store_has_nothing,
    blocks_come_back_in_order_with_their_hashes,
    ranges_end_at_gaps_and_limits,
    headers_come_without_their_blocks_and_count_them_all_the_same,
    a_reorganisation_replaces_blocks_in_one_batch,
    pruning_takes_the_old_and_leaves_the_new,
    the_newest_snapshot_up_to_a_height_is_found,
    single_values_are_replaced,
];

#[test]
fn the_memory_store_conforms() {
    for test in SUITE.into_iter().chain(mail::SUITE) {
        test(&mut MemoryStore::default());
    }
}

#[test]
fn the_store_that_fails_on_demand_conforms_as_long_as_nobody_demands_it() {
    for test in SUITE.into_iter().chain(mail::SUITE) {
        test(&mut FaultyStore::default());
    }
}

/// Any change, with heights that meet each other.
#[cfg(feature = "rocksdb")]
fn any_write() -> impl proptest::strategy::Strategy<Value = Write> {
    use proptest::prelude::*;
    let height = (0_u64..40).prop_map(Height);
    prop_oneof![
        6 => (height.clone(), 0_u8..3).prop_map(|(height, fork)| put(height.0, fork)),
        1 => height.clone().prop_map(Write::DeleteBlocksFrom),
        1 => height.clone().prop_map(Write::PruneBlocksBelow),
        2 => (height.clone(), 0_u8..9).prop_map(|(height, byte)| Write::PutSnapshot { height, bytes: vec![byte; 50] }),
        1 => height.clone().prop_map(Write::PruneSnapshotsBelow),
        1 => height.prop_map(Write::DeleteSnapshot),
        1 => any::<u8>().prop_map(|byte| Write::PutMeta(MetaKey::Rotation, vec![byte])),
    ]
}

#[cfg(feature = "rocksdb")]
mod rocks {
    use super::super::rocks::RocksStore;
    use super::super::schema;
    use super::*;

    #[test]
    fn the_rocksdb_store_conforms() {
        for test in SUITE.into_iter().chain(mail::SUITE) {
            let directory = tempfile::tempdir().unwrap();
            test(&mut RocksStore::open(directory.path()).unwrap());
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
        #[test]
        fn both_stores_say_the_same_after_any_changes(
            batches in proptest::collection::vec(proptest::collection::vec(any_write(), 0..12), 0..20),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let (mut memory, mut rocks) = (MemoryStore::default(), RocksStore::open(directory.path()).unwrap());
            for writes in batches {
                let batch = Batch { writes };
                // A height has one block: a fork is put only after what it replaces is deleted.
                if batch.writes.iter().any(|write| is_fork(&memory, write)) {
                    continue;
                }
                memory.write(&batch).unwrap();
                rocks.write(&batch).unwrap();
                proptest::prop_assert_eq!(memory.block_range().unwrap(), rocks.block_range().unwrap());
                proptest::prop_assert_eq!(memory.meta(MetaKey::Rotation).unwrap(), rocks.meta(MetaKey::Rotation).unwrap());
                for height in (0..41).map(Height) {
                    proptest::prop_assert_eq!(memory.blocks(height, ALL).unwrap(), rocks.blocks(height, ALL).unwrap());
                    proptest::prop_assert_eq!(memory.snapshot(height).unwrap(), rocks.snapshot(height).unwrap());
                }
            }
        }
    }

    fn is_fork(store: &dyn Store, write: &Write) -> bool {
        let Write::PutBlock { height, hash, .. } = write else { return false };
        *hash != self::hash(height.0, 1) || store.block(*height).unwrap().is_some_and(|block| block.hash != *hash)
    }

    #[test]
    fn what_was_written_is_there_after_opening_again() {
        let directory = tempfile::tempdir().unwrap();
        assert!(RocksStore::open_read_only(directory.path()).unwrap().is_none());
        let mut store = RocksStore::open(directory.path()).unwrap();
        put_all(&mut store, 1..=3, 1);
        drop(store);
        let store = RocksStore::open_read_only(directory.path()).unwrap().unwrap();
        assert_eq!(heights(&store, 1, ALL), [1, 2, 3]);
        drop(store);
        assert_eq!(heights(&RocksStore::open(directory.path()).unwrap(), 1, ALL), [1, 2, 3]);
    }

    #[test]
    fn a_database_of_another_version_is_refused_with_both_versions() {
        let directory = tempfile::tempdir().unwrap();
        let newer = (schema::VERSION + 1).to_be_bytes().to_vec();
        let mut store = RocksStore::open(directory.path()).unwrap();
        store.write(&Batch::of(Write::PutMeta(MetaKey::SchemaVersion, newer))).unwrap();
        drop(store);
        let error = RocksStore::open(directory.path()).unwrap_err();
        assert!(matches!(&error, StoreError::Version { found, known: 2 } if found == "3"), "{error}");
    }

    #[test]
    fn a_database_with_families_of_a_later_version_still_says_its_version() {
        let directory = tempfile::tempdir().unwrap();
        {
            let mut options = rocksdb::Options::default();
            options.create_if_missing(true);
            options.create_missing_column_families(true);
            let db = rocksdb::DB::open_cf(&options, directory.path(), ["default", "messages"]).unwrap();
            db.put(MetaKey::SchemaVersion.name(), 7_u32.to_be_bytes()).unwrap();
        }
        assert!(matches!(RocksStore::open(directory.path()), Err(StoreError::Version { .. })));
    }

    #[test]
    fn a_file_that_is_no_database_is_an_error_and_no_panic() {
        let directory = tempfile::tempdir().unwrap();
        drop(RocksStore::open(directory.path()).unwrap());
        std::fs::write(directory.path().join("CURRENT"), "nonsense").unwrap();
        assert!(matches!(RocksStore::open(directory.path()), Err(StoreError::Damaged(_))));
        std::fs::remove_file(directory.path().join("CURRENT")).unwrap();
        let opened = RocksStore::open(directory.path());
        assert!(matches!(opened, Err(StoreError::Damaged(_))), "no new one is begun among the files of the old one");
    }
}
