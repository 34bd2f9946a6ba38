//! Sessions with devices of others.

use rusqlite::{OptionalExtension as _, Row, params};
use sotto_proto::address::Address;
use sotto_proto::id::X25519Key;
use sotto_proto::time::UnixSeconds;
use zeroize::Zeroizing;

use super::row::{damaged, read_address, to_signed, to_unsigned};
use super::{ContactState, Prekey, PrekeyNumber, StoreError, Transaction};
use crate::crypto::SessionTag;

/// A session.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// Its name, known to both sides.
    pub tag: SessionTag,
    /// With whom.
    pub account: Address,
    /// With which of its devices.
    pub device: u8,
    /// The own device.
    pub own_device: u8,
    /// Whether it was begun from here.
    pub initiator: bool,
    /// The ratchet.
    pub ratchet: Zeroizing<Vec<u8>>,
    /// The keys of overtaken messages.
    pub skipped: Option<Zeroizing<Vec<u8>>>,
    /// What stands before its messages until the first answer.
    pub initial: Option<Vec<u8>>,
    /// Where the other side reads.
    pub mailbox: Address,
    /// What is sealed to it there.
    pub seal_key: X25519Key,
    /// The number of that key.
    pub peer_epoch: u32,
    /// Until when the bundle that it was begun by may be answered.
    pub expires: UnixSeconds,
    /// The number of that bundle.
    pub epoch: u32,
    /// Since when it is there.
    pub created: UnixSeconds,
    /// When something came by it last.
    pub received: Option<UnixSeconds>,
    /// Since when another one has taken its place: it is kept for what is under way.
    pub retired: Option<UnixSeconds>,
}

const SELECT: &str = "SELECT tag, account, device, own_device, initiator, ratchet, skipped, initial, mailbox, seal_key,
                             peer_epoch, created_s, received_s, retired_s, expires_s, epoch FROM session";

impl Transaction<'_> {
    /// A session.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn session(&self, tag: &SessionTag) -> Result<Option<Session>, StoreError> {
        let sql = format!("{SELECT} WHERE tag = ?");
        self.query_row(&sql, [tag.as_bytes()], RawSession::read).optional()?.map(RawSession::decode).transpose()
    }

    /// Those with an account, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn sessions_of(&self, account: &Address) -> Result<Vec<Session>, StoreError> {
        let sql = format!("{SELECT} WHERE account = ? ORDER BY created_s, tag");
        self.rows(&sql, [account.to_bytes()], RawSession::read)?.into_iter().map(RawSession::decode).collect()
    }

    /// Adds a session.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails, or there is one of this name.
    pub fn add_session(&self, session: &Session) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO session (tag, account, device, own_device, initiator, ratchet, skipped, initial, mailbox,
                                  seal_key, peer_epoch, created_s, received_s, retired_s, expires_s, epoch)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                session.tag.as_bytes(),
                session.account.to_bytes(),
                session.device,
                session.own_device,
                session.initiator,
                session.ratchet.as_slice(),
                session.skipped.as_ref().map(|skipped| skipped.as_slice()),
                session.initial,
                session.mailbox.to_bytes(),
                session.seal_key.as_bytes(),
                session.peer_epoch,
                to_signed(session.created.0),
                session.received.map(|at| to_signed(at.0)),
                session.retired.map(|at| to_signed(at.0)),
                to_signed(session.expires.0),
                session.epoch
            ],
        )?;
        Ok(())
    }

    /// The ratchet went on; where keys of overtaken messages came or went, these as well.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_ratchet(&self, tag: &SessionTag, ratchet: &[u8], skipped: Option<&[u8]>) -> Result<(), StoreError> {
        self.execute(
            "UPDATE session SET ratchet = ?, skipped = coalesce(?, skipped) WHERE tag = ?",
            params![ratchet, skipped, tag.as_bytes()],
        )?;
        Ok(())
    }

    /// Something came by it: the other side has it, too.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_received(&self, tag: &SessionTag, at: UnixSeconds) -> Result<(), StoreError> {
        self.execute(
            "UPDATE session SET received_s = ?, initial = NULL WHERE tag = ?",
            params![to_signed(at.0), tag.as_bytes()],
        )?;
        Ok(())
    }

    /// The other side reads elsewhere.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_peer(
        &self,
        tag: &SessionTag,
        mailbox: &Address,
        seal_key: &X25519Key,
        epoch: u32,
    ) -> Result<(), StoreError> {
        self.execute(
            "UPDATE session SET mailbox = ?, seal_key = ?, peer_epoch = ? WHERE tag = ?",
            params![mailbox.to_bytes(), seal_key.as_bytes(), epoch, tag.as_bytes()],
        )?;
        Ok(())
    }

    /// Another one takes its place.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn retire_session(&self, tag: &SessionTag, at: UnixSeconds) -> Result<(), StoreError> {
        let sql = "UPDATE session SET retired_s = ? WHERE tag = ? AND retired_s IS NULL";
        self.execute(sql, params![to_signed(at.0), tag.as_bytes()])?;
        Ok(())
    }

    /// Forgets sessions that others took the place of before then. One by which the other side was heard after all others
    /// stays: it may know of no other.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn drop_sessions(&self, before: UnixSeconds) -> Result<(), StoreError> {
        self.execute(
            "DELETE FROM session WHERE retired_s < ? AND EXISTS (
                 SELECT 1 FROM session AS other
                 WHERE other.account = session.account AND other.tag <> session.tag
                     AND (other.received_s, other.retired_s IS NULL, other.tag)
                         > (coalesce(session.received_s, 0), 0, session.tag))",
            [to_signed(before.0)],
        )?;
        Ok(())
    }

    /// The other side of a session is told a prekey of this device.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_told(&self, tag: &SessionTag, prekey: PrekeyNumber, at: UnixSeconds) -> Result<(), StoreError> {
        // It knows none before the first that it is told.
        let sql = "UPDATE session SET told = ?1, told_s = ?2, known = iif(known = 0, ?1, known) WHERE tag = ?3";
        self.execute(sql, params![prekey.0, to_signed(at.0), tag.as_bytes()])?;
        Ok(())
    }

    /// The other side of a session has sealed something to a prekey of this device: it knows that one, and may know no
    /// later one.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_known(&self, tag: &SessionTag, prekey: PrekeyNumber) -> Result<(), StoreError> {
        let sql = "UPDATE session SET known = ?1 WHERE tag = ?2 AND known < ?1";
        self.execute(sql, params![prekey.0, tag.as_bytes()])?;
        Ok(())
    }

    /// Contacts that were not told this prekey; and those that were told it before `again` and not heard since it is
    /// there: what they were told may be gone.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn untold(&self, prekey: &Prekey, again: UnixSeconds) -> Result<Vec<Address>, StoreError> {
        let rows = self.rows(
            "SELECT account FROM session JOIN contact USING (account)
             WHERE contact.state = ?1 AND retired_s IS NULL
                 AND (told < ?2 OR (told_s < ?3 AND coalesce(received_s, 0) < ?4))",
            params![ContactState::Accepted.code(), prekey.number.0, to_signed(again.0), to_signed(prekey.created.0)],
            |row| row.get::<_, Vec<u8>>(0),
        )?;
        rows.iter().map(|account| read_address(account)).collect()
    }
}

