//! Following the chain: which block is the tip, what is final, and what to do when the producer changes its mind.
//!
//! - The longest chain counts; of two equally long ones the one seen first.
//! - A block is final when it is [`FINAL_DEPTH`] deep. A longer branch that leaves the chain above the final block
//!   replaces what it must (*reorganisation*). One that leaves it below is a fault that no rule can mend: the follower
//!   *halts* – its view no longer changes, everything else goes on – until an operator decides.
//! - Two signed blocks of one height are kept as evidence.
//!
//! Whole states are kept for the last blocks, so that nothing has to be undone: going back is forgetting.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use sotto_proto::chain::{Block, SignedHeader};
use sotto_proto::codec::DecodeError;
use sotto_proto::id::{BlockHash, ChainId, Height, PublicKey};
use sotto_proto::limits::{FINAL_DEPTH, RECENT_MAPS};
use sotto_proto::network::{NetworkView, Snapshot};
use sotto_proto::sign::Verify;

use crate::apply::{apply, check_root};
use crate::state::State;
use crate::transition::BlockError;

/// States kept: the recent final ones and those that are not final yet.
const STATES: usize = RECENT_MAPS + FINAL_DEPTH as usize;
/// Most blocks of side branches kept. Each is signed by the authority; a longer fork is refused block by block.
const SIDE_BLOCKS: usize = 64;
/// Most pairs of contradicting headers kept.
const EVIDENCE: usize = 16;

/// What became of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is on the chain or a side branch already.
    Known,
    /// It is as old as the oldest block remembered, or older: signed, but there is nothing to compare it with.
    TooOld,
    /// It is the new tip.
    Extended,
    /// It is kept on a branch that is not longer than the chain.
    SideBranch,
    /// It made a side branch the longer one: this many blocks were undone, and these are on the chain now instead.
    Reorganised {
        /// Blocks undone.
        depth: u64,
        /// Blocks that replace and extend them, lowest first.
        blocks: Vec<Block>,
    },
    /// The block before it is not known.
    NeedsParent {
        /// Its height.
        height: Height,
        /// Its hash.
        parent: BlockHash,
    },
    /// It belongs to a longer chain that leaves this one below the final block. The view no longer changes.
    Halted,
}

/// Two headers of one height, both signed by the authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equivocation {
    /// The one on the chain when the other came.
    pub first: SignedHeader,
    /// The other.
    pub second: SignedHeader,
}

impl Equivocation {
    /// Bytes of an encoded one.
    pub const LEN: usize = 2 * SignedHeader::LEN;

    /// Both headers' canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [self.first.encode(), self.second.encode()].concat()
    }

    /// Reads what [`Self::encode`] wrote; whether it holds is for the caller to check.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not exactly two headers.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (first, second) = bytes.split_at_checked(SignedHeader::LEN).ok_or(DecodeError::Value("evidence"))?;
        Ok(Self { first: SignedHeader::decode(first)?, second: SignedHeader::decode(second)? })
    }

    /// The height that has two blocks.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.first.header.height
    }

    /// Whether it proves something: two different headers of one height, both signed by `authority`.
    #[must_use]
    pub fn holds(&self, chain: &ChainId, authority: &PublicKey, verify: &dyn Verify) -> bool {
        let signed = |header: &SignedHeader| header.verify(chain, authority, verify);
        self.first.header.height == self.second.header.height
            && self.first != self.second
            && signed(&self.first)
            && signed(&self.second)
    }

    fn is_same(&self, other: &Self) -> bool {
        self == other || (self.first == other.second && self.second == other.first)
    }
}

#[derive(Clone)]
struct Link {
    state: State,
    /// `None` for the state the follower began with.
    header: Option<SignedHeader>,
    snapshot: Arc<Snapshot>,
}

impl Link {
    fn new(state: State, header: Option<SignedHeader>) -> Self {
        Self { snapshot: Arc::new(state.snapshot()), state, header }
    }
}

/// Follows the chain block by block. A value: no clock, no disk, no network.
#[derive(Clone)]
pub struct Follower {
    /// The last states, oldest first; never empty.
    links: VecDeque<Link>,
    tip: State,
    side: BTreeMap<BlockHash, Block>,
    evidence: VecDeque<Equivocation>,
    /// How often evidence was taken in, also what is forgotten by now.
    equivocations: u64,
    halted: bool,
}

