//! Verifications by question and answer. Answers are never here: only what the next step is computed from, which goes with
//! the step.

use rusqlite::{OptionalExtension as _, Row, params};
use sotto_proto::address::Address;
use sotto_proto::content::{QuestionText, RunId, Share};
use sotto_proto::time::UnixMillis;
use zeroize::Zeroizing;

use super::row::{damaged, read_address, to_signed, to_unsigned};
use super::{StoreError, Transaction};
use crate::crypto::{Attempts, SessionTag};

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Somebody has to answer.
    Asked,
    /// It was answered from here, and is not confirmed yet.
    Answered,
    /// Both have the same answer.
    Same,
    /// They have not.
    Different,
    /// It ended without an answer.
    Ended,
}

impl RunState {
    const fn code(self) -> i64 {
        match self {
            Self::Asked => 0,
            Self::Answered => 1,
            Self::Same => 2,
            Self::Different => 3,
            Self::Ended => 4,
        }
    }

    const fn from_code(code: i64) -> Option<Self> {
        match code {
            0 => Some(Self::Asked),
            1 => Some(Self::Answered),
            2 => Some(Self::Same),
            3 => Some(Self::Different),
            4 => Some(Self::Ended),
            _ => None,
        }
    }
}

/// A run. `Debug` shows nothing of what it is computed from.
#[derive(Clone)]
pub struct QuestionRun {
    /// With whom.
    pub account: Address,
    /// Which.
    pub run: RunId,
    /// Whether it was asked from here.
    pub asked: bool,
    /// The session that it is bound to.
    pub session: SessionTag,
    /// What is asked.
    pub question: QuestionText,
    /// The other side's share, if it asked.
    pub share: Option<Share>,
    /// What the next step here is computed from.
    pub secret: Option<Zeroizing<Vec<u8>>>,
    /// How far it is.
    pub state: RunState,
    /// When it began here.
    pub created: UnixMillis,
}

impl std::fmt::Debug for QuestionRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QuestionRun({:?}, {:?})", self.run, self.state)
    }
}

const SELECT: &str = "SELECT account, run, asked, session, text, share, secret, state, created FROM question";

impl Transaction<'_> {
    /// Adds a run; false if there is one of its id.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn add_question(&self, run: &QuestionRun) -> Result<bool, StoreError> {
        let added = self.execute(
            "INSERT INTO question (account, run, asked, session, text, share, secret, state, created)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            params![
                run.account.to_bytes(),
                run.run.as_bytes(),
                run.asked,
                run.session.as_bytes(),
                run.question.as_str(),
                run.share.as_ref().map(Share::as_bytes),
                run.secret.as_ref().map(|secret| secret.as_slice()),
                run.state.code(),
                to_signed(run.created.0)
            ],
        )?;
        Ok(added == 1)
    }

    /// A run that was asked from here, or from there.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn question(&self, account: &Address, run: &RunId, asked: bool) -> Result<Option<QuestionRun>, StoreError> {
        let sql = format!("{SELECT} WHERE account = ? AND run = ? AND asked = ?");
        let key = params![account.to_bytes(), run.as_bytes(), asked];
        self.query_row(&sql, key, RawRun::read).optional()?.map(RawRun::decode).transpose()
    }

    /// All runs with an account, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn questions_of(&self, account: &Address) -> Result<Vec<QuestionRun>, StoreError> {
        let sql = format!("{SELECT} WHERE account = ? ORDER BY created DESC, run");
        self.rows(&sql, [account.to_bytes()], RawRun::read)?.into_iter().map(RawRun::decode).collect()
    }

    /// A run goes on. What it was computed from before goes with that.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_question(&self, run: &QuestionRun, state: RunState, secret: Option<&[u8]>) -> Result<(), StoreError> {
        self.execute(
            "UPDATE question SET state = ?, secret = ?, share = NULL WHERE account = ? AND run = ? AND asked = ?",
            params![state.code(), secret, run.account.to_bytes(), run.run.as_bytes(), run.asked],
        )?;
        Ok(())
    }

    /// The runs of a session end with it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn end_questions(&self, session: &SessionTag) -> Result<(), StoreError> {
        self.execute(
            "UPDATE question SET state = ?, secret = NULL, share = NULL WHERE session = ? AND state < 2",
            params![RunState::Ended.code(), session.as_bytes()],
        )?;
        Ok(())
    }

    /// Runs that began before then end, and those that ended are forgotten.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn drop_questions(&self, before: UnixMillis) -> Result<(), StoreError> {
        self.execute("DELETE FROM question WHERE created < ?", [to_signed(before.0)])?;
        Ok(())
    }

    /// When runs with a contact began of late.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn attempts(&self, account: &Address) -> Result<Attempts, StoreError> {
        let sql = "SELECT attempts FROM contact WHERE account = ?";
        let bytes: Option<Option<Vec<u8>>> = self.query_row(sql, [account.to_bytes()], |row| row.get(0)).optional()?;
        bytes.flatten().map_or_else(
            || Ok(Attempts::default()),
            |bytes| Attempts::decode(&bytes).map_err(damaged("a contact's attempts")),
        )
    }

    /// Keeps that.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it is no contact.
    pub fn set_attempts(&self, account: &Address, attempts: &Attempts) -> Result<(), StoreError> {
        let sql = "UPDATE contact SET attempts = ? WHERE account = ?";
        match self.execute(sql, params![attempts.encode(), account.to_bytes()])? {
            0 => Err(StoreError::NotFound("contact")),
            _ => Ok(()),
        }
    }
}

/// A row as it lies in the database.
struct RawRun {
    account: Vec<u8>,
    run: [u8; 16],
    asked: bool,
    session: [u8; 16],
    text: String,
    share: Option<[u8; 32]>,
    secret: Option<Zeroizing<Vec<u8>>>,
    state: i64,
    created: i64,
}

impl RawRun {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            account: row.get(0)?,
            run: row.get(1)?,
            asked: row.get(2)?,
            session: row.get(3)?,
            text: row.get(4)?,
            share: row.get(5)?,
            secret: row.get::<_, Option<Vec<u8>>>(6)?.map(Zeroizing::new),
            state: row.get(7)?,
            created: row.get(8)?,
        })
    }

    fn decode(self) -> Result<QuestionRun, StoreError> {
        Ok(QuestionRun {
            account: read_address(&self.account)?,
            run: RunId::new(self.run),
            asked: self.asked,
            session: SessionTag::new(self.session),
            question: QuestionText::new(self.text).map_err(damaged("a question"))?,
            share: self.share.map(Share::new),
            secret: self.secret,
            state: RunState::from_code(self.state).ok_or(StoreError::Damaged("a question"))?,
            created: UnixMillis(to_unsigned(self.created)),
        })
    }
}
