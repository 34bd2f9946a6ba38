//! Records by their arrival numbers, packed: a hundred bytes each.
//!
//! Numbers only ever grow, and a B-tree that is filled in order keeps half of its room empty; so each of its entries here
//! is a run of [`RUN`] numbers.

use std::collections::BTreeMap;

use sotto_proto::address::Address;
use sotto_proto::id::RecordId;
use sotto_proto::time::UnixSeconds;

use crate::store::records::{Arrival, RecordEntry, RecordKey, Source};

/// Numbers in one run.
const RUN: u64 = 64;

/// A record of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Held {
    /// What is known of it.
    pub(in super::super) entry: RecordEntry,
    /// Whether it is on disk.
    pub(in super::super) durable: bool,
}

/// [`Held`] without what its place says, in as few bytes as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packed {
    address: Address,
    id: RecordId,
    timestamp: UnixSeconds,
    received: UnixSeconds,
    ttl: u32,
    length: u32,
    source: Source,
    durable: bool,
    /// Its number within the run.
    offset: u8,
}

const _: () = assert!(size_of::<Packed>() <= 96);

impl Packed {
    const fn new(entry: &RecordEntry, durable: bool) -> Self {
        let RecordEntry { key, id, timestamp, ttl, length, source, received } = *entry;
        let (_, offset) = place(key.arrival);
        Self { address: key.address, id, timestamp, received, ttl, length, source, durable, offset }
    }

    fn held(&self, run: u64) -> Held {
        let Self { address, id, timestamp, received, ttl, length, source, durable, offset } = *self;
        let key = RecordKey { address, arrival: Arrival(run * RUN + u64::from(offset)) };
        Held { entry: RecordEntry { key, id, timestamp, ttl, length, source, received }, durable }
    }
}

const fn place(arrival: Arrival) -> (u64, u8) {
    (arrival.0 / RUN, (arrival.0 % RUN) as u8)
}

/// The records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entries {
    /// Ascending within each run.
    runs: BTreeMap<u64, Vec<Packed>>,
    len: usize,
}

impl Entries {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn contains(&self, arrival: Arrival) -> bool {
        self.packed(arrival).is_some()
    }

    fn packed(&self, arrival: Arrival) -> Option<&Packed> {
        let (run, offset) = place(arrival);
        let run = self.runs.get(&run)?;
        run.get(run.binary_search_by_key(&offset, |packed| packed.offset).ok()?)
    }

    pub(super) fn get(&self, arrival: Arrival) -> Option<Held> {
        Some(self.packed(arrival)?.held(place(arrival).0))
    }

    /// The greatest number.
    pub(super) fn newest(&self) -> Option<Arrival> {
        let (number, run) = self.runs.last_key_value()?;
        Some(run.last()?.held(*number).entry.key.arrival)
    }

    /// In the order of arrival.
    pub(super) fn iter(&self) -> impl Iterator<Item = Held> {
        self.runs.iter().flat_map(|(number, run)| run.iter().map(|packed| packed.held(*number)))
    }

    /// Those behind a number, in the order of arrival.
    pub(super) fn after(&self, arrival: Arrival) -> impl Iterator<Item = Held> {
        let runs = self.runs.range(place(arrival).0..);
        let held = runs.flat_map(|(number, run)| run.iter().map(|packed| packed.held(*number)));
        held.skip_while(move |held| held.entry.key.arrival <= arrival)
    }

    /// Replaces the one with the same number, if there is one.
    pub(super) fn insert(&mut self, entry: &RecordEntry, durable: bool) {
        let (run, offset) = place(entry.key.arrival);
        let run = self.runs.entry(run).or_default();
        let packed = Packed::new(entry, durable);
        match run.binary_search_by_key(&offset, |packed| packed.offset) {
            Ok(at) => run[at] = packed,
            Err(at) => {
                run.insert(at, packed);
                self.len = self.len.saturating_add(1);
            }
        }
    }

    pub(super) fn remove(&mut self, arrival: Arrival) -> Option<Held> {
        let (number, offset) = place(arrival);
        let run = self.runs.get_mut(&number)?;
        let packed = run.remove(run.binary_search_by_key(&offset, |packed| packed.offset).ok()?);
        if run.is_empty() {
            self.runs.remove(&number);
        } else if run.len() <= run.capacity() / 2 {
            run.shrink_to_fit();
        }
        self.len = self.len.saturating_sub(1);
        Some(packed.held(number))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use sotto_proto::address::AddressKind;

    use super::*;

    fn entry(arrival: u64) -> RecordEntry {
        RecordEntry {
            key: RecordKey { address: Address::new(AddressKind::Mailbox, [7; 32]), arrival: Arrival(arrival) },
            id: RecordId::new([9; 32]),
            timestamp: UnixSeconds(arrival + 3),
            ttl: 60,
            length: 1000,
            source: Source::Repair,
            received: UnixSeconds(arrival + 4),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn they_are_a_map_by_arrival(
            steps in prop::collection::vec((any::<bool>(), 0_u64..300, any::<bool>()), 0..200),
        ) {
            let (mut entries, mut model) = (Entries::default(), BTreeMap::new());
            for (insert, arrival, durable) in steps {
                let entry = entry(arrival);
                if insert {
                    entries.insert(&entry, durable);
                    model.insert(arrival, Held { entry, durable });
                } else {
                    prop_assert_eq!(entries.remove(Arrival(arrival)), model.remove(&arrival));
                }
                prop_assert_eq!(entries.len(), model.len());
                prop_assert_eq!(entries.get(Arrival(arrival)), model.get(&arrival).copied());
                prop_assert_eq!(entries.contains(Arrival(arrival)), model.contains_key(&arrival));
                prop_assert_eq!(entries.newest(), model.keys().next_back().map(|newest| Arrival(*newest)));
            }
            prop_assert!(entries.iter().eq(model.values().copied()));
            let after: Vec<_> = entries.after(Arrival(100)).collect();
            prop_assert_eq!(after, model.range(101..).map(|(_, held)| *held).collect::<Vec<_>>());
            for arrival in model.keys() {
                entries.remove(Arrival(*arrival));
            }
            prop_assert_eq!(entries, Entries::default());
        }
    }

    #[test]
    fn the_largest_number_has_a_place() {
        let mut entries = Entries::default();
        entries.insert(&entry(0), false);
        let last = RecordEntry { key: RecordKey { arrival: Arrival(u64::MAX), ..entry(0).key }, ..entry(0) };
        entries.insert(&last, true);
        assert_eq!(entries.get(Arrival(u64::MAX)), Some(Held { entry: last, durable: true }));
    }
}
