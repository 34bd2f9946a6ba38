//! What can still be read of a damaged database, copied into a new one. Nothing is copied that is not what was written:
//! the rest is fetched again, blocks from the network, mail from the other members of the swarm.
//!
//! | what | copied |
//! | --- | --- |
//! | blocks | from the lowest to the first that cannot be read; a start drops what does not follow |
//! | snapshots, evidence, anchors, the key rotation | what can be read; a start checks it against signed headers |
//! | records | those whose bytes hash to their id, each once; without an entry in the index they get another |
//! | tombstones | those whose signed delete is there; their records go, if another source still had those |
//! | confirmations | no: other nodes are asked again before anything is erased |
//! | the epoch | no: batches may be missing, so no reader's cursor means anything any more |

use std::collections::BTreeSet;

use sotto_proto::id::{ChainId, Height, ItemId, RecordId};

use super::check::{self, SoundRecord};
use super::damage::{Readable, readable};
use super::mail::{anchors, record_entries, signed_delete, tombstones};
use super::records::{self, DeleteName, RecordEntry, Tombstone};
use super::schema::Family;
use super::{Batch, Limit, MetaKey, Store, StoreError, StoredSnapshot, Write};

/// Blocks read at once.
const CHUNK: Limit = Limit { bytes: 1 << 20, count: 256 };
/// Rows read at once.
const ROWS: usize = 256;
/// Bytes and changes of one batch, but for the last one.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_WRITES: usize = 1024;
/// Single values that are worth something in another database.
const SINGLES: [MetaKey; 2] = [MetaKey::Evidence, MetaKey::Rotation];
/// Snapshots: there are two, three for a moment.
const SNAPSHOTS: usize = 4;

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Blocks.
    pub blocks: u64,
    /// Records.
    pub records: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Rows, and ranges of rows, that could not be read or were not what was written.
    pub damaged: u64,
}

/// Copies what can be read of `from` and is not in `to`.
///
/// # Errors
/// When `to` refuses, or `from` is of another chain than `chain`. What cannot be read is no error.
pub fn salvage(from: &dyn Store, to: &mut dyn Store, chain: &ChainId) -> Result<Salvaged, StoreError> {
    let (batch, in_batch, salvaged) = Default::default();
    let mut copier = Copier { from, to, chain, batch, bytes: 0, in_batch, salvaged };
    copier.singles()?;
    copier.blocks()?;
    copier.tombstones()?;
    copier.indexed_records()?;
    copier.unindexed_records()?;
    Ok(copier.salvaged)
}

struct Copier<'a> {
    from: &'a dyn Store,
    to: &'a mut dyn Store,
    chain: &'a ChainId,
    batch: Batch,
    bytes: usize,
    /// The records in `batch`, which are not in `to` yet.
    in_batch: BTreeSet<RecordId>,
    salvaged: Salvaged,
}

