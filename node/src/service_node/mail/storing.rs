//! Records in; receipts and gossip out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sotto_behaviours::network::Verdict;
use sotto_proto::address::Address;
use sotto_proto::envelope::Record;
use sotto_proto::id::RecordId;
use sotto_proto::request::{Error, PublishOrder};
use sotto_proto::time::{Monotonic, UnixSeconds};

use super::env::Env;
use super::judge::{self, BadWork, Doubt, Proof};
use super::{Mail, RECORD, Wait, answer, refuse};
use crate::service_node::message::{Output, Sync, Tunnel};
use crate::store::records::{Arrival, RecordEntry, RecordKey, Source};
use crate::store::{Batch, MetaKey, Write};

/// Bytes of records that wait for their turn to be published; beyond it they are published at once.
pub(super) const PUBLISHING_BYTES: usize = 8 << 20;
/// So much later than it could the first member publishes: a copy for each member takes longer to send than a receipt,
/// and the sender waits for those. What is stored together meanwhile is published together.
pub(super) const RECEIPTS_FIRST: Duration = Duration::from_millis(2);
/// A record whose anchor is not final here is looked at again with the next block whether it can be published, and if that
/// says nothing of it, after so long.
const UNTIL_FINAL: Duration = Duration::from_secs(1);
/// Arrival numbers reserved on disk at once: a start skips at most so many, and needs no number that was given out.
const RESERVED: u64 = 1024;

/// A record on its way to disk.
#[derive(Clone, Debug)]
pub(super) struct Storing {
    entry: RecordEntry,
    /// How it is gossiped then.
    publish: Option<(PublishOrder, Message)>,
    /// Clients that wait for it.
    clients: Vec<Tunnel>,
}

impl Storing {
    /// Whether it is for this address.
    pub(super) fn is_at(&self, address: &Address) -> bool {
        self.entry.key.address == *address
    }
}

/// A record that is to be gossiped.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    bytes: Vec<u8>,
    /// Its work was checked against a block that was not final: members that have another one there would reject it and
    /// ban whoever sends it. From when the block is final it has its turn in this order.
    unproven: Option<PublishOrder>,
}

/// What becomes of a client's record.
enum Admission {
    /// It was stored, or deleted, before.
    Held { address: Address, id: RecordId, expiry: UnixSeconds },
    /// It is on its way to disk.
    OnItsWay(Arrival),
    /// It is taken.
    New(Box<Record>, RecordId),
}

impl From<Error> for BadWork {
    fn from(error: Error) -> Self {
        Self { error, worthless: false }
    }
}

impl Mail {
    /// A client wants a record kept.
    pub(super) fn on_store(
        &mut self,
        tunnel: Tunnel,
        bytes: Vec<u8>,
        order: PublishOrder,
        env: &Env<'_>,
        out: &mut Vec<Output>,
    ) {
        match self.admit(&bytes, env) {
            Ok(Admission::Held { address, id, expiry }) => answer(tunnel, env.receipt(address, id, expiry), out),
            Ok(Admission::OnItsWay(arrival)) => {
                if let Some(storing) = self.storing.get_mut(&arrival) {
                    storing.clients.push(tunnel);
                    // It may have come by gossip, whose copies take their time to the disk.
                    self.persist(Batch::default(), Sync::Now, Wait::Nothing, out);
                } else {
                    refuse(tunnel, Error::Busy, out);
                }
            }
            Ok(Admission::New(record, id)) => {
                let unproven = (!judge::is_final(&record, env)).then_some(order);
                let message = Message { bytes: [[RECORD].as_slice(), &bytes].concat(), unproven };
                let arrival = self.keep(&record, id, bytes, Source::Client, env, out);
                if let Some(storing) = self.storing.get_mut(&arrival) {
                    storing.publish = Some((order, message));
                    storing.clients.push(tunnel);
                }
            }
            Err(BadWork { error, worthless }) => {
                refuse(tunnel, error, out);
                if worthless {
                    self.count_bad_stamp(tunnel, env, out);
                }
            }
        }
    }

    /// Judges a client's record, in the order of B4: cheap checks first, and none that tells whether a record is here
    /// before the address is known to be the swarm's.
    fn admit(&self, bytes: &[u8], env: &Env<'_>) -> Result<Admission, BadWork> {
        let record = judge::form(bytes)?;
        let address = record.envelope().address();
        if !env.owns(&address) {
            return Err(env.not_owner(&address).into());
        }
        if env.clock_off() || !env.may_write {
            return Err(Error::Busy.into());
        }
        judge::times(&record, env.time())?;
        let (id, expiry) = (record.envelope().id(env.chain()), record.envelope().expiry());
        if self.index.is_deleted(&address, &id) {
            return Ok(Admission::Held { address, id, expiry });
        }
        if let Some(held) = self.index.find(&id) {
            return Ok(match held.durable {
                true => Admission::Held { address, id, expiry },
                false => Admission::OnItsWay(held.entry.key.arrival),
            });
        }
        let (used, quota) = (self.index.used(&address), env.params.mailbox_quota);
        judge::work(&record, &self.anchors, judge::price(env.difficulty(), used, quota), env)?;
        if !record.may_write(env.verify, env.chain(), &id) {
            return Err(Error::Unauthorized.into());
        }
        self.has_room(&address, bytes.len() as u64, env)?;
        Ok(Admission::New(Box::new(record), id))
    }

