//! Who failed lately, and by how much (M10 of the design's rules).
//!
//! A hop's report about the next one counts half against each of the two: whoever lies about his neighbour pays for it.
//! Scores halve every ten minutes. At most a quarter of the list is shunned at a time, the oldest failures are forgotten
//! first: nobody drives a client into a corner of the network by making everything else fail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sotto_proto::id::NodeId;
use sotto_proto::time::Monotonic;

/// How long it takes a score to halve.
const HALF_LIFE: Duration = Duration::from_secs(600);
/// The score of a failure that is one node's alone.
const FAILURE: f64 = 1.0;
/// Who has more than this is shunned: a half of a report, ten minutes long.
const SHUNNED: f64 = 0.25;
/// One of so many nodes may be shunned.
const SHARE: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Score {
    value: f64,
    at: Monotonic,
}

impl Score {
    fn now(self, now: Monotonic) -> f64 {
        let halves = now.since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.value * (-halves).exp2()
    }
}

/// The scores of nodes that failed.
#[derive(Clone, Debug, Default)]
pub struct Scores(BTreeMap<NodeId, Score>);

impl Scores {
    /// A node failed, and nobody else can be at fault.
    pub fn failed(&mut self, node: NodeId, now: Monotonic) {
        self.add(node, FAILURE, now);
    }

    /// `reporter` says that `next` failed.
    pub fn reported(&mut self, reporter: NodeId, next: NodeId, now: Monotonic) {
        self.add(reporter, FAILURE / 2.0, now);
        self.add(next, FAILURE / 2.0, now);
    }

    /// The guard says that `node` failed: guards are not scored, the half of the other stays.
    pub fn half(&mut self, node: NodeId, now: Monotonic) {
        self.add(node, FAILURE / 2.0, now);
    }

    fn add(&mut self, node: NodeId, value: f64, now: Monotonic) {
        let before = self.0.get(&node).map_or(0.0, |score| score.now(now));
        self.0.insert(node, Score { value: before + value, at: now });
    }

    /// Who is to be avoided among `all` nodes. Forgets who is not any more, so that the map stays as small as the list.
    pub fn shunned(&mut self, all: usize, now: Monotonic) -> BTreeSet<NodeId> {
        self.0.retain(|_, score| score.now(now) > SHUNNED);
        let allowed = all / SHARE;
        while self.0.len() > allowed {
            let oldest = self.0.iter().min_by_key(|(node, score)| (score.at, **node)).map(|(node, _)| *node);
            let Some(oldest) = oldest else { break };
            self.0.remove(&oldest);
        }
        self.0.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::test_support::node;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(Duration::from_secs(seconds))
    }

    #[test]
    fn a_failure_is_forgotten_after_two_half_lives_and_a_report_after_one() {
        let mut scores = Scores::default();
        scores.failed(node(1), at(0));
        scores.reported(node(2), node(3), at(0));
        assert_eq!(scores.shunned(100, at(599)), [1, 2, 3].map(node).into());
        assert_eq!(scores.shunned(100, at(601)), [node(1)].into());
        assert_eq!(scores.shunned(100, at(1201)), [].into());
    }

    #[test]
    fn failures_add_up() {
        let mut scores = Scores::default();
        for second in 0..4 {
            scores.failed(node(1), at(second));
        }
        assert_eq!(scores.shunned(100, at(2000)), [node(1)].into());
    }

    #[test]
    fn a_liar_about_everybody_is_shunned_longer_than_any_of_them() {
        let mut scores = Scores::default();
        for victim in 1..=10 {
            scores.reported(node(0), node(victim), at(0));
        }
        assert_eq!(scores.shunned(100, at(650)), [node(0)].into());
    }

    #[test]
    fn at_most_a_quarter_is_shunned_and_the_oldest_failures_are_forgotten_first() {
        let mut scores = Scores::default();
        for n in 0..40 {
            scores.failed(node(n), at(n.into()));
        }
        assert_eq!(scores.shunned(20, at(40)), (35..40).map(node).collect());
        assert_eq!(scores.shunned(3, at(40)), [].into());
    }
}
