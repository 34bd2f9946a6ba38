//! The store in RocksDB, set up for fifty of them on one machine: a few MiB of memory each, two background threads,
//! almost no log.
//!
//! All families share one write-ahead log, and before a family is flushed RocksDB syncs the logs that are closed; a start
//! replays the log up to the first damage (point-in-time recovery, which is asked for by name). So after a loss of power,
//! and after damage of the log, all families are as they were after one and the same batch.
//!
//! A table with a bad block costs the rows in it when they are read ([`StoreError::Damaged`]). A database that does not
//! open because of damage is copied as far as it can be read ([`super::opening`]).

use std::hash::{BuildHasher as _, RandomState};
use std::ops::RangeInclusive;
use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRawIterator,
    DBRecoveryMode, Direction, ErrorKind, IteratorMode, LogLevel, Options, ReadOptions, WriteBatch, WriteBufferManager,
    WriteOptions,
};
use sotto_proto::chain::SignedHeader;
use sotto_proto::id::Height;

use super::mail::{RowChange, row_changes};
use super::schema::{self, BLOCKS, Family, SNAPSHOTS, VERSION, VERSION_WITHOUT_RECORDS};
use super::{Batch, Limit, MetaKey, Row, Store, StoreError, StoredBlock, StoredSnapshot, Write, header_of};

const MIB: usize = 1 << 20;
/// Blocks read lately, indexes and filters.
const CACHE_BYTES: usize = MIB / 2;
/// All memtables together; the oldest is flushed above it.
const WRITE_BUFFER_BYTES: usize = 4 * MIB;
/// One memtable: some hundred quiet blocks. A larger block makes it grow, then be flushed.
const MEMTABLE_BYTES: usize = MIB / 4;
/// The one of records; it grows only as it is filled. Each start draws a size of this range: all members of a swarm are
/// given the same records, and would all flush, and later compact, at the same moments, while a client waits for them.
const RECORDS_MEMTABLE_BYTES: RangeInclusive<usize> = MIB..=2 * MIB;
/// The write-ahead log; above it the memtables that hold it back are flushed.
const WAL_BYTES: u64 = 8 << 20;
/// One table file.
const TABLE_BYTES: u64 = 4 << 20;
/// What RocksDB says about itself: one file and the one before it.
const INFO_LOG_BYTES: usize = 256 << 10;
/// Table files held open; the rest are opened when needed.
const OPEN_TABLES: i32 = 64;
/// How the operating system names a part of a disk that cannot be read (EIO), and a file that is not there (ENOENT).
const UNREADABLE: &str = "Input/output error";
const GONE: &str = "No such file or directory";
/// Names the file that says which manifest counts. Without it the engine would begin a new database among the files of the
/// old one.
const CURRENT: &str = "CURRENT";

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
    /// A damaged table, or a part of the disk that cannot be read, costs the rows in it, no more. Any other error is the
    /// engine's: too many open files are no damage.
    fn from(error: rocksdb::Error) -> Self {
        match error.kind() {
            ErrorKind::Corruption => Self::Damaged("a table of the database"),
            ErrorKind::IOError if error.as_ref().contains(UNREADABLE) => Self::Damaged("a part of the disk"),
            _ => Self::Engine(error.into_string()),
        }
    }
}

/// What opening it says: beside what reading says, also a file that is gone is damage.
fn opening_error(error: rocksdb::Error) -> StoreError {
    tracing::warn!(error = error.as_ref(), "the database does not open");
    match error.kind() {
        ErrorKind::IOError if error.as_ref().contains(GONE) => StoreError::Damaged("the set of its files"),
        _ => error.into(),
    }
}

/// A write that fails says nothing about single rows. Damage is told apart because it stays: tables are put together in
/// the background, and one that cannot be read stops all writes until it is gone.
fn write_error(error: rocksdb::Error) -> StoreError {
    match error.kind() {
        ErrorKind::Corruption => StoreError::Damaged("a table of the database"),
        _ => StoreError::Engine(error.into_string()),
    }
}

