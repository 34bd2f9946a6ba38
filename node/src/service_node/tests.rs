//! The machine against a real chain state, in virtual time.

mod duties;
mod joining;
mod keys;
mod requests;
mod standing;
mod surveys;

use std::sync::Arc;

use sotto_behaviours::network::{Request, RequestError, Response};
use sotto_proto::chain::{NodeState, Payload, Transaction};
use sotto_proto::id::{BlockHash, Height};
use sotto_proto::request::{ChainRequest, Error, Info, Line, ListRequest, ListResponse};
use sotto_proto::time::UnixMillis;

use super::*;
use crate::keys::{KeyDirectory, Seed, Slot};
use crate::status::Phase;
use crate::store::mail::look_up;
use crate::store::memory::MemoryStore;
use crate::store::writer::KeyChange;
use crate::test_chain::{SEED, START, TestChain, key, node};

/// A machine, its disk, the chain it follows, and the time.
struct Bench {
    chain: TestChain,
    machine: ServiceNode,
    _datadir: tempfile::TempDir,
    keys: KeyDirectory,
    now: Now,
    /// Everything it said and nobody has dealt with.
    outputs: Vec<Output>,
}

impl Bench {
    fn new() -> Self {
        Self::with(TestChain::new(), |_| {})
    }

    fn with(chain: TestChain, change: impl FnOnce(&mut Settings)) -> Self {
        let datadir = tempfile::tempdir().unwrap();
        let keys = KeyDirectory::of(datadir.path());
        keys.create().unwrap();
        keys.write_new(Slot::X25519, &Seed::take(&mut sotto_proto::account::test_seed(SEED, "x25519", 0))).unwrap();
        let mut settings = Settings {
            addresses: vec!["/ip4/127.100.0.1/tcp/27010".parse().unwrap()],
            region: "eu".parse().unwrap(),
            register: true,
            stake: None,
            version: 0x0000_0100,
            mail: MailLimits::default(),
        };
        change(&mut settings);
        let now = Now { monotonic: Monotonic(Duration::from_secs(1)), wall: START };
        let machine = machine(&keys, settings, now);
        Self { chain, machine, _datadir: datadir, keys, now, outputs: Vec::new() }
    }

    fn tell(&mut self, input: Input) {
        self.outputs.extend(self.machine.handle(input, self.now));
    }

    /// Time passes; alarms that fall into it ring.
    fn pass(&mut self, millis: u64) {
        let end = self.now.monotonic.plus(Duration::from_millis(millis));
        loop {
            let alarm = self.machine.wake_at.filter(|at| *at <= end);
            let until = alarm.unwrap_or(end);
            self.now.wall.0 += u64::try_from(until.since(self.now.monotonic).as_millis()).unwrap();
            self.now.monotonic = until;
            if alarm.is_none() {
                return;
            }
            self.tell(Input::WakeUp);
        }
    }

    /// A producer is connected whose tip is the chain's, and whose clock is this node's.
    fn connect(&mut self) {
        self.meet(&[key("producer", 0).node_id()]);
        self.answer_tips();
        self.answer_clocks(0);
    }

    fn meet(&mut self, nodes: &[NodeId]) {
        for node in nodes {
            self.tell(Input::Connected(*node));
        }
        self.tell(Input::Network { counts: Counts { nodes: nodes.len(), ..Counts::default() }, clock: None });
    }

    /// Everybody who is asked for the time has a clock that is `ahead` milliseconds of this node's.
    fn answer_clocks(&mut self, ahead: i64) -> usize {
        let asked: Vec<_> = self.take(|output| match output {
            Output::Send { message: Outgoing::Request { tag, request: Request::List(ListRequest::Info) }, to } => {
                Some((*tag, *to))
            }
            _ => None,
        });
        for (tag, to) in &asked {
            let To::Node(from) = to else { panic!("the time is asked of nodes") };
            let time = UnixMillis(self.now.wall.0.saturating_add_signed(ahead));
            let info = Info { final_height: Height(0), time, version: Line::new("1"), state: None };
            let result = Ok(Response::List(ListResponse::Info(info)));
            self.tell(Input::Received { from: *from, message: Incoming::Response { tag: *tag, result } });
        }
        asked.len()
    }

