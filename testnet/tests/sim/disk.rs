//! A node's disk: what is written is in the page cache, what is synced is on the platter, and a loss of power keeps some
//! first part of what lies between.

use std::collections::{BTreeSet, VecDeque};

use sotto_node::service_node::Token;
use sotto_node::store::check::{Suspect, Verdict};
use sotto_node::store::mail::{Found, Lookup, look_up, record_entries};
use sotto_node::store::memory::MemoryStore;
use sotto_node::store::records::RecordEntry;
use sotto_node::store::{Batch, Family, Store as _};
use sotto_proto::id::{ChainId, ItemId, RecordId};

use super::dice::Dice;

/// Rows that are read at once.
const PAGE: usize = 1024;

/// What the storage thread is asked for, in order.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    /// Write, sync, tell.
    Persist(Batch, Vec<Token>),
    /// Write: blocks.
    Write(Batch),
    /// Read.
    LookUp(Token, Lookup),
}

/// What it says.
#[derive(Debug)]
pub(crate) enum Done {
    Durable(Vec<Token>),
    Failed(Vec<Token>),
    Found(Token, Found),
    Nothing,
}

#[derive(Clone, Default)]
pub(crate) struct Disk {
    synced: MemoryStore,
    written: MemoryStore,
    /// Written since the last sync, in order.
    unsynced: Vec<Batch>,
    queue: VecDeque<Job>,
    /// Takes no more writes, until somebody starts anew.
    pub(crate) failing: bool,
}

impl Disk {
    /// Queues a job; true if the thread was idle.
    pub(crate) fn push(&mut self, job: Job) -> bool {
        self.queue.push_back(job);
        self.queue.len() == 1
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Does the first job. `sync` is false for a disk that lies about it.
    pub(crate) fn serve(&mut self, sync: bool) -> Done {
        match self.queue.pop_front() {
            Some(Job::Persist(_, tokens)) if self.failing => Done::Failed(tokens),
            Some(Job::Write(_)) if self.failing => Done::Nothing,
            Some(Job::Persist(batch, tokens)) => {
                self.write(batch);
                if sync {
                    self.sync();
                }
                Done::Durable(tokens)
            }
            Some(Job::Write(batch)) => {
                self.write(batch);
                Done::Nothing
            }
            Some(Job::LookUp(token, lookup)) => Done::Found(token, look_up(&self.written, &lookup)),
            None => Done::Nothing,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    fn write(&mut self, batch: Batch) {
        self.written.write(&batch).unwrap();
        self.unsynced.push(batch);
    }

    fn sync(&mut self) {
        for batch in self.unsynced.drain(..) {
            self.synced.write(&batch).unwrap();
        }
    }

    /// The power goes: of what was not synced some first part is there all the same, and no more is asked of the disk.
    pub(crate) fn lose_power(&mut self, dice: &mut Dice) {
        let kept = dice.below(self.unsynced.len() as u64 + 1) as usize;
        self.unsynced.truncate(kept);
        self.sync();
        self.written = self.synced.clone();
        self.queue.clear();
    }

    /// Records that are there for whoever starts next.
    pub(crate) fn records(&self) -> BTreeSet<RecordId> {
        self.entries().into_iter().map(|entry| entry.id).collect()
    }

    fn entries(&self) -> Vec<RecordEntry> {
        let (mut found, mut from) = (Vec::new(), Some(ItemId::new([0; 32])));
        while let Some(first) = from {
            let page = record_entries(&self.written, first, PAGE).unwrap();
            found.extend(page.rows);
            from = page.next;
        }
        found
    }

    /// A bit of what is kept of this record is flipped; false if it is not here.
    pub(crate) fn damage(&mut self, id: &RecordId, dice: &mut Dice) -> bool {
        let Some(entry) = self.entries().into_iter().find(|entry| entry.id == *id) else { return false };
        let (family, key) = if dice.permille(700) {
            (Family::Records, entry.key.to_bytes().to_vec())
        } else {
            (Family::RecordIds, id.as_ref().to_vec())
        };
        self.written.damage(family, &key);
        self.synced.damage(family, &key);
        true
    }

    /// Records that are not as they were written.
    pub(crate) fn unsound(&self, chain: ChainId) -> usize {
        let suspects = self.entries().into_iter().map(Suspect::Record).collect();
        match look_up(&self.written, &Lookup::Check { chain, suspects }) {
            Found::Checked(verdicts) => verdicts.iter().filter(|verdict| **verdict != Verdict::Sound).count(),
            other => panic!("{other:?}"),
        }
    }

    /// The process dies; what is written stays.
    pub(crate) fn lose_process(&mut self) {
        // A job under way may have been done or not: that is what a loss of power tries.
        self.queue.clear();
    }
}
