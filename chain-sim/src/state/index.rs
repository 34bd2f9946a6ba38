//! What can be looked up in the state beside its tables. All of it follows from the tables; none of it is hashed.

use imbl::{OrdMap, OrdSet};
use sotto_proto::chain::{NodeState, Params, ServiceNode};
use sotto_proto::id::{Height, NodeId, PublicKey, X25519Key};
use sotto_proto::net_addr::NodeAddr;

/// Look-ups by something else than the key, and queues ordered by height.
#[derive(Clone, Default)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(crate) struct Indexes {
    /// Every present and previous X25519 key: unique on the chain.
    pub(crate) by_x25519: OrdMap<X25519Key, NodeId>,
    /// Every registered address: unique on the chain.
    pub(crate) by_address: OrdMap<NodeAddr, NodeId>,
    /// Active nodes by the last epoch they proved to be up in.
    pub(crate) proofs: OrdSet<(u64, NodeId)>,
    /// Active nodes by their last reward: the first has waited longest.
    pub(crate) rewards: OrdSet<(Height, NodeId)>,
    /// Active nodes that storage tests show to fail.
    pub(crate) failing: OrdSet<NodeId>,
    /// When a decommissioned node's credit ends or an exiting node is gone.
    pub(crate) node_ends: OrdSet<(Height, NodeId)>,
    /// When a locked stake is free.
    pub(crate) lock_ends: OrdSet<(Height, NodeId)>,
    /// When a key may register again.
    pub(crate) cooldown_ends: OrdSet<(Height, PublicKey)>,
}

impl Indexes {
    /// Takes a node in.
    pub(crate) fn insert(&mut self, node: &ServiceNode, params: &Params) {
        self.replace(None, Some(node), params);
    }

    /// Takes a node out; `node` is the value it was taken in with.
    pub(crate) fn remove(&mut self, node: &ServiceNode, params: &Params) {
        self.replace(Some(node), None, params);
    }

    /// Puts one value of a node in the place of another. Most changes of a node touch one index or none, and each that
    /// is left alone is a path of its tree that need not be copied.
    pub(crate) fn replace(&mut self, old: Option<&ServiceNode>, new: Option<&ServiceNode>, params: &Params) {
        let Some(id) = new.or(old).map(|node| node.record.node) else { return };
        let keys =
            |node: Option<&ServiceNode>| node.map(|node| [Some(node.record.x25519), node.record.previous_x25519]);
        let (old_keys, new_keys) = (keys(old).unwrap_or_default(), keys(new).unwrap_or_default());
        swap_keys(&mut self.by_x25519, id, old_keys.iter().flatten(), new_keys.iter().flatten());
        swap_keys(&mut self.by_address, id, addresses(old).iter(), addresses(new).iter());
        let active = |node: &&ServiceNode| node.record.state == NodeState::Active;
        let (old_active, new_active) = (old.filter(active), new.filter(active));
        let proof = |node: &ServiceNode| (node.proved_epoch, id);
        swap(&mut self.proofs, old_active.map(proof), new_active.map(proof));
        let reward = |node: &ServiceNode| (node.rewarded_at, id);
        swap(&mut self.rewards, old_active.map(reward), new_active.map(reward));
        let failing = |node: &ServiceNode| is_failing(node, params).then_some(id);
        swap(&mut self.failing, old_active.and_then(failing), new_active.and_then(failing));
        let end = |node: &ServiceNode| end_of(node, params).map(|end| (end, id));
        swap(&mut self.node_ends, old.and_then(end), new.and_then(end));
    }
}

fn addresses(node: Option<&ServiceNode>) -> &[NodeAddr] {
    node.map(|node| node.record.addresses.as_slice()).unwrap_or_default()
}

/// Makes a set hold `new` instead of `old`.
fn swap<K: Ord + Clone>(set: &mut OrdSet<K>, old: Option<K>, new: Option<K>) {
    if old == new {
        return;
    }
    if let Some(old) = old {
        set.remove(&old);
    }
    if let Some(new) = new {
        set.insert(new);
    }
}

