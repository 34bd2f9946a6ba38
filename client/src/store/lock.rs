//! One process an account.
//!
//! `LOCK` in the account's folder is locked with `flock` while the account is open and holds the process's pid. The
//! kernel drops the lock with the process, however that ends, so a file left behind locks nobody out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::StoreError;

/// Name of the file in the account's folder.
pub(super) const FILE: &str = "LOCK";
/// Whoever asks for the holder takes the lock for a moment; who meets that tries again so often.
const ATTEMPTS: u32 = 5;
/// Pause between the attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// The lock; given back when dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

/// The pid goes with the lock: accounts that one process had open would have it in common.
impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.file.set_len(0); // whoever reads it looks for the lock first
    }
}

impl Lock {
    /// Locks `folder` for this process.
    ///
    /// # Errors
    /// [`StoreError::InUse`] with the pid of whoever has it.
    pub(super) fn acquire(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        let io = || StoreError::io("lock", &path);
        let mut file = open(&path).map_err(io())?;
        for attempt in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempt < ATTEMPTS => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { pid: pid_in(&mut file) }),
                Err(TryLockError::Error(error)) => return Err(io()(error)),
            }
        }
        write_pid(&mut file).map_err(io())?;
        Ok(Self { file })
    }
}

/// Whether a process has `folder` locked.
pub(super) fn is_held(folder: &Path) -> bool {
    File::open(folder.join(FILE)).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
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
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_held(folder.path()));
        let lock = Lock::acquire(folder.path()).unwrap();
        assert!(is_held(folder.path()));
        let error = Lock::acquire(folder.path()).unwrap_err();
        assert!(matches!(error, StoreError::InUse { pid: Some(pid) } if pid == std::process::id()), "{error}");
        drop(lock);
        assert!(!is_held(folder.path()));
        assert_eq!(std::fs::read(folder.path().join(FILE)).unwrap(), b"");
        Lock::acquire(folder.path()).unwrap();
    }

    #[test]
    fn a_lock_file_left_behind_by_a_killed_process_locks_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "4194304\n").unwrap();
        Lock::acquire(folder.path()).unwrap();
    }
}
