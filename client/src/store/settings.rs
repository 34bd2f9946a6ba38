//! Settings of an account that belong to nobody else's eyes.

use rusqlite::{OptionalExtension as _, params};

use super::{Store, StoreError, Transaction};

/// Something that an account does or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// It tells contacts what came and was read.
    Receipts,
    /// It tells contacts that its user is writing, and shows that of them.
    Typing,
    /// It tells everybody who knows its id that it is online, and where.
    PublicPresence,
}

impl Switch {
    const fn key(self) -> &'static str {
        match self {
            Self::Receipts => "receipts",
            Self::Typing => "typing",
            Self::PublicPresence => "public presence",
        }
    }
}

impl Transaction<'_> {
    /// Whether it is on. All are off until somebody wants them.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn is_on(&self, switch: Switch) -> Result<bool, StoreError> {
        let sql = "SELECT value FROM setting WHERE key = ?";
        let value: Option<Vec<u8>> = self.query_row(sql, [switch.key()], |row| row.get(0)).optional()?;
        Ok(value.is_some_and(|value| value == [1]))
    }

    /// Turns it on or off.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn turn(&self, switch: Switch, on: bool) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO setting (key, value) VALUES (?, ?)";
        self.execute(sql, params![switch.key(), [u8::from(on)]])?;
        Ok(())
    }
}

impl Store {
    /// What a setting holds.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn setting(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT value FROM setting WHERE key = ?";
        Ok(self.connection().query_row(sql, [key], |row| row.get(0)).optional()?)
    }

    /// Sets a setting.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_setting(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.connection().execute("INSERT OR REPLACE INTO setting (key, value) VALUES (?, ?)", params![key, value])?;
        Ok(())
    }
}
