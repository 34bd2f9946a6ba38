//! Neighbours drawn from the node list by the own key.

use std::collections::BTreeSet;

use imbl::ordmap::DiffItem;
use sotto_proto::chain::{NodeRecord, NodeState};
use sotto_proto::domain::Domain;
use sotto_proto::hash::Hasher;
use sotto_proto::id::NodeId;
use sotto_proto::network::NodeList;

/// Only this process ever sees these hashes; the domain keeps them from being any others.
const DRAW: Domain = Domain::new("sotto/v1/neighbours");

/// The active nodes of the list in an order that is random but for the own key.
///
/// Each node has a rank, the hash of both keys, so a change of the list moves nobody else: neighbours change only when
/// they leave or when somebody of a better rank comes. That also means that nobody chooses whose neighbour he is, but
/// by making keys, which the stake makes dear.
#[derive(Clone, Debug)]
pub struct Draw {
    own: NodeId,
    nodes: NodeList,
    ranked: BTreeSet<(u64, NodeId)>,
}

impl Draw {
    /// A draw from an empty list.
    #[must_use]
    pub fn new(own: NodeId) -> Self {
        Self { own, nodes: NodeList::new(), ranked: BTreeSet::new() }
    }

    /// Follows the list. Only what changed is ranked.
    pub fn update(&mut self, nodes: &NodeList) {
        let (own, ranked) = (self.own, &mut self.ranked);
        let mut set = |node: &NodeId, record: Option<&NodeRecord>| {
            let entry = (rank(&own, node), *node);
            if record.is_some_and(|record| record.state == NodeState::Active) && *node != own {
                ranked.insert(entry);
            } else {
                ranked.remove(&entry);
            }
        };
        for change in self.nodes.diff(nodes) {
            match change {
                DiffItem::Add(node, record) | DiffItem::Update { new: (node, record), .. } => set(node, Some(record)),
                DiffItem::Remove(node, _) => set(node, None),
            }
        }
        self.nodes = nodes.clone();
    }

    /// All active nodes but the own, best rank first.
    pub fn iter(&self) -> impl Iterator<Item = &NodeId> {
        self.ranked.iter().map(|(_, node)| node)
    }
}

fn rank(own: &NodeId, node: &NodeId) -> u64 {
    let hash = Hasher::new(DRAW).chain(own).chain(node).finish();
    let (first, _) = hash.as_bytes().split_at(8);
    first.iter().fold(0, |rank, byte| rank << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::test_support::{node, record};

    fn list(keys: impl IntoIterator<Item = u8>) -> NodeList {
        keys.into_iter().map(|key| (node(key), Arc::new(record(node(key))))).collect()
    }

    #[test]
    fn a_draw_depends_on_the_list_and_the_own_key_only() {
        let (mut at_once, mut grown, mut other) = (Draw::new(node(0)), Draw::new(node(0)), Draw::new(node(1)));
        at_once.update(&list(0..40));
        other.update(&list(0..40));
        grown.update(&list(30..60));
        grown.update(&list(0..20));
        grown.update(&list(0..40));
        let order = |draw: &Draw| draw.iter().copied().collect::<Vec<_>>();
        assert_eq!(order(&at_once), order(&grown));
        assert_ne!(order(&at_once)[..6], order(&other)[..6]);
        assert!(!order(&at_once).contains(&node(0)));
    }

    #[test]
    fn a_node_that_leaves_moves_nobody_else() {
        let mut draw = Draw::new(node(0));
        draw.update(&list(1..40));
        let before: Vec<_> = draw.iter().copied().collect();
        draw.update(&list((1..40).filter(|key| node(*key) != before[3])));
        let after: Vec<_> = draw.iter().copied().collect();
        assert_eq!(after[..3], before[..3]);
        assert_eq!(after[3..], before[4..]);
    }

    #[test]
    fn only_active_nodes_are_drawn() {
        let mut draw = Draw::new(node(0));
        let mut nodes = list(1..3);
        draw.update(&nodes);
        nodes.insert(node(1), Arc::new(NodeRecord { state: NodeState::Decommissioned, ..record(node(1)) }));
        draw.update(&nodes);
        assert_eq!(draw.iter().copied().collect::<Vec<_>>(), [node(2)]);
    }
}
