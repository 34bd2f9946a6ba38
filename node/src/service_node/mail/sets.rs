//! What is on disk, as one reconciliation set for each swarm that owns some of it.
//!
//! Under the final map every position of the ring has one owner. The sets follow that map: the own swarm's is compared
//! with other members, the others are handed over. As long as the swarms stay the same, whoever is in them, an item
//! costs one insertion; when a swarm comes or goes, all items are sorted anew.

use std::collections::BTreeMap;

use sotto_behaviours::replication::{Entry, ItemSet};
use sotto_proto::id::SwarmId;
use sotto_proto::swarm::SwarmMap;

use super::index::SetItem;

/// The sets.
#[derive(Clone, Debug, Default)]
pub(super) struct Sets {
    /// Whose swarms the sets are of.
    map: SwarmMap,
    /// None of them empty. What nobody owns is under [`SwarmId::NONE`].
    sets: BTreeMap<SwarmId, ItemSet>,
}

impl Sets {
    /// Something is on disk.
    pub(super) fn insert(&mut self, item: &SetItem) {
        let entry = Entry { timestamp: item.timestamp, id: item.id, expiry: item.expiry };
        self.sets.entry(self.owner(item)).or_default().insert(entry);
    }

    /// It is so no longer.
    pub(super) fn remove(&mut self, item: &SetItem) {
        let owner = self.owner(item);
        let Some(set) = self.sets.get_mut(&owner) else { return };
        set.remove(item.timestamp, &item.id);
        if set.is_empty() {
            self.sets.remove(&owner);
        }
    }

    /// Whether it is on disk.
    pub(super) fn contains(&self, item: &SetItem) -> bool {
        self.sets.get(&self.owner(item)).is_some_and(|set| set.contains(item.timestamp, &item.id))
    }

    /// Which swarm owns it; [`SwarmId::NONE`] if there is none.
    pub(super) fn owner(&self, item: &SetItem) -> SwarmId {
        self.map.owner_of(item.position).unwrap_or(SwarmId::NONE)
    }

    /// What is held of a swarm, if anything.
    pub(super) fn of(&self, swarm: SwarmId) -> Option<&ItemSet> {
        self.sets.get(&swarm)
    }

    /// The swarms of which something is held, ascending.
    pub(super) fn swarms(&self) -> impl Iterator<Item = SwarmId> {
        self.sets.keys().copied().filter(|swarm| *swarm != SwarmId::NONE)
    }

    /// Whether every position has the same owner under `map` as under that of the sets.
    pub(super) fn same_ring(&self, map: &SwarmMap) -> bool {
        fn ring(map: &SwarmMap) -> impl Iterator<Item = (SwarmId, bool)> {
            map.iter().map(|(id, members)| (id, members.is_empty()))
        }
        self.map.len() == map.len() && ring(&self.map).eq(ring(map))
    }

    /// These items, by who owns them under `map`.
    pub(super) fn sorted(map: &SwarmMap, items: impl Iterator<Item = SetItem>) -> Self {
        let mut sets = Self { map: map.clone(), sets: BTreeMap::new() };
        items.for_each(|item| sets.insert(&item));
        sets
    }
}

impl PartialEq for Sets {
    /// Whether the same is on disk.
    fn eq(&self, other: &Self) -> bool {
        let items = |sets: &Self| -> Vec<(SwarmId, Vec<Entry>)> {
            sets.sets.iter().map(|(swarm, set)| (*swarm, set.iter().copied().collect())).collect()
        };
        items(self) == items(other)
    }
}

impl Eq for Sets {}

#[cfg(test)]
mod tests {
    use sotto_proto::address::Position;
    use sotto_proto::id::{ItemId, NodeId};
    use sotto_proto::time::UnixSeconds;

    use super::*;

    fn map(swarms: &[u64]) -> SwarmMap {
        let members = |id: &u64| (1..=5_u8).map(|n| NodeId::new([id.to_be_bytes()[0] ^ n; 32])).collect();
        SwarmMap::from_parts(swarms.iter().map(|id| (SwarmId(*id), members(id))), Vec::new()).unwrap()
    }

    fn item(position: u64) -> SetItem {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&position.to_be_bytes());
        SetItem {
            timestamp: UnixSeconds(position >> 60),
            id: ItemId::new(id),
            expiry: UnixSeconds(1000),
            position: Position(position),
        }
    }

    #[test]
    fn items_are_sorted_by_who_owns_them_and_follow_when_swarms_change() {
        let all: Vec<_> = (0..16_u64).map(|n| item(n << 60)).collect();
        let mut sets = Sets::default();
        all.iter().for_each(|item| sets.insert(item));
        assert_eq!(sets.of(SwarmId::NONE).map(ItemSet::len), Some(16));
        assert_eq!(sets.swarms().count(), 0, "nobody owns anything yet");

        let (one, two) = (map(&[0]), map(&[0, 1 << 63]));
        let mut sets = Sets::sorted(&one, all.iter().copied());
        assert_eq!(sets.of(SwarmId(0)).map(ItemSet::len), Some(16));
        assert!(sets.same_ring(&one) && !sets.same_ring(&two) && !sets.same_ring(&map(&[1])));
        sets = Sets::sorted(&two, all.iter().copied());
        let (left, right) = (sets.of(SwarmId(0)).unwrap().len(), sets.of(SwarmId(1 << 63)).unwrap().len());
        assert!(left > 4 && right > 4 && left + right == 16, "{left} and {right}");
        for item in &all {
            assert!(sets.contains(item));
            assert_eq!(Some(sets.owner(item)), two.owner_of(item.position));
            sets.remove(item);
            assert!(!sets.contains(item));
        }
        assert_eq!(sets, Sets::default());
    }
}
