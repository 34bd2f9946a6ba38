//! What of a damaged database is copied, and what is not.

use std::sync::atomic::Ordering;

use sotto_proto::id::BlockHash;

use super::super::faulty::FaultyStore;
use super::super::memory::MemoryStore;
use super::super::records::{Arrival, RecordKey};
use super::super::verify::tests::{CHAIN, put, record};
use super::super::verify::verify;
use super::*;

const BLOCKS: u64 = 40;

/// A database with blocks, two snapshots, a hundred records, an epoch.
fn damaged() -> FaultyStore {
    let block = |height: u64| Write::PutBlock {
        height: Height(height),
        hash: BlockHash::new([height as u8; 32]),
        bytes: vec![height as u8; 50],
    };
    let snapshot = |height| Write::PutSnapshot { height: Height(height), bytes: vec![1; 9] };
    let mut store = MemoryStore::default();
    let singles = [
        Write::PutMeta(MetaKey::Chain, CHAIN.as_bytes().to_vec()),
        Write::PutMeta(MetaKey::Epoch, 7_u64.to_be_bytes().to_vec()),
        Write::PutMeta(MetaKey::Rotation, vec![4; 40]),
    ];
    let writes = singles.into_iter().chain((1..=BLOCKS).map(block)).chain([snapshot(10), snapshot(20)]);
    store.write(&Batch { writes: writes.chain((0..100).map(put)).collect() }).unwrap();
    FaultyStore::over(store)
}

fn salvaged(from: &FaultyStore) -> (MemoryStore, Salvaged) {
    let mut to = MemoryStore::default();
    let salvaged = salvage(from, &mut to, &CHAIN).unwrap();
    (to, salvaged)
}

#[test]
fn all_of_a_good_database_is_copied_but_the_epoch() {
    let (to, salvaged) = salvaged(&damaged());
    assert_eq!(salvaged, Salvaged { blocks: BLOCKS, records: 100, tombstones: 0, damaged: 0 });
    assert_eq!(to.block_range().unwrap(), Some(Height(1)..=Height(BLOCKS)));
    assert_eq!(to.snapshot(Height(15)).unwrap().map(|snapshot| snapshot.height), Some(Height(10)));
    assert_eq!(to.meta(MetaKey::Rotation).unwrap(), Some(vec![4; 40]));
    assert_eq!(to.meta(MetaKey::Epoch).unwrap(), None, "batches may be missing: cursors mean nothing any more");
    let checked = verify(&to, record(0).0.timestamp, &mut |_| ()).unwrap();
    assert_eq!((checked.records, checked.bad), (100, 0));
}

#[test]
fn a_damaged_snapshot_does_not_hide_the_one_before_it() {
    for (bad, good) in [(20, 10), (10, 20)] {
        let mut from = damaged();
        from.bad_snapshot = Some(Height(bad));
        let (to, salvaged) = salvaged(&from);
        assert_eq!(to.snapshot(Height(u64::MAX)).unwrap().map(|snapshot| snapshot.height), Some(Height(good)));
        assert_eq!((to.snapshot(Height(good - 1)).unwrap(), salvaged.damaged), (None, 1));
    }
}

#[test]
fn what_cannot_be_read_is_left_out_and_nothing_else() {
    let mut from = damaged();
    let rows: Vec<_> = (10..14).map(|n| record(n).0.key.to_bytes().to_vec()).collect();
    from.make_unreadable(Family::Records, &rows);
    from.inner.damage(Family::Records, &record(30).0.key.to_bytes());
    let (to, salvaged) = salvaged(&from);
    assert_eq!(salvaged.records, 95);
    assert!(salvaged.damaged >= 5);
    let checked = verify(&to, record(0).0.timestamp, &mut |_| ()).unwrap();
    assert_eq!((checked.records, checked.bad), (95, 0));
}

