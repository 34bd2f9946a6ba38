//! Looks at every record, tombstone and signed delete on disk, and says which are not what this program wrote. Reads
//! only; for a node that is stopped, because whoever reads a database that is being written sees halves of changes.
//!
//! | row | what must hold |
//! | --- | --- |
//! | record | checksum; decodes; the key's address; an entry in the index that points to it and says the same of it; times |
//! | entry of the index | checksum; points to a record |
//! | tombstone | checksum; the key is its item; the signed delete that made it is there |
//! | signed delete | checksum; decodes; the key is its name |
//!
//! Blocks and snapshots are checked by every start, which applies them.

use std::collections::BTreeSet;

use sotto_proto::id::ChainId;
use sotto_proto::limits::MEMBER_TIMESTAMP_FUTURE_SECONDS;
use sotto_proto::time::UnixSeconds;

use super::check;
use super::damage::{Readable, readable};
use super::records::{self, Arrival, RecordEntry, RecordKey, misc};
use super::schema::{Family, VERSION_WITHOUT_RECORDS};
use super::{MetaKey, Store, StoreError};

/// Rows read at once: up to some MiB of records.
const ROWS: usize = 64;
/// Rows between two reports of progress.
const REPORT: u64 = 256;
/// Bad rows that are named; all are counted.
pub const NAMED: usize = 20;
/// Bytes of a key that are named where it cannot be read: they do not say whose it is.
const KEY_NAMED: usize = 8;

/// A row that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Which. Never an address: the place on the ring and the number of its arrival say which record it is.
    pub row: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// What was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those of them that have expired: the running node erases them two minutes later.
    pub expired: u64,
    /// Entries of the index.
    pub entries: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Signed deletes.
    pub deletes: u64,
    /// Rows, and ranges that cannot be read, that are not as they should be.
    pub bad: u64,
    /// The first [`NAMED`] of them.
    pub first_bad: Vec<BadRow>,
}

impl Checked {
    const fn rows(&self) -> u64 {
        self.records + self.entries + self.tombstones + self.deletes
    }
}

/// Why a row is no good, or cannot be judged.
enum Flaw {
    Row(&'static str),
    Store(StoreError),
}

impl From<StoreError> for Flaw {
    /// What a row belongs to is looked up in other rows, which may lie in a damaged table.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damaged(_) => Self::Row("what belongs to it cannot be read"),
            error => Self::Store(error),
        }
    }
}

/// Looks at everything; `now` decides what has expired, and `progress` is called every now and then.
///
/// # Errors
/// When the engine refuses, or the database does not say of which chain it is. What is damaged is no error.
pub fn verify<S: Store + ?Sized>(
    store: &S,
    now: UnixSeconds,
    progress: &mut dyn FnMut(&Checked),
) -> Result<Checked, StoreError> {
    let version = store.meta(MetaKey::SchemaVersion)?;
    let Some(chain) = store.meta(MetaKey::Chain)? else { return Ok(Checked::default()) };
    if version.is_some_and(|version| version == VERSION_WITHOUT_RECORDS.to_be_bytes()) {
        return Ok(Checked::default());
    }
    let chain = ChainId::try_from(chain.as_slice()).map_err(|_| StoreError::Damaged("the name of its chain"))?;
    let mut verifier =
        Verifier { store, chain, now, checked: Checked::default(), unclaimed: BTreeSet::new(), progress };
    let all = (Vec::new(), Vec::new());
    verifier.scan(Family::Records, all.clone(), Verifier::record)?;
    verifier.scan(Family::RecordIds, all.clone(), Verifier::entry)?;
    verifier.scan(Family::Tombstones, all, Verifier::tombstone)?;
    verifier.scan(Family::Misc, misc::deletes(), Verifier::delete)?;
    Ok(verifier.checked)
}

