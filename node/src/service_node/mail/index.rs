//! What the node keeps, without the bytes: some 230 bytes of memory a record with its place in the
//! reconciliation sets; all that is decided by.
//!
//! Arrival numbers are the order of everything: a reader's cursor, a page, a subscription go along them. A record is
//! handed out only once it is on disk, and none behind it in its mailbox before; so no reader ever holds a cursor that a
//! loss of power could give to another record.

mod entries;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use sotto_proto::address::{Address, Position};
use sotto_proto::id::{ItemId, RecordId};
use sotto_proto::limits::ANSWER_RECORDS;
use sotto_proto::request::{Records, StoredRecord};
use sotto_proto::swarm::SwarmMap;
use sotto_proto::time::UnixSeconds;

use self::entries::Entries;
pub(super) use self::entries::Held;
use super::env::Times;
use super::sets::Sets;
use crate::store::records::{Arrival, DeleteName, RecordEntry, RecordKey, Tombstone};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Mailbox {
    arrivals: BTreeSet<Arrival>,
    bytes: u64,
    tombstones: usize,
}

/// Records of one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// Where they lie, ascending.
    pub(super) keys: Vec<RecordKey>,
    /// Bytes of an answer with them.
    pub(super) bytes: usize,
    /// Where to go on.
    pub(super) next: Arrival,
    /// Whether more are there right now.
    pub(super) more: bool,
    /// It ends before a record that may be over and may not: whoever reads on does not have everything.
    pub(super) doubtful: bool,
}

/// An item of a reconciliation set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SetItem {
    /// Its timestamp: sets are sorted by it.
    pub(super) timestamp: UnixSeconds,
    /// Its id.
    pub(super) id: ItemId,
    /// When it expires.
    pub(super) expiry: UnixSeconds,
    /// Where on the ring it belongs.
    pub(super) position: Position,
}

/// The index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    held: Entries,
    /// By the first bytes of the id, which take less than half of the memory of whole ones; what is alike is told apart by
    /// the record.
    ids: BTreeSet<(u64, Arrival)>,
    mailboxes: BTreeMap<Address, Mailbox>,
    expiries: BTreeSet<(UnixSeconds, Arrival)>,
    tombstones: BTreeMap<ItemId, Tombstone>,
    tombstone_expiries: BTreeSet<(UnixSeconds, ItemId)>,
    /// How many tombstones need each signed delete.
    deletes: BTreeMap<DeleteName, usize>,
    bytes: u64,
    /// What of all that is on disk.
    sets: Sets,
}

impl From<&RecordEntry> for SetItem {
    fn from(entry: &RecordEntry) -> Self {
        Self {
            timestamp: entry.timestamp,
            id: entry.id.into(),
            expiry: entry.expiry(),
            position: entry.key.address.position(),
        }
    }
}

impl From<&Tombstone> for SetItem {
    fn from(tombstone: &Tombstone) -> Self {
        Self {
            timestamp: tombstone.timestamp,
            id: tombstone.item(),
            expiry: tombstone.expiry(),
            position: tombstone.address.position(),
        }
    }
}

