//! From nothing to a registered node.

use super::*;

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

/// A node that meets the producer and three others, and has the whole chain; nobody has told it the time.
fn newcomer() -> Bench {
    let mut chain = TestChain::new();
    for index in 1..=3 {
        let registration = chain.registration(index);
        chain.produce(vec![registration]);
    }
    chain.advance(4);
    let mut bench = Bench::with(chain, |_| {});
    bench.follow();
    bench.meet(&[key("producer", 0).node_id(), node(1), node(2), node(3)]);
    bench.answer_tips();
    assert!(bench.report().synced);
    bench
}

#[test]
fn a_node_whose_clock_is_off_does_not_register_before_it_is_set() {
    let mut bench = newcomer();
    assert!(bench.transactions().is_empty(), "the time is not known yet");
    assert_eq!(bench.report().summary, "joining: comparing the clock with other nodes'");
    assert_eq!(bench.answer_clocks(75_000), 4);
    let report = bench.report();
    assert_eq!((report.phase, report.problems[0].code.as_str()), (Phase::Problem, "clock"));
    assert_eq!(report.clock.map(|clock| clock.millis), Some(75_000));
    for _ in 0..120 {
        bench.block();
        bench.answer_clocks(75_000);
        assert!(bench.transactions().is_empty());
    }
    bench.now.wall.0 += 75_000;
    bench.block();
    let sent = bench.transactions();
    assert!(matches!(&sent[..], [(_, sent)] if matches!(sent.body.payload, Payload::Register { .. })), "{sent:?}");
    assert_eq!(bench.report().phase, Phase::Starting);
}

#[test]
fn a_node_whose_clock_is_right_registers_as_soon_as_three_have_said_so() {
    let mut bench = newcomer();
    bench.answer_clocks(-2_000);
    assert_eq!(bench.transactions().len(), 1);
}

#[test]
fn nodes_that_do_not_tell_the_time_keep_nobody_out() {
    let mut bench = newcomer();
    bench.pass(4_999);
    assert!(bench.transactions().is_empty());
    bench.pass(1);
    assert_eq!(bench.transactions().len(), 1);
}

#[test]
fn the_first_nodes_of_a_chain_wait_for_no_clock() {
    let mut bench = Bench::new();
    bench.follow();
    bench.meet(&[key("producer", 0).node_id()]);
    bench.answer_tips();
    assert_eq!(bench.transactions().len(), 1);
}
