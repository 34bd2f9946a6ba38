//! Records, tombstones and what belongs to them.

use sotto_proto::address::{Address, AddressKind};
use sotto_proto::id::{BlockHash, Height, ItemId, NodeId, RecordId};
use sotto_proto::time::UnixSeconds;

use super::super::mail::{anchors, confirmations, record, record_entries, signed_delete, tombstones};
use super::super::memory::MemoryStore;
use super::super::records::{Arrival, DeleteName, RecordEntry, RecordKey, Source, Tombstone};
use super::super::{Batch, Family, Store, StoreError, Write};

pub(super) const SUITE: [fn(&mut dyn Store); 7] = [
    records_come_back_as_they_were_written,
    entries_are_read_in_pages,
    a_deleted_record_is_gone_with_its_entry,
    a_row_goes_alone_if_only_it_is_to_go,
    tombstones_and_their_delete_are_kept_apart,
    anchors_are_pruned_from_below,
    confirmations_belong_to_one_item,
];

const START: ItemId = ItemId::new([0; 32]);

fn address(kind: AddressKind, last: u8) -> Address {
    let mut key = [7; 32];
    key[31] = last;
    Address::new(kind, key)
}

pub(super) fn entry(n: u8) -> RecordEntry {
    RecordEntry {
        key: RecordKey { address: address(AddressKind::Mailbox, n % 3), arrival: Arrival(n.into()) },
        id: RecordId::new([n; 32]),
        timestamp: UnixSeconds(1000 + u64::from(n)),
        ttl: 600,
        length: 10 + u32::from(n),
        source: Source::Client,
        received: UnixSeconds(2000),
    }
}

pub(super) fn put(n: u8) -> Write {
    Write::PutRecord { entry: entry(n), bytes: vec![n; 10 + usize::from(n)] }
}

fn write(store: &mut dyn Store, writes: impl IntoIterator<Item = Write>) {
    store.write(&Batch { writes: writes.into_iter().collect() }).unwrap();
}

fn all(store: &dyn Store) -> Vec<RecordEntry> {
    let page = record_entries(store, START, 1000).unwrap();
    assert_eq!((page.next, page.damaged), (None, 0));
    page.rows
}

fn records_come_back_as_they_were_written(store: &mut dyn Store) {
    assert_eq!(all(store), []);
    assert_eq!(record(store, &entry(1).key).unwrap(), None);
    write(store, (1..=9).map(put));
    for n in 1..=9 {
        assert_eq!(record(store, &entry(n).key).unwrap(), Some(vec![n; 10 + usize::from(n)]));
    }
    assert_eq!(all(store), (1..=9).map(entry).collect::<Vec<_>>());
    let elsewhere = RecordKey { arrival: Arrival(2), ..entry(1).key };
    assert_eq!(record(store, &elsewhere).unwrap(), None);
}

