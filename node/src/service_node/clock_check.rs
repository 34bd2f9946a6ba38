//! Is the own clock right enough to stake? Registered nodes exchange their times and one whose clock is off falls silent
//! (M14 of the protocol); a newcomer is told by nobody, would stake, and be punished for what it cannot do. So it asks
//! the nodes it is connected with for `Info`, which everybody may have and which carries their time, from the first
//! connection on, and does not register while it is too far from their median.
//!
//! | what is known | what follows |
//! | --- | --- |
//! | the clocks of three or more, the own one within a minute of their median | registers |
//! | the same, the own one further away | does not register, says so, goes on asking |
//! | fewer than three, because the chain has no more nodes | registers: somebody must be the first |
//! | fewer than three for another reason | registers after [`PATIENCE`] |

use std::collections::BTreeMap;
use std::time::Duration;

use sotto_behaviours::network::{RequestError, Response};
use sotto_behaviours::status::{ClockOffset, Status};
use sotto_proto::id::NodeId;
use sotto_proto::limits::{CLOCK_SAMPLES, STATUS_INTERVAL};
use sotto_proto::request::ListResponse;
use sotto_proto::time::{Monotonic, Now};

use super::message::Tag;

/// How long three clocks are waited for where the chain has as many nodes. Each answers a round trip after it is
/// connected, so this is time for a few dials that fail. Not longer: peers that do not answer shall not keep a node
/// out, and once it is registered its clock is compared all the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the clock lets the node register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not known yet.
    #[default]
    Waiting,
    /// It does, or nobody can tell.
    Passed,
    /// It does not: milliseconds that the others are ahead.
    Off(i64),
}

/// What a newcomer knows of others' clocks.
#[derive(Debug, Default)]
pub(super) struct ClockCheck {
    clocks: Status,
    /// Questions under way: to whom, since when. Each connected node is asked every 30 s and each question has its
    /// answer within as long.
    asked: BTreeMap<Tag, (NodeId, Monotonic)>,
    next_round: Option<Monotonic>,
    /// Since when nothing else is waited for.
    waiting_since: Option<Monotonic>,
    verdict: Verdict,
}

impl ClockCheck {
    /// Whom of the connected nodes to ask now.
    pub(super) fn due(&mut self, nodes: impl IntoIterator<Item = NodeId>, now: Monotonic) -> Vec<NodeId> {
        let due = self.clocks.due(nodes, now);
        if !due.is_empty() {
            self.next_round = Some(now.plus(STATUS_INTERVAL));
        }
        due
    }

    pub(super) fn asked(&mut self, node: NodeId, tag: Tag, now: Monotonic) {
        self.asked.insert(tag, (node, now));
    }

    /// An answer to one of these questions.
    pub(super) fn answered(&mut self, tag: Tag, result: &Result<Response, RequestError>, now: Monotonic) -> bool {
        let Some((node, asked)) = self.asked.remove(&tag) else { return false };
        if let Ok(Response::List(ListResponse::Info(info))) = result {
            self.clocks.answered(node, info.time, asked, now);
        }
        true
    }

    /// Judges. `others`: how many nodes the chain has, with the producer. `synced`: whether it is known well enough to
    /// register.
    pub(super) fn judge(&mut self, others: usize, synced: bool, now: Now) {
        if synced {
            self.waiting_since.get_or_insert(now.monotonic);
        }
        let waited = self.patient_until().is_some_and(|until| now.monotonic >= until);
        self.verdict = match (self.clocks.offset(now), self.verdict) {
            (Some(offset), _) if offset.off => Verdict::Off(offset.millis),
            (Some(_), _) => Verdict::Passed,
            (None, _) if others < CLOCK_SAMPLES => Verdict::Passed,
            // Whoever said so is gone; that does not make it right.
            (None, Verdict::Off(millis)) => Verdict::Off(millis),
            (None, _) if waited => Verdict::Passed,
            (None, _) => Verdict::Waiting,
        };
    }

    fn patient_until(&self) -> Option<Monotonic> {
        self.waiting_since.map(|since| since.plus(PATIENCE))
    }

    pub(super) const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The own clock's distance from the others', if three are known.
    pub(super) fn offset(&self, now: Now) -> Option<ClockOffset> {
        self.clocks.offset(now)
    }

    /// When there is something to ask or to judge again.
    pub(super) fn wake_at(&self) -> impl Iterator<Item = Monotonic> {
        self.next_round.into_iter().chain(self.patient_until())
    }
}

