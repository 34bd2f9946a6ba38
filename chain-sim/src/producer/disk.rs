//! The one thread that touches the block log and the snapshots.
//!
//! Both queues are bounded. The event loop counts what it has sent and not got back, so that a batch of blocks always
//! finds room however many peers ask for old blocks.

use std::io;
use std::thread;

use sotto_proto::chain::SignedHeader;
use sotto_proto::id::Height;
use sotto_proto::limits::{CHAIN_ANSWER_BLOCKS, CHAIN_ANSWER_BYTES};
use tokio::sync::mpsc;

use crate::State;
use crate::producer::block_log::{AppendError, BlockLog, Entry, PruneError, ReadError};
use crate::producer::snapshots::Snapshots;

/// Reads under way at most.
pub const MAX_READS: usize = 64;
/// Room for them, for one batch of blocks and for one snapshot.
const QUEUE: usize = MAX_READS + 2;

/// What is to be done. `R` says who asked.
#[derive(Debug)]
pub enum Job<R> {
    /// Append a batch.
    Append(Vec<Entry>),
    /// Read blocks.
    Blocks {
        /// From here.
        from: Height,
        /// As many bytes.
        max_bytes: usize,
        /// Who asked.
        asker: R,
    },
    /// Read headers.
    Headers {
        /// From here.
        from: Height,
        /// So many.
        count: usize,
        /// Who asked.
        asker: R,
    },
    /// Write a snapshot, then prune.
    Snapshot(Box<State>),
}

/// What was done.
#[derive(Debug)]
pub enum Done<R> {
    /// The batch is on disk, or the log takes no more.
    Appended(Result<(), AppendError>),
    /// Blocks were read.
    Blocks {
        /// Who asked.
        asker: R,
        /// The blocks and the tip.
        blocks: Result<(Vec<Vec<u8>>, Height), ReadError>,
    },
    /// Headers were read.
    Headers {
        /// Who asked.
        asker: R,
        /// The headers.
        headers: Result<Vec<SignedHeader>, ReadError>,
    },
    /// The snapshot is written, or not; the chain does not depend on it.
    Snapshot {
        /// Its height.
        height: Height,
        /// Whether it was.
        result: Result<(), SnapshotError>,
    },
}

/// Why there is no new snapshot, or old blocks are still there.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Its header could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its block is not in the log any more.
    #[error("its block was undone")]
    Undone,
    /// It could not be written.
    #[error("cannot write it: {0}")]
    Io(#[from] io::Error),
    /// Pruning failed.
    #[error(transparent)]
    Prune(#[from] PruneError),
}

/// The event loop's end of the disk thread.
#[derive(Debug)]
pub struct Disk<R> {
    jobs: mpsc::Sender<Job<R>>,
    done: mpsc::Receiver<Done<R>>,
    reads: usize,
}

/// The disk thread has ended, which it does only when it is told to or panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the disk thread has ended")]
pub struct Ended;

impl<R: Send + 'static> Disk<R> {
    /// Starts the thread. `prune` is how many blocks are kept; `None`: all.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(
        log: BlockLog,
        snapshots: Snapshots,
        prune: Option<u64>,
    ) -> io::Result<(Self, thread::JoinHandle<()>)> {
        let (jobs, inbox) = mpsc::channel(QUEUE);
        let (outbox, done) = mpsc::channel(QUEUE);
        let worker = Worker { log, snapshots, prune };
        let thread = thread::Builder::new().name("disk".to_owned()).spawn(move || worker.run(inbox, &outbox))?;
        Ok((Self { jobs, done, reads: 0 }, thread))
    }

    /// Sends a job; gives a read back where too many are under way.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn send(&mut self, job: Job<R>) -> Result<Option<Job<R>>, Ended> {
        let is_read = matches!(job, Job::Blocks { .. } | Job::Headers { .. });
        if is_read && self.reads >= MAX_READS {
            return Ok(Some(job));
        }
        self.reads += usize::from(is_read);
        match self.jobs.try_send(job) {
            Ok(()) => Ok(None),
            // Only a second snapshot finds no room while the first is being written.
            Err(mpsc::error::TrySendError::Full(job)) => Ok(Some(job)),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Ended),
        }
    }

    /// What is done next. Cancel-safe.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn next(&mut self) -> Result<Done<R>, Ended> {
        let done = self.done.recv().await.ok_or(Ended)?;
        if matches!(done, Done::Blocks { .. } | Done::Headers { .. }) {
            self.reads = self.reads.saturating_sub(1);
        }
        Ok(done)
    }
}

struct Worker {
    log: BlockLog,
    snapshots: Snapshots,
    prune: Option<u64>,
}

impl Worker {
    fn run<R>(mut self, mut inbox: mpsc::Receiver<Job<R>>, outbox: &mpsc::Sender<Done<R>>) {
        while let Some(job) = inbox.blocking_recv() {
            let done = self.work(job);
            if outbox.blocking_send(done).is_err() {
                return;
            }
        }
    }

    fn work<R>(&mut self, job: Job<R>) -> Done<R> {
        match job {
            Job::Append(batch) => Done::Appended(self.log.append(&batch)),
            Job::Blocks { from, max_bytes, asker } => {
                let blocks = self.log.range(from, max_bytes.min(CHAIN_ANSWER_BYTES), CHAIN_ANSWER_BLOCKS);
                Done::Blocks { asker, blocks: blocks.map(|blocks| (blocks, self.log.tip())) }
            }
            Job::Headers { from, count, asker } => Done::Headers { asker, headers: self.headers(from, count) },
            Job::Snapshot(state) => {
                let height = state.height();
                Done::Snapshot { height, result: self.snapshot(&state) }
            }
        }
    }

    /// At most `count` headers, fewer where the blocks, which have to be read whole to know that they are not damaged,
    /// are more than an answer of blocks would be. Whoever asked goes on from there.
    fn headers(&self, from: Height, count: usize) -> Result<Vec<SignedHeader>, ReadError> {
        let mut headers = Vec::new();
        let mut read = 0_usize;
        for height in (from.0..).take(count).map(Height) {
            if read > CHAIN_ANSWER_BYTES {
                break;
            }
            let Some(block) = self.log.read(height)? else { break };
            read = read.saturating_add(block.len());
            let header = block.get(..SignedHeader::LEN).and_then(|bytes| SignedHeader::decode(bytes).ok());
            headers.push(header.ok_or(ReadError::Damaged(height))?);
        }
        Ok(headers)
    }

    fn snapshot(&mut self, state: &State) -> Result<(), SnapshotError> {
        let header = self.headers(state.height(), 1)?.pop().ok_or(SnapshotError::Undone)?;
        if header.hash(&state.chain()) != state.tip_hash() {
            return Err(SnapshotError::Undone);
        }
        self.snapshots.write(state.chain(), &header, &state.encode())?;
        if let Some(keep) = self.prune {
            // Replay after a restart begins at the snapshot.
            let needed = self.log.tip().since(state.height()) + 1;
            self.log.prune(keep.max(needed))?;
        }
        Ok(())
    }
}
