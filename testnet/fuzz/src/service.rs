//! A node's machine with clients, members and a disk that do anything in any order.
//!
//! What must hold: everything it says can be sent; each question gets one answer and each gossiped message one verdict;
//! and the promise of a receipt: what was acknowledged and not deleted is there for its owner in the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::time::Duration;

use sotto_behaviours::network::{Request, Response};
use sotto_node::keys::KeyDirectory;
use sotto_node::service_node::{
    ChainUpdate, Gossip, Identity, Input as Happens, KeyRing, MailLimits, Outgoing, Output, ReplyId, ServiceNode,
    Settings, Tag, To, Token, Tunnel,
};
use sotto_node::store::mail::{Found, Lookup, look_up};
use sotto_node::store::memory::MemoryStore;
use sotto_node::store::{Batch, Store as _};
use sotto_proto::address::Address;
use sotto_proto::envelope::Record;
use sotto_proto::id::{NodeId, RecordId};
use sotto_proto::limits::SWARM_GOSSIP_MAX;
use sotto_proto::request::{
    Cursor, Message as _, Read, Records, Retrieve, SignedRead, Subscribe, SwarmRequest, SwarmResponse,
};
use sotto_proto::sign::Ed25519;
use sotto_proto::time::{Monotonic, Now};
use zeroize::Zeroizing;

use crate::fixtures::{START, key};
use crate::input::Input;
use crate::service_steps::step;
use crate::service_world::{Owner, WORLD, member};

/// Steps of one input.
const STEPS: usize = 100;
/// Alarms at one moment; a machine that sets more goes round in circles.
const ALARMS: usize = 100;
/// The tunnel that looks for what was acknowledged.
const AUDIT: Tunnel = Tunnel(u64::MAX);

/// What the disk was asked for.
enum Wish {
    Write(Token, Batch),
    Read(Token, Lookup),
}

/// The machine and all that it depends on.
pub(crate) struct Node {
    machine: ServiceNode,
    store: MemoryStore,
    pub(crate) now: Now,
    wake: Option<Monotonic>,
    disk: VecDeque<Wish>,
    /// Its own requests that wait for an answer.
    pub(crate) asked: Vec<(Tag, NodeId, Option<Request>)>,
    /// Requests of peers that wait for an answer.
    waiting: BTreeSet<ReplyId>,
    verdicts: BTreeSet<Gossip>,
    next: u64,
    /// Acknowledged by a receipt.
    receipts: BTreeSet<RecordId>,
    /// What its owner has deleted, or may have.
    pub(crate) deleted: BTreeSet<RecordId>,
    /// The newest answer of each tunnel with records in it.
    pub(crate) pages: BTreeMap<Tunnel, Records>,
}