fn entries_are_read_in_pages(store: &mut dyn Store) {
    write(store, (0..=254).map(put));
    let (mut from, mut seen) = (START, Vec::new());
    loop {
        let page = record_entries(store, from, 100).unwrap();
        assert!(page.rows.len() <= 100);
        seen.extend(page.rows);
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(seen, (0..=254).map(entry).collect::<Vec<_>>());
}

fn a_deleted_record_is_gone_with_its_entry(store: &mut dyn Store) {
    write(store, (1..=3).map(put));
    write(store, [Write::DeleteRecord { key: entry(2).key, id: entry(2).id }]);
    assert_eq!(record(store, &entry(2).key).unwrap(), None);
    assert_eq!(all(store), [entry(1), entry(3)]);
}

fn a_row_goes_alone_if_only_it_is_to_go(store: &mut dyn Store) {
    write(store, (1..=3).map(put));
    write(store, [Write::DeleteRow { family: Family::Records, key: entry(2).key.to_bytes().to_vec() }]);
    assert_eq!(record(store, &entry(2).key).unwrap(), None);
    assert_eq!(all(store), [entry(1), entry(2), entry(3)]);
    write(store, [Write::DeleteRow { family: Family::RecordIds, key: entry(3).id.as_ref().to_vec() }]);
    assert_eq!(all(store), [entry(1), entry(2)]);
    assert!(record(store, &entry(3).key).unwrap().is_some());
}

fn tombstones_and_their_delete_are_kept_apart(store: &mut dyn Store) {
    let bytes = b"signed delete".to_vec();
    let name = DeleteName::of(&bytes);
    let stone = |n| {
        let RecordEntry { key, id, timestamp, ttl, .. } = entry(n);
        Tombstone { address: key.address, id, timestamp, ttl, delete: name }
    };
    write(store, [Write::PutSignedDelete { name, bytes: bytes.clone() }]);
    write(store, [1, 2].map(|n| Write::PutTombstone(stone(n))));
    let mut found = tombstones(store, START, 10).unwrap().rows;
    found.sort_by_key(|stone| stone.timestamp);
    assert_eq!(found, [stone(1), stone(2)]);
    write(store, [Write::DeleteTombstone(stone(1).item())]);
    assert_eq!(tombstones(store, START, 10).unwrap().rows, [stone(2)]);
    assert_eq!(signed_delete(store, &name).unwrap(), Some(bytes));
    write(store, [Write::DeleteTombstone(stone(2).item()), Write::DeleteSignedDelete(name)]);
    assert_eq!(signed_delete(store, &name).unwrap(), None);
    assert_eq!(tombstones(store, START, 10).unwrap().rows, []);
}

fn anchors_are_pruned_from_below(store: &mut dyn Store) {
    let hash = |height: u64| BlockHash::new([height as u8; 32]);
    write(store, [60, 120, 180, 240].map(|height| Write::PutAnchor { height: Height(height), hash: hash(height) }));
    write(store, [Write::PutConfirmation { item: START, node: NodeId::new([1; 32]) }]);
    write(store, [Write::PruneAnchorsBelow(Height(180))]);
    let expected = [180, 240].map(|height| (Height(height), hash(height)));
    assert_eq!(anchors(store).unwrap().into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(confirmations(store, &START).unwrap().len(), 1);
}

fn confirmations_belong_to_one_item(store: &mut dyn Store) {
    let (one, other) = (ItemId::new([1; 32]), ItemId::new([0xff; 32]));
    let node = |n| NodeId::new([n; 32]);
    let put = |item, n| Write::PutConfirmation { item, node: node(n) };
    write(store, [put(one, 1), put(one, 2), put(one, 2), put(other, 3)]);
    assert_eq!(confirmations(store, &one).unwrap(), [node(1), node(2)]);
    assert_eq!(confirmations(store, &other).unwrap(), [node(3)]);
    write(store, [Write::DeleteConfirmations(one)]);
    assert_eq!(confirmations(store, &one).unwrap(), []);
    assert_eq!(confirmations(store, &other).unwrap(), [node(3)]);
}

#[test]
fn a_damaged_record_is_told_apart_from_a_missing_one_and_never_handed_out() {
    let mut store = MemoryStore::default();
    write(&mut store, [put(1), put(2)]);
    store.damage(Family::Records, &entry(1).key.to_bytes());
    store.damage(Family::RecordIds, entry(2).id.as_ref());
    assert!(matches!(record(&store, &entry(1).key), Err(StoreError::Damaged(_))));
    let page = record_entries(&store, START, 10).unwrap();
    assert_eq!((page.rows, page.damaged), (vec![entry(1)], 1));
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_table_with_a_flipped_bit_costs_records_and_nothing_else() {
    use super::super::rocks::RocksStore;
    let directory = tempfile::tempdir().unwrap();
    let mut store = RocksStore::open(directory.path()).unwrap();
    // Bytes that do not compress, so that the records' table is the largest and has many blocks.
    let bytes = |n: u8| -> Vec<u8> {
        let hashes = (0..20_u8).map(|part| sotto_proto::hash::hash(sotto_proto::domain::STORED, [n, part]));
        hashes.flat_map(|hash| *hash.as_bytes()).collect()
    };
    write(&mut store, (1..=200).map(|n| Write::PutRecord { entry: entry(n), bytes: bytes(n) }));
    drop(store);
    // Opening again writes the log out into tables.
    drop(RocksStore::open(directory.path()).unwrap());
    let largest = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sst"))
        .max_by_key(|path| path.metadata().unwrap().len())
        .unwrap();
    let mut damaged = std::fs::read(&largest).unwrap();
    damaged[1000] ^= 1;
    std::fs::write(&largest, damaged).unwrap();

    let store = RocksStore::open(directory.path()).unwrap();
    let mut outcomes = [0; 2];
    for n in 1..=200 {
        match record(&store, &entry(n).key) {
            Ok(Some(found)) => {
                assert_eq!(found, bytes(n));
                outcomes[0] += 1;
            }
            Err(StoreError::Damaged(_)) => outcomes[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(outcomes[0] > 0 && outcomes[1] > 0, "{outcomes:?}");
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_database_from_before_records_is_taken_over() {
    use super::super::rocks::RocksStore;
    use super::super::{MetaKey, schema};
    let directory = tempfile::tempdir().unwrap();
    let before = schema::VERSION_WITHOUT_RECORDS.to_be_bytes().to_vec();
    let mut store = RocksStore::open(directory.path()).unwrap();
    write(&mut store, [Write::PutMeta(MetaKey::SchemaVersion, before)]);
    drop(store);
    let mut store = RocksStore::open(directory.path()).unwrap();
    assert_eq!(store.meta(MetaKey::SchemaVersion).unwrap(), Some(schema::VERSION.to_be_bytes().to_vec()));
    write(&mut store, [put(1)]);
    assert_eq!(all(&store), [entry(1)]);
}
