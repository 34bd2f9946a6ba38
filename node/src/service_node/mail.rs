//! The mail of the node's swarm: what clients and members bring, what readers get, what expires.
//!
//! ```text
//!  client ─▶ judged fully ─┐                             ┌─▶ receipt ─▶ gossip, in its order
//!                          ├─▶ index ─▶ disk ─▶ durable ─┤
//!  member ─▶ judged (C4) ──┘  (no reader sees it before) └─▶ readers, subscribers
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `env` | what the rules look at: chain, clock, keys |
//! | `judge` | whether a record or a delete is taken |
//! | `index` | what is kept, without the bytes |
//! | `anchors` | hashes of the blocks that work is anchored at |
//! | `loading` | the index after a start |
//! | `storing` | records in, receipts and gossip out |
//! | `reading` | retrieve, subscribe, pushes |
//! | `subscriptions` | who is subscribed |
//! | `shares` | large pages that are under way |
//! | `deleting` | deletes and their tombstones |
//! | `sweeping` | expiry |
//! | `returning` | what comes back from the disk, to whom it was for |
//! | `scrubbing` | reading back what is on disk, and what becomes of damage |
//! | `sets` | what is on disk, sorted by the swarms that own it |
//! | `paging` | pages of items between nodes |
//! | `repairing` | what the node fetches from members, gives them, and hands over to other swarms |
//! | `serving` | the same from the answering side |
//! | `draining` | taking nothing more before the node goes, and what it would take with it |
//! | `showing` | what the operator is shown of it |
//!
//! | what waits | bound |
//! | --- | --- |
//! | records on their way to disk | the storage queue; beyond it the client hears *busy* |
//! | records that wait to be published | [`storing::PUBLISHING_BYTES`]; beyond it published at once, or left to repair |
//! | answers that are being read from disk | [`reading::READS`]; beyond it *busy*, or a turn later |
//! | large pages on their way to readers | [`shares::BYTES`], [`shares::BYTES_PER_ADDRESS`]; beyond it *busy*, or when there is room |
//! | subscriptions | [`subscriptions::SUBSCRIPTIONS`], [`subscriptions::SUBSCRIPTIONS_PER_ADDRESS`] |
//! | records and bytes | [`MailLimits`]: clients are refused above, members never |

mod anchors;
mod deleting;
mod draining;
mod env;
mod index;
mod judge;
mod loading;
mod paging;
mod reading;
mod repairing;
mod returning;
mod scrubbing;
mod serving;
mod sets;
mod shares;
mod showing;
mod storing;
mod subscriptions;
mod sweeping;

use std::collections::BTreeMap;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sotto_behaviours::network::Verdict;
use sotto_behaviours::replication::{ItemSet, Taken, scope_at};
use sotto_proto::id::{BlockHash, Height, SwarmId};
use sotto_proto::limits::RECORD_MAX;
use sotto_proto::request::{Error, Fingerprint, Item, SwarmRequest, SwarmResponse};
use sotto_proto::time::{Monotonic, UnixSeconds};

use self::anchors::Anchors;
use self::deleting::Deleting;
pub use self::draining::Drained;
use self::draining::Draining;
pub(super) use self::env::Env;
use self::index::Index;
use self::loading::Phase;
use self::paging::Page;
use self::reading::{Reading, Unread};
use self::repairing::Replication;
use self::scrubbing::Scrub;
pub(super) use self::serving::Asker;
use self::shares::Shares;
pub use self::showing::Comparison;
use self::storing::{Publishing, Storing};
use self::subscriptions::Subscriptions;
use super::message::{Gossip, Output, Sync, Tag, Token, Tunnel};
use crate::store::Batch;
use crate::store::check::Suspect;
use crate::store::mail::Lookup;
use crate::store::records::{Arrival, RecordKey};
use crate::store::writer::Job;

/// The mail's own tokens are in the upper half of the numbers.
const TOKENS: u64 = 1 << 63;
/// A tunnel ends after so many proofs of work that nobody would take.
const BAD_STAMPS: u32 = 10;
/// First bytes of gossiped messages.
const RECORD: u8 = 1;
const DELETE: u8 = 2;

