use proptest::prelude::*;
use sotto_proto::address::AddressKind;

use super::*;
use crate::store::records::Source;

const NOW: UnixSeconds = UnixSeconds(1000);

fn address(n: u8) -> Address {
    Address::new(AddressKind::Mailbox, [n; 32])
}

fn entry(arrival: u64, at: u8, length: u32, expiry: u64) -> RecordEntry {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&arrival.to_be_bytes());
    RecordEntry {
        key: RecordKey { address: address(at), arrival: Arrival(arrival) },
        id: RecordId::new(id),
        timestamp: UnixSeconds(expiry - 10),
        ttl: 10,
        length,
        source: Source::Client,
        received: NOW,
    }
}

fn arrivals(page: &Page) -> Vec<u64> {
    page.keys.iter().map(|key| key.arrival.0).collect()
}

#[test]
fn pages_follow_the_cursor_and_end_at_what_is_not_on_disk() {
    let mut index = Index::default();
    for arrival in [1, 3, 5, 7] {
        assert!(index.insert(entry(arrival, 1, 100, 2000), arrival != 5));
    }
    index.insert(entry(2, 2, 100, 2000), true);
    let page = index.page(&address(1), Arrival(0), Times::sure(NOW), 1 << 20);
    assert_eq!((arrivals(&page), page.next, page.more), (vec![1, 3], Arrival(3), false));
    index.set_durable(Arrival(5));
    let page = index.page(&address(1), Arrival(1), Times::sure(NOW), 1 << 20);
    assert_eq!((arrivals(&page), page.next), (vec![3, 5, 7], Arrival(7)));
    assert_eq!(
        index.page(&address(1), Arrival(7), Times::sure(NOW), 1 << 20),
        Page { next: Arrival(7), bytes: Records::EMPTY_BYTES, ..Page::default() }
    );
    assert_eq!(
        index.page(&address(9), Arrival(4), Times::sure(NOW), 1 << 20),
        Page { next: Arrival(4), bytes: Records::EMPTY_BYTES, ..Page::default() }
    );
}

#[test]
fn a_page_ends_before_what_may_be_over_and_may_not() {
    let mut index = Index::default();
    for (arrival, ttl) in [(1, 2000), (2, 50), (3, 2000)] {
        assert!(index.insert(entry(arrival, 1, 100, ttl), true));
    }
    let expiry = index.at(Arrival(2)).unwrap().entry.expiry();
    let page = |now, sure| index.page(&address(1), Arrival(0), Times { now, sure }, 1 << 20);
    let (before, after) = (UnixSeconds(expiry.0 - 1), UnixSeconds(expiry.0 + 1));
    assert_eq!(arrivals(&page(before, before)), [1, 2, 3]);
    let doubtful = page(after, before);
    assert_eq!((arrivals(&doubtful), doubtful.next), (vec![1], Arrival(1)), "its reader comes again");
    assert!(doubtful.doubtful && !page(before, before).doubtful);
    let over = page(after, after);
    assert_eq!((arrivals(&over), over.next, over.doubtful), (vec![1, 3], Arrival(3), false));
}

#[test]
fn pages_hold_what_fits_and_at_least_one() {
    let mut index = Index::default();
    for arrival in 1..=5 {
        index.insert(entry(arrival, 1, 1000, 2000), true);
    }
    let two = Records::EMPTY_BYTES + 2 * StoredRecord::encoded_bytes(1000);
    let page = index.page(&address(1), Arrival(0), Times::sure(NOW), two);
    assert_eq!((arrivals(&page), page.next, page.more), (vec![1, 2], Arrival(2), true));
    let page = index.page(&address(1), Arrival(0), Times::sure(NOW), two - 1);
    assert_eq!((arrivals(&page), page.more), (vec![1], true));
    let page = index.page(&address(1), Arrival(4), Times::sure(NOW), 0);
    assert_eq!((arrivals(&page), page.more), (vec![5], false));
}

