//! What peers answer when the operator wants to know how they see the node.

use sotto_proto::chain::bucket_of;

use super::*;

/// Nodes 1 to 4 and this one are registered, and connected with it.
fn bench() -> Bench {
    let mut bench = Bench::new();
    let others = (1..5).map(|index| bench.chain.registration(index)).collect();
    bench.chain.produce(others);
    bench.follow();
    bench.connect();
    bench.blocks(8);
    bench.meet(&[1, 2, 3, 4].map(node));
    bench.answer_tips();
    bench.outputs.clear();
    bench
}

fn begin(bench: &mut Bench, id: u64, peers: u16) {
    bench.tell(Input::Survey { id: CommandId(id), peers });
}

/// What was asked of whom.
fn asked(bench: &mut Bench) -> Vec<(Tag, NodeId, ListRequest)> {
    bench.take(|output| match output {
        Output::Send { to: To::Node(node), message: Outgoing::Request { tag, request: Request::List(request) } } => {
            Some((*tag, *node, request.clone()))
        }
        _ => None,
    })
}

fn answer(bench: &mut Bench, from: NodeId, tag: Tag, response: ListResponse) {
    let message = Incoming::Response { tag, result: Ok(Response::List(response)) };
    bench.tell(Input::Received { from, message });
}

fn info(bench: &Bench, ahead: i64) -> ListResponse {
    let time = UnixMillis(bench.now.wall.0.saturating_add_signed(ahead));
    let final_height = bench.chain.view().current().height;
    ListResponse::Info(Info { final_height, time, version: Line::new("0.1.0"), state: Some(NodeState::Active) })
}

fn surveyed(bench: &mut Bench) -> Vec<(CommandId, Result<Vec<PeerAnswer>, Refusal>)> {
    bench.take(|output| match output {
        Output::Surveyed { id, result } => Some((*id, result.clone())),
        _ => None,
    })
}

#[test]
fn peers_tell_their_time_and_height_and_what_their_lists_have_of_the_node() {
    let mut bench = bench();
    begin(&mut bench, 7, 2);
    let questions = asked(&mut bench);
    assert_eq!(questions.len(), 2, "as many as were asked for");
    assert!(questions.iter().all(|(_, _, request)| *request == ListRequest::Info));
    bench.pass(100);
    for (tag, from, _) in questions {
        let info = info(&bench, 1950);
        answer(&mut bench, from, tag, info);
    }
    let height = bench.chain.view().current().height;
    let (me, questions) = (node(0), asked(&mut bench));
    let record = bench.chain.view().current().nodes.get(&me).unwrap().encode();
    let [(first, from, request), (second, other, _)] = &questions[..] else { panic!("{questions:?}") };
    assert_eq!(*request, ListRequest::Buckets { height, buckets: [bucket_of(&me)].into() });
    for (tag, from, records) in [(*first, *from, record), (*second, *other, Vec::new())] {
        assert_eq!(surveyed(&mut bench), [], "it waits for all");
        answer(&mut bench, from, tag, ListResponse::Buckets { height, buckets: [(bucket_of(&me), records)].into() });
    }
    let (id, answers) = surveyed(&mut bench).remove(0);
    let answers = answers.unwrap();
    assert_eq!((id, answers.len()), (CommandId(7), 2));
    let view = |of: &NodeId| answers.iter().find(|answer| answer.node == *of).unwrap().view.clone().unwrap();
    let seen = view(from);
    assert_eq!((seen.height, seen.ahead, seen.round_trip.as_millis()), (height, 2000, 100));
    let addresses = vec!["/ip4/127.100.0.1/tcp/27010".parse().unwrap()];
    assert_eq!(seen.listed, Some(Listed::As { state: NodeState::Active, addresses }));
    assert_eq!(view(other).listed, Some(Listed::Not));
}

#[test]
fn whoever_does_not_answer_holds_nobody_up() {
    let mut bench = bench();
    begin(&mut bench, 1, 64);
    let questions = asked(&mut bench);
    assert_eq!(questions.len(), 4, "those that are connected, and not the producer");
    let (tag, from, _) = questions[0].clone();
    answer(&mut bench, from, tag, ListResponse::Error(Error::Busy));
    bench.pass(3_900);
    assert_eq!(surveyed(&mut bench), []);
    bench.pass(200);
    let answers = surveyed(&mut bench).remove(0).1.unwrap();
    assert!(answers.iter().all(|answer| answer.view.is_none()));
    let failures = |text: &str| answers.iter().filter(|answer| answer.failure.as_deref() == Some(text)).count();
    assert_eq!((failures("busy"), failures("no answer in time")), (1, 3));
    // Answers that come now are nobody's.
    let (tag, from, _) = questions[1].clone();
    let late = info(&bench, 0);
    answer(&mut bench, from, tag, late);
    assert_eq!((asked(&mut bench), surveyed(&mut bench)), (vec![], vec![]));
}

#[test]
fn a_list_that_is_none_is_named_and_too_many_surveys_are_refused() {
    let mut bench = bench();
    for id in 0..5 {
        begin(&mut bench, id, 1);
    }
    assert_eq!(surveyed(&mut bench), [(CommandId(4), Err(Refusal::Busy))]);
    let (tag, from, _) = asked(&mut bench).remove(0);
    let info = info(&bench, 0);
    answer(&mut bench, from, tag, info);
    let (tag, _, _) = asked(&mut bench).remove(0);
    let buckets = [(bucket_of(&node(0)), vec![1, 2, 3])].into();
    answer(&mut bench, from, tag, ListResponse::Buckets { height: Height(1), buckets });
    let answers = surveyed(&mut bench).remove(0).1.unwrap();
    assert_eq!(answers[0].failure.as_deref(), Some("its list cannot be read"));
}