impl Follower {
    /// Follows on from `state`: the genesis, or a snapshot.
    #[must_use]
    pub fn new(state: State) -> Self {
        Self {
            links: VecDeque::from([Link::new(state.clone(), None)]),
            tip: state,
            side: BTreeMap::new(),
            evidence: VecDeque::new(),
            equivocations: 0,
            halted: false,
        }
    }

    /// The state of the newest block.
    #[must_use]
    pub const fn tip(&self) -> &State {
        &self.tip
    }

    /// Whether a fork below the final block was seen.
    #[must_use]
    pub const fn is_halted(&self) -> bool {
        self.halted
    }

    /// Contradicting headers seen, oldest first; the last 16.
    pub fn evidence(&self) -> impl Iterator<Item = &Equivocation> {
        self.evidence.iter()
    }

    /// How often evidence was taken in so far: grows when there is new one.
    #[must_use]
    pub const fn equivocations(&self) -> u64 {
        self.equivocations
    }

    /// Takes in evidence kept from before, if it holds. Says whether it is new.
    pub fn remember(&mut self, evidence: Equivocation, verify: &dyn Verify) -> bool {
        let holds = evidence.holds(&self.tip.chain(), &self.tip.founding().authority, verify);
        holds && self.take_evidence(evidence)
    }

    /// F: the newest height that no reorganisation can undo. Right after a start from a snapshot its state may not be
    /// remembered; the [`view`](Self::view) is of the snapshot's height then.
    #[must_use]
    pub fn final_height(&self) -> Height {
        self.tip.height().minus(FINAL_DEPTH)
    }

    /// The state of a recent height of the chain.
    #[must_use]
    pub fn state_at(&self, height: Height) -> Option<&State> {
        self.links.iter().rev().map(|link| &link.state).find(|state| state.height() == height)
    }

    /// The signed header of a recent height of the chain.
    #[must_use]
    pub fn header_at(&self, height: Height) -> Option<&SignedHeader> {
        self.links.iter().rev().find(|link| link.state.height() == height)?.header.as_ref()
    }

    /// What the rest of the program works with: the final state and the recent ones before it.
    ///
    /// After a start from a snapshot there may be no state 3 deep yet; the oldest known stands in for it, which is
    /// final, because snapshots are made of final states only.
    #[must_use]
    pub fn view(&self) -> NetworkView {
        let limit = self.final_height();
        let mut snapshots: Vec<_> = self
            .links
            .iter()
            .rev()
            .filter(|link| link.state.height() <= limit)
            .map(|link| &link.snapshot)
            .cloned()
            .collect();
        if snapshots.is_empty() {
            snapshots.extend(self.links.front().map(|link| Arc::clone(&link.snapshot)));
        }
        let current = if snapshots.is_empty() { Arc::new(self.tip.snapshot()) } else { snapshots.remove(0) };
        NetworkView::new(self.tip.chain(), self.tip.height(), self.halted, current, snapshots)
    }

    /// Takes a block in.
    ///
    /// # Errors
    /// [`BlockError`] if it, or a block of the side branch it ends, is invalid; the chain has not changed then.
    pub fn insert(&mut self, block: Block, verify: &dyn Verify) -> Result<Inserted, BlockError> {
        if self.halted {
            return Ok(Inserted::Halted);
        }
        if block.header.header.previous == self.tip.tip_hash() {
            let state = apply(&self.tip, &block, verify)?;
            self.push(state, block.header);
            return Ok(Inserted::Extended);
        }
        self.insert_side(block, verify)
    }

