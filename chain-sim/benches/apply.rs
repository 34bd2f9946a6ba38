//! What a block costs: 15 updates on a chain of 5,000 nodes, with signatures, state tree and list root.

#![allow(clippy::expect_used, missing_docs, reason = "a bench that cannot be set up has to stop")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sotto_chain::{BlockDraft, State, apply};
use sotto_proto::chain::{Block, Genesis, Params, Payload, Preset, Transaction, TxBody};
use sotto_proto::domain::Domain;
use sotto_proto::id::{Amount, ChainId, PublicKey, X25519Key};
use sotto_proto::sign::{Ed25519, Signature, SigningKey, Verify};
use sotto_proto::time::UnixMillis;

const NODES: u32 = 5_000;
const UPDATES: u32 = 15;

/// Takes every signature, to tell what verifying costs.
struct Trusting;

impl Verify for Trusting {
    fn verify(&self, _: Domain, _: &ChainId, _: &[u8], _: &PublicKey, _: &Signature) -> bool {
        true
    }
}

fn key(role: &str, i: u32) -> SigningKey {
    SigningKey::from_seed(&sotto_proto::hash::blake2b_256(format!("{role} {i}").as_bytes()))
}

fn registration(i: u32, chain: &ChainId) -> Transaction {
    let (operator, node) = (key("operator", i), key("node", i));
    let [_, a, b, c] = (20_000 + i).to_be_bytes();
    let payload = Payload::Register {
        node: node.node_id(),
        x25519: X25519Key::new({
            let mut bytes = sotto_proto::hash::blake2b_256(&i.to_le_bytes());
            bytes[31] &= 0x7f;
            bytes
        }),
        stake: Amount::coins(100),
        region: Default::default(),
        addresses: vec![format!("/ip4/127.{a}.{b}.{c}/tcp/27000").parse().expect("an address")],
    };
    let body = TxBody { signer: operator.public(), nonce: 0, fee: Amount(0), payload };
    Transaction::sign(body, &operator, Some(&node), chain)
}

fn grow(state: &State, authority: &SigningKey, txs: impl Iterator<Item = Transaction>) -> (Block, State) {
    let mut draft = BlockDraft::begin(state, UnixMillis(state.time().0 + 1000)).expect("a draft");
    txs.for_each(|tx| draft.try_add(tx, &Trusting).expect("a valid transaction"));
    draft.seal(authority)
}

/// A chain of 5,000 nodes, and a block that rotates the keys of 15 of them.
fn chain() -> (State, Block) {
    let authority = key("authority", 0);
    let genesis = Genesis {
        preset: Preset::Testnet,
        time: UnixMillis(1),
        authority: authority.public(),
        producer: key("producer", 0).node_id(),
        balances: (0..NODES).map(|i| (key("operator", i).public(), Amount::coins(1000))).collect(),
        params: Params::preset(Preset::Testnet),
    };
    let mut state = State::genesis(&genesis);
    for first in (0..NODES).step_by(1000) {
        let chain = state.chain();
        state = grow(&state, &authority, (first..first + 1000).map(|i| registration(i, &chain))).1;
    }
    for _ in 0..3 {
        state = grow(&state, &authority, std::iter::empty()).1;
    }
    let updates = (0..UPDATES).map(|i| {
        let node = key("node", i * 331);
        let payload = Payload::RotateKey { x25519: X25519Key::new([u8::try_from(i).unwrap_or(0) + 1; 32]) };
        let body = TxBody { signer: node.public(), nonce: 0, fee: Amount(0), payload };
        Transaction::sign(body, &node, None, &state.chain())
    });
    let block = grow(&state, &authority, updates).0;
    (state, block)
}

fn bench(c: &mut Criterion) {
    let (state, block) = chain();
    let mut group = c.benchmark_group("apply a block of 15 updates at 5,000 nodes");
    group.bench_function("with signatures", |b| {
        b.iter_batched(|| state.clone(), |state| apply(&state, black_box(&block), &Ed25519), BatchSize::SmallInput);
    });
    group.bench_function("signatures known", |b| {
        b.iter_batched(|| state.clone(), |state| apply(&state, black_box(&block), &Trusting), BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
