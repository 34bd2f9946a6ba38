//! Making blocks, and taking them in.

use sotto_proto::chain::{Block, Header, SignedHeader, Transaction, tx_root};
use sotto_proto::id::Height;
use sotto_proto::limits::MAX_BLOCK_BYTES;
use sotto_proto::sign::{SigningKey, Verify};
use sotto_proto::time::UnixMillis;

use crate::state::State;
use crate::transition::{BlockError, TransactionError, Transition};

/// The state after `block`, which must follow `state`.
///
/// Pure, total and deterministic: the same state and block give the same answer on every machine. `state` is not
/// changed; the new one shares what the block did not touch.
///
/// # Errors
/// [`BlockError`] says why the block does not follow. One invalid transaction makes the whole block invalid.
pub fn apply(state: &State, block: &Block, verify: &dyn Verify) -> Result<State, BlockError> {
    let header = &block.header.header;
    check_place(state, header)?;
    if !block.header.verify(&state.chain, &state.genesis.authority, verify) {
        return Err(BlockError::Signature);
    }
    check_root("transactions", block.tx_root(), header.tx_root)?;
    let mut transition = Transition::begin(state, header.time)?;
    for (index, tx) in block.transactions.iter().enumerate() {
        transition.execute(tx, verify).map_err(|source| BlockError::Transaction { index, source })?;
    }
    let mut next = transition.end();
    check_root("state", next.state_root(), header.state_root)?;
    check_root("list", next.list_root(), header.list_root)?;
    next.tip = block.hash(&state.chain);
    Ok(next)
}

fn check_place(state: &State, header: &Header) -> Result<(), BlockError> {
    let expected = state.height.next();
    if header.height != expected {
        return Err(BlockError::Height { expected, actual: header.height });
    }
    if header.previous != state.tip {
        return Err(BlockError::Previous { expected: state.tip, actual: header.previous });
    }
    if header.time <= state.time {
        return Err(BlockError::Time { previous: state.time, actual: header.time });
    }
    Ok(())
}

pub(crate) fn check_root(
    which: &'static str,
    expected: sotto_proto::id::Hash,
    actual: sotto_proto::id::Hash,
) -> Result<(), BlockError> {
    if expected == actual { Ok(()) } else { Err(BlockError::Root { which, expected, actual }) }
}

/// A block being made: transactions are tried on it one by one.
#[derive(Clone)]
pub struct BlockDraft {
    previous: sotto_proto::id::BlockHash,
    transition: Transition,
    transactions: Vec<Transaction>,
    wire: Vec<Vec<u8>>,
    bytes: usize,
}

impl BlockDraft {
    /// Begins the block after `parent`. `time` must be later than the parent's; it is moved there if it is not.
    ///
    /// # Errors
    /// [`BlockError`] if the state cannot go on, which would be a defect.
    pub fn begin(parent: &State, time: UnixMillis) -> Result<Self, BlockError> {
        let time = time.max(UnixMillis(parent.time.0.saturating_add(1)));
        Ok(Self {
            previous: parent.tip,
            transition: Transition::begin(parent, time)?,
            transactions: Vec::new(),
            wire: Vec::new(),
            bytes: Block::EMPTY_LEN,
        })
    }

    /// The height of the block being made.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.transition.state.height
    }

    /// The state after the transactions taken so far; its roots are not up to date.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.transition.state
    }

    /// Takes a transaction in.
    ///
    /// # Errors
    /// [`TransactionError`] if it is not valid here; the draft is then as it was.
    pub fn try_add(&mut self, tx: Transaction, verify: &dyn Verify) -> Result<(), TransactionError> {
        let wire = tx.encode();
        let bytes = self.bytes.saturating_add(4).saturating_add(wire.len());
        if bytes > MAX_BLOCK_BYTES {
            return Err(TransactionError::BlockFull);
        }
        self.transition.execute(&tx, verify)?;
        self.transactions.push(tx);
        self.wire.push(wire);
        self.bytes = bytes;
        Ok(())
    }

    /// How many transactions it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.transactions.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    /// How many bytes the block will have.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.bytes
    }

    /// Ends and signs the block.
    #[must_use]
    pub fn seal(self, authority: &SigningKey) -> (Block, State) {
        let (chain, height, time) =
            (self.transition.state.chain, self.transition.state.height, self.transition.state.time);
        let mut state = self.transition.end();
        let header: SignedHeader = Header {
            height,
            previous: self.previous,
            time,
            tx_root: tx_root(&self.wire),
            state_root: state.state_root(),
            list_root: state.list_root(),
        }
        .sign(authority, &chain);
        state.tip = header.hash(&chain);
        (Block { header, transactions: self.transactions }, state)
    }
}
