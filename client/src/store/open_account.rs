//! An account that is unlocked, and what it is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand_core::CryptoRng;
use sotto_proto::account::{Account, Entropy};
use sotto_proto::id::ChainId;
use sotto_proto::time::UnixMillis;

use super::keys::MasterKey;
use super::lock::Lock;
use super::row::to_unsigned;
use super::vault::Vault;
use super::whereabouts::Whereabouts;
use super::{AccountName, Device, DeviceKey, Kdf, Passphrase, Store, StoreError, Transaction, database};

/// What all handles of an open account share: as long as one of them exists no other process can open it.
#[derive(Debug)]
pub(super) struct Unlocked {
    pub(super) path: PathBuf,
    pub(super) lock: Lock,
    pub(super) vault: Vault,
    pub(super) master: MasterKey,
}

/// An unlocked account. While it exists no other process can open it; this one may have several, see
/// [`OpenAccount::another`].
pub struct OpenAccount {
    /// What it holds.
    pub store: Store,
    chain: ChainId,
    account: Account,
    name: AccountName,
    created: UnixMillis,
    device: Device,
    entropy: Entropy,
    unlocked: Arc<Unlocked>,
    is_copy: bool,
}

impl OpenAccount {
    /// Opens what has been unlocked. `folder` is where the accounts of network `chain` lie.
    pub(super) fn open(unlocked: Arc<Unlocked>, folder: &Path, chain: &ChainId) -> Result<Self, StoreError> {
        let store = Store::new(database::open(&unlocked.path, &unlocked.master.database())?);
        Self::of(store, unlocked, folder, chain)
    }

    fn of(store: Store, unlocked: Arc<Unlocked>, folder: &Path, chain: &ChainId) -> Result<Self, StoreError> {
        let row = store.account_row()?;
        if row.chain != *chain {
            return Err(StoreError::OtherNetwork { expected: *chain, actual: row.chain });
        }
        let (chain, account, device) = (row.chain, Account::new(&row.entropy), Device::new(folder, row.device));
        Ok(Self {
            store,
            chain,
            account,
            name: row.name,
            created: row.created,
            device,
            entropy: row.entropy,
            unlocked,
            is_copy: false,
        })
    }

    /// Looks whether it lies where it lay, and begins anew with everybody if not.
    pub(super) fn settle_whereabouts(&mut self) -> Result<(), StoreError> {
        self.is_copy = self.store.settle_whereabouts(&Whereabouts::of(&self.unlocked.path)?)?;
        Ok(())
    }

    /// Whether opening it showed that it was copied or put back from elsewhere. No key of it serves again then: sessions
    /// are begun anew, as far as they are not yet with the next times that mail is fetched.
    #[must_use]
    pub const fn is_copy(&self) -> bool {
        self.is_copy
    }

    /// The same account once more, for another task or thread of this process: with a connection of its own to the
    /// database. Each sees what the other has committed; of two that write at once one waits for the other.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be opened.
    pub fn another(&self) -> Result<Self, StoreError> {
        Self::open(Arc::clone(&self.unlocked), self.folder()?, &self.chain)
    }