#[cfg(test)]
mod tests {
    use sotto_proto::id::Height;
    use sotto_proto::request::{Info, Line};
    use sotto_proto::time::UnixMillis;

    use super::*;

    const START: u64 = 1_790_000_000_000;

    fn node(byte: u8) -> NodeId {
        NodeId::new([byte; 32])
    }

    /// A moment at which the own clock is `skew` milliseconds ahead.
    fn at(millis: u64, skew: i64) -> Now {
        let wall = UnixMillis((START + millis).saturating_add_signed(skew));
        Now { monotonic: Monotonic(Duration::from_millis(millis)), wall }
    }

    fn info(millis: u64) -> Result<Response, RequestError> {
        let (final_height, version) = (Height(1), Line::new("1"));
        Ok(Response::List(ListResponse::Info(Info { final_height, time: at(millis, 0).wall, version, state: None })))
    }

    /// Nodes that were asked at the start; all but `silent` answered at once.
    fn asked(nodes: u8, silent: u8) -> ClockCheck {
        let mut check = ClockCheck::default();
        let start = at(0, 0).monotonic;
        let due = check.due((1..=nodes).map(node), start);
        assert_eq!(due.len(), usize::from(nodes));
        for (tag, node) in (0..).map(Tag).zip(due) {
            check.asked(node, tag, start);
            let answer = if tag.0 < silent.into() { Err(RequestError::Timeout) } else { info(0) };
            assert!(check.answered(tag, &answer, start));
            assert!(!check.answered(tag, &answer, start), "once only");
        }
        check
    }

    fn verdict(check: &mut ClockCheck, others: usize, now: Now) -> Verdict {
        check.judge(others, true, now);
        check.verdict()
    }

    #[test]
    fn three_clocks_decide() {
        for (skew, expected) in [
            (0, Verdict::Passed),
            (60_000, Verdict::Passed),
            (75_000, Verdict::Off(-75_000)),
            (-75_000, Verdict::Off(75_000)),
        ] {
            assert_eq!(verdict(&mut asked(3, 0), 10, at(10, skew)), expected, "{skew} ms");
        }
    }

    #[test]
    fn on_a_chain_without_three_others_nobody_is_waited_for() {
        assert_eq!(verdict(&mut asked(1, 0), 1, at(0, 0)), Verdict::Passed);
        assert_eq!(verdict(&mut asked(2, 0), 2, at(0, 75_000)), Verdict::Passed, "two are no median");
    }

    #[test]
    fn where_there_are_others_they_are_waited_for_but_not_for_ever() {
        let mut check = asked(3, 1);
        check.judge(10, false, at(0, 0));
        check.judge(10, false, at(60_000, 0));
        assert_eq!(check.verdict(), Verdict::Waiting, "the chain is waited for as well");
        assert_eq!(verdict(&mut check, 10, at(61_000, 0)), Verdict::Waiting);
        assert!(check.wake_at().any(|at| at == Monotonic(Duration::from_secs(66))));
        assert_eq!(verdict(&mut check, 10, at(65_999, 0)), Verdict::Waiting);
        assert_eq!(verdict(&mut check, 10, at(66_000, 0)), Verdict::Passed);
    }

    #[test]
    fn a_clock_that_is_off_stays_off_until_it_is_set() {
        let mut check = asked(4, 0);
        assert_eq!(verdict(&mut check, 10, at(10, 75_000)), Verdict::Off(-75_000));
        assert_eq!(check.due([], at(20, 0).monotonic), []);
        assert_eq!(verdict(&mut check, 10, at(30_000, 75_000)), Verdict::Off(-75_000), "all who said so are gone");
        let mut check = asked(4, 0);
        assert_eq!(verdict(&mut check, 10, at(10, 75_000)), Verdict::Off(-75_000));
        assert_eq!(verdict(&mut check, 10, at(20, 0)), Verdict::Passed);
    }

    #[test]
    fn every_node_is_asked_again_after_half_a_minute() {
        let mut check = asked(3, 3);
        assert_eq!(check.due((1..=3).map(node), at(29_999, 0).monotonic), []);
        assert!(check.wake_at().any(|wake| wake == at(30_000, 0).monotonic));
        assert_eq!(check.due((1..=3).map(node), at(30_000, 0).monotonic).len(), 3);
    }
}
