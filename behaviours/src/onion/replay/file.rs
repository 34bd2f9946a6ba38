//! The file of a replay set.
//!
//! ```text
//! head    "sreplay" ‖ u8 1 ‖ boot id 16 ‖ u32 barred minute
//! entries ephemeral 16 ‖ u32 minute ‖ u64 seconds when it came          appended, in order
//! ```
//!
//! It is only ever read under the boot id it was written under: the kernel then has every byte that was written, whatever
//! killed the process, and nothing needs to be synced. An entry that is cut off was never acted on. When most entries are
//! too old the file is written anew beside the old one and takes its place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sotto_proto::cell::Minute;
use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::limits::REPLAY_ENTRY;
use sotto_proto::time::UnixSeconds;

use super::{Entry, ReplaySet};

const MAGIC: [u8; 8] = *b"sreplay\x01";
const ENTRY: usize = REPLAY_ENTRY + 4 + 8;
/// Old entries that are not worth writing the file anew.
const SPARE_ENTRIES: usize = 4096;

/// The kernel's name of its present start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootId([u8; 16]);

impl BootId {
    /// From bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// This machine's.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn read() -> io::Result<Self> {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
        u128::from_str_radix(&digits, 16)
            .map(|id| Self(id.to_be_bytes()))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

/// What there is at a path.
pub(super) enum Found {
    /// No file.
    Nothing,
    /// One of another start of the machine, or no such file at all.
    Stale,
    /// Everything that was seen.
    Set(ReplaySet),
}

/// Reads the file at `path`.
pub(super) fn read(path: &Path, boot: BootId) -> io::Result<Found> {
    match fs::read(path) {
        Ok(bytes) => Ok(parse(&bytes, boot).unwrap_or(Found::Stale)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(error),
    }
}

fn parse(bytes: &[u8], boot: BootId) -> Result<Found, DecodeError> {
    let mut reader = Reader::new(bytes);
    if reader.array()? != MAGIC || reader.array()? != boot.0 {
        return Ok(Found::Stale);
    }
    let mut set = ReplaySet::barred_until(Minute(reader.u32()?));
    while reader.remaining() >= ENTRY {
        let ephemeral = reader.id()?;
        set.push(Entry { ephemeral, minute: Minute(reader.u32()?), at: UnixSeconds(reader.u64()?) });
    }
    Ok(Found::Set(set))
}

fn head(boot: BootId, set: &ReplaySet) -> Vec<u8> {
    [&MAGIC[..], &boot.0, &set.barred.0.to_be_bytes()].concat()
}

fn encode(entry: &Entry, out: &mut Vec<u8>) {
    out.extend_from_slice(entry.ephemeral.as_bytes());
    out.extend_from_slice(&entry.minute.0.to_be_bytes());
    out.extend_from_slice(&entry.at.0.to_be_bytes());
}

/// A file that is open for appending.
#[derive(Debug)]
pub(super) struct ReplayFile {
    path: PathBuf,
    boot: BootId,
    file: File,
    entries: usize,
    /// An entry may be cut off in the middle: appending would put all later ones out of place.
    broken: bool,
}

impl ReplayFile {
    /// Writes the set as a new file in the place of what is there.
    pub(super) fn create(path: &Path, boot: BootId, set: &ReplaySet) -> io::Result<Self> {
        let mut bytes = head(boot, set);
        set.order.iter().for_each(|entry| encode(entry, &mut bytes));
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&fresh)?;
        file.write_all(&bytes)?;
        fs::rename(&fresh, path)?;
        Ok(Self { path: path.to_owned(), boot, file, entries: set.len(), broken: false })
    }

    /// Writes the entry, which is the last of `set`.
    pub(super) fn append(&mut self, entry: &Entry, set: &ReplaySet) -> io::Result<()> {
        if self.broken || self.entries >= 2 * set.len() + SPARE_ENTRIES {
            *self = Self::create(&self.path, self.boot, set)?;
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(ENTRY);
        encode(entry, &mut bytes);
        self.broken = true;
        self.file.write_all(&bytes)?;
        self.broken = false;
        self.entries += 1;
        Ok(())
    }

    /// As after a write that failed.
    #[cfg(test)]
    pub(super) fn set_broken(&mut self) {
        self.broken = true;
    }

    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}