impl RocksStore {
    /// Opens the database in `directory`, which is made if it is not there.
    ///
    /// # Errors
    /// [`StoreError::Version`] if another version of this program wrote it, [`StoreError::Damaged`] if it is damaged so
    /// that it does not open, [`StoreError::Engine`] otherwise.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        Self::open_with(directory, DBRecoveryMode::PointInTime)
    }

    /// The same, if nothing that was ever written is missing at the end of its log.
    ///
    /// # Errors
    /// As [`Self::open`]; [`StoreError::Damaged`] also if the end of the log is torn.
    pub(super) fn open_whole(directory: &Path) -> Result<Self, StoreError> {
        Self::open_with(directory, DBRecoveryMode::AbsoluteConsistency)
    }

    fn open_with(directory: &Path, log: DBRecoveryMode) -> Result<Self, StoreError> {
        if !directory.join(CURRENT).exists() && has_files(directory) {
            return Err(StoreError::Damaged("the set of its files"));
        }
        let mut options = database_options();
        options.set_wal_recovery_mode(log);
        let known = ["default", BLOCKS, SNAPSHOTS].into_iter().chain(Family::ALL.map(Family::name));
        let db = DB::open_cf_descriptors(&options, directory, families(&options, directory, known))
            .map_err(opening_error)?;
        let mut store = Self { db, write_options: WriteOptions::default() };
        if store.check_version()? != Some(VERSION) {
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
        if !directory.join(CURRENT).exists() {
            return Ok(None);
        }
        let mut options = database_options();
        options.create_if_missing(false);
        // Only those that are there: a database from before records has none for them, and none is made.
        let there = families(&options, directory, []);
        let db = DB::open_cf_descriptors_read_only(&options, directory, there, false).map_err(opening_error)?;
        let store = Self { db, write_options: WriteOptions::default() };
        store.check_version()?;
        Ok(Some(store))
    }

    /// Has the engine make what it can of the files in `directory`: tables with damage anywhere are left out, and what is
    /// left may be of several moments, also such that were deleted. Opens the result.
    ///
    /// # Errors
    /// When nothing can be made of them.
    pub(super) fn repair(directory: &Path) -> Result<Self, StoreError> {
        DB::repair(&database_options(), directory).map_err(opening_error)?;
        Self::open(directory)
    }

    /// The version the database has, if it has one; an error if it is none that can be read.
    fn check_version(&self) -> Result<Option<u32>, StoreError> {
        let Some(bytes) = self.meta(MetaKey::SchemaVersion)? else { return Ok(None) };
        match <[u8; 4]>::try_from(bytes.as_slice()).map(u32::from_be_bytes) {
            Ok(version @ (VERSION | VERSION_WITHOUT_RECORDS)) => Ok(Some(version)),
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

    /// `fresh`: the batch has rows that a range in it may have to delete.
    fn append(&self, batch: &mut WriteBatch, write: &Write, fresh: bool) -> Result<(), StoreError> {
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
            _ => row_changes(write).into_iter().try_for_each(|change| self.append_row(batch, change, fresh))?,
        }
        Ok(())
    }

    fn append_row(&self, batch: &mut WriteBatch, change: RowChange, fresh: bool) -> Result<(), StoreError> {
        match change {
            RowChange::Put { family, key, row } => batch.put_cf(self.family(family.name())?, key, row),
            RowChange::Delete { family, key } => batch.delete_cf(self.family(family.name())?, key),
            RowChange::DeleteRange { family, from, until } => {
                let there = if fresh { None } else { self.rows(family, &from, &until, usize::MAX).ok() };
                match there {
                    // Ranges that stay as ranges slow down every read until they are compacted away.
                    Some(rows) => {
                        for (key, _) in rows {
                            batch.delete_cf(self.family(family.name())?, key);
                        }
                    }
                    // What is there cannot be read, or is in this very batch.
                    None => batch.delete_range_cf(self.family(family.name())?, from, until),
                }
            }
        }
        Ok(())
    }
}

impl Store for RocksStore {
    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut writes = WriteBatch::default();
        let fresh =
            batch.writes.iter().any(|write| matches!(write, Write::PutConfirmation { .. } | Write::PutAnchor { .. }));
        batch.writes.iter().try_for_each(|write| self.append(&mut writes, write, fresh))?;
        self.db.write_opt(writes, &self.write_options).map_err(write_error)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.db.flush_wal(true).map_err(write_error)
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

    fn headers(&self, from: Height, limit: Limit) -> Result<Vec<SignedHeader>, StoreError> {
        let mut options = ReadOptions::default();
        // A few large blocks would drive all else out of a small cache.
        options.fill_cache(false);
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(BLOCKS)?, options);
        iterator.seek(schema::height_key(from));
        let mut headers = Vec::new();
        let mut total = 0_usize;
        for wanted in (from.0..).take(limit.count) {
            // Both borrow from the database's own memory: only the header is copied.
            let Some((key, block)) = iterator.item() else { break };
            let (height, _) = schema::parse_block_key(key).ok_or(StoreError::Damaged("the key of a block"))?;
            total = total.saturating_add(block.len());
            if height.0 != wanted || (!headers.is_empty() && total > limit.bytes) {
                break;
            }
            headers.push(header_of(block)?);
            iterator.next();
        }
        iterator.status()?;
        Ok(headers)
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

    fn row(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.db.get_cf(self.family(family.name())?, key)?)
    }

    fn rows(&self, family: Family, from: &[u8], until: &[u8], count: usize) -> Result<Vec<Row>, StoreError> {
        let mut options = ReadOptions::default();
        if !until.is_empty() {
            options.set_iterate_upper_bound(until.to_vec());
        }
        let mode = IteratorMode::From(from, Direction::Forward);
        let rows = self.db.iterator_cf_opt(self.family(family.name())?, options, mode).take(count);
        rows.map(|row| row.map(|(key, row)| (key.into_vec(), row.into_vec())).map_err(StoreError::from)).collect()
    }
}