/// How much mail a node takes from clients. Beyond it they hear *busy*; members are never refused, because what they
/// bring was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailLimits {
    /// Records; each takes some 230 bytes of memory, the reconciliation sets included.
    pub records: usize,
    /// Bytes of records on disk.
    pub bytes: u64,
}

impl Default for MailLimits {
    fn default() -> Self {
        Self { records: 100_000, bytes: 2 << 30 }
    }
}

/// What has become of things since the start; for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailCounts {
    /// Records that clients stored.
    pub from_clients: u64,
    /// Records that came by gossip.
    pub from_gossip: u64,
    /// Records that were handed over.
    pub from_repair: u64,
    /// Records that expired.
    pub expired: u64,
    /// Records that were deleted.
    pub deleted: u64,
    /// Records and tombstones that were erased because the swarm that owns them has them.
    pub handed_over: u64,
    /// Records and rows that were found damaged.
    pub damaged: u64,
    /// Records and tombstones that were read back without anybody asking for them.
    pub read_back: u64,
    /// Records and tombstones that were written again or taken in again, because only what belongs to them was damaged.
    pub mended: u64,
}

/// What waits for the disk.
#[derive(Debug)]
enum Wait {
    /// A fresh epoch.
    Epoch,
    /// A record.
    Record(Arrival),
    /// A delete.
    Delete(Box<Deleting>),
    /// Records at an address that somebody has asked for.
    Retrieve(Unread),
    /// What has expired is gone.
    Sweep,
    /// Several things that became one write, in order.
    All(Vec<Wait>),
    /// A page that was fetched from a member.
    Repaired(Taken),
    /// A page that a former owner handed over.
    Handed { asker: Asker, items: Vec<Item> },
    /// What was made of rows of records that the index did not know.
    Strays,
    /// Nothing that anybody waits for.
    Nothing,
}

impl Wait {
    /// Whether a former owner waits for it.
    fn is_handed(&self) -> bool {
        match self {
            Self::Handed { .. } => true,
            Self::All(all) => all.iter().any(Self::is_handed),
            _ => false,
        }
    }
}

/// What was asked of the disk.
#[derive(Debug)]
enum Asked {
    /// The index.
    Load,
    /// Hashes of blocks.
    Anchors(Vec<Height>),
    /// Records for a reader.
    Read(Reading),
    /// Items that a member asked for.
    Fetch(Asker, Page),
    /// Items that a member lacks.
    Give(Page),
    /// Who has confirmed items that are handed over.
    Recall,
    /// Items that their swarm wants.
    Hand(Page),
    /// Whether these are as they were written.
    Check(Vec<Suspect>),
    /// Which rows of records there are.
    Keys,
    /// Rows of records that the index does not know.
    Strays(Vec<RecordKey>),
}

/// The mail.
#[derive(Debug)]
pub struct Mail {
    limits: MailLimits,
    index: Index,
    anchors: Anchors,
    phase: Phase,
    /// The database's epoch, once it is known.
    epoch: u64,
    /// Taken if the database has none yet.
    fresh_epoch: u64,
    /// The number of the next arrival.
    next: Arrival,
    /// Numbers from here on are not yet reserved on disk.
    reserved: u64,
    next_token: u64,
    waits: BTreeMap<Token, Wait>,
    lookups: BTreeMap<Token, Asked>,
    storing: BTreeMap<Arrival, Storing>,
    publishing: Publishing,
    subscriptions: Subscriptions,
    shares: Shares,
    /// When subscriptions that wait look for room again.
    look_at: Option<Monotonic>,
    /// Proofs of work that nobody would take, by tunnel.
    bad_stamps: BTreeMap<Tunnel, u32>,
    sweeping: bool,
    scrub: Scrub,
    /// The own swarm as of the last block.
    swarm: Option<SwarmId>,
    /// Whether records of the swarm may be missing here that other members have.
    syncing: bool,
    replication: Replication,
    /// If the node is about to go.
    draining: Option<Draining>,
    counts: MailCounts,
    wake_at: Option<Monotonic>,
}

