//! Erasing accounts for good, without their passphrases.
//!
//! ```text
//! hold   lock every account that is to go: one in use, and none goes
//! keys   overwrite the key slots of all of them, and sync: from here on what is left is noise
//! files  move each folder out of sight, then remove it; the last account takes the guards along
//! ```
//!
//! A crash anywhere leaves accounts that open or accounts that never will, and the same call ends what was begun. What a
//! disk keeps of blocks that it has put aside, and copies made earlier, are out of reach: there the passphrase is what
//! protects.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rand_core::CryptoRng;

use super::accounts::{FILLING, GOING};
use super::lock::Lock;
use super::vault::Vault;
use super::{Accounts, FolderName, StoreError, device, files};

/// Name of a network's genesis file, which lies beside its accounts.
pub const GENESIS: &str = "genesis.json";

/// Accounts that are to be erased, held so that no process opens them meanwhile. Dropped, nothing has happened.
#[derive(Debug)]
pub struct Wipe {
    accounts: Vec<Held>,
    /// Folders of networks of which nothing is to be left.
    networks: Vec<PathBuf>,
}

#[derive(Debug)]
struct Held {
    folder: FolderName,
    path: PathBuf,
    lock: Lock,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiped {
    /// The keys are destroyed: nobody reads this account again.
    Keys(FolderName),
    /// Its files are gone as well.
    Files(FolderName),
}

impl Accounts {
    /// Takes hold of an account that is to be erased.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::InUse`] with the process that has it.
    pub fn wipe(&self, folder: FolderName) -> Result<Wipe, StoreError> {
        Ok(Wipe { accounts: vec![hold(self.folder(), folder)?], networks: Vec::new() })
    }
}

impl Wipe {
    /// Takes hold of all accounts of all networks below `datadir`.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when a process has one of them.
    pub fn of_all(datadir: &Path) -> Result<Self, StoreError> {
        // A network's folder is named like an account's.
        let is_network = |name: &String| FolderName::read(name).is_some();
        let networks: Vec<_> = names(datadir)?.into_iter().filter(is_network).map(|name| datadir.join(name)).collect();
        let mut accounts = Vec::new();
        for network in &networks {
            for folder in names(network)?.iter().filter_map(|name| FolderName::read(name)) {
                accounts.push(hold(network, folder)?);
            }
        }
        Ok(Self { accounts, networks })
    }

    /// Which accounts.
    pub fn folders(&self) -> impl Iterator<Item = FolderName> {
        self.accounts.iter().map(|held| held.folder)
    }

    /// Erases them, and says so on the way.
    ///
    /// # Errors
    /// [`StoreError::Io`]. Accounts of which [`Wiped::Keys`] was said are unreadable all the same.
    pub fn run(self, rng: &mut dyn CryptoRng, mut told: impl FnMut(Wiped)) -> Result<(), StoreError> {
        for held in &self.accounts {
            Vault::destroy(&held.path, rng)?;
            told(Wiped::Keys(held.folder));
        }
        for Held { folder, path, lock } in self.accounts {
            let Some(network) = path.parent() else { continue };
            let going = network.join(format!("{GOING}{folder}"));
            remove(&going)?;
            fs::rename(&path, &going).map_err(StoreError::io("rename", &path))?;
            files::sync_folder(network)?;
            drop(lock);
            remove(&going)?;
            leave_nothing(network)?;
            told(Wiped::Files(folder));
        }
        for network in self.networks {
            clear(&network)?;
        }
        Ok(())
    }
}

fn hold(network: &Path, folder: FolderName) -> Result<Held, StoreError> {
    let path = network.join(folder.to_string());
    if !path.is_dir() {
        return Err(StoreError::NotFound("account in that folder"));
    }
    Ok(Held { folder, lock: Lock::acquire(&path)?, path })
}

/// After the last account of a network its guards go, which nobody can read any more.
fn leave_nothing(network: &Path) -> Result<(), StoreError> {
    let names = names(network)?;
    if names.iter().any(|name| FolderName::read(name).is_some() || name.starts_with(FILLING)) {
        return Ok(());
    }
    for name in names.iter().filter(|name| device::is_file_name(name)) {
        let path = network.join(name);
        fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
    }
    Ok(())
}

/// Removes what is left of a network: halves of accounts, guards, the genesis file. What is not ours stays, and the folder
/// with it.
fn clear(network: &Path) -> Result<(), StoreError> {
    for name in names(network)? {
        let path = network.join(&name);
        if name.starts_with(FILLING) || name.starts_with(GOING) {
            remove(&path)?;
        } else if device::is_file_name(&name) || name == GENESIS {
            fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        }
    }
    match fs::remove_dir(network) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(StoreError::io("remove", network)(error)),
        _ => Ok(()),
    }
}

/// Everything in a folder, by name; nothing if there is none.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("read", folder)(error)),
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<io::Result<_>>().map_err(StoreError::io("read", folder))
}

/// Removes a folder and what is in it, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