struct Verifier<'a, S: ?Sized> {
    store: &'a S,
    chain: ChainId,
    now: UnixSeconds,
    checked: Checked,
    /// Records to which no entry of the index was found yet: eight bytes each.
    unclaimed: BTreeSet<Arrival>,
    progress: &'a mut dyn FnMut(&Checked),
}

/// Judges a row, given its key and value.
type Judge<V> = fn(&mut V, &[u8], &[u8]) -> Result<(), Flaw>;

impl<S: Store + ?Sized> Verifier<'_, S> {
    /// Judges every row of a range that can be read.
    fn scan(
        &mut self,
        family: Family,
        (mut from, until): (Vec<u8>, Vec<u8>),
        judge: Judge<Self>,
    ) -> Result<(), StoreError> {
        loop {
            let Readable { rows, next, damaged } = readable(self.store, family, &from, &until, ROWS)?;
            if damaged {
                let row = format!("{} from {} on", family.name(), beginning(&from));
                self.name(row, "a table of the database cannot be read here");
            }
            for (key, row) in &rows {
                match judge(self, key, row) {
                    Ok(()) => {}
                    Err(Flaw::Row(reason)) => self.name(name(family, key), reason),
                    Err(Flaw::Store(error)) => return Err(error),
                }
                if self.checked.rows().is_multiple_of(REPORT) {
                    (self.progress)(&self.checked);
                }
            }
            match next {
                Some(next) => from = next,
                None => return Ok(()),
            }
        }
    }

    fn name(&mut self, row: String, reason: &'static str) {
        self.checked.bad += 1;
        if self.checked.first_bad.len() < NAMED {
            self.checked.first_bad.push(BadRow { row, reason });
        }
    }

    fn record(&mut self, key: &[u8], row: &[u8]) -> Result<(), Flaw> {
        self.checked.records += 1;
        if let Some(place) = RecordKey::from_bytes(key) {
            self.unclaimed.insert(place.arrival);
        }
        let sound = check::record(&self.chain, key, row).map_err(Flaw::Row)?;
        self.checked.bytes += sound.bytes.len() as u64;
        self.checked.expired += u64::from(sound.record.envelope().expiry() <= self.now);
        let row = self.store.row(Family::RecordIds, sound.id.as_ref())?;
        let row = row.ok_or(Flaw::Row("the index has no entry of it: nobody is served it"))?;
        // A damaged entry is named when the index is gone through.
        let Ok(entry) = records::parse_entry(sound.id.as_ref(), &row) else { return Ok(()) };
        if !sound.is_said_by(&entry) {
            return Err(Flaw::Row("its entry in the index says something else of it"));
        }
        times(&entry)
    }

    fn entry(&mut self, key: &[u8], row: &[u8]) -> Result<(), Flaw> {
        self.checked.entries += 1;
        let entry = records::parse_entry(key, row).map_err(|_| Flaw::Row("the checksum or the form is wrong"))?;
        let points = self.unclaimed.remove(&entry.key.arrival);
        if points { Ok(()) } else { Err(Flaw::Row("there is no record where it points")) }
    }

    fn tombstone(&mut self, key: &[u8], row: &[u8]) -> Result<(), Flaw> {
        self.checked.tombstones += 1;
        let tombstone = check::tombstone(key, row).map_err(Flaw::Row)?;
        let delete = self.store.row(Family::Misc, &misc::delete(&tombstone.delete))?;
        if delete.is_some() { Ok(()) } else { Err(Flaw::Row("the signed delete that made it is not there")) }
    }

    fn delete(&mut self, key: &[u8], row: &[u8]) -> Result<(), Flaw> {
        self.checked.deletes += 1;
        check::signed_delete(key, row).map(drop).map_err(Flaw::Row)
    }
}

