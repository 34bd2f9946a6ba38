//! The state tree: a Jellyfish Merkle tree whose nodes are held in a persistent map, so that every state has a whole
//! tree of its own and shares all but the changed paths with its neighbours.
//!
//! The tree's *version* counts its updates; it is not the height and not part of any hash. Nodes that an update made
//! stale are dropped at once: an older state still has them in its own map.

use std::sync::Arc;

use imbl::OrdMap;
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader};
use jmt::{JellyfishMerkleTree, KeyHash, OwnedValue, Version};
use sotto_proto::id::Hash;
use sotto_proto::proof::{Blake2b, Table, state_key};

/// The tree library refused an operation; with the inputs it gets here that is a defect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("state tree: {0}")]
pub struct TreeError(String);

#[derive(Clone)]
pub(crate) struct StateTree {
    /// Behind `Arc`s, because changing a shared map copies the entries beside the changed one.
    nodes: OrdMap<Arc<NodeKey>, Arc<Node>>,
    /// The version the next update writes.
    next: Version,
    root: Hash,
}

impl Default for StateTree {
    fn default() -> Self {
        Self { nodes: OrdMap::new(), next: 0, root: Hash::new([0; 32]) }
    }
}

impl StateTree {
    /// Sets (or, for `None`, removes) entries. Nothing happens to the tree if it fails.
    pub(crate) fn update(
        &mut self,
        entries: impl IntoIterator<Item = (Table, Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<(), TreeError> {
        let entries: Vec<(KeyHash, Option<OwnedValue>)> =
            entries.into_iter().map(|(table, key, value)| (state_key(table, &key), value)).collect();
        if entries.is_empty() {
            return Ok(());
        }
        let tree = JellyfishMerkleTree::<_, Blake2b>::new(&*self);
        let (root, batch) = tree.put_value_set(entries, self.next).map_err(TreeError::new)?;
        for (key, node) in batch.node_batch.nodes() {
            self.nodes.insert(Arc::new(key.clone()), Arc::new(node.clone()));
        }
        for stale in &batch.stale_node_index_batch {
            self.nodes.remove(&stale.node_key);
        }
        self.next = self.next.saturating_add(1);
        self.root = Hash::new(root.0);
        Ok(())
    }

    pub(crate) const fn root(&self) -> Hash {
        self.root
    }

    /// A proof that `key` has its value, or has none. `value` is what the tables hold: the tree keeps hashes only.
    pub(crate) fn prove(
        &self,
        table: Table,
        key: &[u8],
        value: Option<Vec<u8>>,
    ) -> Result<jmt::proof::SparseMerkleProof<Blake2b>, TreeError> {
        let reader = WithValue { tree: self, value };
        let tree = JellyfishMerkleTree::<_, Blake2b>::new(&reader);
        let version = self.next.checked_sub(1).ok_or_else(|| TreeError("nothing is in the tree".to_owned()))?;
        tree.get_with_proof(state_key(table, key), version).map(|(_, proof)| proof).map_err(TreeError::new)
    }
}

impl TreeError {
    fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl TreeReader for StateTree {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        Ok(self.nodes.get(key).map(|node| Node::clone(node)))
    }

    fn get_value_option(&self, _: Version, _: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        Ok(None) // asked for by proofs only, see `WithValue`
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        Ok(None) // asked for by restoring a tree in pieces only
    }
}

/// The tree with the one value that a proof is made for.
struct WithValue<'a> {
    tree: &'a StateTree,
    value: Option<OwnedValue>,
}

impl TreeReader for WithValue<'_> {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        self.tree.get_node_option(key)
    }

    fn get_value_option(&self, _: Version, _: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        Ok(self.value.clone())
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        Ok(None)
    }
}
