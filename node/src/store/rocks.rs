//! The store in RocksDB, set up for fifty of them on one machine: a few MiB of memory each, two background threads,
//! almost no log.

use std::ops::RangeInclusive;
use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRawIterator, Direction,
    IteratorMode, LogLevel, Options, ReadOptions, WriteBatch, WriteBufferManager, WriteOptions,
};
use sotto_proto::id::Height;

use super::schema::{self, BLOCKS, SNAPSHOTS, VERSION};
use super::{Batch, Limit, MetaKey, Store, StoreError, StoredBlock, StoredSnapshot, Write};

const MIB: usize = 1 << 20;
/// Blocks read lately, indexes and filters.
const CACHE_BYTES: usize = MIB / 2;
/// All memtables together; the oldest is flushed above it.
const WRITE_BUFFER_BYTES: usize = MIB / 2;
/// One memtable: some hundred quiet blocks. A larger block makes it grow, then be flushed.
const MEMTABLE_BYTES: usize = MIB / 4;
/// The write-ahead log; above it the memtables that hold it back are flushed.
const WAL_BYTES: u64 = 8 << 20;
/// One table file.
const TABLE_BYTES: u64 = 4 << 20;
/// What RocksDB says about itself: one file and the one before it.
const INFO_LOG_BYTES: usize = 256 << 10;
/// Table files held open; the rest are opened when needed.
const OPEN_TABLES: i32 = 64;

/// The store in RocksDB.
pub struct RocksStore {
    db: DB,
    write_options: WriteOptions,
}

impl std::fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksStore").field("path", &self.db.path()).finish_non_exhaustive()
    }
}

impl From<rocksdb::Error> for StoreError {
    fn from(error: rocksdb::Error) -> Self {
        Self::Engine(error.into_string())
    }
}

impl RocksStore {
    /// Opens the database in `directory`, which is made if it is not there.
    ///
    /// # Errors
    /// [`StoreError::Version`] if another version of this program wrote it, [`StoreError::Engine`] otherwise.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let options = database_options();
        let db = DB::open_cf_descriptors(&options, directory, families(&options, directory))?;
        let mut store = Self { db, write_options: WriteOptions::default() };
        if store.check_version()?.is_none() {
            store.write(&Batch::of(Write::PutMeta(MetaKey::SchemaVersion, VERSION.to_be_bytes().to_vec())))?;
            store.sync()?;
        }
        Ok(store)
    }

    /// Opens the database in `directory` for reading; `None` if there is none.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_read_only(directory: &Path) -> Result<Option<Self>, StoreError> {
        if !directory.join("CURRENT").exists() {
            return Ok(None);
        }
        let mut options = database_options();
        options.create_if_missing(false);
        let db = DB::open_cf_descriptors_read_only(&options, directory, families(&options, directory), false)?;
        let store = Self { db, write_options: WriteOptions::default() };
        store.check_version()?;
        Ok(Some(store))
    }

    /// The version the database has, if it has one; an error if it is not [`VERSION`].
    fn check_version(&self) -> Result<Option<u32>, StoreError> {
        let Some(bytes) = self.meta(MetaKey::SchemaVersion)? else { return Ok(None) };
        match <[u8; 4]>::try_from(bytes.as_slice()).map(u32::from_be_bytes) {
            Ok(VERSION) => Ok(Some(VERSION)),
            Ok(found) => Err(StoreError::Version { found: found.to_string(), known: VERSION }),
            Err(_) => Err(StoreError::Version { found: format!("0x{}", hex::encode(bytes)), known: VERSION }),
        }
    }

    fn family(&self, name: &'static str) -> Result<&ColumnFamily, StoreError> {
        self.db.cf_handle(name).ok_or(StoreError::Damaged("the set of column families"))
    }

    fn raw_iterator(&self, family: &'static str) -> Result<DBRawIterator<'_>, StoreError> {
        Ok(self.db.raw_iterator_cf_opt(self.family(family)?, ReadOptions::default()))
    }

    fn append(&self, batch: &mut WriteBatch, write: &Write) -> Result<(), StoreError> {
        let (start, end) = ([0_u8; 8].as_slice(), [0xff_u8; 41].as_slice()); // below and above every key
        match write {
            Write::PutBlock { height, hash, bytes } => {
                batch.put_cf(self.family(BLOCKS)?, schema::block_key(*height, hash), bytes);
            }
            Write::DeleteBlocksFrom(height) => {
                batch.delete_range_cf(self.family(BLOCKS)?, schema::height_key(*height).as_slice(), end);
            }
            Write::PruneBlocksBelow(height) => {
                batch.delete_range_cf(self.family(BLOCKS)?, start, schema::height_key(*height).as_slice());
            }
            Write::PutSnapshot { height, bytes } => {
                batch.put_cf(self.family(SNAPSHOTS)?, schema::height_key(*height), bytes);
            }
            Write::PruneSnapshotsBelow(height) => {
                batch.delete_range_cf(self.family(SNAPSHOTS)?, start, schema::height_key(*height).as_slice());
            }
            Write::DeleteSnapshot(height) => {
                batch.delete_cf(self.family(SNAPSHOTS)?, schema::height_key(*height));
            }
            Write::PutMeta(key, value) => batch.put(key.name(), value),
        }
        Ok(())
    }
}

