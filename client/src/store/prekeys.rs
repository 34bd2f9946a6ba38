//! Where this device reads, what is sealed to it there, and the keys it gave to somebody.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sotto_behaviours::noise::Secret;
use sotto_proto::address::Address;
use sotto_proto::id::X25519Key;
use sotto_proto::sign::SigningKey;
use sotto_proto::time::UnixSeconds;
use zeroize::Zeroizing;

use super::row::{damaged, read_address, to_signed, to_unsigned};
use super::{ContactState, Store, StoreError, Transaction};
use crate::crypto::SessionTag;

/// A mailbox of this device.
#[derive(Clone, Debug)]
pub struct OwnMailbox {
    /// Its address.
    pub address: Address,
    /// Signs what is asked there.
    pub key: SigningKey,
}

/// The number of a signed prekey: they are numbered in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PrekeyNumber(pub u32);

/// A signed prekey of this device.
#[derive(Clone, Debug)]
pub struct Prekey {
    /// Which.
    pub number: PrekeyNumber,
    /// Its secret.
    pub secret: Secret,
    /// Since when it is given out.
    pub created: UnixSeconds,
}

/// A bundle that was given to somebody.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredBundle {
    /// Its number.
    pub epoch: u32,
    /// To whom.
    pub recipient: Address,
    /// Its signed prekey.
    pub prekey: PrekeyNumber,
    /// Its one-time secrets that have not served.
    pub secrets: Zeroizing<Vec<u8>>,
    /// When it was made.
    pub created: UnixSeconds,
    /// Until when it may be answered.
    pub expires: UnixSeconds,
}

impl Store {
    /// The mailboxes of this device, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn mailboxes(&self) -> Result<Vec<OwnMailbox>, StoreError> {
        mailboxes(&self.connection())
    }
}

fn mailboxes(connection: &Connection) -> Result<Vec<OwnMailbox>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT address, seed FROM mailbox ORDER BY created_s DESC")?;
    let rows =
        statement.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, Zeroizing::new(row.get::<_, [u8; 32]>(1)?))))?;
    rows.map(|row| {
        let (address, seed) = row?;
        Ok(OwnMailbox { address: read_address(&address)?, key: SigningKey::from_seed(&seed) })
    })
    .collect()
}

impl Transaction<'_> {
    /// The mailboxes of this device, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn mailboxes(&self) -> Result<Vec<OwnMailbox>, StoreError> {
        mailboxes(self.connection())
    }

    /// Adds a mailbox.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn add_mailbox(&self, mailbox: &OwnMailbox, created: UnixSeconds) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO mailbox (address, seed, created_s) VALUES (?, ?, ?)",
            params![mailbox.address.to_bytes(), mailbox.key.seed().as_slice(), to_signed(created.0)],
        )?;
        Ok(())
    }

    /// Signed prekeys, the newest, which is given out, first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn prekeys(&self) -> Result<Vec<Prekey>, StoreError> {
        self.rows("SELECT number, secret, created_s FROM prekey ORDER BY number DESC", [], |row| {
            Ok(Prekey {
                number: PrekeyNumber(row.get(0)?),
                secret: Secret::take(&mut Zeroizing::new(row.get(1)?)),
                created: UnixSeconds(to_unsigned(row.get(2)?)),
            })
        })
    }

    /// Adds a signed prekey, which takes the place of the one before.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn add_prekey(&self, secret: Secret, now: UnixSeconds) -> Result<Prekey, StoreError> {
        self.execute("UPDATE prekey SET retired_s = ? WHERE retired_s IS NULL", [to_signed(now.0)])?;
        let sql = "INSERT INTO prekey (secret, created_s) VALUES (?, ?) RETURNING number";
        let number = self.query_row(sql, params![secret.expose(), to_signed(now.0)], |row| row.get(0))?;
        Ok(Prekey { number: PrekeyNumber(number), secret, created: now })
    }

    /// Forgets signed prekeys that others took the place of before then; one that a contact may still know as the newest
    /// only if that was before `latest`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn drop_prekeys(&self, before: UnixSeconds, latest: UnixSeconds) -> Result<(), StoreError> {
        self.execute(
            "DELETE FROM prekey WHERE retired_s < ?1 AND (retired_s < ?2 OR number < coalesce(
                 (SELECT min(known) FROM session JOIN contact USING (account) WHERE contact.state = ?3), number + 1))",
            params![to_signed(before.0), to_signed(latest.0), ContactState::Accepted.code()],
        )?;
        Ok(())
    }

    /// The number of the next bundle.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn next_bundle_epoch(&self) -> Result<u32, StoreError> {
        let sql = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'bundle'), 0) + 1";
        Ok(self.query_row(sql, [], |row| row.get(0))?)
    }

    /// Adds a bundle, or what is left of one.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn put_bundle(&self, bundle: &StoredBundle) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO bundle (epoch, recipient, prekey, secrets, created_s, expires_s) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (epoch) DO UPDATE SET secrets = excluded.secrets",
            params![
                bundle.epoch,
                bundle.recipient.to_bytes(),
                bundle.prekey.0,
                bundle.secrets.as_slice(),
                to_signed(bundle.created.0),
                to_signed(bundle.expires.0)
            ],
        )?;
        Ok(())
    }

    /// A bundle.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn bundle(&self, epoch: u32) -> Result<Option<StoredBundle>, StoreError> {
        let sql = "SELECT recipient, prekey, secrets, created_s, expires_s FROM bundle WHERE epoch = ?";
        let read = |row: &Row<'_>| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?, Zeroizing::new(row.get(2)?), row.get(3)?, row.get(4)?))
        };
        let Some((recipient, prekey, secrets, created, expires)) = self.query_row(sql, [epoch], read).optional()?
        else {
            return Ok(None);
        };
        Ok(Some(StoredBundle {
            epoch,
            recipient: read_address(&recipient)?,
            prekey: PrekeyNumber(prekey),
            secrets,
            created: UnixSeconds(to_unsigned(created)),
            expires: UnixSeconds(to_unsigned(expires)),
        }))
    }

    /// Forgets bundles that expired before then, and which of their keys served.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn drop_bundles(&self, before: UnixSeconds) -> Result<(), StoreError> {
        let before = to_signed(before.0);
        let sql = "DELETE FROM used_slot WHERE epoch IN (SELECT epoch FROM bundle WHERE expires_s < ?)";
        self.execute(sql, [before])?;
        self.execute("DELETE FROM bundle WHERE expires_s < ?", [before])?;
        Ok(())
    }

    /// A one-time key served to begin a session.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails, or the key has served before.
    pub fn use_slot(&self, epoch: u32, slot: u8, ephemeral: &X25519Key, tag: &SessionTag) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO used_slot (epoch, slot, ephemeral, tag) VALUES (?, ?, ?, ?)",
            params![epoch, slot, ephemeral.as_bytes(), tag.as_bytes()],
        )?;
        Ok(())
    }

    /// What a one-time key served for.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn used_slot(&self, epoch: u32, slot: u8) -> Result<Option<(X25519Key, SessionTag)>, StoreError> {
        let sql = "SELECT ephemeral, tag FROM used_slot WHERE epoch = ? AND slot = ?";
        let read = |row: &Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, SessionTag::new(row.get(1)?)));
        let found = self.query_row(sql, params![epoch, slot], read).optional()?;
        let key = |(ephemeral, tag): (Vec<u8>, SessionTag)| {
            Ok((X25519Key::try_from(ephemeral.as_slice()).map_err(damaged("a used slot"))?, tag))
        };
        found.map(key).transpose()
    }
}
