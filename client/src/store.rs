//! What is kept on this device, all of it encrypted.
//!
//! ```text
//! <data directory>/<network, 16 hex digits>/
//!     genesis.json              which network this is (public)
//!     device-<16 hex>.bin       the device's guards; the key is in the stores of its accounts
//!     <16 hex digits>/          one account; the digits follow from its name, which is not written here
//!         PLACE                 says by when it was made whether this is a copy
//!         LOCK                  held while a process has the account open
//!         keyslots.bin          eight equal slots; a passphrase opens one and finds the master key there
//!         store.db, store.db-wal    SQLCipher under a key below the master key
//!         store.db-shm              where in the log each page is, while it is open; numbers only
//! ```
//!
//! Two accounts have no salt, key or reference in common, and none of these files has a name, an id, a contact or a text
//! in the clear. What does show: how many accounts there are, when they were last used and about how much they hold;
//! and whoever guesses an account's name can check the guess. Accounts that share guards by their user's wish are not
//! tied together by what is in the files; whoever sees them again and again may tell by when each was written. A file that SQLite may still have somewhere else, such
//! as in swapped-out memory, is not ours to encrypt.
//!
//! | file | what it owns |
//! | --- | --- |
//! | `accounts`, `open_account` | the accounts of a network: creating, opening, renaming; one that is open |
//! | `whereabouts` | whether it was copied |
//! | `wipe` | erasing them for good |
//! | `kdf`, `passphrase`, `keyslots`, `vault`, `keys` | from a passphrase to the keys of an account |
//! | `database`, `shared`, `schema`, `row` | the encrypted database |
//! | `transaction` | changes that are made together |
//! | `outbox`, `inbox`, `network`, `settings` | what is in it |
//! | `contacts`, `requests`, `prekeys`, `sessions`, `history` | who is talked with, by which keys, and what was said |
//! | `search`, `words`, `drafts` | finding what was said; what is begun and not sent |
//! | `amendments`, `erasing`, `disappearing`, `owed`, `delivery` | what became of it: other words, signs, nothing; who is to be told |
//! | `questions` | verifications by question and answer |
//! | `listening` | where contacts are online, and where the account listens for them |
//! | `device` | the guards |
//! | `lock`, `files`, `error` | one process an account; whole files or none; failures |
//!
//! Every change is one transaction, durable when the call returns: after a crash it is there or it is not.

mod accounts;
mod amendments;
mod contacts;
mod database;
mod delivery;
mod device;
mod disappearing;
mod drafts;
mod erasing;
mod error;
mod files;
mod history;
mod inbox;
mod kdf;
mod keys;
mod keyslots;
mod listening;
mod lock;
mod network;
mod open_account;
mod outbox;
mod owed;
mod passphrase;
mod prekeys;
mod questions;
mod requests;
mod row;
mod schema;
mod search;
mod sessions;
mod settings;
mod shared;
#[cfg(test)]
mod tests;
mod transaction;
mod vault;
mod whereabouts;
mod wipe;
mod words;

use std::fmt;
use std::sync::MutexGuard;

use rusqlite::Connection;

pub use self::accounts::{AccountName, AccountNameError, Accounts, FolderName, NewAccount};
pub use self::amendments::{Amendment, Present};
pub use self::contacts::{Contact, ContactState, VerifiedBy};
pub use self::device::{Device, Guard};
pub use self::erasing::Gone;
pub use self::error::{StoreError, StoreErrorKind};
pub use self::history::{Place, RowState, Said};
pub use self::inbox::{Arrival, InboxMessage, InboxNumber, Letter, Page};
pub use self::kdf::Kdf;
pub use self::keys::DeviceKey;
pub use self::listening::{ListeningPlace, OwnPlace};
pub use self::network::{EQUIVOCATION, Evidence, SavedNetwork};
pub use self::open_account::{OpenAccount, Own};
pub use self::outbox::{Encrypted, NewMessage, OutboxMessage, OutboxState, STORED_RECEIPTS, StoredReceipt};
pub use self::owed::Owed;
pub use self::passphrase::{Passphrase, PassphraseError};
pub use self::prekeys::{OwnMailbox, Prekey, PrekeyNumber, StoredBundle};
pub use self::questions::{QuestionRun, RunState};
pub use self::requests::{Request, RequestState};
pub use self::sessions::Session;
pub use self::settings::Switch;
use self::shared::Shared;
pub use self::transaction::{Presence, Transaction};
pub use self::wipe::{GENESIS, Wipe, Wiped};
pub use self::words::SearchWords;

/// The open database of an account.
pub struct Store {
    shared: Shared,
}

impl Store {
    fn new(connection: Connection) -> Self {
        Self { shared: Shared::new(connection) }
    }

    /// The connection, for as long as nobody else needs it.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.shared.turn()
    }

    /// The version of SQLCipher that encrypts it, such as `4.19.0 community`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn cipher_version(&self) -> Result<String, StoreError> {
        database::cipher_version(&self.connection())
    }
}

#[cfg(test)]
impl Store {
    /// An empty one without a file.
    pub(crate) fn in_memory() -> Self {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap();
        Self::new(connection)
    }

    /// Another one with the same in it, as after a restart.
    pub(crate) fn copy(&self) -> Self {
        let mut connection = Connection::open_in_memory().unwrap();
        rusqlite::backup::Backup::new(&self.connection(), &mut connection).unwrap().step(-1).unwrap();
        Self::new(connection)
    }

    /// Rows of a table.
    pub(crate) fn count(&self, table: &str) -> u64 {
        let sql = format!("SELECT count(*) FROM {table}");
        let count: i64 = self.connection().query_row(&sql, [], |row| row.get(0)).unwrap();
        u64::try_from(count).unwrap()
    }

    /// Takes a message for stored.
    pub(crate) fn set_stored(&self, id: &sotto_proto::content::MessageId) {
        self.connection().execute("UPDATE outbox SET state = 2 WHERE message = ?", [id.as_bytes()]).unwrap();
    }

    /// Makes the database refuse to grow, as on a full disk, or lets it grow again.
    pub(crate) fn set_full(&mut self, full: bool) {
        let pages: u32 = self.connection().query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let most = if full { pages } else { u32::MAX - 1 };
        let set: u32 =
            self.connection().query_row(&format!("PRAGMA max_page_count = {most}"), [], |row| row.get(0)).unwrap();
        assert!(!full || set == pages, "{set} pages of {pages}");
    }

    /// Makes every write to the database fail, or no longer.
    pub(crate) fn set_read_only(&mut self, read_only: bool) {
        self.connection().pragma_update(None, "query_only", read_only).unwrap();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store(open)")
    }
}
