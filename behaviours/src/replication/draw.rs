//! Drawing by lot, from the one source of randomness that whoever owns the rules hands in.

use std::collections::BTreeSet;

use rand_core::Rng;
use sotto_proto::id::NodeId;

/// One of the nodes. Which of a handful comes a billionth more often does not matter here.
pub(super) fn draw(nodes: &BTreeSet<NodeId>, rng: &mut impl Rng) -> Option<NodeId> {
    let count = u64::try_from(nodes.len()).ok()?;
    let index = rng.next_u64().checked_rem(count)?;
    nodes.iter().nth(usize::try_from(index).ok()?).copied()
}

/// All of them in a drawn order.
pub(super) fn shuffled(mut nodes: BTreeSet<NodeId>, rng: &mut impl Rng) -> Vec<NodeId> {
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(node) = draw(&nodes, rng) {
        nodes.remove(&node);
        order.push(node);
    }
    order
}
