//! What a node keeps on disk, behind one trait with two implementations that pass one conformance suite: RocksDB
//! ([`rocks`], feature `rocksdb`) and memory ([`memory`], for tests and builds without C++).
//!
//! One OS thread owns the store ([`writer`]); nobody else touches it while the node runs.
//!
//! ```text
//!  chain thread ──────┐ bounded queue                 ┌─ many batches → one write → one sync → all callers told
//!  event loop ────────┴──────▶ storage thread ────────┤
//!                                                     └─ reads (blocks for peers)
//! ```

pub mod check;
mod damage;
#[cfg(test)]
pub(crate) mod faulty;
pub mod mail;
pub mod memory;
pub mod mending;
pub mod opening;
pub mod records;
#[cfg(feature = "rocksdb")]
pub mod rocks;
pub mod salvage;
pub mod schema;
pub mod verify;
pub mod writer;

#[cfg(test)]
mod conformance;

use std::ops::RangeInclusive;
use std::path::Path;

use sotto_proto::chain::SignedHeader;
use sotto_proto::id::{BlockHash, Height, ItemId, NodeId, RecordId};

use self::records::{DeleteName, RecordEntry, RecordKey, Tombstone};
pub use self::schema::{Family, MetaKey};

/// One change. A [`Batch`] of them happens as a whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A block of the present chain.
    PutBlock {
        /// Its height.
        height: Height,
        /// Its hash.
        hash: BlockHash,
        /// Its canonical bytes.
        bytes: Vec<u8>,
    },
    /// Every block at this height and above goes: a reorganisation replaces them.
    DeleteBlocksFrom(Height),
    /// Every block below this height goes.
    PruneBlocksBelow(Height),
    /// The whole chain state after the block at this height.
    PutSnapshot {
        /// The height.
        height: Height,
        /// The encoded state.
        bytes: Vec<u8>,
    },
    /// Every snapshot below this height goes.
    PruneSnapshotsBelow(Height),
    /// The snapshot at this height goes: it turned out to be damaged.
    DeleteSnapshot(Height),
    /// A single value.
    PutMeta(MetaKey, Vec<u8>),
    /// A record.
    PutRecord {
        /// Where it lies, and what is known of it without its bytes.
        entry: RecordEntry,
        /// Its bytes (B4).
        bytes: Vec<u8>,
    },
    /// A record goes.
    DeleteRecord {
        /// Where it lies.
        key: RecordKey,
        /// Its id.
        id: RecordId,
    },
    /// A tombstone.
    PutTombstone(Tombstone),
    /// A tombstone goes.
    DeleteTombstone(ItemId),
    /// A signed delete, for the tombstones it makes.
    PutSignedDelete {
        /// Its name.
        name: DeleteName,
        /// Its bytes (B3).
        bytes: Vec<u8>,
    },
    /// A signed delete goes.
    DeleteSignedDelete(DeleteName),
    /// A row goes, whatever is in it: it is damaged, or nothing knows of it any more.
    DeleteRow {
        /// The row's family.
        family: Family,
        /// Its key.
        key: Vec<u8>,
    },
    /// The hash of a final block that work is anchored at.
    PutAnchor {
        /// The block's height.
        height: Height,
        /// Its hash.
        hash: BlockHash,
    },
    /// Every anchor below this height goes.
    PruneAnchorsBelow(Height),
    /// A node has an item on disk.
    PutConfirmation {
        /// The item.
        item: ItemId,
        /// The node.
        node: NodeId,
    },
    /// What was confirmed of an item goes.
    DeleteConfirmations(ItemId),
}

/// Changes that happen together, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The changes.
    pub writes: Vec<Write>,
}

impl Batch {
    /// A batch of one change.
    #[must_use]
    pub fn of(write: Write) -> Self {
        Self { writes: vec![write] }
    }

    /// Appends a change.
    pub fn push(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// Bytes of the records in it.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        let lengths = self.writes.iter().map(|write| match write {
            Write::PutRecord { bytes, .. } => bytes.len(),
            _ => 0,
        });
        lengths.sum()
    }
}

/// How much of a range of blocks is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Bytes of blocks altogether; a first block that is larger comes all the same.
    pub bytes: usize,
    /// Blocks.
    pub count: usize,
}

/// A block as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlock {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: BlockHash,
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
}

/// A snapshot as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// The height of the block after which the state was this.
    pub height: Height,
    /// The encoded state.
    pub bytes: Vec<u8>,
}

/// Why the store cannot be opened, read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another version of this program wrote it.
    #[error(
        "the database has schema version {found}, this program knows version {known}: \
         use the program that wrote it, or move the directory db away and let the node fetch the chain again"
    )]
    Version {
        /// The version it has.
        found: String,
        /// The version this program knows.
        known: u32,
    },
    /// It belongs to another chain.
    #[error("the database belongs to chain {found}, this node is of chain {expected}")]
    OtherChain {
        /// The chain it belongs to.
        found: String,
        /// The chain of the genesis file.
        expected: String,
    },
    /// The database engine or the disk refuses.
    #[error("database: {0}")]
    Engine(String),
    /// What was read is not what this program writes.
    #[error("database: {0} is damaged")]
    Damaged(&'static str),
    /// An earlier write failed. Which of the writes since then are on disk is not known, so no more are made.
    #[error("the database is closed to writes since an earlier error: {0}")]
    Failed(String),
    /// The storage thread has too much to do.
    #[error("the storage queue is full")]
    Busy,
    /// The storage thread has ended.
    #[error("the storage thread has ended")]
    Closed,
}

