//! What users did and were told, and what was done to the network: all of it, in the order in which it was known.
//!
//! Kept in memory for the model, and in a file of JSON lines as it happens: a run that is killed leaves its history.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::failure::{Context as _, Exit, Failure};

/// The longest line that is read.
const MAX_LINE_BYTES: usize = 1 << 20;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run begins.
    Run {
        /// Of this document.
        v: u8,
        /// The scenario's name.
        scenario: String,
        /// What all draws follow from.
        seed: u64,
        /// What the programs were built from.
        commit: Option<String>,
        /// How many nodes there are.
        nodes: u16,
    },
    /// Somebody is about to write.
    Intent {
        /// The message.
        message: usize,
        /// To whom.
        reader: usize,
    },
    /// It is stored: two members or more gave their receipts.
    Acked {
        /// The message.
        message: usize,
        /// The record that carries it, in hex.
        record: String,
        /// Until when it is kept: seconds since 1970.
        expiry: u64,
        /// Members with receipts.
        receipts: usize,
        /// How long the attempt took.
        took_ms: u64,
    },
    /// An attempt failed; the message stays in the sender's outbox.
    Failed {
        /// The message.
        message: usize,
        /// Why.
        error: String,
        /// How long the attempt took.
        took_ms: u64,
    },
    /// A reader was shown a message.
    Shown {
        /// The message; none if it is of no writer of this run.
        message: Option<usize>,
        /// Who was shown it.
        reader: usize,
    },
    /// A member was asked for all it has for a reader.
    Held {
        /// The member.
        node: String,
        /// Whose mailbox.
        reader: usize,
        /// The records, in hex.
        records: Vec<String>,
        /// When: seconds since 1970.
        time: u64,
    },
    /// A member of a swarm could not be read.
    Unread {
        /// The member.
        node: String,
    },
    /// A fault begins.
    Fault {
        /// Which.
        what: String,
    },
    /// One ends.
    Undone {
        /// Which.
        what: String,
    },
    /// No fault is left.
    Healed,
}

/// An event with its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Milliseconds since the run began.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Entry {
    /// Since the run began.
    #[must_use]
    pub const fn at(&self) -> Duration {
        Duration::from_millis(self.at_ms)
    }
}

/// Takes events from all sides.
#[derive(Clone, Debug)]
pub(super) struct Recorder(Arc<Mutex<Recording>>);

#[derive(Debug)]
struct Recording {
    began: Instant,
    entries: Vec<Entry>,
    path: PathBuf,
    file: BufWriter<File>,
    broken: Option<std::io::Error>,
}

impl Recorder {
    /// Begins a history in this file.
    pub(super) fn begin(path: &Path) -> Result<Self, Failure> {
        let file = BufWriter::new(File::create(path).context("create", path.display())?);
        let (began, path) = (Instant::now(), path.to_owned());
        Ok(Self(Arc::new(Mutex::new(Recording { began, entries: Vec::new(), path, file, broken: None }))))
    }

    /// When it began.
    pub(super) fn began(&self) -> Instant {
        self.lock().began
    }

    /// Notes an event of now.
    pub(super) fn note(&self, event: Event) {
        let mut recording = self.lock();
        let at_ms = u64::try_from(recording.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let entry = Entry { at_ms, event };
        if let Err(error) = recording.write(&entry) {
            recording.broken.get_or_insert(error);
        }
        recording.entries.push(entry);
    }

    /// Everything so far. The file is complete up to here.
    ///
    /// # Errors
    /// [`Failure`] if it is not.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, Failure> {
        let mut recording = self.lock();
        let flushed = recording.file.flush();
        let written = recording.broken.take().map_or(flushed, Err);
        written.context("write", recording.path.display())?;
        Ok(recording.entries.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Recording> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recording {
    fn write(&mut self, entry: &Entry) -> std::io::Result<()> {
        serde_json::to_writer(&mut self.file, entry)?;
        self.file.write_all(b"\n")
    }
}

/// Reads a history that was written by an earlier run.
///
/// # Errors
/// [`Failure`] if the file cannot be read or is none.
pub fn read(path: &Path) -> Result<Vec<Entry>, Failure> {
    let mut entries = Vec::new();
    let reader = BufReader::new(File::open(path).context("read", path.display())?);
    for (number, line) in reader.lines().enumerate() {
        let line = line.context("read", path.display())?;
        let wrong = |reason: &dyn std::fmt::Display| {
            Failure::new(Exit::Usage, format!("{}, line {}: {reason}", path.display(), number + 1))
        };
        if line.len() > MAX_LINE_BYTES {
            return Err(wrong(&"too long"));
        }
        entries.push(serde_json::from_str(&line).map_err(|error| wrong(&error))?);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read_as_it_was_noted_and_what_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let recorder = Recorder::begin(&path).unwrap();
        recorder.note(Event::Intent { message: 0, reader: 3 });
        recorder.clone().note(Event::Healed);
        let entries = recorder.entries().unwrap();
        assert_eq!(entries.len(), 2);
        assert!(entries[0].at_ms <= entries[1].at_ms);
        assert_eq!(read(&path).unwrap(), entries);
        std::fs::write(&path, "{\"at_ms\":1,\"event\":\"earthquake\"}\n").unwrap();
        assert!(read(&path).unwrap_err().message.contains("line 1"));
    }
}
