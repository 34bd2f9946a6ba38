//! The rules of block production: what comes in, what goes out, no clock, no disk, no network.
//!
//! ```text
//!   Timer, Submit, Faucet, Produce, Fault, Seen ──▶ ┌─────────┐ ──▶ Persist ──▶ disk
//!                                                   │ Machine │
//!   Durable ◀── disk ─────────────────────────────▶ └─────────┘ ──▶ Adopted, Publish, Reply
//! ```
//!
//! | input | handled in |
//! | --- | --- |
//! | [`Input::Timer`], [`Input::Durable`], [`Input::Produce`] | `produce` |
//! | [`Input::Submit`], [`Input::Faucet`] | `admit` |
//! | [`Input::Fault`] | `fault` |
//! | [`Input::Seen`] | here |
//!
//! At most one batch of blocks is on its way to disk. Its blocks are neither published nor built upon before
//! [`Input::Durable`], so whatever left the process is found again after a crash.

mod admit;
mod chain;
mod fault;
mod outcomes;
mod produce;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use sotto_proto::chain::{Preset, SignedHeader};
use sotto_proto::codec::DecodeError;
use sotto_proto::id::{Amount, BlockHash, Height, PublicKey, TxId};
use sotto_proto::network::NetworkView;
use sotto_proto::sign::{Ed25519, SigningKey};
use sotto_proto::time::{Monotonic, Now};

use self::admit::Draft;
pub use self::chain::Chain;
pub use self::fault::{Fault, MAX_HEADS, MAX_REORG};
pub use self::outcomes::{Fate, Outcomes};
use self::produce::{InFlight, Job, Split};
use crate::producer::block_log::Entry;
use crate::producer::faucet::{Faucet, FaucetError};
use crate::producer::pool::{Full, Limits, Pool};
use crate::producer::schedule::{Pace, Schedule};
use crate::{BlockError, State, TransactionError};

/// Names who waits for a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What happens to the machine.
#[derive(Debug)]
pub enum Input {
    /// The time of [`Machine::next_timer`] has come.
    Timer,
    /// The blocks of the last [`Output::Persist`] are on disk.
    Durable,
    /// A transaction is submitted.
    Submit {
        /// Who waits.
        ticket: Ticket,
        /// B7 wire bytes from anybody.
        transaction: Vec<u8>,
    },
    /// Coins are asked of the faucet.
    Faucet {
        /// Who waits.
        ticket: Ticket,
        /// For whom.
        to: PublicKey,
        /// How many.
        amount: Amount,
    },
    /// Blocks are wanted at once.
    Produce {
        /// Who waits; answered when they are on disk.
        ticket: Ticket,
        /// How many.
        count: u64,
    },
    /// A fault is wanted.
    Fault {
        /// Who waits.
        ticket: Ticket,
        /// Which.
        fault: Fault,
    },
    /// A header that claims to be of this chain came from the network.
    Seen(Box<SignedHeader>),
}

/// Whom a block is shown to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// All peers.
    All,
    /// All but the second half.
    FirstHalf,
    /// Every second node that is connected when a split begins; the same ones until it ends.
    SecondHalf,
}