impl Store for RocksStore {
    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut writes = WriteBatch::default();
        batch.writes.iter().try_for_each(|write| self.append(&mut writes, write))?;
        Ok(self.db.write_opt(writes, &self.write_options)?)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(self.db.flush_wal(true)?)
    }

    fn blocks(&self, from: Height, limit: Limit) -> Result<Vec<StoredBlock>, StoreError> {
        let start = schema::height_key(from);
        let mode = IteratorMode::From(&start, Direction::Forward);
        let mut blocks = Vec::new();
        let mut total = 0_usize;
        for (entry, wanted) in self.db.iterator_cf(self.family(BLOCKS)?, mode).take(limit.count).zip(from.0..) {
            let (key, bytes) = entry?;
            let (height, hash) = schema::parse_block_key(&key).ok_or(StoreError::Damaged("the key of a block"))?;
            total = total.saturating_add(bytes.len());
            if height.0 != wanted || (!blocks.is_empty() && total > limit.bytes) {
                break;
            }
            blocks.push(StoredBlock { height, hash, bytes: bytes.into_vec() });
        }
        Ok(blocks)
    }

    fn block_range(&self) -> Result<Option<RangeInclusive<Height>>, StoreError> {
        let mut iterator = self.raw_iterator(BLOCKS)?;
        let height = |iterator: &DBRawIterator<'_>| -> Result<Option<Height>, StoreError> {
            iterator.status()?;
            let Some(key) = iterator.key() else { return Ok(None) };
            let (height, _) = schema::parse_block_key(key).ok_or(StoreError::Damaged("the key of a block"))?;
            Ok(Some(height))
        };
        iterator.seek_to_first();
        let first = height(&iterator)?;
        iterator.seek_to_last();
        Ok(first.zip(height(&iterator)?).map(|(first, last)| first..=last))
    }

    fn snapshot(&self, at_most: Height) -> Result<Option<StoredSnapshot>, StoreError> {
        let mut iterator = self.raw_iterator(SNAPSHOTS)?;
        iterator.seek_for_prev(schema::height_key(at_most));
        iterator.status()?;
        let Some((key, bytes)) = iterator.item() else { return Ok(None) };
        let height = schema::parse_height_key(key).ok_or(StoreError::Damaged("the key of a snapshot"))?;
        Ok(Some(StoredSnapshot { height, bytes: bytes.to_vec() }))
    }

    fn meta(&self, key: MetaKey) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.db.get(key.name())?)
    }
}

impl Drop for RocksStore {
    fn drop(&mut self) {
        self.db.cancel_all_background_work(true);
    }
}

/// Every family there is, also those of a version this program does not know: the database opens only with all of
/// them, and only then says its version.
fn families(options: &Options, directory: &Path) -> Vec<ColumnFamilyDescriptor> {
    let mut names = DB::list_cf(options, directory).unwrap_or_default(); // an error means there is none yet
    for name in ["default", BLOCKS, SNAPSHOTS] {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    let table = table_options();
    names.into_iter().map(|name| ColumnFamilyDescriptor::new(name, family_options(&table))).collect()
}

fn table_options() -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    // One cache for all families: each would get its own otherwise.
    table.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table
}

fn family_options(table: &BlockBasedOptions) -> Options {
    let mut options = Options::default();
    options.set_block_based_table_factory(table);
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_max_write_buffer_number(2);
    options.set_target_file_size_base(TABLE_BYTES);
    options.set_max_bytes_for_level_base(8 * TABLE_BYTES);
    options.set_compression_type(DBCompressionType::Lz4);
    options
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_write_buffer_manager(&WriteBufferManager::new_write_buffer_manager(WRITE_BUFFER_BYTES, false));
    options.set_max_open_files(OPEN_TABLES);
    options.set_max_file_opening_threads(1);
    options.set_max_total_wal_size(WAL_BYTES);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(INFO_LOG_BYTES);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options.set_skip_stats_update_on_db_open(true);
    options
}
