//! The node's keys on disk: `keys/` in the data directory, one file each, 64 hex digits and a newline.
//!
//! | file | key | life |
//! | --- | --- | --- |
//! | `node.key` | Ed25519: the node's name, its libp2p identity, signs what the node says on the chain | for ever |
//! | `operator.key` | Ed25519: holds stake and rewards; may be kept on another machine | for ever |
//! | `x25519.key` | X25519: opens the layers of paths and tunnels | one rotation period |
//! | `x25519.previous.key` | the one before, for clients whose list is old | one more period, then overwritten |
//! | `x25519.next.key` | drawn, not yet on the chain | until the chain knows it |
//!
//! A rotation is four steps, and a crash may come between any two. Therefore file names only say what was meant: which
//! secret is current and which previous is decided by the chain's record when both are known
//! ([`KeyRing`](crate::service_node::KeyRing)). No step destroys a secret whose public half the chain may still show.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sotto_proto::account::X25519Secret;
use sotto_proto::sign::SigningKey;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

/// Name of the directory in the data directory.
pub const DIRECTORY: &str = "keys";
/// Hex digits of a key file; a newline follows.
const DIGITS: usize = 64;
/// Extension of a file that is being written, and of one that is being destroyed.
const UNFINISHED: &str = "new";
const DEAD: &str = "dead";

/// 32 secret bytes. Zeroized when dropped; on the heap, so that moving it leaves no copies.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Seed(Box<[u8; 32]>);

impl Seed {
    /// Takes the bytes and zeroizes the originals.
    #[must_use]
    pub fn take(bytes: &mut [u8; 32]) -> Self {
        let seed = Self(Box::new(*bytes));
        bytes.zeroize();
        seed
    }

    /// Draws a seed from the operating system.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut seed = Self(Box::new([0; 32]));
        getrandom::fill(&mut *seed.0)?;
        Ok(seed)
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The Ed25519 key of this seed.
    #[must_use]
    pub fn signing_key(&self) -> SigningKey {
        SigningKey::from_seed(&self.0)
    }

    /// The X25519 secret in these bytes.
    #[must_use]
    pub fn x25519(&self) -> X25519Secret {
        X25519Secret::take(&mut Zeroizing::new(*self.0))
    }

    /// Reads 64 hex digits, with white space around them.
    #[must_use]
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        let mut seed = Self(Box::new([0; 32]));
        hex::decode_to_slice(text.trim_ascii(), &mut *seed.0).ok()?;
        Some(seed)
    }

    /// 64 hex digits and a newline, as in a key file.
    #[must_use]
    pub fn to_line(&self) -> Zeroizing<Vec<u8>> {
        let mut line = Zeroizing::new(vec![b'\n'; DIGITS + 1]);
        // The lengths are constants that fit.
        let _ = hex::encode_to_slice(*self.0, &mut line[..DIGITS]);
        line
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(secret)")
    }
}

/// A key's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// The node's own Ed25519 key.
    Node,
    /// The operator's Ed25519 key.
    Operator,
    /// The X25519 key in use.
    X25519,
    /// The X25519 key before it.
    X25519Previous,
    /// The X25519 key that comes next.
    X25519Next,
}

impl Slot {
    /// Every slot.
    pub const ALL: [Self; 5] = [Self::Node, Self::Operator, Self::X25519, Self::X25519Previous, Self::X25519Next];

    /// What it is called, also in backups.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Operator => "operator",
            Self::X25519 => "x25519",
            Self::X25519Previous => "x25519.previous",
            Self::X25519Next => "x25519.next",
        }
    }
}

