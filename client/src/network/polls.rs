//! Which members of a swarm are asked for mail, and when a client may say that it has everything (M5).
//!
//! Each poll asks two random members, so that one that withholds is found out by the other. Members that were not asked
//! for half an hour are asked as well: two of ten that hold a message back together hide it no longer than that. After
//! half a day without a poll everybody is asked before the client calls itself caught up.

use std::collections::{BTreeMap, BTreeSet};

use rand_core::Rng;
use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::id::NodeId;
use sotto_proto::limits::NMAX;
use sotto_proto::time::UnixSeconds;

use super::draw;

/// Members that answer in each poll, if there are so many.
pub const PER_POLL: usize = 2;
/// Every member is asked at least this often.
const EVERYBODY: u64 = 30 * 60;
/// After this long without a poll, everybody is asked first.
const LONG_AWAY: u64 = 12 * 60 * 60;
/// Members of a few maps: one that left may come back.
const REMEMBERED: usize = 4 * NMAX;

/// When each member last answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Polls(BTreeMap<NodeId, UnixSeconds>);

/// Whom to ask now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// Those whose turn it is, and behind them others, both in random order.
    pub members: Vec<NodeId>,
    /// How many of them have their turn.
    due: usize,
    /// Whom to ask instead of those that do not answer, in random order.
    pub spare: Vec<NodeId>,
    /// Whether all of them must answer before the client is caught up; else one is enough.
    pub wants_all: bool,
}

impl Poll {
    /// The same, with those that were `slow` lately behind the others, unless it is their turn: whoever can make honest
    /// members slow must not choose who is never asked.
    #[must_use]
    pub fn slow_last(mut self, slow: &BTreeSet<NodeId>) -> Self {
        let wanted = self.members.len();
        let mut others = self.members.split_off(self.due);
        others.append(&mut self.spare);
        others.sort_by_key(|node| slow.contains(node));
        self.members.extend(others.drain(..wanted.saturating_sub(self.due)));
        Self { spare: others, ..self }
    }
}

impl Polls {
    /// Draws whom to ask.
    #[must_use]
    pub fn next(&self, members: &[NodeId], now: UnixSeconds, rng: &mut dyn Rng) -> Poll {
        let age = |node: &NodeId| self.0.get(node).map(|at| now.0.saturating_sub(at.0));
        let wants_all = members.iter().filter_map(age).min().is_none_or(|newest| newest > LONG_AWAY);
        let mut order = members.to_vec();
        draw::shuffle(rng, &mut order);
        let is_due = |node: &NodeId| wants_all || age(node).is_none_or(|age| age >= EVERYBODY);
        let (mut due, mut others): (Vec<_>, Vec<_>) = order.into_iter().partition(is_due);
        let (turns, missing) = (due.len(), PER_POLL.saturating_sub(due.len()).min(others.len()));
        due.extend(others.drain(..missing));
        Poll { members: due, due: turns, spare: others, wants_all }
    }

    /// A member has told something. What it keeps back beyond that it is asked for when it has its turn again.
    pub fn answered(&mut self, node: NodeId, now: UnixSeconds) {
        self.0.insert(node, now);
        while self.0.len() > REMEMBERED {
            let oldest = self.0.iter().min_by_key(|(_, at)| **at).map(|(node, _)| *node);
            let Some(oldest) = oldest else { break };
            self.0.remove(&oldest);
        }
    }

    /// For the store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(node, at)| [&node.as_bytes()[..], &at.0.to_be_bytes()].concat()).collect()
    }

    /// What [`Polls::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not that.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut polls = Self::default();
        while reader.remaining() > 0 {
            polls.answered(reader.id()?, UnixSeconds(reader.u64()?));
        }
        Ok(polls)
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;

    use super::*;
    use crate::network::test_support::node;

    fn members() -> Vec<NodeId> {
        (0..10).map(node).collect()
    }

    fn rng(seed: u8) -> ChaCha20Rng {
        ChaCha20Rng::from_seed([seed; 32])
    }

    #[test]
    fn the_first_poll_and_the_first_after_half_a_day_ask_everybody() {
        let mut polls = Polls::default();
        let poll = polls.next(&members(), UnixSeconds(0), &mut rng(1));
        assert!(poll.wants_all && poll.members.len() == 10);
        for member in members() {
            polls.answered(member, UnixSeconds(100));
        }
        assert!(!polls.next(&members(), UnixSeconds(100 + LONG_AWAY), &mut rng(1)).wants_all);
        assert!(polls.next(&members(), UnixSeconds(101 + LONG_AWAY), &mut rng(1)).wants_all);
    }

    #[test]
    fn a_poll_asks_two_members_and_all_come_up() {
        let mut polls = Polls::default();
        for member in members() {
            polls.answered(member, UnixSeconds(100));
        }
        let mut seen = BTreeSet::new();
        for seed in 0..100 {
            let poll = polls.next(&members(), UnixSeconds(160), &mut rng(seed));
            assert_eq!((poll.members.len(), poll.spare.len(), poll.wants_all), (2, 8, false));
            seen.extend(poll.members);
        }
        assert_eq!(seen.len(), 10);
    }

    #[test]
    fn every_member_is_asked_once_in_half_an_hour_by_whoever_polls_each_minute() {
        let mut polls = Polls::default();
        let mut last: BTreeMap<NodeId, u64> = members().into_iter().map(|member| (member, 0)).collect();
        for member in members() {
            polls.answered(member, UnixSeconds(0));
        }
        let mut rng = rng(9);
        for minute in 1..600 {
            let now = UnixSeconds(60 * minute);
            for member in polls.next(&members(), now, &mut rng).members {
                polls.answered(member, now);
                last.insert(member, now.0);
            }
            assert!(last.values().all(|at| now.0 - at <= EVERYBODY), "{last:?} at {now:?}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_survives_the_store() {
        let mut polls = Polls::default();
        for n in 0..200_u8 {
            polls.answered(node(n), UnixSeconds(n.into()));
        }
        assert_eq!(polls.0.len(), REMEMBERED);
        assert!(polls.0.contains_key(&node(199)));
        assert_eq!(Polls::decode(&polls.encode()), Ok(polls.clone()));
        assert!(Polls::decode(&polls.encode()[1..]).is_err());
    }

    #[test]
    fn members_that_are_slow_are_asked_behind_others_unless_it_is_their_turn() {
        let nodes = |of: &[u8]| of.iter().map(|n| node(*n)).collect::<Vec<_>>();
        let poll = |members, due, spare| Poll { members: nodes(members), due, spare: nodes(spare), wants_all: false };
        let slow = |of: &[u8]| nodes(of).into_iter().collect::<BTreeSet<_>>();
        let drawn = || poll(&[1, 2], 0, &[3, 4, 5]);
        assert_eq!(drawn().slow_last(&slow(&[])), drawn());
        assert_eq!(drawn().slow_last(&slow(&[1, 3])), poll(&[2, 4], 0, &[5, 1, 3]));
        assert_eq!(drawn().slow_last(&slow(&[1, 2, 3, 4, 5])), drawn(), "nobody else is left");
        assert_eq!(poll(&[1, 2], 1, &[3]).slow_last(&slow(&[1, 2])), poll(&[1, 3], 1, &[2]), "it is the turn of one");
        let due = || poll(&[1, 2, 3], 3, &[4, 5]);
        assert_eq!(due().slow_last(&slow(&[1])), due());
    }
}
