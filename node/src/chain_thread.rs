//! The chain's own OS thread: takes blocks in, publishes what follows from them, puts them on disk.
//!
//! ```text
//!   event loop ── blocks, bounded ──▶ chain thread ── view ──▶ watch: networking, whoever looks
//!        ▲                              │      │
//!        └── outcome, new tip, bounded ─┘      └── blocks, snapshots ──▶ storage thread
//! ```
//!
//! A block is published before it is written, and written some seconds before it is on disk: what a crash or a loss of
//! power takes the network has. On disk the chain is always whole: a reorganisation deletes and puts in one batch, a
//! snapshot is of a final state only, and both snapshots that are kept have every block after them. Batches are lost
//! from the last one backwards only ([`crate::store::Store::write`]), so that what was pruned is never missed by a
//! snapshot that was lost. A start ([`restore`]) takes a snapshot and at most some thousand blocks from there.

pub mod restore;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use sotto_chain::{Equivocation, Follower, Inserted};
use sotto_proto::chain::Block;
use sotto_proto::id::{BlockHash, ChainId, Height};
use sotto_proto::network::NetworkView;
use sotto_proto::sign::Ed25519;
use tokio::sync::{mpsc, watch};

use self::restore::Restored;
use crate::metrics;
use crate::service_node::ChainUpdate;
use crate::store::writer::StoreHandle;
use crate::store::{Batch, MetaKey, StoreError, Write};

/// Lots of blocks that may wait. A lot of chain sync has up to 1 MiB, a gossiped one usually less than one KiB.
pub const QUEUE: usize = 16;
/// Events that may wait for the event loop; the thread waits when there are more.
pub const EVENTS: usize = 64;
/// How much its thread yields to all others (`nice`): all nodes of a machine have the same blocks at the same moment, and
/// what people wait for should not wait for those.
const YIELDS: i32 = 5;
/// Blocks after which a long lot shows how far it is.
const CHUNK: usize = 64;

/// How much of the chain is kept on disk. Defaults are those of production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Blocks kept. At 1 s blocks nearly three hours, at 120 s two weeks: whoever was away longer asks the producer.
    pub blocks: u64,
    /// Blocks above that before the oldest are pruned: deleting ranges one by one is slow.
    pub slack: u64,
    /// Blocks from one snapshot to the next.
    pub snapshot_every: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { blocks: 10_000, slack: 100, snapshot_every: 1000 }
    }
}

/// Moments at which a process may die; tests make it die at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillPoint {
    /// Blocks came, none is applied.
    Received,
    /// A block is applied in memory.
    Applied,
    /// The view is published, nothing is written.
    Published,
    /// The blocks are written.
    Written,
    /// A snapshot is encoded, not written.
    SnapshotEncoded,
    /// A snapshot is written.
    SnapshotWritten,
    /// Old blocks are about to go.
    Pruning,
    /// They are gone.
    Pruned,
}

/// Is told each [`KillPoint`] as it is passed. Production has one that does nothing.
pub type Probe = Box<dyn FnMut(KillPoint) + Send>;

/// What became of a lot of blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All are on the chain or a side branch, or were known.
    Inserted,
    /// The last one is older than what is remembered of the chain; what came before it was taken.
    TooOld,
    /// The block before one of them is not known; what came before it was taken.
    NeedsParent {
        /// Height of the block that cannot be placed.
        height: Height,
    },
    /// One of them is invalid; what came before it was taken.
    Invalid(String),
    /// The chain is halted and takes no blocks.
    Halted,
}

impl Outcome {
    const fn goes_on(&self) -> bool {
        matches!(self, Self::Inserted | Self::TooOld)
    }
}

/// What the thread says. `T` is what the caller gave with the blocks.
#[derive(Debug)]
pub enum Event<T> {
    /// The chain has a new tip.
    Updated(Box<ChainUpdate>),
    /// A lot of blocks was dealt with.
    Inserted {
        /// Which.
        source: T,
        /// What became of it.
        outcome: Outcome,
        /// The tip now.
        tip: Height,
    },
    /// There is new evidence against the producer; all that is kept, oldest first.
    Evidence(Vec<Equivocation>),
    /// Blocks can no longer be written; the chain goes on in memory.
    StorageFailed(String),
}

struct Lot<T> {
    source: T,
    blocks: Vec<Vec<u8>>,
}

/// The way to the chain thread. When it is dropped, the thread ends.
#[derive(Debug)]
pub struct ChainHandle<T> {
    queue: SyncSender<Lot<T>>,
}

impl<T> ChainHandle<T> {
    /// Hands blocks over, lowest first; never waits. One [`Event::Inserted`] follows.
    ///
    /// # Errors
    /// Gives `source` back when the thread is too busy or has ended.
    pub fn try_insert(&self, source: T, blocks: Vec<Vec<u8>>) -> Result<(), T> {
        self.queue.try_send(Lot { source, blocks }).map_err(|error| {
            metrics::chain_refused();
            let (TrySendError::Full(lot) | TrySendError::Disconnected(lot)) = error;
            lot.source
        })
    }
}

