//! Settings of an account that belong to nobody else's eyes.

use rusqlite::{OptionalExtension as _, params};

use super::{Store, StoreError};

impl Store {
    /// What a setting holds.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn setting(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT value FROM setting WHERE key = ?";
        Ok(self.connection.query_row(sql, [key], |row| row.get(0)).optional()?)
    }

    /// Sets a setting.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_setting(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.connection.execute("INSERT OR REPLACE INTO setting (key, value) VALUES (?, ?)", params![key, value])?;
        Ok(())
    }
}
