//! Who failed lately, and by how much (M10 of the design's rules).
//!
//! A hop's report about the next one counts half against each of the two: whoever lies about his neighbour pays for it.
//! Scores halve every ten minutes. At most a quarter of the list is shunned at a time, the oldest failures are forgotten
//! first: nobody drives a client into a corner of the network by making everything else fail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::id::NodeId;
use sotto_proto::time::{Monotonic, Now, UnixMillis};

/// How long it takes a score to halve.
const HALF_LIFE: Duration = Duration::from_secs(600);
/// The score of a failure that is one node's alone.
const FAILURE: f64 = 1.0;
/// No score gets higher: after ten half-lives everything is forgotten.
const MOST: f64 = 256.0;
/// Who has more than this is shunned: a half of a report, ten minutes long.
const SHUNNED: f64 = 0.25;
/// One of so many nodes may be shunned.
const SHARE: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
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
#[derive(Clone, Debug, Default, PartialEq)]
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

    /// The guard says that `node` failed, or it was slow: guards are not scored, and whether a slow node or a hop on the
    /// way to it is at fault cannot be told; the half of the node stays.
    pub fn half(&mut self, node: NodeId, now: Monotonic) {
        self.add(node, FAILURE / 2.0, now);
    }

    fn add(&mut self, node: NodeId, value: f64, now: Monotonic) {
        let before = self.0.get(&node).map_or(0.0, |score| score.now(now));
        self.0.insert(node, Score { value: (before + value).min(MOST), at: now });
    }

    /// For the store: the next process begins with what this one knows.
    #[must_use]
    pub fn encode(&self, now: Now) -> Vec<u8> {
        let mut bytes = now.wall.0.to_be_bytes().to_vec();
        for (node, score) in &self.0 {
            bytes.extend(node.as_bytes());
            bytes.extend(score.now(now.monotonic).to_bits().to_be_bytes());
        }
        bytes
    }

    /// What [`Scores::encode`] wrote, less what has passed since.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not that.
    pub fn decode(bytes: &[u8], now: Now) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let written = UnixMillis(reader.u64()?);
        // A clock that was set back makes nothing older.
        let age = Duration::from_millis(now.wall.0.saturating_sub(written.0));
        let mut scores = Self::default();
        while reader.remaining() > 0 {
            let (node, value) = (reader.id()?, f64::from_bits(reader.u64()?));
            if !(0.0..=MOST).contains(&value) {
                return Err(DecodeError::Value("score"));
            }
            let score = Score { value, at: Monotonic(Duration::ZERO) };
            let value = score.now(Monotonic(age));
            scores.0.insert(node, Score { value, at: now.monotonic });
        }
        Ok(scores)
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
    fn the_next_process_goes_on_where_this_one_ended() {
        let now = |seconds: u64, wall: u64| Now { monotonic: at(seconds), wall: UnixMillis(wall * 1000) };
        let mut scores = Scores::default();
        scores.failed(node(1), at(100));
        scores.half(node(2), at(100));
        let bytes = scores.encode(now(100, 5_000));
        let mut later = Scores::decode(&bytes, now(3, 5_599)).unwrap();
        assert_eq!(later.shunned(100, at(3)), [1, 2].map(node).into());
        assert_eq!(later.shunned(100, at(5)), [node(1)].into(), "ten minutes after the failure");
        let mut later = Scores::decode(&bytes, now(0, 4_000)).unwrap();
        assert_eq!(later.shunned(100, at(0)), [1, 2].map(node).into(), "the clock was set back");
        assert!(Scores::decode(&bytes[..20], now(0, 0)).is_err());
        let mut wrong = bytes.clone();
        wrong[40..48].copy_from_slice(&f64::NAN.to_bits().to_be_bytes());
        assert!(Scores::decode(&wrong, now(0, 0)).is_err());
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
