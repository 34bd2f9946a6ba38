//! Retrieve and subscribe. A reader stands at an arrival number of this database; what it gets follows in order, without
//! a gap, and only what is on disk. Copies that nobody waits for are written together a moment later; whoever asks at
//! their address waits for them, so that what a sender has receipts for is there for who asks next.
//! A subscription has one answer under way at a time: who does not read it is closed after a while and comes back with
//! its cursor.

use std::time::Duration;

use sotto_proto::address::Address;
use sotto_proto::limits::{REQUEST_TIME_SECONDS, RESPONSE_MAX, RETRIEVE_BYTES};
use sotto_proto::request::{Error, Purpose, Records, Retrieve, SignedRead, StoredRecord, Subscribe, SwarmResponse};
use sotto_proto::time::{Monotonic, UnixSeconds};

use super::env::Env;
use super::index::Page;
use super::shares::Room;
use super::subscriptions::{Flow, Subscription};
use super::{Asked, Mail, Wait, answer, refuse};
use crate::service_node::message::{Output, Sync, Tunnel};
use crate::store::Batch;
use crate::store::mail::{Lookup, Place};
use crate::store::records::{Arrival, RecordKey};

/// Answers that are being read from disk, or wait for records on their way there; each holds up to 1 MiB.
pub(super) const READS: usize = 16;
/// Subscriptions that are looked at in vain when there is room for a page.
const TRIES: usize = 8;
/// How often subscriptions that wait look for room when nothing tells them: a page that is not taken says nothing.
const LOOK: Duration = Duration::from_secs(1);

/// A question that waits for records on their way to disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unread {
    tunnel: Tunnel,
    address: Address,
    after: Arrival,
    max_bytes: usize,
}

/// An answer that is being read.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    tunnel: Tunnel,
    /// Whether it is for a subscription, and which of the tunnel's: an older one is not answered any more.
    subscription: Option<u64>,
    page: Page,
}

impl Mail {
    /// A client asks for what is kept at an address.
    pub(super) fn on_retrieve(
        &mut self,
        tunnel: Tunnel,
        read: &SignedRead<Retrieve>,
        env: &Env<'_>,
        out: &mut Vec<Output>,
    ) {
        let after = match self.check_read(read, env) {
            Ok(after) => after,
            Err(error) => return refuse(tunnel, error, out),
        };
        let (address, max_bytes) = (read.read().address, page_bytes(read.read().max_bytes));
        let unread = Unread { tunnel, address, after, max_bytes };
        if !self.is_on_its_way(&address) {
            self.answer_from_index(unread, env, out);
        } else if self.reads_under_way() >= READS {
            refuse(tunnel, Error::Busy, out);
        } else {
            // One sync for each record at most, which somebody has worked for.
            self.persist(Batch::default(), Sync::Now, Wait::Retrieve(unread), out);
        }
    }

    /// What was on its way when somebody asked is on disk, or never will be.
    pub(super) fn answer_from_index(&mut self, unread: Unread, env: &Env<'_>, out: &mut Vec<Output>) {
        let Unread { tunnel, address, after, max_bytes } = unread;
        let page = self.index.page(&address, after, env.times(), max_bytes);
        if page.keys.is_empty() {
            let records = self.records_of(&page, Vec::new(), address, env);
            answer(tunnel, SwarmResponse::Records(records), out);
        } else if self.reads_under_way() >= READS || !self.takes_share(tunnel, &address, page.bytes, env, out) {
            refuse(tunnel, Error::Busy, out);
        } else {
            self.read(Reading { tunnel, subscription: None, page }, out);
        }
    }

    /// A client asks for what is kept at an address, and for what comes.
    pub(super) fn on_subscribe(
        &mut self,
        tunnel: Tunnel,
        read: &SignedRead<Subscribe>,
        env: &Env<'_>,
        out: &mut Vec<Output>,
    ) {
        let cursor = match self.check_read(read, env) {
            Ok(after) => after,
            Err(error) => return refuse(tunnel, error, out),
        };
        let address = read.read().address;
        if !self.subscriptions.has_room(&address) {
            return refuse(tunnel, Error::Busy, out);
        }
        self.next_token = self.next_token.wrapping_add(1);
        let subscription = Subscription {
            number: self.next_token,
            address,
            cursor,
            max_bytes: page_bytes(read.read().max_bytes),
            flow: Flow::Idle,
        };
        self.subscriptions.insert(tunnel, subscription);
        // The first answer comes in any case: it says that the subscription stands, and where.
        let page = self.index.page(&address, cursor, env.times(), page_bytes(read.read().max_bytes));
        if page.keys.is_empty() {
            let records = self.records_of(&page, Vec::new(), address, env);
            self.push(tunnel, records, env.now.monotonic, out);
        } else if !self.pump(tunnel, env, out) {
            self.forget_subscription(tunnel);
            return refuse(tunnel, Error::Busy, out);
        }
        if self.is_on_its_way(&address) {
            self.persist(Batch::default(), Sync::Now, Wait::Nothing, out);
        }
    }

