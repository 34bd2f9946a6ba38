//! The full-text search over what was said.
//!
//! Virtual table `search` (FTS5) has a row for each text in `message`, under its number: the words that the text is
//! found by, and an index of them. All of it lies in the encrypted database. A message that is erased takes its row
//! along, by a trigger; with "secure-delete" the index forgets its words at once and not when it is next tidied.

use rusqlite::{Connection, OptionalExtension as _, params};
use sotto_proto::address::Address;
use sotto_proto::content::{Body, Content, MessageId};
use sotto_proto::request::Message as _;
use sotto_proto::time::UnixMillis;

use super::history::{COLUMNS, RawSaid, orderly};
use super::row::{to_signed, to_unsigned};
use super::words::{SearchWords, folded};
use super::{Place, Said, StoreError, Transaction};

impl Transaction<'_> {
    /// From now on the message of that number is found by the words of this text, and by no others.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn index_text(&self, number: u64, text: &str) -> Result<(), StoreError> {
        index(self.connection(), to_signed(number), text)
    }

    /// The number of a message.
    pub(super) fn number_of(
        &self,
        account: &Address,
        outgoing: bool,
        id: &MessageId,
    ) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT number FROM message WHERE account = ? AND outgoing = ? AND id = ?";
        let key = params![account.to_bytes(), outgoing, id.as_bytes()];
        let number: Option<i64> = self.query_row(sql, key, |row| row.get(0)).optional()?;
        Ok(number.map(to_unsigned))
    }

    /// The message of that number is not found any more.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn unindex(&self, number: u64) -> Result<(), StoreError> {
        self.execute("DELETE FROM search WHERE rowid = ?", [to_signed(number)])?;
        Ok(())
    }

    /// The last `limit` things said before a place in which these words are, with one account or with all; the newest
    /// first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn search(
        &self,
        words: &SearchWords,
        account: Option<&Address>,
        before: Option<Place>,
        limit: usize,
    ) -> Result<Vec<(Place, Said)>, StoreError> {
        let before = before.unwrap_or(Place::END);
        let rows = self.rows(
            // In this order: a word is in fewer messages than there are.
            &format!(
                "SELECT {COLUMNS} FROM search CROSS JOIN message ON number = search.rowid
                 WHERE words MATCH ?1 AND (?2 IS NULL OR account = ?2) AND (sent, number) < (?3, ?4)
                 ORDER BY sent DESC, number DESC LIMIT ?5"
            ),
            params![
                words.expression(),
                account.map(Address::to_bytes),
                orderly(before.sent),
                to_signed(before.number),
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
            RawSaid::read,
        )?;
        rows.into_iter().map(RawSaid::decode).collect()
    }

    /// The place of the message of that number, with whomever it was said.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn place_of_number(&self, number: u64) -> Result<Option<Place>, StoreError> {
        let sql = "SELECT sent FROM message WHERE number = ?";
        let sent = self.query_row(sql, [to_signed(number)], |row| row.get(0)).optional()?;
        Ok(sent.map(|sent| Place { sent: UnixMillis(to_unsigned(sent)), number }))
    }
}

/// The text that a message is found by, if it has any.
pub(super) fn text_of(content: &Content) -> Option<&str> {
    match &content.body {
        Body::Text(text) => Some(text.as_str()),
        _ => None,
    }
}

fn index(connection: &Connection, number: i64, text: &str) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO search (rowid, words) VALUES (?, ?)")?;
    statement.execute(params![number, folded(text)])?;
    Ok(())
}

/// Indexes what was said before there was an index.
pub(super) fn fill(connection: &Connection) -> Result<(), StoreError> {
    let mut statement = connection.prepare("SELECT number, content FROM message")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let bytes: Vec<u8> = row.get(1)?;
        // What cannot be read is not found, and no reason to keep somebody out of everything else.
        let Ok(content) = Content::decode(&bytes) else { continue };
        if let Some(text) = text_of(&content) {
            index(connection, row.get(0)?, text)?;
        }
    }
    Ok(())
}
