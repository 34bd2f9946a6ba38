//! What to fetch from whom: a pure state machine.
//!
//! Gossip brings new blocks one by one. `Sync` notices when it does not: peers say how high their chain is, and what is
//! missing is fetched range by range. Ranges are asked for in ascending order, one in flight per peer and two
//! altogether: while one is being inserted the next is fetched, and where a peer is slow a second one is asked for the
//! same. What a peer says about itself decides only whom to ask; what counts is what its blocks turn out to be.
//!
//! ```text
//! connected, disconnected, heard,    ┌──────┐
//! behind, set_tip, set_gossiping, ──▶│ Sync │──▶ Output::{Tip, Blocks}      to a peer
//! answered, failed, inserted,        └──────┘
//! timeout                                        answered() says what goes up
//! ```

mod peers;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sotto_proto::id::{Height, NodeId};
use sotto_proto::limits::CHAIN_ANSWER_BYTES;
use sotto_proto::request::Error;
use sotto_proto::time::Monotonic;

use self::peers::Peers;
use super::config::{
    BACKOFF_FIRST, BUSY, FETCHES, GAP, GRACE, INSERTION, INVALID, QUIET, QUIET_UNREGISTERED, RETRY_AFTER_MAX, REWIND,
    SLOW,
};
use crate::network::{FetchId, FetchOutcome};

/// What to ask a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Its newest block.
    Tip {
        /// Whom to ask.
        node: NodeId,
    },
    /// Blocks.
    Blocks {
        /// Whom to ask.
        node: NodeId,
        /// What the answer names.
        fetch: FetchId,
        /// Height of the first one.
        from: Height,
        /// Bytes at most.
        max_bytes: u32,
    },
}

/// How a fetch ended that brought no blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No answer, or none that can be understood.
    Broken,
    /// The peer refused.
    Refused(Error),
}

/// A range under way.
#[derive(Clone, Copy, Debug)]
struct Fetch {
    node: NodeId,
    from: Height,
    /// Ranges asked for before the last rewind are of no use any more.
    generation: u64,
    since: Monotonic,
    /// The blocks have come and are being inserted.
    inserting: bool,
    /// How many have come.
    count: u64,
}

/// The state machine.
#[derive(Debug)]
pub struct Sync {
    peers: Peers,
    local: Height,
    /// The first height not asked for yet, or asked for without an answer so far.
    cursor: Height,
    generation: u64,
    fetches: BTreeMap<FetchId, Fetch>,
    next_fetch: u64,
    /// Who is to be asked from further back, once it has answered what it was asked before; if the range to ask for is
    /// then still the one of this generation, from this height.
    again: Option<(NodeId, u64, Height)>,
    gossiping: bool,
    /// The last time a block came or a peer said that there is none.
    quiet_since: Monotonic,
    /// Since when blocks are known to be missing.
    missing_since: Option<Monotonic>,
    next: Option<Monotonic>,
    outputs: VecDeque<Output>,
}

impl Sync {
    /// A chain whose newest block is at `local`.
    #[must_use]
    pub fn new(producer: NodeId, local: Height, now: Monotonic) -> Self {
        Self {
            peers: Peers::new(producer),
            local,
            cursor: local.next(),
            generation: 0,
            fetches: BTreeMap::new(),
            next_fetch: 0,
            again: None,
            gossiping: false,
            quiet_since: now,
            missing_since: None,
            next: None,
            outputs: VecDeque::new(),
        }
    }

    /// A node, or the producer, is connected: it is asked once how high its chain is.
    pub fn connected(&mut self, node: NodeId) {
        if self.peers.insert(node) {
            self.outputs.push_back(Output::Tip { node });
        }
    }

    /// It is no longer connected.
    pub fn disconnected(&mut self, node: NodeId, now: Monotonic) {
        self.peers.remove(&node);
        self.again.take_if(|(again, ..)| *again == node);
        self.fetches.retain(|_, fetch| fetch.node != node || fetch.inserting);
        self.advance(now);
    }

    /// `node` has a block of this height.
    pub fn heard(&mut self, node: NodeId, height: Height, now: Monotonic) {
        self.peers.has(&node, height);
        self.advance(now);
    }

    /// A block of this height came from `node`, and its parent is not known.
    pub fn behind(&mut self, node: NodeId, height: Height, now: Monotonic) {
        self.peers.has(&node, height);
        if height <= self.local.next() && self.fetches.is_empty() {
            // Not missing but on another branch.
            self.rewind();
        }
        self.missing_since = Some(Monotonic::default());
        self.advance(now);
    }

