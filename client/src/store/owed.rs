//! Whom there is something to tell of what came, and of what was read.

use rusqlite::params;
use sotto_proto::address::Address;
use sotto_proto::content::MessageId;

use super::row::read_address;
use super::{StoreError, Transaction};

/// A message whose sender is to be told something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Whom.
    pub account: Address,
    /// Of which message.
    pub message: MessageId,
    /// That it was read, or only that it came.
    pub read: bool,
}

impl Transaction<'_> {
    /// A message's sender is to be told that it came, and once it is shown that it was read.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn owe_receipt(&self, account: &Address, message: &MessageId) -> Result<(), StoreError> {
        let sql = "INSERT INTO owed_receipt (account, message, told) VALUES (?, ?, 0) ON CONFLICT DO NOTHING";
        self.execute(sql, params![account.to_bytes(), message.as_bytes()])?;
        Ok(())
    }

    /// What is to be told now, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn owed_receipts(&self, limit: usize) -> Result<Vec<Owed>, StoreError> {
        let rows = self.rows(
            "SELECT owed_receipt.account, owed_receipt.message, coalesce(inbox.shown, 0)
             FROM owed_receipt LEFT JOIN inbox
                 ON inbox.sender = owed_receipt.account AND inbox.message = owed_receipt.message
             WHERE told = 0 OR inbox.shown = 1 ORDER BY owed_receipt.account, inbox.number LIMIT ?",
            [i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let read = |(account, message, read): (Vec<u8>, _, _)| {
            Ok(Owed { account: read_address(&account)?, message: MessageId::new(message), read })
        };
        rows.into_iter().map(read).collect()
    }

    /// It is told: that it came, or for good that it was read.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn settle_receipt(&self, owed: &Owed) -> Result<(), StoreError> {
        let sql = if owed.read {
            "DELETE FROM owed_receipt WHERE account = ? AND message = ?"
        } else {
            "UPDATE owed_receipt SET told = 1 WHERE account = ? AND message = ?"
        };
        self.execute(sql, params![owed.account.to_bytes(), owed.message.as_bytes()])?;
        Ok(())
    }

    /// Nobody is told anything any more.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn forget_owed(&self) -> Result<(), StoreError> {
        self.execute("DELETE FROM owed_receipt", [])?;
        Ok(())
    }
}
