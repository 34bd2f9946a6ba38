//! Reading what processes printed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// The end of a log that is looked at for its last line.
const TAIL_BYTES: u64 = 8192;

/// The last line in `log` that is not blank.
#[must_use]
pub fn last_line(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    tail.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned)
}

/// Copies what is in a log, and what comes later, to a writer.
#[derive(Debug)]
pub struct Follower {
    file: File,
    position: u64,
}

impl Follower {
    /// Starts at the beginning of `log`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(log: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(log)?, position: 0 })
    }

    /// Copies what is new; starts again when the log has become shorter.
    ///
    /// # Errors
    /// Those of the log and of the writer.
    pub fn copy_new(&mut self, to: &mut impl io::Write) -> io::Result<u64> {
        if self.file.metadata()?.len() < self.position {
            self.position = 0;
        }
        self.file.seek(SeekFrom::Start(self.position))?;
        let copied = io::copy(&mut self.file, to)?;
        self.position += copied;
        to.flush()?;
        Ok(copied)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_last_line_is_found_behind_blank_ones() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, format!("{}\nthe reason\n\n", "x".repeat(20_000))).unwrap();
        assert_eq!(last_line(&log).as_deref(), Some("the reason"));
        fs::write(&log, "").unwrap();
        assert_eq!(last_line(&log), None);
    }

    #[test]
    fn a_log_is_followed_through_truncation() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, "one\n").unwrap();
        let mut follower = Follower::open(&log).unwrap();
        let mut seen = Vec::new();
        follower.copy_new(&mut seen).unwrap();
        fs::write(&log, "").unwrap();
        follower.copy_new(&mut seen).unwrap();
        fs::write(&log, "two\n").unwrap();
        follower.copy_new(&mut seen).unwrap();
        assert_eq!(String::from_utf8(seen).unwrap(), "one\ntwo\n");
    }
}
