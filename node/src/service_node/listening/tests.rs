//! Listeners, pushers and nothing else, in virtual time.

use proptest::prelude::*;
use sotto_proto::limits::ENVELOPE_DATA_SIZES;
use sotto_proto::request::PushData;

use super::*;

const LISTENER: Tunnel = Tunnel(1);
const PUSHER: Tunnel = Tunnel(2);

fn tag(byte: u8) -> ListeningTag {
    ListeningTag::new([byte; 16])
}

fn tags(bytes: &[u8]) -> ListenTags {
    ListenTags::new(bytes.iter().copied().map(tag).collect()).unwrap()
}

fn push(byte: u8, size: usize) -> Push {
    Push { tag: tag(byte), data: PushData::new(vec![byte; size]).unwrap() }
}

#[derive(Default)]
struct Bench {
    listeners: Listeners,
    now: Monotonic,
}

impl Bench {
    fn act(&mut self, act: impl FnOnce(&mut Listeners, Monotonic, &mut Vec<Output>)) -> Vec<Output> {
        let mut out = Vec::new();
        act(&mut self.listeners, self.now, &mut out);
        out
    }

    fn listen(&mut self, tunnel: Tunnel, bytes: &[u8]) -> SwarmResponse {
        let mut told = answers(self.act(|listeners, now, out| listeners.listen(tunnel, &tags(bytes), now, out)));
        assert_eq!((told.len(), told[0].0), (1, tunnel));
        told.remove(0).1
    }

    fn push(&mut self, pusher: Tunnel, byte: u8, size: usize) -> Vec<(Tunnel, SwarmResponse)> {
        answers(self.act(|listeners, now, out| listeners.push(pusher, push(byte, size), now, out)))
    }

    fn written(&mut self, tunnel: Tunnel) -> Vec<(Tunnel, SwarmResponse)> {
        answers(self.act(|listeners, _, out| listeners.written(tunnel, out)))
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now.plus(Duration::from_millis(millis));
    }
}

fn answers(out: Vec<Output>) -> Vec<(Tunnel, SwarmResponse)> {
    let answer = |output| match output {
        Output::TunnelAnswer { tunnel, response, more } => {
            let is_listeners = matches!(response, SwarmResponse::Listening | SwarmResponse::Pushed(_));
            assert_eq!(more, is_listeners, "{response:?}");
            (tunnel, response)
        }
        other => panic!("{other:?}"),
    };
    out.into_iter().map(answer).collect()
}

#[test]
fn what_is_pushed_is_delivered_when_it_is_written_and_not_before() {
    let mut bench = Bench::default();
    assert_eq!(bench.listen(LISTENER, &[1, 2]), SwarmResponse::Listening);
    assert_eq!(bench.written(LISTENER), [], "its own answer is nobody's push");
    assert_eq!(bench.push(PUSHER, 2, 1664), [(LISTENER, SwarmResponse::Pushed(push(2, 1664)))]);
    assert_eq!(bench.push(Tunnel(3), 1, 3648), [(LISTENER, SwarmResponse::Pushed(push(1, 3648)))]);
    assert_eq!(bench.written(LISTENER), [(PUSHER, SwarmResponse::Delivered)]);
    assert_eq!(bench.written(LISTENER), [(Tunnel(3), SwarmResponse::Delivered)]);
    assert_eq!(bench.written(LISTENER), []);
    assert_eq!(bench.listeners.in_flight, 0);
    assert_eq!(bench.listeners.counts(), PushCounts { delivered: 2, ..PushCounts::default() });
}

#[test]
fn nobody_is_there_for_a_tag_that_nobody_drew_and_for_one_that_was_given_up() {
    let mut bench = Bench::default();
    assert_eq!(bench.push(PUSHER, 1, 1664), [(PUSHER, SwarmResponse::NoListener)]);
    bench.listen(LISTENER, &[1, 2]);
    bench.listen(LISTENER, &[2, 3]);
    assert_eq!(bench.push(PUSHER, 1, 1664), [(PUSHER, SwarmResponse::NoListener)]);
    assert_eq!(bench.push(PUSHER, 3, 1664).len(), 1);
    let lost = answers(bench.act(|listeners, _, out| listeners.forget(LISTENER, out)));
    assert_eq!(lost, [(PUSHER, SwarmResponse::NoListener)], "what was on its way");
    assert_eq!(bench.push(PUSHER, 3, 1664), [(PUSHER, SwarmResponse::NoListener)]);
    assert!(bench.listeners.tags.is_empty() && bench.listeners.is_empty() && bench.listeners.in_flight == 0);
}

