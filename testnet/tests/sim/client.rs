//! A client: sends to others, reads its own mailbox by polls and a subscription, deletes some of what it has read.
//!
//! It asks members as the messenger does: three with an order of publishing, the next when one fails or is silent; reads
//! go on from the cursor kept for each member.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::Duration;

use sotto_proto::address::Address;
use sotto_proto::envelope::{Envelope, Record, Ttl};
use sotto_proto::id::{NodeId, RecordId};
use sotto_proto::limits::RETRIEVE_BYTES;
use sotto_proto::pow::{self, Difficulty, Nonce, Search, Work};
use sotto_proto::request::{
    Cursor, Delete, DeletedRecord, Error, PublishOrder, Read, Records, Retrieve, SignedDelete, SignedRead, Subscribe,
    SwarmRequest, SwarmResponse,
};
use sotto_proto::sign::SigningKey;
use sotto_proto::time::Monotonic;

use super::chain::key;
use super::model::{At, ENOUGH, label};
use super::world::{Event, World};

/// Members with receipts that a sender wants.
const WANTED: usize = 3;
/// How long a member may take before the next one is asked as well.
const MEMBER_PATIENCE: Duration = Duration::from_secs(2);
/// How long sending may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages that are read and deleted at once.
const NEWEST: usize = 3;
/// Bytes of sealed data: the smallest there is.
const DATA: usize = 1664;

/// What a tunnel is for.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    /// The task of this number.
    Task(u64),
    Poll(Option<Cursor>),
    /// Where its reader stands.
    Subscribe(Cursor),
    /// A read from the beginning, and what it has brought so far.
    Audit(Audited),
}

/// What a member serves from the beginning.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audited {
    all: BTreeSet<RecordId>,
    /// Up to where its reader stands.
    passed: BTreeSet<RecordId>,
}

/// A tunnel to a member.
#[derive(Clone, Debug)]
pub(crate) struct Talk {
    pub(crate) client: usize,
    pub(crate) node: usize,
    pub(crate) incarnation: u32,
    /// Which of its disks.
    disk: u32,
    pub(crate) purpose: Purpose,
    asked: Monotonic,
}

/// A message being stored, or a delete being made.
#[derive(Debug)]
pub(crate) struct Task {
    client: usize,
    ids: Vec<RecordId>,
    what: What,
    /// Members to ask, the next one last.
    candidates: Vec<usize>,
    asked: usize,
    answers: usize,
    began: Monotonic,
    done: bool,
}

#[derive(Clone, Debug)]
enum What {
    Store(Vec<u8>),
    Delete(SignedDelete),
}

pub(crate) struct Client {
    key: SigningKey,
    pub(crate) address: Address,
    pub(crate) seen: BTreeSet<RecordId>,
    /// What it has read last.
    newest: Vec<RecordId>,
    cursors: BTreeMap<NodeId, Cursor>,
    /// What was read by them, of each disk.
    read: BTreeMap<(usize, u32), BTreeSet<RecordId>>,
    /// The tunnel it is subscribed through.
    subscription: Option<u64>,
}

impl Client {
    pub(crate) fn new(index: usize) -> Self {
        let key = key("client", index);
        Self {
            address: Address::mailbox(&key.public()),
            key,
            seen: BTreeSet::new(),
            newest: Vec::new(),
            cursors: BTreeMap::new(),
            read: BTreeMap::new(),
            subscription: None,
        }
    }
}

impl World {
    /// A client does something, now and then.
    pub(crate) fn client_acts(&mut self, client: usize) {
        let busy = self.now < self.plan.sends_until;
        match self.dice.below(100) {
            0..80 if busy => self.send_message(client),
            80..93 => self.poll(client),
            93..98 if busy => self.delete(client),
            _ if self.clients[client].subscription.is_none() => self.subscribe(client),
            _ => {}
        }
        let pause = self.dice.millis(0..2 * self.plan.pause_ms);
        self.after(pause, Event::Client(client));
    }

    /// Members of the swarm that owns the address, as a client that follows the list sees it.
    fn members_for(&mut self, client: usize) -> Vec<usize> {
        let view = &self.client_view;
        let address = self.clients[client].address;
        let swarm = view.current().swarms.owner(&address);
        let members = swarm.and_then(|swarm| view.current().swarms.members(swarm)).unwrap_or_default();
        let mut members: Vec<_> = members.iter().filter_map(|node| self.index_of.get(node).copied()).collect();
        self.dice.shuffle(&mut members);
        members
    }