/// What the machine wants done, in this order.
#[derive(Debug)]
pub enum Output {
    /// Append these blocks to the log as one batch and answer with [`Input::Durable`]. If that fails, stop the process.
    Persist(Vec<Entry>),
    /// The chain has a new tip.
    Adopted {
        /// Blocks that are no longer on it.
        undone: u64,
        /// Blocks that are new on it.
        added: u64,
    },
    /// Gossip a block.
    Publish {
        /// B7 bytes.
        block: Vec<u8>,
        /// To whom.
        audience: Audience,
    },
    /// Answer who waits.
    Reply {
        /// Who.
        ticket: Ticket,
        /// The answer.
        reply: Result<Reply, Refusal>,
    },
    /// A transaction left the pool without getting into a block.
    Dropped {
        /// Which.
        id: TxId,
        /// Why.
        reason: String,
    },
    /// Nothing more is produced; see [`Machine::halted`].
    Halted,
    /// The state machine failed on its own block. A defect: stop the process.
    Defect(BlockError),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The transaction waits for a block, or is in one.
    Submitted(TxId),
    /// The blocks are on disk.
    Produced {
        /// The tip now.
        tip: Height,
    },
    /// The fault takes place.
    Faulted,
}

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no transaction.
    #[error("not a transaction: {0}")]
    Malformed(#[from] DecodeError),
    /// The chain's rules refuse the transaction.
    #[error("{0}")]
    Invalid(#[from] TransactionError),
    /// There is no room for it.
    #[error(transparent)]
    Full(#[from] Full),
    /// The faucet gives nothing.
    #[error(transparent)]
    Faucet(#[from] FaucetError),
    /// Faults are for testnets.
    #[error("faults can be asked for on testnets only; this chain was founded as mainnet")]
    NotTestnet,
    /// A count or factor cannot be.
    #[error("{what} {actual}: must be {least} to {most}")]
    Range {
        /// What it is of.
        what: &'static str,
        /// What was asked for.
        actual: u64,
        /// The smallest possible.
        least: u64,
        /// The largest possible.
        most: u64,
    },
    /// More blocks than there are would be undone.
    #[error("cannot undo {depth} blocks: only {held} are held in memory")]
    TooDeep {
        /// What was asked for.
        depth: u64,
        /// How many could be undone.
        held: u64,
    },
    /// Too much waits already.
    #[error("too many requests wait for blocks already")]
    Busy,
    /// No blocks are produced any more.
    #[error("nothing is produced any more: {0}")]
    Halted(String),
}

/// An account as the next transaction of its owner has to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// Coins after the tip.
    pub balance: Amount,
    /// Nonce after the tip.
    pub nonce: u64,
    /// The nonce to sign with: after what waits.
    pub next_nonce: u64,
}

/// The block producer's rules; see the module's documentation.
pub struct Machine {
    authority: SigningKey,
    preset: Preset,
    chain: Chain,
    pool: Pool,
    /// The next block as far as it is known: what new transactions are tried on.
    draft: Option<Draft>,
    schedule: Schedule,
    in_flight: Option<InFlight>,
    jobs: VecDeque<Job>,
    split: Option<Split>,
    outcomes: Outcomes,
    faucet: Option<Faucet>,
    halted: Option<String>,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("tip", self.tip())
            .field("waiting", &self.pool.len())
            .field("in_flight", &self.in_flight.is_some())
            .field("pace", &self.schedule.pace())
            .field("halted", &self.halted)
            .finish_non_exhaustive()
    }
}

impl Machine {
    /// Goes on from `chain`, signing with `authority`. Without `faucet` nothing is given away.
    #[must_use]
    pub fn new(chain: Chain, authority: SigningKey, faucet: Option<Faucet>, now: Now) -> Self {
        let tip = chain.tip();
        let interval = Duration::from_millis(tip.params().block_time_ms);
        let passed = Duration::from_millis(now.wall.0.saturating_sub(tip.time().0));
        let due = now.monotonic.plus(interval.saturating_sub(passed));
        let preset = tip.founding().preset;
        Self {
            authority,
            preset,
            pool: Pool::new(Limits::default()),
            draft: None,
            schedule: Schedule::new(interval, due),
            in_flight: None,
            jobs: VecDeque::new(),
            split: None,
            outcomes: Outcomes::default(),
            faucet: faucet.filter(|_| preset == Preset::Testnet),
            halted: None,
            chain,
        }
    }

    /// Takes in what happened; hands out what is to be done.
    #[must_use]
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Timer => self.on_timer(now, &mut out),
            Input::Durable => self.on_durable(now, &mut out),
            Input::Submit { ticket, transaction } => {
                let reply = self.submit(&transaction, now, &mut out).map(Reply::Submitted);
                out.push(Output::Reply { ticket, reply });
            }
            Input::Faucet { ticket, to, amount } => {
                let reply = self.give(to, amount, now, &mut out).map(Reply::Submitted);
                out.push(Output::Reply { ticket, reply });
            }
            Input::Produce { ticket, count } => self.on_produce(ticket, count, now, &mut out),
            Input::Fault { ticket, fault } => self.on_fault(ticket, fault, now, &mut out),
            Input::Seen(header) => self.on_seen(&header, &mut out),
        }
        out
    }

    /// When [`Input::Timer`] is wanted; `None`: not before something else happens.
    #[must_use]
    pub fn next_timer(&self) -> Option<Monotonic> {
        if self.halted.is_some() { None } else { self.schedule.next() }
    }

    /// A block of the authority above the own tip means that this process has forgotten blocks (an old copy of the data
    /// directory) or is not the only one with the key. Whatever it would sign next exists already.
    fn on_seen(&mut self, header: &SignedHeader, out: &mut Vec<Output>) {
        let tip = self.chain.tip();
        let known = self.in_flight.as_ref().map_or(tip.height(), |flight| flight.height());
        let authority = self.authority.public();
        if self.halted.is_some() || header.header.height <= known || !header.verify(&tip.chain(), &authority, &Ed25519)
        {
            return;
        }
        self.halted = Some(format!(
            "another node has block {} signed with this producer's key, but the chain here ends at block {known}: the \
             data directory is an old copy, or a second producer runs with the same key",
            header.header.height
        ));
        out.push(Output::Halted);
    }

    /// The last blocks.
    #[must_use]
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The state after the last block.
    #[must_use]
    pub fn tip(&self) -> &State {
        self.chain.tip()
    }

    /// The final state and those before it, for everything outside chain sync.
    #[must_use]
    pub fn view(&self) -> NetworkView {
        self.chain.view()
    }

    /// Waiting transactions.
    #[must_use]
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// How fast blocks come.
    #[must_use]
    pub const fn pace(&self) -> Pace {
        self.schedule.pace()
    }

    /// Why nothing is produced any more, if so.
    #[must_use]
    pub fn halted(&self) -> Option<&str> {
        self.halted.as_deref()
    }

    /// What became of a transaction: [`Fate::Waiting`] ones included.
    #[must_use]
    pub fn fate(&self, id: &TxId) -> Option<Fate> {
        let waits = self.pool.contains(id) || self.in_flight.as_ref().is_some_and(|flight| flight.contains(id));
        if waits { Some(Fate::Waiting) } else { self.outcomes.get(id).cloned() }
    }

    /// An account, and the nonce its owner signs with next.
    #[must_use]
    pub fn account(&self, key: &PublicKey) -> AccountView {
        let account = self.tip().account(key);
        let flying = self.in_flight.as_ref().map_or(0, |flight| flight.nonces_of(key));
        let next_nonce = account.nonce + flying + self.pool.nonces_waiting(key);
        AccountView { balance: account.balance, nonce: account.nonce, next_nonce }
    }

    /// The faucet's account, if there is one.
    #[must_use]
    pub fn faucet_account(&self) -> Option<PublicKey> {
        self.faucet.as_ref().map(Faucet::account)
    }

    /// Hashes of the last blocks by height, newest first.
    #[must_use]
    pub fn recent_hashes(&self) -> BTreeMap<Height, BlockHash> {
        self.chain.states().map(|state| (state.height(), state.tip_hash())).collect()
    }
}
