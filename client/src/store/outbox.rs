//! Messages to send, until there is evidence that they are kept.
//!
//! ```text
//! enqueue ──▶ Queued ──set_worked──▶ Working ──two receipts──▶ Stored
//!                │  ▲                 │    ▲
//!                │  └─ note_attempt   │    └─ set_worked again: more work asked for, or another seal
//!                └──────── set_failed ┴──▶ Failed
//!
//! from all but Failed, when its recipient says so:  ──▶ Delivered ──▶ Read
//! ```
//!
//! The recipient may acknowledge a message in any of these states that it came the online way; it is in none of them then.
//!
//! A crash anywhere leaves the message in one of these states, with everything that belongs to it. It is sent again
//! then, under the same message id, so that it is shown once however often it was stored.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sotto_proto::address::Address;
use sotto_proto::content::{Body, Content, MessageId};
use sotto_proto::envelope::{Record, Ttl};
use sotto_proto::id::RecordId;
use sotto_proto::request::{Message as _, Receipt};
use sotto_proto::sign::Signature;
use sotto_proto::time::UnixMillis;

use super::row::{damaged, read_address, to_signed, to_unsigned};
use super::{Store, StoreError, Transaction};
use crate::crypto::SessionTag;

/// Receipts at which a message counts as stored.
pub const STORED_RECEIPTS: usize = 2;
/// Bytes of the reason that is kept with a failed attempt.
const REASON_BYTES: usize = 256;

/// A message that somebody wants sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// To whom.
    pub recipient: Address,
    /// What.
    pub content: Content,
    /// How long swarms keep it.
    pub ttl: Ttl,
    /// Now.
    pub created: UnixMillis,
    /// What a session made of it; `None` for a plain message.
    pub encrypted: Option<Encrypted>,
}

impl NewMessage {
    /// A message before there is a session.
    #[must_use]
    pub const fn plain(recipient: Address, content: Content, ttl: Ttl, created: UnixMillis) -> Self {
        Self { recipient, content, ttl, created, encrypted: None }
    }
}

/// A message that a session has encrypted, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encrypted {
    /// By which.
    pub session: SessionTag,
    /// The ratchet's message.
    pub message: Vec<u8>,
}

/// How far a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboxState {
    /// Nothing is done yet.
    Queued,
    /// Sealed and worked; not yet known to be kept.
    Working,
    /// [`STORED_RECEIPTS`] nodes have signed that they keep it.
    Stored,
    /// Given up.
    Failed,
    /// Its recipient says that it came.
    Delivered,
    /// Its recipient says that it was read.
    Read,
}

impl OutboxState {
    /// Whether its recipient has said that it has it.
    #[must_use]
    pub const fn is_delivered(self) -> bool {
        matches!(self, Self::Delivered | Self::Read)
    }

    pub(super) const fn code(self) -> i64 {
        match self {
            Self::Queued => 0,
            Self::Working => 1,
            Self::Stored => 2,
            Self::Failed => 3,
            Self::Delivered => 4,
            Self::Read => 5,
        }
    }

    pub(super) const fn from_code(code: i64) -> Option<Self> {
        match code {
            0 => Some(Self::Queued),
            1 => Some(Self::Working),
            2 => Some(Self::Stored),
            3 => Some(Self::Failed),
            4 => Some(Self::Delivered),
            5 => Some(Self::Read),
            _ => None,
        }
    }
}

/// A node's word that it keeps a record. Verified before it gets here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredReceipt {
    /// What it says.
    pub receipt: Receipt,
    /// The node's signature of it.
    pub signature: Signature,
}

