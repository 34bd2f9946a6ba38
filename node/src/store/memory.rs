//! The store in memory: the reference that the other implementation is compared with, and what simulators use.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use sotto_proto::id::{BlockHash, Height};

use super::{Batch, Limit, MetaKey, Store, StoreError, StoredBlock, StoredSnapshot, Write};

/// A store without a disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    blocks: BTreeMap<Height, (BlockHash, Vec<u8>)>,
    snapshots: BTreeMap<Height, Vec<u8>>,
    meta: BTreeMap<MetaKey, Vec<u8>>,
}

impl MemoryStore {
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
        let mut bytes = 0_usize;
        let blocks =
            self.blocks.range(from..).zip(from.0..).take(limit.count).take_while(|((height, (_, block)), n)| {
                bytes = bytes.saturating_add(block.len());
                height.0 == *n && (*n == from.0 || bytes <= limit.bytes)
            });
        Ok(blocks
            .map(|((height, (hash, bytes)), _)| StoredBlock { height: *height, hash: *hash, bytes: bytes.clone() })
            .collect())
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
}
