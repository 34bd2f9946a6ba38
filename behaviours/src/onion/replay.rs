//! First messages that were seen before: a build or tunnel that is sent again goes nowhere (B5, *Replay*).
//!
//! A first message is good for the minutes around its own, so only the ephemeral keys of the last six minutes need to be
//! remembered. One set belongs to one of the hop's own keys and one purpose, paths or tunnels; it dies with the key.
//!
//! - Looked up before anything is computed; inserted after the message opened and its time passed, before anything is
//!   passed on or answered.
//! - When it is full the hop refuses. It never forgets early: whoever could make it forget could replay.
//! - What it forgot it bars by minute: a clock that is set back does not make old messages good again.
//!
//! [`ReplaySet`] is the rule, [`ReplayGuard`] the rule and its file (`file`), which outlives the process.

mod file;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::Path;

use sotto_proto::cell::Minute;
use sotto_proto::limits::{BUILD_MINUTES, REPLAY_CAPACITY, REPLAY_KEEP};
use sotto_proto::time::UnixSeconds;

pub use self::file::BootId;
use self::file::ReplayFile;
use super::Ephemeral;

/// Why a first message is not taken. All but a replay may be answered with *busy*; a replay with nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReplayRefusal {
    /// It was seen before.
    #[error("seen before")]
    Replayed,
    /// There is no room to remember it.
    #[error("the replay set is full")]
    Full,
    /// Of a minute of which the set does not know everything: after a restart without memory.
    #[error("of minute {}, and nothing up to minute {} is known", minute.0, until.0)]
    Barred {
        /// The message's.
        minute: Minute,
        /// The last one that is barred.
        until: Minute,
    },
    /// It could not be written down.
    #[error("the replay file: {0}")]
    File(#[from] io::Error),
}

/// A remembered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    ephemeral: Ephemeral,
    minute: Minute,
    /// When it was inserted.
    at: UnixSeconds,
}

/// The ephemeral keys of one own key's recent first messages.
#[derive(Debug)]
pub struct ReplaySet {
    seen: BTreeSet<Ephemeral>,
    /// The same, in order of insertion.
    order: VecDeque<Entry>,
    /// Up to this minute everything is refused; 0 bars nothing that anybody sends.
    barred: Minute,
    capacity: usize,
}

impl ReplaySet {
    /// Nothing was seen, because the key is new.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(REPLAY_CAPACITY)
    }

    /// Nothing is known of messages up to this minute.
    #[must_use]
    pub fn barred_until(minute: Minute) -> Self {
        Self { barred: minute, ..Self::new() }
    }

    fn with_capacity(capacity: usize) -> Self {
        Self { seen: BTreeSet::new(), order: VecDeque::new(), barred: Minute::default(), capacity }
    }

    /// Whether it was seen.
    #[must_use]
    pub fn contains(&self, ephemeral: &Ephemeral) -> bool {
        self.seen.contains(ephemeral)
    }

    /// Whether nothing more can be remembered.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.seen.len() >= self.capacity
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Remembers a message that opened, of a minute near our own.
    ///
    /// # Errors
    /// [`ReplayRefusal`]: it must not be taken. Of two copies that were looked up at the same time, the second is
    /// refused here.
    pub fn insert(&mut self, ephemeral: Ephemeral, minute: Minute, now: UnixSeconds) -> Result<(), ReplayRefusal> {
        self.expire(now);
        if self.contains(&ephemeral) {
            return Err(ReplayRefusal::Replayed);
        }
        if minute <= self.barred {
            return Err(ReplayRefusal::Barred { minute, until: self.barred });
        }
        if self.is_full() {
            return Err(ReplayRefusal::Full);
        }
        self.push(Entry { ephemeral, minute, at: now });
        Ok(())
    }

    /// Forgets what is older than anything that would still be taken.
    pub fn expire(&mut self, now: UnixSeconds) {
        let old = |entry: &Entry| entry.at.0.saturating_add(REPLAY_KEEP.as_secs()) <= now.0;
        while let Some(entry) = self.order.front().copied().filter(old) {
            self.order.pop_front();
            self.seen.remove(&entry.ephemeral);
            self.barred = self.barred.max(entry.minute);
        }
    }

    fn push(&mut self, entry: Entry) {
        if self.seen.insert(entry.ephemeral) {
            self.order.push_back(entry);
        }
    }

    /// Takes the last one back, which could not be written down.
    fn undo(&mut self) {
        if let Some(entry) = self.order.pop_back() {
            self.seen.remove(&entry.ephemeral);
        }
    }
}

impl Default for ReplaySet {
    fn default() -> Self {
        Self::new()
    }
}

/// When an own key was made: a key from before this start has a past that the set must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOrigin {
    /// Since this process started: nobody can have used it before.
    MadeAtThisStart,
    /// Earlier.
    MadeBefore,
}

/// A replay set and its file.
#[derive(Debug)]
pub struct ReplayGuard {
    set: ReplaySet,
    file: Option<ReplayFile>,
}

impl ReplayGuard {
    /// Without a file: for keys that do not outlive the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { set: ReplaySet::new(), file: None }
    }

    /// The set of the key that the file belongs to. If the machine started anew since, or the file of an older key is
    /// gone, first messages are refused until those that are unknown are too old.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: &Path, boot: BootId, origin: KeyOrigin, now: UnixSeconds) -> io::Result<Self> {
        let barred = ReplaySet::barred_until(Minute(Minute::from(now).0.saturating_add(BUILD_MINUTES)));
        let mut set = match (file::read(path, boot)?, origin) {
            (file::Found::Set(set), _) => set,
            (file::Found::Nothing, KeyOrigin::MadeAtThisStart) => ReplaySet::new(),
            (file::Found::Nothing, KeyOrigin::MadeBefore) | (file::Found::Stale, _) => barred,
        };
        set.expire(now);
        let file = ReplayFile::create(path, boot, &set)?;
        Ok(Self { set, file: Some(file) })
    }

    /// Whether a message with this key was seen: to be asked before anything is computed.
    #[must_use]
    pub fn contains(&self, ephemeral: &Ephemeral) -> bool {
        self.set.contains(ephemeral)
    }

    /// Whether nothing more can be remembered.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.set.is_full()
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Remembers a message that opened, here and in the file: when this returns, the message may be acted on. The file
    /// is not synced. What it is good for is a process that is killed; after a power failure the boot id differs.
    ///
    /// # Errors
    /// [`ReplayRefusal`]: it must not be acted on.
    pub fn remember(&mut self, ephemeral: Ephemeral, minute: Minute, now: UnixSeconds) -> Result<(), ReplayRefusal> {
        self.set.insert(ephemeral, minute, now)?;
        let Some(file) = &mut self.file else { return Ok(()) };
        file.append(&Entry { ephemeral, minute, at: now }, &self.set).map_err(|error| {
            self.set.undo();
            error.into()
        })
    }

    /// Removes the file, together with the key.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn destroy(self) -> io::Result<()> {
        self.file.map_or(Ok(()), ReplayFile::remove)
    }
}

#[cfg(test)]
mod tests;
