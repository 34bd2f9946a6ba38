//! Where contacts can be reached online, and where this account listens for them.

use rusqlite::{OptionalExtension as _, Row, params};
use sotto_proto::address::Address;
use sotto_proto::content::{Listening, ListeningTag, MessageId};
use sotto_proto::id::NodeId;
use sotto_proto::time::{UnixMillis, UnixSeconds};

use super::outbox::OutboxState;
use super::row::{read_address, to_signed, to_unsigned};
use super::{ContactState, StoreError, Transaction};

/// Where somebody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListeningPlace {
    /// At this node.
    pub node: NodeId,
    /// By this tag.
    pub tag: ListeningTag,
    /// Until then.
    pub until: UnixSeconds,
}

/// Where this account listens for a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnPlace {
    /// For whom.
    pub account: Address,
    /// Where.
    pub place: ListeningPlace,
    /// Whether the contact was told.
    pub told: bool,
}

impl Transaction<'_> {
    /// A contact says where it listens; what it said before that and comes later changes nothing.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_place(&self, account: &Address, said: UnixMillis, listening: &Listening) -> Result<(), StoreError> {
        let (node, tag, until) = match listening {
            Listening::At { node, tag, until } => (*node, *tag, *until),
            Listening::Stopped => (NodeId::new([0; 32]), ListeningTag::new([0; 16]), UnixSeconds(0)),
        };
        self.execute(
            "INSERT INTO place (account, said, node, tag, until_s) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (account) DO UPDATE
             SET said = excluded.said, node = excluded.node, tag = excluded.tag, until_s = excluded.until_s
             WHERE excluded.said >= said",
            params![account.to_bytes(), to_signed(said.0), node.as_bytes(), tag.as_bytes(), to_signed(until.0)],
        )?;
        Ok(())
    }

    /// Where an accepted contact listens now, as far as it said.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn place(&self, account: &Address, now: UnixSeconds) -> Result<Option<ListeningPlace>, StoreError> {
        let sql = "SELECT node, tag, until_s FROM place JOIN contact USING (account)
                   WHERE account = ? AND until_s > ? AND contact.state = ?";
        let parameters = params![account.to_bytes(), to_signed(now.0), ContactState::Accepted.code()];
        Ok(self.query_row(sql, parameters, |row| read_place(row, 0)).optional()?)
    }

    /// It listens there no more.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn drop_place(&self, account: &Address, tag: &ListeningTag) -> Result<(), StoreError> {
        let sql = "UPDATE place SET until_s = 0 WHERE account = ? AND tag = ?";
        self.execute(sql, params![account.to_bytes(), tag.as_bytes()])?;
        Ok(())
    }

    /// This account listens for a contact.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn add_own_place(&self, account: &Address, place: &ListeningPlace) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO own_place (tag, account, node, until_s, told) VALUES (?, ?, ?, ?, 0)",
            params![place.tag.as_bytes(), account.to_bytes(), place.node.as_bytes(), to_signed(place.until.0)],
        )?;
        Ok(())
    }

    /// Where this account listens for accepted contacts now, the place that lasts longest last.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn own_places(&self, now: UnixSeconds) -> Result<Vec<OwnPlace>, StoreError> {
        let sql = "SELECT node, tag, until_s, account, told FROM own_place JOIN contact USING (account)
                   WHERE until_s > ? AND contact.state = ? ORDER BY until_s";
        let rows = self.rows(sql, params![to_signed(now.0), ContactState::Accepted.code()], |row| {
            Ok((read_place(row, 0)?, row.get::<_, Vec<u8>>(3)?, row.get::<_, bool>(4)?))
        })?;
        let own =
            |(place, account, told): (_, Vec<u8>, _)| Ok(OwnPlace { account: read_address(&account)?, place, told });
        rows.into_iter().map(own).collect()
    }

    /// For which accepted contact this account listens there by that tag.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn listened_for(&self, node: &NodeId, tag: &ListeningTag) -> Result<Option<Address>, StoreError> {
        let sql = "SELECT account FROM own_place JOIN contact USING (account)
                   WHERE tag = ? AND node = ? AND contact.state = ?";
        let parameters = params![tag.as_bytes(), node.as_bytes(), ContactState::Accepted.code()];
        let account: Option<Vec<u8>> = self.query_row(sql, parameters, |row| row.get(0)).optional()?;
        account.map(|account| read_address(&account)).transpose()
    }

    /// Where this account listens for everybody who knows its id, the place that lasts longest last.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn public_places(&self, own: &Address, now: UnixSeconds) -> Result<Vec<ListeningPlace>, StoreError> {
        let sql = "SELECT node, tag, until_s FROM own_place WHERE account = ? AND until_s > ? ORDER BY until_s";
        self.rows(sql, params![own.to_bytes(), to_signed(now.0)], |row| read_place(row, 0))
    }

    /// Whether this account listens there by that tag for everybody.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn is_public_place(&self, own: &Address, node: &NodeId, tag: &ListeningTag) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM own_place WHERE tag = ? AND node = ? AND account = ?";
        let parameters = params![tag.as_bytes(), node.as_bytes(), own.to_bytes()];
        Ok(self.query_row(sql, parameters, |_| Ok(())).optional()?.is_some())
    }

    /// This account listens no more for everybody. Returns at how many places it did.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn drop_public_places(&self, own: &Address) -> Result<usize, StoreError> {
        self.execute("DELETE FROM own_place WHERE account = ?", [own.to_bytes()])
    }

    /// The contact is told of it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_place_told(&self, tag: &ListeningTag) -> Result<(), StoreError> {
        self.execute("UPDATE own_place SET told = 1 WHERE tag = ?", [tag.as_bytes()])?;
        Ok(())
    }

    /// A contact may not have heard of any place where this account listens for it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_places_untold(&self, account: &Address) -> Result<(), StoreError> {
        self.execute("UPDATE own_place SET told = 0 WHERE account = ?", [account.to_bytes()])?;
        Ok(())
    }

    /// This account no longer listens at places that end at `until` or before.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn drop_own_places(&self, until: UnixSeconds) -> Result<(), StoreError> {
        self.execute("DELETE FROM own_place WHERE until_s <= ?", [to_signed(until.0)])?;
        Ok(())
    }

    /// The last `limit` accepted contacts that something came from by a session, and when, the last one first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn heard_last(&self, limit: usize) -> Result<Vec<(Address, UnixSeconds)>, StoreError> {
        let sql = "SELECT account, max(received_s) AS heard FROM session JOIN contact USING (account)
                   WHERE contact.state = ? AND received_s IS NOT NULL GROUP BY account ORDER BY heard DESC LIMIT ?";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.rows(sql, params![ContactState::Accepted.code(), limit], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
        })?;
        rows.iter().map(|(account, at)| Ok((read_address(account)?, UnixSeconds(to_unsigned(*at))))).collect()
    }

    /// A contact says that it has messages of the outbox: nothing more is done for them. Returns how many that were.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_acknowledged(&self, account: &Address, ids: &[MessageId]) -> Result<usize, StoreError> {
        let mut changed = 0;
        for id in ids {
            changed += self.execute(
                "UPDATE outbox SET state = ?, failure = NULL WHERE message = ? AND recipient = ? AND state < ?",
                params![
                    OutboxState::Delivered.code(),
                    id.as_bytes(),
                    account.to_bytes(),
                    OutboxState::Delivered.code()
                ],
            )?;
        }
        Ok(changed)
    }

    /// A message of the outbox goes another way first: it waits until then.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn hold(&self, id: &MessageId, until: UnixMillis) -> Result<(), StoreError> {
        let sql = "UPDATE outbox SET retry_at = ? WHERE message = ? AND state < 2";
        self.execute(sql, params![to_signed(until.0), id.as_bytes()])?;
        Ok(())
    }
}

fn read_place(row: &Row<'_>, first: usize) -> rusqlite::Result<ListeningPlace> {
    Ok(ListeningPlace {
        node: NodeId::new(row.get(first)?),
        tag: ListeningTag::new(row.get(first + 1)?),
        until: UnixSeconds(to_unsigned(row.get(first + 2)?)),
    })
}
