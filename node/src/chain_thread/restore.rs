//! From what is on disk back to the chain as it was: the newest snapshot that leaves the recent final states to replay,
//! then the blocks after it.
//!
//! Nothing on disk is believed that the authority has not signed: a snapshot must have the roots of the signed header of
//! its height, and every replayed block the roots that follow from it. Transactions' own signatures are not checked
//! again, since the signed header covers them. What does not hold is dropped, and fetched from the network again.

use std::time::{Duration, Instant};

use sotto_chain::{Equivocation, Follower, Inserted, State};
use sotto_proto::chain::{Block, Genesis};
use sotto_proto::domain::{self, Domain};
use sotto_proto::id::{ChainId, Height, PublicKey};
use sotto_proto::limits::{FINAL_DEPTH, RECENT_MAPS};
use sotto_proto::sign::{Ed25519, Signature, Verify};

use crate::store::{Batch, Limit, MetaKey, Store, StoreError, StoredSnapshot, Write};

/// Blocks read at once.
const CHUNK: Limit = Limit { bytes: 1 << 20, count: 256 };
/// States to have after a start: the recent final ones and those not final yet.
const STATES: u64 = RECENT_MAPS as u64 + FINAL_DEPTH;

/// Why the chain cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The database cannot be read or written, or is of another chain.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The chain as it was.
#[derive(Clone)]
pub struct Restored {
    /// It.
    pub follower: Follower,
    /// Height of the newest snapshot on disk; 0: none.
    pub snapshot: Height,
    /// Height of the oldest block on disk; of the next if there is none.
    pub lowest: Height,
    /// Where the replay began.
    pub from: Height,
    /// Blocks replayed.
    pub replayed: u64,
    /// How long all took.
    pub took: Duration,
}

impl std::fmt::Debug for Restored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Restored({} + {} in {:?})", self.from, self.replayed, self.took)
    }
}

/// Restores the chain of `genesis` from `store`, and drops from it what does not hold.
///
/// # Errors
/// [`RestoreError`] when the store refuses or belongs to another chain. Damage is no error.
pub fn restore(genesis: &Genesis, store: &mut dyn Store) -> Result<Restored, RestoreError> {
    let start = Instant::now();
    claim(&genesis.chain_id(), store)?;
    let state = match first_state(genesis, store)? {
        Some(state) => state,
        None => {
            store.write(&Batch { writes: vec![Write::DeleteBlocksFrom(Height::ZERO)] })?;
            State::genesis(genesis)
        }
    };
    let from = state.height();
    let mut follower = Follower::new(state);
    let replayed = replay(&mut follower, store)?;
    remember_evidence(&mut follower, store)?;
    let tip = follower.tip().height();
    let snapshot = store.snapshot(tip)?.map_or(Height::ZERO, |snapshot| snapshot.height);
    let lowest = store.block_range()?.map_or(tip.next(), |range| *range.start());
    Ok(Restored { follower, snapshot, lowest, from, replayed, took: start.elapsed() })
}

/// The database belongs to one chain, from its first use on.
fn claim(chain: &ChainId, store: &mut dyn Store) -> Result<(), StoreError> {
    match store.meta(MetaKey::Chain)? {
        None => {
            store.write(&Batch::of(Write::PutMeta(MetaKey::Chain, chain.as_bytes().to_vec())))?;
            store.sync()
        }
        Some(found) if found == chain.as_bytes() => Ok(()),
        Some(found) => Err(StoreError::OtherChain { found: hex::encode(found), expected: chain.to_string() }),
    }
}

/// The state to replay from; `None` if there is none whose following blocks are there.
fn first_state(genesis: &Genesis, store: &mut dyn Store) -> Result<Option<State>, RestoreError> {
    let Some(range) = store.block_range()? else { return Ok(Some(State::genesis(genesis))) };
    let (lowest, tip) = (*range.start(), *range.end());
    // First one that leaves enough to replay, then any.
    for at_most in [tip.minus(STATES), tip] {
        if let Some(state) = newest_good_snapshot(genesis, store, lowest, at_most)? {
            return Ok(Some(state));
        }
    }
    if lowest == Height(1) {
        return Ok(Some(State::genesis(genesis)));
    }
    tracing::warn!("no snapshot fits the blocks on disk; the chain is fetched again");
    Ok(None)
}