/// Whether a record is of a time at which it could be taken.
fn times(entry: &RecordEntry) -> Result<(), Flaw> {
    if entry.ttl > entry.key.address.kind().ttl_max_seconds() {
        return Err(Flaw::Row("it is kept for longer than its address allows"));
    }
    if entry.timestamp.0 > entry.received.0.saturating_add(MEMBER_TIMESTAMP_FUTURE_SECONDS) {
        return Err(Flaw::Row("it was written long after it came"));
    }
    if entry.expiry() <= entry.received {
        return Err(Flaw::Row("it had expired before it came"));
    }
    Ok(())
}

/// What a row is called.
fn name(family: Family, key: &[u8]) -> String {
    match (family, RecordKey::from_bytes(key)) {
        (Family::Records, Some(RecordKey { address, arrival })) => {
            format!("record {} at {}", arrival.0, address.position())
        }
        (Family::Records, None) => format!("records, a key that begins with {}", beginning(key)),
        (Family::RecordIds, _) => format!("entry of record {}", short(key)),
        (Family::Tombstones, _) => format!("tombstone {}", short(key)),
        (Family::Misc, _) => format!("signed delete {}", short(key.get(1..).unwrap_or_default())),
    }
}

fn beginning(key: &[u8]) -> String {
    hex::encode(key.get(..KEY_NAMED).unwrap_or(key))
}

/// An id; not more of it, should it be longer than any is.
fn short(id: &[u8]) -> String {
    hex::encode(id.get(..32).unwrap_or(id))
}

#[cfg(test)]
pub(super) mod tests {
    use sotto_proto::address::{Address, AddressKind};
    use sotto_proto::envelope::{Envelope, Record, Ttl};
    use sotto_proto::id::{Height, RecordId};
    use sotto_proto::pow::Nonce;

    use super::super::memory::MemoryStore;
    use super::super::records::{DeleteName, Source, Tombstone};
    use super::super::{Batch, Write};
    use super::*;

    pub(in crate::store) const CHAIN: ChainId = ChainId::new([3; 32]);
    const NOW: UnixSeconds = UnixSeconds(10_000);

    fn address(n: u8) -> Address {
        Address::new(AddressKind::Mailbox, [n; 32])
    }

    /// A record, and its bytes.
    pub(in crate::store) fn record(n: u8) -> (RecordEntry, Vec<u8>) {
        let (timestamp, ttl) = (UnixSeconds(NOW.0 - 100), Ttl::new(600).unwrap());
        let envelope = Envelope::new(address(n), timestamp, ttl, Height(60), vec![n; 1664]).unwrap();
        let id = envelope.id(&CHAIN);
        let bytes = Record::new(envelope, Nonce(0), None).unwrap().encode();
        let entry = RecordEntry {
            key: RecordKey { address: address(n), arrival: Arrival(n.into()) },
            id,
            timestamp,
            ttl: ttl.seconds(),
            length: u32::try_from(bytes.len()).unwrap(),
            source: Source::Client,
            received: timestamp,
        };
        (entry, bytes)
    }

    pub(in crate::store) fn put(n: u8) -> Write {
        let (entry, bytes) = record(n);
        Write::PutRecord { entry, bytes }
    }

    fn store(writes: impl IntoIterator<Item = Write>) -> MemoryStore {
        let mut store = MemoryStore::default();
        let chain = Write::PutMeta(MetaKey::Chain, CHAIN.as_bytes().to_vec());
        store.write(&Batch { writes: [chain].into_iter().chain(writes).collect() }).unwrap();
        store
    }

    fn checked(store: &MemoryStore) -> Checked {
        verify(store, NOW, &mut |_| ()).unwrap()
    }

    /// The names of bad rows, with what is wrong with them.
    fn bad(store: &MemoryStore) -> Vec<(String, &'static str)> {
        let checked = checked(store);
        assert_eq!(checked.bad, checked.first_bad.len() as u64);
        checked.first_bad.into_iter().map(|bad| (bad.row, bad.reason)).collect()
    }

