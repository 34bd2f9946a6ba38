//! What is about another message: other words, signs, its deletion.
//!
//! Each is a row of the history of its own, whichever comes first. What a message is now follows from all of them: the order
//! in which they came makes no difference.

use rusqlite::{OptionalExtension as _, Row, params};
use sotto_proto::address::Address;
use sotto_proto::content::{Body, Content, Emoji, MessageId};
use sotto_proto::request::Message as _;
use sotto_proto::time::UnixMillis;

use super::history::{RowState, orderly};
use super::row::{damaged, to_signed, to_unsigned};
use super::search::text_of;
use super::{StoreError, Transaction};

/// A message as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Whether it was said from here.
    pub outgoing: bool,
    /// What is left of it.
    pub state: RowState,
    /// Its present words.
    pub content: Content,
    /// When it got them, by its sender's clock, and by which edit.
    pub edited: Option<(UnixMillis, MessageId)>,
    /// When it disappears, as far as that is known.
    pub expires: Option<UnixMillis>,
}

/// What is about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amendment {
    /// Whether it was said from here.
    pub outgoing: bool,
    /// What.
    pub content: Content,
}

impl Transaction<'_> {
    /// The messages of that id in a conversation: one, or one of each side if somebody has copied an id.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn present(&self, account: &Address, id: &MessageId) -> Result<Vec<Present>, StoreError> {
        let rows = self.rows(
            "SELECT outgoing, state, content, edited, edited_by, expires FROM message WHERE account = ? AND id = ?",
            params![account.to_bytes(), id.as_bytes()],
            RawPresent::read,
        )?;
        rows.into_iter().map(RawPresent::decode).collect()
    }

    /// The ids between two in a conversation which are shown, with whether they were said from here.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn ids_between(
        &self,
        account: &Address,
        (least, most): (&MessageId, &MessageId),
        limit: usize,
    ) -> Result<Vec<(MessageId, bool)>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.rows(
            "SELECT id, outgoing FROM message WHERE account = ? AND id BETWEEN ? AND ? AND state < 2 ORDER BY id LIMIT ?",
            params![account.to_bytes(), least.as_bytes(), most.as_bytes(), limit],
            |row| Ok((MessageId::new(row.get(0)?), row.get(1)?)),
        )
    }

    /// All that is about a message.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn amendments(&self, account: &Address, target: &MessageId) -> Result<Vec<Amendment>, StoreError> {
        let rows = self.rows(
            "SELECT outgoing, content FROM message WHERE account = ? AND target = ? ORDER BY number",
            params![account.to_bytes(), target.as_bytes()],
            |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?)),
        )?;
        let read = |(outgoing, content): (bool, Vec<u8>)| {
            let content = Content::decode(&content).map_err(damaged("a message of the history"))?;
            Ok(Amendment { outgoing, content })
        };
        rows.into_iter().map(read).collect()
    }

    /// The signs beside a message: whether each was put there from here.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn reactions(&self, account: &Address, to: &MessageId) -> Result<Vec<(bool, Emoji)>, StoreError> {
        let mut newest: [Option<Content>; 2] = [None, None];
        for Amendment { outgoing, content } in self.amendments(account, to)? {
            let [theirs, own] = &mut newest;
            let known = if outgoing { own } else { theirs };
            let is_newer = known.as_ref().is_none_or(|known| (known.sent, known.id) < (content.sent, content.id));
            if is_newer && matches!(content.body, Body::Reaction(_)) {
                *known = Some(content);
            }
        }
        let signs = [false, true].into_iter().zip(newest).filter_map(|(outgoing, content)| match content?.body {
            Body::Reaction(reaction) => Some((outgoing, reaction.emoji?)),
            _ => None,
        });
        Ok(signs.collect())
    }

    /// Gives a message other words.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_words(
        &self,
        account: &Address,
        outgoing: bool,
        content: &Content,
        (sent, edit): (UnixMillis, MessageId),
    ) -> Result<(), StoreError> {
        let id = content.id;
        if let (Some(number), Some(text)) = (self.number_of(account, outgoing, &id)?, text_of(content)) {
            self.index_text(number, text)?;
        }
        let content = content.clone().encode().map_err(|_| StoreError::Damaged("a message too long to keep"))?;
        let key = params![content, orderly(sent), edit.as_bytes(), account.to_bytes(), outgoing, id.as_bytes()];
        self.execute(
            "UPDATE message SET content = ?, edited = ?, edited_by = ? WHERE account = ? AND outgoing = ? AND id = ?",
            key,
        )?;
        if !outgoing {
            // It may not have been shown yet, or be shown again.
            self.execute(
                "UPDATE inbox SET body = ? WHERE sender = ? AND message = ?",
                params![content, account.to_bytes(), id.as_bytes()],
            )?;
        }
        Ok(())
    }

    /// Notes whether what is about a message waits for it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_waiting(&self, account: &Address, target: &MessageId, waits: bool) -> Result<(), StoreError> {
        let sql = "UPDATE message SET waits = ? WHERE account = ? AND target = ?";
        self.execute(sql, params![waits, account.to_bytes(), target.as_bytes()])?;
        Ok(())
    }

    /// Of what waits for a message of a conversation the ids beyond the newest `most`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn waiting_beyond(&self, account: &Address, most: usize) -> Result<Vec<(bool, MessageId)>, StoreError> {
        self.rows(
            "SELECT outgoing, id FROM message WHERE account = ? AND waits = 1 ORDER BY number DESC LIMIT -1 OFFSET ?",
            params![account.to_bytes(), i64::try_from(most).unwrap_or(i64::MAX)],
            |row| Ok((row.get(0)?, MessageId::new(row.get(1)?))),
        )
    }

    /// What has waited for a message since before then.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn waiting_since(&self, before: UnixMillis) -> Result<Vec<(Address, bool, MessageId)>, StoreError> {
        let rows = self.rows(
            "SELECT account, outgoing, id FROM message WHERE waits = 1 AND arrived < ?",
            [to_signed(before.0)],
            |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let read = |(account, outgoing, id): (Vec<u8>, bool, _)| {
            Ok((super::row::read_address(&account)?, outgoing, MessageId::new(id)))
        };
        rows.into_iter().map(read).collect()
    }

    /// What was said last with an account and is shown as a text: from here, from there, or from either.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn last_text(&self, account: &Address, outgoing: Option<bool>) -> Result<Option<MessageId>, StoreError> {
        let sql = "SELECT content FROM message WHERE account = ?1 AND state = 0 AND (?2 IS NULL OR outgoing = ?2)
                   ORDER BY sent DESC, number DESC LIMIT 64";
        let rows = self.rows(sql, params![account.to_bytes(), outgoing], |row| row.get::<_, Vec<u8>>(0))?;
        for content in rows {
            let content = Content::decode(&content).map_err(damaged("a message of the history"))?;
            if matches!(content.body, Body::Text(_)) {
                return Ok(Some(content.id));
            }
        }
        Ok(None)
    }

    /// What became of something said.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn present_of(&self, account: &Address, outgoing: bool, id: &MessageId) -> Result<Option<Present>, StoreError> {
        let sql = "SELECT outgoing, state, content, edited, edited_by, expires FROM message
                   WHERE account = ? AND outgoing = ? AND id = ?";
        let key = params![account.to_bytes(), outgoing, id.as_bytes()];
        self.query_row(sql, key, RawPresent::read).optional()?.map(RawPresent::decode).transpose()
    }
}

/// A row as it lies in the database.
struct RawPresent {
    outgoing: bool,
    state: i64,
    content: Vec<u8>,
    edited: Option<i64>,
    edited_by: Option<[u8; MessageId::LEN]>,
    expires: Option<i64>,
}

impl RawPresent {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            outgoing: row.get(0)?,
            state: row.get(1)?,
            content: row.get(2)?,
            edited: row.get(3)?,
            edited_by: row.get(4)?,
            expires: row.get(5)?,
        })
    }

    fn decode(self) -> Result<Present, StoreError> {
        let millis = |at: i64| UnixMillis(to_unsigned(at));
        Ok(Present {
            outgoing: self.outgoing,
            state: RowState::from_code(self.state),
            content: Content::decode(&self.content).map_err(damaged("a message of the history"))?,
            edited: self.edited.map(millis).zip(self.edited_by.map(MessageId::new)),
            expires: self.expires.map(millis),
        })
    }
}
