//! A store whose rows can be made unreadable, and whose writes and syncs can be made to fail, as those of a real disk: for
//! tests.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use sotto_proto::id::Height;

use super::memory::MemoryStore;
use super::schema::Family;
use super::{Batch, Limit, MetaKey, Row, Store, StoreError, StoredBlock, StoredSnapshot};

/// What fails at present; shared with the test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Writes.
    pub(crate) writes: Arc<AtomicBool>,
    /// Syncs.
    pub(crate) syncs: Arc<AtomicBool>,
    /// Blocks and snapshots cannot be read.
    pub(crate) blocks: Arc<AtomicBool>,
    /// Writes and syncs so far, in order.
    pub(crate) log: Arc<Mutex<Vec<&'static str>>>,
}

/// The store.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultyStore {
    pub(crate) inner: MemoryStore,
    pub(crate) faults: Faults,
    unreadable: BTreeSet<(Family, Vec<u8>)>,
    /// Whoever reads this snapshot is refused.
    pub(crate) bad_snapshot: Option<Height>,
}

impl FaultyStore {
    pub(crate) fn over(inner: MemoryStore) -> Self {
        Self { inner, ..Self::default() }
    }

    /// Whoever reads one of these, or over it, is refused.
    pub(crate) fn make_unreadable(&mut self, family: Family, keys: &[Vec<u8>]) {
        self.unreadable.extend(keys.iter().map(|key| (family, key.clone())));
    }

    fn fails(&self, what: &AtomicBool, name: &'static str) -> Result<(), StoreError> {
        self.faults.log.lock().unwrap().push(name);
        if what.load(Ordering::SeqCst) { Err(StoreError::Engine(format!("{name}: EIO"))) } else { Ok(()) }
    }

    fn readable_blocks(&self) -> Result<(), StoreError> {
        let bad = self.faults.blocks.load(Ordering::SeqCst);
        if bad { Err(StoreError::Damaged("a table of the database")) } else { Ok(()) }
    }
}

impl Store for FaultyStore {
    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.fails(&self.faults.writes, "write")?;
        self.inner.write(batch)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.fails(&self.faults.syncs, "sync")
    }

    fn blocks(&self, from: Height, limit: Limit) -> Result<Vec<StoredBlock>, StoreError> {
        self.readable_blocks()?;
        self.inner.blocks(from, limit)
    }

    fn block_range(&self) -> Result<Option<RangeInclusive<Height>>, StoreError> {
        self.inner.block_range()
    }

    fn snapshot(&self, at_most: Height) -> Result<Option<StoredSnapshot>, StoreError> {
        self.readable_blocks()?;
        let found = self.inner.snapshot(at_most)?;
        let height = found.as_ref().map(|snapshot| snapshot.height);
        if height.is_some() && height == self.bad_snapshot {
            return Err(StoreError::Damaged("a table of the database"));
        }
        Ok(found)
    }

    fn meta(&self, key: MetaKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.meta(key)
    }

    fn row(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if self.unreadable.contains(&(family, key.to_vec())) {
            return Err(StoreError::Damaged("a table of the database"));
        }
        self.inner.row(family, key)
    }

    fn rows(&self, family: Family, from: &[u8], until: &[u8], count: usize) -> Result<Vec<Row>, StoreError> {
        let rows = self.inner.rows(family, from, until, count)?;
        let bad = |(key, _): &Row| self.unreadable.contains(&(family, key.clone()));
        if rows.iter().any(bad) { Err(StoreError::Damaged("a table of the database")) } else { Ok(rows) }
    }
}
