//! Pages of items, as they go between nodes: found in the index, read from disk, and taken in.

use std::collections::BTreeSet;

use sotto_behaviours::replication::Taken;
use sotto_proto::envelope::Record;
use sotto_proto::id::{ItemId, NodeId};
use sotto_proto::limits::{PAGE_BYTES, PAGE_ITEMS, SIGNED_DELETE_MAX};
use sotto_proto::request::{Item, SignedDelete};

use super::env::Env;
use super::judge::Doubt;
use super::{Mail, Wait};
use crate::service_node::message::{Output, Sync};
use crate::store::Batch;
use crate::store::mail::Place;
use crate::store::records::Source;

/// Items that are being read to be sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    /// Where they lie, each once.
    pub(super) places: Vec<Place>,
    /// Which of the items asked for are among them, or are not here.
    pub(super) settled: BTreeSet<ItemId>,
    /// Others of those asked for did not fit.
    pub(super) more: bool,
}

impl Page {
    /// Where what could not be read lies.
    pub(super) fn damaged(&self, found: &[Option<Vec<u8>>]) -> Vec<Place> {
        self.places.iter().zip(found).filter(|(_, bytes)| bytes.is_none()).map(|(place, _)| *place).collect()
    }

    /// What was read, in the order of `places`. What is damaged is left out; reading it again would not help.
    pub(super) fn items(&self, found: Vec<Option<Vec<u8>>>) -> Vec<Item> {
        let item = |(place, bytes): (&Place, Option<Vec<u8>>)| {
            Some(match place {
                Place::Record(_) => Item::Record(bytes?),
                Place::Delete(_) => Item::Delete(bytes?),
            })
        };
        self.places.iter().zip(found).filter_map(item).collect()
    }
}

/// What an item stands for.
struct Known {
    /// Its item ids.
    ids: Vec<ItemId>,
    /// Of a record: the tombstone that takes its place.
    tombstone: Option<ItemId>,
}

impl Mail {
    /// Finds items, as many as fit a page of `PAGE_BYTES`.
    pub(super) fn page_of(&self, ids: &[ItemId]) -> Page {
        self.page_within(ids, PAGE_BYTES, |_| true)
    }

    /// Finds those of the items that `shown` lets through, as many as fit `max_bytes`, and at least one.
    pub(super) fn page_within(&self, ids: &[ItemId], max_bytes: usize, shown: impl Fn(&ItemId) -> bool) -> Page {
        let (mut page, mut bytes, mut deletes) = (Page::default(), 0_usize, BTreeSet::new());
        for id in ids {
            let place = if shown(id) { self.place(id) } else { None };
            // One delete may have made many of the tombstones.
            let place = place.filter(|(place, _)| match place {
                Place::Delete(name) => !deletes.contains(name),
                Place::Record(_) => true,
            });
            if let Some((place, length)) = place {
                bytes = bytes.saturating_add(length);
                if !page.places.is_empty() && (bytes > max_bytes.min(PAGE_BYTES) || page.places.len() >= PAGE_ITEMS) {
                    page.more = true;
                    break;
                }
                if let Place::Delete(name) = &place {
                    deletes.insert(*name);
                }
                page.places.push(place);
            }
            page.settled.insert(*id);
        }
        page
    }

    /// Where an item lies, if it is on disk, and its bytes at most.
    fn place(&self, id: &ItemId) -> Option<(Place, usize)> {
        if let Some(held) = self.index.record(id).filter(|held| held.durable) {
            let length = usize::try_from(held.entry.length).unwrap_or(usize::MAX);
            return Some((Place::Record(held.entry.key), length));
        }
        let tombstone = self.index.tombstone(id)?;
        Some((Place::Delete(tombstone.delete), SIGNED_DELETE_MAX))
    }

    /// Judges and keeps items that a node sent, in the order they came. What they write waits for
    /// [`Mail::persist_page`].
    pub(super) fn take_page(&mut self, from: NodeId, items: &[Item], env: &Env<'_>, out: &mut Vec<Output>) -> Taken {
        let mut taken = Taken::default();
        for item in items {
            let Some(known) = known(item, env) else {
                tracing::debug!(node = from.short(), "an item that is none");
                taken.refused += 1;
                continue;
            };
            taken.received.extend(known.ids);
            match self.take_item(item, env, out) {
                Ok(true) => taken.kept += 1,
                Ok(false) => {}
                Err(doubt) => {
                    taken.refused += usize::from(matches!(doubt, Doubt::Wrong(_)));
                    taken.postponed |= doubt.may_pass();
                    tracing::debug!(node = from.short(), reason = doubt.label(), "an item is not taken");
                }
            }
        }
        taken
    }

    /// True if it is new.
    fn take_item(&mut self, item: &Item, env: &Env<'_>, out: &mut Vec<Output>) -> Result<bool, Doubt> {
        let before = (self.next, self.index.tombstone_count());
        match item {
            Item::Record(bytes) => {
                self.take_from_member(bytes, Source::Repair, env, out)?;
            }
            Item::Delete(bytes) => self.take_delete_from_member(bytes, env, out)?,
        }
        Ok(before != (self.next, self.index.tombstone_count()))
    }

    /// Makes one write of all those that the last page asked for, and has it on disk at once: a page is hundreds of
    /// items, and the storage thread's queue is short. `then` comes after all of them.
    pub(super) fn persist_page(&mut self, then: Wait, out: &mut Vec<Output>) {
        let (mut all, mut batch) = (Vec::new(), Batch::default());
        out.retain_mut(|output| {
            let Output::Persist { batch: job, token, sync: Sync::Later } = output else { return true };
            let Some(wait) = self.waits.remove(&*token) else { return true };
            all.push(wait);
            batch.writes.append(&mut job.batch.writes);
            false
        });
        all.push(then);
        self.persist(batch, Sync::Now, Wait::All(all), out);
    }

    /// Those of the items' ids that are on disk here, or have a tombstone on disk that takes their place; at most
    /// `most`.
    pub(super) fn durable_of(&self, items: &[Item], most: usize, env: &Env<'_>) -> Vec<ItemId> {
        let durable = |id: &ItemId| self.index.item(id).is_some_and(|item| self.index.sets().contains(&item));
        let known = items.iter().filter_map(|item| known(item, env));
        let of = |known: Known| {
            let replaced = known.tombstone.is_some_and(|tombstone| durable(&tombstone));
            known.ids.into_iter().filter(move |id| replaced || durable(id))
        };
        known.flat_map(of).take(most).collect()
    }
}

/// What an item stands for; `None` if it is no item at all.
fn known(item: &Item, env: &Env<'_>) -> Option<Known> {
    match item {
        Item::Record(bytes) => {
            let record = Record::decode(bytes).ok()?;
            let (id, address) = (record.envelope().id(env.chain()), record.envelope().address());
            Some(Known { ids: vec![id.into()], tombstone: Some(ItemId::tombstone(&address, &id)) })
        }
        Item::Delete(bytes) => {
            let delete = SignedDelete::decode(bytes).ok()?;
            let address = delete.delete().address();
            let ids = delete.delete().records().iter().map(|record| ItemId::tombstone(address, &record.id)).collect();
            Some(Known { ids, tombstone: None })
        }
    }
}
