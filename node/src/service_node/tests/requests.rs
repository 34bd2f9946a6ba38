//! What peers and the operator ask.

use sotto_proto::request::{OfferRequest, OfferResponse, RepairRequest, RepairResponse, Scope, Summary};

use super::*;

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
fn peers_questions_are_answered_from_the_final_state() {
    let mut bench = Bench::registered();
    let asked = [
        Request::Chain(ChainRequest::Tip),
        Request::List(ListRequest::Info),
        Request::List(ListRequest::Buckets { height: Height(3), buckets: [node(0).as_bytes()[0], 1].into() }),
        Request::List(ListRequest::Buckets { height: Height(999), buckets: [0].into() }),
        Request::Chain(ChainRequest::Blocks { from: Height(999), max_bytes: 1 }),
        Request::Chain(ChainRequest::Blocks { from: Height(0), max_bytes: u32::MAX }),
        Request::List(ListRequest::Hashes { height: Height(3) }),
        Request::List(ListRequest::Hashes { height: Height(999) }),
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
    let Outgoing::Response { response: Response::List(ListResponse::Hashes { height, hashes }), .. } = &answers[6]
    else {
        panic!()
    };
    let view = bench.chain.view();
    let state = view.recent().find(|state| state.height == Height(3)).unwrap();
    assert_eq!((*height, hashes.root(&view.chain)), (Height(3), state.list_root));
    let Outgoing::Response { response: Response::List(ListResponse::Error(error)), .. } = &answers[7] else { panic!() };
    assert!(matches!(error, Error::Unavailable { .. }));
}

#[test]
fn before_the_chain_is_known_everybody_is_told_busy() {
    let mut bench = Bench::new();
    let offer = OfferRequest::Offer(vec![[1; 32].into()]);
    let asked = [Request::List(ListRequest::Info), Request::Repair(summary()), Request::Offer(offer)];
    for (reply, request) in (0..).map(ReplyId).zip(asked) {
        bench.tell(Input::Received { from: node(5), message: Incoming::Request { reply, request } });
    }
    let answers = bench.take(|output| match output {
        Output::Send { message: Outgoing::Response { response, .. }, .. } => Some(response.clone()),
        _ => None,
    });
    assert_eq!(
        answers,
        [
            Response::List(ListResponse::Error(Error::Busy)),
            Response::Repair(RepairResponse::Error(Error::Busy)),
            Response::Offer(OfferResponse::Error(Error::Busy)),
        ]
    );
}

fn summary() -> RepairRequest {
    let (until, cutoff) = (START.seconds(), START.seconds());
    let scope = Scope { height: Height(3), swarm: SwarmId(0), until, cutoff };
    RepairRequest::Summary(Summary { scope, count: 0, fingerprint: [0; 16].into() })
}

#[test]
fn members_questions_go_to_the_mail_and_its_own_come_from_there() {
    let mut bench = Bench::registered();
    let message = Incoming::Request { reply: ReplyId(1), request: Request::Repair(summary()) };
    bench.tell(Input::Received { from: node(5), message });
    let answers = bench.take(|output| match output {
        Output::Send { to: To::Node(_), message: Outgoing::Response { response: Response::Repair(response), .. } } => {
            Some(response.clone())
        }
        _ => None,
    });
    assert!(matches!(answers[..], [RepairResponse::Error(_)]), "{answers:?}");
    let late = Incoming::Response { tag: Tag(u64::MAX), result: Err(RequestError::Timeout) };
    bench.tell(Input::Received { from: node(5), message: late });
}

#[test]
fn draining_is_refused_where_the_swarm_would_have_too_few_members_unless_it_is_forced() {
    let mut bench = Bench::new();
    let begin = |bench: &mut Bench, id, force| {
        bench.tell(Input::Command { id: CommandId(id), command: Command::Drain { force } });
        let mut told = bench.take(|output| match output {
            Output::Answer { result, .. } => Some(result.clone()),
            _ => None,
        });
        told.remove(0)
    };
    assert!(matches!(begin(&mut bench, 1, true), Err(Refusal::State(_))), "nothing is known yet");
    let others = (1..5).map(|index| bench.chain.registration(index)).collect();
    bench.chain.produce(others);
    bench.follow();
    bench.connect();
    bench.blocks(6);
    assert!(bench.machine.swarm().is_some());
    bench.read_empty_disk();
    let Err(Refusal::State(reason)) = begin(&mut bench, 2, false) else { panic!("it is refused") };
    assert!(reason.contains("5 members") && reason.contains("--force"), "{reason}");
    assert!(!bench.machine.mail().is_draining());
    assert_eq!(begin(&mut bench, 3, true), Ok(()));
    assert!(bench.machine.mail().is_draining());
    assert_eq!(begin(&mut bench, 4, true), Ok(()), "it goes on");
    assert!(bench.report().problems.iter().any(|problem| problem.code == "draining"));

    bench.tell(Input::Command { id: CommandId(5), command: Command::EndDrain });
    bench.tell(Input::Command { id: CommandId(6), command: Command::EndDrain });
    let told = bench.take(|output| match output {
        Output::Answer { result, .. } => Some(result.is_ok()),
        _ => None,
    });
    assert_eq!(told, [true, false]);
}

#[test]
fn a_node_that_drained_when_its_database_was_opened_anew_goes_on_as_soon_as_its_mail_is_there() {
    for is_ended in [false, true] {
        let mut bench = Bench::new();
        bench.machine = bench.machine.with_drain(true);
        bench.follow();
        assert!(bench.machine.drains() && !bench.machine.mail().is_draining(), "nothing is known yet");
        assert!(bench.report().problems.iter().any(|problem| problem.code == "draining"), "it is shown all the same");
        if is_ended {
            bench.tell(Input::Command { id: CommandId(1), command: Command::EndDrain });
        }
        bench.read_empty_disk();
        assert_eq!((bench.machine.drains(), bench.machine.mail().is_draining()), (!is_ended, !is_ended));
    }
}
