//! Networks made up for tests; shared with the integration tests, which include this file.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;

use sotto_proto::chain::{Buckets, NodeRecord, NodeState, Region};
use sotto_proto::id::{BlockHash, ChainId, Hash, Height, NodeId, PublicKey, SwarmId, X25519Key};
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::network::{NetworkView, NodeList, Snapshot};
use sotto_proto::swarm::SwarmMap;
use sotto_proto::time::UnixMillis;

pub(crate) const CHAIN: ChainId = ChainId::new([0x50; 32]);

/// A node key that sorts by `first`.
pub(crate) fn node(first: u8) -> NodeId {
    let mut key = [first; 32];
    key[31] = 1;
    NodeId::new(key)
}

pub(crate) fn address(node: &NodeId) -> NodeAddr {
    NodeAddr::new([127, 100, 0, node.as_bytes()[0]].into(), 4000)
}

pub(crate) fn record(node: NodeId) -> NodeRecord {
    NodeRecord {
        node,
        x25519: X25519Key::new([1; 32]),
        previous_x25519: None,
        operator: PublicKey::new([2; 32]),
        state: NodeState::Active,
        swarm: None,
        region: Region::default(),
        addresses: vec![address(&node)],
    }
}

/// The network at a height: nodes with their addresses, and swarms.
pub(crate) fn snapshot(
    height: u64,
    nodes: impl IntoIterator<Item = (NodeId, NodeAddr)>,
    swarms: &BTreeMap<SwarmId, Vec<NodeId>>,
) -> Arc<Snapshot> {
    let swarm_of = |node: &NodeId| swarms.iter().find(|(_, members)| members.contains(node)).map(|(id, _)| *id);
    let nodes: NodeList = nodes
        .into_iter()
        .map(|(node, at)| (node, Arc::new(NodeRecord { swarm: swarm_of(&node), addresses: vec![at], ..record(node) })))
        .collect();
    let buckets = Buckets::new(&CHAIN, &nodes);
    let sorted = swarms.iter().map(|(id, members)| {
        let mut members = members.clone();
        members.sort();
        (*id, members)
    });
    Arc::new(Snapshot {
        height: Height(height),
        block_hash: BlockHash::new([height as u8; 32]),
        time: UnixMillis(height * 1000),
        state_root: Hash::new([0; 32]),
        list_root: buckets.root(&CHAIN),
        buckets,
        nodes,
        swarms: SwarmMap::from_parts(sorted, Vec::new()).unwrap(),
    })
}

/// A view of one snapshot: the genesis with no block after it, or a final state with three.
pub(crate) fn view(current: Arc<Snapshot>) -> Arc<NetworkView> {
    let tip = if current.height == Height::ZERO { Height::ZERO } else { current.height.plus(3) };
    Arc::new(NetworkView::new(CHAIN, tip, false, current, Vec::new()))
}

/// A view of nodes in one swarm.
pub(crate) fn view_of_swarm(height: u64, members: &[NodeId], others: &[NodeId]) -> Arc<NetworkView> {
    let nodes = members.iter().chain(others).map(|node| (*node, address(node)));
    let swarms = BTreeMap::from([(SwarmId(7), members.to_vec())]);
    view(snapshot(height, nodes, &swarms))
}
