//! Reading on behind what cannot be read.
//!
//! An engine that keeps rows in blocks loses them by the block: a range with one bad block in it is refused as a whole.
//! Here the rows before it are read all the same, and the first key behind it is looked for.

use super::schema::Family;
use super::{Row, Store, StoreError};

/// Bytes of a key that are taken for a number: addresses and hashes are told apart by them.
const NUMBER: usize = 16;
/// Places, evenly apart, at which it is tried to read on between the damage and the first place behind it that was
/// found: no more good rows are passed over than lie between two of them.
const PLACES: u128 = 256;
/// Halvings of the way between the last of them that cannot be read and the first that can: what is passed over beyond
/// the damage is a 65,536th of that way.
const HALVINGS: u32 = 16;

/// Rows in order, up to the first that cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Readable {
    /// The rows.
    pub(super) rows: Vec<Row>,
    /// Where to go on; `None` at the end.
    pub(super) next: Option<Vec<u8>>,
    /// What lies between the rows and `next` cannot be read.
    pub(super) damaged: bool,
}

/// Reads up to `count` rows, from `from` on and before `until` (empty: to the end). If the very first cannot be read,
/// none, and where reading can go on.
///
/// # Errors
/// When the engine refuses. What is damaged is no error.
pub(super) fn readable<S: Store + ?Sized>(
    store: &S,
    family: Family,
    from: &[u8],
    until: &[u8],
    count: usize,
) -> Result<Readable, StoreError> {
    let mut wanted = count.max(1);
    loop {
        match store.rows(family, from, until, wanted) {
            Ok(rows) => {
                let last = rows.last().filter(|_| rows.len() >= wanted);
                let next = last.map(|(key, _)| [key.as_slice(), &[0]].concat());
                return Ok(Readable { rows, next, damaged: false });
            }
            // What lies before the damage is found with less.
            Err(StoreError::Damaged(_)) if wanted > 1 => wanted /= 2,
            Err(StoreError::Damaged(_)) => {
                let next = behind(store, family, from, until)?;
                return Ok(Readable { rows: Vec::new(), next, damaged: true });
            }
            Err(error) => return Err(error),
        }
    }
}

/// The first key behind `from` that reading can go on from, nearly; `None` if there is none. Some 400 rows are read at
/// most.
fn behind<S: Store + ?Sized>(
    store: &S,
    family: Family,
    from: &[u8],
    until: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    let start = number(from);
    let end = if until.is_empty() { u128::MAX } else { number(until).saturating_sub(1) };
    let readable = |at: u128| -> Result<bool, StoreError> {
        match store.rows(family, &at.to_be_bytes(), until, 1) {
            Ok(_) => Ok(true),
            Err(StoreError::Damaged(_)) => Ok(false),
            Err(error) => Err(error),
        }
    };
    // Each step is twice as long as the one before, so that places near by are told apart as well as far ones.
    let mut far = end;
    for power in 0..u128::BITS {
        let Some(at) = start.checked_add(1 << power).filter(|at| *at < end) else { break };
        if readable(at)? {
            far = at;
            break;
        }
    }
    // The steps may have passed over good rows between two damaged places. The first of them is wanted.
    let Some(way) = far.checked_sub(start) else { return Ok(None) };
    let mut bad = start;
    // Never back to `start`: what begins with it lies before the damage, and reading would go round in circles.
    while bad < far {
        let at = far.min(bad.saturating_add((way / PLACES).max(1)));
        if readable(at)? {
            return Ok(Some(boundary(bad, at, readable)?.to_be_bytes().to_vec()));
        }
        bad = at;
    }
    Ok(None)
}

/// A place that can be read, nearly the first behind `bad`, which cannot, and at most `good`, which can.
fn boundary(
    mut bad: u128,
    mut good: u128,
    readable: impl Fn(u128) -> Result<bool, StoreError>,
) -> Result<u128, StoreError> {
    for _ in 0..HALVINGS {
        let middle = bad + (good - bad) / 2;
        if middle == bad {
            break;
        }
        if readable(middle)? { good = middle } else { bad = middle }
    }
    Ok(good)
}