fn newest_good_snapshot(
    genesis: &Genesis,
    store: &mut dyn Store,
    lowest: Height,
    at_most: Height,
) -> Result<Option<State>, RestoreError> {
    while let Some(snapshot) = store.snapshot(at_most)? {
        if snapshot.height.next() < lowest {
            return Ok(None);
        }
        match check_snapshot(genesis, store, &snapshot)? {
            Ok(state) => return Ok(Some(state)),
            Err(reason) => {
                tracing::warn!(height = snapshot.height.0, reason, "a snapshot is damaged; it is dropped");
                store.write(&Batch::of(Write::DeleteSnapshot(snapshot.height)))?;
            }
        }
    }
    Ok(None)
}

/// The state of a snapshot, if the signed header of its height vouches for it.
fn check_snapshot(
    genesis: &Genesis,
    store: &dyn Store,
    snapshot: &StoredSnapshot,
) -> Result<Result<State, String>, StoreError> {
    let Some(stored) = store.block(snapshot.height)? else {
        return Ok(Err("its block is not there".into()));
    };
    Ok(check_state(genesis, &stored.bytes, &snapshot.bytes))
}

fn check_state(genesis: &Genesis, block: &[u8], snapshot: &[u8]) -> Result<State, String> {
    let block = Block::decode(block).map_err(|error| error.to_string())?;
    let chain = genesis.chain_id();
    if !block.header.verify(&chain, &genesis.authority, &Ed25519) {
        return Err("the signature of its block does not hold".into());
    }
    let state = State::decode(genesis, snapshot).map_err(|error| error.to_string())?;
    if state.is_after(&block.header) { Ok(state) } else { Err("it is not the state after its block".into()) }
}

/// Applies the stored blocks after the follower's tip; drops from the first that does not follow.
fn replay(follower: &mut Follower, store: &mut dyn Store) -> Result<u64, StoreError> {
    let mut replayed = 0;
    loop {
        let next = follower.tip().height().next();
        let blocks = store.blocks(next, CHUNK)?;
        if blocks.is_empty() {
            return drop_from(next, store).map(|()| replayed);
        }
        for stored in blocks {
            let inserted = Block::decode(&stored.bytes)
                .map_err(|error| error.to_string())
                .and_then(|block| follower.insert(block, &SignedByAuthority).map_err(|error| error.to_string()));
            match inserted {
                Ok(Inserted::Extended) => replayed += 1,
                other => {
                    tracing::warn!(height = stored.height.0, ?other, "a block on disk is damaged; it is fetched again");
                    return drop_from(stored.height, store).map(|()| replayed);
                }
            }
        }
    }
}

/// What was known against the producer before; what does not hold is left out.
fn remember_evidence(follower: &mut Follower, store: &dyn Store) -> Result<(), StoreError> {
    for bytes in store.meta(MetaKey::Evidence)?.unwrap_or_default().chunks(Equivocation::LEN) {
        let kept = Equivocation::decode(bytes).is_ok_and(|evidence| follower.remember(evidence, &Ed25519));
        if !kept {
            tracing::warn!("evidence on disk is damaged; it is dropped");
        }
    }
    Ok(())
}

/// Drops blocks at `height` and above, if there are any: behind a gap, or damaged.
fn drop_from(height: Height, store: &mut dyn Store) -> Result<(), StoreError> {
    match store.block_range()? {
        Some(range) if *range.end() >= height => store.write(&Batch::of(Write::DeleteBlocksFrom(height))),
        _ => Ok(()),
    }
}

/// Checks headers only: what they cover needs no second signature.
#[derive(Clone, Copy, Debug)]
struct SignedByAuthority;

impl Verify for SignedByAuthority {
    fn verify(&self, domain: Domain, chain: &ChainId, bytes: &[u8], key: &PublicKey, signature: &Signature) -> bool {
        domain != domain::HEADER || Ed25519.verify(domain, chain, bytes, key, signature)
    }
}
