//! Erasing a message: its words go from every table that has them.
//!
//! The database overwrites what is erased (`secure_delete`). The row stays, without words: what comes again under its id is
//! not taken in, and its number leaves no gap. What stands in the place of the words is
//! also what the other side gets if the message never left.

use rusqlite::{OptionalExtension as _, params};
use sotto_proto::address::Address;
use sotto_proto::content::{Body, Content, Edit, MessageId, Reaction};
use sotto_proto::request::Message as _;
use sotto_proto::time::UnixMillis;

use super::history::RowState;
use super::row::{damaged, to_signed};
use super::{Store, StoreError, Transaction};

/// Why a message is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Its sender has deleted it, which is shown in its place.
    Deleted,
    /// It has disappeared: nothing is shown.
    Disappeared,
    /// It was about another message, and no longer matters.
    Superseded,
}

impl Transaction<'_> {
    /// Erases a message, and with it the words and signs that were about it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn erase(&self, account: &Address, outgoing: bool, id: &MessageId, gone: Gone) -> Result<(), StoreError> {
        if gone != Gone::Superseded {
            let about = self.rows(
                "SELECT outgoing, id, content FROM message WHERE account = ? AND target = ?",
                params![account.to_bytes(), id.as_bytes()],
                |row| Ok((row.get(0)?, MessageId::new(row.get(1)?), row.get::<_, Vec<u8>>(2)?)),
            )?;
            for (from_here, about, content) in about {
                // A deletion has no words, and must still reach the other side.
                let body = Content::decode(&content).map_err(damaged("a message of the history"))?.body;
                if !matches!(body, Body::Delete(_)) {
                    self.erase(account, from_here, &about, Gone::Superseded)?;
                }
            }
        }
        self.blank(account, outgoing, id, gone)?;
        self.blank_copies(account, outgoing, id, gone)?;
        self.set_done(account, outgoing, id)
    }

    /// What was about another message has done with it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_done(&self, account: &Address, outgoing: bool, id: &MessageId) -> Result<(), StoreError> {
        let sql = "UPDATE message SET target = NULL, waits = 0 WHERE account = ? AND outgoing = ? AND id = ?";
        self.execute(sql, params![account.to_bytes(), outgoing, id.as_bytes()])?;
        Ok(())
    }

    /// Takes the words from a row of the history.
    fn blank(&self, account: &Address, outgoing: bool, id: &MessageId, gone: Gone) -> Result<(), StoreError> {
        let sql = "SELECT content FROM message WHERE account = ? AND outgoing = ? AND id = ?";
        let key = params![account.to_bytes(), outgoing, id.as_bytes()];
        let Some(content) = self.query_row(sql, key, |row| row.get::<_, Vec<u8>>(0)).optional()? else {
            return Ok(());
        };
        if let Some(number) = self.number_of(account, outgoing, id)? {
            self.unindex(number)?;
        }
        let state = if gone == Gone::Deleted { RowState::Deleted } else { RowState::Hidden };
        self.execute(
            "UPDATE message SET content = ?1, state = ?2, edited = NULL, edited_by = NULL, expires = NULL, read_s = NULL,
                                waits = 0, sent = iif(?3, 0, sent), arrived = iif(?3, 0, arrived)
             WHERE account = ?4 AND outgoing = ?5 AND id = ?6",
            params![
                wordless(&content, gone)?,
                state.code(),
                gone == Gone::Disappeared,
                account.to_bytes(),
                outgoing,
                id.as_bytes()
            ],
        )?;
        Ok(())
    }

    /// Takes the words from what came and from what is sent.
    fn blank_copies(&self, account: &Address, outgoing: bool, id: &MessageId, gone: Gone) -> Result<(), StoreError> {
        if !outgoing {
            let key = params![account.to_bytes(), id.as_bytes()];
            self.execute("DELETE FROM owed_receipt WHERE account = ? AND message = ?", key)?;
            let sql = "SELECT body FROM inbox WHERE sender = ? AND message = ?";
            if let Some(body) = self.query_row(sql, key, |row| row.get::<_, Vec<u8>>(0)).optional()? {
                if gone == Gone::Superseded {
                    self.execute("DELETE FROM inbox WHERE sender = ? AND message = ?", key)?;
                    return Ok(());
                }
                let key = params![wordless(&body, gone)?, account.to_bytes(), id.as_bytes()];
                self.execute("UPDATE inbox SET body = ?, shown = 1 WHERE sender = ? AND message = ?", key)?;
            }
            return Ok(());
        }
        let sql = "SELECT content FROM outbox WHERE message = ? AND recipient = ?";
        let key = params![id.as_bytes(), account.to_bytes()];
        let Some(content) = self.query_row(sql, key, |row| row.get::<_, Vec<u8>>(0)).optional()? else {
            return Ok(());
        };
        // What waits still goes, without its words: a number that never comes would be missed by the other side.
        self.execute(
            "UPDATE outbox SET content = ?, sealed = iif(sealed IS NULL, NULL, x''), record = NULL,
                               state = iif(state < 2, 0, state), failure = NULL
             WHERE message = ?",
            params![wordless(&content, gone)?, id.as_bytes()],
        )?;
        Ok(())
    }

    /// What has disappeared by then and is not erased yet, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn expired(&self, now: UnixMillis, limit: usize) -> Result<Vec<(Address, bool, MessageId)>, StoreError> {
        let rows = self.rows(
            "SELECT account, outgoing, id FROM message WHERE expires <= ? ORDER BY expires LIMIT ?",
            params![to_signed(now.0), i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let read = |(account, outgoing, id): (Vec<u8>, bool, _)| {
            Ok((super::row::read_address(&account)?, outgoing, MessageId::new(id)))
        };
        rows.into_iter().map(read).collect()
    }
}

impl Store {
    /// Moves what was erased out of the write-ahead log, which has earlier states of the same pages.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn settle_erased(&self) -> Result<(), StoreError> {
        Ok(self.connection().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }
}

/// What stands in the place of a message: a deletion of itself; or, where it was about another one, no sign beside that, from
/// before all signs.
fn wordless(content: &[u8], gone: Gone) -> Result<Vec<u8>, StoreError> {
    let content = Content::decode(content).map_err(damaged("a message that is erased"))?;
    let sent = if gone == Gone::Deleted { content.sent } else { UnixMillis(0) };
    let body = match content.body {
        Body::Edit(Edit { of: to, .. }) | Body::Reaction(Reaction { to, .. }) => {
            Body::Reaction(Reaction { to, emoji: None })
        }
        Body::Delete(of) => Body::Delete(of),
        _ => Body::Delete(content.id),
    };
    let sequence = content.sequence;
    let wordless = Content { sequence, ..Content::new(content.id, sent, body) };
    wordless.encode().map_err(|_| StoreError::Damaged("a message too long to keep"))
}
