use negentropy::NegentropyStorageVector;
use proptest::prelude::*;
use sotto_proto::id::{Height, SwarmId};

use super::*;

fn scope(until: u64, cutoff: u64) -> Scope {
    Scope { height: Height(1), swarm: SwarmId(0), until: UnixSeconds(until), cutoff: UnixSeconds(cutoff) }
}

fn everything() -> Scope {
    scope(u64::MAX, 0)
}

/// Few timestamps and few first bytes, so that neighbours often share them.
fn entry() -> impl Strategy<Value = Entry> {
    (0..40u64, 0..4u8, any::<u16>(), 1..100u64).prop_map(|(timestamp, first, rest, life)| {
        let mut id = [first; 32];
        id[30..].copy_from_slice(&rest.to_be_bytes());
        Entry { timestamp: UnixSeconds(timestamp), id: id.into(), expiry: UnixSeconds(timestamp + life) }
    })
}

/// One expiry an item, as it is in life: the first that came.
fn entries(count: usize) -> impl Strategy<Value = Vec<Entry>> {
    prop::collection::vec(entry(), 0..count).prop_map(|mut entries| {
        entries.sort_by_key(Entry::key);
        entries.dedup_by_key(|entry| entry.key());
        entries
    })
}

fn reference<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> NegentropyStorageVector {
    let mut storage = NegentropyStorageVector::new();
    for entry in entries {
        storage.insert(entry.timestamp.0, Id::from_byte_array(*entry.id.as_bytes())).unwrap();
    }
    storage.seal().unwrap();
    storage
}

fn collect(storage: &impl NegentropyStorageBase, begin: usize, end: usize) -> Vec<(negentropy::Item, usize)> {
    let mut items = Vec::new();
    storage
        .iterate(begin, end, &mut |item, index| {
            items.push((item, index));
            Ok(true)
        })
        .unwrap();
    items
}

/// `count` items over a day, a few at each second.
fn many(count: u64) -> ItemSet {
    let entry = |n: u64| {
        let id = sotto_proto::hash::hash(sotto_proto::domain::TOMBSTONE, n.to_be_bytes());
        let timestamp = UnixSeconds(1_790_000_000 + n * 7919 % 86_400);
        Entry { timestamp, id: ItemId::new(*id.as_bytes()), expiry: UnixSeconds(timestamp.0 + 345_600) }
    };
    (0..count).map(entry).collect()
}

#[test]
fn a_set_of_many_pieces_is_sorted_and_finds_everything() {
    let set = many(20_000);
    assert!(set.pieces.len() > 20, "{}", set.pieces.len());
    assert!(set.pieces.iter().all(|piece| (1..=PIECE_MAX).contains(&piece.entries.len())));
    assert!(set.iter().is_sorted());
    assert_eq!((set.len(), set.iter().count()), (20_000, 20_000));
    assert!(set.iter().all(|entry| set.contains(entry.timestamp, &entry.id)));
    let view = set.view(everything());
    assert_eq!(collect(&view, 0, 20_000), collect(&reference(set.iter()), 0, 20_000));
    assert!((0..20_000).step_by(97).all(|index| view.at(index) == set.iter().nth(index)));
}

#[test]
fn pieces_that_lose_their_items_do_not_stay_many() {
    let mut set = many(20_000);
    let all: Vec<_> = set.iter().copied().collect();
    for (_, entry) in (0..).zip(&all).filter(|(index, _)| index % 200 != 0) {
        assert!(set.remove(entry.timestamp, &entry.id));
    }
    assert_eq!(set.len(), 100);
    assert!(set.pieces.len() <= 2, "{}", set.pieces.len());
    for entry in &all {
        set.remove(entry.timestamp, &entry.id);
    }
    assert!(set.is_empty() && set.pieces.is_empty() && set.sum == Sum::default());
}

#[test]
fn an_empty_set_has_a_summary_too() {
    let set = ItemSet::default();
    let summary = set.view(everything()).summary();
    assert_eq!(summary.count, 0);
    let expected = reference([]).fingerprint(0, 0).unwrap().to_bytes();
    assert_eq!(summary.fingerprint.as_bytes(), &expected);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_holds_what_was_inserted_and_not_removed(entries in entries(300), removed in any::<u64>()) {
        let mut set: ItemSet = entries.iter().rev().copied().collect();
        prop_assert!(entries.iter().all(|entry| !set.insert(*entry)), "none twice");
        let gone = |entry: &Entry| entry.id.as_bytes()[31] & 7 == u8::try_from(removed % 8).unwrap();
        for entry in entries.iter().filter(|entry| gone(entry)) {
            prop_assert!(set.remove(entry.timestamp, &entry.id));
            prop_assert!(!set.remove(entry.timestamp, &entry.id), "none twice");
        }
        let kept: Vec<_> = entries.iter().filter(|entry| !gone(entry)).copied().collect();
        prop_assert_eq!(set.iter().copied().collect::<Vec<_>>(), kept.clone());
        prop_assert_eq!(set.view(everything()).summary(), kept.into_iter().collect::<ItemSet>().view(everything()).summary());
    }

    #[test]
    fn a_view_is_what_negentropy_would_hold(
        entries in entries(300), until in 0..50u64, cutoff in 0..60u64, bounds in any::<(u16, u16)>(),
    ) {
        let set: ItemSet = entries.iter().copied().collect();
        let view = set.view(scope(until, cutoff));
        let left = entries.iter().filter(|entry| entry.timestamp.0 <= until && entry.expiry.0 > cutoff);
        let expected = reference(left.clone());
        let count = expected.size().unwrap();
        prop_assert_eq!(view.iter().collect::<Vec<_>>(), left.collect::<Vec<_>>());
        prop_assert_eq!(view.size().unwrap(), count);

        let fingerprint = expected.fingerprint(0, count).unwrap().to_bytes();
        prop_assert_eq!(view.summary().fingerprint, fingerprint.into(), "kept as a sum");

        let (a, b) = (usize::from(bounds.0) % (count + 1), usize::from(bounds.1) % (count + 1));
        let (begin, end) = (a.min(b), a.max(b));
        prop_assert_eq!(collect(&view, begin, end), collect(&expected, begin, end));
        prop_assert!(view.iterate(begin, count + 1, &mut |_, _| Ok(true)).is_err());
        for index in 0..=count {
            prop_assert_eq!(view.get_item(index).unwrap(), expected.get_item(index).unwrap());
        }
        for (timestamp, id) in [(0, 0), (u64::from(bounds.0) % 45, 1), (u64::from(bounds.1) % 45, 3), (u64::MAX, 0)] {
            let bound = Bound::with_timestamp_and_id(timestamp, [id; 3]).unwrap();
            prop_assert_eq!(
                view.find_lower_bound(begin, count, &bound),
                expected.find_lower_bound(begin, count, &bound)
            );
        }
    }
}
