//! Reading back: the node looks through what it has on disk, a little at a time, before anybody asks for it.
//!
//! A disk may give back other bytes than it was given, or none. What is damaged is not served, not counted in what members
//! compare, and not kept: it leaves the index and the sets and its rows are deleted, and so repair fetches it again like
//! anything else that the node lacks. The same happens at once to whatever a reader or a member asks for and cannot be
//! read.
//!
//! ```text
//!  after a start that found damage: rows of records that the index does not know ─▶ taken in again, or deleted
//!  then, for ever:                  records by arrival ─▶ tombstones ─▶ records …
//! ```
//!
//! No later start sees that damage, so it is on disk that the rows are to be looked for ([`MetaKey::Strays`]) until all
//! were. A start before then begins with the first row again: what was taken in has an entry by now.
//!
//! One batch is read at a time, and a pass takes [`PASS`], or as long as one batch in [`LEAST`] takes: on the storage
//! thread that is a hundredth of its time at most.

use std::time::Duration;

use sotto_proto::envelope::Record;
use sotto_proto::id::ItemId;
use sotto_proto::time::Monotonic;

use super::env::Env;
use super::sweeping::trusted_time;
use super::{Asked, Mail, Wait};
use crate::service_node::message::{Output, Sync};
use crate::store::check::{Suspect, Verdict};
use crate::store::mail::{Keys, Lookup, Place};
use crate::store::records::{Arrival, DeleteName, RecordKey, Source};
use crate::store::{Batch, Family, MetaKey, Write};

/// How long a pass takes, unless there is more than fits it: what was damaged is found within two passes, and is fetched
/// from members in another third of a minute.
const PASS: Duration = Duration::from_secs(30);
/// Between two batches at least. Twenty thousand records are gone through in [`PASS`], a hundred thousand in three
/// minutes.
const LEAST: Duration = Duration::from_millis(100);
/// Records or tombstones of one batch, and bytes of records.
const BATCH: usize = 64;
const BATCH_BYTES: u64 = 256 << 10;

/// How far reading back is.
#[derive(Debug, Default)]
pub(super) struct Scrub {
    stage: Stage,
    /// Where to go on when the strays that are being read were dealt with.
    behind_strays: Option<Stage>,
    /// What became of some was not written: when all rows were looked at, they are looked at once more.
    strays_anew: bool,
    /// Some rows could not be read: the next start looks for them once more.
    strays_unread: bool,
    /// When the next batch is due; `None` while one is being read, and before the first.
    due: Option<Monotonic>,
    reading: bool,
    /// What was found in this pass.
    pass: Pass,
}

#[derive(Debug)]
enum Stage {
    /// Rows of records that the index does not know, from a key on. Such rows are there only if entries were damaged when
    /// the index was loaded.
    Strays(Vec<u8>),
    /// Records behind a number.
    Records(Arrival),
    /// Tombstones behind an item.
    Tombstones(Option<ItemId>),
}