/// Why a key cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such file.
    #[error("{} is missing", .0.display())]
    Missing(PathBuf),
    /// There is one already.
    #[error("{} exists already and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// The file or directory is open to others.
    #[error("{} is open to other users (mode {mode:04o}); close it with: chmod go-rwx {}", path.display(), path.display())]
    Open {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file's content is something else. Not shown: it may be most of a key.
    #[error("{} is not a key: 64 hex digits and a newline are expected", .0.display())]
    NotAKey(PathBuf),
    /// The operating system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// The directory `keys/` of one node.
#[derive(Clone, Debug)]
pub struct KeyDirectory {
    path: PathBuf,
}

impl KeyDirectory {
    /// The keys of the node in `datadir`.
    #[must_use]
    pub fn of(datadir: &Path) -> Self {
        Self { path: datadir.join(DIRECTORY) }
    }

    /// Makes the directory, readable by its owner only.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(&self) -> Result<(), KeyError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(|error| io_error(&self.path, error))
    }

    /// The path of a key's file.
    #[must_use]
    pub fn path(&self, slot: Slot) -> PathBuf {
        self.path.join(format!("{}.key", slot.name()))
    }

    /// Refuses a directory that other users may enter.
    ///
    /// # Errors
    /// [`KeyError::Open`] if they may, [`KeyError::Missing`] if it is not there.
    pub fn check(&self) -> Result<(), KeyError> {
        match fs::metadata(&self.path) {
            Ok(metadata) => closed_to_others(&self.path, &metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(KeyError::Missing(self.path.clone())),
            Err(error) => Err(io_error(&self.path, error)),
        }
    }

    /// The key in `slot`, or `None` if its file does not exist.
    ///
    /// # Errors
    /// When the file is open to others, is not a key, or cannot be read.
    pub fn find(&self, slot: Slot) -> Result<Option<Seed>, KeyError> {
        let path = self.path(slot);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(&path, error)),
        };
        closed_to_others(&path, &file.metadata().map_err(|error| io_error(&path, error))?)?;
        let mut line = Zeroizing::new(Vec::with_capacity(DIGITS + 4));
        // One byte more than the longest good file, so that a longer one is noticed.
        file.take(DIGITS as u64 + 3).read_to_end(&mut line).map_err(|error| io_error(&path, error))?;
        Seed::from_hex(&line).map(Some).ok_or(KeyError::NotAKey(path))
    }

    /// The key in `slot`.
    ///
    /// # Errors
    /// As [`Self::find`], and [`KeyError::Missing`].
    pub fn read(&self, slot: Slot) -> Result<Seed, KeyError> {
        self.find(slot)?.ok_or_else(|| KeyError::Missing(self.path(slot)))
    }

    /// Writes a key that is not there yet; on disk when this returns.
    ///
    /// # Errors
    /// [`KeyError::Exists`] if there is one, and when it cannot be written.
    pub fn write_new(&self, slot: Slot, seed: &Seed) -> Result<(), KeyError> {
        write_secret(&self.path(slot), &seed.to_line())?;
        self.sync()
    }

    /// The first step of a rotation: the key that will come next, instead of any that was meant to.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_next(&self, seed: &Seed) -> Result<(), KeyError> {
        self.destroy(Slot::X25519Next)?;
        self.write_new(Slot::X25519Next, seed)
    }

    /// The chain knows the next key: it becomes the current one, the current one the previous.
    ///
    /// # Errors
    /// When a file cannot be moved.
    pub fn promote(&self) -> Result<(), KeyError> {
        if !self.path(Slot::X25519Next).exists() {
            return Ok(()); // done before a crash
        }
        if self.path(Slot::X25519).exists() {
            self.destroy(Slot::X25519Previous)?;
            self.rename(Slot::X25519, Slot::X25519Previous)?;
        }
        self.rename(Slot::X25519Next, Slot::X25519)
    }

    /// Finishes a promotion during which the process died: the current key had moved, the next had not. Before anything
    /// is read.
    ///
    /// # Errors
    /// When a file cannot be moved.
    pub fn promote_if_cut_short(&self) -> Result<(), KeyError> {
        self.sweep()?;
        if self.path(Slot::X25519).exists() { Ok(()) } else { self.promote() }
    }

    /// Overwrites a key with zeros and removes its file. Nothing happens if there is none. A disk may keep old blocks all
    /// the same; keys that must not be found are short-lived for that reason.
    ///
    /// # Errors
    /// When the file cannot be overwritten or removed.
    pub fn destroy(&self, slot: Slot) -> Result<(), KeyError> {
        let path = self.path(slot);
        // Under its name there is always a whole key or none, whenever the process dies.
        let dead = path.with_extension(DEAD);
        match fs::rename(&path, &dead).and_then(|()| overwrite(&dead)).and_then(|()| fs::remove_file(&dead)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(&path, error)),
            _ => self.sync(),
        }
    }

    /// Finishes what a process that died had begun: removes keys half destroyed and half written. Before anything is
    /// read.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn sweep(&self) -> Result<(), KeyError> {
        let listed = fs::read_dir(&self.path).map_err(|error| io_error(&self.path, error))?;
        for entry in listed {
            let path = entry.map_err(|error| io_error(&self.path, error))?.path();
            if path.extension().is_some_and(|extension| extension == DEAD || extension == UNFINISHED) {
                overwrite(&path).and_then(|()| fs::remove_file(&path)).map_err(|error| io_error(&path, error))?;
            }
        }
        self.sync()
    }

    fn rename(&self, from: Slot, to: Slot) -> Result<(), KeyError> {
        let path = self.path(from);
        fs::rename(&path, self.path(to)).map_err(|error| io_error(&path, error))?;
        self.sync()
    }

    /// Names are on disk only after the directory is.
    fn sync(&self) -> Result<(), KeyError> {
        File::open(&self.path).and_then(|directory| directory.sync_all()).map_err(|error| io_error(&self.path, error))
    }
}

/// Writes a new file that only its owner may read; on disk when this returns.
///
/// # Errors
/// [`KeyError::Exists`] if there is one, and when it cannot be written.
pub fn write_secret(path: &Path, content: &[u8]) -> Result<(), KeyError> {
    if path.exists() {
        return Err(KeyError::Exists(path.to_owned()));
    }
    // Written under another name first, so that under its own there is never half a key.
    let unfinished = path.with_extension(UNFINISHED);
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(content).and_then(|()| file.sync_all())?;
        fs::rename(&unfinished, path)
    };
    write().map_err(|error: io::Error| io_error(path, error))
}

