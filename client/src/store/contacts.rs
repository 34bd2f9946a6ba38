//! Those who are written to, or blocked.

use rusqlite::{OptionalExtension as _, Row, params};
use sotto_proto::address::Address;
use sotto_proto::time::UnixMillis;

use super::row::{read_address, to_signed, to_unsigned};
use super::{StoreError, Transaction};

/// How things stand with somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactState {
    /// A request was sent.
    Requested,
    /// It was accepted, or theirs was.
    Accepted,
    /// Nothing of it is shown or kept.
    Blocked,
}

impl ContactState {
    pub(super) const fn code(self) -> i64 {
        match self {
            Self::Requested => 0,
            Self::Accepted => 1,
            Self::Blocked => 2,
        }
    }

    const fn from_code(code: i64) -> Option<Self> {
        match code {
            0 => Some(Self::Requested),
            1 => Some(Self::Accepted),
            2 => Some(Self::Blocked),
            _ => None,
        }
    }
}

/// By what it is known that nobody stands between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifiedBy {
    /// The safety number was compared.
    Number,
    /// Both have the same answer to a question.
    Question,
}

/// Somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Who.
    pub account: Address,
    /// What it is called here; no two contacts are called the same, in whatever case.
    pub name: String,
    /// What it calls itself.
    pub said_name: Option<String>,
    /// How things stand.
    pub state: ContactState,
    /// Since when it is known.
    pub created: UnixMillis,
}

const SELECT: &str = "SELECT account, name, said_name, state, created FROM contact";

