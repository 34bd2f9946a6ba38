//! A list that becomes the one a newer header commits to, by fetching the buckets that have changed and no others (B11).
//!
//! The node asked tells the hashes of all buckets first. They must combine to the header's list root; from then on each
//! bucket stands for itself, and one that does not hash to what was told is a lie.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sotto_proto::chain::{Buckets, NodeRecord, SignedHeader, bucket_hash, bucket_of, records_of};
use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::id::{ChainId, NodeId};
use sotto_proto::network::NodeList;

use super::light_client::UpdateError;

/// What is there of the new list.
#[derive(Debug)]
pub struct Renewal {
    chain: ChainId,
    hashes: Buckets,
    nodes: NodeList,
    missing: BTreeSet<u8>,
}

impl Renewal {
    /// Begins with the `present` list and the hashes that `from` told.
    ///
    /// # Errors
    /// [`UpdateError::Incomplete`] naming `from` if they are not those that `header` commits to.
    pub fn new(
        chain: ChainId,
        header: &SignedHeader,
        present: &NodeList,
        hashes: Buckets,
        from: NodeId,
    ) -> Result<Self, UpdateError> {
        if hashes.root(&chain) != header.header.list_root {
            return Err(UpdateError::Incomplete { node: from });
        }
        let own = Buckets::new(&chain, present);
        let missing = (0..=u8::MAX).filter(|bucket| own.hash(*bucket) != hashes.hash(*bucket)).collect();
        Ok(Self { chain, hashes, nodes: present.clone(), missing })
    }

    /// The buckets that are still to be fetched.
    #[must_use]
    pub const fn missing(&self) -> &BTreeSet<u8> {
        &self.missing
    }

    /// Takes buckets that `from` sent in the place of those that the list had; they may come from anybody.
    ///
    /// # Errors
    /// [`UpdateError::Incomplete`] naming `from` if one is not what its hash says.
    pub fn take(&mut self, buckets: &BTreeMap<u8, Vec<u8>>, from: NodeId) -> Result<(), UpdateError> {
        for (bucket, bytes) in buckets {
            let old: Vec<_> = records_of(&self.nodes, *bucket).map(|record| record.node).collect();
            for node in &old {
                self.nodes.remove(node);
            }
            let is_read = read_bucket(*bucket, bytes, &mut self.nodes).is_ok();
            let records = records_of(&self.nodes, *bucket).map(|record| &**record);
            if !is_read || bucket_hash(&self.chain, *bucket, records) != self.hashes.hash(*bucket) {
                return Err(UpdateError::Incomplete { node: from });
            }
            self.missing.remove(bucket);
        }
        Ok(())
    }

    /// The list; the one that the header commits to when nothing is missing.
    #[must_use]
    pub fn into_nodes(self) -> NodeList {
        self.nodes
    }
}

/// Reads the records of one bucket into `nodes`.
///
/// # Errors
/// [`DecodeError`] if they are not canonical or belong elsewhere.
pub(super) fn read_bucket(bucket: u8, bytes: &[u8], nodes: &mut NodeList) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes);
    while reader.remaining() > 0 {
        let record = NodeRecord::read(&mut reader)?;
        if bucket_of(&record.node) != bucket {
            return Err(DecodeError::Value("node of another bucket"));
        }
        nodes.insert(record.node, Arc::new(record));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sotto_proto::chain::{Header, list_root_of};
    use sotto_proto::id::{BlockHash, Hash, Height};
    use sotto_proto::sign::SigningKey;
    use sotto_proto::time::UnixMillis;

    use super::*;
    use crate::network::test_support::{Spec, list, node};

    const CHAIN: ChainId = ChainId::new([9; 32]);
    const LIAR: UpdateError = UpdateError::Incomplete { node: NodeId::new([7; 32]) };

    /// Nodes 0 to 4, each in a bucket of its own.
    fn present() -> NodeList {
        list((0..5).map(Spec::new))
    }

    /// Node 1 has moved, node 2 has gone, node 5 has come.
    fn newer() -> NodeList {
        let moved = Spec { network: 77, ..Spec::new(1) };
        list([Spec::new(0), moved, Spec::new(3), Spec::new(4), Spec::new(5)])
    }

    fn header(nodes: &NodeList) -> SignedHeader {
        let header = Header {
            height: Height(20),
            previous: BlockHash::new([0; 32]),
            time: UnixMillis(1),
            tx_root: Hash::new([0; 32]),
            state_root: Hash::new([0; 32]),
            list_root: list_root_of(&CHAIN, nodes),
        };
        header.sign(&SigningKey::from_seed(&[5; 32]), &CHAIN)
    }

    /// To the newer list, with the hashes of `told`.
    fn renewal(told: &NodeList) -> Result<Renewal, UpdateError> {
        Renewal::new(CHAIN, &header(&newer()), &present(), Buckets::new(&CHAIN, told), NodeId::new([7; 32]))
    }

    fn bucket(nodes: &NodeList, bucket: u8) -> BTreeMap<u8, Vec<u8>> {
        [(bucket, records_of(nodes, bucket).flat_map(|record| record.encode()).collect())].into()
    }

    #[test]
    fn only_changed_buckets_are_missing_and_with_them_the_list_is_the_new_one() {
        let mut renewal = renewal(&newer()).unwrap();
        for changed in [1, 2, 5] {
            assert_eq!(renewal.missing().first(), Some(&changed));
            renewal.take(&bucket(&newer(), changed), node(changed)).unwrap();
        }
        assert!(renewal.missing().is_empty());
        assert_eq!(renewal.into_nodes(), newer());
    }

    #[test]
    fn of_the_same_list_nothing_is_missing() {
        let hashes = Buckets::new(&CHAIN, &present());
        let renewal = Renewal::new(CHAIN, &header(&present()), &present(), hashes, node(1)).unwrap();
        assert!(renewal.missing().is_empty());
        assert_eq!(renewal.into_nodes(), present());
    }

    #[test]
    fn hashes_that_do_not_combine_to_the_list_root_are_a_lie() {
        assert_eq!(renewal(&present()).unwrap_err(), LIAR);
        assert_eq!(renewal(&NodeList::new()).unwrap_err(), LIAR);
    }

    #[test]
    fn a_bucket_that_is_not_what_its_hash_says_is_a_lie() {
        let of_other = [(1, bucket(&newer(), 3).remove(&3).unwrap())].into();
        let cut = [(5, bucket(&newer(), 5).remove(&5).unwrap()[1..].to_vec())].into();
        let left_out = [(5, Vec::new())].into();
        for wrong in [bucket(&present(), 1), bucket(&present(), 2), of_other, cut, left_out] {
            assert_eq!(renewal(&newer()).unwrap().take(&wrong, NodeId::new([7; 32])), Err(LIAR), "{wrong:?}");
        }
    }
}
