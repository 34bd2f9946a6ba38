//! The accounts of one network on this device.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rand_core::CryptoRng;
use rusqlite::{Connection, params};
use sotto_proto::account::Entropy;
use sotto_proto::domain::Domain;
use sotto_proto::hash::Hasher;
use sotto_proto::id::ChainId;
use sotto_proto::time::UnixMillis;

use super::keys::MasterKey;
use super::lock::{self, Lock};
use super::open_account::{OpenAccount, Unlocked};
use super::row::to_signed;
use super::vault::Vault;
use super::{DeviceKey, Kdf, Passphrase, StoreError, database, files, wipe};

const FOLDER: Domain = Domain::new("sotto/v1/account-folder");
/// Bytes of a folder's name, and of the network's.
const NAME: usize = 8;
/// In front of the name of a folder that is being filled.
pub(super) const FILLING: &str = ".new-";
/// In front of the name of a folder that is being removed.
pub(super) const GOING: &str = ".gone-";
/// A folder that has been filled for so long is not being filled any more.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

/// What a person calls an account on this device: nobody else learns it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountName(String);

/// A text that is no name of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an account's name has 1 to {} printable characters and no space at either end", AccountName::MAX_CHARS)]
pub struct AccountNameError;

impl AccountName {
    /// Characters of the longest.
    pub const MAX_CHARS: usize = 32;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountName {
    type Err = AccountNameError;

    fn from_str(text: &str) -> Result<Self, AccountNameError> {
        let length = text.chars().count();
        let good = (1..=Self::MAX_CHARS).contains(&length)
            && text.trim() == text
            && sotto_proto::request::Line::<{ 4 * Self::MAX_CHARS }>::try_from(text.to_owned()).is_ok();
        if good { Ok(Self(text.to_owned())) } else { Err(AccountNameError) }
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The name of an account's folder: what can be said of it without its passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderName([u8; NAME]);

impl FolderName {
    pub(super) fn of(chain: &ChainId, name: &AccountName) -> Self {
        let hash = Hasher::new(FOLDER).chain(chain).chain(name.as_str()).finish();
        Self(std::array::from_fn(|i| hash.as_bytes()[i]))
    }

    /// The folder of this name: sixteen hex digits.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut bytes = [0; NAME];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

/// All accounts of a network on this device.
#[derive(Clone, Debug)]
pub struct Accounts {
    folder: PathBuf,
    chain: ChainId,
}

/// What a new account is made from.
#[derive(Debug)]
pub struct NewAccount<'a> {
    /// What it is called here.
    pub name: &'a AccountName,
    /// What it is.
    pub entropy: &'a Entropy,
    /// What unlocks it.
    pub passphrase: &'a Passphrase,
    /// What a guess at that costs.
    pub kdf: Kdf,
    /// The device that it is on: a new one's key, or that of an open account, whose guards it then shares.
    pub device: DeviceKey,
    /// Now.
    pub created: UnixMillis,
}

impl Accounts {
    /// The accounts of network `chain` below `datadir`, which need not exist.
    #[must_use]
    pub fn new(datadir: &Path, chain: ChainId) -> Self {
        Self { folder: datadir.join(hex::encode(&chain.as_bytes()[..NAME])), chain }
    }

    /// Where they lie.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folders of all accounts.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the directory cannot be read.
    pub fn folders(&self) -> Result<Vec<FolderName>, StoreError> {
        let mut folders: Vec<_> =
            wipe::names(&self.folder)?.iter().filter_map(|entry| FolderName::read(entry)).collect();
        folders.sort();
        Ok(folders)
    }

    /// The folder of the account of this name, if there is one.
    #[must_use]
    pub fn find(&self, name: &AccountName) -> Option<FolderName> {
        let folder = FolderName::of(&self.chain, name);
        self.path(folder).is_dir().then_some(folder)
    }

    /// Whether a process has the account open.
    #[must_use]
    pub fn is_in_use(&self, folder: FolderName) -> bool {
        lock::is_held(&self.path(folder))
    }

    /// Makes an account and opens it. A crash on the way leaves none, or a whole one.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when there is one of that name.
    pub fn create(&self, new: &NewAccount<'_>, rng: &mut dyn CryptoRng) -> Result<OpenAccount, StoreError> {
        files::make_folder(&self.folder)?;
        let path = self.path(FolderName::of(&self.chain, new.name));
        if path.exists() {
            return Err(StoreError::Exists("an account"));
        }
        let mut number = [0; NAME];
        rng.fill_bytes(&mut number);
        let filling = self.folder.join(format!("{FILLING}{}", hex::encode(number)));
        files::make_folder(&filling)?;
        let lock = Lock::acquire(&filling)?;
        self.sweep(&filling)?;
        let (vault, master) = Vault::create(&filling, new.passphrase, new.kdf, rng)?;
        // SQLite remembers where its files are, so it is closed before they move.
        write_account(database::create(&filling, &master.database())?, &self.chain, new)?;
        files::sync_folder(&filling)?;
        fs::rename(&filling, &path).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => StoreError::Exists("an account"),
            _ => StoreError::io("rename", &filling)(error),
        })?;
        files::sync_folder(&self.folder)?;
        self.finish(path, lock, vault, master)
    }

    /// Opens the account of this name.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::InUse`], [`StoreError::WrongPassphrase`].
    pub fn open(&self, name: &AccountName, passphrase: &Passphrase) -> Result<OpenAccount, StoreError> {
        let folder = self.find(name).ok_or(StoreError::NotFound("account of that name"))?;
        let mut account = self.open_folder(folder, passphrase)?;
        account.settle_name(name)?;
        Ok(account)
    }

    /// Opens the account in this folder.
    ///
    /// # Errors
    /// As [`Accounts::open`].
    pub fn open_folder(&self, folder: FolderName, passphrase: &Passphrase) -> Result<OpenAccount, StoreError> {
        let path = self.path(folder);
        let lock = Lock::acquire(&path)?;
        let (vault, master) = Vault::open(&path, passphrase)?;
        self.finish(path, lock, vault, master)
    }

    /// Gives an account another name.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when another account has that name, [`StoreError::InUse`] when this process has the account
    /// open a second time.
    pub fn rename(&self, account: OpenAccount, name: &AccountName) -> Result<OpenAccount, StoreError> {
        let path = self.path(FolderName::of(&self.chain, name));
        if account.name() == name {
            return Ok(account);
        }
        if path.exists() {
            return Err(StoreError::Exists("an account"));
        }
        let Unlocked { path: before, lock, vault, master } = account.close()?;
        fs::rename(&before, &path).map_err(StoreError::io("rename", &before))?;
        files::sync_folder(&self.folder)?;
        let mut account = self.finish(path, lock, vault, master)?;
        account.settle_name(name)?;
        Ok(account)
    }

    /// Erases an account: first its key slots, by which everything else becomes noise, then its files. Needs no
    /// passphrase, for whoever has forgotten it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::InUse`].
    pub fn delete(&self, folder: FolderName, rng: &mut dyn CryptoRng) -> Result<(), StoreError> {
        self.wipe(folder)?.run(rng, |_| ())
    }

    /// Opens a copy that stands for the original, as a crash has left that.
    #[cfg(test)]
    pub(super) fn open_crashed(&self, name: &AccountName, passphrase: &Passphrase) -> OpenAccount {
        let path = self.path(FolderName::of(&self.chain, name));
        let lock = Lock::acquire(&path).unwrap();
        let (vault, master) = Vault::open(&path, passphrase).unwrap();
        OpenAccount::open(Arc::new(Unlocked { path, lock, vault, master }), &self.folder, &self.chain).unwrap()
    }

    fn path(&self, folder: FolderName) -> PathBuf {
        self.folder.join(folder.to_string())
    }

    fn finish(&self, path: PathBuf, lock: Lock, vault: Vault, master: MasterKey) -> Result<OpenAccount, StoreError> {
        let unlocked = Arc::new(Unlocked { path, lock, vault, master });
        let mut account = OpenAccount::open(unlocked, &self.folder, &self.chain)?;
        account.settle_whereabouts()?;
        Ok(account)
    }

    /// Removes what a killed process left half made or half removed. Folders made at about the time of `ours` are left
    /// alone: another process may be about to lock one.
    fn sweep(&self, ours: &Path) -> Result<(), StoreError> {
        let made = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
        let now = made(ours).map_err(StoreError::io("read", ours))?;
        for entry in wipe::names(&self.folder)? {
            let path = self.folder.join(&entry);
            let old = || made(&path).is_ok_and(|made| now.duration_since(made).is_ok_and(|age| age > LEFT_BEHIND));
            if (entry.starts_with(FILLING) && old() && !lock::is_held(&path)) || entry.starts_with(GOING) {
                wipe::remove(&path)?;
            }
        }
        Ok(())
    }
}

/// Writes the row of a new account, and closes the database.
fn write_account(connection: Connection, chain: &ChainId, new: &NewAccount<'_>) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO account (one, chain, name, entropy, created, device_key) VALUES (1, ?, ?, ?, ?, ?)",
        params![
            chain.as_bytes(),
            new.name.as_str(),
            new.entropy.expose(),
            to_signed(new.created.0),
            new.device.expose(),
        ],
    )?;
    connection.close().map_err(|(_, error)| error.into())
}
