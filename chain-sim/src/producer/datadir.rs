//! The data directory: who uses it, and the keys in it.
//!
//! ```text
//! DIR/LOCK            locked while a producer runs; holds its pid
//! DIR/keys/*.key      hex seeds, mode 0600: authority, producer, faucet (testnets)
//! DIR/blocks.log      the chain
//! DIR/snapshots/      states
//! DIR/admin.sock      commands, for the owner of the directory
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use sotto_proto::sign::SigningKey;
use zeroize::Zeroizing;

use crate::producer::files::sync_dir;

/// Name of the lock file.
const LOCK: &str = "LOCK";
/// Name of the socket for commands.
pub const SOCKET: &str = "admin.sock";
/// A key file: 64 hex digits and a newline; some editors add more white space.
const KEY_FILE_MAX: u64 = 128;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process uses it.
    #[error("{} is in use by process {pid}", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The process, as far as it has written it.
        pid: String,
    },
    /// The operating system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// A data directory that no other producer uses while this value lives.
#[derive(Debug)]
pub struct DataDir {
    dir: PathBuf,
    /// Holds the lock; closing it releases it, also when the process is killed.
    _lock: File,
}

impl DataDir {
    /// Takes `dir`, which is made if it does not exist.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn lock(dir: &Path) -> Result<Self, DataDirError> {
        create(dir)?;
        let path = dir.join(LOCK);
        let io = |source| DataDirError::Io { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).map_err(io)?;
                let pid = if pid.trim().is_empty() { "(unknown)" } else { pid.trim() };
                return Err(DataDirError::InUse { dir: dir.to_owned(), pid: pid.to_owned() });
            }
            Err(errno) => return Err(io(errno.into())),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(io)?;
        Ok(Self { dir: dir.to_owned(), _lock: file })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

/// Makes a directory, and those above it, that only its owner may enter.
///
/// # Errors
/// [`DataDirError::Io`].
pub fn create(dir: &Path) -> Result<(), DataDirError> {
    let io = |source| DataDirError::Io { path: dir.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)
}

/// Where a key lies in a data directory.
#[must_use]
pub fn key_path(dir: &Path, name: &str) -> PathBuf {
    dir.join("keys").join(format!("{name}.key"))
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The operating system refuses.
    #[error("key file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// It does not hold 64 hex digits.
    #[error("key file {} does not hold the 64 hex digits of a seed", .0.display())]
    Format(PathBuf),
    /// Others may read it.
    #[error("key file {} can be read by others (mode {mode:o}); run: chmod 600 {}", path.display(), path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The random source failed.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
}

/// Reads the key of a seed file that only its owner can read.
///
/// # Errors
/// [`KeyError`]; [`io::ErrorKind::NotFound`] inside where there is no file.
pub fn read_key(path: &Path) -> Result<SigningKey, KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Mode { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(KEY_FILE_MAX).read_to_string(&mut text).map_err(io)?;
    let mut seed = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), &mut *seed).map_err(|_| KeyError::Format(path.to_owned()))?;
    Ok(SigningKey::from_seed(&seed))
}

/// Writes a key's seed; never over another file.
///
/// # Errors
/// [`KeyError::Io`].
pub fn write_key(path: &Path, key: &SigningKey) -> Result<(), KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    let dir = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
    let text = Zeroizing::new(hex::encode(*key.seed()) + "\n");
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| sync_dir(dir)).map_err(io)
}

/// A new random key.
///
/// # Errors
/// [`KeyError::Random`].
pub fn random_key() -> Result<SigningKey, KeyError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(KeyError::Random)?;
    Ok(SigningKey::from_seed(&seed))
}

/// Whether a key file is there.
///
/// # Errors
/// [`KeyError::Io`].
pub fn has_key(path: &Path) -> Result<bool, KeyError> {
    fs::exists(path).map_err(|source| KeyError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_refused_with_the_pid_and_gets_in_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::lock(dir.path()).unwrap();
        match DataDir::lock(dir.path()) {
            Err(DataDirError::InUse { pid, .. }) => assert_eq!(pid, std::process::id().to_string()),
            other => panic!("{other:?}"),
        }
        drop(first);
        DataDir::lock(dir.path()).unwrap();
    }

    #[test]
    fn keys_round_trip_and_are_for_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = key_path(dir.path(), "authority");
        assert!(!has_key(&path).unwrap());
        let key = random_key().unwrap();
        write_key(&path, &key).unwrap();
        assert_eq!(read_key(&path).unwrap().public(), key.public());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write_key(&path, &key).is_err(), "keys are never overwritten");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(read_key(&path), Err(KeyError::Mode { mode: 0o644, .. })));
        let bad = dir.path().join("bad.key");
        fs::write(&bad, "0123").unwrap();
        fs::set_permissions(&bad, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(read_key(&bad), Err(KeyError::Format(_))));
    }
}
