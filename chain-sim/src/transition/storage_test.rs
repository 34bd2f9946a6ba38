//! Storage tests on the chain: which are due, who reports them, what follows.
//!
//! Pairs are drawn for a height when its hash is known, at the beginning of the next block. Until a report may stand
//! on the chain some blocks pass, because only final heights are tested.

use std::collections::BTreeMap;

use sotto_proto::address::Position;
use sotto_proto::chain::{NodeState, Outcome};
use sotto_proto::id::{NodeId, SwarmId};
use sotto_proto::limits::TEST_REPORT_BLOCKS;
use sotto_proto::storage_test;

use super::{TransactionError, Transition};
use crate::state::{DueTest, State, TestKey};

/// How many tests of its swarm a verdict on a node outlives.
const VERDICT_LIFE: u64 = 200;

impl Transition {
    /// Draws the pairs of the parent's height.
    pub(super) fn make_tests_due(&mut self, parent: &State) {
        let height = parent.height;
        if height.0 < self.state.params().storage_tests_from {
            return;
        }
        let decommissioned = decommissioned_by_home(parent);
        for (swarm, members) in parent.swarms.iter() {
            let eligible: Vec<NodeId> = members.iter().copied().filter(|node| is_settled(parent, node)).collect();
            let waiting = decommissioned.get(&swarm).map_or(&[][..], Vec::as_slice);
            let Some(pairs) = storage_test::pairs(&parent.chain, &parent.tip, swarm, &eligible, waiting) else {
                continue;
            };
            for pair in std::iter::once(pairs.regular).chain(pairs.returning) {
                let due = DueTest { tester: pair.tester, reported: false };
                self.state.tests.insert((height, swarm, pair.testee), due);
            }
        }
    }

    /// Tests whose window is over: what was not reported is a missed duty.
    pub(super) fn count_missed_tests(&mut self) {
        let height = self.state.height;
        while let Some((key, test)) = self.state.tests.get_min().map(|(key, test)| (*key, *test)) {
            if height.since(key.0) <= *TEST_REPORT_BLOCKS.end() {
                return;
            }
            self.state.tests.remove(&key);
            let tester = self.state.service_node(&test.tester);
            if !test.reported && tester.is_some_and(|node| node.record.state == NodeState::Active) {
                self.change_node(&test.tester, |node| node.tests.missed.push(true));
            }
        }
    }

    pub(super) fn check_report(
        &self,
        signer: &NodeId,
        key: TestKey,
        outcome: Outcome,
        samples: u8,
    ) -> Result<(), TransactionError> {
        let state = self.registered(signer)?.record.state;
        if state != NodeState::Active {
            return Err(TransactionError::State(state));
        }
        if outcome == Outcome::Fail && samples == 0 {
            return Err(TransactionError::Samples);
        }
        let in_window = TEST_REPORT_BLOCKS.contains(&self.state.height.since(key.0)) && self.state.height > key.0;
        let test = self.state.tests.get(&key).filter(|test| in_window && test.tester == *signer && !test.reported);
        test.map(|_| ()).ok_or(TransactionError::NoSuchTest)
    }

    pub(super) fn take_report(&mut self, tester: &NodeId, key: TestKey, outcome: Outcome, samples: u8) {
        let (_, swarm, testee) = key;
        if let Some(test) = self.state.tests.get_mut(&key) {
            test.reported = true;
        }
        self.change_node(tester, |node| node.tests.missed.push(false));
        let number = self.count_test(swarm);
        self.change_node(&testee, |node| {
            let tests = &mut node.tests;
            tests.unanswered.push(outcome == Outcome::NoAnswer);
            let verdict = match outcome {
                Outcome::Pass => Some(true),
                Outcome::Fail => Some(false),
                Outcome::NoAnswer => None, // silence takes back no verdict
            };
            let coming_back = node.record.state == NodeState::Decommissioned && !tests.verdicts.contains_key(tester);
            // A late report from a swarm it has left would count by that swarm's numbers.
            let at_home = node.record.swarm.is_none_or(|now| now == swarm);
            if let Some(pass) = verdict.filter(|_| at_home && (samples > 0 || coming_back)) {
                tests.verdicts.insert(*tester, (number, pass));
            }
            tests.verdicts.retain(|_, (of, _)| number.saturating_sub(*of) < VERDICT_LIFE);
        });
        self.recommission_if_due(&testee);
    }

    /// Counts a reported test of a swarm; the number tells how old a verdict is.
    fn count_test(&mut self, swarm: SwarmId) -> u64 {
        let Some(info) = self.state.swarm_infos.get_mut(&swarm) else { return 0 };
        info.tests = info.tests.saturating_add(1);
        let number = info.tests;
        self.mark_swarm(swarm);
        number
    }
}

/// Whether a node has been in its swarm long enough to test and be tested. One that its own block decommissioned is
/// still in the map but no longer counts: it could else be drawn to test itself.
fn is_settled(state: &State, node: &NodeId) -> bool {
    state.service_node(node).is_some_and(|node| {
        node.record.state == NodeState::Active && state.height.since(node.member_since) >= state.params().epoch_blocks
    })
}

/// Where a node without a home stands on the ring: the first eight bytes of its key.
fn first_word(node: &NodeId) -> Position {
    let [a, b, c, d, e, f, g, h, ..] = *node.as_bytes();
    Position(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

/// Decommissioned nodes by the swarm that tests them: their home, or the owner of their key's position if that is gone.
fn decommissioned_by_home(state: &State) -> BTreeMap<SwarmId, Vec<NodeId>> {
    let mut homes: BTreeMap<SwarmId, Vec<NodeId>> = BTreeMap::new();
    // Only decommissioned and exiting nodes have an end, so this looks at few.
    for (_, id) in &state.index.node_ends {
        let Some(node) = state.nodes.get(id).filter(|node| node.record.state == NodeState::Decommissioned) else {
            continue;
        };
        let home = node.home.filter(|home| state.swarms.members(*home).is_some());
        if let Some(swarm) = home.or_else(|| state.swarms.owner_of(first_word(id))) {
            homes.entry(swarm).or_default().push(*id);
        }
    }
    homes.values_mut().for_each(|nodes| nodes.sort_unstable());
    homes
}
