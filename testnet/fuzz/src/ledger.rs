//! The chain's state machine: well signed transactions of any content, and blocks that were changed on their way.

use sotto_chain::{BlockDraft, State, apply};
use sotto_proto::chain::{Block, Transaction, list_root_of};
use sotto_proto::sign::Ed25519;
use sotto_proto::time::UnixMillis;

use crate::fixtures::{LEDGER, key, payloads, signed, unsigned};
use crate::input::Input;

/// Transactions of one input.
const TRANSACTIONS: usize = 12;

/// No coins appear but the reward; every node stands where the map says; the list root is that of the list.
pub(crate) fn check(before: &State, after: &State) {
    let (old, new) = (before.supply().expect("a sum"), after.supply().expect("a sum"));
    assert!(new.0 == old.0 || new.0 == old.0 + after.params().reward, "{old} became {new}");
    for (id, record) in after.nodes() {
        assert!(record.swarm.is_none_or(|swarm| after.swarms().contains(swarm, id)));
    }
    assert_eq!(after.list_root(), list_root_of(&after.chain(), after.nodes()));
    assert_eq!(after.height(), before.height().next());
}

/// A transaction from bytes, signed by whoever the input says.
fn transaction(state: &State, input: &mut Input<'_>) -> Option<Transaction> {
    let (who, nonce, body) = (input.u8(), input.u8(), input.chunk());
    let length = body.len();
    // Signatures that are long enough for either kind; which of them are taken follows from the body.
    let decoded = [64, 128].into_iter().find_map(|signatures| {
        Transaction::decode(&[body, &vec![0; signatures]].concat()).ok().filter(|_| length > 0)
    })?;
    let signer = key(if who & 0x80 == 0 { "operator" } else { "node" }, who % 8);
    // Mostly the nonce that is next, sometimes any.
    let next = state.account(&signer.public()).nonce;
    let bears = decoded.body.payload.bears_nonce();
    let nonce = if nonce < 200 { if bears { next } else { 0 } } else { u64::from(nonce) };
    Some(signed(decoded.body.payload, &signer, nonce, &key("node", who >> 3 & 7), &state.chain()))
}

pub(crate) fn transactions(input: &[u8]) {
    let mut input = Input::new(input);
    let parent = input.pick(&LEDGER.states).expect("at least the genesis");
    let time = UnixMillis(parent.time().0 + 1 + u64::from(input.u16()));
    let mut draft = BlockDraft::begin(parent, time).expect("time goes on");
    for _ in 0..TRANSACTIONS {
        if input.is_empty() {
            break;
        }
        let Some(transaction) = transaction(draft.state(), &mut input) else { continue };
        let (held, bytes) = (draft.len(), draft.len_bytes());
        let added = draft.try_add(transaction, &Ed25519).is_ok();
        assert!(added == (draft.len() > held) && (added || draft.len_bytes() == bytes), "a refusal left something");
    }
    let (block, state) = draft.seal(&key("authority", 0));
    check(parent, &state);
    let decoded = Block::decode(&block.encode()).expect("an own block");
    let again = apply(parent, &decoded, &Ed25519).expect("an own block");
    assert_eq!(
        (again.state_root(), again.tip_hash()),
        (state.state_root(), state.tip_hash()),
        "another state for others"
    );
}

pub(crate) fn transactions_seeds() -> Vec<Vec<u8>> {
    let body = |payload| unsigned(payload).body.encode();
    let step = |who: u8, body: Vec<u8>| {
        let length = u16::try_from(body.len()).expect("a short body").to_be_bytes();
        [&[who, 0], &length[..], &body].concat()
    };
    // Each kind alone after the second block, by an operator and by a node; then all in one block after the genesis.
    let mut seeds = Vec::new();
    for payload in payloads() {
        seeds.push([&[2, 3, 0xe8][..], &step(0, body(payload.clone()))].concat());
        seeds.push([&[2, 3, 0xe8][..], &step(0x80, body(payload))].concat());
    }
    let all: Vec<u8> = payloads().into_iter().flat_map(|payload| step(0, body(payload))).collect();
    seeds.push([&[0, 3, 0xe8][..], &all].concat());
    seeds
}

pub(crate) fn changed(input: &[u8]) {
    let mut input = Input::new(input);
    let (index, on) = (input.below(LEDGER.blocks.len()), input.below(LEDGER.states.len()));
    let good = LEDGER.blocks[index].encode();
    let mut bytes = good.clone();
    while !input.is_empty() {
        input.edit(&mut bytes);
    }
    let Ok(block) = Block::decode(&bytes) else {
        assert!(bytes != good);
        return;
    };
    let applied = apply(&LEDGER.states[on], &block, &Ed25519);
    assert_eq!(applied.is_ok(), bytes == good && on == index, "a changed block is taken, or a good one is not");
    if let Ok(state) = applied {
        check(&LEDGER.states[on], &state);
    }
}

pub(crate) fn changed_seeds() -> Vec<Vec<u8>> {
    let count = u8::try_from(LEDGER.blocks.len()).expect("few blocks");
    let mut seeds: Vec<Vec<u8>> = (0..count).map(|n| vec![n, n]).collect();
    seeds.extend([vec![0, 0, 1, 0, 3, 1], vec![0, 0, 1, 0, 220, 1], vec![1, 2], vec![4, 4, 3, 0, 0, 0]]);
    seeds
}
