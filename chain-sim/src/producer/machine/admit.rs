//! Transactions on their way into the pool.

use sotto_proto::chain::{Payload, Transaction, TxBody};
use sotto_proto::domain::Domain;
use sotto_proto::id::{Amount, ChainId, PublicKey, TxId};
use sotto_proto::sign::{Ed25519, Signature, SigningKey, Verify};
use sotto_proto::time::{Now, UnixMillis};

use super::{Fate, Machine, Output, Refusal};
use crate::producer::faucet::FaucetError;
use crate::producer::pool::Offer;
use crate::{BlockDraft, BlockError, TransactionError};

/// For transactions from the pool: their signatures were checked when they were admitted, and do not depend on the
/// state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted;

impl Verify for Admitted {
    fn verify(&self, _: Domain, _: &ChainId, _: &[u8], _: &PublicKey, _: &Signature) -> bool {
        true
    }
}

/// Tries a transaction from the pool on a draft.
pub(super) fn offer(draft: &mut BlockDraft, transaction: &Transaction) -> Offer<TransactionError> {
    match draft.try_add(transaction.clone(), &Admitted) {
        Ok(()) => Offer::Taken,
        Err(TransactionError::BlockFull) => Offer::NoRoom,
        Err(error) => Offer::Refused(error),
    }
}

/// What new transactions are tried on.
pub(super) struct Draft {
    block: BlockDraft,
    /// More waits than was replayed.
    partial: bool,
}

impl Machine {
    /// Admits a transaction if it is valid after the tip and all that waits. One that waits or is in a block already is
    /// as good as admitted, so that whoever got no answer may ask again.
    pub(super) fn submit(&mut self, bytes: &[u8], now: Now, out: &mut Vec<Output>) -> Result<TxId, Refusal> {
        let transaction = Transaction::decode(bytes)?;
        let id = transaction.id(&self.tip().chain());
        if matches!(self.fate(&id), Some(Fate::Waiting | Fate::Included(_))) {
            return Ok(id);
        }
        if let Some(reason) = &self.halted {
            return Err(Refusal::Halted(reason.clone()));
        }
        self.pool.room(&transaction, bytes.len())?;
        self.try_on_draft(&transaction, now, out)?;
        self.outcomes.forget(&id);
        self.pool.insert(id, transaction, now.monotonic)?;
        Ok(id)
    }

    fn try_on_draft(&mut self, transaction: &Transaction, now: Now, out: &mut Vec<Output>) -> Result<(), Refusal> {
        // A full draft is one block more that has to be waited for: the next draft begins after it.
        for _ in 0..2 {
            let mut draft = match self.draft.take() {
                Some(draft) => draft,
                None => self.begin_draft(now, out).map_err(|error| self.defect(error, out))?,
            };
            // Those of the same signer that wait before it; what is in the draft already is refused, and left at that.
            let Draft { block, partial } = &mut draft;
            let before = self.pool.of(&transaction.body.signer).filter(|_| *partial);
            let mut full = false;
            for own in before {
                full |= block.try_add(own.clone(), &Admitted) == Err(TransactionError::BlockFull);
            }
            let tried = match full {
                true => Err(TransactionError::BlockFull),
                false => block.try_add(transaction.clone(), &Ed25519),
            };
            if tried != Err(TransactionError::BlockFull) {
                self.draft = Some(draft);
                return tried.map_err(Refusal::from);
            }
            let block = following(draft.block).map_err(|error| self.defect(error, out))?;
            self.draft = Some(Draft { block, partial: draft.partial });
        }
        Err(TransactionError::BlockFull.into())
    }

    /// The next block with what waits, as far as the pool lets it be replayed; what has become invalid leaves the pool.
    fn begin_draft(&mut self, now: Now, out: &mut Vec<Output>) -> Result<Draft, BlockError> {
        let parent = self.in_flight.as_ref().map_or(self.chain.tip(), |flight| flight.tip());
        let mut block = BlockDraft::begin(parent, next_time(parent.time(), now))?;
        let mut left = self.pool.replayed();
        let selection = self.pool.select(|transaction| match left.checked_sub(1) {
            None => Offer::NoRoom,
            Some(rest) => {
                left = rest;
                offer(&mut block, transaction)
            }
        });
        self.drop_all(selection.dropped, out);
        Ok(Draft { block, partial: left == 0 })
    }

    fn defect(&mut self, error: BlockError, out: &mut Vec<Output>) -> Refusal {
        out.push(Output::Defect(error));
        Refusal::Busy
    }

    /// Tells that transactions have left the pool without a block.
    pub(super) fn drop_all(&mut self, dropped: Vec<(TxId, TransactionError)>, out: &mut Vec<Output>) {
        for (id, error) in dropped {
            let reason = error.to_string();
            self.outcomes.set(id, Fate::Dropped(reason.clone()));
            out.push(Output::Dropped { id, reason });
        }
    }

    /// Signs and admits a transfer from the faucet.
    pub(super) fn give(
        &mut self,
        to: PublicKey,
        amount: Amount,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Result<TxId, Refusal> {
        let faucet = self.faucet.as_mut().ok_or(FaucetError::None)?;
        faucet.allow(amount, now.monotonic)?;
        let key = faucet.key().clone();
        let nonce = self.account(&key.public()).next_nonce;
        let body = TxBody { signer: key.public(), nonce, fee: Amount(0), payload: Payload::Transfer { to, amount } };
        let transaction = Transaction::sign(body, &key, None, &self.tip().chain());
        self.submit(&transaction.encode(), now, out)
    }
}

/// The draft of the block after a full one. That block is signed with a key of no meaning and never leaves this
/// function.
fn following(full: BlockDraft) -> Result<BlockDraft, BlockError> {
    let (_, state) = full.seal(&SigningKey::from_seed(&[0; 32]));
    let time = UnixMillis(state.time().0.saturating_add(1));
    BlockDraft::begin(&state, time)
}

/// A block's time: the clock's, but always after that of the block before.
pub(super) fn next_time(previous: UnixMillis, now: Now) -> UnixMillis {
    UnixMillis(now.wall.0.max(previous.0.saturating_add(1)))
}