impl Transaction<'_> {
    /// A contact.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn contact(&self, account: &Address) -> Result<Option<Contact>, StoreError> {
        let sql = format!("{SELECT} WHERE account = ?");
        self.query_row(&sql, [account.to_bytes()], RawContact::read).optional()?.map(RawContact::decode).transpose()
    }

    /// The contact that is called so, in whatever case.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn contact_named(&self, name: &str) -> Result<Option<Contact>, StoreError> {
        let sql = format!("{SELECT} WHERE name = ?");
        self.query_row(&sql, [name], RawContact::read).optional()?.map(RawContact::decode).transpose()
    }

    /// All contacts, by their names.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn contacts(&self) -> Result<Vec<Contact>, StoreError> {
        let sql = format!("{SELECT} ORDER BY name");
        self.rows(&sql, [], RawContact::read)?.into_iter().map(RawContact::decode).collect()
    }

    /// Adds a contact, or changes one.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when another one is called so.
    pub fn put_contact(&self, contact: &Contact) -> Result<(), StoreError> {
        if self.contact_named(&contact.name)?.is_some_and(|other| other.account != contact.account) {
            return Err(StoreError::Exists("a contact of that name"));
        }
        self.execute(
            "INSERT INTO contact (account, name, said_name, state, created) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (account) DO UPDATE
             SET name = excluded.name, said_name = excluded.said_name, state = excluded.state",
            params![
                contact.account.to_bytes(),
                contact.name,
                contact.said_name,
                contact.state.code(),
                to_signed(contact.created.0)
            ],
        )?;
        Ok(())
    }

    /// Accepted contacts without any session.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn without_session(&self) -> Result<Vec<Address>, StoreError> {
        let rows = self.rows(
            "SELECT account FROM contact
             WHERE state = ? AND NOT EXISTS (SELECT 1 FROM session WHERE session.account = contact.account)",
            [ContactState::Accepted.code()],
            |row| row.get::<_, Vec<u8>>(0),
        )?;
        rows.iter().map(|account| read_address(account)).collect()
    }

    /// Takes a contact off the list. What was said, and by which sessions, stays.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn drop_contact(&self, account: &Address) -> Result<(), StoreError> {
        self.execute("DELETE FROM contact WHERE account = ?", [account.to_bytes()])?;
        Ok(())
    }

    /// Forgets some of what was said with somebody, the oldest first; how much there was of it. Taking a word out of the
    /// index takes a millisecond, so whoever forgets a long conversation does it bit by bit, and holds up nobody.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn forget_some(&self, account: &Address, limit: usize) -> Result<usize, StoreError> {
        let sql = "DELETE FROM message WHERE number IN
                   (SELECT number FROM message WHERE account = ? ORDER BY number LIMIT ?)";
        self.execute(sql, params![account.to_bytes(), i64::try_from(limit).unwrap_or(i64::MAX)])
    }

    /// Forgets a contact: its requests, its sessions, what was said, what was begun, what
    /// waits to be sent, the keys it was given.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn remove_contact(&self, account: &Address) -> Result<(), StoreError> {
        let account = account.to_bytes();
        for sql in [
            "DELETE FROM contact WHERE account = ?",
            "DELETE FROM request WHERE account = ?",
            "DELETE FROM session WHERE account = ?",
            "DELETE FROM message WHERE account = ?",
            "DELETE FROM draft WHERE account = ?",
            "DELETE FROM renewal WHERE account = ?",
            "DELETE FROM owed_receipt WHERE account = ?",
            "DELETE FROM question WHERE account = ?",
            "DELETE FROM outbox WHERE recipient = ?",
            "DELETE FROM place WHERE account = ?",
            "DELETE FROM own_place WHERE account = ?",
            "DELETE FROM inbox WHERE sender = ?",
            "DELETE FROM used_slot WHERE epoch IN (SELECT epoch FROM bundle WHERE recipient = ?)",
            "DELETE FROM bundle WHERE recipient = ?",
        ] {
            self.execute(sql, [account])?;
        }
        Ok(())
    }

    /// Since when a contact's safety number is known to be right, if it was compared.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn verified(&self, account: &Address) -> Result<Option<UnixMillis>, StoreError> {
        let sql = "SELECT verified FROM contact WHERE account = ?";
        let at: Option<Option<i64>> = self.query_row(sql, [account.to_bytes()], |row| row.get(0)).optional()?;
        Ok(at.flatten().map(|at| UnixMillis(to_unsigned(at))))
    }

    /// Its safety number was compared, and right.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it is no contact.
    pub fn set_verified(&self, account: &Address, at: UnixMillis) -> Result<(), StoreError> {
        self.set_verified_by(account, at, VerifiedBy::Number)
    }

    /// It is known to be whom its user takes it for.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it is no contact.
    pub fn set_verified_by(&self, account: &Address, at: UnixMillis, by: VerifiedBy) -> Result<(), StoreError> {
        let sql = "UPDATE contact SET verified = ?, verified_by = ? WHERE account = ?";
        match self.execute(sql, params![to_signed(at.0), by == VerifiedBy::Question, account.to_bytes()])? {
            0 => Err(StoreError::NotFound("contact")),
            _ => Ok(()),
        }
    }

    /// By what it is known, if it is.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn verified_by(&self, account: &Address) -> Result<Option<VerifiedBy>, StoreError> {
        let sql = "SELECT verified_by FROM contact WHERE account = ? AND verified IS NOT NULL";
        let by: Option<bool> = self.query_row(sql, [account.to_bytes()], |row| row.get(0)).optional()?;
        Ok(by.map(|is_question| if is_question { VerifiedBy::Question } else { VerifiedBy::Number }))
    }

    /// The next number of what is said to a contact: 1, 2, …
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it is no contact.
    pub fn next_sequence(&self, account: &Address) -> Result<u64, StoreError> {
        let sql = "UPDATE contact SET sequence = sequence + 1 WHERE account = ? RETURNING sequence";
        let next = self.query_row(sql, [account.to_bytes()], |row| row.get(0)).optional()?;
        next.map(to_unsigned).ok_or(StoreError::NotFound("contact"))
    }
}

/// A row as it lies in the database.
struct RawContact {
    account: Vec<u8>,
    name: String,
    said_name: Option<String>,
    state: i64,
    created: i64,
}

impl RawContact {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            account: row.get(0)?,
            name: row.get(1)?,
            said_name: row.get(2)?,
            state: row.get(3)?,
            created: row.get(4)?,
        })
    }

    fn decode(self) -> Result<Contact, StoreError> {
        Ok(Contact {
            account: read_address(&self.account)?,
            name: self.name,
            said_name: self.said_name,
            state: ContactState::from_code(self.state).ok_or(StoreError::Damaged("a contact"))?,
            created: UnixMillis(to_unsigned(self.created)),
        })
    }
}