/// A row: key and value.
pub type Row = (Vec<u8>, Vec<u8>);

/// What a node keeps on disk. Owned by one thread.
pub trait Store: Send + 'static {
    /// Makes the changes of `batch`, all or none. They survive the end of the process at once, and the loss of power
    /// after the next [`Store::sync`]. What a loss of power takes are the last batches: no batch is there without all
    /// before it, whatever was deleted in it.
    ///
    /// # Errors
    /// When the engine refuses; then nothing was changed.
    fn write(&mut self, batch: &Batch) -> Result<(), StoreError>;

    /// Everything written so far is on disk when this returns.
    ///
    /// # Errors
    /// When the disk refuses. What is on disk is then unknown.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// The block at a height.
    ///
    /// # Errors
    /// When the engine refuses.
    fn block(&self, height: Height) -> Result<Option<StoredBlock>, StoreError> {
        Ok(self.blocks(height, Limit { bytes: 0, count: 1 })?.into_iter().next())
    }

    /// Consecutive blocks from a height on; none if there is none at that height.
    ///
    /// # Errors
    /// When the engine refuses.
    fn blocks(&self, from: Height, limit: Limit) -> Result<Vec<StoredBlock>, StoreError>;

    /// The signed headers of consecutive blocks from a height on, without the blocks; none if there is none at that
    /// height. `limit` counts the bytes of the blocks all the same: they may have to be read from disk to get there.
    ///
    /// # Errors
    /// When the engine refuses, or a block does not begin with a header.
    fn headers(&self, from: Height, limit: Limit) -> Result<Vec<SignedHeader>, StoreError> {
        self.blocks(from, limit)?.iter().map(|block| header_of(&block.bytes)).collect()
    }

    /// The lowest and the highest block's height.
    ///
    /// # Errors
    /// When the engine refuses.
    fn block_range(&self) -> Result<Option<RangeInclusive<Height>>, StoreError>;

    /// The newest snapshot not above a height.
    ///
    /// # Errors
    /// When the engine refuses.
    fn snapshot(&self, at_most: Height) -> Result<Option<StoredSnapshot>, StoreError>;

    /// A single value.
    ///
    /// # Errors
    /// When the engine refuses.
    fn meta(&self, key: MetaKey) -> Result<Option<Vec<u8>>, StoreError>;

    /// The value of a row, as it was written ([`mail`] knows what it means).
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the engine sees that it is not, another when it refuses.
    fn row(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Rows in the order of their keys, from `from` on and before `until` (empty: to the end), at most `count`.
    ///
    /// # Errors
    /// As [`Store::row`].
    fn rows(&self, family: Family, from: &[u8], until: &[u8], count: usize) -> Result<Vec<Row>, StoreError>;
}

/// The signed header that a block begins with.
fn header_of(block: &[u8]) -> Result<SignedHeader, StoreError> {
    let bytes = block.get(..SignedHeader::LEN).ok_or(StoreError::Damaged("a block"))?;
    SignedHeader::decode(bytes).map_err(|_| StoreError::Damaged("a block"))
}

/// Opens the store in `directory` for reading, whether or not a node is running on it. `None` if there is none, or if
/// this build has no database.
///
/// # Errors
/// [`StoreError`] when it cannot be opened or was written by another version.
pub fn open_read_only(directory: &Path) -> Result<Option<Box<dyn Store>>, StoreError> {
    #[cfg(feature = "rocksdb")]
    return match rocks::RocksStore::open_read_only(directory)? {
        Some(store) => Ok(Some(Box::new(store))),
        None => Ok(None),
    };
    #[cfg(not(feature = "rocksdb"))]
    {
        let _ = directory;
        Ok(None)
    }
}

impl<S: Store + ?Sized> Store for Box<S> {
    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        (**self).write(batch)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        (**self).sync()
    }

    fn blocks(&self, from: Height, limit: Limit) -> Result<Vec<StoredBlock>, StoreError> {
        (**self).blocks(from, limit)
    }

    fn headers(&self, from: Height, limit: Limit) -> Result<Vec<SignedHeader>, StoreError> {
        (**self).headers(from, limit)
    }

    fn block_range(&self) -> Result<Option<RangeInclusive<Height>>, StoreError> {
        (**self).block_range()
    }

    fn snapshot(&self, at_most: Height) -> Result<Option<StoredSnapshot>, StoreError> {
        (**self).snapshot(at_most)
    }

    fn meta(&self, key: MetaKey) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).meta(key)
    }

    fn row(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).row(family, key)
    }

    fn rows(&self, family: Family, from: &[u8], until: &[u8], count: usize) -> Result<Vec<Row>, StoreError> {
        (**self).rows(family, from, until, count)
    }
}