impl Drop for RocksStore {
    fn drop(&mut self) {
        self.db.cancel_all_background_work(true);
    }
}

/// Whether there are files with rows of a database. One whose making was cut short has none yet.
fn has_files(directory: &Path) -> bool {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name());
    names.any(|name| name.to_str().is_some_and(|name| name.ends_with(".sst") || name.ends_with(".log")))
}

/// `known` families and every one there is, also those of a version this program does not know: the database opens
/// only with all of them, and only then says its version.
fn families(
    options: &Options,
    directory: &Path,
    known: impl IntoIterator<Item = &'static str>,
) -> Vec<ColumnFamilyDescriptor> {
    let mut names = DB::list_cf(options, directory).unwrap_or_default(); // an error means there is none yet
    for name in known {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    let table = table_options();
    names
        .into_iter()
        .map(|name| {
            let options = family_options(&table, &name);
            ColumnFamilyDescriptor::new(name, options)
        })
        .collect()
}

fn table_options() -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    // One cache for all families: each would get its own otherwise.
    table.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table
}

fn family_options(table: &BlockBasedOptions, name: &str) -> Options {
    let mut options = Options::default();
    options.set_block_based_table_factory(table);
    let records = name == Family::Records.name();
    options.set_write_buffer_size(if records { records_memtable() } else { MEMTABLE_BYTES });
    options.set_max_write_buffer_number(2);
    options.set_target_file_size_base(TABLE_BYTES);
    options.set_max_bytes_for_level_base(8 * TABLE_BYTES);
    options.set_compression_type(DBCompressionType::Lz4);
    options
}

/// One of [`RECORDS_MEMTABLE_BYTES`].
fn records_memtable() -> usize {
    let (least, most) = RECORDS_MEMTABLE_BYTES.into_inner();
    // Random keys of hash maps are as good a lot as any.
    let lot = usize::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or(0);
    least + lot % (most - least + 1)
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
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
