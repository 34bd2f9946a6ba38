//! Opening the encrypted database.
//!
//! SQLCipher encrypts every page of the file and of its write-ahead log with a key of ours; nothing is derived from a
//! passphrase here. Order matters: its log is turned off first, because since version 4.6 it writes to standard error
//! about every page that does not open; then comes the key, then the first read that shows whether it is the right one.
//!
//! One process at a time has the file (our own lock says so), but may have several connections to it. Readers see what
//! was committed when they began. Whoever writes takes the write lock when the transaction begins, and waits for it
//! there: a transaction that only then finds that it wants to write could not wait, for what it has read may be past.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use zeroize::Zeroizing;

use super::kdf::KEY;
use super::{StoreError, files, schema};

/// Name of the file in the account's folder.
pub(super) const FILE: &str = "store.db";

/// How long one connection waits for another's transaction. None does anything slow inside one, but a disk may.
const BUSY: Duration = Duration::from_secs(60);
/// Statements that are kept ready, about all there are: making one ready takes as long as most of what it does.
const STATEMENTS: usize = 256;

/// Makes the database of a new account in `folder`.
pub(super) fn create(folder: &Path, key: &[u8; KEY]) -> Result<Connection, StoreError> {
    // Made here and not by SQLite, which would let others of the group read the file.
    files::write_new(&folder.join(FILE), &[])?;
    open(folder, key)
}

/// Opens the database in `folder`, and brings it to this version's schema.
///
/// # Errors
/// [`StoreError::Damaged`] when the key does not open it: the key slots and the database are not of one account, or
/// one of them is broken.
pub(super) fn open(folder: &Path, key: &[u8; KEY]) -> Result<Connection, StoreError> {
    let path = folder.join(FILE);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&path, flags)?;
    connection.execute_batch("PRAGMA cipher_log_level = NONE; PRAGMA cipher_log = off;")?;
    connection.execute_batch(&key_pragma(key))?;
    connection.execute_batch("PRAGMA cipher_compatibility = 4; PRAGMA temp_store = MEMORY;")?;
    let readable: Result<i64, _> = connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0));
    readable.map_err(|error| match StoreError::Database(error) {
        error if error.kind() == super::StoreErrorKind::Damaged => StoreError::Damaged("the database"),
        error => error,
    })?;
    connection.busy_timeout(BUSY)?;
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA secure_delete = ON;
         PRAGMA foreign_keys = ON;",
    )?;
    schema::migrate(&mut connection)?;
    Ok(connection)
}

/// The version of SQLCipher that is linked in, such as `4.19.0 community`.
pub(super) fn cipher_version(connection: &Connection) -> Result<String, StoreError> {
    Ok(connection.query_row("PRAGMA cipher_version", [], |row| row.get(0))?)
}

fn key_pragma(key: &[u8; KEY]) -> Zeroizing<String> {
    // Room for all of it, so that growing leaves no copies behind.
    let mut pragma = Zeroizing::new(String::with_capacity(96));
    let mut digits = Zeroizing::new([0; 2 * KEY]);
    // Cannot fail: there are two digits for each byte.
    let _: Result<(), hex::FromHexError> = hex::encode_to_slice(key, digits.as_mut_slice());
    pragma.push_str("PRAGMA key = \"x'");
    pragma.extend(digits.iter().map(|digit| char::from(*digit)));
    pragma.push_str("'\";");
    pragma
}