/// A message in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxMessage {
    /// By which both sides know it.
    pub id: MessageId,
    /// To whom.
    pub recipient: Address,
    /// What.
    pub content: Content,
    /// How long swarms keep it.
    pub ttl: Ttl,
    /// When it was enqueued.
    pub created: UnixMillis,
    /// How far it is.
    pub state: OutboxState,
    /// What is stored, once the work is done.
    pub record: Option<Record>,
    /// Who keeps it; at most one receipt a node, all of `record`.
    pub receipts: Vec<StoredReceipt>,
    /// Attempts that came to nothing.
    pub attempts: u32,
    /// Not before then the next.
    pub retry_at: UnixMillis,
    /// Why the last one failed.
    pub failure: Option<String>,
    /// What a session made of it; `None` for a plain message.
    pub encrypted: Option<Encrypted>,
}

impl Store {
    /// Takes in a message to send. Durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when a message of this id is there already.
    pub fn enqueue(&mut self, message: &NewMessage) -> Result<(), StoreError> {
        let transaction = self.transaction()?;
        transaction.enqueue(message)?;
        transaction.commit()
    }

    /// Messages that are still to be sent, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn pending(&self, limit: usize) -> Result<Vec<OutboxMessage>, StoreError> {
        let sql = format!("{SELECT} WHERE state < 2 ORDER BY number LIMIT ?");
        let connection = self.connection();
        let mut statement = connection.prepare_cached(&sql)?;
        let rows = statement.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], RawMessage::read)?;
        rows.map(|raw| raw?.decode(&connection)).collect()
    }

    /// The oldest message that waits and whose time to be tried has come.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn due(&self, now: UnixMillis) -> Result<Option<MessageId>, StoreError> {
        let sql = "SELECT message FROM outbox WHERE state < 2 AND retry_at <= ? ORDER BY number LIMIT 1";
        let id: Option<[u8; MessageId::LEN]> =
            self.connection().prepare_cached(sql)?.query_row([to_signed(now.0)], |row| row.get(0)).optional()?;
        Ok(id.map(MessageId::new))
    }

    /// One message, whatever its state.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn outbox_message(&self, id: &MessageId) -> Result<Option<OutboxMessage>, StoreError> {
        one_of(&self.connection(), id)
    }

    /// The work is done: from now on these bytes are stored. Receipts of an earlier record of the message go.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when no such message is waiting.
    pub fn set_worked(&mut self, id: &MessageId, record_id: &RecordId, record: &Record) -> Result<(), StoreError> {
        let transaction = self.transaction()?;
        worked(transaction.connection(), id, record_id, record)?;
        transaction.commit()
    }

    /// Adds receipts and says how many there are; [`STORED_RECEIPTS`] make the message stored. A second one of the
    /// same node, or one of another record, changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such message.
    pub fn add_receipts(&mut self, id: &MessageId, receipts: &[StoredReceipt]) -> Result<usize, StoreError> {
        let transaction = self.transaction()?;
        let count = received(transaction.connection(), id, receipts)?;
        transaction.commit()?;
        Ok(count)
    }

    /// An attempt came to nothing; the next is made at `retry_at`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when no such message is waiting.
    pub fn note_attempt(&mut self, id: &MessageId, retry_at: UnixMillis, reason: &str) -> Result<(), StoreError> {
        let changed = self.connection().execute(
            "UPDATE outbox SET attempts = attempts + 1, retry_at = ?, failure = ? WHERE message = ? AND state NOT IN (2, 3)",
            params![to_signed(retry_at.0), shortened(reason), id.as_bytes()],
        )?;
        one(changed)
    }

    /// No more attempts are made.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when no such message is waiting.
    pub fn set_failed(&mut self, id: &MessageId, reason: &str) -> Result<(), StoreError> {
        let changed = self.connection().execute(
            "UPDATE outbox SET state = iif(state < 2, ?, state), failure = ? WHERE message = ? AND state NOT IN (2, 3)",
            params![OutboxState::Failed.code(), shortened(reason), id.as_bytes()],
        )?;
        one(changed)
    }
}