/// A row as it lies in the database.
struct RawSession {
    tag: [u8; 16],
    account: Vec<u8>,
    device: u8,
    own_device: u8,
    initiator: bool,
    ratchet: Zeroizing<Vec<u8>>,
    skipped: Option<Zeroizing<Vec<u8>>>,
    initial: Option<Vec<u8>>,
    mailbox: Vec<u8>,
    seal_key: Vec<u8>,
    peer_epoch: u32,
    created: i64,
    received: Option<i64>,
    retired: Option<i64>,
    expires: i64,
    epoch: u32,
}

impl RawSession {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            tag: row.get(0)?,
            account: row.get(1)?,
            device: row.get(2)?,
            own_device: row.get(3)?,
            initiator: row.get(4)?,
            ratchet: Zeroizing::new(row.get(5)?),
            skipped: row.get::<_, Option<Vec<u8>>>(6)?.map(Zeroizing::new),
            initial: row.get(7)?,
            mailbox: row.get(8)?,
            seal_key: row.get(9)?,
            peer_epoch: row.get(10)?,
            created: row.get(11)?,
            received: row.get(12)?,
            retired: row.get(13)?,
            expires: row.get(14)?,
            epoch: row.get(15)?,
        })
    }

    fn decode(self) -> Result<Session, StoreError> {
        let seconds = |at: i64| UnixSeconds(to_unsigned(at));
        Ok(Session {
            tag: SessionTag::new(self.tag),
            account: read_address(&self.account)?,
            device: self.device,
            own_device: self.own_device,
            initiator: self.initiator,
            ratchet: self.ratchet,
            skipped: self.skipped,
            initial: self.initial,
            mailbox: read_address(&self.mailbox)?,
            seal_key: X25519Key::try_from(self.seal_key.as_slice()).map_err(damaged("a session"))?,
            peer_epoch: self.peer_epoch,
            created: seconds(self.created),
            received: self.received.map(seconds),
            retired: self.retired.map(seconds),
            expires: seconds(self.expires),
            epoch: self.epoch,
        })
    }
}
