//! The index after a start: read page by page on the storage thread, while the loop goes on. Until it is whole nobody is
//! served: a record that is on disk and not in the index would be stored twice, under two numbers.

use std::time::Duration;

use sotto_proto::id::ItemId;
use sotto_proto::time::Monotonic;

use super::env::Env;
use super::scrubbing::strays_are_due;
use super::{Asked, Mail, Wait};
use crate::service_node::message::{Output, Sync};
use crate::store::mail::{Found, Lookup, Settings};
use crate::store::records::{Arrival, Rows};
use crate::store::{Batch, Family, MetaKey, Write};

/// Between two tries when the disk does not answer.
const RETRY: Duration = Duration::from_secs(1);
/// The first id there is.
const FIRST: ItemId = ItemId::new([0; 32]);

/// How far loading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing was asked for.
    Begin,
    /// The settings are asked for.
    Settings,
    /// The epoch is being written.
    Epoch,
    /// Records are next, from an id on.
    Entries(ItemId),
    /// Tombstones are next, from an item on.
    Tombstones(ItemId),
    /// A page is being read.
    Reading,
    /// The disk did not answer; all begins anew at this time.
    Failed(Option<Monotonic>),
    /// All is there.
    Ready,
}

impl Phase {
    /// Whether what there is one of is known.
    pub(super) const fn has_settings(self) -> bool {
        matches!(self, Self::Epoch | Self::Entries(_) | Self::Tombstones(_) | Self::Reading | Self::Ready)
    }

    /// When to try again.
    pub(super) const fn retry_at(self) -> Option<Monotonic> {
        match self {
            Self::Failed(at) => at,
            _ => None,
        }
    }
}

impl Mail {
    /// Asks for what is next.
    pub(super) fn go_on_loading(&mut self, env: &Env<'_>, out: &mut Vec<Output>) {
        let now = env.now.monotonic;
        match self.phase {
            Phase::Begin => self.begin(out),
            Phase::Failed(None) => self.phase = Phase::Failed(Some(now.plus(RETRY))),
            Phase::Failed(Some(at)) if at <= now => self.begin(out),
            Phase::Entries(from) => self.read_on(Lookup::Entries(from), out),
            Phase::Tombstones(from) => self.read_on(Lookup::Tombstones(from), out),
            Phase::Settings | Phase::Epoch | Phase::Reading | Phase::Failed(Some(_)) | Phase::Ready => {}
        }
    }

    fn begin(&mut self, out: &mut Vec<Output>) {
        self.phase = Phase::Settings;
        self.look_up(Lookup::Settings, Asked::Load, out);
    }

    fn read_on(&mut self, lookup: Lookup, out: &mut Vec<Output>) {
        self.phase = Phase::Reading;
        self.look_up(lookup, Asked::Load, out);
    }

    /// A page came.
    pub(super) fn on_loaded(&mut self, found: Found, out: &mut Vec<Output>) {
        match found {
            Found::Settings(settings) => self.on_settings(settings, out),
            Found::Entries(Rows { rows, next, damaged, damaged_keys }) => {
                self.note_damage(damaged, Family::RecordIds, damaged_keys, out);
                for entry in rows {
                    self.next = self.next.max(entry.key.arrival.next());
                    self.index.insert(entry, true);
                }
                self.phase = next.map_or(Phase::Tombstones(FIRST), Phase::Entries);
            }
            Found::Tombstones(Rows { rows, next, damaged, damaged_keys }) => {
                self.note_damage(damaged, Family::Tombstones, damaged_keys, out);
                for tombstone in rows {
                    self.index.bury(tombstone);
                    self.index.set_tombstone_durable(&tombstone.item());
                }
                self.phase = next.map_or(Phase::Ready, Phase::Tombstones);
                if self.is_ready() {
                    tracing::info!(records = self.records(), bytes = self.bytes(), "the mail is loaded");
                }
            }
            Found::Failed(reason) => {
                tracing::warn!(reason, "the mail cannot be loaded; it is tried again");
                self.phase = Phase::Failed(None);
            }
            Found::Records(_)
            | Found::SignedDeletes(_)
            | Found::BlockHashes(_)
            | Found::Places(_)
            | Found::Confirmations(_)
            | Found::Checked(_)
            | Found::Keys(_) => {}
        }
    }

    fn on_settings(&mut self, settings: Settings, out: &mut Vec<Output>) {
        self.anchors.load(settings.anchors);
        self.next = self.next.max(Arrival(settings.arrivals));
        if settings.strays {
            self.look_for_strays();
        }
        if let Some(epoch) = settings.epoch {
            self.epoch = epoch;
            self.phase = Phase::Entries(FIRST);
        } else {
            self.epoch = self.fresh_epoch;
            self.phase = Phase::Epoch;
            let epoch = Write::PutMeta(MetaKey::Epoch, self.epoch.to_be_bytes().to_vec());
            self.persist(Batch::of(epoch), Sync::Now, Wait::Epoch, out);
        }
    }

    /// The epoch is on disk, or not: no cursor may name one that a loss of power takes back.
    pub(super) const fn on_epoch(&mut self, written: bool) {
        self.phase = if written { Phase::Entries(FIRST) } else { Phase::Failed(None) };
    }

    /// Damaged rows go. The records that entries were of are found by their own rows ([`super::scrubbing`]); that those
    /// are to be looked for is written with it, because no later start sees the damage.
    fn note_damage(&mut self, damaged: usize, family: Family, keys: Vec<Vec<u8>>, out: &mut Vec<Output>) {
        if damaged == 0 {
            return;
        }
        tracing::warn!(damaged, family = family.name(), "rows of the mail are damaged; repair fetches what is lost");
        self.counts.damaged = self.counts.damaged.saturating_add(damaged as u64);
        let mut batch = Batch { writes: keys.into_iter().map(|key| Write::DeleteRow { family, key }).collect() };
        if family == Family::RecordIds {
            self.look_for_strays();
            batch.push(strays_are_due(true));
        }
        self.persist(batch, Sync::Later, Wait::Nothing, out);
    }
}