    fn send_message(&mut self, from: usize) {
        let to = self.dice.below(self.clients.len() as u64) as usize;
        let (address, ttl) = (self.clients[to].address, self.plan.ttl(&mut self.dice));
        let timestamp = self.true_time().seconds();
        let view = &self.client_view;
        let anchor = pow::anchor(view.current().height, self.chain.tip().params().epoch_blocks);
        let Some(hash) = self.chain.anchors().get(&anchor).map(|(hash, _)| *hash) else { return };
        let mut data = vec![0; DATA];
        data[..32].copy_from_slice(&self.dice.bytes());
        let envelope = Envelope::new(address, timestamp, Ttl::new(ttl).unwrap(), anchor, data).unwrap();
        let work = Work::new(&envelope, &hash);
        let nonce = work.prove_on(NonZeroUsize::MIN, Difficulty::MIN, Nonce(0), &Search::new()).unwrap();
        let record = Record::new(envelope, nonce, None).unwrap();
        let id = self.model.sends(to, &record);
        self.trace(|| format!("client {from} sends {} to client {to} for {ttl} s", id.short()));
        let candidates = self.members_for(to);
        self.begin_task(from, vec![id], What::Store(record.encode()), candidates);
    }

    fn delete(&mut self, client: usize) {
        // What came last is read and done with, or somebody tidies up.
        let ids: BTreeSet<_> = if self.dice.permille(500) {
            self.clients[client].newest.drain(..).collect()
        } else {
            let most = self.dice.between(1..6) as usize;
            let seen: Vec<_> = self.clients[client].seen.iter().copied().collect();
            (0..most).filter_map(|_| self.dice.pick(&seen)).collect()
        };
        let deleted = ids.iter().filter_map(|id| {
            let message = self.model.messages.get(id)?;
            Some(DeletedRecord { id: *id, timestamp: message.timestamp, ttl: message.ttl })
        });
        let records: Vec<_> = deleted.collect();
        if records.is_empty() {
            return;
        }
        let ids: Vec<_> = records.iter().map(|record| record.id).collect();
        let owner = &self.clients[client];
        let Ok(delete) = Delete::new(owner.address, self.true_time().seconds(), records) else { return };
        let signed = SignedDelete::sign(delete, &owner.key, &self.chain.id());
        self.model.asks_to_delete(&ids);
        let candidates = self.members_for(client);
        self.begin_task(client, ids, What::Delete(signed), candidates);
    }

    fn begin_task(&mut self, client: usize, ids: Vec<RecordId>, what: What, candidates: Vec<usize>) {
        let number = self.number();
        let task = Task { client, ids, what, candidates, asked: 0, answers: 0, began: self.now, done: false };
        self.tasks.insert(number, task);
        for _ in 0..WANTED {
            self.ask_next(number);
        }
        self.after(PATIENCE, Event::TaskOver(number));
    }

    /// Asks one more member, if there is one and it takes one more.
    fn ask_next(&mut self, number: u64) {
        let Some(task) = self.tasks.get_mut(&number) else { return };
        if task.answers >= WANTED {
            return;
        }
        let Some(node) = task.candidates.pop() else { return };
        let order = [PublishOrder::First, PublishOrder::Second].get(task.asked).copied().unwrap_or(PublishOrder::Third);
        task.asked += 1;
        let request = match &task.what {
            What::Store(record) => SwarmRequest::Store { record: record.clone(), publish_order: order },
            What::Delete(delete) => SwarmRequest::Delete(delete.clone()),
        };
        let client = task.client;
        let tunnel = self.talk(client, node, Purpose::Task(number), request);
        self.after(MEMBER_PATIENCE, Event::MemberSlow(number, tunnel));
    }

    /// A member has not answered for a while: it may still, but the next one is asked as well.
    pub(crate) fn member_slow(&mut self, number: u64, tunnel: u64) {
        if self.talks.contains_key(&tunnel) {
            self.ask_next(number);
        }
    }

    /// The time for a task is over.
    pub(crate) fn task_over(&mut self, number: u64) {
        let Some(task) = self.tasks.remove(&number) else { return };
        let what = if matches!(task.what, What::Store(_)) { "send" } else { "delete" };
        self.model.ended(task.began, self.plan.healed, what, task.done);
    }

