//! Proofs of state entries: whatever their bytes, under the root of a real tree they show nothing but what is there.

use std::sync::LazyLock;

use sotto_proto::id::Hash;
use sotto_proto::proof::{StateProof, Table};

use crate::check::{canonical, whole};
use crate::fixtures::{LEDGER, key, node};

/// An entry that is asked for, what it holds, and the proof of that.
struct Fact {
    table: Table,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    proof: StateProof,
}

static FACTS: LazyLock<(Hash, Vec<Fact>)> = LazyLock::new(|| {
    let state = LEDGER.tip();
    let there = (0..6).map(|n| (Table::Node, key("node", n).node_id().as_bytes().to_vec()));
    let accounts = (0..6).map(|n| (Table::Account, key("operator", n).public().as_bytes().to_vec()));
    let absent = (0..6).map(|n| (Table::Node, node(n).as_bytes().to_vec()));
    let fact = |(table, key): (Table, Vec<u8>)| {
        let proof = state.prove(table, &key).expect("the tree proves everything");
        Fact { table, value: state.value(table, &key), key, proof }
    };
    let waiting = [(Table::Chain, vec![0]), (Table::Lock, vec![9; 32])];
    (state.state_root(), there.chain(accounts).chain(absent).chain(waiting).map(fact).collect())
});

pub(crate) fn run(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    let Some(proof) =
        canonical(bytes, StateProof::decode, |proof| proof.encode().expect("what was read can be written"))
    else {
        return;
    };
    assert!(bytes.len() <= StateProof::MAX_BYTES);
    let (root, facts) = &*FACTS;
    // The entry that is asked for, with the values that somebody might want it to have.
    let Fact { table, key, value, .. } = &facts[usize::from(*choice) % facts.len()];
    let lies = facts.iter().map(|fact| fact.value.as_deref()).chain([None, Some(&[][..])]);
    for claimed in lies.chain([value.as_deref()]) {
        let shown = proof.verify(root, *table, key, claimed).is_ok();
        assert!(!shown || claimed == value.as_deref(), "proves what is not so");
    }
    let _elsewhere = proof.verify(&Hash::new([0; 32]), *table, key, None);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let (root, facts) = &*FACTS;
    let seed = |(index, fact): (u8, &Fact)| {
        fact.proof.verify(root, fact.table, &fact.key, fact.value.as_deref()).expect("a good proof");
        whole(index, &fact.proof.encode().expect("a proof"))
    };
    (0..).zip(facts).map(seed).collect()
}