    /// The same account once more, with the same connection: for those who work on every message one after the other, and
    /// never for long. A thread that has begun a transaction with one of them must not use another before its end.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn sharing(&self) -> Result<Self, StoreError> {
        let store = Store { shared: self.store.shared.clone() };
        Self::of(store, Arc::clone(&self.unlocked), self.folder()?, &self.chain)
    }

    /// Whether both have the same connection.
    #[must_use]
    pub fn shares_with(&self, other: &Self) -> bool {
        self.store.shared.is(&other.store.shared)
    }

    fn folder(&self) -> Result<&Path, StoreError> {
        self.unlocked.path.parent().ok_or(StoreError::NotFound("folder of accounts"))
    }

    /// Closes the database, and gives back what unlocked it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] by this process when there is another handle.
    pub(super) fn close(self) -> Result<Unlocked, StoreError> {
        let Self { store, unlocked, .. } = self;
        drop(store);
        Arc::try_unwrap(unlocked).map_err(|_| StoreError::InUse { pid: Some(std::process::id()) })
    }

    /// The network it is on.
    #[must_use]
    pub const fn chain(&self) -> &ChainId {
        &self.chain
    }

    /// The account with its keys.
    #[must_use]
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// The sixteen bytes it is, for writing them down as a phrase.
    #[must_use]
    pub const fn entropy(&self) -> &Entropy {
        &self.entropy
    }

    /// What it is called here.
    #[must_use]
    pub const fn name(&self) -> &AccountName {
        &self.name
    }

    /// Makes the name inside that of the folder. They differ when a crash came between the two steps of a rename.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn settle_name(&mut self, name: &AccountName) -> Result<(), StoreError> {
        if self.name != *name {
            self.store.set_name(name)?;
            self.name = name.clone();
        }
        Ok(())
    }

    /// When it was made or restored here.
    #[must_use]
    pub const fn created(&self) -> UnixMillis {
        self.created
    }

    /// The device it is on.
    #[must_use]
    pub const fn device(&self) -> &Device {
        &self.device
    }

    /// Changes what it holds, all of it or nothing.
    ///
    /// # Errors
    /// That of `change`, or of the store; nothing has changed then.
    pub fn change<T, E: From<StoreError>>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>, Own<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = self.store.transaction()?;
        let said = transaction.display_name()?;
        let name = said.as_deref().unwrap_or_else(|| self.name.as_str());
        let done = change(&transaction, Own { account: &self.account, name })?;
        transaction.commit()?;
        Ok(done)
    }

    /// Reads, all of it as at one moment. Nobody who changes anything is held up, or waited for.
    ///
    /// # Errors
    /// Whatever `read` fails with, or [`StoreError`].
    pub fn read<T, E: From<StoreError>>(
        &mut self,
        read: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        read(&self.store.reading()?)
    }

    /// What a guess at its passphrase costs.
    #[must_use]
    pub fn kdf(&self) -> Kdf {
        self.unlocked.vault.kdf()
    }

    /// Puts another passphrase in the place of the one it was opened with.
    ///
    /// # Errors
    /// [`StoreError`] when the key slots cannot be written; the earlier passphrase still opens them then.
    pub fn change_passphrase(&mut self, passphrase: &Passphrase, rng: &mut dyn CryptoRng) -> Result<(), StoreError> {
        self.unlocked.vault.change_passphrase(&self.unlocked.path, &self.unlocked.master, passphrase, rng)
    }
}

/// The account itself, while what it holds is changed.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    /// With its keys.
    pub account: &'a Account,
    /// What it calls itself to those it talks with.
    pub name: &'a str,
}

impl fmt::Debug for OpenAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenAccount({:?}, {:?}, {:?})", self.account, self.unlocked.vault, self.unlocked.lock)
    }
}

/// The row of table `account`.
struct AccountRow {
    chain: ChainId,
    name: AccountName,
    entropy: Entropy,
    created: UnixMillis,
    device: DeviceKey,
}

impl Store {
    fn account_row(&self) -> Result<AccountRow, StoreError> {
        let sql = "SELECT chain, name, entropy, created, device_key FROM account";
        self.connection().query_row_and_then(sql, [], |row| {
            let (mut entropy, mut device) = (row.get(2)?, row.get(4)?);
            Ok(AccountRow {
                chain: ChainId::new(row.get(0)?),
                name: row.get::<_, String>(1)?.parse().map_err(|_| StoreError::Damaged("the account's name"))?,
                entropy: Entropy::take(&mut entropy),
                created: UnixMillis(to_unsigned(row.get(3)?)),
                device: DeviceKey::take(&mut device),
            })
        })
    }

    fn set_name(&mut self, name: &AccountName) -> Result<(), StoreError> {
        self.connection().execute("UPDATE account SET name = ?", [name.as_str()])?;
        Ok(())
    }
}
