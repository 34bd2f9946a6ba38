//! The mail alone, against a disk that can lose what was not synced, in virtual time.

mod anchors;
mod deleting;
mod draining;
mod expiry;
#[cfg(feature = "rocksdb")]
mod full_disk;
mod loading;
#[cfg(feature = "rocksdb")]
mod many;
mod members;
mod model;
mod reading;
mod replicating;
mod scrubbing;
mod showing;
mod storing;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

use sotto_behaviours::network::{Request, Response};
use sotto_behaviours::status::ClockOffset;
use sotto_proto::address::{Address, AddressKind};
use sotto_proto::chain::{NodeRecord, NodeState, Params, Preset};
use sotto_proto::envelope::{Envelope, Record, Ttl};
use sotto_proto::id::{ItemId, NodeId, PublicKey, RecordId, X25519Key};
use sotto_proto::network::{NetworkView, NodeList, Snapshot};
use sotto_proto::pow::{Difficulty, Nonce, Search, Work};
use sotto_proto::request::{
    Cursor, Delete, DeletedRecord, PublishOrder, Read, Records, RepairResponse, Retrieve, SignedDelete, SignedRead,
    Subscribe,
};
use sotto_proto::sign::{Ed25519, SigningKey};
use sotto_proto::swarm::SwarmMap;
use sotto_proto::time::{Now, UnixMillis, UnixSeconds};

use super::*;
use crate::service_node::message::Outgoing;
use crate::store::mail::{Found, look_up};
use crate::store::memory::MemoryStore;
use crate::store::{Family, Store as _};
use crate::test_chain::{START, TestChain, key, node};

const MINE: SwarmId = SwarmId(0);
const OTHER: SwarmId = SwarmId(1 << 63);
const ANCHOR: Height = Height(120);
const TTL: u32 = 3600;

fn anchor_hash(height: Height) -> BlockHash {
    BlockHash::new(std::array::from_fn(|i| if i < 8 { height.0.to_be_bytes()[i] } else { 0xab }))
}

/// What a loss of power leaves is what was synced.
#[derive(Clone, Debug, Default)]
struct Disk {
    written: MemoryStore,
    synced: MemoryStore,
}

struct Bench {
    /// Which node it is.
    number: u32,
    mail: Mail,
    disk: Disk,
    view: NetworkView,
    params: Params,
    now: Now,
    clock: Option<ClockOffset>,
    may_write: bool,
    /// Whether the disk does what it is asked to as soon as it is asked.
    prompt: bool,
    /// Whether its power may go; if not, what is on its disk then is not kept.
    loses_power: bool,
    outputs: Vec<Output>,
}

impl Bench {
    fn new() -> Self {
        Self::on(Disk::default(), MailLimits::default())
    }

    fn on(disk: Disk, limits: MailLimits) -> Self {
        let mut bench = Self::newcomer(0, disk, limits);
        bench.meet_two();
        bench
    }

    /// A node that has not caught up with any other.
    fn newcomer(number: u32, disk: Disk, limits: MailLimits) -> Self {
        let genesis = TestChain::new().genesis;
        let mut bench = Self {
            number,
            mail: Mail::new(limits, &mut ChaCha20Rng::from_seed([7; 32])),
            disk,
            view: view(&genesis, Height(130)),
            params: Params::preset(Preset::Testnet),
            now: Now { monotonic: Monotonic(Duration::from_secs(1)), wall: START },
            clock: Some(ClockOffset { millis: 0, peers: 9, off: false }),
            may_write: true,
            prompt: true,
            loses_power: true,
            outputs: Vec::new(),
        };
        bench.follow();
        assert!(bench.mail.is_ready());
        bench
    }

    fn meet_two(&mut self) {
        self.meet(node(1));
        self.meet(node(2));
    }

    /// Another member comes, turns out to have the same, and goes.
    fn meet(&mut self, member: NodeId) {
        self.mail.on_connection(member, true);
        self.act(|_, _, _| ());
        let asked = self.take(|output| match output {
            Output::Send { message: Outgoing::Request { tag, request: Request::Repair(_) }, .. } => Some(*tag),
            _ => None,
        });
        self.mail.on_connection(member, false);
        for tag in asked {
            let same = Ok(Response::Repair(RepairResponse::Summary { equal: true }));
            self.act(|mail, env, out| mail.on_member_answer(tag, same, env, out));
        }
    }

