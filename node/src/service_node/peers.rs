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

/// Connected peers.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// As many as connections are allowed.
    connected: BTreeMap<NodeId, Heard>,
    /// Since when no node is connected; from the start on.
    alone_since: Option<Monotonic>,
    caught_up: bool,
    strangers: u32,
}

impl Peers {
    pub(super) fn new(now: Monotonic) -> Self {
        Self { alone_since: Some(now), ..Self::default() }
    }

    pub(super) fn connected(&mut self, node: NodeId) {
        self.connected.insert(node, Heard::Nothing);
    }

    pub(super) fn disconnected(&mut self, node: &NodeId) {
        self.connected.remove(node);
    }

    /// Those that are nodes.
    pub(super) fn nodes(&self, is_node: impl Fn(&NodeId) -> bool) -> impl Iterator<Item = NodeId> {
        self.connected.keys().filter(move |peer| is_node(peer)).copied()
    }

    /// How many of them are nodes.
    pub(super) fn count(&mut self, nodes: usize, now: Monotonic) {
        if nodes > 0 {
            (self.alone_since, self.strangers) = (None, 0);
        } else {
            self.alone_since.get_or_insert(now);
        }
    }

    /// A peer of another genesis was met.
    pub(super) const fn stranger(&mut self) {
        self.strangers = self.strangers.saturating_add(1);
    }

    /// Whether only peers of other genesis files answer.
    pub(super) const fn only_strangers(&self) -> bool {
        self.alone_since.is_some() && self.strangers > 0
    }

    pub(super) fn is_lonely(&self, now: Monotonic) -> bool {
        self.lonely_at().is_some_and(|at| now >= at)
    }

    /// When [`Self::is_lonely`] turns true.
    pub(super) fn lonely_at(&self) -> Option<Monotonic> {
        self.alone_since.map(|since| since.plus(LONELY))
    }

    /// Whom to ask for their tips now; only nodes are.
    pub(super) fn to_ask(&self, is_node: impl Fn(&NodeId) -> bool) -> Vec<NodeId> {
        let known = self.connected.values().filter(|heard| matches!(heard, Heard::Waiting(_) | Heard::Tip(_))).count();
        let unknown = self.connected.iter().filter(|(node, heard)| **heard == Heard::Nothing && is_node(node));
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
        assert_eq!(peers.to_ask(|_| true), [node(1), node(2), node(3)]);
        for (tag, byte) in (1..).zip(1..=3) {
            peers.asked(node(byte), Tag(tag));
        }
        assert!(peers.to_ask(|_| true).is_empty());
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
        assert_eq!(peers.to_ask(|_| true), [node(1)]);
        peers.asked(node(1), Tag(2));
        peers.answered(Tag(2), Some(Height(20)));
        assert!(!is_synced(&mut peers, 10));
    }

    #[test]
    fn after_a_question_that_failed_the_next_neighbour_is_asked() {
        let mut peers = Peers::default();
        (1..=4).for_each(|byte| peers.connected(node(byte)));
        (1..=3).for_each(|byte| peers.asked(node(byte), Tag(byte.into())));
        assert!(peers.to_ask(|_| true).is_empty());
        assert!(peers.answered(Tag(1), None));
        assert!(!peers.answered(Tag(1), Some(Height(1))), "once only");
        assert_eq!(peers.to_ask(|_| true), [node(4)]);
    }

    #[test]
    fn loneliness_begins_after_a_while_and_ends_with_a_node() {
        let mut peers = Peers::new(at(0));
        peers.count(0, at(10));
        assert!(!peers.is_lonely(at(14)) && peers.is_lonely(at(15)));
        peers.stranger();
        assert!(peers.only_strangers());
        peers.count(1, at(20));
        assert!(!peers.is_lonely(at(99)) && !peers.only_strangers());
        peers.count(0, at(100));
        assert!(!peers.is_lonely(at(114)) && peers.is_lonely(at(115)));
    }

    #[test]
    fn peers_that_are_no_nodes_are_not_asked() {
        let mut peers = Peers::default();
        (1..=4).for_each(|byte| peers.connected(node(byte)));
        assert_eq!(peers.to_ask(|peer| *peer == node(3)), [node(3)]);
        peers.disconnected(&node(3));
        assert_eq!(peers.to_ask(|peer| *peer == node(3)), []);
    }
}
