//! The chain on disk: one file to which blocks are only ever appended.
//!
//! A block must be on disk *before* it leaves the process: a producer that forgets a block it has shown to others signs
//! another one of that height after a restart, and two signed headers of one height stop every client for good. So
//! [`BlockLog::append`] returns only after the bytes are synced.
//!
//! ```text
//! file  = magic 8 ‖ version u32 ‖ chain id 32 ‖ base u64 ‖ check 8          base: the height below the first entry
//! entry = length u32 ‖ height u64 ‖ flags u8 ‖ body check 8 ‖ head check 8 ‖ block
//! ```
//!
//! - Entries appended together form a *batch*: all but the last carry [`MORE`]. A batch counts as a whole or not at
//!   all, so that a reorganisation cannot be cut in half by a crash.
//! - An entry whose height is not above the tip replaces the blocks from that height on. Nothing is overwritten, so
//!   there is no moment at which neither the old nor the new branch is on disk.
//! - The head check covers the entry's place in the file, the body check its block. After a crash the last batch may be
//!   incomplete; it was never shown to anybody and is cut off. Damage anywhere else is not: cutting there would forget
//!   blocks that others know. It is reported instead.

mod entry;
mod scan;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sotto_proto::id::{ChainId, Height};
use sotto_proto::limits::MAX_BLOCK_BYTES;

use self::entry::{FILE_HEAD, Head, MORE, file_head};
pub use self::scan::Damage;
use crate::producer::files::{replace_file, sync_dir};

/// The file's name in the data directory.
pub const FILE_NAME: &str = "blocks.log";

/// Why the block log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is something else, or its first bytes are damaged.
    #[error("{}: {what}", path.display())]
    Head {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The file holds another chain.
    #[error("{} holds the chain {actual}, not {expected}: wrong genesis file or wrong data directory", path.display())]
    OtherChain {
        /// The file.
        path: PathBuf,
        /// The chain asked for.
        expected: ChainId,
        /// The chain in the file.
        actual: ChainId,
    },
    /// Blocks that were written completely are damaged.
    #[error("{}: {damage}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, and what is left before it.
        damage: Damage,
    },
}

/// Why blocks cannot be appended. The log takes no more after this: what the file holds is only known after opening it
/// again.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Writing or syncing failed.
    #[error("cannot write the block log: {0}")]
    Io(#[from] io::Error),
    /// An earlier write failed.
    #[error("the block log takes no more blocks since an earlier write failed")]
    Poisoned,
    /// A programming error: the block does not follow what the log holds.
    #[error("block {actual} does not follow: the log holds blocks {lowest} to {tip}")]
    Gap {
        /// The block's height.
        actual: Height,
        /// The lowest height the log holds, or would hold next.
        lowest: Height,
        /// The log's tip.
        tip: Height,
    },
    /// A programming error: larger than a block can be.
    #[error("a block of {0} bytes is too large")]
    TooLarge(usize),
}

/// Why a block cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Reading failed.
    #[error("cannot read block {height}: {source}")]
    Io {
        /// The block.
        height: Height,
        /// What the operating system says.
        source: io::Error,
    },
    /// The bytes on disk have changed since they were written.
    #[error("block {0} is damaged on disk")]
    Damaged(Height),
    /// Below what is kept.
    #[error("blocks below {0} are no longer kept")]
    Pruned(Height),
}

/// Why old blocks cannot be dropped.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// Writing the shorter file failed.
    #[error("cannot write the shorter block log: {0}")]
    Io(#[from] io::Error),
    /// A block that is to be kept cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An earlier write failed.
    #[error("the block log is not pruned since an earlier write failed")]
    Poisoned,
}

/// What a crash left behind and opening cut off: a batch that was never synced, hence never shown to anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// Bytes cut off.
    pub bytes: u64,
    /// Why they are no blocks.
    pub reason: &'static str,
}

/// One block with its height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The block's height.
    pub height: Height,
    /// B7 bytes.
    pub block: Vec<u8>,
}

/// Where a block lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    offset: u64,
    head: Head,
}

/// The chain on disk; see the module's documentation.
#[derive(Debug)]
pub struct BlockLog {
    path: PathBuf,
    file: File,
    chain: ChainId,
    base: Height,
    /// The chain's blocks from `base + 1` on.
    index: Vec<Place>,
    /// Where the next entry goes.
    end: u64,
    poisoned: bool,
}

impl BlockLog {
    /// Opens the log in `dir`, or begins one. An incomplete last batch is cut off and reported.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is changed then.
    pub fn open(dir: &Path, chain: ChainId) -> Result<(Self, Option<TornTail>), OpenError> {
        let path = dir.join(FILE_NAME);
        let io = |source| OpenError::Io { path: path.clone(), source };
        if !path.try_exists().map_err(io)? {
            replace_file(&path, &file_head(chain, Height::ZERO)).map_err(io)?;
        }
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(io)?;
        let scanned = scan::scan(&file, &path, chain)?;
        if scanned.torn.is_some() {
            file.set_len(scanned.end).and_then(|()| file.sync_all()).map_err(io)?;
        }
        let log =
            Self { path, file, chain, base: scanned.base, index: scanned.index, end: scanned.end, poisoned: false };
        Ok((log, scanned.torn))
    }