    fn insert_side(&mut self, block: Block, verify: &dyn Verify) -> Result<Inserted, BlockError> {
        let chain = self.tip.chain();
        // Before anything is said of it or kept: nobody but the authority can make us keep a block or pass it on, and
        // nobody at all can put another body under its header, which the hash does not cover.
        if !block.header.verify(&chain, &self.tip.founding().authority, verify) {
            return Err(BlockError::Signature);
        }
        check_root("transactions", block.tx_root(), block.header.header.tx_root)?;
        let hash = block.hash(&chain);
        let (height, parent) = (block.height(), block.header.header.previous);
        if self.side.contains_key(&hash) || self.is_on_chain(&hash) {
            return Ok(Inserted::Known);
        }
        let oldest = self.oldest();
        if height <= oldest {
            return Ok(Inserted::TooOld);
        }
        self.note_equivocation(&block.header);
        // A block right after the oldest remembered one that follows another leaves the chain somewhere below: the
        // first of a branch that can only ever halt us.
        let placed = self.side.contains_key(&parent) || self.is_on_chain(&parent) || height == oldest.next();
        if !placed {
            return Ok(Inserted::NeedsParent { height: height.minus(1), parent });
        }
        self.side.insert(hash, block);
        let result = if height <= self.tip.height() { Ok(Inserted::SideBranch) } else { self.switch_to(hash, verify) };
        self.forget_old_side_blocks();
        result
    }

    fn is_on_chain(&self, hash: &BlockHash) -> bool {
        self.links.iter().any(|link| link.state.tip_hash() == *hash)
    }

    /// The oldest height whose state is remembered.
    fn oldest(&self) -> Height {
        self.links.front().map_or(Height::ZERO, |link| link.state.height())
    }

    fn note_equivocation(&mut self, second: &SignedHeader) {
        if let Some(first) = self.header_at(second.header.height).cloned() {
            self.take_evidence(Equivocation { first, second: second.clone() });
        }
    }

    fn take_evidence(&mut self, pair: Equivocation) -> bool {
        let is_new = !self.evidence.iter().any(|known| known.is_same(&pair));
        if is_new {
            if self.evidence.len() == EVIDENCE {
                self.evidence.pop_front();
            }
            self.evidence.push_back(pair);
            self.equivocations += 1;
        }
        is_new
    }

    /// Makes the branch that ends in `hash` the chain, if it leaves the chain above the final block and is valid.
    fn switch_to(&mut self, hash: BlockHash, verify: &dyn Verify) -> Result<Inserted, BlockError> {
        let mut branch = VecDeque::new();
        let mut at = hash;
        while let Some(block) = self.side.get(&at) {
            at = block.header.header.previous;
            branch.push_front(block.clone());
        }
        let fork = self.links.iter().position(|link| link.state.tip_hash() == at);
        let depth = fork.map(|fork| self.tip.height().since(self.links[fork].state.height()));
        // Without a fork among what is remembered it lies below all of that.
        let (Some(fork), Some(depth @ 0..=FINAL_DEPTH)) = (fork, depth) else {
            self.halted = true;
            return Ok(Inserted::Halted);
        };
        let mut states = Vec::with_capacity(branch.len());
        let mut state = self.links[fork].state.clone();
        for block in &branch {
            match apply(&state, block, verify) {
                Ok(next) => state = next,
                Err(error) => {
                    self.forget_branch(&block.hash(&state.chain()));
                    return Err(error);
                }
            }
            states.push(state.clone());
        }
        self.links.truncate(fork + 1);
        for (state, block) in states.into_iter().zip(&branch) {
            self.side.remove(&state.tip_hash());
            self.push(state, block.header.clone());
        }
        Ok(Inserted::Reorganised { depth, blocks: branch.into() })
    }

    fn push(&mut self, state: State, header: SignedHeader) {
        self.tip = state.clone();
        self.links.push_back(Link::new(state, Some(header)));
        if self.links.len() > STATES {
            self.links.pop_front();
        }
    }

    /// Drops an invalid block and everything built on it.
    fn forget_branch(&mut self, root: &BlockHash) {
        let mut gone = vec![*root];
        while let Some(hash) = gone.pop() {
            self.side.remove(&hash);
            gone.extend(
                self.side.iter().filter(|(_, block)| block.header.header.previous == hash).map(|(hash, _)| *hash),
            );
        }
    }

    fn forget_old_side_blocks(&mut self) {
        let oldest = self.oldest();
        self.side.retain(|_, block| block.height() > oldest);
        while self.side.len() > SIDE_BLOCKS {
            let Some(lowest) =
                self.side.iter().min_by_key(|(hash, block)| (block.height(), **hash)).map(|(hash, _)| *hash)
            else {
                return;
            };
            self.side.remove(&lowest);
        }
    }
}
