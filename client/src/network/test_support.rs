//! Node lists made up for tests.

use std::sync::Arc;

use sotto_proto::chain::{NodeRecord, NodeState};
use sotto_proto::id::{NodeId, PublicKey, SwarmId, X25519Key};
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::network::NodeList;

/// A node key that sorts by `n`.
pub(crate) fn node(n: u8) -> NodeId {
    let mut key = [n; 32];
    key[31] = 1;
    NodeId::new(key)
}

/// What is particular about a node.
#[derive(Clone, Copy)]
pub(crate) struct Spec {
    pub(crate) n: u8,
    pub(crate) operator: u8,
    pub(crate) swarm: u64,
    pub(crate) region: &'static str,
    /// Second number of its address.
    pub(crate) network: u8,
    pub(crate) state: NodeState,
}

impl Spec {
    /// A node of an operator, swarm, network and nowhere of its own.
    pub(crate) const fn new(n: u8) -> Self {
        Self { n, operator: n, swarm: 1000 + n as u64, region: "", network: n, state: NodeState::Active }
    }
}

pub(crate) fn record(spec: Spec) -> NodeRecord {
    NodeRecord {
        node: node(spec.n),
        x25519: X25519Key::new([spec.n; 32]),
        previous_x25519: None,
        operator: PublicKey::new([spec.operator; 32]),
        state: spec.state,
        swarm: Some(SwarmId(spec.swarm)),
        region: spec.region.parse().unwrap(),
        addresses: vec![NodeAddr::new([10, spec.network, 0, spec.n].into(), 4000)],
    }
}

pub(crate) fn list(specs: impl IntoIterator<Item = Spec>) -> NodeList {
    specs.into_iter().map(|spec| (node(spec.n), Arc::new(record(spec)))).collect()
}
