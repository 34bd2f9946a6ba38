//! Which nodes are connected, and how far their chains are.
//!
//! A node is *synced* once its tip has reached what most of its first neighbours said theirs was. A single liar can
//! neither hold it back nor make it believe it is there: the median decides.

use std::collections::BTreeMap;
use std::time::Duration;

use sotto_proto::id::{Height, NodeId};
use sotto_proto::time::Monotonic;

use super::message::Tag;

/// Neighbours whose tips are asked for.
const ASKED: usize = 3;
/// Blocks the own tip may be behind theirs: they were asked some milliseconds ago.
const TOLERANCE: u64 = 1;
/// Without any node this long, the node says that it is alone.
const LONELY: Duration = Duration::from_secs(15);

/// What a neighbour has said of its tip.
#[derive(Debug, Default, PartialEq, Eq)]
enum Heard {
    /// Not asked.
    #[default]
    Nothing,
    /// Asked, no answer yet.
    Waiting(Tag),
    /// Its answer was none.
    Failure,
    /// Its tip.
    Tip(Height),
}

/// Connected nodes.
#[derive(Debug, Default)]
pub(super) struct Peers {
    connected: BTreeMap<NodeId, Heard>,
    /// Since when nobody is connected; from the start on.
    alone_since: Monotonic,
    caught_up: bool,
    strangers: u32,
}

impl Peers {
    pub(super) fn connected(&mut self, node: NodeId) {
        self.connected.insert(node, Heard::Nothing);
        self.strangers = 0;
    }

    pub(super) fn disconnected(&mut self, node: &NodeId, now: Monotonic) {
        self.connected.remove(node);
        if self.connected.is_empty() {
            self.alone_since = now;
        }
    }

    /// A peer of another genesis was met.
    pub(super) const fn stranger(&mut self) {
        self.strangers = self.strangers.saturating_add(1);
    }

    /// Whether only peers of other genesis files answer.
    pub(super) fn only_strangers(&self) -> bool {
        self.connected.is_empty() && self.strangers > 0
    }

    pub(super) fn is_lonely(&self, now: Monotonic) -> bool {
        self.connected.is_empty() && now.since(self.alone_since) >= LONELY
    }

    /// When [`Self::is_lonely`] may turn true.
    pub(super) fn lonely_at(&self) -> Option<Monotonic> {
        self.connected.is_empty().then(|| self.alone_since.plus(LONELY))
    }

    /// Whom to ask for their tips now.
    pub(super) fn to_ask(&self) -> Vec<NodeId> {
        let known = self.connected.values().filter(|heard| matches!(heard, Heard::Waiting(_) | Heard::Tip(_))).count();
        let unknown = self.connected.iter().filter(|(_, heard)| **heard == Heard::Nothing);
        unknown.map(|(node, _)| *node).take(ASKED.saturating_sub(known)).collect()
    }

    pub(super) fn asked(&mut self, node: NodeId, tag: Tag) {
        if let Some(heard) = self.connected.get_mut(&node) {
            *heard = Heard::Waiting(tag);
        }
    }

    /// An answer to one of these questions; without a tip the next neighbour is asked.
    pub(super) fn answered(&mut self, tag: Tag, tip: Option<Height>) -> bool {
        let Some(heard) = self.connected.values_mut().find(|heard| **heard == Heard::Waiting(tag)) else {
            return false;
        };
        *heard = tip.map_or(Heard::Failure, Heard::Tip);
        true
    }

    /// What was heard is old: ask again.
    pub(super) fn forget_tips(&mut self) {
        for heard in self.connected.values_mut().filter(|heard| matches!(heard, Heard::Tip(_) | Heard::Failure)) {
            *heard = Heard::Nothing;
        }
    }

    /// The tip that most of the asked have, if any answered.
    fn median_tip(&self) -> Option<Height> {
        let tip = |heard: &Heard| if let Heard::Tip(tip) = heard { Some(*tip) } else { None };
        let mut tips: Vec<_> = self.connected.values().filter_map(tip).collect();
        tips.sort_unstable();
        tips.get(tips.len().checked_sub(1)? / 2).copied()
    }

    /// How far the others are, if this node is behind them.
    pub(super) fn ahead_of(&self, tip: Height) -> Option<Height> {
        self.median_tip().filter(|median| *median > tip.plus(TOLERANCE))
    }

    /// Compares the own tip with what the neighbours said; no news is good news.
    pub(super) fn compare(&mut self, tip: Height) {
        if self.median_tip().is_some() {
            self.caught_up = self.ahead_of(tip).is_none();
        }
    }

    /// Whether the node has what its neighbours have.
    pub(super) const fn is_synced(&self) -> bool {
        self.caught_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(byte: u8) -> NodeId {
        NodeId::new([byte; 32])
    }

    fn at(seconds: u64) -> Monotonic {
        Monotonic(Duration::from_secs(seconds))
    }

    fn is_synced(peers: &mut Peers, tip: u64) -> bool {
        peers.compare(Height(tip));
        peers.is_synced()
    }

    #[test]
    fn a_node_is_synced_when_it_reaches_the_median() {
        let mut peers = Peers::default();
        assert!(!is_synced(&mut peers, 5), "nobody has said anything");
        (1..=5).for_each(|byte| peers.connected(node(byte)));
        assert_eq!(peers.to_ask(), [node(1), node(2), node(3)]);
        for (tag, byte) in (1..).zip(1..=3) {
            peers.asked(node(byte), Tag(tag));
        }
        assert!(peers.to_ask().is_empty());
        for (tag, tip) in [(1, u64::MAX), (2, 100), (3, 101)] {
            assert!(peers.answered(Tag(tag), Some(Height(tip))));
        }
        assert!(!is_synced(&mut peers, 50));
        assert_eq!(peers.ahead_of(Height(50)), Some(Height(101)), "a liar does not count");
        assert!(is_synced(&mut peers, 100));
    }

    #[test]
    fn falling_behind_again_is_noticed_when_the_tips_are_asked_anew() {
        let mut peers = Peers::default();
        peers.connected(node(1));
        peers.asked(node(1), Tag(1));
        peers.answered(Tag(1), Some(Height(10)));
        assert!(is_synced(&mut peers, 10));
        peers.forget_tips();
        assert!(is_synced(&mut peers, 10), "no news is good news");
        assert_eq!(peers.to_ask(), [node(1)]);
        peers.asked(node(1), Tag(2));
        peers.answered(Tag(2), Some(Height(20)));
        assert!(!is_synced(&mut peers, 10));
    }

    #[test]
    fn after_a_question_that_failed_the_next_neighbour_is_asked() {
        let mut peers = Peers::default();
        (1..=4).for_each(|byte| peers.connected(node(byte)));
        (1..=3).for_each(|byte| peers.asked(node(byte), Tag(byte.into())));
        assert!(peers.to_ask().is_empty());
        assert!(peers.answered(Tag(1), None));
        assert!(!peers.answered(Tag(1), Some(Height(1))), "once only");
        assert_eq!(peers.to_ask(), [node(4)]);
    }

    #[test]
    fn loneliness_begins_after_a_while_and_ends_with_a_connection() {
        let mut peers = Peers::default();
        assert!(!peers.is_lonely(at(14)) && peers.is_lonely(at(15)));
        peers.stranger();
        assert!(peers.only_strangers());
        peers.connected(node(1));
        assert!(!peers.is_lonely(at(99)) && !peers.only_strangers());
        peers.disconnected(&node(1), at(100));
        assert!(!peers.is_lonely(at(114)) && peers.is_lonely(at(115)));
    }
}
