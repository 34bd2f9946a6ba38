//! What was said, in both directions.
//!
//! It is told in the order of the senders' times, and of two at one time the one first that came first. A sender's time may
//! not put a message behind its arrival: one of a time to come would stay the last for ever.
//!
//! Everything that was said has a row, also what is about another message (`amendments`): its number is what tells a gap.
//! What was erased (`erasing`) keeps its row without words, so that it is not taken in again.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension as _, Row, params};
use sotto_proto::address::Address;
use sotto_proto::content::{Body, Content, ExpiryStart, MessageId, Step};
use sotto_proto::request::Message as _;
use sotto_proto::time::UnixMillis;

use super::row::{damaged, read_address, to_signed, to_unsigned};
use super::search::text_of;
use super::{StoreError, Transaction};

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// With whom.
    pub account: Address,
    /// Whether it was said from here.
    pub outgoing: bool,
    /// By which device of the sender.
    pub device: u8,
    /// When it came, or was queued.
    pub arrived: UnixMillis,
    /// What.
    pub content: Content,
}

impl Said {
    /// Whether its sender has deleted it: nothing is left of it but that.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        matches!(self.content.body, Body::Delete(of) if of == self.content.id)
    }

    /// When it disappears, if that is certain when it comes.
    #[must_use]
    pub fn expires(&self) -> Option<UnixMillis> {
        let expiry = self.content.expiry?;
        // The other side's clock may be ahead. What is said from here counts as read.
        let since = self.content.sent.0.min(self.arrived.0);
        let is_certain = expiry.start() == ExpiryStart::Sent || self.outgoing;
        is_certain.then(|| UnixMillis(since.saturating_add(u64::from(expiry.seconds()) * 1000)))
    }

    /// In so many seconds after it was read, if it is to be read first.
    fn seconds_after_reading(&self) -> Option<u32> {
        self.content.expiry.filter(|_| self.expires().is_none()).map(sotto_proto::content::Expiry::seconds)
    }

    /// The message that it is about, and whether it stands in the history beside others.
    fn target(&self) -> (Option<MessageId>, RowState) {
        match &self.content.body {
            Body::Delete(of) if *of == self.content.id => (None, RowState::Deleted),
            Body::Delete(of) => (Some(*of), RowState::Hidden),
            Body::Edit(edit) => (Some(edit.of), RowState::Hidden),
            Body::Reaction(reaction) => (Some(reaction.to), RowState::Hidden),
            Body::Question(question) if !matches!(question.step, Step::Ask { .. }) => (None, RowState::Hidden),
            _ => (None, RowState::Shown),
        }
    }
}

/// What is left of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowState {
    /// All of it.
    Shown,
    /// That its sender deleted it.
    Deleted,
    /// It is not shown: it is about another message, or has disappeared.
    Hidden,
}

impl RowState {
    pub(super) const fn code(self) -> i64 {
        match self {
            Self::Shown => 0,
            Self::Deleted => 1,
            Self::Hidden => 2,
        }
    }

    pub(super) const fn from_code(code: i64) -> Self {
        match code {
            0 => Self::Shown,
            1 => Self::Deleted,
            _ => Self::Hidden,
        }
    }
}

/// A place in a history: the sender's time, and the number of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The sender's time.
    pub sent: UnixMillis,
    /// In the order of arrival.
    pub number: u64,
}

impl Place {
    /// Behind everything.
    pub const END: Self = Self { sent: UnixMillis(u64::MAX), number: u64::MAX >> 1 };
}

