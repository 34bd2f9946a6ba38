//! From the data directory to the states the producer goes on from.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::Path;

use sotto_proto::chain::{Block, Genesis, Transaction};
use sotto_proto::domain::{self, Domain};
use sotto_proto::id::{ChainId, Height, PublicKey};
use sotto_proto::limits::{FINAL_DEPTH, RECENT_MAPS};
use sotto_proto::sign::{Ed25519, Signature, Verify};

use crate::producer::block_log::{BlockLog, OpenError, ReadError, TornTail};
use crate::producer::snapshots::Snapshots;
use crate::{State, apply};

/// Name of the directory of snapshots in the data directory.
pub const SNAPSHOTS: &str = "snapshots";

/// How many of the last states are held: the recent final ones and those above them.
pub const STATES_HELD: usize = RECENT_MAPS + FINAL_DEPTH as usize;

/// A state, and what the block before it did.
#[derive(Clone, Debug)]
pub struct Link {
    /// The state after the block.
    pub state: State,
    /// The block's transactions; none for the genesis and for a snapshot.
    pub transactions: Vec<Transaction>,
}

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The block log cannot be opened.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// A block cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The snapshots cannot be listed.
    #[error("cannot read the snapshots: {0}")]
    Snapshots(#[from] io::Error),
    /// The log has lost blocks that were in it before.
    #[error(
        "the block log ends at {tip}, but there is a snapshot of block {snapshot}: the log was cut or replaced by an \
         older one, and other nodes know the blocks it lacks. Restore it; producing from here would sign a second \
         block of the same heights"
    )]
    Forgotten {
        /// Where the log ends.
        tip: Height,
        /// The snapshot that proves it was longer.
        snapshot: Height,
    },
    /// Old blocks were pruned and no snapshot bridges them.
    #[error("blocks up to {0} are pruned and no snapshot after them can be used")]
    NoStart(Height),
    /// A block of the log does not follow from the state before it.
    #[error("block {height} of the log is invalid: {reason}")]
    Invalid {
        /// The block.
        height: Height,
        /// What is wrong with it.
        reason: String,
    },
}

/// What was found, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What a crash left behind.
    pub torn: Option<TornTail>,
    /// The height replay began at: of a snapshot, or 0.
    pub start: Height,
    /// Snapshots that could not be used, and why.
    pub passed_over: Vec<(Height, String)>,
    /// The tip.
    pub tip: Height,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at block {}, {} replayed from block {}", self.tip, self.tip.since(self.start), self.start)?;
        if let Some(torn) = &self.torn {
            write!(f, "; cut off {} bytes of a write that never finished ({})", torn.bytes, torn.reason)?;
        }
        self.passed_over.iter().try_for_each(|(height, why)| write!(f, "; snapshot {height} not used: {why}"))
    }
}

/// What the producer goes on from.
#[derive(Debug)]
pub struct Recovered {
    /// The block log.
    pub log: BlockLog,
    /// The snapshots.
    pub snapshots: Snapshots,
    /// The last states, oldest first; never empty.
    pub links: VecDeque<Link>,
    /// What was found.
    pub report: Report,
}

/// For blocks from our own log: only the header's signature is checked. It covers the transactions, and nothing signs
/// with the authority's key but this program, after it has checked theirs.
#[derive(Clone, Copy, Debug)]
struct SealedHere;

impl Verify for SealedHere {
    fn verify(&self, domain: Domain, chain: &ChainId, bytes: &[u8], key: &PublicKey, signature: &Signature) -> bool {
        domain != domain::HEADER || Ed25519.verify(domain, chain, bytes, key, signature)
    }
}

/// Opens log and snapshots in `dir` and replays what follows the best snapshot. `cut_damage` gives up blocks from the
/// first damaged one on.
///
/// # Errors
/// [`RecoveryError`]; nothing but a torn end is changed on disk then.
pub fn recover(dir: &Path, genesis: &Genesis, cut_damage: bool) -> Result<Recovered, RecoveryError> {
    let chain = genesis.chain_id();
    let (log, torn) = if cut_damage { BlockLog::open_cutting_damage(dir, chain)? } else { BlockLog::open(dir, chain)? };
    let snapshots = Snapshots::open(dir.join(SNAPSHOTS))?;
    let tip = log.tip();
    let heights = snapshots.heights()?;
    if let Some(&snapshot) = heights.first()
        && snapshot > tip
        && !cut_damage
    {
        return Err(RecoveryError::Forgotten { tip, snapshot });
    }
    let mut passed_over = Vec::new();
    let start = start(&log, &snapshots, &heights, genesis, &mut passed_over)?;
    let report = Report { torn, start: start.height(), passed_over, tip };
    let links = replay(&log, start)?;
    Ok(Recovered { log, snapshots, links, report })
}

/// The newest usable snapshot that leaves enough blocks to replay for all states that are held; else the newest
/// usable; else the genesis.
fn start(
    log: &BlockLog,
    snapshots: &Snapshots,
    heights: &[Height],
    genesis: &Genesis,
    passed_over: &mut Vec<(Height, String)>,
) -> Result<State, RecoveryError> {
    let deep = log.tip().minus(STATES_HELD as u64 - 1);
    let (early, late): (Vec<_>, Vec<_>) =
        heights.iter().filter(|height| **height <= log.tip()).partition(|height| **height <= deep);
    for &height in early.into_iter().chain(late) {
        match usable(log, snapshots, height, genesis) {
            Ok(state) => return Ok(state),
            Err(why) => passed_over.push((height, why)),
        }
    }
    match log.lowest() {
        Height(1) => Ok(State::genesis(genesis)),
        lowest => Err(RecoveryError::NoStart(lowest.minus(1))),
    }
}

fn usable(log: &BlockLog, snapshots: &Snapshots, height: Height, genesis: &Genesis) -> Result<State, String> {
    let (header, state) = snapshots.load(height, genesis).map_err(|error| error.to_string())?;
    if height.next() < log.lowest() {
        return Err(format!("blocks between it and {} are pruned", log.lowest()));
    }
    if height >= log.lowest() {
        let block = log.read(height).map_err(|error| error.to_string())?.unwrap_or_default();
        if !block.starts_with(&header.encode()) {
            return Err("its block is not on the chain".to_owned());
        }
    }
    Ok(state)
}

/// Applies the blocks after `start` and keeps the last states.
fn replay(log: &BlockLog, start: State) -> Result<VecDeque<Link>, RecoveryError> {
    let first = start.height().next();
    let mut links = VecDeque::from([Link { state: start.clone(), transactions: Vec::new() }]);
    let mut state = start;
    for height in (first.0..=log.tip().0).map(Height) {
        let Some(bytes) = log.read(height)? else { break };
        let invalid = |reason: String| RecoveryError::Invalid { height, reason };
        let block = Block::decode(&bytes).map_err(|error| invalid(error.to_string()))?;
        state = apply(&state, &block, &SealedHere).map_err(|error| invalid(error.to_string()))?;
        links.push_back(Link { state: state.clone(), transactions: block.transactions });
        if links.len() > STATES_HELD {
            links.pop_front();
        }
    }
    Ok(links)
}
