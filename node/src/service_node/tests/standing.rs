//! What the machine says of itself.

use super::*;

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