impl Transaction<'_> {
    /// Adds something, to be found by its words; false if it is there.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn add_to_history(&self, said: &Said) -> Result<bool, StoreError> {
        let content = said.content.clone().encode().map_err(|_| StoreError::Damaged("a message too long to keep"))?;
        let (target, state) = said.target();
        let inserted = self.execute(
            "INSERT INTO message (account, outgoing, id, device, sequence, sent, arrived, content, state, target, expires,
                                  read_s)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            params![
                said.account.to_bytes(),
                said.outgoing,
                said.content.id.as_bytes(),
                said.device,
                to_signed(said.content.sequence),
                orderly(said.content.sent).min(orderly(said.arrived)),
                to_signed(said.arrived.0),
                content,
                state.code(),
                target.map(|target| *target.as_bytes()),
                said.expires().map(orderly),
                said.seconds_after_reading()
            ],
        )?;
        if inserted == 1
            && let Some(text) = text_of(&said.content)
        {
            self.index_text(to_unsigned(self.connection().last_insert_rowid()), text)?;
        }
        Ok(inserted == 1)
    }

    /// The last `limit` things said with an account before a place, the oldest of them first. What disappeared is not among
    /// them, nor what is about another message.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn history(
        &self,
        account: &Address,
        before: Option<Place>,
        limit: usize,
    ) -> Result<Vec<(Place, Said)>, StoreError> {
        let before = before.unwrap_or(Place::END);
        let mut rows = self.rows(
            &format!(
                "SELECT {COLUMNS} FROM message WHERE account = ?1 AND (sent, number) < (?2, ?3) AND state < 2
                 ORDER BY sent DESC, number DESC LIMIT ?4"
            ),
            params![
                account.to_bytes(),
                orderly(before.sent),
                to_signed(before.number),
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
            RawSaid::read,
        )?;
        rows.reverse();
        rows.into_iter().map(RawSaid::decode).collect()
    }

    /// The messages of an id that are shown: one, or one of each side.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn said(&self, account: &Address, id: &MessageId) -> Result<Vec<(Place, Said)>, StoreError> {
        let rows = self.rows(
            "SELECT number, account, outgoing, device, arrived, content, sent FROM message
             WHERE account = ? AND id = ? AND state < 2",
            params![account.to_bytes(), id.as_bytes()],
            RawSaid::read,
        )?;
        rows.into_iter().map(RawSaid::decode).collect()
    }

    /// The place of the message of that number, if it was said with this account.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn place_of(&self, account: &Address, number: u64) -> Result<Option<Place>, StoreError> {
        let sql = "SELECT sent FROM message WHERE number = ? AND account = ?";
        let sent = self.query_row(sql, params![to_signed(number), account.to_bytes()], |row| row.get(0)).optional()?;
        Ok(sent.map(|sent| Place { sent: UnixMillis(to_unsigned(sent)), number }))
    }

    /// Of all that came from an account: the device that sent it, and the number which that gave it. What is between two
    /// of them has not come.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn numbers_of(&self, account: &Address) -> Result<BTreeSet<(u8, u64)>, StoreError> {
        self.numbers(account, 0)
    }

    /// Those of [`Transaction::numbers_of`] which are not shown.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn hidden_numbers_of(&self, account: &Address) -> Result<BTreeSet<(u8, u64)>, StoreError> {
        self.numbers(account, RowState::Hidden.code())
    }

    fn numbers(&self, account: &Address, least: i64) -> Result<BTreeSet<(u8, u64)>, StoreError> {
        let sql =
            "SELECT device, sequence FROM message WHERE account = ? AND outgoing = 0 AND sequence <> 0 AND state >= ?";
        let rows = self.rows(sql, params![account.to_bytes(), least], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.into_iter().map(|(device, sequence)| (device, to_unsigned(sequence))).collect())
    }
}

/// A sender's time as the column orders it. It is what the sender says: one beyond all time comes last, not first.
pub(super) fn orderly(sent: UnixMillis) -> i64 {
    i64::try_from(sent.0).unwrap_or(i64::MAX)
}

/// What [`RawSaid`] reads of table `message`.
pub(super) const COLUMNS: &str = "number, account, outgoing, device, arrived, content, sent";

/// A row as it lies in the database.
pub(super) struct RawSaid {
    number: i64,
    account: Vec<u8>,
    outgoing: bool,
    device: u8,
    arrived: i64,
    content: Vec<u8>,
    sent: i64,
}

impl RawSaid {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            account: row.get(1)?,
            outgoing: row.get(2)?,
            device: row.get(3)?,
            arrived: row.get(4)?,
            content: row.get(5)?,
            sent: row.get(6)?,
        })
    }

    pub(super) fn decode(self) -> Result<(Place, Said), StoreError> {
        let place = Place { sent: UnixMillis(to_unsigned(self.sent)), number: to_unsigned(self.number) };
        let said = Said {
            account: read_address(&self.account)?,
            outgoing: self.outgoing,
            device: self.device,
            arrived: UnixMillis(to_unsigned(self.arrived)),
            content: Content::decode(&self.content).map_err(damaged("a message of the history"))?,
        };
        Ok((place, said))
    }
}