impl Node {
    fn new() -> Self {
        let settings = Settings {
            addresses: vec!["/ip4/127.100.0.1/tcp/27010".parse().expect("an address")],
            region: "eu".parse().expect("a region"),
            register: false,
            stake: None,
            version: 1,
            mail: MailLimits::default(),
        };
        let keys = KeyRing::load(&KeyDirectory::of(Path::new("no-such-folder")), None).expect("no keys at all");
        let now = Now { monotonic: Monotonic(Duration::from_secs(1)), wall: START };
        let identity = Identity { node: key("node", 0), operator: None };
        Self {
            machine: ServiceNode::new(identity, settings, keys, &Zeroizing::new([9; 32]), now),
            store: MemoryStore::default(),
            now,
            wake: None,
            disk: VecDeque::new(),
            asked: Vec::new(),
            waiting: BTreeSet::new(),
            verdicts: BTreeSet::new(),
            next: 0,
            receipts: BTreeSet::new(),
            deleted: BTreeSet::new(),
            pages: BTreeMap::new(),
        }
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A question of a peer, who waits.
    pub(crate) fn reply(&mut self) -> ReplyId {
        let reply = ReplyId(self.number());
        self.waiting.insert(reply);
        reply
    }

    pub(crate) fn gossip(&mut self, bytes: Vec<u8>) {
        let gossip = Gossip(self.number());
        self.verdicts.insert(gossip);
        self.tell(Happens::Gossip { gossip, bytes });
        assert!(!self.verdicts.contains(&gossip), "gossip without a verdict");
    }

    pub(crate) fn chain(&mut self) {
        let update = ChainUpdate { view: WORLD.view.clone(), tip: WORLD.tip.clone() };
        self.tell(Happens::Chain(Box::new(update)));
    }

    pub(crate) fn tell(&mut self, input: Happens) {
        for output in self.machine.handle(input, self.now) {
            self.take(output);
        }
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Send { message: Outgoing::Response { reply, response }, .. } => {
                assert!(self.waiting.remove(&reply), "two answers to one question");
                assert!(can_be_sent(response), "an answer that cannot be sent");
            }
            Output::Send { message: Outgoing::Stored { reply, .. }, .. } => {
                assert!(self.waiting.remove(&reply), "two answers to one question");
            }
            Output::Send { message: Outgoing::Request { tag, request }, to } => {
                let node = if let To::Node(node) = to { node } else { WORLD.tip.founding().producer };
                assert!(can_be_asked(request.clone()), "a question that cannot be sent");
                self.asked.push((tag, node, Some(request)));
            }
            Output::Send { message: Outgoing::Transaction { tag, .. }, .. } => {
                self.asked.push((tag, WORLD.tip.founding().producer, None));
            }
            Output::Persist { batch, token, .. } => self.disk.push_back(Wish::Write(token, batch.batch)),
            Output::LookUp { token, lookup } => self.disk.push_back(Wish::Read(token, lookup)),
            Output::WakeAt(at) => self.wake = Some(at),
            Output::TunnelAnswer { tunnel, response, .. } => self.answered(tunnel, response),
            Output::Judge { gossip, .. } => assert!(self.verdicts.remove(&gossip), "two verdicts on one message"),
            Output::Publish(bytes) => {
                assert!(bytes.len() <= SWARM_GOSSIP_MAX);
                assert!(bytes[0] != 1 || Record::decode(&bytes[1..]).is_ok(), "publishes what is no record");
            }
            Output::CloseTunnel(_) | Output::Answer { .. } | Output::Surveyed { .. } => {}
        }
    }

    fn answered(&mut self, tunnel: Tunnel, response: SwarmResponse) {
        assert!(response.clone().encode().is_ok(), "an answer that cannot be sent");
        match response {
            SwarmResponse::Stored { receipt, signature } => {
                assert!(receipt.node == member(0) && receipt.verify(&WORLD.chain, &signature, &Ed25519));
                self.receipts.insert(receipt.id);
            }
            SwarmResponse::Records(records) => drop(self.pages.insert(tunnel, records)),
            _ => {}
        }
    }

    /// The disk does the next of what it was asked for, or fails to.
    pub(crate) fn serve_disk(&mut self, works: bool) {
        match self.disk.pop_front() {
            None => {}
            Some(Wish::Write(token, batch)) if works => {
                self.store.write(&batch).expect("memory has room");
                self.tell(Happens::Durable(token));
            }
            Some(Wish::Write(token, _)) => self.tell(Happens::NotDurable { token, reason: "full".into() }),
            Some(Wish::Read(token, lookup)) => {
                let found = if works { look_up(&self.store, &lookup) } else { Found::Failed("damaged".into()) };
                self.tell(Happens::Found { token, found });
            }
        }
    }

    fn drain_disk(&mut self) {
        while !self.disk.is_empty() {
            self.serve_disk(true);
        }
    }

