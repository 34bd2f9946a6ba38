//! Do the nodes agree? Compared are block hash, state root, list root and swarm map at one final height that all have.
//!
//! Nodes are asked one after the other, so their newest heights differ by a block or two; each tells its last 32 final
//! states, and the newest height that is in all lists is the one compared. What each says of its own swarm is of its
//! newest height, so while a new swarm map is coming to the nodes they make no picture, and do not count as agreed.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::status::{Final, NodeStatus};

/// Blocks a node may be behind the first and still count as up to date; asking fifty takes a moment.
const ALLOWED_LAG: u64 = 3;

/// The outcome of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// All are the same.
    Agreed(Agreed),
    /// Nothing to compare yet; the reason.
    NotYet(String),
    /// Nodes derived different values from the same chain: what must never happen.
    Split {
        /// The height.
        height: u64,
        /// What was derived, and by whom (positions in the list of nodes).
        parties: Vec<(Final, Vec<usize>)>,
    },
}

/// What all nodes derived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Agreed {
    /// The final height compared.
    pub height: u64,
    /// Hash of its block.
    pub block_hash: String,
    /// Root of the whole state.
    pub state_root: String,
    /// Root of the node list.
    pub list_root: String,
    /// Digest of the swarm map.
    pub swarm_map: String,
}

/// Compares the answers of all nodes (`None`: no answer) at the newest final height, at least `from`, that all know.
#[must_use]
pub fn compare(answers: &[Option<NodeStatus>], from: u64) -> Agreement {
    let silent = answers.iter().filter(|answer| answer.is_none()).count();
    if silent > 0 || answers.is_empty() {
        return Agreement::NotYet(format!("{silent} of {} nodes do not answer", answers.len()));
    }
    let nodes: Vec<&NodeStatus> = answers.iter().flatten().collect();
    if let Some(index) = nodes.iter().position(|node| node.halted) {
        return Agreement::NotYet(format!("node{index:02} halted at a reorganisation deeper than finality"));
    }
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for node in &nodes {
        for state in &node.finals {
            *counts.entry(state.height).or_default() += 1;
        }
    }
    let common = counts.iter().rev().find(|(height, count)| **height >= from && **count == nodes.len());
    let Some((&height, _)) = common else {
        let newest = |node: &&NodeStatus| node.finals.first().map_or(0, |state| state.height);
        let lowest = nodes.iter().map(newest).min().unwrap_or(0);
        let highest = nodes.iter().map(newest).max().unwrap_or(0);
        return Agreement::NotYet(format!("final heights {lowest} to {highest}, none from {from} on is known to all"));
    };
    let mut parties: BTreeMap<&Final, Vec<usize>> = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate() {
        for state in node.finals.iter().filter(|state| state.height == height) {
            parties.entry(state).or_default().push(index);
        }
    }
    let maps = nodes.iter().filter_map(|node| node.finals.first()).map(|state| &state.swarm_map);
    match parties.first_key_value() {
        Some((state, _)) if parties.len() == 1 && maps.clone().any(|map| *map != state.swarm_map) => {
            Agreement::NotYet(format!("a new swarm map is coming to the nodes after height {}", state.height))
        }
        Some((state, _)) if parties.len() == 1 => Agreement::Agreed(Agreed::from((*state).clone())),
        _ => Agreement::Split {
            height,
            parties: parties.into_iter().map(|(state, members)| (state.clone(), members)).collect(),
        },
    }
}

/// Compares the answers near the newest final height that any node knows: a node far behind agrees with nobody.
#[must_use]
pub fn newest(answers: &[Option<NodeStatus>]) -> Agreement {
    compare(answers, newest_final(answers).saturating_sub(ALLOWED_LAG))
}

/// The newest final height that any node knows.
#[must_use]
pub fn newest_final(answers: &[Option<NodeStatus>]) -> u64 {
    answers.iter().flatten().filter_map(|status| status.finals.first()).map(|state| state.height).max().unwrap_or(0)
}

impl From<Final> for Agreed {
    fn from(state: Final) -> Self {
        let Final { height, block_hash, state_root, list_root, swarm_map } = state;
        Self { height, block_hash, state_root, list_root, swarm_map }
    }
}

/// The first digits of a hash, enough for people.
#[must_use]
pub fn short(hash: &str) -> &str {
    hash.get(..8).unwrap_or(hash)
}

/// Swarms with their members (positions in the list of nodes), in order of id.
#[must_use]
pub fn swarms(answers: &[Option<NodeStatus>]) -> BTreeMap<String, Vec<u16>> {
    let mut swarms: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    for (index, answer) in (0_u16..).zip(answers) {
        if let Some(swarm) = answer.as_ref().and_then(|status| status.swarm.clone()) {
            swarms.entry(swarm).or_default().push(index);
        }
    }
    swarms
}