    #[test]
    fn what_was_written_is_good() {
        let (entry, bytes) = record(1);
        let checked = checked(&store((0..200).map(put)));
        assert_eq!((checked.records, checked.entries, checked.bad, checked.expired), (200, 200, 0, 0));
        assert_eq!(checked.bytes, 200 * bytes.len() as u64);
        let late = verify(&store([put(1)]), entry.expiry(), &mut |_| ()).unwrap();
        assert_eq!((late.expired, late.bad), (1, 0));
        assert_eq!(verify(&MemoryStore::default(), NOW, &mut |_| ()).unwrap(), Checked::default());
    }

    #[test]
    fn a_record_with_a_wrong_bit_is_named_by_place_and_number() {
        let (entry, _) = record(7);
        let mut store = store((0..9).map(put));
        store.damage(Family::Records, &entry.key.to_bytes());
        let name = format!("record 7 at {}", address(7).position());
        assert_eq!(bad(&store), [(name, "the checksum is wrong")]);
        let key = hex::encode(address(7).key());
        assert!(!format!("{:?}", checked(&store)).contains(&key[..16]), "whose it is is not said");
    }

    #[test]
    fn records_and_their_entries_belong_together() {
        let (entry, bytes) = record(1);
        let mut store = store([put(1), put(2)]);
        store.damage(Family::RecordIds, entry.id.as_ref());
        assert_eq!(bad(&store), [(format!("entry of record {}", entry.id), "the checksum or the form is wrong")]);

        let elsewhere = RecordEntry { id: RecordId::new([9; 32]), ..entry };
        let store = self::store([Write::PutRecord { entry: elsewhere, bytes: bytes.clone() }]);
        let reasons: Vec<_> = bad(&store).into_iter().map(|(_, reason)| reason).collect();
        assert_eq!(reasons, ["the index has no entry of it: nobody is served it"]);

        let moved = RecordEntry { key: RecordKey { arrival: Arrival(5), ..entry.key }, ..entry };
        let writes = [put(1), Write::PutRecord { entry: moved, bytes }];
        let reasons: Vec<_> = bad(&self::store(writes)).into_iter().map(|(_, reason)| reason).collect();
        assert_eq!(reasons, ["its entry in the index says something else of it"]);
    }

    #[test]
    fn times_at_which_no_record_can_be_taken_are_found() {
        let (entry, bytes) = record(1);
        for (received, reason) in [
            (entry.timestamp.0 - MEMBER_TIMESTAMP_FUTURE_SECONDS - 1, "it was written long after it came"),
            (entry.expiry().0, "it had expired before it came"),
        ] {
            let entry = RecordEntry { received: UnixSeconds(received), ..entry };
            let found = bad(&store([Write::PutRecord { entry, bytes: bytes.clone() }]));
            assert_eq!(found.into_iter().map(|(_, reason)| reason).collect::<Vec<_>>(), [reason]);
        }
    }

    #[test]
    fn a_tombstone_needs_the_delete_that_made_it() {
        let (entry, _) = record(1);
        let name = DeleteName::of(b"no delete at all");
        let tombstone = Tombstone {
            address: entry.key.address,
            id: entry.id,
            timestamp: entry.timestamp,
            ttl: entry.ttl,
            delete: name,
        };
        let alone = bad(&store([Write::PutTombstone(tombstone)]));
        let expected = (format!("tombstone {}", tombstone.item()), "the signed delete that made it is not there");
        assert_eq!(alone, [expected]);
        let delete = Write::PutSignedDelete { name, bytes: b"no delete at all".to_vec() };
        let both = store([delete, Write::PutTombstone(tombstone)]);
        assert_eq!(bad(&both), [(format!("signed delete {}", hex::encode(name)), "it does not decode")]);
    }

    #[test]
    fn of_many_bad_rows_the_first_are_named_and_all_are_counted() {
        let mut store = store((0..50).map(put));
        (0..50).for_each(|n| store.damage(Family::Records, &record(n).0.key.to_bytes()));
        let checked = checked(&store);
        assert_eq!((checked.bad, checked.first_bad.len()), (50, NAMED));
    }
}