    /// The process starts anew on what a loss of power leaves.
    fn after_power_loss(self) -> Self {
        let mut bench = self.restarted();
        bench.meet_two();
        bench
    }

    /// The same, before it has met anybody.
    fn restarted(self) -> Self {
        let disk = Disk { written: self.disk.synced.clone(), synced: self.disk.synced };
        let mail = Mail::new(self.mail.limits, &mut ChaCha20Rng::from_seed([99; 32]));
        let mut bench = Self { disk, mail, outputs: Vec::new(), prompt: true, ..self };
        bench.follow();
        bench
    }

    fn act(&mut self, act: impl FnOnce(&mut Mail, &Env<'_>, &mut Vec<Output>)) {
        let key = key("node", self.number);
        let env = Env {
            key: &key,
            view: &self.view,
            params: &self.params,
            now: self.now,
            clock: self.clock,
            may_write: self.may_write,
            verify: &Ed25519,
        };
        act(&mut self.mail, &env, &mut self.outputs);
        self.mail.advance(&env, &mut self.outputs);
        if self.prompt {
            self.serve_disk();
        }
    }

    /// The machine hears of the chain, and the disk answers all that follows.
    fn follow(&mut self) {
        let tip = (self.view.tip, anchor_hash(self.view.tip));
        self.act(|mail, env, out| mail.on_chain(tip, env, out));
    }

    /// The disk does everything it was asked to, in order.
    fn serve_disk(&mut self) {
        loop {
            let at = self.outputs.iter().position(|o| matches!(o, Output::Persist { .. } | Output::LookUp { .. }));
            let Some(at) = at else { return };
            let output = self.outputs.remove(at);
            self.do_on_disk(output);
        }
    }

    fn do_on_disk(&mut self, output: Output) {
        let prompt = std::mem::replace(&mut self.prompt, false);
        match output {
            Output::Persist { batch, token, .. } => {
                self.disk.written.write(&batch.batch).unwrap();
                if self.loses_power {
                    self.disk.synced = self.disk.written.clone();
                }
                self.act(|mail, env, out| mail.on_written(token, true, env, out));
            }
            Output::LookUp { token, lookup } => {
                let found = look_up(&self.disk.written, &lookup);
                self.act(|mail, env, out| mail.on_found(token, found, env, out));
            }
            other => panic!("{other:?}"),
        }
        self.prompt = prompt;
    }

    /// Persists asked for, in order; they are gone then, unwritten.
    fn take_persists(&mut self) -> Vec<(Batch, Token, Sync)> {
        self.take(|output| match output {
            Output::Persist { batch, token, sync } => Some((batch.batch.clone(), *token, *sync)),
            _ => None,
        })
    }

    fn fail(&mut self, token: Token) {
        self.act(|mail, env, out| mail.on_written(token, false, env, out));
    }

    fn take<T>(&mut self, pick: impl Fn(&Output) -> Option<T>) -> Vec<T> {
        let mut taken = Vec::new();
        self.outputs.retain(|output| match pick(output) {
            Some(value) => {
                taken.push(value);
                false
            }
            None => true,
        });
        taken
    }

    fn answers(&mut self) -> Vec<(Tunnel, SwarmResponse)> {
        self.take(|output| match output {
            Output::TunnelAnswer { tunnel, response, .. } => Some((*tunnel, response.clone())),
            _ => None,
        })
    }

    fn answer(&mut self) -> SwarmResponse {
        let mut answers = self.answers();
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers.remove(0).1
    }

    fn published(&mut self) -> Vec<Vec<u8>> {
        self.take(|output| match output {
            Output::Publish(message) => Some(message.clone()),
            _ => None,
        })
    }

    fn closed(&mut self) -> Vec<Tunnel> {
        self.take(|output| match output {
            Output::CloseTunnel(tunnel) => Some(*tunnel),
            _ => None,
        })
    }

    fn ask(&mut self, tunnel: u64, request: SwarmRequest) {
        self.act(|mail, env, out| mail.on_tunnel(Tunnel(tunnel), request, env, out));
    }

    fn store(&mut self, record: &Record) -> SwarmResponse {
        self.store_as(1, record, PublishOrder::First);
        self.answer()
    }

    fn store_as(&mut self, tunnel: u64, record: &Record, publish_order: PublishOrder) {
        self.ask(tunnel, SwarmRequest::Store { record: record.encode(), publish_order });
    }

    fn gossip(&mut self, bytes: &[u8]) -> Verdict {
        self.act(|mail, env, out| mail.on_gossip(Gossip(1), bytes, env, out));
        let verdicts = self.take(|output| match output {
            Output::Judge { gossip: Gossip(1), verdict } => Some(*verdict),
            _ => None,
        });
        assert_eq!(verdicts.len(), 1);
        verdicts[0]
    }

    fn gossip_record(&mut self, record: &Record) -> Verdict {
        self.gossip(&[vec![RECORD], record.encode()].concat())
    }

    fn gossip_delete(&mut self, delete: &SignedDelete) -> Verdict {
        let bytes = delete.encode();
        self.gossip(&[vec![DELETE], (bytes.len() as u32).to_be_bytes().to_vec(), bytes].concat())
    }

    fn seconds(&self) -> UnixSeconds {
        self.now.wall.seconds()
    }

    /// Time passes; alarms that fall into it ring.
    fn pass(&mut self, millis: u64) {
        let end = self.now.monotonic.plus(Duration::from_millis(millis));
        while self.now.monotonic < end {
            let until = self.mail.wake_at().filter(|at| *at > self.now.monotonic && *at < end).unwrap_or(end);
            self.now.wall.0 += u64::try_from(until.since(self.now.monotonic).as_millis()).unwrap();
            self.now.monotonic = until;
            self.act(|_, _, _| ());
        }
    }

    fn read_at(&self, owner: &SigningKey, cursor: Cursor, max_bytes: u32) -> Read {
        let address = Address::mailbox(&owner.public());
        Read { node: node(self.number), address, time: self.seconds(), cursor, max_bytes }
    }

    fn retrieve(&mut self, owner: &SigningKey, cursor: Cursor, max_bytes: u32) -> SwarmResponse {
        let read = self.read_at(owner, cursor, max_bytes);
        let signed = SignedRead::<Retrieve>::sign(read, owner, &self.view.chain);
        self.ask(1, SwarmRequest::Retrieve(signed));
        self.answer()
    }

    /// Everything at an address, read page by page.
    fn read_all(&mut self, owner: &SigningKey) -> Vec<Vec<u8>> {
        let (mut cursor, mut all) = (Cursor::default(), Vec::new());
        loop {
            let records = records(self.retrieve(owner, cursor, 4000));
            cursor = Cursor { epoch: records.epoch, seq: records.next_seq };
            all.extend(records.records.into_iter().map(|stored| stored.record));
            if !records.more {
                return all;
            }
        }
    }

    fn subscribe(&mut self, tunnel: u64, owner: &SigningKey, cursor: Cursor) {
        let read = self.read_at(owner, cursor, 1 << 20);
        let signed = SignedRead::<Subscribe>::sign(read, owner, &self.view.chain);
        self.ask(tunnel, SwarmRequest::Subscribe(signed));
    }

    fn signed_delete(&self, owner: &SigningKey, records: &[&Record]) -> SignedDelete {
        let deleted = |record: &&Record| DeletedRecord {
            id: id(self, record),
            timestamp: record.envelope().timestamp(),
            ttl: record.envelope().ttl().seconds(),
        };
        let address = Address::mailbox(&owner.public());
        let delete = Delete::new(address, self.seconds(), records.iter().map(deleted).collect()).unwrap();
        SignedDelete::sign(delete, owner, &self.view.chain)
    }

    fn delete(&mut self, owner: &SigningKey, records: &[&Record]) -> SwarmResponse {
        let delete = self.signed_delete(owner, records);
        self.ask(1, SwarmRequest::Delete(delete));
        self.answer()
    }
}

fn records(response: SwarmResponse) -> Records {
    match response {
        SwarmResponse::Records(records) => records,
        other => panic!("{other:?}"),
    }
}

fn error(response: SwarmResponse) -> Error {
    match response {
        SwarmResponse::Error(error) => error,
        other => panic!("{other:?}"),
    }
}

fn is_stored(response: &SwarmResponse) -> bool {
    matches!(response, SwarmResponse::Stored { .. })
}

fn id(bench: &Bench, record: &Record) -> RecordId {
    record.envelope().id(&bench.view.chain)
}

/// Two swarms of five; the node is in the first.
fn view(genesis: &sotto_proto::chain::Genesis, height: Height) -> NetworkView {
    let unknown = NetworkView::unknown(genesis);
    let members = |range: std::ops::Range<u32>| {
        let mut members: Vec<_> = range.map(node).collect();
        members.sort_unstable();
        members
    };
    let swarms = [(MINE, members(0..5)), (OTHER, members(5..10))];
    let record = |node: NodeId, swarm| NodeRecord {
        node,
        x25519: X25519Key::new([9; 32]),
        previous_x25519: None,
        operator: PublicKey::new([1; 32]),
        state: NodeState::Active,
        swarm: Some(swarm),
        region: "eu".parse().unwrap(),
        addresses: vec!["/ip4/127.100.0.1/tcp/27010".parse().unwrap()],
    };
    let nodes: NodeList = swarms
        .iter()
        .flat_map(|(swarm, members)| members.iter().map(|node| (*node, Arc::new(record(*node, *swarm)))))
        .collect();
    let swarms = SwarmMap::from_parts(swarms, Vec::new()).unwrap();
    let snapshot = |height: u64| {
        let (height, nodes, swarms) = (Height(height), nodes.clone(), swarms.clone());
        let block_hash = anchor_hash(height);
        Arc::new(Snapshot { height, block_hash, time: START, nodes, swarms, ..unknown.current().clone() })
    };
    let earlier = (height.0 - 15..height.0).rev().map(snapshot).collect();
    NetworkView::new(unknown.chain, height.plus(3), false, snapshot(height.0), earlier)
}

/// A key whose mailbox is in the node's swarm, or in the other.
fn owner_in(swarm: SwarmId, index: u32) -> SigningKey {
    let map = SwarmMap::from_parts(
        [
            (MINE, (0..5).map(|n| NodeId::new([n; 32])).collect()),
            (OTHER, (5..10).map(|n| NodeId::new([n; 32])).collect()),
        ],
        Vec::new(),
    )
    .unwrap();
    let mut keys = (1000 * index..).map(|n| key("owner", n));
    keys.find(|key| map.owner(&Address::mailbox(&key.public())) == Some(swarm)).unwrap()
}

fn owner() -> SigningKey {
    owner_in(MINE, 0)
}

/// How a test's record differs from the usual.
struct Draft {
    address: Address,
    timestamp: UnixSeconds,
    ttl: u32,
    anchor: Height,
    data: usize,
    difficulty: u32,
    /// Where the search for a nonce begins.
    start: u64,
}

impl Draft {
    fn to(owner: &SigningKey) -> Self {
        Self {
            address: Address::mailbox(&owner.public()),
            timestamp: START.seconds(),
            ttl: TTL,
            anchor: ANCHOR,
            data: 1664,
            difficulty: 1,
            start: 0,
        }
    }

    fn envelope(&self, n: u8) -> Envelope {
        let data = vec![n; self.data];
        Envelope::new(self.address, self.timestamp, Ttl::new(self.ttl).unwrap(), self.anchor, data).unwrap()
    }

    fn record(&self, n: u8) -> Record {
        let envelope = self.envelope(n);
        let work = Work::new(&envelope, &anchor_hash(self.anchor));
        let difficulty = Difficulty::new(self.difficulty).unwrap();
        let nonce = work.prove_on(NonZeroUsize::MIN, difficulty, Nonce(self.start), &Search::new()).unwrap();
        Record::new(envelope, nonce, None).unwrap()
    }

    /// The same without any work.
    fn without_work(&self, n: u8) -> Record {
        let envelope = self.envelope(n);
        let work = Work::new(&envelope, &anchor_hash(self.anchor));
        let nonce = (0..).map(Nonce).find(|nonce| !work.verify(*nonce, Difficulty::MIN)).unwrap();
        Record::new(envelope, nonce, None).unwrap()
    }
}

fn record(n: u8) -> Record {
    Draft::to(&owner()).record(n)
}
