//! What is kept on this device, all of it encrypted.
//!
//! ```text
//! <data directory>/<network, 16 hex digits>/
//!     genesis.json              which network this is (public)
//!     device-<16 hex>.bin       the device's guards; the key is in the stores of its accounts
//!     <16 hex digits>/          one account; the digits follow from its name, which is not written here
//!         LOCK                  held while a process has the account open
//!         keyslots.bin          eight equal slots; a passphrase opens one and finds the master key there
//!         store.db, store.db-wal    SQLCipher under a key below the master key
//! ```
//!
//! Two accounts have no salt, key or reference in common, and none of these files has a name, an id, a contact or a text
//! in the clear. What does show: how many accounts there are, when they were last used and about how much they hold;
//! and whoever guesses an account's name can check the guess. A file that SQLite may still have somewhere else, such
//! as in swapped-out memory, is not ours to encrypt.
//!
//! | file | what it owns |
//! | --- | --- |
//! | `accounts` | the accounts of a network: creating, opening, renaming, deleting |
//! | `kdf`, `passphrase`, `keyslots`, `vault`, `keys` | from a passphrase to the keys of an account |
//! | `database`, `schema`, `row` | the encrypted database |
//! | `outbox`, `inbox`, `network`, `settings` | what is in it |
//! | `device` | the guards |
//! | `lock`, `files`, `error` | one process an account; whole files or none; failures |
//!
//! Every change is one transaction, durable when the call returns: after a crash it is there or it is not.

mod accounts;
mod database;
mod device;
mod error;
mod files;
mod inbox;
mod kdf;
mod keys;
mod keyslots;
mod lock;
mod network;
mod outbox;
mod passphrase;
mod row;
mod schema;
mod settings;
#[cfg(test)]
mod tests;
mod vault;

use std::fmt;

use rusqlite::Connection;

pub use self::accounts::{AccountName, AccountNameError, Accounts, FolderName, NewAccount, OpenAccount};
pub use self::device::{Device, Guard};
pub use self::error::{StoreError, StoreErrorKind};
pub use self::inbox::{Arrival, InboxMessage, InboxNumber, Letter, Page};
pub use self::kdf::Kdf;
pub use self::keys::DeviceKey;
pub use self::network::{EQUIVOCATION, Evidence, SavedNetwork};
pub use self::outbox::{NewMessage, OutboxMessage, OutboxState, STORED_RECEIPTS, StoredReceipt};
pub use self::passphrase::{Passphrase, PassphraseError};

/// The open database of an account.
pub struct Store {
    connection: Connection,
}

impl Store {
    /// The version of SQLCipher that encrypts it, such as `4.19.0 community`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn cipher_version(&self) -> Result<String, StoreError> {
        database::cipher_version(&self.connection)
    }
}

#[cfg(test)]
impl Store {
    /// Makes the database refuse to grow, as on a full disk, or lets it grow again.
    pub(crate) fn set_full(&mut self, full: bool) {
        let pages: u32 = self.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let most = if full { pages } else { u32::MAX - 1 };
        let set: u32 =
            self.connection.query_row(&format!("PRAGMA max_page_count = {most}"), [], |row| row.get(0)).unwrap();
        assert!(!full || set == pages, "{set} pages of {pages}");
    }

    /// Makes every write to the database fail, or no longer.
    pub(crate) fn set_read_only(&mut self, read_only: bool) {
        self.connection.pragma_update(None, "query_only", read_only).unwrap();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store(open)")
    }
}
