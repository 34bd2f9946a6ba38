//! What must hold of a row of the mail, for everybody who reads rows back: the check of a stopped node
//! ([`super::verify`]), the running node that looks through what it has ([`super::mail::Lookup::Check`]), and the copying
//! of what can still be read of a damaged database ([`super::salvage`]).

use sotto_proto::envelope::Record;
use sotto_proto::id::{ChainId, RecordId};
use sotto_proto::request::SignedDelete;

use super::records::{self, DeleteName, RecordEntry, RecordKey, Source, Tombstone, misc};
use super::schema::Family;
use super::{Store, StoreError, Write};

/// A record's row that is what was written.
#[derive(Clone, Debug)]
pub(super) struct SoundRecord<'a> {
    /// Where it lies.
    pub(super) key: RecordKey,
    /// Its id, which is the hash of its bytes.
    pub(super) id: RecordId,
    /// It.
    pub(super) record: Record,
    /// Its bytes.
    pub(super) bytes: &'a [u8],
}

impl SoundRecord<'_> {
    /// Whether an entry of the index says of it what is so.
    pub(super) fn is_said_by(&self, entry: &RecordEntry) -> bool {
        let envelope = self.record.envelope();
        (entry.key, entry.id, entry.timestamp) == (self.key, self.id, envelope.timestamp())
            && (entry.ttl, u64::from(entry.length)) == (envelope.ttl().seconds(), self.bytes.len() as u64)
    }

    /// An entry of the index for it, if its own is lost. How and when it came is not in its bytes: as if a member had
    /// handed it over when it was new.
    pub(super) fn entry(&self) -> RecordEntry {
        let envelope = self.record.envelope();
        RecordEntry {
            key: self.key,
            id: self.id,
            timestamp: envelope.timestamp(),
            ttl: envelope.ttl().seconds(),
            length: u32::try_from(self.bytes.len()).unwrap_or(u32::MAX),
            source: Source::Repair,
            received: envelope.timestamp(),
        }
    }
}

/// Reads the row of a record, and makes sure that it is one.
///
/// # Errors
/// What is wrong with it.
pub(super) fn record<'a>(chain: &ChainId, key: &[u8], row: &'a [u8]) -> Result<SoundRecord<'a>, &'static str> {
    let place = RecordKey::from_bytes(key).ok_or("the key is none of a record")?;
    let bytes = records::open(key, row, "a record").map_err(|_| "the checksum is wrong")?;
    let record = Record::decode(bytes).map_err(|_| "it does not decode")?;
    if record.envelope().address() != place.address {
        return Err("it is of another address than its key");
    }
    let id = record.envelope().id(chain);
    Ok(SoundRecord { key: place, id, record, bytes })
}

/// Reads the row of a tombstone, and makes sure that it is one.
///
/// # Errors
/// What is wrong with it.
pub(super) fn tombstone(key: &[u8], row: &[u8]) -> Result<Tombstone, &'static str> {
    let tombstone = records::parse_tombstone(key, row).map_err(|_| "the checksum or the form is wrong")?;
    let same = tombstone.item().as_bytes().as_slice() == key;
    if same { Ok(tombstone) } else { Err("it is of another item than its key") }
}

/// Reads the row of a signed delete, and makes sure that it is one.
///
/// # Errors
/// What is wrong with it.
pub(super) fn signed_delete<'a>(key: &[u8], row: &'a [u8]) -> Result<&'a [u8], &'static str> {
    let bytes = records::open(key, row, "a signed delete").map_err(|_| "the checksum is wrong")?;
    if misc::delete(&DeleteName::of(bytes)) != key {
        return Err("it is another than its key names");
    }
    SignedDelete::decode(bytes).map_err(|_| "it does not decode")?;
    Ok(bytes)
}

/// Something on disk that is to be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspect {
    /// A record, as the index knows it.
    Record(RecordEntry),
    /// A tombstone, and the signed delete that made it.
    Tombstone(Tombstone),
}

/// How it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it was written.
    Sound,
    /// What matters of it is as it was written; what else belongs to it is again after this write.
    Mended(Write),
    /// It is not there, or not what was written.
    Damaged(&'static str),
}

/// Reads something back.
///
/// # Errors
/// When the engine refuses. What is damaged is no error.
pub(super) fn judge<S: Store + ?Sized>(store: &S, chain: &ChainId, suspect: &Suspect) -> Result<Verdict, StoreError> {
    match suspect {
        Suspect::Record(entry) => judge_record(store, chain, entry),
        Suspect::Tombstone(tombstone) => judge_tombstone(store, tombstone),
    }
}