    /// Whether a record at an address is not on disk yet.
    fn is_on_its_way(&self, address: &Address) -> bool {
        self.storing.values().any(|storing| storing.is_at(address))
    }

    /// Checks a read, the cheap rules first; where to read on from.
    fn check_read<P: Purpose>(&self, read: &SignedRead<P>, env: &Env<'_>) -> Result<Arrival, Error> {
        let request = read.read();
        if request.node != env.me() {
            return Err(Error::Unauthorized);
        }
        let now = env.time();
        if request.time.0.abs_diff(now.0) > REQUEST_TIME_SECONDS {
            return Err(Error::ClockSkew { now });
        }
        if !self.serves(&request.address, env) {
            return Err(env.not_owner(&request.address));
        }
        if !read.verify(env.chain(), env.verify) {
            return Err(Error::Unauthorized);
        }
        let cursor = request.cursor;
        let beginning = cursor.epoch == 0 && cursor.seq == 0;
        // A number this database has not given out: it is an older copy of the one the reader knows.
        if !beginning && (cursor.epoch != self.epoch || cursor.seq >= self.next.0) {
            return Err(Error::CursorUnknown);
        }
        Ok(Arrival(cursor.seq))
    }

    /// A former owner serves what it has until others have it (C3).
    fn serves(&self, address: &Address, env: &Env<'_>) -> bool {
        env.owns(address) || self.index.has_records(address)
    }

    fn reads_under_way(&self) -> usize {
        let waiting = self.waits.values().filter(|wait| matches!(wait, Wait::Retrieve(_))).count();
        waiting + self.lookups.values().filter(|asked| matches!(asked, Asked::Read(_))).count()
    }

    /// Whether a page may be under way to a tunnel: then it is. Others end for it if they have to.
    fn takes_share(
        &mut self,
        tunnel: Tunnel,
        address: &Address,
        bytes: usize,
        env: &Env<'_>,
        out: &mut Vec<Output>,
    ) -> bool {
        let now = env.now.monotonic;
        loop {
            match self.shares.room(address, bytes, now) {
                Room::There => break,
                Room::Nowhere => return false,
                Room::InsteadOf(other) => {
                    self.forget_subscription(other);
                    self.shares.end(other);
                    out.push(Output::CloseTunnel(other));
                }
            }
        }
        self.shares.begin(tunnel, *address, bytes, now);
        true
    }

    /// A tunnel has taken its page, or never will: others may have theirs.
    pub(super) fn on_sent(&mut self, tunnel: Tunnel, env: &Env<'_>, out: &mut Vec<Output>) {
        if self.shares.end(tunnel) {
            self.pump_waiting(env, out);
        }
    }

    fn read(&mut self, reading: Reading, out: &mut Vec<Output>) {
        let lookup = Lookup::Records(reading.page.keys.clone());
        self.look_up(lookup, Asked::Read(reading), out);
    }

    fn records_of(&self, page: &Page, records: Vec<StoredRecord>, address: Address, env: &Env<'_>) -> Records {
        Records {
            epoch: self.epoch,
            records,
            next_seq: page.next.0,
            more: page.more,
            syncing: self.syncing || page.doubtful || !env.owns(&address),
        }
    }

    /// Records came from disk.
    pub(super) fn on_read(
        &mut self,
        reading: Reading,
        found: Vec<Option<Vec<u8>>>,
        env: &Env<'_>,
        out: &mut Vec<Output>,
    ) {
        let Reading { tunnel, subscription, page } = reading;
        let Some(address) = page.keys.first().map(|key| key.address) else { return };
        let (mut records, mut damaged) = (Vec::with_capacity(found.len()), Vec::new());
        for (key, found) in page.keys.iter().zip(found) {
            match found {
                // It may have been deleted, or have expired, while it was read.
                Some(record) if self.is_alive(key, env.time()) => {
                    records.push(StoredRecord { seq: key.arrival.0, record });
                }
                Some(_) => {}
                None => damaged.push(Place::Record(*key)),
            }
        }
        self.drop_damaged(&damaged, env, out);
        let answered = self.records_of(&page, records, address, env);
        match subscription {
            None => answer(tunnel, SwarmResponse::Records(answered), out),
            Some(number) => {
                if self.subscriptions.is_current(tunnel, number) {
                    self.push(tunnel, answered, env.now.monotonic, out);
                }
            }
        }
        self.pump_waiting(env, out);
    }

    fn is_alive(&self, key: &RecordKey, now: UnixSeconds) -> bool {
        self.index.at(key.arrival).is_some_and(|held| held.entry.expiry() > now)
    }

