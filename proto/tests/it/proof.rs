//! Proofs of state entries: against a real tree, against a root computed by hand, and under every single flipped bit.

use std::collections::BTreeMap;

use jmt::storage::{LeafNode, Node, NodeBatch, NodeKey, TreeReader};
use jmt::{JellyfishMerkleTree, KeyHash, OwnedValue, Version};
use proptest::collection::btree_map;
use proptest::prelude::*;
use sotto_proto::hash::blake2b_256;
use sotto_proto::id::Hash;
use sotto_proto::proof::{Blake2b, StateProof, StateProofError, Table, state_key};

/// A tree in memory that keeps every version.
#[derive(Default)]
struct Store {
    nodes: BTreeMap<NodeKey, Node>,
    values: BTreeMap<(KeyHash, Version), Option<OwnedValue>>,
}

impl TreeReader for Store {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        Ok(self.nodes.get(key).cloned())
    }

    fn get_value_option(&self, newest: Version, key: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        Ok(self.values.range((key, 0)..=(key, newest)).next_back().and_then(|(_, value)| value.clone()))
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        anyhow::bail!("only for restoring trees")
    }
}

impl Store {
    fn write(&mut self, batch: &NodeBatch) {
        self.nodes.extend(batch.nodes().iter().map(|(key, node)| (key.clone(), node.clone())));
        self.values.extend(batch.values().iter().map(|((version, key), value)| ((*key, *version), value.clone())));
    }

    fn put(&mut self, version: Version, entries: impl IntoIterator<Item = (KeyHash, Option<Vec<u8>>)>) -> Hash {
        let (root, update) = JellyfishMerkleTree::<_, Blake2b>::new(self).put_value_set(entries, version).unwrap();
        self.write(&update.node_batch);
        Hash::new(root.0)
    }

    fn prove(&self, version: Version, key: KeyHash) -> (Option<Vec<u8>>, StateProof) {
        let (value, proof) = JellyfishMerkleTree::<_, Blake2b>::new(self).get_with_proof(key, version).unwrap();
        (value, proof.into())
    }
}

/// The root as the module's documentation defines it, of entries in the order of their keys.
fn root_by_hand(entries: &[(KeyHash, Vec<u8>)], depth: usize) -> [u8; 32] {
    match entries {
        [] => *b"SPARSE_MERKLE_PLACEHOLDER_HASH__",
        [(key, value)] => blake2b_256(&[&b"JMT::LeafNode"[..], &key.0, &blake2b_256(value)].concat()),
        _ => {
            let bit = |key: &KeyHash| key.0[depth / 8] >> (7 - depth % 8) & 1;
            let (left, right) = entries.split_at(entries.partition_point(|(key, _)| bit(key) == 0));
            let halves = [root_by_hand(left, depth + 1), root_by_hand(right, depth + 1)].concat();
            blake2b_256(&[&b"JMT::IntrnalNode"[..], &halves].concat())
        }
    }
}

fn key(i: u32) -> [u8; 4] {
    i.to_be_bytes()
}

fn value(i: u32) -> Vec<u8> {
    vec![7; i as usize % 40]
}

/// A state of accounts 0, 2, 4, … at version 0.
fn state(entries: u32) -> (Store, Hash) {
    let mut store = Store::default();
    let entries = (0..entries).map(|i| (state_key(Table::Account, &key(2 * i)), Some(value(i))));
    let root = store.put(0, entries);
    (store, root)
}

