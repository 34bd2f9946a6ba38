//! Deletes and their tombstones (H8). From a client a delete counts for records that are here; from a member also for
//! others, so that whichever of record and tombstone comes first, the tombstone is left.

use sotto_behaviours::network::Verdict;
use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::id::{ItemId, RecordId};
use sotto_proto::limits::{
    MEMBER_TIMESTAMP_FUTURE_SECONDS, REQUEST_TIME_SECONDS, SIGNED_DELETE_MAX, TOMBSTONES_PER_ADDRESS,
};
use sotto_proto::request::{DeletedRecord, Error, SignedDelete, SwarmResponse};

use super::env::Env;
use super::index::Held;
use super::judge::{self, Doubt};
use super::{DELETE, Mail, Wait, answer, refuse};
use crate::service_node::message::{Output, Sync, Tunnel};
use crate::store::records::{DeleteName, Tombstone};
use crate::store::{Batch, Write};

/// Tombstones of a node, whoever brings them: they cost no work.
const TOMBSTONES: usize = 1 << 18;

/// A delete on its way to disk.
#[derive(Debug, Default)]
pub(super) struct Deleting {
    tombstones: Vec<ItemId>,
    /// What it erased.
    records: Vec<Held>,
    /// Who waits, and what is unknown here.
    client: Option<(Tunnel, Vec<RecordId>)>,
    /// What is gossiped then.
    publish: Option<Vec<u8>>,
}

impl Mail {
    /// A client wants records gone.
    pub(super) fn on_delete(&mut self, tunnel: Tunnel, delete: &SignedDelete, env: &Env<'_>, out: &mut Vec<Output>) {
        if let Err(error) = check_delete(delete, env) {
            return refuse(tunnel, error, out);
        }
        let address = *delete.delete().address();
        let (mut wanted, mut unknown) = (Vec::new(), Vec::new());
        for record in delete.delete().records() {
            let held = self.index.find(&record.id).map(|held| held.entry);
            let same = held.filter(|entry| {
                (entry.key.address, entry.timestamp, entry.ttl) == (address, record.timestamp, record.ttl)
            });
            if same.is_some() {
                wanted.push(*record);
            } else if !self.index.is_deleted(&address, &record.id) {
                unknown.push(record.id);
            }
        }
        if self.index.tombstones_at(&address).saturating_add(wanted.len()) > TOMBSTONES_PER_ADDRESS
            || self.index.tombstone_count() >= TOMBSTONES
        {
            return refuse(tunnel, Error::Busy, out);
        }
        if unknown.len() == delete.delete().records().len() {
            return answer(tunnel, SwarmResponse::Deleted { unknown }, out);
        }
        let bytes = delete.encode();
        let message = (!wanted.is_empty()).then(|| gossip_message(&bytes));
        let (mut deleting, batch) = self.bury_all(delete, &bytes, &wanted);
        deleting.client = Some((tunnel, unknown));
        deleting.publish = message;
        // Even if all are deleted already: that may not be on disk yet.
        self.persist(batch, Sync::Now, Wait::Delete(Box::new(deleting)), out);
    }

    /// A member gossiped a delete: `u32` length ‖ signed delete.
    pub(super) fn on_gossiped_delete(&mut self, rest: &[u8], env: &Env<'_>, out: &mut Vec<Output>) -> Verdict {
        let Ok(bytes) = signed_delete_of(rest) else { return Verdict::Reject };
        match self.take_delete_from_member(bytes, env, out) {
            Ok(()) => Verdict::Accept,
            Err(Doubt::Wrong(_)) => Verdict::Reject,
            Err(Doubt::NotNow(_)) => Verdict::Ignore,
        }
    }