    /// Something is wrong with what came by gossip: asks somebody for the next block soon.
    pub fn look(&mut self, now: Monotonic) {
        self.quiet_since = Monotonic::default();
        self.advance(now);
    }

    /// The own newest block. It never goes back: a view may be told later than what was inserted after it.
    pub fn set_tip(&mut self, local: Height, now: Monotonic) {
        if local > self.local {
            self.quiet_since = now;
            self.local = local;
        }
        self.cursor = self.cursor.max(local.next());
        self.advance(now);
    }

    /// Whether the own node is registered, so that blocks come by gossip.
    pub fn set_gossiping(&mut self, gossiping: bool, now: Monotonic) {
        self.gossiping = gossiping;
        self.advance(now);
    }

    /// Blocks came. Says whether they are to be inserted; if so, [`Sync::inserted`] must follow.
    pub fn answered(&mut self, id: FetchId, count: usize, tip: Height, now: Monotonic) -> bool {
        let Some(fetch) = self.fetches.get_mut(&id) else { return false };
        self.peers.answered(&fetch.node, tip);
        let wanted = fetch.generation == self.generation && fetch.from == self.cursor;
        if wanted && count > 0 {
            fetch.inserting = true;
            fetch.count = count as u64;
            fetch.since = now;
            self.cursor = fetch.from.plus(count as u64);
            self.advance(now);
            return true;
        }
        let node = fetch.node;
        let expected = wanted && self.peers.claims(&node, self.cursor);
        self.fetches.remove(&id);
        self.quiet_since = now;
        if expected {
            // It says it has more and sends nothing.
            self.peers.pause_after_failure(&node, BACKOFF_FIRST, now);
        }
        self.advance(now);
        false
    }

    /// No blocks came.
    pub fn failed(&mut self, id: FetchId, failure: &Failure, now: Monotonic) {
        let Some(fetch) = self.fetches.remove(&id) else { return };
        if self.again.take_if(|(again, ..)| *again == fetch.node).is_some() {
            self.peers.not_rewound(&fetch.node);
        }
        match failure {
            Failure::Refused(Error::RateLimited { retry_after }) => {
                self.peers.pause(&fetch.node, (*retry_after).clamp(BUSY, RETRY_AFTER_MAX), now);
            }
            Failure::Refused(Error::Busy) => self.peers.pause(&fetch.node, BUSY, now),
            Failure::Refused(Error::Unavailable { lowest }) if *lowest > fetch.from => {
                self.peers.pruned_below(&fetch.node, *lowest);
            }
            Failure::Refused(_) | Failure::Broken => {
                self.peers.pause_after_failure(&fetch.node, BACKOFF_FIRST, now);
            }
        }
        self.quiet_since = now;
        self.advance(now);
    }

    /// What became of the blocks of a fetch.
    pub fn inserted(&mut self, id: FetchId, outcome: FetchOutcome, now: Monotonic) {
        let Some(fetch) = self.fetches.remove(&id) else { return };
        let current = fetch.generation == self.generation;
        self.quiet_since = now;
        match outcome {
            FetchOutcome::Inserted { tip } if tip.next() < fetch.from.plus(fetch.count) => {
                // They do not reach as far as they were said to: old blocks, copies, or a chain we halted before. To
                // go on from there would ask honest peers for heights that nobody has.
                self.local = tip;
                self.peers.pause_after_failure(&fetch.node, BACKOFF_FIRST, now);
                if current {
                    self.restart();
                }
            }
            FetchOutcome::Inserted { tip } => {
                self.peers.useful(&fetch.node);
                self.local = tip;
                self.cursor = self.cursor.max(tip.next());
            }
            FetchOutcome::NeedsParent if current && self.peers.rewound(&fetch.node) => {
                self.rewind();
                // The same peer: others may all be on the branch that is to be left.
                self.again = Some((fetch.node, self.generation, self.cursor));
            }
            FetchOutcome::NeedsParent => {
                if current {
                    // It was asked from further back before and its blocks still do not fit.
                    self.peers.pause_after_failure(&fetch.node, INVALID, now);
                    self.restart();
                }
            }
            FetchOutcome::Invalid => {
                self.peers.pause_after_failure(&fetch.node, INVALID, now);
                if current {
                    self.restart();
                }
            }
        }
        self.advance(now);
    }

    /// When [`Sync::timeout`] is due.
    #[must_use]
    pub const fn next_timeout(&self) -> Option<Monotonic> {
        self.next
    }

    /// Does what is due.
    pub fn timeout(&mut self, now: Monotonic) {
        self.advance(now);
    }

    /// What to ask.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// From below the last blocks that everybody has in common.
    fn rewind(&mut self) {
        self.generation += 1;
        self.cursor = self.local.minus(REWIND).max(Height(1));
    }