impl Transaction<'_> {
    /// Takes in a message to send.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when a message of this id is there already.
    pub fn enqueue(&self, message: &NewMessage) -> Result<(), StoreError> {
        let content =
            message.content.clone().encode().map_err(|_| StoreError::Damaged("a message too long to send"))?;
        let inserted = self.execute(
            "INSERT INTO outbox (message, recipient, content, ttl_s, created, state, session, sealed, passing)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (message) DO NOTHING",
            params![
                message.content.id.as_bytes(),
                message.recipient.to_bytes(),
                content,
                message.ttl.seconds(),
                to_signed(message.created.0),
                OutboxState::Queued.code(),
                message.encrypted.as_ref().map(|encrypted| encrypted.session.as_bytes()),
                message.encrypted.as_ref().map(|encrypted| encrypted.message.as_slice()),
                is_passing(&message.content.body),
            ],
        )?;
        if inserted == 0 { Err(StoreError::Exists("a message")) } else { Ok(()) }
    }

    /// One message, whatever its state.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn outbox_message(&self, id: &MessageId) -> Result<Option<OutboxMessage>, StoreError> {
        one_of(self.connection(), id)
    }

    /// Another session has encrypted it: it begins anew, whatever had become of it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such message.
    pub fn encrypt_again(&self, id: &MessageId, encrypted: &Encrypted) -> Result<(), StoreError> {
        let changed = self.execute(
            "UPDATE outbox SET session = ?, sealed = ?, state = ?, record_id = NULL, record = NULL, retry_at = 0
             WHERE message = ?",
            params![encrypted.session.as_bytes(), encrypted.message, OutboxState::Queued.code(), id.as_bytes()],
        )?;
        one(changed)?;
        self.execute("DELETE FROM receipt WHERE message = ?", [id.as_bytes()])?;
        Ok(())
    }

    /// The last `limit` messages to an account that a session has encrypted since then and that were not given up, the
    /// oldest of them first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn encrypted_since(
        &self,
        account: &Address,
        since: UnixMillis,
        limit: usize,
    ) -> Result<Vec<MessageId>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = self.rows(
            "SELECT message FROM outbox WHERE recipient = ? AND session IS NOT NULL AND created >= ? AND state < 3
             ORDER BY number DESC LIMIT ?",
            params![account.to_bytes(), to_signed(since.0), limit],
            |row| Ok(MessageId::new(row.get(0)?)),
        )?;
        rows.reverse();
        Ok(rows)
    }
}

/// Whether it is worth something for a while only.
const fn is_passing(body: &Body) -> bool {
    matches!(body, Body::Receipt(_) | Body::Typing(_) | Body::Acknowledge(_) | Body::Listening(_))
}

fn one_of(connection: &Connection, id: &MessageId) -> Result<Option<OutboxMessage>, StoreError> {
    let sql = format!("{SELECT} WHERE message = ?");
    let raw = connection.prepare_cached(&sql)?.query_row([id.as_bytes()], RawMessage::read).optional()?;
    raw.map(|raw| raw.decode(connection)).transpose()
}

/// The part of [`Store::set_worked`] inside its transaction.
pub(super) fn worked(
    transaction: &Connection,
    id: &MessageId,
    record_id: &RecordId,
    record: &Record,
) -> Result<(), StoreError> {
    let changed = transaction.execute(
        "UPDATE outbox SET state = iif(state < 2, ?, state), record_id = ?, record = ?
         WHERE message = ? AND state NOT IN (2, 3)",
        params![OutboxState::Working.code(), record_id.as_bytes(), record.encode(), id.as_bytes()],
    )?;
    one(changed)?;
    transaction.execute("DELETE FROM receipt WHERE message = ?", [id.as_bytes()])?;
    Ok(())
}