    /// Whether there is room: at the address, then on the disk.
    fn has_room(&self, address: &Address, length: u64, env: &Env<'_>) -> Result<(), Error> {
        let hard_limit = env.params.mailbox_quota.saturating_mul(2);
        let most = address.kind().live_records_max().unwrap_or(usize::MAX);
        let full = self.index.used(address).saturating_add(length) > hard_limit
            || (most < usize::MAX && self.index.live(address, env.time(), most) >= most)
            || self.index.len() >= self.limits.records
            || self.index.bytes().saturating_add(length) > self.limits.bytes;
        if full { Err(Error::Busy) } else { Ok(()) }
    }

    /// A member gossiped a record.
    pub(super) fn on_gossiped_record(&mut self, bytes: &[u8], env: &Env<'_>, out: &mut Vec<Output>) -> Verdict {
        match self.take_from_member(bytes, Source::Gossip, env, out) {
            Ok(Proof::Final) => Verdict::Accept,
            Err(Doubt::Wrong(_)) => Verdict::Reject,
            // Kept or not, what others may reject is not passed on: repair brings it to whoever lacks it.
            Ok(Proof::NotFinal | Proof::Lost) | Err(Doubt::NotNow(_)) => Verdict::Ignore,
        }
    }

    /// Takes a record from a member, unless it is here, and says how its work was checked. It is on disk within a tenth
    /// of a second.
    ///
    /// # Errors
    /// [`Doubt`] if it is not taken.
    pub(super) fn take_from_member(
        &mut self,
        bytes: &[u8],
        source: Source,
        env: &Env<'_>,
        out: &mut Vec<Output>,
    ) -> Result<Proof, Doubt> {
        let (record, id, proof) = judge::from_member(bytes, &self.anchors, env)?;
        if source == Source::Gossip && proof == Proof::Lost {
            return Err(Doubt::NotNow("anchor"));
        }
        if self.index.is_deleted(&record.envelope().address(), &id) {
            return Err(Doubt::NotNow("deleted"));
        }
        if let Some(held) = self.index.find(&id) {
            let arrival = held.entry.key.arrival;
            if source == Source::Gossip {
                self.heard(arrival);
            }
            return Ok(proof);
        }
        self.keep(&record, id, bytes.to_vec(), source, env, out);
        Ok(proof)
    }

    /// Somebody else has published this record.
    fn heard(&mut self, arrival: Arrival) {
        self.publishing.remove(arrival);
        if let Some(storing) = self.storing.get_mut(&arrival) {
            storing.publish = None;
        }
    }

    /// Puts a record on its way to disk, under the next number.
    pub(super) fn keep(
        &mut self,
        record: &Record,
        id: RecordId,
        bytes: Vec<u8>,
        source: Source,
        env: &Env<'_>,
        out: &mut Vec<Output>,
    ) -> Arrival {
        let (envelope, arrival) = (record.envelope(), self.next);
        self.next = arrival.next();
        let entry = RecordEntry {
            key: RecordKey { address: envelope.address(), arrival },
            id,
            timestamp: envelope.timestamp(),
            ttl: envelope.ttl().seconds(),
            length: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            source,
            received: env.time(),
        };
        self.index.insert(entry, false);
        self.storing.insert(arrival, Storing { entry, publish: None, clients: Vec::new() });
        let mut batch = Batch::of(Write::PutRecord { entry, bytes });
        if arrival.0 >= self.reserved {
            self.reserved = arrival.0.saturating_add(RESERVED);
            batch.push(Write::PutMeta(MetaKey::Arrivals, self.reserved.to_be_bytes().to_vec()));
        }
        // Nobody is told before it is on disk, so whoever is subscribed would wait for the next sync.
        let awaited = source == Source::Client || !self.subscriptions.idle_at(&entry.key.address).is_empty();
        let sync = if awaited { Sync::Now } else { Sync::Later };
        self.persist(batch, sync, Wait::Record(arrival), out);
        arrival
    }

