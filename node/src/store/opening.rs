//! Opening the database of a node, whatever became of it: what can be read is kept, and the node goes on.
//!
//! | found | done |
//! | --- | --- |
//! | a log with damage | it is replayed up to there: an older state, under a new epoch, and repair brings the rest |
//! | a table with a bad block | opens; its rows are passed over, dropped and fetched again |
//! | a table, the manifest or another file that is gone or damaged | what can be read is copied into a new database |
//! | a bad block that the engine stumbles over in the background | the same, at the next opening |
//! | nothing that can be read | a new database, empty |
//! | a copy, of a backup perhaps | opens, under a new epoch (a snapshot of the whole disk that is put back looks like none) |
//!
//! A damaged database is moved aside, to `db.damaged-TIME` beside it, and the last [`KEPT`] of those stay for whoever wants
//! to look. All of this rests on one thing: what a node has acknowledged, and what it has taken from members, other
//! members have as well.

use std::path::{Path, PathBuf};

use sotto_proto::id::ChainId;
use sotto_proto::time::UnixSeconds;

use super::salvage::Salvaged;
use super::{Store, StoreError};

/// Damaged databases that are kept.
pub const KEPT: usize = 2;

/// A database that was opened.
pub struct Opened {
    /// It.
    pub store: Box<dyn Store>,
    /// It was damaged so that another one had to be made.
    pub damage: Option<Damage>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("damage", &self.damage).finish_non_exhaustive()
    }
}

/// What became of a damaged database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it is now.
    pub aside: PathBuf,
    /// What of it is in the new one.
    pub salvaged: Salvaged,
}

/// Opens the database of a node of `chain` in `directory`, which is made if it is not there; `now` names what is moved
/// aside.
///
/// # Errors
/// [`StoreError`] when it was written by another version, or the disk refuses. Damage is no error.
pub fn open(directory: &Path, chain: &ChainId, now: UnixSeconds) -> Result<Opened, StoreError> {
    #[cfg(feature = "rocksdb")]
    return on_disk::open(directory, chain, now);
    #[cfg(not(feature = "rocksdb"))]
    {
        let _ = (chain, now);
        tracing::warn!("built without RocksDB: blocks are kept in memory only, not in {}", directory.display());
        Ok(Opened { store: Box::new(super::memory::MemoryStore::default()), damage: None })
    }
}

/// The same for a database that is known to be damaged although it opens.
///
/// # Errors
/// As [`open`].
pub fn rebuild(directory: &Path, chain: &ChainId, now: UnixSeconds) -> Result<Opened, StoreError> {
    #[cfg(feature = "rocksdb")]
    return on_disk::rebuild(directory, chain, now);
    #[cfg(not(feature = "rocksdb"))]
    open(directory, chain, now)
}

#[cfg(feature = "rocksdb")]
mod on_disk {
    use std::ffi::OsString;
    use std::fs;
    use std::io;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::{Path, PathBuf};

    use sotto_proto::id::ChainId;
    use sotto_proto::time::UnixSeconds;

    use super::super::rocks::RocksStore;
    use super::super::salvage::{Salvaged, salvage};
    use super::super::{Batch, MetaKey, Store as _, StoreError, Write};
    use super::{Damage, KEPT, Opened};

    /// Suffixes of what lies beside the database: one that is being made, links to the files of one that is damaged, damaged
    /// ones, and what tells a copy from the original.
    const NEW: &str = "new";
    const LINKS: &str = "links";
    const DAMAGED: &str = "damaged-";
    const ORIGIN: &str = "origin";
    /// A file that the engine writes once, when it makes a database.
    const IDENTITY: &str = "IDENTITY";
    /// Files that are no part of what is kept: the engine's lock, and beginnings of the names of its own log.
    const LOCK: &str = "LOCK";
    const INFO_LOG: &str = "LOG";

    pub(super) fn open(directory: &Path, chain: &ChainId, now: UnixSeconds) -> Result<Opened, StoreError> {
        finish_rebuilding(directory)?;
        let (opened, is_cut) = match RocksStore::open_whole(directory) {
            // Numbers of what is behind the damage may have been given out.
            Err(StoreError::Damaged(_)) => (RocksStore::open(directory), true),
            opened => (opened, false),
        };
        let mut store = match opened {
            Ok(store) => store,
            Err(StoreError::Damaged(what)) => {
                tracing::error!(what, "the database is damaged and does not open; what can be read of it is copied");
                return rebuild(directory, chain, now);
            }
            Err(error) => return Err(error),
        };
        if is_cut {
            tracing::warn!(
                "the database's log has a damaged end; what is before it is there, and all readers begin anew"
            );
        }
        if (is_cut || is_copy(directory)?) && store.meta(MetaKey::Epoch)?.is_some() {
            tracing::warn!("the database may be an older one than readers know; they begin anew");
            store.write(&Batch::of(Write::PutMeta(MetaKey::Epoch, Vec::new())))?;
            store.sync()?;
        }
        note_origin(directory)?;
        Ok(Opened { store: Box::new(store), damage: None })
    }

    pub(super) fn rebuild(directory: &Path, chain: &ChainId, now: UnixSeconds) -> Result<Opened, StoreError> {
        let new = beside(directory, NEW);
        remove(&new)?;
        // There has to be room for another one.
        forget_oldest(directory, KEPT - 1)?;
        let salvaged = match copy(directory, &new, chain) {
            Ok(salvaged) => salvaged,
            Err(error) => {
                remove(&new)?;
                return Err(error);
            }
        };
        let free = |time: &u64| !beside(directory, &format!("{DAMAGED}{time}")).exists();
        let time = (now.0..).find(free).unwrap_or(now.0);
        let aside = beside(directory, &format!("{DAMAGED}{time}"));
        rename(directory, &aside)?;
        rename(&new, directory)?;
        let store = RocksStore::open(directory)?;
        note_origin(directory)?;
        tracing::error!(
            aside = %aside.display(),
            blocks = salvaged.blocks,
            records = salvaged.records,
            tombstones = salvaged.tombstones,
            "the damaged database was moved aside; what is lost is fetched again from other nodes"
        );
        Ok(Opened { store: Box::new(store), damage: Some(Damage { aside, salvaged }) })
    }

