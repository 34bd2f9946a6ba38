//! Wishes to talk, in either direction.

use std::fmt;

use rusqlite::{OptionalExtension as _, Row, params};
use sotto_proto::address::Address;
use sotto_proto::content::MessageId;
use sotto_proto::time::{UnixMillis, UnixSeconds};

use super::row::{read_address, to_signed, to_unsigned};
use super::{StoreError, Transaction};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestState {
    /// Nothing yet.
    Waiting,
    /// It was accepted.
    Accepted,
    /// It was declined, which the other side is not told.
    Declined,
}

impl RequestState {
    const fn code(self) -> i64 {
        match self {
            Self::Waiting => 0,
            Self::Accepted => 1,
            Self::Declined => 2,
        }
    }

    const fn from_code(code: i64) -> Option<Self> {
        match code {
            0 => Some(Self::Waiting),
            1 => Some(Self::Accepted),
            2 => Some(Self::Declined),
            _ => None,
        }
    }
}

/// A request. `Debug` shows no word of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Its id, which is the message's.
    pub id: MessageId,
    /// The other side.
    pub account: Address,
    /// Whether it was sent from here.
    pub outgoing: bool,
    /// What the sender calls itself.
    pub name: String,
    /// A few words.
    pub introduction: String,
    /// Whether it asks to begin anew.
    pub renewal: bool,
    /// The signed bundles that came with it, one behind the other.
    pub bundles: Vec<u8>,
    /// What became of it.
    pub state: RequestState,
    /// When it was sent, or came.
    pub created: UnixMillis,
    /// Until when it may be accepted.
    pub expires: UnixSeconds,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.outgoing { "to" } else { "from" };
        write!(f, "Request({:?}, {direction} {:?}, {:?})", self.id, self.account, self.state)
    }
}

const SELECT: &str = "SELECT id, account, outgoing, name, introduction, renewal, bundles, state, created, expires_s
                      FROM request";

impl Transaction<'_> {
    /// A request.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn request(&self, id: &MessageId) -> Result<Option<Request>, StoreError> {
        let sql = format!("{SELECT} WHERE id = ?");
        self.query_row(&sql, [id.as_bytes()], RawRequest::read).optional()?.map(RawRequest::decode).transpose()
    }

    /// All requests, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn requests(&self) -> Result<Vec<Request>, StoreError> {
        let sql = format!("{SELECT} ORDER BY created, id");
        self.rows(&sql, [], RawRequest::read)?.into_iter().map(RawRequest::decode).collect()
    }

    /// Those from or to an account, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn requests_of(&self, account: &Address, outgoing: bool) -> Result<Vec<Request>, StoreError> {
        let sql = format!("{SELECT} WHERE account = ? AND outgoing = ? ORDER BY created DESC, id");
        let rows = self.rows(&sql, params![account.to_bytes(), outgoing], RawRequest::read)?;
        rows.into_iter().map(RawRequest::decode).collect()
    }

    /// How many requests that came since then were accepted.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn accepted_since(&self, time: UnixMillis) -> Result<u32, StoreError> {
        let sql = "SELECT count(*) FROM request WHERE outgoing = 0 AND state = ? AND created >= ?";
        Ok(self.query_row(sql, params![RequestState::Accepted.code(), to_signed(time.0)], |row| row.get(0))?)
    }

    /// How many that came wait for an answer.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn waiting_requests(&self) -> Result<usize, StoreError> {
        let sql = "SELECT count(*) FROM request WHERE outgoing = 0 AND state = ?";
        let count: i64 = self.query_row(sql, [RequestState::Waiting.code()], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Adds a request; false if one of this id is there.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn add_request(&self, request: &Request) -> Result<bool, StoreError> {
        let inserted = self.execute(
            "INSERT INTO request (id, account, outgoing, name, introduction, renewal, bundles, state, created, expires_s)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            params![
                request.id.as_bytes(),
                request.account.to_bytes(),
                request.outgoing,
                request.name,
                request.introduction,
                request.renewal,
                request.bundles,
                request.state.code(),
                to_signed(request.created.0),
                to_signed(request.expires.0)
            ],
        )?;
        Ok(inserted == 1)
    }

    /// Something became of a request.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_request_state(&self, id: &MessageId, state: RequestState) -> Result<(), StoreError> {
        self.execute("UPDATE request SET state = ? WHERE id = ?", params![state.code(), id.as_bytes()])?;
        Ok(())
    }

    /// Forgets those that expired before then.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn forget_requests(&self, before: UnixSeconds) -> Result<(), StoreError> {
        self.execute("DELETE FROM request WHERE expires_s < ?", [to_signed(before.0)])?;
        Ok(())
    }
}

/// A row as it lies in the database.
struct RawRequest {
    id: [u8; 16],
    account: Vec<u8>,
    outgoing: bool,
    name: String,
    introduction: String,
    renewal: bool,
    bundles: Vec<u8>,
    state: i64,
    created: i64,
    expires: i64,
}

impl RawRequest {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            account: row.get(1)?,
            outgoing: row.get(2)?,
            name: row.get(3)?,
            introduction: row.get(4)?,
            renewal: row.get(5)?,
            bundles: row.get(6)?,
            state: row.get(7)?,
            created: row.get(8)?,
            expires: row.get(9)?,
        })
    }

    fn decode(self) -> Result<Request, StoreError> {
        Ok(Request {
            id: MessageId::new(self.id),
            account: read_address(&self.account)?,
            outgoing: self.outgoing,
            name: self.name,
            introduction: self.introduction,
            renewal: self.renewal,
            bundles: self.bundles,
            state: RequestState::from_code(self.state).ok_or(StoreError::Damaged("a request"))?,
            created: UnixMillis(to_unsigned(self.created)),
            expires: UnixSeconds(to_unsigned(self.expires)),
        })
    }
}