/// Refuses what other users may read, write or enter.
///
/// # Errors
/// [`KeyError::Open`].
pub fn closed_to_others(path: &Path, metadata: &fs::Metadata) -> Result<(), KeyError> {
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(KeyError::Open { path: path.to_owned(), mode }) }
}

fn overwrite(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len().min(4096)).unwrap_or(4096);
    file.rewind()?;
    file.write_all(&vec![0; length])?;
    file.sync_all()
}

fn io_error(path: &Path, source: io::Error) -> KeyError {
    KeyError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, KeyDirectory) {
        let datadir = tempfile::tempdir().unwrap();
        let keys = KeyDirectory::of(datadir.path());
        keys.create().unwrap();
        (datadir, keys)
    }

    fn seed(byte: u8) -> Seed {
        Seed::take(&mut [byte; 32])
    }

    fn content(keys: &KeyDirectory, slot: Slot) -> Option<u8> {
        keys.find(slot).unwrap().map(|seed| seed.expose()[0])
    }

    #[test]
    fn a_key_is_written_once_for_its_owner_only() {
        let (_datadir, keys) = directory();
        keys.check().unwrap();
        keys.write_new(Slot::Node, &seed(7)).unwrap();
        assert!(matches!(keys.write_new(Slot::Node, &seed(8)), Err(KeyError::Exists(_))));
        assert_eq!(content(&keys, Slot::Node), Some(7));
        assert_eq!(fs::metadata(keys.path(Slot::Node)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&keys.path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (_datadir, keys) = directory();
        keys.write_new(Slot::Node, &seed(7)).unwrap();
        fs::set_permissions(keys.path(Slot::Node), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(keys.read(Slot::Node), Err(KeyError::Open { mode: 0o640, .. })));
    }

    #[test]
    fn anything_but_64_hex_digits_is_not_a_key() {
        let (_datadir, keys) = directory();
        assert!(matches!(keys.read(Slot::Node), Err(KeyError::Missing(_))));
        for text in ["", "00", &"0".repeat(63), &"0".repeat(65), &"0".repeat(4096), &"g".repeat(64)] {
            fs::write(keys.path(Slot::Node), text).unwrap();
            fs::set_permissions(keys.path(Slot::Node), fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(keys.read(Slot::Node), Err(KeyError::NotAKey(_))), "{text:.80}");
        }
    }

    #[test]
    fn a_rotation_moves_keys_one_slot_on() {
        let (_datadir, keys) = directory();
        keys.write_new(Slot::X25519, &seed(1)).unwrap();
        keys.write_new(Slot::X25519Previous, &seed(0)).unwrap();
        keys.put_next(&seed(9)).unwrap();
        keys.put_next(&seed(2)).unwrap();
        keys.promote().unwrap();
        keys.promote().unwrap();
        assert_eq!(content(&keys, Slot::X25519), Some(2));
        assert_eq!(content(&keys, Slot::X25519Previous), Some(1));
        assert_eq!(content(&keys, Slot::X25519Next), None);
    }

    #[test]
    fn keys_half_written_or_half_destroyed_are_swept_away_and_whole_ones_stay() {
        let datadir = tempfile::tempdir().unwrap();
        let keys = KeyDirectory::of(datadir.path());
        keys.create().unwrap();
        keys.write_new(Slot::X25519, &Seed::take(&mut [1; 32])).unwrap();
        fs::write(keys.path(Slot::X25519Previous).with_extension(DEAD), [0; 65]).unwrap();
        fs::write(keys.path(Slot::X25519Next).with_extension(UNFINISHED), b"").unwrap();
        keys.promote_if_cut_short().unwrap();
        let left: Vec<_> =
            fs::read_dir(datadir.path().join("keys")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [keys.path(Slot::X25519)]);
        assert_eq!(keys.read(Slot::X25519).unwrap().expose(), &[1; 32]);
    }

    #[test]
    fn a_promotion_cut_short_is_finished_by_the_next() {
        let (_datadir, keys) = directory();
        keys.put_next(&seed(2)).unwrap();
        keys.write_new(Slot::X25519Previous, &seed(1)).unwrap();
        keys.promote().unwrap(); // the crash came after the current key had moved
        assert_eq!(content(&keys, Slot::X25519), Some(2));
        assert_eq!(content(&keys, Slot::X25519Previous), Some(1));
    }

    #[test]
    fn a_destroyed_key_was_overwritten_before_it_went() {
        let (datadir, keys) = directory();
        keys.write_new(Slot::X25519Previous, &seed(0xaa)).unwrap();
        // A second name keeps the blocks visible after the first is gone.
        let witness = datadir.path().join("witness");
        fs::hard_link(keys.path(Slot::X25519Previous), &witness).unwrap();
        keys.destroy(Slot::X25519Previous).unwrap();
        keys.destroy(Slot::X25519Previous).unwrap();
        assert_eq!(content(&keys, Slot::X25519Previous), None);
        assert_eq!(fs::read(witness).unwrap(), vec![0; DIGITS + 1]);
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", seed(0xab)), "Seed(secret)");
    }
}