    /// Copies what can be read: as the database stands if it opens, and what the engine can make of its files.
    fn copy(directory: &Path, new: &Path, chain: &ChainId) -> Result<Salvaged, StoreError> {
        let mut to = RocksStore::open(new)?;
        let mut salvaged = Salvaged { damaged: 1, ..Salvaged::default() };
        match RocksStore::open_read_only(directory) {
            Ok(Some(from)) => salvaged = salvage(&from, &mut to, chain)?,
            Err(error @ StoreError::Version { .. }) => return Err(error),
            Ok(None) | Err(_) => {} // its files may say more
        }
        if salvaged.damaged > 0 {
            let links = beside(directory, LINKS);
            remove(&links)?;
            link_all(directory, &links)?;
            match RocksStore::repair(&links) {
                Ok(from) => {
                    let more = salvage(&from, &mut to, chain)?;
                    salvaged.blocks += more.blocks;
                    salvaged.records += more.records;
                    salvaged.tombstones += more.tombstones;
                }
                Err(error) => tracing::warn!(%error, "no more can be made of the files of the damaged database"),
            }
            remove(&links)?;
        }
        to.sync()?;
        Ok(salvaged)
    }

    /// A rebuilding that was cut short: either the new database is whole and the old one is aside, or it counts for
    /// nothing.
    fn finish_rebuilding(directory: &Path) -> Result<(), StoreError> {
        let new = beside(directory, NEW);
        if !directory.exists() && new.exists() {
            rename(&new, directory)?;
        }
        remove(&new)?;
        remove(&beside(directory, LINKS))
    }

    /// Of the damaged ones only so many stay.
    fn forget_oldest(directory: &Path, kept: usize) -> Result<(), StoreError> {
        let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else { return Ok(()) };
        let prefix = format!("{}.{DAMAGED}", name.to_string_lossy());
        let entries = fs::read_dir(parent).map_err(|error| failed("read", parent, &error))?;
        let time = |entry: fs::DirEntry| {
            let time = entry.file_name().to_str()?.strip_prefix(&prefix)?.parse::<u64>().ok()?;
            Some((time, entry.path()))
        };
        let mut damaged: Vec<_> = entries.flatten().filter_map(time).collect();
        damaged.sort();
        let spare = damaged.len().saturating_sub(kept);
        damaged.iter().take(spare).try_for_each(|(_, path)| remove(path))
    }

    /// Whether the database is not the one that was opened here last: files that were copied, or restored, are others.
    fn is_copy(directory: &Path) -> Result<bool, StoreError> {
        let path = beside(directory, ORIGIN);
        match fs::read_to_string(&path) {
            Ok(noted) => Ok(noted != origin(directory)?),
            // It was put here without what is beside it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(failed("read", &path, &error)),
        }
    }

    fn note_origin(directory: &Path) -> Result<(), StoreError> {
        let (path, origin) = (beside(directory, ORIGIN), origin(directory)?);
        if fs::read_to_string(&path).is_ok_and(|noted| noted == origin) {
            return Ok(());
        }
        fs::write(&path, origin).map_err(|error| failed("write", &path, &error))
    }

    /// Which file the database's identity is in, and when that was last changed: nothing that copies a file keeps both.
    fn origin(directory: &Path) -> Result<String, StoreError> {
        let path = directory.join(IDENTITY);
        let file = fs::metadata(&path).map_err(|error| failed("read", &path, &error))?;
        Ok(format!("{} {}.{:09}\n", file.ino(), file.ctime(), file.ctime_nsec()))
    }

    fn link_all(from: &Path, to: &Path) -> Result<(), StoreError> {
        fs::create_dir(to).map_err(|error| failed("make", to, &error))?;
        let entries = fs::read_dir(from).map_err(|error| failed("read", from, &error))?;
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let kept =
                name.to_str().is_some_and(|name| name != LOCK && name != IDENTITY && !name.starts_with(INFO_LOG));
            if kept && path.is_file() {
                let link = to.join(&name);
                // Some file systems have no links.
                let linked = fs::hard_link(&path, &link).or_else(|_| fs::copy(&path, &link).map(drop));
                if let Err(error) = linked {
                    tracing::warn!(%error, file = %path.display(), "a file of the damaged database is lost");
                }
            }
        }
        Ok(())
    }

    /// `db` and a suffix: `db.new`.
    fn beside(directory: &Path, suffix: &str) -> PathBuf {
        let mut name = directory.file_name().map_or_else(OsString::new, OsString::from);
        name.push(".");
        name.push(suffix);
        directory.with_file_name(name)
    }

    /// Renames, and has the new name on disk.
    fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
        let synced = || fs::File::open(to.parent().unwrap_or(Path::new("."))).and_then(|parent| parent.sync_all());
        fs::rename(from, to).and_then(|()| synced()).map_err(|error| failed("rename", from, &error))
    }

    fn remove(directory: &Path) -> Result<(), StoreError> {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", directory, &error)),
            _ => Ok(()),
        }
    }

    fn failed(what: &str, path: &Path, error: &io::Error) -> StoreError {
        StoreError::Engine(format!("cannot {what} {}: {error}", path.display()))
    }
}

#[cfg(test)]
#[cfg(feature = "rocksdb")]
mod tests;
