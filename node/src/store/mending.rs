//! A database that has failed is opened again when its disk takes writes: first tried after a second, later every half
//! minute.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use super::StoreError;

/// Between the first two tries, and between later ones at most.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A node that ran for so long since the last failure begins with [`FIRST_WAIT`] again.
const STEADY: Duration = Duration::from_secs(300);
/// What is written to try the disk: as much as opening a database may write, whose log becomes tables then.
const TRIAL_BYTES: usize = 16 << 20;
/// Written at once.
const CHUNK: usize = 1 << 20;
/// The file it is written to.
const TRIAL: &str = "trial";

/// Tries whether the disk takes writes; `Ok` if it does.
pub type Attempt = Box<dyn FnMut() -> io::Result<()> + Send>;
/// Is told that it does, and what the error was.
pub type Mended = Box<dyn FnOnce(StoreError) + Send>;

/// Looks when a disk takes writes again.
pub struct Mending {
    attempt: Attempt,
    mended: Option<Mended>,
    wait: Duration,
    due: Option<Instant>,
}

impl std::fmt::Debug for Mending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mending").field("wait", &self.wait).field("due", &self.due).finish_non_exhaustive()
    }
}

impl Mending {
    /// Waits so long before the first try.
    #[must_use]
    pub fn new(wait: Duration, attempt: Attempt, mended: Mended) -> Self {
        Self { attempt, mended: Some(mended), wait, due: None }
    }

    /// An error has occurred.
    pub(super) fn begin(&mut self, now: Instant) {
        self.due.get_or_insert(now + self.wait);
    }

    /// When the next try is due.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Tries, if it is due. True once the disk takes writes, and that was told.
    pub(super) fn try_if_due(&mut self, now: Instant, error: &StoreError) -> bool {
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        if let Err(reason) = (self.attempt)() {
            tracing::debug!(%reason, "the disk does not take writes yet");
            self.wait = next_wait(self.wait);
            self.due = Some(Instant::now() + self.wait);
            return false;
        }
        if let Some(mended) = self.mended.take() {
            mended(error.clone());
        }
        true
    }
}

/// How long to wait before the first try after the next failure, if the node had `wait` before this one, and `ran` since.
#[must_use]
pub fn wait_after(wait: Duration, ran: Duration) -> Duration {
    if ran >= STEADY { FIRST_WAIT } else { next_wait(wait) }
}

fn next_wait(wait: Duration) -> Duration {
    wait.saturating_mul(2).min(LONGEST_WAIT)
}

/// Writes as much as opening a database may write to a file in `directory`, has it on disk, and removes it.
///
/// # Errors
/// When the disk does not take it.
pub fn try_disk(directory: &Path) -> io::Result<()> {
    let path = directory.join(TRIAL);
    let written = fs::File::create(&path).and_then(|mut file| {
        let chunk = vec![0x5a; CHUNK];
        (0..TRIAL_BYTES / CHUNK).try_for_each(|_| file.write_all(&chunk))?;
        file.sync_all()
    });
    let removed = fs::remove_file(&path);
    written.and(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute_and_begin_anew_when_it_ran_for_long() {
        let mut wait = FIRST_WAIT;
        let mut waits = Vec::new();
        for _ in 0..7 {
            waits.push(wait.as_secs());
            wait = wait_after(wait, Duration::from_secs(2));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(wait_after(wait, STEADY), FIRST_WAIT);
    }

    #[test]
    fn a_disk_that_takes_writes_is_left_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        try_disk(directory.path()).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(try_disk(&directory.path().join("absent")).is_err());
    }
}
