//! How far the own clock is from those of the peers: whom to ask and when, and what follows from the answers (M14 of
//! the protocol). Pure: the time comes in with each call.
//!
//! A sample is kept as the distance between the peer's clock and our monotonic one, which no setting of our wall clock
//! moves. So a clock that is set while we run shows at once, and is right again at once.

use std::collections::BTreeMap;
use std::time::Duration;

use sotto_proto::id::NodeId;
use sotto_proto::limits::{CLOCK_OFFSET_MAX, CLOCK_PEERS, CLOCK_SAMPLES, STATUS_INTERVAL};
use sotto_proto::time::{Monotonic, Now, UnixMillis};

/// Samples older than this many intervals do not count.
const KEPT_INTERVALS: u32 = 3;

/// The distance of the own clock from the median of the peers' clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOffset {
    /// Median of (peer's clock − own clock), in milliseconds: positive when the own clock is slow.
    pub millis: i64,
    /// How many peers it rests on; at least three.
    pub peers: usize,
    /// Whether it is above the limit: the node stops acknowledging and testing, and deletes nothing.
    pub off: bool,
}

impl ClockOffset {
    /// The same later on. If the own wall clock was set in between, it did not keep step with the monotonic one, and
    /// nobody else has to say so: a machine that was stopped may wake with any time.
    #[must_use]
    pub fn later(self, told: Now, now: Now) -> Self {
        let set = distance(now.wall, now.monotonic).saturating_sub(distance(told.wall, told.monotonic));
        let millis = self.millis.saturating_sub(set);
        Self { millis, off: is_off(millis), ..self }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    /// When to ask again.
    due: Monotonic,
    sample: Option<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Peer's clock − our monotonic clock, milliseconds.
    ahead: i64,
    at: Monotonic,
}

/// Asks peers for their clocks and compares.
#[derive(Debug, Default)]
pub struct Status {
    peers: BTreeMap<NodeId, Peer>,
}

impl Status {
    /// Whom to ask now. `peers` are those that may be asked at present: all others are forgotten.
    pub fn due(&mut self, peers: impl IntoIterator<Item = NodeId>, now: Monotonic) -> Vec<NodeId> {
        let known = std::mem::take(&mut self.peers);
        self.peers = peers.into_iter().map(|node| (node, known.get(&node).copied().unwrap_or_default())).collect();
        let due = self.peers.iter_mut().filter(|(_, peer)| peer.due <= now);
        due.map(|(node, peer)| {
            peer.due = now.plus(STATUS_INTERVAL);
            *node
        })
        .collect()
    }

    /// A peer answered: it was asked at `asked`, and its clock showed `clock` at some moment until `now`.
    pub fn answered(&mut self, node: NodeId, clock: UnixMillis, asked: Monotonic, now: Monotonic) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let middle = asked.plus(now.since(asked) / 2);
        peer.sample = Some(Sample { ahead: distance(clock, middle), at: now });
    }

    /// The distance to the median, if enough peers answered lately.
    #[must_use]
    pub fn offset(&self, now: Now) -> Option<ClockOffset> {
        let fresh = |sample: &Sample| now.monotonic.since(sample.at) <= KEPT_INTERVALS * STATUS_INTERVAL;
        let own = distance(now.wall, now.monotonic);
        let samples = self.peers.values().filter_map(|peer| peer.sample).filter(fresh);
        let mut offsets: Vec<i64> = samples.map(|sample| sample.ahead.saturating_sub(own)).collect();
        if offsets.len() < CLOCK_SAMPLES {
            return None;
        }
        offsets.sort_unstable();
        let millis = median(&offsets)?;
        Some(ClockOffset { millis, peers: offsets.len(), off: is_off(millis) })
    }
}

/// Whom to compare clocks with: all members of the own swarm, and where they are fewer than [`CLOCK_PEERS`], as many of
/// `others`, the first ones, as make up that number. Of four mates two that lie are half of the swarm.
pub fn whom(mates: Vec<NodeId>, others: impl IntoIterator<Item = NodeId>) -> Vec<NodeId> {
    let lacking = CLOCK_PEERS.saturating_sub(mates.len());
    mates.into_iter().chain(others.into_iter().take(lacking)).collect()
}

fn is_off(millis: i64) -> bool {
    millis.unsigned_abs() > millis_of(CLOCK_OFFSET_MAX)
}

/// Of sorted values; if their number is even, the one of the two in the middle that is nearer to zero: half of the peers
/// do not outvote the own clock, and between the two lies what a liar makes of it.
fn median(sorted: &[i64]) -> Option<i64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get(sorted.len() / 2 - 1)?;
    Some(if lower.unsigned_abs() <= upper.unsigned_abs() { lower } else { upper })
}

/// Wall clock − monotonic clock, milliseconds. What a peer claims may be anything.
fn distance(wall: UnixMillis, monotonic: Monotonic) -> i64 {
    let wall = i64::try_from(wall.0).unwrap_or(i64::MAX);
    wall.saturating_sub(i64::try_from(monotonic.0.as_millis()).unwrap_or(i64::MAX))
}