    /// Takes a signed delete from a member: what of it is not known here and still matters.
    ///
    /// # Errors
    /// [`Doubt`] if nothing of it is.
    pub(super) fn take_delete_from_member(
        &mut self,
        bytes: &[u8],
        env: &Env<'_>,
        out: &mut Vec<Output>,
    ) -> Result<(), Doubt> {
        let delete = judge::delete_from_member(bytes, env)?;
        let (address, now) = (*delete.delete().address(), env.time());
        let future = now.0.saturating_add(MEMBER_TIMESTAMP_FUTURE_SECONDS);
        let matters = |record: &&DeletedRecord| record.expiry() > now && record.timestamp.0 <= future;
        let mut room = TOMBSTONES_PER_ADDRESS
            .saturating_sub(self.index.tombstones_at(&address))
            .min(TOMBSTONES.saturating_sub(self.index.tombstone_count()));
        let (mut wanted, mut known) = (Vec::new(), false);
        for record in delete.delete().records().iter().filter(matters) {
            if self.index.is_deleted(&address, &record.id) {
                known = true;
            } else if let Some(left) = room.checked_sub(1) {
                room = left;
                wanted.push(*record);
            }
        }
        if wanted.is_empty() {
            return if known { Ok(()) } else { Err(Doubt::NotNow("nothing_to_delete")) };
        }
        let (deleting, batch) = self.bury_all(&delete, bytes, &wanted);
        self.persist(batch, Sync::Later, Wait::Delete(Box::new(deleting)), out);
        Ok(())
    }

    /// Sets tombstones and erases what they are for, in memory; on disk the batch does.
    fn bury_all(&mut self, delete: &SignedDelete, bytes: &[u8], records: &[DeletedRecord]) -> (Deleting, Batch) {
        let address = *delete.delete().address();
        let (mut deleting, mut batch, name) = (Deleting::default(), Batch::default(), DeleteName::of(bytes));
        for DeletedRecord { id, timestamp, ttl } in records.iter().copied() {
            let tombstone = Tombstone { address, id, timestamp, ttl, delete: name };
            if !self.index.bury(tombstone) {
                continue; // named twice
            }
            deleting.tombstones.push(tombstone.item());
            batch.push(Write::PutTombstone(tombstone));
            let held = self.index.find(&id).filter(|held| held.entry.key.address == address);
            if let Some(held) = held {
                self.index.remove(held.entry.key.arrival);
                self.do_not_publish(held.entry.key.arrival);
                batch.push(Write::DeleteRecord { key: held.entry.key, id });
                deleting.records.push(held);
            }
        }
        if !deleting.tombstones.is_empty() {
            batch.push(Write::PutSignedDelete { name, bytes: bytes.to_vec() });
        }
        (deleting, batch)
    }

    /// A delete is on disk, or never will be.
    pub(super) fn on_deleted(&mut self, deleting: Deleting, written: bool, out: &mut Vec<Output>) {
        let Deleting { tombstones, records, client, publish } = deleting;
        if written {
            tombstones.iter().for_each(|item| self.index.set_tombstone_durable(item));
            self.counts.deleted = self.counts.deleted.saturating_add(records.len() as u64);
            if let Some((tunnel, unknown)) = client {
                answer(tunnel, SwarmResponse::Deleted { unknown }, out);
            }
            out.extend(publish.map(Output::Publish));
            return;
        }
        for item in &tombstones {
            self.index.unbury(item);
        }
        for held in records {
            let arrival = held.entry.key.arrival;
            self.index.insert(held.entry, !self.storing.contains_key(&arrival));
        }
        if let Some((tunnel, _)) = client {
            refuse(tunnel, Error::Busy, out);
        }
    }
}

/// Checks a client's delete, the cheap rules first.
fn check_delete(delete: &SignedDelete, env: &Env<'_>) -> Result<(), Error> {
    let (address, now) = (delete.delete().address(), env.time());
    if !env.owns(address) {
        return Err(env.not_owner(address));
    }
    if env.clock_off() || !env.may_write {
        return Err(Error::Busy);
    }
    if delete.delete().time().0.abs_diff(now.0) > REQUEST_TIME_SECONDS {
        return Err(Error::ClockSkew { now });
    }
    if !delete.verify(env.chain(), env.verify) {
        return Err(Error::Unauthorized);
    }
    Ok(())
}

/// The signed delete of a gossiped message, behind its kind.
fn signed_delete_of(rest: &[u8]) -> Result<&[u8], DecodeError> {
    let mut reader = Reader::new(rest);
    let bytes = reader.var_bytes("signed delete", SIGNED_DELETE_MAX)?;
    reader.finish()?;
    Ok(bytes)
}

/// `2 ‖ u32 length ‖ signed delete`.
fn gossip_message(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    [[DELETE].as_slice(), &length, bytes].concat()
}