impl Copier<'_> {
    /// What was read; nothing, and counted, if it could not be.
    fn read<T>(&mut self, read: Result<T, StoreError>) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(error) => {
                tracing::debug!(%error, "a part of the damaged database is lost");
                self.salvaged.damaged += 1;
                None
            }
        }
    }

    fn push(&mut self, write: Write, bytes: usize) -> Result<(), StoreError> {
        self.batch.push(write);
        self.bytes = self.bytes.saturating_add(bytes);
        let full = self.bytes >= BATCH_BYTES || self.batch.writes.len() >= BATCH_WRITES;
        if full { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.bytes = 0;
        self.in_batch.clear();
        self.to.write(&std::mem::take(&mut self.batch))
    }

    fn singles(&mut self) -> Result<(), StoreError> {
        if let Some(Some(found)) = self.read(self.from.meta(MetaKey::Chain))
            && found != self.chain.as_bytes()
        {
            return Err(StoreError::OtherChain { found: hex::encode(found), expected: self.chain.to_string() });
        }
        self.push(Write::PutMeta(MetaKey::Chain, self.chain.as_bytes().to_vec()), 0)?;
        for key in SINGLES {
            if self.to.meta(key)?.is_none()
                && let Some(Some(value)) = self.read(self.from.meta(key))
            {
                self.push(Write::PutMeta(key, value), 0)?;
            }
        }
        for (height, hash) in self.read(anchors(self.from)).unwrap_or_default() {
            self.push(Write::PutAnchor { height, hash }, 0)?;
        }
        self.flush()
    }

    fn blocks(&mut self) -> Result<(), StoreError> {
        if self.to.block_range()?.is_some() {
            return Ok(()); // two pieces of a chain are no chain
        }
        let Some(Some(range)) = self.read(self.from.block_range()) else { return Ok(()) };
        let (mut next, mut limit) = (*range.start(), CHUNK);
        loop {
            let blocks = match self.from.blocks(next, limit) {
                // What lies before the damage is found one by one.
                Err(_) if limit.count > 1 => {
                    limit.count = 1;
                    continue;
                }
                blocks => self.read(blocks).unwrap_or_default(),
            };
            let Some(last) = blocks.last().map(|block| block.height) else { break };
            for block in blocks {
                let bytes = block.bytes.len();
                self.salvaged.blocks += 1;
                self.push(Write::PutBlock { height: block.height, hash: block.hash, bytes: block.bytes }, bytes)?;
            }
            next = last.next();
        }
        let mut at_most = Height(u64::MAX);
        for _ in 0..SNAPSHOTS {
            let Some(snapshot) = self.snapshot(at_most) else { break };
            let (height, bytes) = (snapshot.height, snapshot.bytes.len());
            self.push(Write::PutSnapshot { height, bytes: snapshot.bytes }, bytes)?;
            if height == Height::ZERO {
                break;
            }
            at_most = height.minus(1);
        }
        self.flush()
    }

    /// The newest snapshot not above a height that can be read; where several above it are damaged, one of those below.
    fn snapshot(&mut self, at_most: Height) -> Option<StoredSnapshot> {
        if let Some(found) = self.read(self.from.snapshot(at_most)) {
            return found;
        }
        // From the height of a damaged one on reading fails, and below it there may be another: looked for by halving.
        let first = self.from.snapshot(Height::ZERO).ok().flatten();
        let (mut good, mut bad, mut newest) = (0, at_most.0, first);
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            match self.from.snapshot(Height(middle)) {
                Ok(found) => (good, newest) = (middle, found),
                Err(_) => bad = middle,
            }
        }
        newest
    }

    fn tombstones(&mut self) -> Result<(), StoreError> {
        let (mut from, mut deletes) = (Some(ItemId::new([0; 32])), BTreeSet::new());
        while let Some(first) = from {
            let Some(page) = self.read(tombstones(self.from, first, ROWS)) else { break };
            self.salvaged.damaged += page.damaged as u64;
            for tombstone in page.rows {
                self.tombstone(tombstone, &mut deletes)?;
            }
            from = page.next;
        }
        self.flush()
    }

    /// Copies a tombstone, unless it is there. `deletes`: those that were copied before.
    fn tombstone(&mut self, tombstone: Tombstone, deletes: &mut BTreeSet<DeleteName>) -> Result<(), StoreError> {
        if self.to.row(Family::Tombstones, tombstone.item().as_ref())?.is_some() {
            return Ok(());
        }
        if !deletes.contains(&tombstone.delete) {
            let read = self.read(signed_delete(self.from, &tombstone.delete)).flatten();
            let Some(bytes) = read.filter(|bytes| DeleteName::of(bytes) == tombstone.delete) else {
                self.salvaged.damaged += 1;
                return Ok(());
            };
            let length = bytes.len();
            self.push(Write::PutSignedDelete { name: tombstone.delete, bytes }, length)?;
            deletes.insert(tombstone.delete);
        }
        self.salvaged.tombstones += 1;
        let id = tombstone.id;
        if let Some(row) = self.to.row(Family::RecordIds, id.as_ref())? {
            let key = records::parse_entry(id.as_ref(), &row)?.key;
            if key.address == tombstone.address {
                self.push(Write::DeleteRecord { key, id }, 0)?;
            }
        }
        self.push(Write::PutTombstone(tombstone), 0)
    }

    fn indexed_records(&mut self) -> Result<(), StoreError> {
        let mut from = Some(ItemId::new([0; 32]));
        while let Some(first) = from {
            let Some(page) = self.read(record_entries(self.from, first, ROWS)) else { break };
            self.salvaged.damaged += page.damaged as u64;
            for entry in page.rows {
                let key = entry.key.to_bytes();
                let Some(Some(row)) = self.read(self.from.row(Family::Records, &key)) else { continue };
                match check::record(self.chain, &key, &row) {
                    Ok(sound) if sound.is_said_by(&entry) => self.record(&sound, entry)?,
                    _ => self.salvaged.damaged += 1,
                }
            }
            from = page.next;
        }
        self.flush()
    }

    /// Records whose entries are lost.
    fn unindexed_records(&mut self) -> Result<(), StoreError> {
        let mut from = Some(Vec::new());
        while let Some(first) = from {
            let Some(Readable { rows, next, damaged }) =
                self.read(readable(self.from, Family::Records, &first, &[], ROWS))
            else {
                break;
            };
            self.salvaged.damaged += u64::from(damaged);
            for (key, row) in rows {
                if let Ok(sound) = check::record(self.chain, &key, &row) {
                    let entry = sound.entry();
                    self.record(&sound, entry)?;
                }
            }
            from = next;
        }
        self.flush()
    }

    /// Copies a record, unless it is there, or its tombstone.
    fn record(&mut self, sound: &SoundRecord<'_>, entry: RecordEntry) -> Result<(), StoreError> {
        let buried = ItemId::tombstone(&entry.key.address, &entry.id);
        let known = self.in_batch.contains(&entry.id)
            || self.to.row(Family::RecordIds, entry.id.as_ref())?.is_some()
            || self.to.row(Family::Tombstones, buried.as_ref())?.is_some();
        if known {
            return Ok(());
        }
        self.salvaged.records += 1;
        self.in_batch.insert(entry.id);
        self.push(Write::PutRecord { entry, bytes: sound.bytes.to_vec() }, sound.bytes.len())
    }
}

#[cfg(test)]
mod tests;
