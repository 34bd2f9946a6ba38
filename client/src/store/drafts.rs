//! What somebody has begun to write, one text for each conversation.

use rusqlite::{OptionalExtension as _, params};
use sotto_proto::address::Address;
use sotto_proto::content::Text;

use super::row::damaged;
use super::{StoreError, Transaction};

impl Transaction<'_> {
    /// What was begun to an account and is not sent yet.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn draft(&self, account: &Address) -> Result<Option<Text>, StoreError> {
        let sql = "SELECT text FROM draft WHERE account = ?";
        let text: Option<String> = self.query_row(sql, [account.to_bytes()], |row| row.get(0)).optional()?;
        text.map(|text| Text::new(text).map_err(damaged("a draft"))).transpose()
    }

    /// Keeps it in the place of what was begun before; `None` forgets that.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_draft(&self, account: &Address, text: Option<&Text>) -> Result<(), StoreError> {
        match text {
            Some(text) => self.execute(
                "INSERT OR REPLACE INTO draft (account, text) VALUES (?, ?)",
                params![account.to_bytes(), text.as_str()],
            )?,
            None => self.execute("DELETE FROM draft WHERE account = ?", [account.to_bytes()])?,
        };
        Ok(())
    }
}