fn millis_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_support::node;

    const START: u64 = 1_700_000_000_000;

    fn now(seconds: u64, skew: i64) -> Now {
        let monotonic = Monotonic(Duration::from_secs(seconds));
        Now { monotonic, wall: UnixMillis((START + seconds * 1000).saturating_add_signed(skew)) }
    }

    /// Peers whose clocks are off by `skews`, asked and answered at second 0.
    fn asked(skews: &[i64]) -> Status {
        let mut status = Status::default();
        let nodes: Vec<_> = (0..skews.len()).map(|n| node(n as u8)).collect();
        assert_eq!(status.due(nodes.clone(), Monotonic::default()), nodes);
        for (peer, skew) in nodes.iter().zip(skews) {
            status.answered(*peer, now(0, *skew).wall, Monotonic::default(), Monotonic::default());
        }
        status
    }

    #[test]
    fn two_peers_are_no_median() {
        assert_eq!(asked(&[0, 0]).offset(now(0, 0)), None);
        assert!(asked(&[0, 0, 0]).offset(now(0, 0)).is_some());
    }

    #[test]
    fn a_clock_more_than_a_minute_off_is_flagged() {
        let status = asked(&[0, 5, -5]);
        for (skew, off) in [(0, false), (60_000, false), (60_001, true), (-60_000, false), (-60_001, true)] {
            let offset = status.offset(now(10, skew)).unwrap();
            assert_eq!((offset.millis, offset.off), (-skew, off));
        }
    }

    #[test]
    fn a_clock_that_is_set_is_known_to_be_off_before_anybody_says_so() {
        let (told, offset) = (now(10, 500), asked(&[0, 0, 0]).offset(now(10, 500)).unwrap());
        assert_eq!((offset.millis, offset.off), (-500, false));
        assert_eq!(offset.later(told, now(3000, 500)), offset, "time that passes is no jump");
        let jumped = offset.later(told, now(20, 3_600_000));
        assert_eq!((jumped.millis, jumped.off), (-3_600_000, true));
        assert_eq!(jumped.later(now(20, 3_600_000), now(21, 0)), ClockOffset { millis: 0, off: false, ..offset });
    }

    #[test]
    fn liars_in_the_minority_do_not_move_the_median() {
        let status = asked(&[0, 0, i64::MAX / 2, -1_700_000_000_000, 0]);
        assert_eq!(status.offset(now(0, 0)).unwrap().millis, 0);
    }

    #[test]
    fn half_of_the_peers_do_not_outvote_the_own_clock() {
        const LIE: i64 = 7_200_000;
        for skews in [[0, 0, LIE, LIE], [-LIE, -LIE, 0, 0], [LIE, 3, LIE, -2]] {
            let offset = asked(&skews).offset(now(0, 0)).unwrap();
            assert!(!offset.off && offset.millis.abs() < 10, "{skews:?}: {}", offset.millis);
        }
        // All four say that the own clock is wrong, and so it is.
        let offset = asked(&[0, 0, 5, 5]).offset(now(0, LIE)).unwrap();
        assert_eq!((offset.millis, offset.off), (5 - LIE, true));
    }

    #[test]
    fn a_few_mates_are_joined_by_so_many_others_that_two_of_four_lie_in_vain() {
        let nodes = |numbers: std::ops::Range<u8>| numbers.map(node).collect::<Vec<_>>();
        for (mates, others, expected) in [(0, 30, 7), (2, 30, 7), (4, 30, 7), (4, 1, 5), (4, 0, 4), (9, 30, 9)] {
            let whom = whom(nodes(0..mates), nodes(100..100 + others));
            assert_eq!(whom.len(), expected);
            assert!(nodes(0..mates).iter().all(|mate| whom.contains(mate)));
        }
        let status = asked(&[0, 0, 7_200_000, 7_200_000, 0, 0, 7_200_000]);
        assert_eq!(status.offset(now(0, 0)).unwrap().millis, 0, "and a liar among the others changes nothing");
    }

    #[test]
    fn a_clock_that_is_set_while_running_shows_at_once_and_recovers_at_once() {
        let status = asked(&[0, 0, 0]);
        assert!(status.offset(now(1, 3_600_000)).unwrap().off);
        assert!(!status.offset(now(2, 0)).unwrap().off);
    }

    #[test]
    fn answers_count_for_a_minute_and_a_half() {
        let status = asked(&[0, 0, 0]);
        assert!(status.offset(now(90, 0)).is_some());
        assert_eq!(status.offset(now(91, 0)), None);
    }

    #[test]
    fn every_peer_is_asked_every_thirty_seconds_and_forgotten_when_it_goes() {
        let mut status = asked(&[0, 0, 0]);
        let all = [node(0), node(1), node(2)];
        let at = |seconds| Monotonic(Duration::from_secs(seconds));
        assert_eq!(status.due(all, at(29)), []);
        assert_eq!(status.due(all, at(30)), all);
        assert_eq!(status.due([node(0)], at(31)), []);
        assert_eq!(status.offset(now(31, 0)), None);
        assert_eq!(status.due(all, at(32)), [node(1), node(2)]);
    }

    #[test]
    fn half_the_round_trip_is_taken_off() {
        let mut status = Status::default();
        let nodes = [node(0), node(1), node(2)];
        status.due(nodes, Monotonic::default());
        for peer in nodes {
            status.answered(peer, now(1, 0).wall, Monotonic::default(), Monotonic(Duration::from_secs(2)));
        }
        assert_eq!(status.offset(now(5, 0)).unwrap().millis, 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_median_lies_between_honest_clocks_while_they_are_the_majority(
            honest in prop::collection::vec(-1000_i64..1000, 3..8),
            liars in prop::collection::vec(any::<u64>(), 0..2),
        ) {
            let mut status = asked(&honest);
            let nodes: Vec<_> = (0..honest.len() + liars.len()).map(|n| node(n as u8)).collect();
            status.due(nodes.clone(), Monotonic::default());
            for (peer, clock) in nodes[honest.len()..].iter().zip(&liars) {
                status.answered(*peer, UnixMillis(*clock), Monotonic::default(), Monotonic::default());
            }
            let millis = status.offset(now(0, 0)).unwrap().millis;
            prop_assert!((-1000..1000).contains(&millis), "{}", millis);
        }
    }
}