/// The part of [`Store::add_receipts`] inside its transaction.
pub(super) fn received(
    transaction: &Connection,
    id: &MessageId,
    receipts: &[StoredReceipt],
) -> Result<usize, StoreError> {
    let record: Option<Option<[u8; 32]>> = transaction
        .query_row("SELECT record_id FROM outbox WHERE message = ?", [id.as_bytes()], |row| row.get(0))
        .optional()?;
    let record = record.ok_or(StoreError::NotFound("message"))?;
    for receipt in receipts.iter().filter(|receipt| record == Some(*receipt.receipt.id.as_bytes())) {
        transaction.execute(
            "INSERT INTO receipt (message, node, receipt, signature) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            params![
                id.as_bytes(),
                receipt.receipt.node.as_bytes(),
                receipt.receipt.to_bytes(),
                receipt.signature.as_bytes()
            ],
        )?;
    }
    let count: i64 =
        transaction.query_row("SELECT count(*) FROM receipt WHERE message = ?", [id.as_bytes()], |row| row.get(0))?;
    let count = usize::try_from(count).unwrap_or(0);
    if count >= STORED_RECEIPTS {
        transaction.execute(
            "UPDATE outbox SET state = iif(state < 4, ?, state), failure = NULL WHERE message = ?",
            params![OutboxState::Stored.code(), id.as_bytes()],
        )?;
    }
    Ok(count)
}

const fn one(changed: usize) -> Result<(), StoreError> {
    if changed == 0 { Err(StoreError::NotFound("message that waits to be sent")) } else { Ok(()) }
}

/// The beginning of `reason` that is kept.
fn shortened(reason: &str) -> &str {
    let end = (0..=reason.len().min(REASON_BYTES)).rev().find(|&end| reason.is_char_boundary(end)).unwrap_or(0);
    &reason[..end]
}

const SELECT: &str = "SELECT message, recipient, content, ttl_s, created, state, record, attempts, retry_at, failure,
                             session, sealed
                      FROM outbox";

/// A row as it lies in the database.
struct RawMessage {
    id: [u8; 16],
    recipient: Vec<u8>,
    content: Vec<u8>,
    ttl: u32,
    created: i64,
    state: i64,
    record: Option<Vec<u8>>,
    attempts: u32,
    retry_at: i64,
    failure: Option<String>,
    session: Option<[u8; 16]>,
    sealed: Option<Vec<u8>>,
}

impl RawMessage {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            recipient: row.get(1)?,
            content: row.get(2)?,
            ttl: row.get(3)?,
            created: row.get(4)?,
            state: row.get(5)?,
            record: row.get(6)?,
            attempts: row.get(7)?,
            retry_at: row.get(8)?,
            failure: row.get(9)?,
            session: row.get(10)?,
            sealed: row.get(11)?,
        })
    }

    fn decode(self, connection: &Connection) -> Result<OutboxMessage, StoreError> {
        let id = MessageId::new(self.id);
        let record = self.record.map(|bytes| Record::decode(&bytes).map_err(damaged("a record of the outbox")));
        Ok(OutboxMessage {
            id,
            recipient: read_address(&self.recipient)?,
            content: Content::decode(&self.content).map_err(damaged("a message of the outbox"))?,
            ttl: Ttl::new(self.ttl).ok_or(StoreError::Damaged("a time of the outbox"))?,
            created: UnixMillis(to_unsigned(self.created)),
            state: OutboxState::from_code(self.state).ok_or(StoreError::Damaged("a state of the outbox"))?,
            record: record.transpose()?,
            receipts: receipts(connection, &id)?,
            attempts: self.attempts,
            retry_at: UnixMillis(to_unsigned(self.retry_at)),
            failure: self.failure,
            encrypted: self
                .session
                .zip(self.sealed)
                .map(|(session, message)| Encrypted { session: SessionTag::new(session), message }),
        })
    }
}

fn receipts(connection: &Connection, id: &MessageId) -> Result<Vec<StoredReceipt>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT receipt, signature FROM receipt WHERE message = ? ORDER BY node")?;
    let rows =
        statement.query_map([id.as_bytes()], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, [u8; 64]>(1)?)))?;
    rows.map(|row| {
        let (receipt, signature) = row?;
        let receipt = Receipt::decode(&receipt).map_err(damaged("a receipt"))?;
        Ok(StoredReceipt { receipt, signature: Signature::new(signature) })
    })
    .collect()
}