#[test]
fn a_tag_is_its_first_listeners_until_that_is_gone() {
    let mut bench = Bench::default();
    bench.listen(LISTENER, &[1]);
    assert_eq!(bench.listen(Tunnel(3), &[2, 1]), SwarmResponse::Error(Error::Busy));
    assert_eq!(bench.push(PUSHER, 2, 1664), [(PUSHER, SwarmResponse::NoListener)], "nothing of it was taken");
    assert_eq!(bench.push(PUSHER, 1, 1664)[0].0, LISTENER);
    bench.act(|listeners, _, out| listeners.forget(LISTENER, out));
    assert_eq!(bench.listen(Tunnel(3), &[2, 1]), SwarmResponse::Listening);
    assert_eq!(bench.push(PUSHER, 1, 1664)[0].0, Tunnel(3));
}

#[test]
fn there_are_so_many_listeners_and_no_more() {
    let mut bench = Bench::default();
    let tag_of = |n: u64| ListenTags::new(vec![ListeningTag::new(u128::from(n).to_be_bytes())]).unwrap();
    for n in 0..=LISTENERS as u64 {
        let told = bench.act(|listeners, now, out| listeners.listen(Tunnel(n), &tag_of(n), now, out));
        let Some(Output::TunnelAnswer { response, more, .. }) = told.into_iter().next() else { panic!("no answer") };
        assert_eq!((response == SwarmResponse::Listening, more), (n < LISTENERS as u64, n < LISTENERS as u64));
    }
    assert_eq!(bench.listeners.len(), LISTENERS);
    let told = bench.act(|listeners, now, out| listeners.listen(Tunnel(0), &tag_of(9999), now, out));
    assert!(matches!(told[0], Output::TunnelAnswer { response: SwarmResponse::Listening, .. }), "it has its place");
}

#[test]
fn a_tag_takes_its_rate_and_another_tag_of_the_listener_is_not_held_up_by_it() {
    let mut bench = Bench::default();
    bench.listen(LISTENER, &[1, 2]);
    bench.written(LISTENER);
    let mut took = 0;
    // Ten seconds of a push a millisecond.
    for _ in 0..10_000 {
        match &bench.push(PUSHER, 1, 1664)[..] {
            [(LISTENER, SwarmResponse::Pushed(_))] => {
                took += 1;
                bench.written(LISTENER);
            }
            [(PUSHER, SwarmResponse::Error(Error::RateLimited { retry_after }))] => {
                assert!((1..=63).contains(&retry_after.as_millis()), "{retry_after:?}");
            }
            other => panic!("{other:?}"),
        }
        bench.pass(1);
    }
    assert_eq!(took, PUSH_CELLS_BURST + 10 * PUSH_CELLS_PER_SECOND - 1);
    assert_eq!(bench.push(PUSHER, 2, ENVELOPE_DATA_SIZES[5])[0].0, LISTENER);
    // Listening to it again does not fill it up.
    bench.listen(LISTENER, &[1]);
    assert!(matches!(bench.push(PUSHER, 1, 3648)[0].1, SwarmResponse::Error(Error::RateLimited { .. })));
    bench.pass(4000);
    assert_eq!(bench.push(PUSHER, 1, ENVELOPE_DATA_SIZES[5])[0].0, LISTENER, "the longest, after a pause");
}