/// A thread that was started.
#[derive(Debug)]
pub struct Spawned<T> {
    /// The way to it.
    pub handle: ChainHandle<T>,
    /// What it says.
    pub events: mpsc::Receiver<Event<T>>,
    /// Ends when the handle or the receiver is dropped.
    pub thread: JoinHandle<()>,
}

/// What the thread works with.
pub struct ChainThread {
    /// The chain so far, and what of it is on disk.
    pub restored: Restored,
    /// Where it goes.
    pub store: StoreHandle,
    /// How much of it stays there.
    pub retention: Retention,
    /// For tests.
    pub probe: Probe,
}

impl std::fmt::Debug for ChainThread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChainThread").field("restored", &self.restored).finish_non_exhaustive()
    }
}

impl ChainThread {
    /// The view and the tip as they are now.
    #[must_use]
    pub fn update(&self) -> ChainUpdate {
        let follower = &self.restored.follower;
        ChainUpdate { view: Arc::new(follower.view()), tip: follower.tip().clone() }
    }

    /// Starts the thread. The view is published through `view`.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn spawn<T: Send + 'static>(self, view: watch::Sender<Arc<NetworkView>>) -> io::Result<Spawned<T>> {
        let (queue, lots) = sync_channel(QUEUE);
        let (events, receiver) = mpsc::channel(EVENTS);
        let worker = Worker {
            chain: self.restored.follower.tip().chain(),
            snapshot: self.restored.snapshot,
            lowest: self.restored.lowest,
            store: Some(self.store),
            equivocations: self.restored.follower.equivocations(),
            follower: self.restored.follower,
            retention: self.retention,
            probe: self.probe,
            batch: Batch::default(),
            view,
            events,
        };
        let thread = std::thread::Builder::new().name("chain".into()).spawn(move || worker.run(&lots))?;
        Ok(Spawned { handle: ChainHandle { queue }, events: receiver, thread })
    }
}

const fn newest_multiple(height: Height, of: u64) -> Height {
    Height(height.0 - height.0 % of)
}

struct Worker<T> {
    chain: ChainId,
    follower: Follower,
    /// `None` after a failure.
    store: Option<StoreHandle>,
    retention: Retention,
    probe: Probe,
    /// Evidence told of so far.
    equivocations: u64,
    /// Blocks applied and not written yet.
    batch: Batch,
    /// Height of the newest snapshot on disk; 0: none.
    snapshot: Height,
    /// Height of the oldest block on disk.
    lowest: Height,
    view: watch::Sender<Arc<NetworkView>>,
    events: mpsc::Sender<Event<T>>,
}

/// The event loop has ended, so the thread ends too.
struct LoopEnded;

impl<T> Worker<T> {
    fn run(mut self, lots: &Receiver<Lot<T>>) {
        if let Err(error) = rustix::process::nice(YIELDS) {
            tracing::debug!(%error, "the chain's thread does not yield to others");
        }
        while let Ok(lot) = lots.recv() {
            if self.take(lot).is_err() {
                return;
            }
        }
    }

    fn take(&mut self, lot: Lot<T>) -> Result<(), LoopEnded> {
        (self.probe)(KillPoint::Received);
        let mut outcome = Outcome::Inserted;
        let mut blocks = lot.blocks.into_iter().peekable();
        while blocks.peek().is_some() && outcome.goes_on() {
            let (start, before) = (Instant::now(), self.follower.tip().height());
            for bytes in blocks.by_ref().take(CHUNK) {
                outcome = self.insert(bytes)?;
                if !outcome.goes_on() {
                    break;
                }
            }
            metrics::blocks_applied(self.follower.tip().height().since(before), start.elapsed());
            self.commit()?;
        }
        self.note_evidence()?;
        let tip = self.follower.tip().height();
        self.tell(Event::Inserted { source: lot.source, outcome, tip })
    }

    fn insert(&mut self, bytes: Vec<u8>) -> Result<Outcome, LoopEnded> {
        let block = match Block::decode(&bytes) {
            Ok(block) => block,
            Err(error) => return Ok(Outcome::Invalid(error.to_string())),
        };
        let height = block.height();
        let outcome = match self.follower.insert(block, &Ed25519) {
            Ok(Inserted::Extended) => {
                self.put(height, self.follower.tip().tip_hash(), bytes);
                Outcome::Inserted
            }
            Ok(Inserted::Reorganised { depth, blocks }) => {
                self.replace(depth, &blocks);
                Outcome::Inserted
            }
            Ok(Inserted::Known | Inserted::SideBranch) => return Ok(Outcome::Inserted),
            Ok(Inserted::TooOld) => return Ok(Outcome::TooOld),
            Ok(Inserted::NeedsParent { .. }) => return Ok(Outcome::NeedsParent { height }),
            Ok(Inserted::Halted) => return Ok(Outcome::Halted),
            Err(error) => return Ok(Outcome::Invalid(error.to_string())),
        };
        (self.probe)(KillPoint::Applied);
        self.snapshot_if_due()?;
        Ok(outcome)
    }