    /// Records could not be read.
    pub(super) fn on_unread(&mut self, reading: &Reading, env: &Env<'_>, out: &mut Vec<Output>) {
        match reading.subscription {
            None => {
                refuse(reading.tunnel, Error::Busy, out);
                self.on_sent(reading.tunnel, env, out);
            }
            Some(number) => {
                if self.subscriptions.is_current(reading.tunnel, number) {
                    self.forget_subscription(reading.tunnel);
                    refuse(reading.tunnel, Error::Busy, out);
                    self.on_sent(reading.tunnel, env, out);
                }
            }
        }
    }

    fn push(&mut self, tunnel: Tunnel, records: Records, now: Monotonic, out: &mut Vec<Output>) {
        self.subscriptions.sent(tunnel, Arrival(records.next_seq), now);
        out.push(Output::TunnelAnswer { tunnel, response: SwarmResponse::Records(records), more: true });
    }

    /// A page is sent: there is room for another one.
    pub(in crate::service_node) fn on_room(&mut self, tunnel: Tunnel, env: &Env<'_>, out: &mut Vec<Output>) {
        let flow = self.subscriptions.get(tunnel).map(|subscription| subscription.flow);
        let is_sent = matches!(flow, Some(Flow::Sent(_)));
        if is_sent {
            self.subscriptions.set_flow(tunnel, Flow::Idle);
        }
        self.on_sent(tunnel, env, out);
        if is_sent {
            self.pump(tunnel, env, out);
        }
    }

    /// Records came to an address.
    pub(super) fn push_to(&mut self, address: &Address, env: &Env<'_>, out: &mut Vec<Output>) {
        for tunnel in self.subscriptions.idle_at(address) {
            self.pump(tunnel, env, out);
        }
    }

    /// Has the next answer of an idle subscription read, if there is anything new. `false` if it waits for others to take
    /// theirs.
    fn pump(&mut self, tunnel: Tunnel, env: &Env<'_>, out: &mut Vec<Output>) -> bool {
        let Some(subscription) = self.subscriptions.get(tunnel).filter(|known| known.flow == Flow::Idle) else {
            return true;
        };
        let (number, max_bytes) = (subscription.number, subscription.max_bytes);
        let page = self.index.page(&subscription.address, subscription.cursor, env.times(), max_bytes);
        if page.keys.is_empty() {
            return true;
        }
        if self.reads_under_way() >= READS {
            self.subscriptions.wait(tunnel);
            return true;
        }
        let address = subscription.address;
        if !self.takes_share(tunnel, &address, page.bytes, env, out) {
            self.subscriptions.wait(tunnel);
            return false;
        }
        self.subscriptions.set_flow(tunnel, Flow::Reading);
        self.read(Reading { tunnel, subscription: Some(number), page }, out);
        true
    }

    fn pump_waiting(&mut self, env: &Env<'_>, out: &mut Vec<Output>) {
        let mut tries = TRIES;
        while tries > 0
            && self.reads_under_way() < READS
            && let Some(tunnel) = self.subscriptions.pop_waiting()
        {
            // One that has no room waits on, and the next may have: they have their turns one after the other.
            tries -= usize::from(!self.pump(tunnel, env, out));
        }
    }

    /// Has subscriptions that have waited for a while try again.
    pub(super) fn look_for_room(&mut self, env: &Env<'_>, out: &mut Vec<Output>) {
        let now = env.now.monotonic;
        if self.look_at.is_some_and(|at| at <= now) {
            self.look_at = None;
            self.pump_waiting(env, out);
        }
        self.look_at = self.subscriptions.someone_waits().then(|| self.look_at.unwrap_or_else(|| now.plus(LOOK)));
    }

    /// A tunnel no longer reads what it was subscribed to.
    pub(super) fn forget_subscription(&mut self, tunnel: Tunnel) {
        self.subscriptions.remove(tunnel);
    }

    /// Subscriptions to addresses that the swarm no longer owns end; their readers go to those that do.
    pub(super) fn end_foreign_subscriptions(&mut self, env: &Env<'_>, out: &mut Vec<Output>) {
        let foreign: Vec<_> = (self.subscriptions.addresses())
            .filter(|(address, _)| !self.serves(address, env))
            .flat_map(|(address, tunnels)| tunnels.iter().map(|tunnel| (*tunnel, *address)))
            .collect();
        for (tunnel, address) in foreign {
            self.forget_subscription(tunnel);
            self.shares.end(tunnel);
            refuse(tunnel, env.not_owner(&address), out);
        }
    }

    /// Ends subscriptions whose readers do not read.
    pub(super) fn close_stalled(&mut self, env: &Env<'_>, out: &mut Vec<Output>) {
        for tunnel in self.subscriptions.stalled(env.now.monotonic) {
            self.on_closed(tunnel, env, out);
            out.push(Output::CloseTunnel(tunnel));
        }
    }
}

/// Bytes of an answer for which a reader asks for so many bytes of records.
fn page_bytes(asked: u32) -> usize {
    usize::try_from(asked.min(RETRIEVE_BYTES)).unwrap_or(usize::MAX).min(RESPONSE_MAX)
}