    /// From the own tip.
    fn restart(&mut self) {
        self.generation += 1;
        self.cursor = self.local.next();
    }

    /// Asks for what is missing, and sets the timer.
    fn advance(&mut self, now: Monotonic) {
        self.next = None;
        self.give_up_insertions(now);
        let beyond_tip = self.cursor > self.local.next();
        if beyond_tip && self.fetches.is_empty() && !self.peers.anybody_has(self.cursor) {
            // The rest of a branch that did not become ours and that nobody has any more.
            self.restart();
        }
        let under_way = |node: &NodeId| self.fetches.values().any(|fetch| fetch.node == *node && !fetch.inserting);
        if let Some((node, generation, from)) = self.again.take_if(|(node, ..)| !under_way(node)) {
            if (generation, from) == (self.generation, self.cursor) {
                self.ask(node, from, now);
            } else {
                // Others were asked meanwhile, and had what was missing.
                self.peers.not_rewound(&node);
            }
        }
        self.note_missing(now);
        while self.fetch_next(now) {}
        self.poll_when_quiet(now);
    }

    fn give_up_insertions(&mut self, now: Monotonic) {
        let mut next = self.next;
        let before = self.fetches.len();
        self.fetches.retain(|_, fetch| {
            let until = fetch.since.plus(INSERTION);
            let keep = !fetch.inserting || until > now;
            if keep && fetch.inserting {
                next = Some(next.map_or(until, |next| next.min(until)));
            }
            keep
        });
        self.next = next;
        if self.fetches.len() < before {
            self.restart();
        }
    }

    /// Blocks that are about to come by gossip are not missing yet.
    fn note_missing(&mut self, now: Monotonic) {
        match self.peers.highest() {
            Some(highest) if highest >= self.cursor => {
                self.missing_since.get_or_insert(now);
            }
            _ => self.missing_since = None,
        }
    }

    /// Whether one more request went out.
    fn fetch_next(&mut self, now: Monotonic) -> bool {
        let Some(missing_since) = self.missing_since else { return false };
        let in_order = self.gossiping && self.peers.highest().is_some_and(|h| h.since(self.local) <= GAP);
        let due = if in_order { missing_since.plus(GRACE) } else { now };
        if due > now {
            self.wake(due);
            return false;
        }
        if self.fetches.len() >= FETCHES {
            return false;
        }
        let waiting = || self.fetches.values().filter(|fetch| !fetch.inserting);
        let asked: Vec<NodeId> = waiting().map(|fetch| fetch.node).collect();
        let newest = waiting().map(|fetch| fetch.since).max();
        if let Some(slow_at) = newest.map(|since| since.plus(SLOW)).filter(|at| *at > now) {
            self.wake(slow_at);
            return false;
        }
        match self.peers.choose(self.cursor, &asked, now) {
            Ok(node) => {
                self.ask(node, self.cursor, now);
                true
            }
            Err(later) => {
                if let Some(at) = later {
                    self.wake(at);
                }
                false
            }
        }
    }

    /// With nothing under way and nothing new for a while, asks somebody for the next block, whatever he claimed: a
    /// peer that claims much and sends nothing must not keep us from the others.
    fn poll_when_quiet(&mut self, now: Monotonic) {
        if !self.fetches.is_empty() {
            return;
        }
        let due = self.quiet_since.plus(if self.gossiping { QUIET } else { QUIET_UNREGISTERED });
        if due > now {
            self.wake(due);
            return;
        }
        match self.peers.choose(Height::ZERO, &[], now) {
            Ok(node) => self.ask(node, self.cursor, now),
            Err(Some(at)) => self.wake(at),
            Err(None) => {}
        }
    }

    fn ask(&mut self, node: NodeId, from: Height, now: Monotonic) {
        let fetch = FetchId(self.next_fetch);
        self.next_fetch += 1;
        self.peers.asked(&node);
        self.fetches
            .insert(fetch, Fetch { node, from, generation: self.generation, since: now, inserting: false, count: 0 });
        self.outputs.push_back(Output::Blocks { node, fetch, from, max_bytes: MAX_BYTES });
        self.wake(now.plus(SLOW));
    }

    fn wake(&mut self, at: Monotonic) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

/// What one answer may hold.
#[expect(clippy::cast_possible_truncation, reason = "a megabyte")]
const MAX_BYTES: u32 = CHAIN_ANSWER_BYTES as u32;

/// Doubled with each failure, up to the longest.
fn backoff(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(1 << failures.min(16)).min(super::config::BACKOFF_MAX.max(first))
}