    fn answer_tips(&mut self) {
        let asked: Vec<_> = self.take(|output| match output {
            Output::Send { message: Outgoing::Request { tag, request: Request::Chain(ChainRequest::Tip) }, to } => {
                Some((*tag, *to))
            }
            _ => None,
        });
        for (tag, to) in asked {
            let To::Node(from) = to else { panic!("tips are asked of nodes") };
            let tip = self.chain.tip();
            let response = ChainResponse::Tip { height: tip.height(), hash: tip.tip_hash() };
            let message = Incoming::Response { tag, result: Ok(Response::Chain(response)) };
            self.tell(Input::Received { from, message });
        }
    }

    /// Outputs that `pick` picks; they are gone then.
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

    fn transactions(&mut self) -> Vec<(Tag, Transaction)> {
        self.take(|output| match output {
            Output::Send { to: To::Producer, message: Outgoing::Transaction { tag, bytes } } => {
                Some((*tag, Transaction::decode(bytes).unwrap()))
            }
            _ => None,
        })
    }

    fn respond(&mut self, tag: Tag, result: Result<Response, RequestError>) {
        let from = key("producer", 0).node_id();
        self.tell(Input::Received { from, message: Incoming::Response { tag, result } });
    }

    /// The producer takes everything sent; the next block has it.
    fn block(&mut self) -> Vec<Payload> {
        let sent = self.transactions();
        for (tag, _) in &sent {
            self.respond(*tag, Ok(Response::Chain(ChainResponse::Submitted)));
        }
        let payloads = sent.iter().map(|(_, transaction)| transaction.body.payload.clone()).collect();
        self.chain.produce(sent.into_iter().map(|(_, transaction)| transaction).collect());
        self.pass(1000);
        self.follow();
        payloads
    }

    fn blocks(&mut self, count: u64) -> Vec<Payload> {
        (0..count).flat_map(|_| self.block()).collect()
    }

    /// The machine hears of the chain's tip.
    fn follow(&mut self) {
        let update = ChainUpdate { view: Arc::new(self.chain.view()), tip: self.chain.tip().clone() };
        self.tell(Input::Chain(Box::new(update)));
    }

    /// The disk does what it was asked to.
    fn persist(&mut self) -> usize {
        let jobs = self.take(|output| match output {
            Output::Persist { batch, token, .. } => Some((batch.clone(), *token)),
            _ => None,
        });
        let count = jobs.len();
        for (job, token) in jobs {
            for change in job.keys {
                match change {
                    KeyChange::PutNext(seed) => self.keys.put_next(&seed).unwrap(),
                    KeyChange::Promote => self.keys.promote().unwrap(),
                    KeyChange::Destroy(slot) => self.keys.destroy(slot).unwrap(),
                }
            }
            self.tell(Input::Durable(token));
        }
        count
    }

    /// The mail's disk, on which there is nothing, is read.
    fn read_empty_disk(&mut self) {
        let store = MemoryStore::default();
        while !self.machine.mail().is_ready() {
            let asked = self.take(|output| match output {
                Output::LookUp { token, lookup } => Some((*token, lookup.clone())),
                _ => None,
            });
            let read = asked.len();
            for (token, lookup) in asked {
                self.tell(Input::Found { token, found: look_up(&store, &lookup) });
            }
            assert!(read + self.persist() > 0, "nothing is asked of the disk");
        }
    }

    /// The disk refuses what it was asked for.
    fn refuse_writes(&mut self) -> usize {
        let tokens = self.take(|output| match output {
            Output::Persist { token, .. } => Some(*token),
            _ => None,
        });
        let count = tokens.len();
        for token in tokens {
            self.tell(Input::NotDurable { token, reason: "disk full".into() });
        }
        count
    }

    fn report(&self) -> Report {
        self.machine.report(self.now)
    }

    fn registered() -> Self {
        let mut bench = Self::new();
        bench.follow();
        bench.connect();
        bench.blocks(6);
        bench
    }
}

fn machine(keys: &KeyDirectory, settings: Settings, now: Now) -> ServiceNode {
    let identity = Identity { node: key("node", 0), operator: Some(key("operator", 0)) };
    let ring = KeyRing::load(keys, None).unwrap();
    ServiceNode::new(identity, settings, ring, &Zeroizing::new([9; 32]), now)
}

fn rejected(reason: &str) -> Result<Response, RequestError> {
    Ok(Response::Chain(ChainResponse::Error(Error::Rejected { reason: Line::new(reason) })))
}