#[test]
fn a_record_is_not_lost_with_its_entry() {
    let mut from = damaged();
    let entries: Vec<_> = (0..100).map(|n| record(n).0.id.as_ref().to_vec()).collect();
    from.make_unreadable(Family::RecordIds, &entries);
    let (to, salvaged) = salvaged(&from);
    assert_eq!(salvaged.records, 100);
    assert_eq!(verify(&to, record(0).0.timestamp, &mut |_| ()).unwrap().bad, 0);
}

#[test]
fn a_record_that_lies_in_two_places_is_copied_once() {
    for is_indexed in [false, true] {
        let mut from = damaged();
        let (entry, bytes) = record(3);
        let elsewhere = RecordEntry { key: RecordKey { arrival: Arrival(5000), ..entry.key }, ..entry };
        from.inner.write(&Batch::of(Write::PutRecord { entry: elsewhere, bytes })).unwrap();
        if !is_indexed {
            let entries: Vec<_> = (0..100).map(|n| record(n).0.id.as_ref().to_vec()).collect();
            from.make_unreadable(Family::RecordIds, &entries);
        }
        let (to, salvaged) = salvaged(&from);
        assert_eq!(salvaged.records, 100, "indexed: {is_indexed}");
        assert_eq!(to.rows(Family::Records, &[], &[], usize::MAX).unwrap().len(), 100);
        assert_eq!(verify(&to, entry.timestamp, &mut |_| ()).unwrap().bad, 0);
    }
}

#[test]
fn what_one_source_knows_to_be_deleted_another_does_not_bring_back() {
    let (entry, _) = record(3);
    let (bytes, mut later) = (vec![5; 90], damaged());
    let delete = DeleteName::of(&bytes);
    let RecordEntry { key, id, timestamp, ttl, .. } = entry;
    let tombstone = Tombstone { address: key.address, id, timestamp, ttl, delete };
    let writes = vec![
        Write::DeleteRecord { key, id },
        Write::PutSignedDelete { name: delete, bytes },
        Write::PutTombstone(tombstone),
    ];
    later.inner.write(&Batch { writes }).unwrap();
    for sources in [[&damaged(), &later], [&later, &damaged()]] {
        let mut to = MemoryStore::default();
        let copied = sources.map(|from| salvage(from, &mut to, &CHAIN).unwrap().tombstones);
        assert_eq!(copied.iter().sum::<u64>(), 1);
        assert_eq!(to.row(Family::RecordIds, id.as_ref()).unwrap(), None);
        assert_eq!(to.row(Family::Records, &key.to_bytes()).unwrap(), None);
        assert_eq!(salvage(&later, &mut to, &CHAIN).unwrap().tombstones, 0, "it is there");
    }
}

#[test]
fn what_a_second_source_has_is_added_and_nothing_twice() {
    let mut from = damaged();
    let rows: Vec<_> = (10..14).map(|n| record(n).0.key.to_bytes().to_vec()).collect();
    from.make_unreadable(Family::Records, &rows);
    let (mut to, _) = salvaged(&from);
    let second = salvage(&damaged(), &mut to, &CHAIN).unwrap();
    assert_eq!((second.records, second.blocks), (4, 0));
    assert_eq!(verify(&to, record(0).0.timestamp, &mut |_| ()).unwrap().records, 100);
}

#[test]
fn without_its_blocks_the_mail_is_copied_all_the_same() {
    let from = damaged();
    from.faults.blocks.store(true, Ordering::SeqCst);
    let (to, salvaged) = salvaged(&from);
    assert_eq!((salvaged.blocks, salvaged.records), (0, 100));
    assert_eq!(to.block_range().unwrap(), None);
}

#[test]
fn the_database_of_another_chain_is_refused() {
    let refused = salvage(&damaged(), &mut MemoryStore::default(), &ChainId::new([9; 32]));
    assert!(matches!(refused, Err(StoreError::OtherChain { .. })));
}
