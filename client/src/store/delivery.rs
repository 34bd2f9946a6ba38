//! How far a message of the outbox came, and when one that is worth something for a while only is forgotten.

use rusqlite::{OptionalExtension as _, params};
use sotto_proto::address::Address;
use sotto_proto::content::MessageId;
use sotto_proto::time::UnixMillis;

use super::outbox::OutboxState;
use super::row::to_signed;
use super::{StoreError, Transaction};

/// What is worth something for a while only is forgotten so much later.
const PASSING_MILLIS: u64 = 600_000;

impl Transaction<'_> {
    /// An account says how far a message came that it was sent; whether that is news.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_delivery(&self, account: &Address, id: &MessageId, state: OutboxState) -> Result<bool, StoreError> {
        let changed = self.execute(
            "UPDATE outbox SET state = ?1 WHERE message = ?2 AND recipient = ?3 AND passing = 0 AND state <> 3
                 AND state < ?1 AND ?1 > 3",
            params![state.code(), id.as_bytes(), account.to_bytes()],
        )?;
        Ok(changed == 1)
    }

    /// How far a message is, and how many nodes keep it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn delivery_of(&self, id: &MessageId) -> Result<Option<(OutboxState, usize)>, StoreError> {
        let sql = "SELECT state, (SELECT count(*) FROM receipt WHERE receipt.message = outbox.message) FROM outbox
                   WHERE message = ?";
        let found: Option<(i64, i64)> =
            self.query_row(sql, [id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((state, count)) = found else { return Ok(None) };
        let state = OutboxState::from_code(state).ok_or(StoreError::Damaged("a state of the outbox"))?;
        Ok(Some((state, usize::try_from(count).unwrap_or(0))))
    }

    /// Forgets what is worth something for a while only and has had its time.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn drop_passing(&self, now: UnixMillis) -> Result<usize, StoreError> {
        // A while longer than its time: somebody may be sending it just now.
        let sql =
            "DELETE FROM outbox WHERE passing = 1 AND created < ?1 AND (state >= 2 OR created + ttl_s * 1000 < ?1)";
        self.execute(sql, [to_signed(now.0.saturating_sub(PASSING_MILLIS))])
    }
}