/// Golden values, made by an independent implementation.
#[test]
fn keys_roots_and_proofs_never_change() {
    let key_of = |table| hex::encode(state_key(table, b"key").0);
    assert_eq!(key_of(Table::Node), "011324e94ab84fb30d6ccbe8be746b48a82ea5b7b78df502bd9a072699e42b4f");
    assert_eq!(key_of(Table::Name), "94dfb4de0f158163e64f9fc85b83cd5eac269a5f138d96dfb2c74d3880beb903");

    let (store, root) = state(60);
    assert_eq!(root.to_string(), "de13a05f496200962b5c54272343ecb71715bb9204e7a20d179e8263aac621c3");
    let proof_of = |i| {
        let bytes = store.prove(0, state_key(Table::Account, &key(i))).1.encode().unwrap();
        (bytes.len(), hex::encode(blake2b_256(&bytes)))
    };
    let (present, absent) = (proof_of(4), proof_of(5));
    assert_eq!(present, (527, "218c3f8b85718de8136a3756c4c3734eb1eeddc23c88be7d0b97dfeeb8ad9885".into()));
    assert_eq!(absent, (395, "2973c58eb65d7fc889aa5468d15d4ed9ef16cfc5907eecc16bfaad69e751a1ee".into()));
}

#[test]
fn every_table_has_a_code_and_keys_of_its_own() {
    use Table::{Account, Chain, Cooldown, Lock, Name, Node, Swarm};
    let tables = [Node, Account, Lock, Cooldown, Swarm, Chain, Name];
    assert!(tables.map(Table::code).into_iter().eq(1..=7));
    let keys: std::collections::BTreeSet<_> = tables.iter().map(|table| state_key(*table, b"key").0).collect();
    assert_eq!(keys.len(), tables.len());
}

#[test]
fn what_is_there_and_what_is_not_can_be_shown_and_nothing_else() {
    let (store, root) = state(200);
    for i in 0..200 {
        let (stored, proof) = store.prove(0, state_key(Table::Account, &key(2 * i)));
        assert_eq!(stored, Some(value(i)));
        proof.verify(&root, Table::Account, &key(2 * i), Some(&value(i))).unwrap();
        assert!(proof.verify(&root, Table::Account, &key(2 * i), Some(b"more")).is_err());
        assert!(proof.verify(&root, Table::Account, &key(2 * i), None).is_err());
        assert!(proof.verify(&root, Table::Lock, &key(2 * i), Some(&value(i))).is_err());
        assert!(proof.verify(&root, Table::Account, &key(2 * i + 2), Some(&value(i + 1))).is_err());

        let (stored, proof) = store.prove(0, state_key(Table::Account, &key(2 * i + 1)));
        assert_eq!(stored, None);
        proof.verify(&root, Table::Account, &key(2 * i + 1), None).unwrap();
        assert!(proof.verify(&root, Table::Account, &key(2 * i + 1), Some(&value(i))).is_err());
        assert!(proof.verify(&root, Table::Account, &key(2 * i), None).is_err());
    }
}

#[test]
fn of_an_empty_state_everything_can_be_shown_not_to_be_there() {
    let mut store = Store::default();
    let there = state_key(Table::Chain, b"x");
    store.put(0, [(there, Some(vec![1]))]);
    let root = store.put(1, [(there, None)]);
    assert_eq!(root.as_bytes(), b"SPARSE_MERKLE_PLACEHOLDER_HASH__");
    store.prove(1, there).1.verify(&root, Table::Chain, b"x", None).unwrap();
}

#[test]
fn a_proof_holds_for_the_version_it_was_made_for() {
    let (mut store, before) = state(50);
    let account = state_key(Table::Account, &key(6));
    let after = store.put(1, [(account, None)]);
    let (old, new) = (store.prove(0, account).1, store.prove(1, account).1);
    old.verify(&before, Table::Account, &key(6), Some(&value(3))).unwrap();
    new.verify(&after, Table::Account, &key(6), None).unwrap();
    assert!(old.verify(&after, Table::Account, &key(6), Some(&value(3))).is_err());
    assert!(new.verify(&before, Table::Account, &key(6), None).is_err());
}

/// Flips every bit of `bytes` in turn and asserts that `shows` is false of each result.
fn assert_no_flip_passes(bytes: &[u8], shows: impl Fn(&[u8]) -> bool) {
    assert!(shows(bytes));
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!shows(&flipped), "bit {bit} of {} bytes", bytes.len());
    }
}

