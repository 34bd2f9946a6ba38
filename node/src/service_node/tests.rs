//! The machine against a real chain state, in virtual time.

use std::sync::Arc;

use sotto_behaviours::network::{RequestError, Response};
use sotto_proto::chain::{NodeState, Payload, Transaction};
use sotto_proto::id::BlockHash;
use sotto_proto::request::{Error, Line, ListRequest, ListResponse};

use super::*;
use crate::keys::{KeyDirectory, Slot};
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

    /// A producer is connected whose tip is the chain's.
    fn connect(&mut self) {
        self.tell(Input::Connected(key("producer", 0).node_id()));
        self.tell(Input::Network { counts: Counts { nodes: 1, ..Counts::default() }, clock: None });
        self.answer_tips();
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

#[test]
fn a_node_registers_once_it_has_the_chain_and_not_before() {
    let mut bench = Bench::new();
    bench.follow();
    assert!(bench.transactions().is_empty(), "nobody has said how long the chain is");
    bench.tell(Input::Connected(node(77)));
    let sent = bench.take(|output| matches!(output, Output::Send { .. }).then_some(()));
    assert!(sent.is_empty(), "a stranger is not asked");
    bench.connect();
    let payloads = bench.block();
    assert!(matches!(&payloads[..], [Payload::Register { node: registered, .. }] if *registered == node(0)));
    assert_eq!(bench.report().state, "joining");
    assert!(bench.blocks(4).is_empty(), "once is enough");
    assert_eq!(bench.report().state, "active");
    assert_eq!(bench.machine.entry().unwrap().record.state, NodeState::Active);
}

#[test]
fn without_being_asked_to_a_node_does_not_register() {
    let mut bench = Bench::with(TestChain::new(), |settings| settings.register = false);
    bench.follow();
    bench.connect();
    assert!(bench.blocks(3).is_empty());
    assert_eq!(bench.report().problems[0].code, "unregistered");
}

#[test]
fn a_node_without_address_or_coins_says_so() {
    let mut bench = Bench::with(TestChain::new(), |settings| settings.addresses.clear());
    bench.follow();
    bench.connect();
    assert!(bench.block().is_empty());
    assert_eq!(bench.report().problems[0].code, "no-address");

    let mut bench = Bench::with(TestChain::new(), |settings| settings.stake = Some(Amount::coins(2_000_000)));
    bench.follow();
    bench.connect();
    assert!(bench.block().is_empty());
    assert_eq!(bench.report().problems[0].code, "coins");
}

#[test]
fn a_refused_registration_is_repeated_and_its_reason_shown() {
    let mut bench = Bench::new();
    bench.follow();
    bench.connect();
    let (tag, _) = bench.transactions().remove(0);
    bench.respond(tag, rejected("address in use"));
    assert!(bench.transactions().is_empty());
    assert_eq!(bench.report().summary, "the chain refuses the registration: address in use");
    bench.pass(2000);
    assert_eq!(bench.transactions().len(), 1);
}

#[test]
fn a_transaction_that_no_block_brings_is_sent_again_with_the_same_content() {
    let mut bench = Bench::new();
    bench.follow();
    bench.connect();
    let (tag, first) = bench.transactions().remove(0);
    bench.respond(tag, Ok(Response::Chain(ChainResponse::Submitted)));
    bench.pass(3000);
    assert!(bench.transactions().is_empty());
    bench.pass(3000);
    assert_eq!(bench.transactions().remove(0).1, first);
}

#[test]
fn every_epoch_is_proved_once_in_its_first_half() {
    let mut bench = Bench::registered();
    let length = bench.chain.genesis.params.epoch_blocks;
    let mut proved = BTreeMap::<u64, u64>::new();
    for _ in 0..5 * length + length / 2 {
        for payload in bench.block() {
            let Payload::UptimeProof { epoch, .. } = payload else { panic!("{payload:?}") };
            let height = bench.chain.tip().height().0;
            assert_eq!(epoch, height / length);
            assert!(height % length <= length / 2, "{height}");
            assert_eq!(proved.insert(epoch, height), None, "epoch {epoch} twice");
        }
    }
    assert_eq!(proved.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(bench.report().uptime_due_in.unwrap() > length);
}

#[test]
fn a_proof_undone_by_a_reorganisation_is_sent_again() {
    let mut bench = Bench::registered();
    let length = bench.chain.genesis.params.epoch_blocks;
    while !bench.block().iter().any(|payload| matches!(payload, Payload::UptimeProof { .. })) {}
    let epoch = bench.chain.tip().height().0 / length;
    bench.chain.reorganise(1);
    bench.follow();
    let (_, again) = bench.transactions().remove(0);
    assert!(matches!(again.body.payload, Payload::UptimeProof { epoch: of, .. } if of == epoch));
}

#[test]
fn changed_addresses_are_put_on_the_chain() {
    let mut bench = Bench::registered();
    let moved: NodeAddr = "/ip4/127.100.0.1/tcp/27999".parse().unwrap();
    bench.machine.settings.addresses = vec![moved];
    let payloads = bench.blocks(3);
    assert_eq!(payloads, [Payload::UpdateAddress { addresses: vec![moved] }]);
    bench.machine.settings.addresses = vec!["/ip4/127.100.0.1/tcp/28000".parse().unwrap()];
    assert_eq!(bench.blocks(10), [], "the chain takes a change once in half an epoch");
    assert!(bench.blocks(30).iter().any(|payload| matches!(payload, Payload::UpdateAddress { .. })));
}

#[test]
fn the_x25519_key_is_rotated_when_its_period_is_over() {
    let chain = TestChain::with(|params| params.key_rotation_s = 100);
    let mut bench = Bench::with(chain, |_| {});
    bench.follow();
    bench.connect();
    let mut rotations = Vec::new();
    for _ in 0..350 {
        for payload in bench.block() {
            if let Payload::RotateKey { x25519 } = payload {
                assert!(bench.keys.find(Slot::X25519Next).unwrap().is_some(), "on disk before it is sent");
                rotations.push((bench.chain.tip().height().0, x25519));
            }
        }
        bench.persist();
        let shown = bench.chain.tip().service_node(&node(0)).map(|entry| entry.record.x25519);
        assert!(shown.is_none_or(|key| bench.machine.keys.holds(&key)));
    }
    assert_eq!(rotations.len(), 3, "{rotations:?}");
    let current = bench.keys.read(Slot::X25519).unwrap().x25519().public();
    assert_eq!(current, rotations[2].1);
    assert!(bench.keys.find(Slot::X25519Previous).unwrap().is_some());
    assert!(bench.report().key_rotation.unwrap() > bench.now.wall);
}

#[test]
fn a_rotation_can_be_asked_for_and_survives_a_restart_before_it_is_announced() {
    let mut bench = Bench::registered();
    let first = bench.machine.keys.current().unwrap();
    bench.tell(Input::Command { id: CommandId(1), command: Command::RotateKey });
    assert_eq!(bench.persist(), 1);
    bench.outputs.clear(); // the process dies with the transaction unsent
    let settings = bench.machine.settings.clone();
    bench.machine = machine(&bench.keys, settings, bench.now);
    bench.follow();
    bench.connect();
    let payloads = bench.blocks(5);
    assert!(matches!(&payloads[..], [Payload::RotateKey { .. }]), "{payloads:?}");
    bench.persist();
    assert_ne!(bench.machine.keys.current().unwrap(), first);
    assert!(bench.machine.keys.holds(&first));
}

#[test]
fn a_key_that_cannot_be_written_is_not_announced() {
    let mut bench = Bench::registered();
    bench.tell(Input::Command { id: CommandId(1), command: Command::RotateKey });
    let token = bench.take(|output| match output {
        Output::Persist { token, .. } => Some(*token),
        _ => None,
    })[0];
    bench.tell(Input::NotDurable { token, reason: "disk full".into() });
    assert_eq!(bench.blocks(2), []);
    assert_eq!(bench.persist(), 1, "but it is tried again");
}

#[test]
fn an_operators_transaction_is_passed_on_and_its_fate_told() {
    let mut bench = Bench::registered();
    for (id, answer, expected) in [
        (1, Ok(Response::Chain(ChainResponse::Submitted)), Ok(())),
        (2, rejected("no"), Err(Refusal::Rejected("no".into()))),
        (3, Err(RequestError::Timeout), Err(Refusal::Unreachable("no answer in time".into()))),
    ] {
        let bytes = bench.chain.proof(0).encode();
        bench.tell(Input::Command { id: CommandId(id), command: Command::Submit(bytes) });
        let (tag, _) = bench.transactions().remove(0);
        bench.respond(tag, answer);
        let told = bench.take(|output| match output {
            Output::Answer { id, result } => Some((*id, result.clone())),
            _ => None,
        });
        assert_eq!(told, [(CommandId(id), expected)]);
    }
}

#[test]
fn commands_beyond_the_bound_are_refused() {
    let mut bench = Bench::registered();
    for id in 0..=COMMANDS as u64 {
        bench.tell(Input::Command { id: CommandId(id), command: Command::Submit(vec![1]) });
    }
    let refused = bench.take(|output| match output {
        Output::Answer { id, result: Err(Refusal::Busy) } => Some(*id),
        _ => None,
    });
    assert_eq!(refused, [CommandId(COMMANDS as u64)]);
}

#[test]
fn a_silent_chain_is_noticed_and_neighbours_are_asked_again() {
    let mut bench = Bench::registered();
    bench.outputs.clear();
    bench.pass(9_000);
    assert_eq!(bench.report().silent_since, None);
    bench.pass(2_000);
    assert_eq!(bench.report().silent_since, Some(bench.chain.tip().time()));
    assert_eq!(bench.report().problems[0].code, "silent");
    bench.answer_tips();
    bench.block();
    assert_eq!(bench.report().silent_since, None);
}

#[test]
fn a_node_alone_says_so_and_one_among_strangers_what_kind_they_are() {
    let mut bench = Bench::new();
    bench.follow();
    bench.pass(20_000);
    assert_eq!(bench.report().problems[0].code, "alone");
    bench.tell(Input::OtherGenesis(node(9)));
    assert_eq!(bench.report().problems[0].code, "genesis");
    bench.connect();
    bench.block();
    assert_eq!(bench.report().phase, Phase::Starting);
}

#[test]
fn falling_behind_is_reported_as_catching_up() {
    let mut bench = Bench::registered();
    bench.chain.advance(50);
    bench.tell(Input::Disconnected(key("producer", 0).node_id()));
    bench.connect();
    let report = bench.report();
    assert_eq!((report.phase, report.synced), (Phase::Starting, false));
    assert_eq!(report.behind, Some(bench.chain.tip().height()));
    bench.follow();
    assert!(bench.report().synced);
}

#[test]
fn a_clock_that_is_off_is_a_problem_and_nothing_stops() {
    let mut bench = Bench::registered();
    let clock = Some(ClockOffset { millis: 75_000, peers: 5, off: true });
    bench.tell(Input::Network { counts: Counts { nodes: 5, ..Counts::default() }, clock });
    let report = bench.report();
    assert_eq!((report.phase, report.ready), (Phase::Problem, false));
    assert_eq!(report.summary, "the clock is 75 s behind the other nodes'");
}

#[test]
fn finals_are_kept_newest_first_without_gaps_and_bounded() {
    let mut bench = Bench::registered();
    bench.blocks(40);
    let heights: Vec<_> = bench.machine.finals().map(|shown| shown.height).collect();
    let newest = bench.chain.tip().height().0 - 3;
    assert_eq!(heights, (newest + 1 - FINALS as u64..=newest).rev().collect::<Vec<_>>());
    let state = bench.chain.state_at(newest);
    let shown = bench.machine.finals().next().unwrap();
    assert_eq!(shown.state_root, state.state_root().to_string());
    assert_eq!(shown.swarm_map, state.swarms().digest().to_string());
}

#[test]
fn peers_questions_are_answered_from_the_final_state() {
    let mut bench = Bench::registered();
    let asked = [
        Request::Chain(ChainRequest::Tip),
        Request::List(ListRequest::Info),
        Request::List(ListRequest::Buckets { height: Height(3), buckets: [node(0).as_bytes()[0], 1].into() }),
        Request::List(ListRequest::Buckets { height: Height(999), buckets: [0].into() }),
        Request::Chain(ChainRequest::Blocks { from: Height(999), max_bytes: 1 }),
        Request::Chain(ChainRequest::Blocks { from: Height(0), max_bytes: u32::MAX }),
    ];
    for (reply, request) in (0..).map(ReplyId).zip(asked) {
        let message = Incoming::Request { reply, request };
        bench.tell(Input::Received { from: node(5), message });
    }
    let answers = bench.take(|output| match output {
        Output::Send { to: To::Node(_), message } => Some(message.clone()),
        _ => None,
    });
    let tip = bench.chain.tip();
    let Outgoing::Response { response: Response::Chain(ChainResponse::Tip { height, hash }), .. } = &answers[0] else {
        panic!()
    };
    assert_eq!((*height, *hash), (tip.height(), tip.tip_hash()));
    assert_ne!(*hash, BlockHash::new([0; 32]));
    let Outgoing::Response { response: Response::List(ListResponse::Info(info)), .. } = &answers[1] else { panic!() };
    assert_eq!((info.final_height, info.state), (tip.height().minus(3), Some(NodeState::Active)));
    let Outgoing::Response { response: Response::List(ListResponse::Buckets { buckets, .. }), .. } = &answers[2] else {
        panic!()
    };
    assert_eq!(buckets.values().filter(|records| !records.is_empty()).count(), 1);
    let Outgoing::Response { response: Response::List(ListResponse::Error(error)), .. } = &answers[3] else { panic!() };
    assert!(matches!(error, Error::Unavailable { .. }));
    let Outgoing::Response { response: Response::Chain(ChainResponse::Blocks { blocks, .. }), .. } = &answers[4] else {
        panic!()
    };
    assert!(blocks.is_empty());
    let Outgoing::Stored { from: Height(1), limit, .. } = &answers[5] else { panic!() };
    assert_eq!(limit.bytes, sotto_proto::limits::CHAIN_ANSWER_BYTES);
}

#[test]
fn before_the_chain_is_known_everybody_is_told_busy() {
    let mut bench = Bench::new();
    let message = Incoming::Request { reply: ReplyId(1), request: Request::List(ListRequest::Info) };
    bench.tell(Input::Received { from: node(5), message });
    let busy = Response::List(ListResponse::Error(Error::Busy));
    let is_busy = |output: &Output| match output {
        Output::Send { message: Outgoing::Response { response, .. }, .. } => Some(*response == busy),
        _ => None,
    };
    assert_eq!(bench.take(is_busy), [true]);
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let run = || {
        let mut bench = Bench::new();
        bench.follow();
        bench.connect();
        let (tag, _) = bench.transactions().remove(0);
        bench.respond(tag, Err(RequestError::Timeout));
        bench.pass(5000);
        bench.blocks(70);
        format!("{:?} {:?}", bench.outputs, bench.chain.tip())
    };
    assert_eq!(run(), run());
}

#[test]
fn a_node_that_left_does_not_register_again_by_itself() {
    let chain = TestChain::with(|params| params.lock_up_blocks = 5);
    let mut bench = Bench::with(chain, |_| {});
    bench.follow();
    bench.connect();
    bench.blocks(6);
    let exit = bench.chain.transaction(&key("operator", 0), Payload::RequestExit { node: node(0) }, None);
    bench.chain.produce(vec![exit]);
    bench.follow();
    assert_eq!(bench.blocks(4), []);
    assert_eq!(bench.report().state, "exiting");
    assert!(!bench.report().ready);
    assert_eq!(bench.blocks(30), []);
    assert_eq!(bench.report().state, "unregistered");
}