    /// Keeps new evidence and tells of it.
    fn note_evidence(&mut self) -> Result<(), LoopEnded> {
        let noted = self.follower.equivocations();
        let new = noted - self.equivocations;
        if new == 0 {
            return Ok(());
        }
        self.equivocations = noted;
        metrics::equivocations(new);
        let evidence: Vec<_> = self.follower.evidence().cloned().collect();
        let bytes = evidence.iter().flat_map(Equivocation::encode).collect();
        self.write(Batch::of(Write::PutMeta(MetaKey::Evidence, bytes)), StoreHandle::write)?;
        self.tell(Event::Evidence(evidence))
    }

    fn put(&mut self, height: Height, hash: BlockHash, bytes: Vec<u8>) {
        self.batch.push(Write::PutBlock { height, hash, bytes });
    }

    fn replace(&mut self, depth: u64, blocks: &[Block]) {
        let Some(first) = blocks.first() else { return };
        tracing::info!(depth, from = first.height().0, "the chain was reorganised");
        metrics::reorganised(depth);
        self.batch.push(Write::DeleteBlocksFrom(first.height()));
        for block in blocks {
            self.put(block.height(), block.hash(&self.chain), block.encode());
        }
    }

    /// Publishes what is applied, then writes it.
    fn commit(&mut self) -> Result<(), LoopEnded> {
        let update = ChainUpdate { view: Arc::new(self.follower.view()), tip: self.follower.tip().clone() };
        let known = {
            let view = self.view.borrow();
            view.tip == update.view.tip && view.halted == update.view.halted
        };
        if known && self.batch.writes.is_empty() {
            return Ok(());
        }
        metrics::chain(update.view.tip, update.view.current().height);
        self.view.send_replace(Arc::clone(&update.view));
        self.tell(Event::Updated(Box::new(update)))?;
        (self.probe)(KillPoint::Published);
        self.write_blocks()?;
        self.prune_if_due()
    }

    fn write_blocks(&mut self) -> Result<(), LoopEnded> {
        let batch = std::mem::take(&mut self.batch);
        if !batch.writes.is_empty() {
            self.write(batch, StoreHandle::write)?;
            (self.probe)(KillPoint::Written);
        }
        Ok(())
    }

    /// Snapshots are of final states: no reorganisation reaches them. The blocks up to it are written first.
    fn snapshot_if_due(&mut self) -> Result<(), LoopEnded> {
        let height = newest_multiple(self.follower.final_height(), self.retention.snapshot_every);
        let Some(state) = self.follower.state_at(height).filter(|_| height > self.snapshot) else { return Ok(()) };
        let bytes = state.encode();
        (self.probe)(KillPoint::SnapshotEncoded);
        self.write_blocks()?;
        // The one before stays: right after this one too few blocks follow it to have all recent final states.
        let before = Write::PruneSnapshotsBelow(self.snapshot);
        // On disk before anything rests on it: the blocks below it are pruned later.
        self.write(Batch { writes: vec![Write::PutSnapshot { height, bytes }, before] }, StoreHandle::write_durably)?;
        (self.probe)(KillPoint::SnapshotWritten);
        self.snapshot = height;
        Ok(())
    }

    /// Keeps the blocks the retention names.
    fn prune_if_due(&mut self) -> Result<(), LoopEnded> {
        let tip = self.follower.tip().height();
        let keep_from = tip.minus(self.retention.blocks.saturating_sub(1));
        if keep_from.since(self.lowest) < self.retention.slack || self.store.is_none() {
            return Ok(());
        }
        (self.probe)(KillPoint::Pruning);
        self.write(Batch::of(Write::PruneBlocksBelow(keep_from)), StoreHandle::write)?;
        self.lowest = keep_from;
        (self.probe)(KillPoint::Pruned);
        Ok(())
    }

    fn write(
        &mut self,
        batch: Batch,
        how: impl FnOnce(&StoreHandle, Batch) -> Result<(), StoreError>,
    ) -> Result<(), LoopEnded> {
        let Some(store) = &self.store else { return Ok(()) };
        match how(store, batch) {
            Ok(()) => Ok(()),
            Err(StoreError::Closed) => Err(LoopEnded),
            Err(error) => {
                self.store = None;
                self.tell(Event::StorageFailed(error.to_string()))
            }
        }
    }

    fn tell(&self, event: Event<T>) -> Result<(), LoopEnded> {
        self.events.blocking_send(event).map_err(|_| LoopEnded)
    }
}
