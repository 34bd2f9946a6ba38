//! One supervisor a directory: a locked file that contains its pid.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::files;

/// The lock on a directory; its file is removed when it is dropped, so that nothing stays behind.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    path: PathBuf,
}

/// Why a directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another supervisor has it.
    #[error("{} is in use by a running testnet (pid {pid})", .dir.display())]
    Held {
        /// The directory.
        dir: PathBuf,
        /// The supervisor's pid as written there.
        pid: String,
    },
    /// The file system refuses.
    #[error("cannot lock {}: {source}", .dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock on `dir`, which exists.
    ///
    /// # Errors
    /// [`LockError::Held`] with the holder's pid when another process has it.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join(files::LOCK);
        match try_lock(&path) {
            Ok(Some(file)) => Ok(Self { _file: file, path }),
            Ok(None) => Err(LockError::Held { dir: dir.to_owned(), pid: read_pid(&path) }),
            Err(source) => Err(LockError::Io { dir: dir.to_owned(), source }),
        }
    }

    /// The pid of the supervisor that holds `dir`, if one does.
    #[must_use]
    pub fn holder(dir: &Path) -> Option<u32> {
        let path = dir.join(files::LOCK);
        let file = File::open(&path).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => None,
            Err(_) => read_pid(&path).parse().ok(),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _already_gone: Result<_, _> = fs::remove_file(&self.path);
    }
}

/// The locked file; `None` when somebody else has it.
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    loop {
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // The previous holder removes the file when it ends; a lock on a removed file excludes nobody.
        let same = |other: fs::Metadata| file.metadata().is_ok_and(|ours| ours.ino() == other.ino());
        if fs::metadata(path).is_ok_and(same) {
            file.set_len(0)?;
            writeln!(file, "{}", std::process::id())?;
            return Ok(Some(file));
        }
    }
}

fn read_pid(path: &Path) -> String {
    let mut pid = String::new();
    let read = File::open(path).and_then(|file| file.take(32).read_to_string(&mut pid));
    match read {
        Ok(_) if !pid.trim().is_empty() => pid.trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_supervisor_is_refused_with_the_pid_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path()).unwrap();
        match Lock::take(dir.path()) {
            Err(LockError::Held { pid, .. }) => assert_eq!(pid, std::process::id().to_string()),
            other => panic!("{other:?}"),
        }
        assert_eq!(Lock::holder(dir.path()), Some(std::process::id()));
        drop(first);
        assert_eq!(Lock::holder(dir.path()), None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        Lock::take(dir.path()).unwrap();
    }

    #[test]
    fn a_lock_file_left_by_a_killed_supervisor_locks_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(files::LOCK), "123456\n").unwrap();
        assert_eq!(Lock::holder(dir.path()), None);
        Lock::take(dir.path()).unwrap();
    }
}