    fn on_task(&mut self, number: u64, talk: &Talk, response: SwarmResponse) {
        let node = self.nodes[talk.node].id();
        let (disk, now) = (talk.disk, self.now);
        let Some(task) = self.tasks.get_mut(&number) else { return };
        match response {
            SwarmResponse::Stored { receipt, signature } => {
                if !self.model.receipt(task.ids[0], (talk.node, disk, node), (&receipt, &signature), now) {
                    return self.ask_next(number);
                }
                task.answers += 1;
                task.done |= task.answers >= ENOUGH;
            }
            SwarmResponse::Deleted { unknown } => {
                task.answers += 1;
                task.done |= task.answers >= ENOUGH;
                for id in task.ids.iter().filter(|id| !unknown.contains(id)) {
                    self.model.erased(*id, talk.node, disk, now);
                }
            }
            _ => self.ask_next(number),
        }
    }

    fn read(&self, client: usize, node: usize, cursor: Cursor) -> Read {
        let client = &self.clients[client];
        let (node, time) = (self.nodes[node].id(), self.true_time().seconds());
        Read { node, address: client.address, time, cursor, max_bytes: RETRIEVE_BYTES.min(8192) }
    }

    fn retrieve(&self, client: usize, node: usize, cursor: Cursor) -> SwarmRequest {
        let read = self.read(client, node, cursor);
        SwarmRequest::Retrieve(SignedRead::<Retrieve>::sign(read, &self.clients[client].key, &self.chain.id()))
    }

    fn poll(&mut self, client: usize) {
        if let Some(node) = self.members_for(client).first().copied() {
            self.poll_at(client, node);
        }
    }

    pub(crate) fn poll_at(&mut self, client: usize, node: usize) {
        let cursor = self.clients[client].cursors.get(&self.nodes[node].id()).copied();
        let request = self.retrieve(client, node, cursor.unwrap_or_default());
        self.talk(client, node, Purpose::Poll(cursor), request);
    }

    pub(crate) fn audit(&mut self, client: usize, node: usize, cursor: Cursor, got: Audited) {
        let request = self.retrieve(client, node, cursor);
        self.talk(client, node, Purpose::Audit(got), request);
    }

    fn subscribe(&mut self, client: usize) {
        let Some(node) = self.members_for(client).first().copied() else { return };
        let cursor = self.clients[client].cursors.get(&self.nodes[node].id()).copied().unwrap_or_default();
        let read = self.read(client, node, cursor);
        let signed = SignedRead::<Subscribe>::sign(read, &self.clients[client].key, &self.chain.id());
        let tunnel = self.talk(client, node, Purpose::Subscribe(cursor), SwarmRequest::Subscribe(signed));
        self.clients[client].subscription = Some(tunnel);
    }

    fn talk(&mut self, client: usize, node: usize, purpose: Purpose, request: SwarmRequest) -> u64 {
        let tunnel = self.number();
        let incarnation = self.nodes[node].incarnation;
        let lasting = matches!(purpose, Purpose::Subscribe(_));
        self.talks.insert(tunnel, Talk { client, node, incarnation, disk: self.disks[node], purpose, asked: self.now });
        self.ask_through(tunnel, node, incarnation, request);
        if !lasting {
            self.after(PATIENCE, Event::TunnelOver(tunnel));
        }
        tunnel
    }

    /// A tunnel has ended, or nobody waits for it any more.
    pub(crate) fn tunnel_over(&mut self, tunnel: u64) {
        let Some(talk) = self.talks.remove(&tunnel) else { return };
        self.close(tunnel, &talk);
        match talk.purpose {
            Purpose::Task(number) => self.ask_next(number),
            Purpose::Subscribe(_) => self.clients[talk.client].subscription = None,
            Purpose::Poll(_) if self.model.is_liar(talk.node) => {}
            Purpose::Poll(_) => self.model.ended(talk.asked, self.plan.healed, "poll", false),
            Purpose::Audit(..) => {
                let what = format!("node {} does not answer after everything has healed", talk.node);
                self.model.violated("I14", what);
            }
        }
    }

