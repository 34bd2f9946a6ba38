//! The root of the complete node list (B7): 256 buckets by the first byte of the node key.
//!
//! The state tree proves single records; it cannot prove that a list is complete. This root can: whoever has all records
//! recomputes it, and afterwards fetches changed buckets only: those whose hashes are others.

use std::sync::Arc;

use super::node_record::NodeRecord;
use crate::domain;
use crate::hash::Hasher;
use crate::id::{ChainId, Hash, NodeId};
use crate::network::NodeList;

/// The bucket a node belongs to.
#[must_use]
pub const fn bucket_of(node: &NodeId) -> u8 {
    node.as_bytes()[0]
}

/// Hash of one bucket's records, which must be in ascending order of the node key.
#[must_use]
pub fn bucket_hash<'a>(chain: &ChainId, bucket: u8, records: impl IntoIterator<Item = &'a NodeRecord>) -> Hash {
    let mut bytes = Vec::new();
    let mut count = 0_u32;
    for record in records {
        record.write(&mut bytes);
        count = count.saturating_add(1);
    }
    Hasher::new(domain::LIST_BUCKET).chain(chain).chain([bucket]).chain(count.to_be_bytes()).chain(bytes).finish()
}

/// The list root over the hashes of all buckets, in order.
#[must_use]
pub fn list_root(chain: &ChainId, buckets: &[Hash; 256]) -> Hash {
    let mut hasher = Hasher::new(domain::LIST).chain(chain);
    buckets.iter().for_each(|bucket| hasher.update(bucket));
    hasher.finish()
}

/// The list root of a whole list.
#[must_use]
pub fn list_root_of(chain: &ChainId, nodes: &NodeList) -> Hash {
    Buckets::new(chain, nodes).root(chain)
}

/// The hashes of all buckets, kept so that a block rehashes only what it changed. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets(Arc<[Hash; 256]>);

impl From<[Hash; 256]> for Buckets {
    fn from(hashes: [Hash; 256]) -> Self {
        Self(Arc::new(hashes))
    }
}

impl Buckets {
    /// Bytes of all hashes.
    pub const LEN: usize = 256 * 32;

    /// Hashes every bucket of a list.
    #[must_use]
    pub fn new(chain: &ChainId, nodes: &NodeList) -> Self {
        Self(Arc::new(std::array::from_fn(|bucket| {
            let bucket = u8::try_from(bucket).unwrap_or(u8::MAX); // 0..256 always fits
            bucket_hash(chain, bucket, records_of(nodes, bucket).map(|record| &**record))
        })))
    }

    /// Hashes some buckets anew.
    pub fn refresh(&mut self, chain: &ChainId, nodes: &NodeList, changed: impl IntoIterator<Item = u8>) {
        for bucket in changed {
            let hash = bucket_hash(chain, bucket, records_of(nodes, bucket).map(|record| &**record));
            Arc::make_mut(&mut self.0)[usize::from(bucket)] = hash;
        }
    }

    /// The list root.
    #[must_use]
    pub fn root(&self, chain: &ChainId) -> Hash {
        list_root(chain, &self.0)
    }

    /// All hashes, in order of the buckets.
    #[must_use]
    pub fn hashes(&self) -> &[Hash; 256] {
        &self.0
    }

    /// One bucket's hash.
    #[must_use]
    pub fn hash(&self, bucket: u8) -> Hash {
        self.0[usize::from(bucket)]
    }
}

/// The records of one bucket, ascending.
pub fn records_of(nodes: &NodeList, bucket: u8) -> impl Iterator<Item = &Arc<NodeRecord>> {
    let (mut first, mut last) = ([0; 32], [0xff; 32]);
    (first[0], last[0]) = (bucket, bucket);
    nodes.range(NodeId::new(first)..=NodeId::new(last)).map(|(_, record)| record)
}

#[cfg(test)]
mod tests {
    use super::super::node_record::tests::vector;
    use super::*;
    use crate::domain::GENESIS;
    use crate::hash::hash;

    fn chain() -> ChainId {
        ChainId::new(*hash(GENESIS, b"test vector genesis").as_bytes())
    }

    fn list(count: u32) -> NodeList {
        (0..count).map(vector).map(|record| (record.node, Arc::new(record))).collect()
    }

    #[test]
    fn golden_list_roots_hold() {
        let root = |count| list_root_of(&chain(), &list(count)).to_string();
        assert_eq!(root(0), "4e3b18d93e758ebee5b94f533eff1d033d479c4cc14432109935a993322f17f0");
        assert_eq!(root(7), "8ca866fbcc1115d7bbf56defe0041913e9912e27d087b4dc7e49dd8380115451");
    }

    #[test]
    fn only_the_hash_of_a_changed_bucket_differs_and_the_order_of_all_counts() {
        let (before, mut nodes) = (Buckets::new(&chain(), &list(40)), list(40));
        let gone = vector(17).node;
        nodes.remove(&gone);
        let after = Buckets::new(&chain(), &nodes);
        let changed: Vec<u8> = (0..=u8::MAX).filter(|bucket| before.hash(*bucket) != after.hash(*bucket)).collect();
        assert_eq!(changed, [bucket_of(&gone)]);
        let mut hashes = *after.hashes();
        assert_eq!(Buckets::from(hashes), after);
        hashes.reverse();
        assert_ne!(Buckets::from(hashes).root(&chain()), after.root(&chain()));
    }

    #[test]
    fn refreshing_the_changed_bucket_gives_the_root_of_the_whole() {
        let mut nodes = list(40);
        let mut buckets = Buckets::new(&chain(), &nodes);
        let mut record = vector(17);
        record.region = "us".parse().unwrap();
        let bucket = bucket_of(&record.node);
        nodes.insert(record.node, Arc::new(record));
        buckets.refresh(&chain(), &nodes, [bucket]);
        assert_eq!(buckets.root(&chain()), list_root_of(&chain(), &nodes));
    }
}