/// The first bytes of a key as a number.
fn number(key: &[u8]) -> u128 {
    let mut bytes = [0; NUMBER];
    bytes.iter_mut().zip(key).for_each(|(byte, of_key)| *byte = *of_key);
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use sotto_proto::id::RecordId;

    use super::super::memory::MemoryStore;
    use super::super::{Batch, Write};
    use super::*;
    use crate::store::faulty::FaultyStore;
    use crate::store::records::{Arrival, RecordEntry, RecordKey};
    use crate::store::verify::tests::record;

    /// Records whose ids are hashes; the keys of their entries, in order.
    fn store(count: u8) -> (FaultyStore, Vec<Vec<u8>>) {
        let mut store = MemoryStore::default();
        let mut keys = Vec::new();
        for n in 0..count {
            let (entry, bytes) = record(n);
            keys.push(entry.id.as_ref().to_vec());
            store.write(&Batch::of(Write::PutRecord { entry, bytes })).unwrap();
        }
        keys.sort();
        (FaultyStore::over(store), keys)
    }

    fn all(store: &FaultyStore, count: usize) -> (Vec<Vec<u8>>, usize) {
        let (mut from, mut found, mut damaged) = (Some(Vec::new()), Vec::new(), 0);
        while let Some(at) = from {
            let read = readable(store, Family::RecordIds, &at, &[], count).unwrap();
            found.extend(read.rows.into_iter().map(|(key, _)| key));
            damaged += usize::from(read.damaged);
            from = read.next;
        }
        (found, damaged)
    }

    #[test]
    fn only_what_cannot_be_read_is_missing_wherever_it_lies() {
        for count in [1, 7, 64, 1000] {
            for bad in [0..1, 0..30, 41..42, 90..130, 170..200, 199..200] {
                let (mut store, keys) = store(200);
                store.make_unreadable(Family::RecordIds, &keys[bad.clone()]);
                let (found, damaged) = all(&store, count);
                let expected: Vec<_> = keys[..bad.start].iter().chain(&keys[bad.end..]).cloned().collect();
                assert_eq!((found, damaged), (expected, 1), "{bad:?} in pages of {count}");
            }
        }
    }

    /// Records whose ids are evenly apart, a 256th of all ids each.
    fn even() -> (FaultyStore, Vec<Vec<u8>>) {
        let mut store = MemoryStore::default();
        let ids = (0..=u8::MAX).map(|n| RecordId::new(std::array::from_fn(|i| if i == 0 { n } else { 0 })));
        let ids: Vec<_> = ids.collect();
        let (first, bytes) = record(7);
        for (id, arrival) in ids.iter().zip(1..) {
            let entry = RecordEntry { key: RecordKey { arrival: Arrival(arrival), ..first.key }, id: *id, ..first };
            store.write(&Batch::of(Write::PutRecord { entry, bytes: bytes.clone() })).unwrap();
        }
        (FaultyStore::over(store), ids.iter().map(|id| id.as_ref().to_vec()).collect())
    }

    #[test]
    fn good_rows_between_two_bad_places_are_found_and_behind_the_last_one() {
        // The last: damage so far behind that a doubled step leads beyond the end.
        for bad in [vec![1..65, 70..151], vec![3..9, 12..40, 43..99], vec![0..2, 4..200], vec![32..34, 145..225]] {
            let (mut store, keys) = even();
            bad.iter().for_each(|bad| store.make_unreadable(Family::RecordIds, &keys[bad.clone()]));
            let (found, damaged) = all(&store, 64);
            let is_good = |n: &usize| !bad.iter().any(|bad| bad.contains(n));
            let expected: Vec<_> = (0..keys.len()).filter(is_good).map(|n| keys[n].clone()).collect();
            assert_eq!((found, damaged), (expected, bad.len()), "{bad:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_to_the_end_of_a_range_ends_it() {
        let (mut store, keys) = even();
        store.make_unreadable(Family::RecordIds, &keys[100..]);
        let read = readable(&store, Family::RecordIds, &keys[100], &keys[200], 9).unwrap();
        assert!(read.damaged && read.rows.is_empty());
        let rest = read.next.map(|next| readable(&store, Family::RecordIds, &next, &keys[200], 9).unwrap());
        assert_eq!(rest.unwrap_or_default(), Readable::default());
        let read = readable(&store, Family::RecordIds, &keys[100], &keys[100], 9).unwrap();
        assert_eq!(read, Readable::default(), "an empty range");
    }

    #[test]
    fn rows_whose_keys_begin_alike_do_not_lead_in_circles() {
        let (mut inner, mut keys) = (MemoryStore::default(), Vec::new());
        let (first, bytes) = record(7);
        for arrival in 1..=9 {
            let key = RecordKey { arrival: Arrival(arrival), ..first.key };
            keys.push(key.to_bytes().to_vec());
            let entry = RecordEntry { key, ..first };
            inner.write(&Batch::of(Write::PutRecord { entry, bytes: bytes.clone() })).unwrap();
        }
        let mut store = FaultyStore::over(inner);
        store.make_unreadable(Family::Records, &keys[4..5]);
        let read = readable(&store, Family::Records, &[], &[], 9).unwrap();
        assert_eq!(read.rows.len(), 4);
        let behind = readable(&store, Family::Records, &read.next.unwrap(), &[], 9).unwrap();
        assert!(behind.damaged);
        let rest = readable(&store, Family::Records, &behind.next.unwrap(), &[], 9).unwrap();
        assert_eq!((rest.rows.len(), rest.next), (0, None), "those of the same mailbox are found by the index");
    }

    #[test]
    fn several_bad_places_are_passed_over_one_by_one_and_all_of_it_ends() {
        let (mut store, keys) = store(200);
        for bad in [10..20, 60..61, 100..140] {
            store.make_unreadable(Family::RecordIds, &keys[bad]);
        }
        let (found, damaged) = all(&store, 50);
        assert_eq!((found.len(), damaged), (200 - 51, 3));
        store.make_unreadable(Family::RecordIds, &keys);
        let (found, _) = all(&store, 50);
        assert_eq!(found, Vec::<Vec<u8>>::new());
    }
}