/// How many swarms `nodes` nodes make that joined one after the other or together, and none left.
///
/// Below five there is none, and 11 to 13 nodes are still one (three more than a full swarm do not make a second of
/// seven, so they wait); from then on a swarm is born whenever all are full.
#[must_use]
pub fn expected_swarms(nodes: u16) -> usize {
    match nodes {
        0..=4 => 0,
        5..=13 => 1,
        more => usize::from(more.div_ceil(10)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state(height: u64, root: &str) -> Final {
        Final {
            height,
            block_hash: format!("b{height}"),
            state_root: root.to_owned(),
            list_root: "l".to_owned(),
            swarm_map: "m".to_owned(),
        }
    }

    fn node(heights: std::ops::RangeInclusive<u64>) -> Option<NodeStatus> {
        let finals = heights.rev().map(|height| state(height, "s")).collect();
        Some(NodeStatus { finals, ..NodeStatus::default() })
    }

    #[test]
    fn nodes_some_blocks_apart_agree_at_the_newest_height_all_have() {
        let answers = [node(1..=9), node(2..=7), node(3..=8)];
        assert!(matches!(compare(&answers, 0), Agreement::Agreed(Agreed { height: 7, .. })));
    }

    #[test]
    fn agreement_older_than_asked_for_does_not_count() {
        let answers = [node(1..=9), node(1..=7)];
        assert!(matches!(compare(&answers, 8), Agreement::NotYet(_)));
    }

    #[test]
    fn a_node_far_behind_agrees_with_nobody() {
        assert!(matches!(newest(&[node(1..=20), node(1..=17)]), Agreement::Agreed(Agreed { height: 17, .. })));
        assert!(matches!(newest(&[node(1..=20), node(1..=16)]), Agreement::NotYet(_)));
    }

    #[test]
    fn one_silent_node_means_no_agreement() {
        assert!(matches!(compare(&[node(1..=9), None], 0), Agreement::NotYet(_)));
        assert!(matches!(compare(&[], 0), Agreement::NotYet(_)));
    }

    #[test]
    fn different_roots_at_one_height_are_a_split_that_names_the_parties() {
        let mut odd = node(1..=7).unwrap();
        odd.finals[0].state_root = "other".to_owned();
        match compare(&[node(1..=7), Some(odd), node(1..=7)], 0) {
            Agreement::Split { height: 7, parties } => {
                let members: Vec<Vec<usize>> = parties.into_iter().map(|(_, members)| members).collect();
                assert_eq!(members, [vec![1], vec![0, 2]]);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn while_a_new_map_is_coming_to_the_nodes_they_do_not_agree_yet() {
        let ahead = |map: &str| {
            let mut node = node(1..=8).unwrap();
            node.finals[0].swarm_map = map.to_owned();
            Some(node)
        };
        assert!(matches!(compare(&[node(1..=7), ahead("new")], 0), Agreement::NotYet(_)));
        assert!(matches!(compare(&[node(1..=7), ahead("m")], 0), Agreement::Agreed(Agreed { height: 7, .. })));
        assert!(matches!(compare(&[ahead("new"), ahead("new")], 0), Agreement::Agreed(Agreed { height: 8, .. })));
    }

    #[test]
    fn a_halted_node_is_never_in_agreement() {
        let halted = node(1..=7).map(|status| NodeStatus { halted: true, ..status });
        assert!(matches!(compare(&[node(1..=7), halted], 0), Agreement::NotYet(_)));
    }

    #[test]
    fn fifty_nodes_make_five_swarms_and_the_fifty_first_a_sixth() {
        let expected: Vec<usize> = [4, 5, 10, 11, 13, 14, 20, 21, 50, 51].map(expected_swarms).to_vec();
        assert_eq!(expected, [0, 1, 1, 1, 1, 2, 2, 3, 5, 6]);
    }

    proptest! {
        #[test]
        fn comparing_any_answers_never_panics(heights in prop::collection::vec((0_u64..40, 0_u64..32), 0..20), from in 0_u64..50) {
            let answers: Vec<_> = heights.iter().map(|&(low, span)| node(low..=low + span)).collect();
            let lowest = heights.iter().map(|(low, span)| low + span).min();
            let overlap = heights.iter().all(|(low, _)| Some(*low) <= lowest) && lowest.is_some_and(|height| height >= from);
            prop_assert_eq!(matches!(compare(&answers, from), Agreement::Agreed(_)), overlap);
        }
    }
}
