//! An account at work: sends what waits, takes in what came, and keeps its view of the network fresh.
//!
//! ```text
//!  outbox ──▶ sending ──▶ path "send" ────▶ three members of the recipient's swarm ──▶ receipts ──▶ outbox
//!  inbox ◀── receiving, following ◀── path "receive" ◀── members of the own swarm
//! online ◀──▶ path "listen", path "send" ──▶ a node where contacts listen, or this account does
//!             refresh ──▶ path "other" ───▶ three nodes that must agree on the list
//! ```
//!
//! Everything that must survive is in the store before it is acted on: a message before its first packet, its envelope
//! before it is sent, receipts when they came, received rows together with the cursor behind them.

mod asking;
mod expected;
mod following;
mod kill_point;
mod mailbox;
mod online;
mod pages;
mod receiving;
mod refresh;
mod sending;
mod tending;
mod terms;
#[cfg(test)]
mod tests;
mod work;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sotto_behaviours::network::WallClock;
use sotto_behaviours::onion::client::Path;
use sotto_proto::address::Address;
use sotto_proto::chain::GenesisFile;
use sotto_proto::content::MessageId;
use sotto_proto::id::{ChainId, Height, SwarmId};
use tokio::sync::Notify;
use zeroize::Zeroizing;

pub use self::following::{Continue, Followed};
use self::kill_point::Probe;
use self::online::Online;
pub use self::online::{Mode, ModeError, NotOnline, Pushed, Went, held_from};
pub use self::receiving::Received;
pub use self::sending::{Progress, Sent};
use crate::conversation::{self, Notice};
use crate::network::choice::Avoid;
use crate::network::clock::SharedClock;
use crate::network::directory::{Directory, NoSwarms};
use crate::network::guards::{Guard, Guards};
use crate::network::light_client::UpdateError;
use crate::network::lookups::LookupError;
use crate::network::paths::{self, Paths, Purpose};
use crate::network::scores::Scores;
use crate::network::{FirstListError, Step, storing};
use crate::store::{self, OpenAccount, StoreError};