    /// Time passes; alarms that fall into it ring.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now.monotonic.plus(time);
        let mut here = 0;
        while let Some(at) = self.wake.filter(|at| *at <= end) {
            here = if at <= self.now.monotonic { here + 1 } else { 0 };
            assert!(here < ALARMS, "an alarm again and again at one moment");
            self.go_to(at.max(self.now.monotonic));
            self.wake = None;
            self.tell(Happens::WakeUp);
        }
        self.go_to(end);
    }

    fn go_to(&mut self, at: Monotonic) {
        self.now.wall.0 += u64::try_from(at.since(self.now.monotonic).as_millis()).expect("hours");
        self.now.monotonic = at;
    }

    fn read(&self, owner: &Owner, cursor: Cursor) -> Read {
        let address = Address::mailbox(&owner.key.public());
        Read { node: member(0), address, time: self.now.wall.seconds(), cursor, max_bytes: 4000 }
    }

    pub(crate) fn retrieve(&mut self, tunnel: Tunnel, owner: &Owner, cursor: Cursor) {
        let read = SignedRead::<Retrieve>::sign(self.read(owner, cursor), &owner.key, &WORLD.chain);
        self.tell(Happens::Tunnel { tunnel, request: SwarmRequest::Retrieve(read) });
    }

    pub(crate) fn subscribe(&mut self, tunnel: Tunnel, owner: &Owner, cursor: Cursor) {
        let read = SignedRead::<Subscribe>::sign(self.read(owner, cursor), &owner.key, &WORLD.chain);
        self.tell(Happens::Tunnel { tunnel, request: SwarmRequest::Subscribe(read) });
    }

    fn mailbox(&mut self, owner: &Owner) -> BTreeSet<RecordId> {
        let (mut cursor, mut found) = (Cursor::default(), BTreeSet::new());
        loop {
            self.retrieve(AUDIT, owner, cursor);
            self.drain_disk();
            let page = self.pages.remove(&AUDIT).expect("a page of the mailbox");
            let ids = page.records.iter().map(|stored| Record::decode(&stored.record).expect("a record was stored"));
            found.extend(ids.map(|record| WORLD.id(&record)));
            if !page.more {
                return found;
            }
            assert!(page.next_seq > cursor.seq || page.epoch != cursor.epoch, "a page that leads nowhere");
            cursor = Cursor { epoch: page.epoch, seq: page.next_seq };
        }
    }

    /// The disk works, and some time passes: what was acknowledged must be there.
    fn audit(mut self) {
        for _ in 0..4 {
            self.drain_disk();
            self.pass(Duration::from_secs(20));
        }
        self.drain_disk();
        assert!(self.machine.mail().is_ready(), "the disk works, and yet the mail is not loaded");
        for owner in &WORLD.owners {
            let ids: BTreeSet<_> = owner.records.iter().map(|record| WORLD.id(record)).collect();
            let due: BTreeSet<_> = ids.intersection(&self.receipts).copied().collect();
            if due.is_empty() {
                continue;
            }
            let found = self.mailbox(owner);
            assert!(due.difference(&found).all(|id| self.deleted.contains(id)), "acknowledged, not deleted, and gone");
        }
        assert!(self.waiting.is_empty(), "questions without an answer");
    }
}

fn can_be_sent(response: Response) -> bool {
    match response {
        Response::Chain(response) => response.encode().is_ok(),
        Response::List(response) => response.encode().is_ok(),
        Response::Status(response) => response.encode().is_ok(),
        Response::Repair(response) => response.encode().is_ok(),
        Response::Offer(response) => response.encode().is_ok(),
    }
}

fn can_be_asked(request: Request) -> bool {
    match request {
        Request::Chain(request) => request.encode().is_ok(),
        Request::List(request) => request.encode().is_ok(),
        Request::Status(request) => request.encode().is_ok(),
        Request::Repair(request) => request.encode().is_ok(),
        Request::Offer(request) => request.encode().is_ok(),
    }
}

pub(crate) fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let mut node = Node::new();
    node.chain();
    // Most inputs begin with a node that is loaded.
    if input.u8() != 0xff {
        node.drain_disk();
    }
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        step(&mut node, &mut input);
    }
    node.audit();
}

pub(crate) use crate::service_steps::seeds;
