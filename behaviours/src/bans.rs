//! Who is kept out for a while, because it gossiped what is provably invalid. Pure: the time comes in with each call.
//!
//! What cannot be judged is no offence, however often it comes. Whoever passes on only what it has checked itself never
//! commits one, so a few are forgiven only because software has defects.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sotto_proto::id::NodeId;
use sotto_proto::time::Monotonic;

/// Offences that are one too many ...
pub const OFFENCES: usize = 8;
/// ... within this time.
pub const SPAN: Duration = Duration::from_secs(60);
/// How long a ban lasts.
pub const BAN: Duration = Duration::from_secs(300);
/// Nodes of which something is remembered: more than are connected at once.
const NODES: usize = 1024;

/// The books.
#[derive(Debug, Default)]
pub struct Bans {
    /// The latest offences of each, the oldest first.
    offences: BTreeMap<NodeId, VecDeque<Monotonic>>,
    /// Until when.
    banned: BTreeMap<NodeId, Monotonic>,
}

impl Bans {
    /// Books an offence, and says whether `node` is banned from now on.
    pub fn offended(&mut self, node: NodeId, now: Monotonic) -> bool {
        if self.banned.contains_key(&node) {
            return false;
        }
        self.forget(now);
        if self.offences.len() >= NODES && !self.offences.contains_key(&node) {
            return false;
        }
        let times = self.offences.entry(node).or_default();
        times.push_back(now);
        if times.len() < OFFENCES {
            return false;
        }
        self.offences.remove(&node);
        if self.banned.len() >= NODES
            && let Some(first) = self.banned.iter().min_by_key(|(_, until)| **until).map(|(node, _)| *node)
        {
            self.banned.remove(&first);
        }
        self.banned.insert(node, now.plus(BAN));
        true
    }

    /// Ends bans that are over, and says whether there were any.
    pub fn end(&mut self, now: Monotonic) -> bool {
        let before = self.banned.len();
        self.banned.retain(|_, until| *until > now);
        self.banned.len() != before
    }

    /// Whoever is banned, ascending, and until when.
    pub fn banned(&self) -> impl Iterator<Item = (NodeId, Monotonic)> {
        self.banned.iter().map(|(node, until)| (*node, *until))
    }

    fn forget(&mut self, now: Monotonic) {
        self.offences.retain(|_, times| {
            while times.front().is_some_and(|at| now.since(*at) >= SPAN) {
                times.pop_front();
            }
            !times.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::node;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(Duration::from_secs(seconds))
    }

    fn numbered(number: u32) -> NodeId {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        NodeId::new(key)
    }

    #[test]
    fn eight_offences_within_a_minute_ban_for_five_and_seven_do_not() {
        let mut bans = Bans::default();
        for second in 0..7 {
            assert!(!bans.offended(node(1), at(second)));
        }
        assert!(bans.banned().next().is_none());
        assert!(bans.offended(node(1), at(59)));
        assert!(bans.banned().eq([(node(1), at(59 + 300))]));
        assert!(!bans.offended(node(1), at(60)), "it is banned already");
        assert!(!bans.end(at(59 + 299)));
        assert!(bans.end(at(59 + 300)));
        assert!(bans.banned().next().is_none());
        assert!(!bans.offended(node(1), at(400)), "it begins anew");
    }

    #[test]
    fn offences_that_are_far_apart_are_forgiven() {
        let mut bans = Bans::default();
        for index in 0..100 {
            assert!(!bans.offended(node(1), at(10 * index)), "six in a minute");
        }
    }

    #[test]
    fn nodes_are_judged_one_by_one() {
        let mut bans = Bans::default();
        for _ in 0..OFFENCES - 1 {
            assert!(!bans.offended(node(1), at(0)) && !bans.offended(node(2), at(0)));
        }
        assert!(bans.offended(node(2), at(1)));
        assert!(bans.banned().eq([(node(2), at(301))]));
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let mut bans = Bans::default();
        for number in 0..3 * NODES as u32 {
            bans.offended(numbered(number), at(0));
        }
        assert_eq!(bans.offences.len(), NODES);
        for number in 0..3 * NODES as u32 {
            for _ in 0..OFFENCES {
                bans.offended(numbered(number), at(100));
            }
        }
        assert_eq!(bans.banned.len(), NODES);
    }
}
