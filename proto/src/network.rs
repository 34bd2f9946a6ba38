//! What everything above the chain knows of the network: the final state and the few before it.
//!
//! Blocks may be undone up to [`FINAL_DEPTH`](crate::limits::FINAL_DEPTH) deep, so nothing outside chain sync looks
//! at the tip: owners, members, lists and tests all follow the state of F = tip − 3. Neighbours may be some blocks
//! apart, so a peer's membership counts under any of the last [`RECENT_MAPS`](crate::limits::RECENT_MAPS) final
//! states.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::chain::{Buckets, Genesis, NodeRecord};
use crate::id::{BlockHash, ChainId, Hash, Height, NodeId, SwarmId};
use crate::swarm::SwarmMap;
use crate::time::UnixMillis;

/// Every registered node's record, by node key.
pub type NodeList = imbl::OrdMap<NodeId, Arc<NodeRecord>>;

/// The network as of one final block. Cheap to clone: lists share their structure.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The block's height.
    pub height: Height,
    /// The block's hash.
    pub block_hash: BlockHash,
    /// The block's time.
    pub time: UnixMillis,
    /// Root of the state tree after the block.
    pub state_root: Hash,
    /// Root of the node list after the block.
    pub list_root: Hash,
    /// The hashes of the node list's buckets, which combine to that root.
    pub buckets: Buckets,
    /// The node list.
    pub nodes: NodeList,
    /// The swarm map.
    pub swarms: SwarmMap,
}

impl Snapshot {
    /// The swarm a node is in, if it is registered and in one.
    #[must_use]
    pub fn swarm_of(&self, node: &NodeId) -> Option<SwarmId> {
        self.nodes.get(node)?.swarm
    }
}

/// The final state and those shortly before it.
#[derive(Clone, Debug)]
pub struct NetworkView {
    /// The chain's id.
    pub chain: ChainId,
    /// The newest block known; not final yet.
    pub tip: Height,
    /// A reorganisation deeper than finality was seen: the view no longer changes until an operator decides.
    pub halted: bool,
    current: Arc<Snapshot>,
    earlier: Vec<Arc<Snapshot>>,
}

impl NetworkView {
    /// A view whose newest final state is `current`; `earlier` holds the ones before it, newest first.
    #[must_use]
    pub const fn new(
        chain: ChainId,
        tip: Height,
        halted: bool,
        current: Arc<Snapshot>,
        earlier: Vec<Arc<Snapshot>>,
    ) -> Self {
        Self { chain, tip, halted, current, earlier }
    }

    /// What a program knows of a chain of which it has the genesis only: no node, no swarm.
    #[must_use]
    pub fn unknown(genesis: &Genesis) -> Self {
        let (chain, nodes) = (genesis.chain_id(), NodeList::new());
        let buckets = Buckets::new(&chain, &nodes);
        let current = Snapshot {
            height: Height::ZERO,
            block_hash: chain.into(),
            time: genesis.time,
            state_root: Hash::new([0; 32]),
            list_root: buckets.root(&chain),
            buckets,
            nodes,
            swarms: SwarmMap::default(),
        };
        Self::new(chain, Height::ZERO, false, Arc::new(current), Vec::new())
    }

    /// The state of F.
    #[must_use]
    pub fn current(&self) -> &Snapshot {
        &self.current
    }

    /// The state of F and the recent ones before it, newest first.
    pub fn recent(&self) -> impl Iterator<Item = &Snapshot> {
        std::iter::once(&*self.current).chain(self.earlier.iter().map(|snapshot| &**snapshot))
    }

    /// Whether `node` is on the list under any recent final state.
    #[must_use]
    pub fn is_registered(&self, node: &NodeId) -> bool {
        self.recent().any(|snapshot| snapshot.nodes.contains_key(node))
    }

    /// The members of `node`'s swarm, itself included, under any recent final state.
    #[must_use]
    pub fn swarm_mates(&self, node: &NodeId) -> BTreeSet<NodeId> {
        let swarms = self.recent().filter_map(|snapshot| snapshot.swarms.members(snapshot.swarm_of(node)?));
        swarms.flatten().copied().collect()
    }

    /// Whether `node` is a member of `swarm` under any recent final state.
    #[must_use]
    pub fn is_recent_member(&self, node: &NodeId, swarm: SwarmId) -> bool {
        self.recent().any(|snapshot| snapshot.swarm_of(node) == Some(swarm))
    }
}
