//! Messages that came, each once.
//!
//! A record is taken in together with the cursor behind it, in one transaction: after a crash either both are there, or
//! the record is fetched again. A record that was looked at is not opened a second time, wherever it comes from (other
//! members of the swarm, another database of the same member); and the same message under another record, which a
//! sender makes when it has to seal or work again, is known by its sender and id; that of a later version by its body. Showing is separate: what was
//! taken in waits in [`Store::unshown`] until [`Store::mark_shown`].

use rusqlite::{OptionalExtension as _, Row, params};
use sha2::{Digest as _, Sha256};
use sotto_proto::address::Address;
use sotto_proto::content::Content;
use sotto_proto::id::{NodeId, RecordId};
use sotto_proto::request::{Cursor, Message as _};
use sotto_proto::time::{UnixMillis, UnixSeconds};

use super::row::{damaged, read_address, to_signed, to_unsigned};
use super::{Store, StoreError, Transaction};
use crate::crypto::{KIND_PLAIN, SessionTag};

/// How long a record that expired is still remembered: clocks of clients may be off by so much.
const SEEN_AFTER_EXPIRY_SECONDS: u64 = 3600;

/// A message's number in the inbox: in the order in which they came, from 1. Also the cursor of a reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboxNumber(pub u64);

/// What a record turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Letter {
    /// A message of a known sender.
    Message {
        /// Who proved to be the sender.
        sender: Address,
        /// Which of its devices.
        device: u8,
        /// By which session it came; `None` for a plain message.
        session: Option<SessionTag>,
        /// What it says.
        content: Content,
    },
    /// Sealed by a later version in a way this one does not know.
    Newer {
        /// The kind of content.
        kind: u8,
        /// The content, for that later version.
        body: Vec<u8>,
    },
}

/// A record that was fetched and looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Which.
    pub record: RecordId,
    /// When it can no longer be fetched.
    pub expiry: UnixSeconds,
    /// What it holds; `None` for what is not to be shown: cover, and what does not open.
    pub letter: Option<Letter>,
}

/// What one answer of one node brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The address that was read.
    pub address: Address,
    /// The node that was asked.
    pub node: NodeId,
    /// How far it has now been read there; `None` leaves the cursor as it is.
    pub cursor: Option<Cursor>,
    /// Now.
    pub received: UnixMillis,
    /// The records, in the node's order.
    pub arrivals: Vec<Arrival>,
}

/// A message in the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxMessage {
    /// Its number.
    pub number: InboxNumber,
    /// The record that brought it.
    pub record: RecordId,
    /// When it came.
    pub received: UnixMillis,
    /// Whether it has been shown.
    pub shown: bool,
    /// The message.
    pub letter: Letter,
}

impl Store {
    /// Takes in a page and its cursor, all or nothing, and returns the messages that are new.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails; nothing has changed then.
    pub fn take_in(&mut self, page: &Page) -> Result<Vec<InboxMessage>, StoreError> {
        let transaction = self.transaction()?;
        let fresh = take_in(&transaction, page)?;
        transaction.commit()?;
        Ok(fresh)
    }

