//! The store in memory: the reference that the other implementation is compared with, and what simulators use.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use sotto_proto::chain::SignedHeader;
use sotto_proto::id::{BlockHash, Height};

use super::mail::{RowChange, row_changes};
use super::schema::Family;
use super::{Batch, Limit, MetaKey, Row, Store, StoreError, StoredBlock, StoredSnapshot, Write, header_of};

/// A store without a disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    blocks: BTreeMap<Height, (BlockHash, Vec<u8>)>,
    snapshots: BTreeMap<Height, Vec<u8>>,
    meta: BTreeMap<MetaKey, Vec<u8>>,
    rows: BTreeMap<(Family, Vec<u8>), Vec<u8>>,
}

impl MemoryStore {
    fn range(&self, from: Height, limit: Limit) -> impl Iterator<Item = (&Height, &(BlockHash, Vec<u8>))> {
        let mut bytes = 0_usize;
        let wanted = self.blocks.range(from..).zip(from.0..).take(limit.count);
        let wanted = wanted.take_while(move |((height, (_, block)), n)| {
            bytes = bytes.saturating_add(block.len());
            height.0 == *n && (*n == from.0 || bytes <= limit.bytes)
        });
        wanted.map(|(block, _)| block)
    }

    fn apply(&mut self, write: &Write) {
        match write {
            Write::PutBlock { height, hash, bytes } => {
                self.blocks.insert(*height, (*hash, bytes.clone()));
            }
            Write::DeleteBlocksFrom(height) => {
                self.blocks.split_off(height);
            }
            Write::PruneBlocksBelow(height) => self.blocks = self.blocks.split_off(height),
            Write::PutSnapshot { height, bytes } => {
                self.snapshots.insert(*height, bytes.clone());
            }
            Write::PruneSnapshotsBelow(height) => self.snapshots = self.snapshots.split_off(height),
            Write::DeleteSnapshot(height) => {
                self.snapshots.remove(height);
            }
            Write::PutMeta(key, value) => {
                self.meta.insert(*key, value.clone());
            }
            _ => row_changes(write).into_iter().for_each(|change| self.change_row(change)),
        }
    }

    fn change_row(&mut self, change: RowChange) {
        match change {
            RowChange::Put { family, key, row } => {
                self.rows.insert((family, key), row);
            }
            RowChange::Delete { family, key } => {
                self.rows.remove(&(family, key));
            }
            RowChange::DeleteRange { family, from, until } => {
                self.rows.retain(|(of, key), _| *of != family || *key < from || *key >= until);
            }
        }
    }

    /// Flips a bit of a row's value, if there is such a row: what a disk may do.
    pub fn damage(&mut self, family: Family, key: &[u8]) {
        if let Some(byte) = self.rows.get_mut(&(family, key.to_vec())).and_then(|row| row.last_mut()) {
            *byte ^= 1;
        }
    }
}

impl Store for MemoryStore {
    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        batch.writes.iter().for_each(|write| self.apply(write));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn blocks(&self, from: Height, limit: Limit) -> Result<Vec<StoredBlock>, StoreError> {
        Ok(self
            .range(from, limit)
            .map(|(height, (hash, bytes))| StoredBlock { height: *height, hash: *hash, bytes: bytes.clone() })
            .collect())
    }

    fn headers(&self, from: Height, limit: Limit) -> Result<Vec<SignedHeader>, StoreError> {
        self.range(from, limit).map(|(_, (_, bytes))| header_of(bytes)).collect()
    }

    fn block_range(&self) -> Result<Option<RangeInclusive<Height>>, StoreError> {
        let first = self.blocks.first_key_value();
        Ok(first.zip(self.blocks.last_key_value()).map(|((low, _), (high, _))| *low..=*high))
    }

    fn snapshot(&self, at_most: Height) -> Result<Option<StoredSnapshot>, StoreError> {
        let newest = self.snapshots.range(..=at_most).next_back();
        Ok(newest.map(|(height, bytes)| StoredSnapshot { height: *height, bytes: bytes.clone() }))
    }

    fn meta(&self, key: MetaKey) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.meta.get(&key).cloned())
    }

    fn row(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows.get(&(family, key.to_vec())).cloned())
    }

    fn rows(&self, family: Family, from: &[u8], until: &[u8], count: usize) -> Result<Vec<Row>, StoreError> {
        let rows = self
            .rows
            .range((family, from.to_vec())..)
            .take_while(|((of, key), _)| *of == family && (until.is_empty() || key.as_slice() < until));
        Ok(rows.take(count).map(|((_, key), row)| (key.clone(), row.clone())).collect())
    }
}