    /// Opens a damaged log by cutting it off where the damage begins. What is cut is kept beside it as
    /// `blocks.log.damaged`. Blocks that others know are forgotten by this: a last resort, chosen by a person.
    ///
    /// # Errors
    /// [`OpenError`] as [`BlockLog::open`], except for damage.
    pub fn open_cutting_damage(dir: &Path, chain: ChainId) -> Result<(Self, Option<TornTail>), OpenError> {
        match Self::open(dir, chain) {
            Err(OpenError::Damaged { path, damage }) => {
                let io = |source| OpenError::Io { path: path.clone(), source };
                fs::copy(&path, path.with_extension("log.damaged")).map_err(io)?;
                let file = OpenOptions::new().write(true).open(&path).map_err(io)?;
                file.set_len(damage.offset).and_then(|()| file.sync_all()).map_err(io)?;
                Self::open(dir, chain)
            }
            other => other,
        }
    }

    /// The chain in the file.
    #[must_use]
    pub const fn chain(&self) -> ChainId {
        self.chain
    }

    /// The highest block; the base if there is none.
    #[must_use]
    pub fn tip(&self) -> Height {
        self.base.plus(self.index.len() as u64)
    }

    /// The lowest block kept, or the first that will be.
    #[must_use]
    pub const fn lowest(&self) -> Height {
        self.base.next()
    }

    /// The file's size in bytes, replaced blocks included.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.end
    }

    /// Appends a batch and returns when it is on disk. A first height not above the tip replaces the blocks from there.
    ///
    /// # Errors
    /// [`AppendError`]; the log takes no more after one of writing.
    pub fn append(&mut self, batch: &[Entry]) -> Result<(), AppendError> {
        let Some(first) = batch.first() else { return Ok(()) };
        let (places, bytes) = self.lay_out(batch)?;
        if let Err(error) = self.file.write_all_at(&bytes, self.end).and_then(|()| self.file.sync_data()) {
            self.poisoned = true;
            return Err(error.into());
        }
        self.index.truncate(self.slot(first.height));
        self.index.extend(places);
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// The bytes of a batch at the end of the file, and where its blocks will lie.
    fn lay_out(&self, batch: &[Entry]) -> Result<(Vec<Place>, Vec<u8>), AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        let mut allowed = self.lowest()..=self.tip().next();
        let mut bytes = Vec::new();
        let mut places = Vec::with_capacity(batch.len());
        for (number, entry) in batch.iter().enumerate() {
            if !allowed.contains(&entry.height) {
                return Err(AppendError::Gap { actual: entry.height, lowest: self.lowest(), tip: self.tip() });
            }
            if entry.block.len() > MAX_BLOCK_BYTES {
                return Err(AppendError::TooLarge(entry.block.len()));
            }
            let flags = if number + 1 < batch.len() { MORE } else { 0 };
            let head = Head::new(entry.height, flags, &entry.block);
            let offset = self.end + bytes.len() as u64;
            head.write(self.chain, offset, &mut bytes);
            bytes.extend_from_slice(&entry.block);
            places.push(Place { offset, head });
            allowed = entry.height.next()..=entry.height.next();
        }
        Ok((places, bytes))
    }

    /// A block's bytes, checked; `None` above the tip.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(&self, height: Height) -> Result<Option<Vec<u8>>, ReadError> {
        if height <= self.base {
            return Err(ReadError::Pruned(self.lowest()));
        }
        let Some(place) = self.index.get(self.slot(height)) else { return Ok(None) };
        let mut block = vec![0; place.head.length()];
        self.file
            .read_exact_at(&mut block, place.offset + Head::BYTES as u64)
            .map_err(|source| ReadError::Io { height, source })?;
        if place.head.matches(&block) { Ok(Some(block)) } else { Err(ReadError::Damaged(height)) }
    }

    /// Blocks from `from` on: as many as fit in `max_bytes` and `max_blocks`, but at least one where there is one.
    ///
    /// # Errors
    /// [`ReadError`] if the first cannot be read; a later one ends the range.
    pub fn range(&self, from: Height, max_bytes: usize, max_blocks: usize) -> Result<Vec<Vec<u8>>, ReadError> {
        let mut blocks = Vec::new();
        let mut bytes = 0_usize;
        let mut height = from;
        while blocks.len() < max_blocks {
            let Some(block) = (match self.read(height) {
                Err(error) if blocks.is_empty() => return Err(error),
                other => other.ok().flatten(),
            }) else {
                break;
            };
            bytes = bytes.saturating_add(block.len());
            if bytes > max_bytes && !blocks.is_empty() {
                break;
            }
            blocks.push(block);
            height = height.next();
        }
        Ok(blocks)
    }

    /// Forgets all but the last `keep` blocks and all replaced ones, by writing a new file and moving it over the old.
    ///
    /// # Errors
    /// [`PruneError`]; the old file stays in use.
    pub fn prune(&mut self, keep: u64) -> Result<(), PruneError> {
        if self.poisoned {
            return Err(PruneError::Poisoned);
        }
        let base = self.tip().minus(keep).max(self.base);
        let new = self.path.with_extension("log.new");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let mut out = BufWriter::new(&file);
        out.write_all(&file_head(self.chain, base))?;
        let mut end = FILE_HEAD as u64;
        let mut index = Vec::new();
        for height in base.next().0..=self.tip().0 {
            let Some(block) = self.read(Height(height))? else { break };
            let head = Head::new(Height(height), 0, &block);
            let mut bytes = Vec::with_capacity(Head::BYTES);
            head.write(self.chain, end, &mut bytes);
            out.write_all(&bytes)?;
            out.write_all(&block)?;
            index.push(Place { offset: end, head });
            end += (bytes.len() + block.len()) as u64;
        }
        out.flush()?;
        drop(out);
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        (self.file, self.base, self.index, self.end) = (file, base, index, end);
        self.path.parent().map_or(Ok(()), sync_dir)?;
        Ok(())
    }

    /// The place of a height in the index.
    fn slot(&self, height: Height) -> usize {
        usize::try_from(height.since(self.base.next())).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests;