impl Default for Stage {
    fn default() -> Self {
        Self::Records(Arrival(0))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pass {
    /// The newest record when it began. Later ones are left to the next pass: where mail never stops this one would not
    /// end, either.
    until: Arrival,
    read_back: u64,
    damaged: u64,
    mended: u64,
}

impl Mail {
    /// Has the next batch read if it is due; when to go on. Nothing is read back while nothing can be written: what is
    /// damaged could not be dropped.
    pub(super) fn scrub(&mut self, env: &Env<'_>, out: &mut Vec<Output>) -> Option<Monotonic> {
        if !self.is_ready() || !env.may_write || self.scrub.reading {
            return None; // goes on when the batch under way is read
        }
        let (now, pause) = (env.now.monotonic, self.batch_pause());
        let due = *self.scrub.due.get_or_insert(now.plus(pause));
        if now < due {
            return Some(due);
        }
        if self.next_batch(env, out) || (self.end_pass() && self.next_batch(env, out)) {
            (self.scrub.reading, self.scrub.due) = (true, None);
            return None;
        }
        let next = now.plus(PASS);
        self.scrub.due = Some(next);
        Some(next)
    }

    /// Entries were damaged: the rows of their records are still there.
    pub(super) fn look_for_strays(&mut self) {
        let scrub = &mut self.scrub;
        (scrub.stage, scrub.strays_anew, scrub.strays_unread) = (Stage::Strays(Vec::new()), false, false);
    }

    /// Whether rows without entries are still looked for.
    pub(super) const fn looks_for_strays(&self) -> bool {
        matches!(self.scrub.stage, Stage::Strays(_))
    }

    /// Between two batches, so that all of them take [`PASS`]. Strays are served to nobody, so they are found sooner.
    fn batch_pause(&self) -> Duration {
        if self.looks_for_strays() {
            return LEAST;
        }
        let by_bytes = usize::try_from(self.index.bytes().div_ceil(BATCH_BYTES)).unwrap_or(usize::MAX);
        let of_records = self.index.len().div_ceil(BATCH).max(by_bytes);
        let batches = of_records.saturating_add(self.index.tombstone_count().div_ceil(BATCH)).max(1);
        (PASS / u32::try_from(batches).unwrap_or(u32::MAX)).max(LEAST)
    }

    /// Asks for what is next; false if the pass is over.
    fn next_batch(&mut self, env: &Env<'_>, out: &mut Vec<Output>) -> bool {
        if let Stage::Strays(from) = &self.scrub.stage {
            let lookup = Lookup::Keys(from.clone());
            self.look_up(lookup, Asked::Keys, out);
            return true;
        }
        if let Stage::Records(after) = self.scrub.stage {
            if after == Arrival(0) {
                self.scrub.pass.until = self.index.newest().unwrap_or_default();
            }
            let mut entries = self.index.on_disk_after(after, BATCH, BATCH_BYTES);
            entries.retain(|entry| entry.key.arrival <= self.scrub.pass.until);
            if let Some(last) = entries.last() {
                self.scrub.stage = Stage::Records(last.key.arrival);
                self.read_back(entries.into_iter().map(Suspect::Record).collect(), env, out);
                return true;
            }
            self.scrub.stage = Stage::Tombstones(None);
        }
        if let Stage::Tombstones(after) = self.scrub.stage {
            let tombstones = self.index.tombstones_after(after, BATCH);
            if let Some(last) = tombstones.last() {
                self.scrub.stage = Stage::Tombstones(Some(last.item()));
                self.read_back(tombstones.into_iter().map(Suspect::Tombstone).collect(), env, out);
                return true;
            }
        }
        false
    }

    fn read_back(&mut self, suspects: Vec<Suspect>, env: &Env<'_>, out: &mut Vec<Output>) {
        let lookup = Lookup::Check { chain: *env.chain(), suspects: suspects.clone() };
        self.look_up(lookup, Asked::Check(suspects), out);
    }

    /// The next pass begins; false if there was nothing to read in this one.
    fn end_pass(&mut self) -> bool {
        let Pass { read_back, damaged, mended, .. } = std::mem::take(&mut self.scrub.pass);
        self.scrub.stage = Stage::Records(Arrival(0));
        if damaged > 0 || mended > 0 {
            tracing::warn!(read_back, damaged, mended, "what is on disk was read back, and not all of it was good");
        } else {
            tracing::debug!(read_back, "what is on disk was read back, and is good");
        }
        read_back > 0
    }

    /// A batch was read, or the disk was too busy: the next one has its time.
    pub(super) fn on_unchecked(&mut self, env: &Env<'_>) {
        self.scrub.reading = false;
        self.scrub.due = Some(env.now.monotonic.plus(self.batch_pause()));
    }

    /// A batch was read back.
    pub(super) fn on_checked(
        &mut self,
        suspects: &[Suspect],
        verdicts: Vec<Verdict>,
        env: &Env<'_>,
        out: &mut Vec<Output>,
    ) {
        self.on_unchecked(env);
        let (mut damaged, mut mends) = (Vec::new(), Batch::default());
        for (suspect, verdict) in suspects.iter().zip(verdicts) {
            self.counts.read_back = self.counts.read_back.saturating_add(1);
            self.scrub.pass.read_back = self.scrub.pass.read_back.saturating_add(1);
            match verdict {
                Verdict::Sound => {}
                Verdict::Mended(write) if self.is_held(suspect) => mends.push(write),
                Verdict::Mended(_) => {}
                Verdict::Damaged(reason) => {
                    tracing::debug!(reason, "what was read back is damaged");
                    damaged.push(place_of(suspect));
                }
            }
        }
        if !mends.writes.is_empty() && env.may_write {
            self.note_mended(mends.writes.len());
            self.persist(mends, Sync::Later, Wait::Nothing, out);
        }
        self.drop_damaged(&damaged, env, out);
    }

    /// Whether the index has it still: it may have gone while it was read.
    fn is_held(&self, suspect: &Suspect) -> bool {
        match suspect {
            Suspect::Record(entry) => self.index.at(entry.key.arrival).is_some_and(|held| held.entry == *entry),
            Suspect::Tombstone(tombstone) => self.index.tombstone(&tombstone.item()) == Some(tombstone),
        }
    }

    fn note_mended(&mut self, mended: usize) {
        let mended = mended as u64;
        self.counts.damaged = self.counts.damaged.saturating_add(mended);
        self.counts.mended = self.counts.mended.saturating_add(mended);
        self.scrub.pass.mended = self.scrub.pass.mended.saturating_add(mended);
    }

    /// What lies there is not what was written, or is gone: it leaves the index and the disk, and members have it still.
    /// Until two of them have been compared with, the node's answers say that it may not have everything.
    pub(super) fn drop_damaged(&mut self, places: &[Place], env: &Env<'_>, out: &mut Vec<Output>) {
        if places.is_empty() || !env.may_write {
            return;
        }
        let mut batch = Batch::default();
        let before = (self.index.len(), self.index.tombstone_count());
        for place in places {
            match place {
                Place::Record(key) => self.drop_record(key, &mut batch),
                Place::Delete(name) => self.drop_delete(name, &mut batch),
            }
        }
        let dropped = (before.0 - self.index.len()) + (before.1 - self.index.tombstone_count());
        if dropped == 0 {
            return; // all of it was deleted, or has expired, while it was read
        }
        self.counts.damaged = self.counts.damaged.saturating_add(dropped as u64);
        self.scrub.pass.damaged = self.scrub.pass.damaged.saturating_add(dropped as u64);
        self.persist(batch, Sync::Later, Wait::Nothing, out);
        self.compare_anew();
    }

    /// It is published all the same, if it waits for that: those bytes never were on disk.
    fn drop_record(&mut self, key: &RecordKey, batch: &mut Batch) {
        if let Some(held) = self.index.at(key.arrival).filter(|held| held.durable && held.entry.key == *key) {
            self.index.remove(key.arrival);
            batch.push(Write::DeleteRecord { key: *key, id: held.entry.id });
        }
    }

    fn drop_delete(&mut self, name: &DeleteName, batch: &mut Batch) {
        for item in self.index.tombstones_of(name) {
            batch.push(Write::DeleteTombstone(item));
            batch.writes.extend(self.index.unbury(&item).map(Write::DeleteSignedDelete));
        }
    }

    /// Rows of records that are there. Those that the index does not know are looked at.
    pub(super) fn on_keys(&mut self, found: Keys, env: &Env<'_>, out: &mut Vec<Output>) {
        if !env.may_write {
            return self.on_unchecked(env); // they are looked at again
        }
        self.scrub.strays_unread |= found.damaged;
        let (mut strays, mut batch) = (Vec::new(), Batch::default());
        for key in found.keys {
            match RecordKey::from_bytes(&key) {
                Some(place) if self.index.at(place.arrival).is_some_and(|held| held.entry.key == place) => {}
                Some(place) => {
                    // Nothing that is taken in later may take its place.
                    self.next = self.next.max(place.arrival.next());
                    strays.push(place);
                }
                None => batch.push(Write::DeleteRow { family: Family::Records, key }),
            }
        }
        let next = found.next.map_or(Stage::Records(Arrival(0)), Stage::Strays);
        if strays.is_empty() {
            self.settle_strays(Some(next), batch, out);
            self.on_unchecked(env);
        } else {
            self.settle_strays(None, batch, out);
            self.scrub.behind_strays = Some(next);
            self.look_up(Lookup::Records(strays.clone()), Asked::Strays(strays), out);
        }
    }

    /// Writes what becomes of rows that were looked at; `next` comes after them. With the last of them it is written
    /// that none is to be looked for any more, if all could be read.
    fn settle_strays(&mut self, next: Option<Stage>, mut batch: Batch, out: &mut Vec<Output>) {
        match next {
            None => {}
            Some(Stage::Records(_) | Stage::Tombstones(_)) if self.scrub.strays_anew => self.look_for_strays(),
            Some(next) => {
                if !matches!(next, Stage::Strays(_)) && !self.scrub.strays_unread {
                    batch.push(strays_are_due(false));
                }
                self.scrub.stage = next;
            }
        }
        if !batch.writes.is_empty() {
            self.persist(batch, Sync::Later, Wait::Strays, out);
        }
    }

    /// That is on disk; if it never will be, all rows are looked at again.
    pub(super) fn on_strays_settled(&mut self, written: bool) {
        match self.scrub.stage {
            _ if written => {}
            Stage::Strays(_) => self.scrub.strays_anew = true,
            Stage::Records(_) | Stage::Tombstones(_) => self.look_for_strays(),
        }
    }

    /// Rows of records without an entry. What is good of them is taken in again, under another number: cursors may have
    /// passed the old one.
    pub(super) fn on_strays(
        &mut self,
        keys: &[RecordKey],
        found: Vec<Option<Vec<u8>>>,
        env: &Env<'_>,
        out: &mut Vec<Output>,
    ) {
        self.on_unchecked(env);
        let next = self.scrub.behind_strays.take();
        if !env.may_write {
            return; // they are looked at again
        }
        let is_held = |key: &RecordKey| self.index.at(key.arrival).is_some_and(|held| held.entry.key == *key);
        // Of those whose deletion failed meanwhile the index knows again.
        let strays: Vec<_> = keys.iter().zip(found).filter(|(key, _)| !is_held(key)).collect();
        let delete = |key: &RecordKey| Write::DeleteRow { family: Family::Records, key: key.to_bytes().to_vec() };
        let batch = Batch { writes: strays.iter().map(|(key, _)| delete(key)).collect() };
        let before = out.len();
        // Before what is taken in: a new number may be an old one where nobody knows any more which were given out.
        self.settle_strays(next, batch, out);
        for bytes in strays.into_iter().filter_map(|(_, bytes)| bytes) {
            self.take_stray(bytes, env, out);
        }
        // One write with the records that were taken in, also those that somebody is waiting for: either both rows change or
        // neither.
        for output in out.iter_mut().skip(before) {
            if let Output::Persist { sync, .. } = output {
                *sync = Sync::Later;
            }
        }
        self.persist_page(Wait::Nothing, out);
    }

    fn take_stray(&mut self, bytes: Vec<u8>, env: &Env<'_>, out: &mut Vec<Output>) {
        let Ok(record) = Record::decode(&bytes) else { return };
        let (envelope, id) = (record.envelope(), record.envelope().id(env.chain()));
        let over = trusted_time(env).is_some_and(|now| envelope.expiry() <= now);
        let gone = over || self.index.is_deleted(&envelope.address(), &id);
        if gone || self.index.find(&id).is_some() {
            return;
        }
        self.note_mended(1);
        self.keep(&record, id, bytes, Source::Repair, env, out);
    }
}

/// Has it on disk whether rows of records that the index does not know are to be looked for.
pub(super) fn strays_are_due(are_due: bool) -> Write {
    Write::PutMeta(MetaKey::Strays, if are_due { vec![1] } else { Vec::new() })
}

const fn place_of(suspect: &Suspect) -> Place {
    match suspect {
        Suspect::Record(entry) => Place::Record(entry.key),
        Suspect::Tombstone(tombstone) => Place::Delete(tombstone.delete),
    }
}