/// Where scores of nodes are kept.
const SCORES: &str = "scores";

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No node list.
    #[error(transparent)]
    FirstList(#[from] FirstListError),
    /// The new node list is not believed.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// The node list makes no sense.
    #[error(transparent)]
    NoSwarms(#[from] NoSwarms),
    /// No path.
    #[error(transparent)]
    Path(#[from] paths::Error),
    /// A node's answer is of no use.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// What members say of the newest block is not borne out, whichever are asked. The message stays in the outbox.
    #[error("the nodes that keep the recipient's mail do not agree on the newest block; the last one: {0}")]
    Unbelieved(LookupError),
    /// Nobody keeps mail for the address.
    #[error("the network has no swarm yet")]
    NoOwner,
    /// The message is not stored; it stays in the outbox.
    #[error("not stored: {0}")]
    NotStored(#[from] storing::StoreError),
    /// Others keep mail for the recipient by now, and the node list that says who is not to be had. The message stays
    /// in the outbox.
    #[error("not stored: swarm {swarm} owns the address as of block {height}, and its list cannot be had: {reason}")]
    Moved {
        /// The owner, as a member of the swarm before sees it.
        swarm: SwarmId,
        /// The final height it sees that at.
        height: Height,
        /// Why there is no newer list.
        reason: Box<Self>,
    },
    /// The message can never be stored.
    #[error("this message cannot be sent: {0}")]
    Unsendable(String),
    /// What was said to a contact cannot be sent to it now. The message stays in the outbox.
    #[error(transparent)]
    Conversation(conversation::Error),
    /// A message did not go online, and was not to go otherwise; or there is nowhere to listen.
    #[error(transparent)]
    NotOnline(#[from] NotOnline),
    /// The recipient has said meanwhile that it has the message.
    #[error("message {0} has been acknowledged")]
    Acknowledged(MessageId),
    /// There is no such message.
    #[error("no message {0} in the outbox")]
    NoMessage(String),
    /// None of the members that were asked answered.
    #[error("none of {asked} nodes that keep what was asked for answered; the last one: {last}")]
    NoAnswer {
        /// How many were asked.
        asked: usize,
        /// What the last one said.
        last: String,
    },
    /// The operating system gave no randomness.
    #[error("no randomness from the operating system: {0}")]
    Random(getrandom::Error),
}

/// Others at work on the same account: one messenger follows and another one sends, so that neither waits for the other.
#[derive(Clone, Debug, Default)]
pub struct Companion {
    /// Told when something waits to be sent.
    pub waiting: Arc<Notify>,
    /// Tells when somebody else has changed the account.
    pub changed: Arc<Notify>,
    /// Told when something was pushed and is taken in: whoever sends may wait for it.
    pub heard: Arc<Notify>,
}

/// An unlocked account on the network.
#[derive(Debug)]
pub struct Messenger {
    genesis: Arc<GenesisFile>,
    chain: ChainId,
    account: OpenAccount,
    directory: Directory,
    paths: Paths,
    clock: SharedClock,
    rng: ChaCha20Rng,
    /// The block that work was anchored at last.
    anchor: Option<terms::Anchor>,
    /// Scores of nodes as they are stored.
    kept_scores: Scores,
    online: Online,
    /// How long one node may take.
    patience: Duration,
    /// Who sends what waits, if it is not this one.
    companion: Option<Companion>,
    /// What changed and was not told yet: at most [`tending::NOTICES`].
    notices: VecDeque<Notice>,
    /// For tests.
    probe: Probe,
}

impl Messenger {
    /// Opens the network for an account: with the list that was stored, or on first launch with one from a bootstrap
    /// node. `progress` is told the steps of a first launch.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn open(
        genesis: GenesisFile,
        account: OpenAccount,
        patience: Duration,
        progress: impl FnMut(Step),
    ) -> Result<Self, Error> {
        Self::open_at(genesis, account, WallClock::system(), patience, progress).await
    }

    /// As [`Messenger::open`], by another clock than the machine's.
    async fn open_at(
        genesis: GenesisFile,
        account: OpenAccount,
        wall: WallClock,
        patience: Duration,
        progress: impl FnMut(Step),
    ) -> Result<Self, Error> {
        let (genesis, clock) = (Arc::new(genesis), SharedClock::new(wall));
        let chain = genesis.genesis.chain_id();
        let directory = refresh::stored_or_first(&genesis, &account, &clock, patience, progress).await?;
        let mut rng = seeded()?;
        let mut own = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *own);
        let guards = account.device().guards()?.into_iter().map(from_stored);
        let paths = Paths::new(Arc::clone(&genesis), clock.clone(), Guards::new(guards), ChaCha20Rng::from_seed(*own));
        let scores = account.store.setting(SCORES)?;
        let mut messenger = Self {
            genesis,
            chain,
            account,
            directory,
            paths,
            clock,
            rng,
            anchor: None,
            kept_scores: Scores::default(),
            online: Online::default(),
            patience,
            companion: None,
            notices: VecDeque::new(),
            probe: Probe::default(),
        };
        if let Some(bytes) = scores {
            // What another version wrote is forgotten.
            let scores = Scores::decode(&bytes, messenger.clock.own()).unwrap_or_default();
            messenger.kept_scores = scores.clone();
            messenger.paths.set_scores(scores);
        }
        messenger.keep_guards()?;
        // What disappeared while nobody looked.
        messenger.tend()?;
        Ok(messenger)
    }

    /// Leaves sending what waits to somebody else.
    pub fn accompany(&mut self, companion: Companion) {
        self.companion = Some(companion);
    }

    /// The account.
    #[must_use]
    pub const fn account(&self) -> &OpenAccount {
        &self.account
    }

    /// The account, to queue messages or mark them shown.
    pub const fn account_mut(&mut self) -> &mut OpenAccount {
        &mut self.account
    }

    /// What is known of the network.
    #[must_use]
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The paths.
    #[must_use]
    pub const fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The clock.
    #[must_use]
    pub const fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// The account's own address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.account.account().address()
    }

    /// A path for `purpose`, one that is up or a new one.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn path(&mut self, purpose: Purpose) -> Result<Path, Error> {
        let avoid = self.avoid([])?;
        self.path_without(purpose, &avoid).await
    }

    /// Lets go of the paths of a purpose: the next one is new.
    pub fn rotate(&mut self, purpose: Purpose) {
        self.paths.rotate(purpose);
    }

    /// Has a second path built for a purpose that is in use for long; does not wait for it.
    fn keep_spare(&mut self, purpose: Purpose) -> Result<(), Error> {
        let (avoid, before) = (self.avoid([])?, self.paths.guards().clone());
        self.paths.keep_spare(self.directory.nodes(), purpose, &avoid);
        if *self.paths.guards() != before {
            self.save_guards()?;
        }
        self.keep_scores()
    }

    async fn path_without(&mut self, purpose: Purpose, avoid: &Avoid) -> Result<Path, Error> {
        let before = self.paths.guards().clone();
        let path = self.paths.get(self.directory.nodes(), purpose, avoid).await;
        if *self.paths.guards() != before {
            self.save_guards()?;
        }
        self.keep_scores()?;
        Ok(path?)
    }

    /// Stores who failed, if that is news: the next process need not find out again.
    fn keep_scores(&mut self) -> Result<(), Error> {
        if *self.paths.scores() != self.kept_scores {
            self.kept_scores = self.paths.scores().clone();
            let bytes = self.kept_scores.encode(self.clock.own());
            self.account.store.set_setting(SCORES, &bytes)?;
        }
        Ok(())
    }

    /// Keeps the sample of guards complete, and stored.
    fn keep_guards(&mut self) -> Result<(), Error> {
        let own = self.avoid([])?;
        if self.paths.maintain(self.directory.nodes(), &own) {
            self.save_guards()?;
        }
        Ok(())
    }

    fn save_guards(&mut self) -> Result<(), Error> {
        let guards: Vec<_> = self.paths.guards().iter().map(to_stored).collect();
        Ok(self.account.device().set_guards(&guards, &mut self.rng)?)
    }
}

fn from_stored(guard: store::Guard) -> Guard {
    Guard { node: guard.node, since: guard.chosen, until: guard.expires }
}

fn to_stored(guard: &Guard) -> store::Guard {
    store::Guard { node: guard.node, chosen: guard.since, expires: guard.until }
}

fn seeded() -> Result<ChaCha20Rng, Error> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(Error::Random)?;
    Ok(ChaCha20Rng::from_seed(*seed))
}