/// Makes a map lead to `id` from the keys `new` instead of the keys `old`.
fn swap_keys<'a, K: Ord + Clone + 'a>(
    map: &mut OrdMap<K, NodeId>,
    id: NodeId,
    old: impl Iterator<Item = &'a K> + Clone,
    new: impl Iterator<Item = &'a K> + Clone,
) {
    for key in old.clone().filter(|key| !new.clone().any(|kept| kept == *key)) {
        map.remove(key);
    }
    for key in new.clone().filter(|key| !old.clone().any(|kept| kept == *key)) {
        map.insert(key.clone(), id);
    }
}

/// Whether storage tests ask for the node's decommission: enough distinct testers say so and more than say the
/// opposite, or it leaves tests unanswered, or as tester it leaves duties unreported.
fn is_failing(node: &ServiceNode, params: &Params) -> bool {
    let (passes, fails) = node.tests.passes_and_fails();
    (fails >= params.deciding_testers && fails > passes)
        || node.tests.unanswered.bad() >= params.no_answer_limit
        || node.tests.missed.bad() >= params.missed_duty_limit
}

/// The block at whose beginning the node's present state ends by itself.
fn end_of(node: &ServiceNode, params: &Params) -> Option<Height> {
    match node.record.state {
        NodeState::Active => None,
        NodeState::Decommissioned => Some(node.since.plus(node.credit.max(1))),
        NodeState::Exiting => Some(node.since.plus(params.lock_up_blocks)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use sotto_proto::chain::{NodeRecord, Preset, TestLedger};
    use sotto_proto::id::Amount;

    use super::*;

    fn key(byte: u8) -> X25519Key {
        X25519Key::new([byte; 32])
    }

    prop_compose! {
        /// One node, at different times of its life.
        fn value()(
            x25519 in 0_u8..4,
            previous in proptest::option::of(4_u8..8),
            ports in proptest::collection::btree_set(1_u16..5, 1..4),
            state in 0_usize..3,
            (proved_epoch, rewarded_at, since, credit) in (0_u64..3, 0_u64..3, 0_u64..3, 0_u64..3),
        ) -> ServiceNode {
            let record = NodeRecord {
                node: NodeId::new([9; 32]),
                x25519: key(x25519),
                previous_x25519: previous.map(key),
                operator: PublicKey::new([8; 32]),
                state: [NodeState::Active, NodeState::Decommissioned, NodeState::Exiting][state],
                swarm: None,
                region: Default::default(),
                addresses: ports.into_iter().map(|port| NodeAddr::new([127, 0, 0, 1].into(), port)).collect(),
            };
            ServiceNode {
                record: Arc::new(record),
                stake: Amount(1),
                registered_at: Height(1),
                since: Height(since),
                credit,
                proved_epoch,
                proved_at: Height(1),
                version: 0,
                rewarded_at: Height(rewarded_at),
                rewards: Amount(0),
                home: None,
                member_since: Height::ZERO,
                address_changed_at: Height::ZERO,
                key_rotated_at: Height::ZERO,
                tests: TestLedger::default(),
            }
        }
    }

    proptest! {
        #[test]
        fn replacing_a_value_leaves_what_taking_in_the_new_one_alone_makes(
            values in proptest::collection::vec(value(), 1..12),
        ) {
            let params = Params::preset(Preset::Testnet);
            let mut index = Indexes::default();
            let mut old: Option<&ServiceNode> = None;
            for new in &values {
                index.replace(old, Some(new), &params);
                let mut fresh = Indexes::default();
                fresh.insert(new, &params);
                prop_assert_eq!(&index, &fresh);
                old = Some(new);
            }
            index.replace(old, None, &params);
            prop_assert_eq!(&index, &Indexes::default());
        }
    }
}