    /// Messages that have not been shown, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn unshown(&self, limit: usize) -> Result<Vec<InboxMessage>, StoreError> {
        self.inbox("WHERE shown = 0 AND number > ? ORDER BY number LIMIT ?", InboxNumber(0), limit)
    }

    /// Messages after a number, shown or not, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn inbox_after(&self, after: InboxNumber, limit: usize) -> Result<Vec<InboxMessage>, StoreError> {
        self.inbox("WHERE number > ? ORDER BY number LIMIT ?", after, limit)
    }

    /// The number of the message that came last; zero if none has.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn newest(&self) -> Result<InboxNumber, StoreError> {
        let newest: i64 =
            self.connection().query_row("SELECT coalesce(max(number), 0) FROM inbox", [], |row| row.get(0))?;
        Ok(InboxNumber(to_unsigned(newest)))
    }

    /// Marks everything up to a number as shown, and says how many were not.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails; none is marked then.
    pub fn mark_shown_through(&mut self, number: InboxNumber) -> Result<usize, StoreError> {
        let sql = "UPDATE inbox SET shown = 1 WHERE shown = 0 AND number <= ?";
        Ok(self.connection().execute(sql, [to_signed(number.0)])?)
    }

    /// Marks messages as shown.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails; none is marked then.
    pub fn mark_shown(&mut self, numbers: &[InboxNumber]) -> Result<(), StoreError> {
        let transaction = self.transaction()?;
        for number in numbers {
            transaction.execute("UPDATE inbox SET shown = 1 WHERE number = ?", [to_signed(number.0)])?;
        }
        transaction.commit()
    }

    /// Marks a message as shown, and has `show` show it before that is final: if the disk takes no more, that is noticed
    /// before anything is shown; if showing fails, the message is not marked.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails, and that of `show`.
    pub fn show<E: From<StoreError>>(
        &mut self,
        number: InboxNumber,
        show: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let transaction = self.transaction()?;
        let sql = "UPDATE inbox SET shown = 1 WHERE number = ?";
        transaction.execute(sql, [to_signed(number.0)])?;
        // The pages go to the log now; of the commit, a last one is left to write.
        transaction.connection().cache_flush().map_err(StoreError::from)?;
        show()?;
        Ok(transaction.commit()?)
    }

    /// Forgets records that expired long enough ago to never come back, and says how many.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn forget_seen(&mut self, now: UnixSeconds) -> Result<usize, StoreError> {
        let before = to_signed(now.0.saturating_sub(SEEN_AFTER_EXPIRY_SECONDS));
        Ok(self.connection().execute("DELETE FROM seen WHERE expiry_s < ?", [before])?)
    }

    /// How far `node` has been read at `address`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn cursor(&self, address: &Address, node: &NodeId) -> Result<Option<Cursor>, StoreError> {
        let sql = "SELECT epoch, seq FROM cursor WHERE address = ? AND node = ?";
        let key = params![address.to_bytes(), node.as_bytes()];
        Ok(self.connection().query_row(sql, key, |row| read_cursor(row, 0)).optional()?)
    }

    /// How far each node has been read at `address`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn cursors(&self, address: &Address) -> Result<Vec<(NodeId, Cursor)>, StoreError> {
        let sql = "SELECT node, epoch, seq FROM cursor WHERE address = ? ORDER BY node";
        let connection = self.connection();
        let mut statement = connection.prepare_cached(sql)?;
        let rows =
            statement.query_map([address.to_bytes()], |row| Ok((NodeId::new(row.get(0)?), read_cursor(row, 1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Reads `node` from the beginning the next time: its database is another one.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn drop_cursor(&mut self, address: &Address, node: &NodeId) -> Result<(), StoreError> {
        let key = params![address.to_bytes(), node.as_bytes()];
        self.connection().execute("DELETE FROM cursor WHERE address = ? AND node = ?", key)?;
        Ok(())
    }

    fn inbox(&self, condition: &str, after: InboxNumber, limit: usize) -> Result<Vec<InboxMessage>, StoreError> {
        let sql = format!(
            "SELECT number, record, received, shown, kind, sender, body, session, device FROM inbox {condition}"
        );
        let connection = self.connection();
        let mut statement = connection.prepare_cached(&sql)?;
        let parameters = [to_signed(after.0), i64::try_from(limit).unwrap_or(i64::MAX)];
        let rows = statement.query_map(parameters, RawMessage::read)?;
        rows.map(|raw| raw?.decode()).collect()
    }
}

impl Transaction<'_> {
    /// Whether a record was taken in before, so that it need not be opened again.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn has_seen(&self, record: &RecordId) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM seen WHERE record = ?1)
                       OR EXISTS (SELECT 1 FROM inbox WHERE record = ?1)";
        Ok(self.query_row(sql, [record.as_bytes()], |row| row.get(0))?)
    }

    /// Takes in a record that was looked at; the message, if it is a new one.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn take(&self, arrival: Arrival, received: UnixMillis) -> Result<Option<InboxMessage>, StoreError> {
        if !remember(self, &arrival)? {
            return Ok(None);
        }
        let Some(letter) = arrival.letter else { return Ok(None) };
        let number = insert(self, &arrival.record, &letter, received)?;
        Ok(number.map(|number| InboxMessage { number, record: arrival.record, received, shown: false, letter }))
    }

    /// How far `node` has been read at `address`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_cursor(&self, address: &Address, node: &NodeId, cursor: Cursor) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO cursor (address, node, epoch, seq) VALUES (?, ?, ?, ?)
             ON CONFLICT (address, node) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq",
            params![address.to_bytes(), node.as_bytes(), to_signed(cursor.epoch), to_signed(cursor.seq)],
        )?;
        Ok(())
    }
}