fn judge_record<S: Store + ?Sized>(store: &S, chain: &ChainId, entry: &RecordEntry) -> Result<Verdict, StoreError> {
    let key = entry.key.to_bytes();
    let row = match there(store.row(Family::Records, &key))? {
        Ok(row) => row,
        Err(reason) => return Ok(Verdict::Damaged(reason)),
    };
    let sound = match record(chain, &key, &row) {
        Ok(sound) if sound.is_said_by(entry) => sound,
        Ok(_) => return Ok(Verdict::Damaged("it is another than the index says")),
        Err(reason) => return Ok(Verdict::Damaged(reason)),
    };
    let indexed = there(store.row(Family::RecordIds, entry.id.as_ref()))?;
    let same = |row: Vec<u8>| records::parse_entry(entry.id.as_ref(), &row).is_ok_and(|said| said == *entry);
    if indexed.is_ok_and(same) {
        return Ok(Verdict::Sound);
    }
    Ok(Verdict::Mended(Write::PutRecord { entry: *entry, bytes: sound.bytes.to_vec() }))
}

fn judge_tombstone<S: Store + ?Sized>(store: &S, known: &Tombstone) -> Result<Verdict, StoreError> {
    let name = misc::delete(&known.delete);
    let made_by = match there(store.row(Family::Misc, &name))? {
        Ok(row) => signed_delete(&name, &row).map(drop),
        Err(reason) => Err(reason),
    };
    if let Err(reason) = made_by {
        return Ok(Verdict::Damaged(reason));
    }
    let item = known.item();
    let row = there(store.row(Family::Tombstones, item.as_ref()))?;
    let same = |row: Vec<u8>| tombstone(item.as_ref(), &row).is_ok_and(|said| said == *known);
    Ok(if row.is_ok_and(same) { Verdict::Sound } else { Verdict::Mended(Write::PutTombstone(*known)) })
}

/// The row, or why there is none to look at.
fn there(read: Result<Option<Vec<u8>>, StoreError>) -> Result<Result<Vec<u8>, &'static str>, StoreError> {
    match read {
        Ok(Some(row)) => Ok(Ok(row)),
        Ok(None) => Ok(Err("it is not there")),
        Err(StoreError::Damaged(_)) => Ok(Err("a table of the database cannot be read here")),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Batch;
    use super::super::memory::MemoryStore;
    use super::super::verify::tests::{CHAIN, put, record as written};
    use super::*;

    fn store(writes: impl IntoIterator<Item = Write>) -> MemoryStore {
        let mut store = MemoryStore::default();
        store.write(&Batch { writes: writes.into_iter().collect() }).unwrap();
        store
    }

    fn judged(store: &MemoryStore, entry: RecordEntry) -> Verdict {
        judge(store, &CHAIN, &Suspect::Record(entry)).unwrap()
    }

    #[test]
    fn a_record_is_sound_only_with_both_rows_as_they_were_written() {
        let (entry, bytes) = written(1);
        assert_eq!(judged(&store([put(1)]), entry), Verdict::Sound);
        assert_eq!(judged(&store([put(2)]), entry), Verdict::Damaged("it is not there"));
        let mut damaged = store([put(1)]);
        damaged.damage(Family::Records, &entry.key.to_bytes());
        assert_eq!(judged(&damaged, entry), Verdict::Damaged("the checksum is wrong"));
        let mut unindexed = store([put(1)]);
        unindexed.damage(Family::RecordIds, entry.id.as_ref());
        let mend = Write::PutRecord { entry, bytes };
        assert_eq!(judged(&unindexed, entry), Verdict::Mended(mend.clone()));
        unindexed.write(&Batch::of(mend)).unwrap();
        assert_eq!(judged(&unindexed, entry), Verdict::Sound);
    }

    #[test]
    fn a_good_row_that_is_not_the_one_of_the_index_is_damage() {
        let (entry, bytes) = written(1);
        let elsewhere = RecordEntry { id: RecordId::new([9; 32]), ..entry };
        let store = store([Write::PutRecord { entry: elsewhere, bytes }]);
        assert_eq!(judged(&store, elsewhere), Verdict::Damaged("it is another than the index says"));
    }

    #[test]
    fn an_entry_made_of_the_bytes_says_what_the_lost_one_said_but_how_it_came() {
        let (entry, bytes) = written(3);
        let key = entry.key.to_bytes();
        let row = records::seal(&key, &bytes);
        let made = record(&CHAIN, &key, &row).unwrap().entry();
        assert_eq!(RecordEntry { source: entry.source, received: entry.received, ..made }, entry);
    }

    #[test]
    fn a_tombstone_is_nothing_without_its_delete_and_is_written_again_without_its_row() {
        let (entry, _) = written(1);
        let name = DeleteName::of(b"no delete at all");
        let tombstone = Tombstone {
            address: entry.key.address,
            id: entry.id,
            timestamp: entry.timestamp,
            ttl: entry.ttl,
            delete: name,
        };
        let alone = store([Write::PutTombstone(tombstone)]);
        let verdict = judge(&alone, &CHAIN, &Suspect::Tombstone(tombstone)).unwrap();
        assert_eq!(verdict, Verdict::Damaged("it is not there"));
        let delete = Write::PutSignedDelete { name, bytes: b"no delete at all".to_vec() };
        let verdict = judge(&store([delete]), &CHAIN, &Suspect::Tombstone(tombstone)).unwrap();
        assert_eq!(verdict, Verdict::Damaged("it does not decode"));
    }
}
