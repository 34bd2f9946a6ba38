//! What can be looked up in the state beside its tables. All of it follows from the tables; none of it is hashed.

use imbl::{OrdMap, OrdSet};
use sotto_proto::chain::{NodeState, Params, ServiceNode};
use sotto_proto::id::{Height, NodeId, PublicKey, X25519Key};
use sotto_proto::net_addr::NodeAddr;

/// Look-ups by something else than the key, and queues ordered by height.
#[derive(Clone, Default)]
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
        let record = &node.record;
        let id = record.node;
        for key in std::iter::once(record.x25519).chain(record.previous_x25519) {
            self.by_x25519.insert(key, id);
        }
        for address in &record.addresses {
            self.by_address.insert(*address, id);
        }
        if record.state == NodeState::Active {
            self.proofs.insert((node.proved_epoch, id));
            self.rewards.insert((node.rewarded_at, id));
            if is_failing(node, params) {
                self.failing.insert(id);
            }
        }
        if let Some(end) = end_of(node, params) {
            self.node_ends.insert((end, id));
        }
    }

    /// Takes a node out; `node` is the value it was taken in with.
    pub(crate) fn remove(&mut self, node: &ServiceNode, params: &Params) {
        let record = &node.record;
        let id = record.node;
        for key in std::iter::once(record.x25519).chain(record.previous_x25519) {
            self.by_x25519.remove(&key);
        }
        for address in &record.addresses {
            self.by_address.remove(address);
        }
        self.proofs.remove(&(node.proved_epoch, id));
        self.rewards.remove(&(node.rewarded_at, id));
        self.failing.remove(&id);
        if let Some(end) = end_of(node, params) {
            self.node_ends.remove(&(end, id));
        }
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
