//! When messages disappear: what a conversation has settled on, and when the next one goes.

use rusqlite::{OptionalExtension as _, params};
use sotto_proto::address::Address;
use sotto_proto::content::{Expiry, ExpiryStart, MessageId};
use sotto_proto::time::UnixMillis;

use super::history::orderly;
use super::row::{damaged, to_signed, to_unsigned};
use super::{StoreError, Transaction};

impl Transaction<'_> {
    /// After what time a conversation's messages disappear, and when that was said last; `None` where it is no contact.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn timer(&self, account: &Address) -> Result<Option<(Option<Expiry>, UnixMillis)>, StoreError> {
        let sql = "SELECT timer_start, timer_s, timer_sent FROM contact WHERE account = ?";
        let found: Option<(i64, u32, i64)> =
            self.query_row(sql, [account.to_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
        let Some((start, seconds, sent)) = found else { return Ok(None) };
        let start = match start {
            1 => Some(ExpiryStart::Sent),
            2 => Some(ExpiryStart::Read),
            _ => None,
        };
        let expiry = start.map(|start| Expiry::new(start, seconds).map_err(damaged("a contact's timer")));
        Ok(Some((expiry.transpose()?, UnixMillis(to_unsigned(sent)))))
    }

    /// Somebody has said after what time messages disappear. True if nothing later was said before.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_timer(
        &self,
        account: &Address,
        expiry: Option<Expiry>,
        sent: UnixMillis,
        by: &MessageId,
    ) -> Result<bool, StoreError> {
        let start = match expiry.map(Expiry::start) {
            None => 0,
            Some(ExpiryStart::Sent) => 1,
            Some(ExpiryStart::Read) => 2,
        };
        let changed = self.execute(
            "UPDATE contact SET timer_start = ?1, timer_s = ?2, timer_sent = ?3, timer_by = ?4
             WHERE account = ?5 AND (timer_sent, timer_by) < (?3, ?4)",
            params![start, expiry.map_or(0, Expiry::seconds), orderly(sent), by.as_bytes(), account.to_bytes()],
        )?;
        Ok(changed == 1)
    }

    /// What was shown and disappears after it was read begins to do so; how many there are.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn begin_reading(&self, now: UnixMillis) -> Result<usize, StoreError> {
        self.execute(
            "UPDATE message SET expires = ? + read_s * 1000, read_s = NULL
             WHERE read_s IS NOT NULL AND EXISTS (
                 SELECT 1 FROM inbox
                 WHERE inbox.sender = message.account AND inbox.message = message.id AND inbox.shown = 1)",
            [to_signed(now.0)],
        )
    }

    /// When the next message disappears.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn next_expiry(&self) -> Result<Option<UnixMillis>, StoreError> {
        let sql = "SELECT min(expires) FROM message WHERE expires IS NOT NULL";
        let next: Option<i64> = self.query_row(sql, [], |row| row.get(0))?;
        Ok(next.map(|at| UnixMillis(to_unsigned(at))))
    }
}
