//! The chain's state from bytes whose checksum is right: what was read is a state
//! that encodes. Whether it is the right one only a signed header says.

use std::sync::LazyLock;

use sotto_chain::State;
use sotto_proto::chain::Genesis;
use sotto_proto::domain;
use sotto_proto::hash::hash;
use sotto_proto::id::Hash;

use crate::fixtures::{LEDGER, genesis};

static GENESIS: LazyLock<Genesis> = LazyLock::new(genesis);

fn with_checksum(body: &[u8]) -> Vec<u8> {
    let checksum: Hash = hash(domain::SNAPSHOT, body);
    [body, checksum.as_ref()].concat()
}

pub(crate) fn run(input: &[u8]) {
    assert!(input.len() < 32 || State::decode(&GENESIS, input).is_err(), "a checksum by chance");
    let bytes = with_checksum(input);
    let Ok(state) = State::decode(&GENESIS, &bytes) else { return };
    let again = state.encode();
    let read = State::decode(&GENESIS, &again).expect("what was written can be read");
    assert!(read.encode() == again, "another state after it was read");
    assert_eq!((read.state_root(), read.list_root()), (state.state_root(), state.list_root()));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let body = |state: &State| {
        let bytes = state.encode();
        bytes[..bytes.len() - 32].to_vec()
    };
    LEDGER.states.iter().step_by(2).map(body).collect()
}