    /// A record is on disk, or never will be.
    pub(super) fn on_stored(&mut self, arrival: Arrival, written: bool, env: &Env<'_>, out: &mut Vec<Output>) {
        let Some(Storing { entry, publish, clients }) = self.storing.remove(&arrival) else { return };
        if !written {
            self.index.remove(arrival);
            self.reserved = 0; // the reservation may have been in the same batch
            clients.into_iter().for_each(|tunnel| refuse(tunnel, Error::Busy, out));
            return;
        }
        let count = match entry.source {
            Source::Client => &mut self.counts.from_clients,
            Source::Gossip => &mut self.counts.from_gossip,
            Source::Repair => &mut self.counts.from_repair,
        };
        *count = count.saturating_add(1);
        for tunnel in clients {
            answer(tunnel, env.receipt(entry.key.address, entry.id, entry.expiry()), out);
        }
        // Deleted on its way to disk: nobody is to see it.
        if self.index.set_durable(arrival).is_none() {
            return;
        }
        // Whoever waits for it comes before those who keep copies.
        self.push_to(&entry.key.address, env, out);
        if let Some((order, message)) = publish {
            self.publish(arrival, order, message, env.now.monotonic, out);
        }
    }

    fn publish(
        &mut self,
        arrival: Arrival,
        order: PublishOrder,
        message: Message,
        now: Monotonic,
        out: &mut Vec<Output>,
    ) {
        if self.publishing.bytes.saturating_add(message.bytes.len()) > PUBLISHING_BYTES {
            // Without having proven it: repair has to bring it to the others.
            out.extend(message.unproven.is_none().then_some(Output::Publish(message.bytes)));
        } else {
            self.publishing.insert(now.plus(RECEIPTS_FIRST).plus(order.delay()), arrival, message);
        }
    }

    /// Publishes what others should have published by now and have not.
    pub(super) fn publish_due(&mut self, env: &Env<'_>, out: &mut Vec<Output>) {
        let now = env.now.monotonic;
        while let Some((arrival, message)) = self.publishing.take_due(now) {
            if message.unproven.is_none() {
                out.push(Output::Publish(message.bytes));
                continue;
            }
            let record = message.bytes.get(1..).unwrap_or_default();
            // While the chain stands still nothing else is worth its time.
            if Record::decode(record).is_ok_and(|record| record.envelope().anchor() > env.height()) {
                self.publishing.insert(now.plus(UNTIL_FINAL), arrival, message);
                continue;
            }
            match judge::from_member(record, &self.anchors, env) {
                Ok((.., Proof::Final)) => match message.unproven.map(PublishOrder::delay) {
                    None | Some(Duration::ZERO) => out.push(Output::Publish(message.bytes)),
                    Some(delay) => {
                        self.publishing.insert(now.plus(delay), arrival, Message { unproven: None, ..message });
                    }
                },
                Ok((.., Proof::NotFinal)) => self.publishing.insert(now.plus(UNTIL_FINAL), arrival, message),
                Err(doubt) if doubt.may_pass() => self.publishing.insert(now.plus(UNTIL_FINAL), arrival, message),
                Ok((.., Proof::Lost)) | Err(_) => {
                    tracing::debug!("a record is not published: its work is for another block")
                }
            }
        }
    }

    /// A record was deleted or has expired: it is not published any more.
    pub(super) fn do_not_publish(&mut self, arrival: Arrival) {
        self.heard(arrival);
    }
}

/// Records that are published unless others do so before.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    messages: BTreeMap<Arrival, (Monotonic, Message)>,
    due: BTreeSet<(Monotonic, Arrival)>,
    bytes: usize,
}

impl Publishing {
    fn insert(&mut self, at: Monotonic, arrival: Arrival, message: Message) {
        self.bytes = self.bytes.saturating_add(message.bytes.len());
        self.due.insert((at, arrival));
        self.messages.insert(arrival, (at, message));
    }

    /// The chain has another tip, and so perhaps another final block: what may wait for that is looked at.
    pub(super) fn hasten(&mut self, now: Monotonic) {
        let soon = now.plus(RECEIPTS_FIRST);
        for (arrival, (at, message)) in &mut self.messages {
            if message.unproven.is_some() && soon < *at {
                self.due.remove(&(*at, *arrival));
                self.due.insert((soon, *arrival));
                *at = soon;
            }
        }
    }

    fn remove(&mut self, arrival: Arrival) -> Option<Message> {
        let (at, message) = self.messages.remove(&arrival)?;
        self.due.remove(&(at, arrival));
        self.bytes = self.bytes.saturating_sub(message.bytes.len());
        Some(message)
    }

    fn take_due(&mut self, now: Monotonic) -> Option<(Arrival, Message)> {
        let (_, arrival) = *self.due.first().filter(|(at, _)| *at <= now)?;
        Some((arrival, self.remove(arrival)?))
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Monotonic> {
        self.due.first().map(|(at, _)| *at)
    }
}