#[test]
fn every_flipped_bit_of_proof_root_key_or_value_fails() {
    let (store, root) = state(60);
    for account in 0..12 {
        let key = key(account);
        let (value, proof) = store.prove(0, state_key(Table::Account, &key));
        let value = value.as_deref();
        let shows = |root: &[u8], key: &[u8], value: Option<&[u8]>| {
            proof.verify(&root.try_into().unwrap(), Table::Account, key, value).is_ok()
        };
        assert_no_flip_passes(&proof.encode().unwrap(), |bytes| {
            StateProof::decode(bytes).is_ok_and(|proof| proof.verify(&root, Table::Account, &key, value).is_ok())
        });
        assert_no_flip_passes(root.as_bytes(), |root| shows(root, &key, value));
        if let Some(value) = value {
            assert_no_flip_passes(&key, |key| shows(root.as_bytes(), key, Some(value)));
            assert_no_flip_passes(value, |value| shows(root.as_bytes(), &key, Some(value)));
        }
    }
}

#[test]
fn truncated_prolonged_and_oversized_proofs_are_refused() {
    let (store, _) = state(60);
    let bytes = store.prove(0, state_key(Table::Account, &key(4))).1.encode().unwrap();
    assert!(
        (0..bytes.len()).all(|end| matches!(StateProof::decode(&bytes[..end]), Err(StateProofError::Malformed(_))))
    );
    assert!(StateProof::decode(&[&bytes[..], &[0]].concat()).is_err());
    let oversized = vec![0; StateProof::MAX_BYTES + 1];
    assert!(
        matches!(StateProof::decode(&oversized), Err(StateProofError::TooLong { actual }) if actual == oversized.len())
    );
}

#[test]
fn more_siblings_than_bits_of_a_key_are_refused() {
    let with_siblings = |count: u32| {
        let bytes = [&[0][..], &count.to_le_bytes(), &vec![0; count as usize]].concat();
        StateProof::decode(&bytes).unwrap()
    };
    let root = Hash::new([0; 32]);
    for count in [0, 256, 257, 16_000] {
        let error = with_siblings(count).verify(&root, Table::Node, b"x", None).unwrap_err();
        assert!(matches!(error, StateProofError::Rejected { table: Table::Node, .. }), "{error}");
    }
}

#[test]
fn the_longest_proof_has_the_length_that_bounds_proofs() {
    let sibling = [&[1][..], &[9; 64]].concat();
    let bytes = [&[1][..], &[8; 64], &256_u32.to_le_bytes(), &sibling.repeat(256)].concat();
    assert_eq!(bytes.len(), StateProof::MAX_BYTES);
    assert_eq!(StateProof::decode(&bytes).unwrap().encode().unwrap(), bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_root_is_the_one_computed_by_hand_and_every_entry_is_shown(
        entries in btree_map(any::<u16>(), prop::collection::vec(any::<u8>(), 0..40), 0..80), absent in any::<u16>(),
    ) {
        let mut store = Store::default();
        let hung = |i: &u16| state_key(Table::Node, &i.to_be_bytes());
        let root = store.put(0, entries.iter().map(|(i, value)| (hung(i), Some(value.clone()))));
        let mut sorted: Vec<_> = entries.iter().map(|(i, value)| (hung(i), value.clone())).collect();
        sorted.sort();
        prop_assert_eq!(*root.as_bytes(), root_by_hand(&sorted, 0));
        for i in entries.keys().chain([&absent]) {
            let (value, proof) = store.prove(0, hung(i));
            prop_assert_eq!(value.as_ref(), entries.get(i));
            let decoded = StateProof::decode(&proof.encode().unwrap()).unwrap();
            prop_assert!(decoded.verify(&root, Table::Node, &i.to_be_bytes(), value.as_deref()).is_ok());
            prop_assert_eq!(decoded, proof);
        }
    }

    #[test]
    fn any_bytes_are_a_proof_with_these_bytes_or_none(bytes in prop::collection::vec(0..3_u8, 0..400)) {
        if let Ok(proof) = StateProof::decode(&bytes) {
            prop_assert_eq!(proof.encode().unwrap(), bytes);
        }
    }
}