/// The part of [`Store::take_in`] inside its transaction.
pub(super) fn take_in(transaction: &Transaction<'_>, page: &Page) -> Result<Vec<InboxMessage>, StoreError> {
    let mut fresh = Vec::new();
    for arrival in &page.arrivals {
        fresh.extend(transaction.take(arrival.clone(), page.received)?);
    }
    if let Some(cursor) = page.cursor {
        transaction.set_cursor(&page.address, &page.node, cursor)?;
    }
    Ok(fresh)
}

/// Notes that a record was looked at; false if that is not the first time.
fn remember(transaction: &Transaction<'_>, arrival: &Arrival) -> Result<bool, StoreError> {
    // A stranger may have written any time into the envelope.
    let expiry = i64::try_from(arrival.expiry.0).unwrap_or(i64::MAX);
    let inserted = transaction.execute(
        "INSERT INTO seen (record, expiry_s) VALUES (?, ?) ON CONFLICT DO NOTHING",
        params![arrival.record.as_bytes(), expiry],
    )?;
    Ok(inserted == 1)
}

/// Writes a message into the inbox; `None` if it is there already, from this record or from another.
fn insert(
    transaction: &Transaction<'_>,
    record: &RecordId,
    letter: &Letter,
    received: UnixMillis,
) -> Result<Option<InboxNumber>, StoreError> {
    let (mut device, mut session) = (0, None);
    let (kind, sender, message, body) = match letter {
        Letter::Message { sender, content, device: from, session: by } => {
            (device, session) = (*from, by.map(|tag| *tag.as_bytes()));
            let body = content.clone().encode().map_err(|_| StoreError::Damaged("a message too long to keep"))?;
            (KIND_PLAIN, Some(sender.to_bytes()), Some(content.id.as_bytes().to_vec()), body)
        }
        Letter::Newer { kind, body } => {
            // Nobody but the sender could make another body; the same one under another record is no other message.
            let name: [u8; 32] = Sha256::digest([&[*kind][..], body].concat()).into();
            let sql = "SELECT EXISTS (SELECT 1 FROM inbox WHERE sender IS NULL AND message = ?)";
            if transaction.query_row(sql, [name], |row| row.get(0))? {
                return Ok(None);
            }
            (*kind, None, Some(name.to_vec()), body.clone())
        }
    };
    let inserted = transaction.execute(
        "INSERT INTO inbox (record, sender, message, received, kind, body, session, device)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        params![record.as_bytes(), sender, message, to_signed(received.0), kind, body, session, device],
    )?;
    Ok((inserted == 1).then(|| InboxNumber(to_unsigned(transaction.connection().last_insert_rowid()))))
}

fn read_cursor(row: &Row<'_>, first: usize) -> rusqlite::Result<Cursor> {
    Ok(Cursor { epoch: to_unsigned(row.get(first)?), seq: to_unsigned(row.get(first + 1)?) })
}

/// A row as it lies in the database.
struct RawMessage {
    number: i64,
    record: [u8; 32],
    received: i64,
    shown: bool,
    kind: u8,
    sender: Option<Vec<u8>>,
    body: Vec<u8>,
    session: Option<[u8; 16]>,
    device: u8,
}

impl RawMessage {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            record: row.get(1)?,
            received: row.get(2)?,
            shown: row.get(3)?,
            kind: row.get(4)?,
            sender: row.get(5)?,
            body: row.get(6)?,
            session: row.get(7)?,
            device: row.get(8)?,
        })
    }

    fn decode(self) -> Result<InboxMessage, StoreError> {
        let letter = match self.sender {
            Some(sender) => Letter::Message {
                sender: read_address(&sender)?,
                device: self.device,
                session: self.session.map(SessionTag::new),
                content: Content::decode(&self.body).map_err(damaged("a message of the inbox"))?,
            },
            None => Letter::Newer { kind: self.kind, body: self.body },
        };
        Ok(InboxMessage {
            number: InboxNumber(to_unsigned(self.number)),
            record: RecordId::new(self.record),
            received: UnixMillis(to_unsigned(self.received)),
            shown: self.shown,
            letter,
        })
    }
}
