//! Bytes from anywhere: blocks and snapshots that are damaged, and proofs from the state tree.

use proptest::prelude::*;
use sotto_chain::{BlockError, State, apply};
use sotto_proto::chain::Block;
use sotto_proto::proof::Table;
use sotto_proto::sign::Ed25519;

use crate::harness::{Chain, node, operator};

fn chain() -> Chain {
    let mut chain = Chain::new(12);
    (0..10).for_each(|i| chain.register(i));
    chain.blocks(3);
    chain
}

#[test]
fn every_flipped_bit_of_a_block_is_refused() {
    let chain = chain();
    let (parent, bytes) = (&chain.states[0], chain.blocks[0].encode());
    for bit in (0..bytes.len() * 8).step_by(11) {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            Block::decode(&flipped).is_err_and(|_| true)
                || apply(parent, &Block::decode(&flipped).unwrap(), &Ed25519).is_err()
        );
    }
}

#[test]
fn a_block_out_of_place_says_so() {
    let chain = chain();
    assert!(matches!(apply(&chain.states[0], &chain.blocks[1], &Ed25519), Err(BlockError::Height { .. })));
    assert!(matches!(apply(&chain.states[2], &chain.blocks[1], &Ed25519), Err(BlockError::Height { .. })));
    let mut header = chain.blocks[2].header.header.clone();
    header.time = chain.states[2].time();
    let header = header.sign(&chain.authority, &chain.state.chain());
    let block = Block { header, transactions: Vec::new() };
    assert!(matches!(apply(&chain.states[2], &block, &Ed25519), Err(BlockError::Time { .. })));
}

#[test]
fn the_state_tree_proves_what_is_there_and_what_is_not() {
    let chain = chain();
    let root = chain.state.state_root();
    for (table, key, there) in [
        (Table::Node, *node(3).node_id().as_bytes(), true),
        (Table::Account, *operator(3).public().as_bytes(), true),
        (Table::Node, *node(11).node_id().as_bytes(), false),
        (Table::Lock, *node(3).node_id().as_bytes(), false),
    ] {
        let value = chain.state.value(table, &key);
        assert_eq!(value.is_some(), there);
        let proof = chain.state.prove(table, &key).unwrap();
        proof.verify(&root, table, &key, value.as_deref()).unwrap();
        assert!(proof.verify(&root, table, &key, if there { None } else { Some(b"x") }).is_err());
        assert!(proof.verify(&chain.states[1].state_root(), table, &key, value.as_deref()).is_err());
    }
}

#[test]
fn a_genesis_state_never_changes_its_roots() {
    let state = Chain::new(3).state;
    let roots = format!("{}\n{}\n", state.state_root(), state.list_root());
    assert_eq!(roots, include_str!("../data/genesis_roots.txt"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damaged_snapshots_never_panic(at in 0_usize..8000, byte: u8, cut in 0_usize..8000) {
        let chain = chain();
        let mut bytes = chain.state.encode();
        let (at, cut) = (at % bytes.len(), cut % bytes.len());
        bytes[at] = byte;
        let _ = State::decode(chain.state.founding(), &bytes);
        bytes.truncate(cut);
        prop_assert!(State::decode(chain.state.founding(), &bytes).is_err());
    }
}
