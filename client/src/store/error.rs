//! What can go wrong with what is kept on this device.

use std::io;
use std::path::{Path, PathBuf};

use sotto_proto::id::ChainId;

/// Why the store could not do what it was asked. Never says what is in it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the account open.
    #[error("the account is in use by {}", pid.map_or("another process".to_owned(), |pid| format!("process {pid}")))]
    InUse {
        /// That process, if it has written its pid already.
        pid: Option<u32>,
    },
    /// No key slot opens with the passphrase.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// It is not there.
    #[error("there is no {0}")]
    NotFound(&'static str),
    /// It is there already.
    #[error("there is already such {0}")]
    Exists(&'static str),
    /// The account belongs to another network.
    #[error("the account belongs to network {}, not to {}", actual.short(), expected.short())]
    OtherNetwork {
        /// The network asked for.
        expected: ChainId,
        /// The network it belongs to.
        actual: ChainId,
    },
    /// A later version of this program has written it.
    #[error("written by a later version (format {found}, this one knows {known})")]
    LaterVersion {
        /// The format found.
        found: u32,
        /// The latest format known.
        known: u32,
    },
    /// Bytes that this program cannot have written.
    #[error("damaged: {0}")]
    Damaged(&'static str),
    /// The operating system refuses.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The key derivation failed: there is not enough memory for it.
    #[error("cannot derive the key: {0}")]
    Kdf(argon2::Error),
    /// The database refuses: the disk is full, or it is broken.
    #[error("database: {0}")]
    Database(#[from] rusqlite::Error),
}

/// What kind of trouble it is, for exit codes and for deciding whether to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Another process has it.
    InUse,
    /// The passphrase is missing or wrong.
    Locked,
    /// It is not there.
    NotFound,
    /// It is there already.
    Exists,
    /// It belongs elsewhere, or is written by a later version.
    Conflict,
    /// It is broken.
    Damaged,
    /// There is no room for it on the disk.
    Full,
    /// Disk, memory or permissions.
    Io,
}

impl StoreError {
    /// What kind of trouble it is.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        match self {
            Self::InUse { .. } => StoreErrorKind::InUse,
            Self::WrongPassphrase => StoreErrorKind::Locked,
            Self::NotFound(_) => StoreErrorKind::NotFound,
            Self::Exists(_) => StoreErrorKind::Exists,
            Self::OtherNetwork { .. } | Self::LaterVersion { .. } => StoreErrorKind::Conflict,
            Self::Damaged(_) => StoreErrorKind::Damaged,
            Self::Database(error) => of_database(error),
            Self::Io { source, .. } => of_system(source),
            Self::Kdf(_) => StoreErrorKind::Io,
        }
    }

    /// For `map_err`: `action` on `path` failed.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

fn of_database(error: &rusqlite::Error) -> StoreErrorKind {
    use rusqlite::ErrorCode::{DatabaseCorrupt, DiskFull, NotADatabase};
    match error.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => StoreErrorKind::Damaged,
        Some(DiskFull) => StoreErrorKind::Full,
        _ => StoreErrorKind::Io,
    }
}

fn of_system(error: &io::Error) -> StoreErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreErrorKind::Full,
        _ => StoreErrorKind::Io,
    }
}
