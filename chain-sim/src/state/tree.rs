//! The state tree: a sparse Merkle tree whose subtrees are shared between states, so that every state has a whole tree
//! of its own at the price of the changed paths.
//!
//! Its root and its proofs are those of a Jellyfish Merkle tree (crate `jmt`, which verifies the proofs and is the
//! oracle of the tests): a leaf hangs at the first bit that tells its key from all others, an empty subtree hashes to a
//! fixed placeholder. `jmt` itself keeps its nodes sixteen to a bundle by version in a database and hashes whole
//! bundles anew; on a chain of 5,000 nodes a block of 15 updates took it three times as long as this one, and every
//! node does it for every block.

use std::collections::BTreeMap;
use std::sync::Arc;

use jmt::proof::{INTERNAL_DOMAIN_SEPARATOR, LEAF_DOMAIN_SEPARATOR};
use jmt::{SimpleHasher, ValueHash};
use sotto_proto::id::Hash;
use sotto_proto::proof::{Blake2b, StateProof, StateProofError, Table, state_key};

/// What an empty subtree hashes to.
const PLACEHOLDER: [u8; 32] = *b"SPARSE_MERKLE_PLACEHOLDER_HASH__";

type Key = [u8; 32];
type Digest = [u8; 32];
type Keyed<T> = (Key, T);
/// A subtree; `None` is an empty one.
type Subtree = Option<Arc<Node>>;

enum Node {
    Leaf { key: Key, value: Digest, hash: Digest },
    Inner { children: [Subtree; 2], hash: Digest },
}

/// The tree of one state. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct StateTree(Subtree);

impl StateTree {
    /// Sets (or, for `None`, removes) entries; of two for one key the later counts.
    pub(crate) fn update(&mut self, entries: impl IntoIterator<Item = (Table, Vec<u8>, Option<Vec<u8>>)>) {
        let changes: BTreeMap<Key, Option<Digest>> = entries
            .into_iter()
            .map(|(table, key, value)| {
                (state_key(table, &key).0, value.map(|value| ValueHash::with::<Blake2b>(value).0))
            })
            .collect();
        let changes: Vec<_> = changes.into_iter().collect();
        self.0 = update(self.0.take(), 0, &changes);
    }

    /// The root, as it stands in headers.
    pub(crate) fn root(&self) -> Hash {
        Hash::new(digest(&self.0))
    }

    /// A proof of what `key` of `table` has, or that it has nothing.
    pub(crate) fn prove(&self, table: Table, key: &[u8]) -> Result<StateProof, StateProofError> {
        let key = state_key(table, key).0;
        let mut siblings = Vec::new();
        let mut at = &self.0;
        while let Some(Node::Inner { children, .. }) = at.as_deref() {
            let side = bit(&key, siblings.len());
            siblings.push(&children[1 - side]);
            at = &children[side];
        }
        let mut bytes = Vec::new();
        match at.as_deref() {
            Some(Node::Leaf { key, value, .. }) => bytes.extend_from_slice(&[&[1], &key[..], value].concat()),
            _ => bytes.push(0),
        }
        bytes.extend_from_slice(&u32::try_from(siblings.len()).unwrap_or(u32::MAX).to_le_bytes());
        for sibling in siblings.into_iter().rev() {
            match sibling.as_deref() {
                None => bytes.push(0),
                Some(Node::Inner { children: [left, right], .. }) => {
                    bytes.extend_from_slice(&[&[1], &digest(left)[..], &digest(right)].concat());
                }
                Some(Node::Leaf { key, value, .. }) => bytes.extend_from_slice(&[&[2], &key[..], value].concat()),
            }
        }
        StateProof::decode(&bytes)
    }
}

/// The bit of `key` that decides at a depth.
const fn bit(key: &Key, depth: usize) -> usize {
    (key[depth / 8] >> (7 - depth % 8) & 1) as usize
}

fn digest(subtree: &Subtree) -> Digest {
    match subtree.as_deref() {
        None => PLACEHOLDER,
        Some(Node::Leaf { hash, .. } | Node::Inner { hash, .. }) => *hash,
    }
}

