//! Changes that are made together or not at all.

use std::fmt;
use std::sync::MutexGuard;

use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};
use sotto_proto::time::UnixSeconds;

use super::row::damaged;
use super::{Store, StoreError};

/// Setting: what the account calls itself.
const DISPLAY_NAME: &str = "display name";
/// Setting: how many strangers' requests an hour are accepted by themselves.
const AUTO_ACCEPT: &str = "auto-accept";
/// Setting: see [`Presence`].
const PRESENCE: &str = "presence";

/// When this device was at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Last.
    pub last: UnixSeconds,
    /// Before it was away for the last time.
    pub left: UnixSeconds,
    /// Until then mail may still come that was written while it was away.
    pub until: UnixSeconds,
}

/// Changes to a store. Dropped without [`Transaction::commit`], none of them was made.
pub struct Transaction<'a>(MutexGuard<'a, Connection>);

impl Store {
    /// Begins a transaction.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn transaction(&mut self) -> Result<Transaction<'_>, StoreError> {
        self.begin("BEGIN IMMEDIATE")
    }

    /// Begins to read: everything is as at one moment, and nobody is held up.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn reading(&mut self) -> Result<Transaction<'_>, StoreError> {
        self.begin("BEGIN DEFERRED")
    }

    fn begin(&mut self, sql: &str) -> Result<Transaction<'_>, StoreError> {
        let transaction = Transaction(self.connection());
        transaction.execute(sql, [])?;
        Ok(transaction)
    }
}

impl Transaction<'_> {
    /// Makes the changes, durable when this returns.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails; none was made then.
    pub fn commit(self) -> Result<(), StoreError> {
        self.execute("COMMIT", []).map(drop)
    }

    /// Makes changes that are undone if they fail, while those before them stay.
    ///
    /// # Errors
    /// That of `change`, or of the store.
    pub fn attempt<T, E: From<StoreError>>(&self, change: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.execute("SAVEPOINT attempt", [])?;
        let done = match change() {
            Ok(done) => done,
            Err(error) => {
                let undone = self.execute("ROLLBACK TO attempt", []).and_then(|_| self.execute("RELEASE attempt", []));
                if let Err(undone) = undone {
                    // A full disk has undone the whole transaction, and the savepoint with it.
                    tracing::debug!(%undone, "there is nothing left to undo");
                }
                return Err(error);
            }
        };
        self.execute("RELEASE attempt", [])?;
        Ok(done)
    }

    /// What the account calls itself to those it talks with, if that was said.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn display_name(&self) -> Result<Option<String>, StoreError> {
        self.setting(DISPLAY_NAME)?
            .map(|name| String::from_utf8(name).map_err(damaged("the account's name")))
            .transpose()
    }

    /// Says it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_display_name(&self, name: &str) -> Result<(), StoreError> {
        self.set_setting(DISPLAY_NAME, name.as_bytes())
    }

    /// How many requests of strangers are accepted by themselves within an hour: none, unless somebody said so.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn auto_accept(&self) -> Result<u32, StoreError> {
        let bytes = self.setting(AUTO_ACCEPT)?.map(|bytes| bytes.try_into().map(u32::from_be_bytes)).transpose();
        Ok(bytes.map_err(|_| StoreError::Damaged("a setting"))?.unwrap_or(0))
    }

    /// Says it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_auto_accept(&self, an_hour: u32) -> Result<(), StoreError> {
        self.set_setting(AUTO_ACCEPT, &an_hour.to_be_bytes())
    }

    /// When this device was last at work.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn presence(&self) -> Result<Option<Presence>, StoreError> {
        let Some(bytes) = self.setting(PRESENCE)? else { return Ok(None) };
        let damaged = || StoreError::Damaged("a setting");
        let (times, []) = bytes.as_chunks::<8>() else { return Err(damaged()) };
        let &[last, left, until] = times else { return Err(damaged()) };
        let [last, left, until] = [last, left, until].map(|time| UnixSeconds(u64::from_be_bytes(time)));
        Ok(Some(Presence { last, left, until }))
    }

    /// Says it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_presence(&self, presence: &Presence) -> Result<(), StoreError> {
        let Presence { last, left, until } = presence;
        self.set_setting(PRESENCE, &[last, left, until].map(|time| time.0.to_be_bytes()).concat())
    }

    fn setting(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.query_row("SELECT value FROM setting WHERE key = ?", [key], |row| row.get(0)).optional()?)
    }

    fn set_setting(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO setting (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            params![key, value],
        )?;
        Ok(())
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.0
    }

    pub(super) fn execute(&self, sql: &str, parameters: impl Params) -> Result<usize, StoreError> {
        Ok(self.0.prepare_cached(sql)?.execute(parameters)?)
    }

    pub(super) fn query_row<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.0.prepare_cached(sql)?.query_row(parameters, read)
    }

    /// All rows of a query.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.0.prepare_cached(sql)?;
        let rows = statement.query_map(parameters, read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // Not there any more: it was committed, or a full disk has undone it.
        if self.0.is_autocommit() {
            return;
        }
        if let Err(error) = self.0.execute_batch("ROLLBACK") {
            tracing::debug!(%error, "there is nothing left to undo");
        }
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transaction(open)")
    }
}