#[test]
fn what_has_expired_is_passed_over() {
    let mut index = Index::default();
    index.insert(entry(1, 1, 100, 1000), true);
    index.insert(entry(2, 1, 100, 1001), true);
    index.insert(entry(3, 1, 100, 1000), true);
    let page = index.page(&address(1), Arrival(0), Times::sure(NOW), 1 << 20);
    assert_eq!((arrivals(&page), page.next), (vec![2], Arrival(3)));
    assert_eq!(index.live(&address(1), NOW, 8), 1);
    assert_eq!(index.expired(NOW, 8).len(), 2);
    assert_eq!(index.expired(NOW, 1).len(), 1);
    assert_eq!(index.next_expiry(), Some(NOW));
}

#[test]
fn what_is_on_disk_is_gone_through_in_pieces() {
    let mut index = Index::default();
    for arrival in [1, 2, 3, 70, 200] {
        index.insert(entry(arrival, 1, 100, 2000), arrival != 3);
    }
    let after = |arrival, most, bytes| -> Vec<u64> {
        index.on_disk_after(Arrival(arrival), most, bytes).iter().map(|entry| entry.key.arrival.0).collect()
    };
    assert_eq!(after(0, 9, 1000), [1, 2, 70, 200]);
    assert_eq!(after(0, 2, 1000), [1, 2]);
    assert_eq!(after(2, 9, 199), [70], "and no more than fit");
    assert_eq!(after(70, 9, 1), [200], "but for the first");
    assert_eq!(after(200, 9, 1000), [0_u64; 0]);
}

#[test]
fn the_last_tombstone_names_its_delete() {
    let mut index = Index::default();
    let delete = DeleteName::from([1; 32]);
    let stone = |n| {
        let RecordEntry { key, id, timestamp, ttl, .. } = entry(n, 1, 1, 2000);
        Tombstone { address: key.address, id, timestamp, ttl, delete }
    };
    assert!(index.bury(stone(1)) && index.bury(stone(2)) && !index.bury(stone(1)));
    assert_eq!(index.tombstones_at(&address(1)), 2);
    assert_eq!(index.unbury(&stone(1).item()), None);
    assert_eq!(index.unbury(&stone(2).item()), Some(delete));
    assert_eq!(index, Index::default());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sums_are_those_of_what_is_there_and_nothing_is_left_behind(
        steps in prop::collection::vec((any::<bool>(), 1_u64..12, 0_u8..3, 1_u32..500), 0..60),
    ) {
        let mut index = Index::default();
        let mut model = BTreeMap::new();
        for (insert, arrival, at, length) in steps {
            let entry = entry(arrival, at, length, 2000);
            if insert {
                prop_assert_eq!(index.insert(entry, true), !model.contains_key(&arrival));
                model.entry(arrival).or_insert(entry);
            } else {
                let removed = index.remove(Arrival(arrival)).map(|held| held.entry);
                prop_assert_eq!(removed, model.remove(&arrival));
            }
            let bytes = |of: &dyn Fn(&RecordEntry) -> bool| -> u64 {
                model.values().filter(|entry| of(entry)).map(|entry| u64::from(entry.length)).sum()
            };
            prop_assert_eq!(index.bytes(), bytes(&|_| true));
            prop_assert_eq!(index.len(), model.len());
            for at in 0..3 {
                prop_assert_eq!(index.used(&address(at)), bytes(&|entry| entry.key.address == address(at)));
                let expected: Vec<_> =
                    model.values().filter(|entry| entry.key.address == address(at)).map(|e| e.key).collect();
                prop_assert_eq!(index.page(&address(at), Arrival(0), Times::sure(NOW), usize::MAX).keys, expected);
            }
        }
        for arrival in model.keys() {
            index.remove(Arrival(*arrival));
        }
        prop_assert_eq!(index, Index::default());
    }
}