impl Mail {
    /// Mail that knows nothing yet of what is on disk. From `rng` comes the epoch of a new database, and all that is
    /// drawn later.
    #[must_use]
    pub fn new(limits: MailLimits, rng: &mut ChaCha20Rng) -> Self {
        let fresh_epoch = rng.next_u64();
        Self {
            limits,
            index: Index::default(),
            anchors: Anchors::default(),
            phase: Phase::Begin,
            epoch: 0,
            fresh_epoch: fresh_epoch.max(1),
            next: Arrival(1),
            reserved: 0,
            next_token: 0,
            waits: BTreeMap::new(),
            lookups: BTreeMap::new(),
            storing: BTreeMap::new(),
            publishing: Publishing::default(),
            subscriptions: Subscriptions::default(),
            shares: Shares::default(),
            look_at: None,
            bad_stamps: BTreeMap::new(),
            sweeping: false,
            scrub: Scrub::default(),
            swarm: None,
            syncing: false,
            replication: Replication::new(ChaCha20Rng::from_rng(rng)),
            draining: None,
            counts: MailCounts::default(),
            wake_at: None,
        }
    }

    /// How much it takes.
    #[must_use]
    pub const fn limits(&self) -> MailLimits {
        self.limits
    }

    /// Whether clients are turned away because there is no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        // What the largest record needs: a node that takes only small ones turns senders away too.
        let room = self.limits.bytes.saturating_sub(self.index.bytes());
        self.index.len() >= self.limits.records || room < RECORD_MAX as u64
    }

    /// How many records there are.
    #[must_use]
    pub fn records(&self) -> usize {
        self.index.len()
    }

    /// Their bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.index.bytes()
    }

    /// What of a swarm is kept, records and tombstones, as members compare it: how much, and its fingerprint. `now`
    /// decides what has expired; what comes in the last seconds is left out, because members have it at different times.
    #[must_use]
    pub fn summary(&self, swarm: SwarmId, height: Height, now: UnixSeconds) -> (u64, Fingerprint) {
        let scope = scope_at(height, swarm, now);
        let nothing = ItemSet::default();
        let summary = self.index.sets().of(swarm).unwrap_or(&nothing).view(scope).summary();
        (summary.count, summary.fingerprint)
    }

    /// What has become of things since the start.
    #[must_use]
    pub const fn counts(&self) -> MailCounts {
        self.counts
    }

    /// Whether what is on disk is known, so that everybody is served.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Whether the node is still taking over from other members. While it is, its answers say so, and no reader believes
    /// to have everything (C3).
    #[must_use]
    pub const fn is_syncing(&self) -> bool {
        self.syncing
    }

    /// When something is due next.
    pub(super) const fn wake_at(&self) -> Option<Monotonic> {
        self.wake_at
    }

    /// The chain has another tip.
    pub(super) fn on_chain(&mut self, tip: (Height, BlockHash), env: &Env<'_>, out: &mut Vec<Output>) {
        self.anchors.follow(env.view, tip, env.params);
        self.publishing.hasten(env.now.monotonic);
        if self.phase.has_settings() {
            let batch = self.anchors.take_unwritten();
            if !batch.writes.is_empty() {
                self.persist(batch, Sync::Later, Wait::Nothing, out);
            }
            let wanted = self.anchors.wanted(env.view, env.params);
            if !wanted.is_empty() {
                let lookup = Lookup::BlockHashes(wanted.clone());
                self.look_up(lookup, Asked::Anchors(wanted), out);
            }
        }
        self.follow_map(env);
        self.end_foreign_subscriptions(env, out);
    }

    /// A client asks.
    pub(super) fn on_tunnel(&mut self, tunnel: Tunnel, request: SwarmRequest, env: &Env<'_>, out: &mut Vec<Output>) {
        // A client has one subscription a tunnel: whatever it asks for next, it no longer reads that one.
        self.forget_subscription(tunnel);
        self.on_sent(tunnel, env, out);
        match request {
            _ if !self.is_ready() => refuse(tunnel, Error::Busy, out),
            SwarmRequest::Store { .. } | SwarmRequest::Delete(_) if self.is_draining() => {
                refuse(tunnel, Error::Busy, out);
            }
            SwarmRequest::Store { record, publish_order } => self.on_store(tunnel, record, publish_order, env, out),
            SwarmRequest::Retrieve(read) => self.on_retrieve(tunnel, &read, env, out),
            SwarmRequest::Subscribe(read) => self.on_subscribe(tunnel, &read, env, out),
            SwarmRequest::Delete(delete) => self.on_delete(tunnel, &delete, env, out),
            // Answered from the chain, or by whoever listens; they do not come here.
            SwarmRequest::List(_) | SwarmRequest::Listen(_) | SwarmRequest::Push(_) => refuse(tunnel, Error::Busy, out),
        }
    }

    /// A tunnel has ended.
    pub(super) fn on_closed(&mut self, tunnel: Tunnel, env: &Env<'_>, out: &mut Vec<Output>) {
        self.bad_stamps.remove(&tunnel);
        self.forget_subscription(tunnel);
        self.on_sent(tunnel, env, out);
    }

    /// A member gossiped something.
    pub(super) fn on_gossip(&mut self, gossip: Gossip, bytes: &[u8], env: &Env<'_>, out: &mut Vec<Output>) {
        let verdict = match bytes.split_first() {
            _ if !self.is_ready() || !env.may_write => Verdict::Ignore,
            Some((&RECORD, record)) => self.on_gossiped_record(record, env, out),
            Some((&DELETE, rest)) => self.on_gossiped_delete(rest, env, out),
            _ => Verdict::Reject,
        };
        out.push(Output::Judge { gossip, verdict });
    }

    /// Everything that is due.
    pub(super) fn advance(&mut self, env: &Env<'_>, out: &mut Vec<Output>) {
        self.go_on_loading(env, out);
        self.publish_due(env, out);
        self.close_stalled(env, out);
        self.look_for_room(env, out);
        let sweep_at = self.sweep(env, out);
        let scrub_at = self.scrub(env, out);
        self.replicate(env, out);
        let replicate_at = self.replication.wake_at(self.index.sets(), self.swarm).filter(|_| self.is_ready());
        let due = [
            self.publishing.next(),
            self.subscriptions.next_stall(),
            self.look_at,
            sweep_at,
            scrub_at,
            replicate_at,
            self.drain_at(),
            self.phase.retry_at(),
        ];
        self.wake_at = due.into_iter().flatten().min();
    }

    fn persist(&mut self, batch: Batch, sync: Sync, wait: Wait, out: &mut Vec<Output>) {
        let token = self.token();
        self.waits.insert(token, wait);
        out.push(Output::Persist { batch: Job { keys: Vec::new(), batch }, token, sync });
    }

    fn look_up(&mut self, lookup: Lookup, asked: Asked, out: &mut Vec<Output>) {
        let token = self.token();
        self.lookups.insert(token, asked);
        out.push(Output::LookUp { token, lookup });
    }

    const fn token(&mut self) -> Token {
        self.next_token = self.next_token.wrapping_add(1) % TOKENS;
        Token(TOKENS | self.next_token)
    }

    /// A client's proof of work is one that nobody would take.
    fn count_bad_stamp(&mut self, tunnel: Tunnel, env: &Env<'_>, out: &mut Vec<Output>) {
        let bad = self.bad_stamps.entry(tunnel).or_default();
        *bad = bad.saturating_add(1);
        if *bad >= BAD_STAMPS {
            self.on_closed(tunnel, env, out);
            out.push(Output::CloseTunnel(tunnel));
        }
    }
}

/// Whether a token is one of the mail's.
pub(super) const fn is_mail(token: Token) -> bool {
    token.0 >= TOKENS
}

/// Whether a request is one of the mail's.
pub(super) const fn is_mail_request(tag: Tag) -> bool {
    tag.0 >= TOKENS
}

fn answer(tunnel: Tunnel, response: SwarmResponse, out: &mut Vec<Output>) {
    out.push(Output::TunnelAnswer { tunnel, response, more: false });
}

pub(super) fn refuse(tunnel: Tunnel, error: Error, out: &mut Vec<Output>) {
    answer(tunnel, SwarmResponse::Error(error), out);
}

/// A time that is as far away by the wall clock as seconds say.
fn in_seconds(now: Monotonic, seconds: u64) -> Monotonic {
    now.plus(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