fn hash(separator: &[u8], left: &Digest, right: &Digest) -> Digest {
    let mut hasher = Blake2b::new();
    [separator, left, right].into_iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

fn leaf(key: Key, value: Digest) -> Subtree {
    Some(Arc::new(Node::Leaf { key, value, hash: hash(LEAF_DOMAIN_SEPARATOR, &key, &value) }))
}

/// Two subtrees under one node; a leaf without a neighbour moves up instead.
fn join(left: Subtree, right: Subtree) -> Subtree {
    match (left.as_deref(), right.as_deref()) {
        (None, None) => None,
        (Some(Node::Leaf { .. }), None) => left,
        (None, Some(Node::Leaf { .. })) => right,
        _ => {
            let hash = hash(INTERNAL_DOMAIN_SEPARATOR, &digest(&left), &digest(&right));
            Some(Arc::new(Node::Inner { children: [left, right], hash }))
        }
    }
}

/// Applies changes, ascending by key, to the subtree at `depth` that all their keys lead to.
fn update(subtree: Subtree, depth: usize, changes: &[(Key, Option<Digest>)]) -> Subtree {
    if changes.is_empty() {
        return subtree;
    }
    match subtree.as_deref() {
        None => plant(depth, &changes.iter().filter_map(|(key, value)| Some((*key, (*value)?))).collect::<Vec<_>>()),
        Some(Node::Leaf { key, value, .. }) => {
            let mut leaves: BTreeMap<Key, Option<Digest>> = changes.iter().copied().collect();
            leaves.entry(*key).or_insert(Some(*value));
            plant(depth, &leaves.into_iter().filter_map(|(key, value)| Some((key, value?))).collect::<Vec<_>>())
        }
        Some(Node::Inner { children: [left, right], .. }) => {
            let (to_left, to_right) = split(depth, changes);
            join(update(left.clone(), depth + 1, to_left), update(right.clone(), depth + 1, to_right))
        }
    }
}

/// A subtree of these leaves, ascending by key.
fn plant(depth: usize, leaves: &[(Key, Digest)]) -> Subtree {
    match leaves {
        [] => None,
        [(key, value)] => leaf(*key, *value),
        _ => {
            let (left, right) = split(depth, leaves);
            join(plant(depth + 1, left), plant(depth + 1, right))
        }
    }
}

/// What leads left and what leads right at a depth.
fn split<T>(depth: usize, items: &[Keyed<T>]) -> (&[Keyed<T>], &[Keyed<T>]) {
    items.split_at(items.partition_point(|(key, _)| bit(key, depth) == 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jmt::storage::{LeafNode, Node as JmtNode, NodeKey, TreeReader, TreeUpdateBatch};
    use jmt::{JellyfishMerkleTree, KeyHash, OwnedValue, Version};
    use proptest::prelude::*;

    type Change = (u8, Option<u8>);

    /// What `jmt` keeps, in memory.
    #[derive(Default)]
    struct Store {
        nodes: BTreeMap<NodeKey, JmtNode>,
        values: BTreeMap<(KeyHash, Version), Option<OwnedValue>>,
    }

    impl Store {
        fn write(&mut self, batch: TreeUpdateBatch) {
            self.nodes.extend(batch.node_batch.nodes().iter().map(|(key, node)| (key.clone(), node.clone())));
            let values = batch.node_batch.values().iter();
            self.values.extend(values.map(|((version, key), value)| ((*key, *version), value.clone())));
        }
    }

    impl TreeReader for Store {
        fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<JmtNode>> {
            Ok(self.nodes.get(key).cloned())
        }

        fn get_value_option(&self, newest: Version, key: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
            let value = self.values.range((key, 0)..=(key, newest)).next_back();
            Ok(value.and_then(|(_, value)| value.clone()))
        }

        fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
            Ok(None)
        }
    }

    /// The same changes through `jmt`.
    fn oracle(batches: &[Vec<Change>]) -> (Hash, Store) {
        let mut store = Store::default();
        let mut root = Hash::new([0; 32]);
        for (version, batch) in batches.iter().enumerate() {
            let batch: BTreeMap<_, _> = batch.iter().copied().collect();
            let values = batch.into_iter().map(|(key, value)| (state_key(Table::Node, &[key]), value.map(|v| vec![v])));
            let tree = JellyfishMerkleTree::<_, Blake2b>::new(&store);
            let (new, update) = tree.put_value_set(values, version as u64).unwrap();
            store.write(update);
            root = Hash::new(new.0);
        }
        (root, store)
    }

    fn ours(batches: &[Vec<Change>]) -> StateTree {
        let mut tree = StateTree::default();
        for batch in batches {
            tree.update(batch.iter().map(|(key, value)| (Table::Node, vec![*key], value.map(|value| vec![value]))));
        }
        tree
    }

    proptest! {
        #[test]
        fn roots_and_proofs_are_those_of_a_jellyfish_merkle_tree(
            first in proptest::collection::vec((any::<u8>(), any::<u8>()), 1..120),
            batches in proptest::collection::vec(
                proptest::collection::vec((any::<u8>(), proptest::option::of(any::<u8>())), 1..40), 0..6),
        ) {
            let mut all = vec![first.into_iter().map(|(key, value)| (key, Some(value))).collect()];
            all.extend(batches);
            let tree = ours(&all);
            let (root, store) = oracle(&all);
            let theirs = JellyfishMerkleTree::<_, Blake2b>::new(&store);
            prop_assume!(tree.0.is_some());
            prop_assert_eq!(tree.root(), root);
            for key in (0..=u8::MAX).step_by(5) {
                let (value, expected) =
                    theirs.get_with_proof(state_key(Table::Node, &[key]), all.len() as u64 - 1).unwrap();
                let proof = tree.prove(Table::Node, &[key]).unwrap();
                prop_assert_eq!(&proof, &StateProof::from(expected));
                prop_assert!(proof.verify(&root, Table::Node, &[key], value.as_deref()).is_ok());
            }
        }
    }

    #[test]
    fn an_older_tree_is_not_changed_by_what_comes_after() {
        let before = ours(&[vec![(1, Some(1)), (2, Some(2))]]);
        let root = before.root();
        let mut after = before.clone();
        after.update([(Table::Node, vec![1], None)]);
        assert_eq!(before.root(), root);
        assert_ne!(after.root(), root);
    }
}
