//! One process per data directory.
//!
//! `LOCK` in the data directory is locked with `flock` for the life of the process and holds its pid. The kernel drops
//! the lock with the process, however that ends, so a stale file locks nobody out. RocksDB has a lock of its own, but
//! it cannot say who holds it, and it is taken late.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the file in the data directory.
pub const FILE: &str = "LOCK";
/// [`holder`] takes the lock for a moment; a start that meets it tries again so often.
const ATTEMPTS: u32 = 5;
/// Pause between the attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// The lock; given back when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why the data directory cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is in use by {}", directory.display(), pid.map_or("another process".to_owned(), |pid| format!("process {pid}")))]
    Held {
        /// The data directory.
        directory: PathBuf,
        /// The process, if it has written its pid already.
        pid: Option<u32>,
    },
    /// The file cannot be opened, locked or written.
    #[error("cannot lock {}: {source}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

impl Lock {
    /// Locks `directory` for this process.
    ///
    /// # Errors
    /// [`LockError::Held`] with the pid of whoever has it.
    pub fn acquire(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join(FILE);
        let io_error = |source| LockError::Io { path: path.clone(), source };
        let mut file = open(&path).map_err(io_error)?;
        for attempt in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempt < ATTEMPTS => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Held { directory: directory.to_owned(), pid: pid_in(&mut file) });
                }
                Err(TryLockError::Error(source)) => return Err(io_error(source)),
            }
        }
        write_pid(&mut file).map_err(io_error)?;
        Ok(Self { _file: file })
    }
}

/// Who has `directory` locked: `None` if nobody, `Some(None)` if the process has not written its pid yet.
///
/// # Errors
/// When the lock file exists and cannot be read.
pub fn holder(directory: &Path) -> io::Result<Option<Option<u32>>> {
    let mut file = match File::open(directory.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(pid_in(&mut file))),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_with_the_pid_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(holder(directory.path()).unwrap(), None);
        let lock = Lock::acquire(directory.path()).unwrap();
        assert_eq!(holder(directory.path()).unwrap(), Some(Some(std::process::id())));
        let error = Lock::acquire(directory.path()).unwrap_err();
        assert!(matches!(error, LockError::Held { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
        drop(lock);
        assert_eq!(holder(directory.path()).unwrap(), None);
        Lock::acquire(directory.path()).unwrap();
    }

    #[test]
    fn a_lock_file_left_behind_by_a_killed_process_locks_nobody_out() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), "4194304\n").unwrap();
        let lock = Lock::acquire(directory.path()).unwrap();
        assert_eq!(std::fs::read_to_string(directory.path().join(FILE)).unwrap(), format!("{}\n", std::process::id()));
        drop(lock);
    }
}