#[test]
fn who_does_not_read_gets_no_more_than_a_few_and_is_closed_after_a_while() {
    let mut bench = Bench::default();
    bench.listen(LISTENER, &[1]);
    bench.written(LISTENER);
    for _ in 0..PUSHES_PER_LISTENER {
        assert_eq!(bench.push(PUSHER, 1, 1664)[0].0, LISTENER);
        bench.pass(100);
    }
    assert_eq!(bench.push(PUSHER, 1, 1664), [(PUSHER, SwarmResponse::Error(Error::Busy))]);
    let at = bench.listeners.wake_at().unwrap();
    assert_eq!(at, Monotonic::default().plus(PUSH_STALL));
    bench.now = Monotonic(at.0 - Duration::from_millis(1));
    assert_eq!(bench.act(Listeners::close_stalled).len(), 0);
    bench.now = at;
    let mut out = bench.act(Listeners::close_stalled);
    assert!(matches!(out.pop(), Some(Output::CloseTunnel(LISTENER))));
    assert_eq!(answers(out), vec![(PUSHER, SwarmResponse::NoListener); PUSHES_PER_LISTENER]);
    assert_eq!((bench.listeners.wake_at(), bench.listeners.in_flight), (None, 0));
}

#[test]
fn bytes_on_their_way_to_all_listeners_are_bounded() {
    let mut bench = Bench::default();
    let largest = ENVELOPE_DATA_SIZES[5];
    let mut took = 0;
    for n in 0..100 {
        bench.listen(Tunnel(100 + u64::from(n)), &[n]);
        for _ in 0..2 {
            took += usize::from(bench.push(PUSHER, n, largest)[0].0 != PUSHER);
        }
    }
    assert_eq!(took, PUSHES_IN_FLIGHT / largest);
    assert_eq!(bench.listeners.in_flight, took * largest);
}

#[derive(Clone, Debug)]
enum Step {
    Listen(u64, Vec<u8>),
    Push(u64, u8, usize),
    Written(u64),
    Forget(u64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..5u64, proptest::collection::btree_set(0..8u8, 1..4))
            .prop_map(|(tunnel, tags)| Step::Listen(tunnel, tags.into_iter().collect())),
        (5..9u64, 0..8u8, 0..6usize).prop_map(|(tunnel, tag, size)| Step::Push(tunnel, tag, size)),
        (0..5u64).prop_map(Step::Written),
        (0..5u64).prop_map(Step::Forget),
        (0..12_000u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn tags_and_bytes_agree_with_listeners_whatever_happens_and_each_push_has_one_answer(
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let mut bench = Bench::default();
        let (mut pushed, mut answered) = (0, 0);
        for step in steps {
            let out = match step {
                Step::Listen(tunnel, bytes) => {
                    bench.act(|listeners, now, out| listeners.listen(Tunnel(tunnel), &tags(&bytes), now, out))
                }
                Step::Push(tunnel, byte, size) => {
                    pushed += 1;
                    let push = push(byte, ENVELOPE_DATA_SIZES[size]);
                    bench.act(|listeners, now, out| listeners.push(Tunnel(tunnel), push, now, out))
                }
                Step::Written(tunnel) => bench.act(|listeners, _, out| listeners.written(Tunnel(tunnel), out)),
                Step::Forget(tunnel) => bench.act(|listeners, _, out| listeners.forget(Tunnel(tunnel), out)),
                Step::Pass(millis) => {
                    bench.pass(millis);
                    bench.act(Listeners::close_stalled)
                }
            };
            let is_pushers = |output: &&Output| matches!(output, Output::TunnelAnswer { tunnel, .. } if tunnel.0 >= 5);
            answered += out.iter().filter(is_pushers).count();
            let listeners = &bench.listeners;
            let held: usize = listeners.by_tunnel.values().map(|listener| listener.tags.len()).sum();
            prop_assert_eq!(held, listeners.tags.len());
            for (tag, listened) in &listeners.tags {
                prop_assert!(listeners.by_tunnel[&listened.by].tags.contains(tag));
            }
            let given = || listeners.by_tunnel.values().flat_map(|listener| &listener.written_next);
            prop_assert_eq!(given().filter_map(|given| given.push).map(|(_, bytes)| bytes).sum::<usize>(), listeners.in_flight);
            let waiting = given().filter(|given| given.push.is_some()).count();
            prop_assert_eq!(pushed, answered + waiting);
        }
    }
}
