//! What follows from storage tests, with the tests switched on from the first block.

use sotto_chain::TransactionError;
use sotto_proto::chain::{NodeState, Outcome, Payload};
use sotto_proto::id::{Height, NodeId, SwarmId};

use crate::harness::{Chain, node};

type Due = (Height, SwarmId, NodeId, NodeId);

fn chain() -> Chain {
    let mut chain = Chain::with(60, |genesis| genesis.params.storage_tests_from = 1);
    (0..50).for_each(|i| chain.register(i));
    chain.until(70);
    chain
}

fn key_of(id: &NodeId) -> sotto_proto::sign::SigningKey {
    (0..60).map(node).find(|key| key.node_id() == *id).unwrap()
}

/// Tests that may be reported in the next block: height, swarm, testee, tester.
fn reportable(chain: &Chain) -> Vec<Due> {
    let next = chain.state.height().next();
    chain
        .state
        .due_tests()
        .filter(|(height, _, _, test)| !test.reported && (4..=20).contains(&next.since(*height)))
        .map(|(height, swarm, testee, test)| (height, swarm, testee, test.tester))
        .collect()
}

fn report(due: &Due, outcome: Outcome, samples: u8) -> Payload {
    Payload::StorageReport { height: due.0, swarm: due.1, testee: due.2, outcome, samples }
}

/// One block in which every due test is reported as `judge(testee, tester)` says; `None`: not reported.
fn block(chain: &mut Chain, judge: impl Fn(&NodeId, &NodeId) -> Option<(Outcome, u8)>) {
    for due in reportable(chain) {
        if let Some((outcome, samples)) = judge(&due.2, &due.3) {
            chain.submit(report(&due, outcome, samples), &key_of(&due.3));
        }
    }
    chain.block();
}

#[test]
fn every_swarm_has_a_pair_at_every_height_once_its_members_are_settled() {
    let chain = chain();
    let settled = chain.state.due_tests().filter(|(height, ..)| *height == Height(69)).count();
    assert_eq!(settled, 5);
    assert_eq!(chain.state.due_tests().filter(|(height, ..)| *height < Height(61)).count(), 0);
    for (_, swarm, testee, test) in chain.state.due_tests() {
        let members = chain.state.swarms().members(swarm).unwrap();
        assert!(testee != test.tester && members.contains(&testee) && members.contains(&test.tester));
    }
}

#[test]
fn honest_nodes_pass_for_hundreds_of_blocks_and_nobody_is_punished() {
    let mut chain = chain();
    for _ in 0..400 {
        block(&mut chain, |_, _| Some((Outcome::Pass, 16)));
    }
    assert_eq!(chain.state.active_count(), 50);
    assert!(chain.state.service_nodes().all(|node| node.tests.passes_and_fails().1 == 0));
}

#[test]
fn a_testee_that_three_testers_fail_is_decommissioned_and_comes_back_by_passing_three() {
    let mut chain = chain();
    let bad = node(9).node_id();
    let home = chain.state.nodes().get(&bad).unwrap().swarm;
    let mut blocks = 0;
    while chain.state_of(9) == Some(NodeState::Active) {
        block(&mut chain, |testee, _| Some((if *testee == bad { Outcome::Fail } else { Outcome::Pass }, 16)));
        blocks += 1;
        assert!(blocks < 400);
    }
    assert_eq!(chain.state.active_count(), 49, "only the bad one");
    // Decommissioned it is tested as an extra pair of its home, and returns there.
    while chain.state_of(9) != Some(NodeState::Active) {
        block(&mut chain, |_, _| Some((Outcome::Pass, 0)));
        blocks += 1;
        assert!(blocks < 1000);
    }
    chain.block();
    assert_eq!(chain.state.nodes().get(&bad).unwrap().swarm, home);
}

#[test]
fn two_lying_testers_decommission_nobody() {
    let mut chain = chain();
    let swarm = chain.state.nodes().get(&node(0).node_id()).unwrap().swarm.unwrap();
    let liars = chain.state.swarms().members(swarm).unwrap()[..2].to_vec();
    for _ in 0..600 {
        block(&mut chain, |_, tester| Some((if liars.contains(tester) { Outcome::Fail } else { Outcome::Pass }, 16)));
    }
    assert_eq!(chain.state.active_count(), 50);
}

#[test]
fn a_testee_that_never_answers_is_decommissioned_like_a_silent_one() {
    let mut chain = chain();
    let silent = node(9).node_id();
    let mut unanswered = 0;
    while chain.state_of(9) == Some(NodeState::Active) {
        unanswered = chain.state.service_node(&silent).unwrap().tests.unanswered.bad();
        block(&mut chain, |testee, _| Some((if *testee == silent { Outcome::NoAnswer } else { Outcome::Pass }, 16)));
    }
    assert!(unanswered >= 14 && chain.state.active_count() == 49, "{unanswered}");
}

#[test]
fn a_tester_that_does_not_report_is_decommissioned() {
    let mut chain = chain();
    let lazy = node(9).node_id();
    for _ in 0..600 {
        block(&mut chain, |_, tester| (*tester != lazy).then_some((Outcome::Pass, 16)));
        if chain.state_of(9) != Some(NodeState::Active) {
            assert_eq!(chain.state.active_count(), 49);
            return;
        }
    }
    panic!("still active");
}

#[test]
fn a_test_without_samples_replaces_no_verdict() {
    let mut chain = chain();
    let bad = node(9).node_id();
    let fails = |chain: &Chain| chain.state.service_node(&bad).unwrap().tests.passes_and_fails().1;
    while fails(&chain) == 0 {
        block(&mut chain, |testee, _| Some((if *testee == bad { Outcome::Fail } else { Outcome::Pass }, 16)));
    }
    for _ in 0..100 {
        block(&mut chain, |_, _| Some((Outcome::Pass, 0)));
    }
    assert_eq!(fails(&chain), 1);
}

#[test]
fn a_report_outside_its_window_by_another_or_a_second_time_is_refused() {
    let mut chain = chain();
    let due = reportable(&chain)[0];
    let attempt =
        |chain: &Chain, payload: Payload, signer: &NodeId| chain.try_now(&chain.next(payload, &key_of(signer)));
    assert_eq!(attempt(&chain, report(&due, Outcome::Pass, 16), &due.3), Ok(()));
    assert_eq!(attempt(&chain, report(&due, Outcome::Pass, 16), &due.2), Err(TransactionError::NoSuchTest));
    assert_eq!(attempt(&chain, report(&due, Outcome::Fail, 0), &due.3), Err(TransactionError::Samples));
    let early = (chain.state.height().minus(1), due.1, due.2, due.3);
    assert_eq!(attempt(&chain, report(&early, Outcome::Pass, 1), &early.3), Err(TransactionError::NoSuchTest));
    chain.submit(report(&due, Outcome::Pass, 16), &key_of(&due.3));
    chain.block();
    assert_eq!(attempt(&chain, report(&due, Outcome::Pass, 16), &due.3), Err(TransactionError::NoSuchTest));
    let late = reportable(&chain)[0];
    chain.until(late.0.0 + 20);
    assert_eq!(attempt(&chain, report(&late, Outcome::Pass, 16), &late.3), Err(TransactionError::NoSuchTest));
}

#[test]
fn both_presets_leave_storage_tests_off() {
    let mut chain = Chain::new(12);
    (0..10).for_each(|i| chain.register(i));
    chain.until(150);
    assert_eq!(chain.state.due_tests().count(), 0);
}