    /// An answer came.
    pub(crate) fn answered(&mut self, tunnel: u64, response: SwarmResponse) {
        let Some(talk) = self.talks.get(&tunnel).cloned() else { return };
        self.trace(|| format!("client {} hears of node {}: {}", talk.client, talk.node, label(&response)));
        if let (Purpose::Subscribe(stands), SwarmResponse::Records(records)) = (&talk.purpose, &response) {
            let first = records.records.first().filter(|_| records.epoch == stands.epoch);
            let first = first.filter(|first| first.seq <= stands.seq && !self.model.is_liar(talk.node));
            if let Some(first) = first {
                let what = format!("node {} pushed number {} after {}", talk.node, first.seq, stands.seq);
                self.model.violated("I11", what);
            }
            self.take_in(&talk, records);
            let stands = Cursor { epoch: records.epoch, seq: records.next_seq };
            // What comes from here on was sent from here on, at the earliest.
            self.talks.insert(tunnel, Talk { purpose: Purpose::Subscribe(stands), asked: self.now, ..talk });
            return;
        }
        self.talks.remove(&tunnel);
        self.close(tunnel, &talk);
        match (talk.purpose.clone(), response) {
            (Purpose::Task(number), response) => self.on_task(number, &talk, response),
            (Purpose::Subscribe(_), response) => {
                self.clients[talk.client].subscription = None;
                if response == SwarmResponse::Error(Error::CursorUnknown) {
                    self.clients[talk.client].cursors.remove(&self.nodes[talk.node].id());
                }
            }
            (Purpose::Poll(_), SwarmResponse::Records(records)) => {
                self.take_in(&talk, &records);
                self.model.ended(talk.asked, self.plan.healed, "poll", true);
                if records.more {
                    self.poll_at(talk.client, talk.node);
                }
            }
            (Purpose::Poll(Some(_)), SwarmResponse::Error(Error::CursorUnknown)) => {
                self.clients[talk.client].cursors.remove(&self.nodes[talk.node].id());
                self.poll_at(talk.client, talk.node);
            }
            (Purpose::Poll(_), _) if self.model.is_liar(talk.node) => {}
            (Purpose::Poll(_), response) => {
                self.trace(|| format!("a poll failed: {}", label(&response)));
                self.model.ended(talk.asked, self.plan.healed, "poll", false);
            }
            (Purpose::Audit(mut got), SwarmResponse::Records(records)) => {
                let at = self.place(&talk);
                let stands = self.clients[talk.client].cursors.get(&self.nodes[talk.node].id()).copied();
                let stands = stands.filter(|cursor| cursor.epoch == records.epoch).map_or(0, |cursor| cursor.seq);
                for stored in &records.records {
                    let id = self.model.served(talk.client, &stored.record, at);
                    got.all.extend(id);
                    got.passed.extend(id.filter(|_| stored.seq <= stands));
                }
                if records.more {
                    let cursor = Cursor { epoch: records.epoch, seq: records.next_seq };
                    self.audit(talk.client, talk.node, cursor, got);
                } else {
                    self.model.audited(talk.client, &got.all, at);
                    let read = self.clients[talk.client].read.get(&(at.node, at.disk)).cloned().unwrap_or_default();
                    self.model.read_by_cursor(talk.client, talk.node, &got.passed, &read);
                    self.audited += 1;
                }
            }
            (Purpose::Audit(..), response) => {
                let what = format!("node {} answers an audit with {}", talk.node, label(&response));
                self.model.violated("I14", what);
            }
        }
    }

    fn place(&self, talk: &Talk) -> At {
        At {
            node: talk.node,
            disk: talk.disk,
            asked: talk.asked,
            time: self.true_time().seconds(),
            skew: self.nodes[talk.node].skew.unsigned_abs() / 1000,
        }
    }

    /// Takes records in, and moves the member's cursor. Polls and the subscription overlap, but each goes on without a
    /// gap from where the cursor was or lower: the highest of them is where the client stands.
    fn take_in(&mut self, talk: &Talk, records: &Records) {
        let at = self.place(talk);
        let mut last = 0;
        for stored in &records.records {
            if stored.seq <= last && !self.model.is_liar(talk.node) {
                self.model.violated("I11", format!("node {} served number {} after {last}", talk.node, stored.seq));
            }
            last = stored.seq;
            if let Some(id) = self.model.served(talk.client, &stored.record, at) {
                let client = &mut self.clients[talk.client];
                if client.seen.insert(id) {
                    client.newest.insert(0, id);
                    client.newest.truncate(NEWEST);
                }
                client.read.entry((at.node, at.disk)).or_default().insert(id);
            }
        }
        let cursors = &mut self.clients[talk.client].cursors;
        let cursor = cursors.entry(self.nodes[talk.node].id()).or_default();
        let before = if cursor.epoch == records.epoch { cursor.seq } else { 0 };
        *cursor = Cursor { epoch: records.epoch, seq: records.next_seq.max(before) };
    }
}