fn prefix(id: &RecordId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *id.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

impl Index {
    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Their bytes.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many tombstones there are.
    pub(super) fn tombstone_count(&self) -> usize {
        self.tombstones.len()
    }

    /// Takes a record in. False, and nothing happens, if it or its number is there already.
    pub(super) fn insert(&mut self, entry: RecordEntry, durable: bool) -> bool {
        let RecordKey { address, arrival } = entry.key;
        if self.held.contains(arrival) || self.find(&entry.id).is_some() {
            return false;
        }
        self.held.insert(&entry, durable);
        if durable {
            self.sets.insert(&(&entry).into());
        }
        self.ids.insert((prefix(&entry.id), arrival));
        self.expiries.insert((entry.expiry(), arrival));
        let mailbox = self.mailboxes.entry(address).or_default();
        mailbox.arrivals.insert(arrival);
        mailbox.bytes = mailbox.bytes.saturating_add(entry.length.into());
        self.bytes = self.bytes.saturating_add(entry.length.into());
        true
    }

    /// Lets go of a record.
    pub(super) fn remove(&mut self, arrival: Arrival) -> Option<Held> {
        let held = self.held.remove(arrival)?;
        let RecordEntry { key, id, length, .. } = held.entry;
        self.sets.remove(&(&held.entry).into());
        self.ids.remove(&(prefix(&id), arrival));
        self.expiries.remove(&(held.entry.expiry(), arrival));
        self.bytes = self.bytes.saturating_sub(length.into());
        if let Some(mailbox) = self.mailboxes.get_mut(&key.address) {
            mailbox.arrivals.remove(&arrival);
            mailbox.bytes = mailbox.bytes.saturating_sub(length.into());
        }
        self.drop_if_empty(&key.address);
        Some(held)
    }

    fn drop_if_empty(&mut self, address: &Address) {
        let empty = |mailbox: &Mailbox| mailbox.arrivals.is_empty() && mailbox.tombstones == 0;
        if self.mailboxes.get(address).is_some_and(empty) {
            self.mailboxes.remove(address);
        }
    }

    /// A record is on disk.
    pub(super) fn set_durable(&mut self, arrival: Arrival) -> Option<RecordEntry> {
        let entry = self.held.get(arrival)?.entry;
        self.held.insert(&entry, true);
        self.sets.insert(&(&entry).into());
        Some(entry)
    }

    /// A record by its number.
    pub(super) fn at(&self, arrival: Arrival) -> Option<Held> {
        self.held.get(arrival)
    }

    /// The number of the record that came last.
    pub(super) fn newest(&self) -> Option<Arrival> {
        self.held.newest()
    }

    /// Records on disk behind a number, in the order of arrival: at most `most`, and no more than fit `bytes`, but for the
    /// first.
    pub(super) fn on_disk_after(&self, arrival: Arrival, most: usize, bytes: u64) -> Vec<RecordEntry> {
        let mut total = 0_u64;
        let on_disk = self.held.after(arrival).filter(|held| held.durable).take(most);
        let fits = on_disk.enumerate().take_while(|(index, held)| {
            total = total.saturating_add(held.entry.length.into());
            *index == 0 || total <= bytes
        });
        fits.map(|(_, held)| held.entry).collect()
    }

    /// Tombstones on disk behind an item, in the order of their items, at most `most`.
    pub(super) fn tombstones_after(&self, item: Option<ItemId>, most: usize) -> Vec<Tombstone> {
        let behind = (item.map_or(Unbounded, Excluded), Unbounded);
        let on_disk = self.tombstones.range(behind).filter(|(_, tombstone)| self.sets.contains(&(*tombstone).into()));
        on_disk.take(most).map(|(_, tombstone)| *tombstone).collect()
    }

    /// The tombstones that a signed delete made and that are on disk.
    pub(super) fn tombstones_of(&self, delete: &DeleteName) -> Vec<ItemId> {
        let is_on_disk = |tombstone: &Tombstone| self.sets.contains(&tombstone.into());
        let made = self.tombstones.iter().filter(|(_, made)| made.delete == *delete && is_on_disk(made));
        made.map(|(item, _)| *item).collect()
    }

    /// A record by its id.
    pub(super) fn find(&self, id: &RecordId) -> Option<Held> {
        let prefix = prefix(id);
        let alike = self.ids.range((prefix, Arrival(0))..=(prefix, Arrival(u64::MAX)));
        alike.filter_map(|(_, arrival)| self.held.get(*arrival)).find(|held| held.entry.id == *id)
    }

    /// Bytes kept at an address.
    pub(super) fn used(&self, address: &Address) -> u64 {
        self.mailboxes.get(address).map_or(0, |mailbox| mailbox.bytes)
    }

    /// Whether records are kept at an address.
    pub(super) fn has_records(&self, address: &Address) -> bool {
        self.mailboxes.get(address).is_some_and(|mailbox| !mailbox.arrivals.is_empty())
    }

    /// Records at an address that have not expired, counted up to `most`.
    pub(super) fn live(&self, address: &Address, now: UnixSeconds, most: usize) -> usize {
        let Some(mailbox) = self.mailboxes.get(address) else { return 0 };
        let held = mailbox.arrivals.iter().filter_map(|arrival| self.held.get(*arrival));
        held.filter(|held| held.entry.expiry() > now).take(most).count()
    }

    /// What follows `after` at an address, in the order of arrival, as much as an answer of `max_bytes` takes: at least
    /// one record, if there is one. Ends before the first record that is not yet on disk, or of which it is not sure that
    /// it is over: whoever went on behind it would never get it.
    pub(super) fn page(&self, address: &Address, after: Arrival, times: Times, max_bytes: usize) -> Page {
        let mut page = Page { next: after, bytes: Records::EMPTY_BYTES, ..Page::default() };
        let Some(mailbox) = self.mailboxes.get(address) else { return page };
        let rest = mailbox.arrivals.range((Excluded(after), Unbounded));
        for held in rest.filter_map(|arrival| self.held.get(*arrival)) {
            if !held.durable {
                break;
            }
            if held.entry.expiry() > times.now {
                let length = usize::try_from(held.entry.length).unwrap_or(usize::MAX);
                let bytes = page.bytes.saturating_add(StoredRecord::encoded_bytes(length));
                if !page.keys.is_empty() && (bytes > max_bytes || page.keys.len() == ANSWER_RECORDS) {
                    page.more = true;
                    break;
                }
                page.keys.push(held.entry.key);
                page.bytes = bytes;
            } else if held.entry.expiry() > times.sure {
                page.doubtful = true;
                break;
            }
            page.next = held.entry.key.arrival;
        }
        page
    }

    /// Records that expired at or before `at`, at most `most`.
    pub(super) fn expired(&self, at: UnixSeconds, most: usize) -> Vec<Held> {
        let due = self.expiries.iter().take_while(|(expiry, _)| *expiry <= at).take(most);
        due.filter_map(|(_, arrival)| self.held.get(*arrival)).collect()
    }

    /// Tombstones that expired at or before `at`, at most `most`.
    pub(super) fn expired_tombstones(&self, at: UnixSeconds, most: usize) -> Vec<ItemId> {
        let due = self.tombstone_expiries.iter().take_while(|(expiry, _)| *expiry <= at).take(most);
        due.map(|(_, item)| *item).collect()
    }

    /// When the next record or tombstone expires.
    pub(super) fn next_expiry(&self) -> Option<UnixSeconds> {
        let record = self.expiries.first().map(|(expiry, _)| *expiry);
        let tombstone = self.tombstone_expiries.first().map(|(expiry, _)| *expiry);
        record.into_iter().chain(tombstone).min()
    }

    /// Whether a record was deleted at an address.
    pub(super) fn is_deleted(&self, address: &Address, id: &RecordId) -> bool {
        self.tombstones.contains_key(&ItemId::tombstone(address, id))
    }

    /// A tombstone by its item.
    pub(super) fn tombstone(&self, item: &ItemId) -> Option<&Tombstone> {
        self.tombstones.get(item)
    }

    /// How many tombstones an address has.
    pub(super) fn tombstones_at(&self, address: &Address) -> usize {
        self.mailboxes.get(address).map_or(0, |mailbox| mailbox.tombstones)
    }

    /// Sets a tombstone. False, and nothing happens, if there is one already.
    pub(super) fn bury(&mut self, tombstone: Tombstone) -> bool {
        let item = tombstone.item();
        if self.tombstones.contains_key(&item) {
            return false;
        }
        self.tombstones.insert(item, tombstone);
        self.tombstone_expiries.insert((tombstone.expiry(), item));
        self.mailboxes.entry(tombstone.address).or_default().tombstones += 1;
        *self.deletes.entry(tombstone.delete).or_default() += 1;
        true
    }

    /// A tombstone is on disk.
    pub(super) fn set_tombstone_durable(&mut self, item: &ItemId) {
        if let Some(tombstone) = self.tombstones.get(item) {
            self.sets.insert(&tombstone.into());
        }
    }

    /// Takes a tombstone away. The name of its delete comes back if no other tombstone needs that.
    pub(super) fn unbury(&mut self, item: &ItemId) -> Option<DeleteName> {
        let tombstone = self.tombstones.remove(item)?;
        self.sets.remove(&(&tombstone).into());
        self.tombstone_expiries.remove(&(tombstone.expiry(), *item));
        if let Some(mailbox) = self.mailboxes.get_mut(&tombstone.address) {
            mailbox.tombstones = mailbox.tombstones.saturating_sub(1);
        }
        self.drop_if_empty(&tombstone.address);
        let needed = self.deletes.get_mut(&tombstone.delete)?;
        *needed = needed.saturating_sub(1);
        (*needed == 0).then(|| {
            self.deletes.remove(&tombstone.delete);
            tombstone.delete
        })
    }

    /// What is on disk, as sets.
    pub(super) const fn sets(&self) -> &Sets {
        &self.sets
    }

    /// The map is another one. True if that changed who owns what.
    pub(super) fn follow(&mut self, map: &SwarmMap) -> bool {
        if self.sets.same_ring(map) {
            return false;
        }
        let sets = std::mem::take(&mut self.sets);
        let records = self.held.iter().filter(|held| held.durable).map(|held| SetItem::from(&held.entry));
        let tombstones = self.tombstones.values().map(SetItem::from).filter(|item| sets.contains(item));
        self.sets = Sets::sorted(map, records.chain(tombstones));
        true
    }

    /// A record by its item.
    pub(super) fn record(&self, item: &ItemId) -> Option<Held> {
        self.find(&RecordId::new(*item.as_bytes()))
    }

    /// What a set knows of an item, be it on disk or not.
    pub(super) fn item(&self, item: &ItemId) -> Option<SetItem> {
        let record = self.record(item).map(|held| SetItem::from(&held.entry));
        record.or_else(|| self.tombstones.get(item).map(SetItem::from))
    }
}

#[cfg(test)]
mod tests;
