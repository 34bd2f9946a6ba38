//! Real databases, damaged as disks and people damage them, and opened again.

use std::fs;
use std::os::unix::fs::FileExt as _;

use sotto_proto::id::{Height, ItemId};

use super::super::mail::{record, record_entries};
use super::super::rocks::RocksStore;
use super::super::verify::tests::{CHAIN, put, record as written};
use super::super::verify::verify;
use super::super::{Batch, MetaKey, Write};
use super::*;

const NOW: UnixSeconds = UnixSeconds(1_790_000_000);
/// Records of a database: as many as their kind has.
const RECORDS: u64 = 256;

struct Place {
    _root: tempfile::TempDir,
    directory: PathBuf,
}

impl Place {
    /// A database with records in tables, some in the log, and an epoch.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let place = Self { directory: root.path().join("db"), _root: root };
        let mut store = place.open().store;
        let epoch = Write::PutMeta(MetaKey::Epoch, 7_u64.to_be_bytes().to_vec());
        let chain = Write::PutMeta(MetaKey::Chain, CHAIN.as_bytes().to_vec());
        store.write(&Batch { writes: vec![epoch, chain] }).unwrap();
        for n in 0..=u8::MAX {
            store.write(&Batch::of(put(n))).unwrap();
            if n % 100 == 99 {
                store.sync().unwrap();
                drop(store); // what the log has becomes tables when it is opened
                store = place.open().store;
            }
        }
        store.sync().unwrap();
        drop(store);
        place
    }

    fn open(&self) -> Opened {
        open(&self.directory, &CHAIN, NOW).unwrap()
    }

    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.directory).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries.filter(|path| path.to_str().unwrap().ends_with(ending)).collect();
        files.sort();
        files
    }

    /// The largest table.
    fn table(&self) -> PathBuf {
        self.files(".sst").into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
    }

    /// Names beside the database.
    fn beside(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.parent().unwrap()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != "db" && name != "db.origin");
        names.sort();
        names
    }
}

/// Entries whose records can be read and are what was written.
fn sound(store: &dyn Store) -> u64 {
    let (mut from, mut sound) = (Some(ItemId::new([0; 32])), 0);
    while let Some(first) = from {
        let page = record_entries(store, first, 64).unwrap();
        for entry in page.rows {
            let n = u8::try_from(entry.key.arrival.0).unwrap();
            match record(store, &entry.key) {
                Ok(Some(bytes)) => {
                    assert_eq!((entry.id, bytes), (written(n).0.id, written(n).1));
                    sound += 1;
                }
                Ok(None) | Err(StoreError::Damaged(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        from = page.next;
    }
    sound
}

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

fn epoch(store: &dyn Store) -> Option<Vec<u8>> {
    store.meta(MetaKey::Epoch).unwrap()
}

#[test]
fn a_good_database_opens_as_it_is() {
    let place = Place::new();
    for _ in 0..2 {
        let opened = place.open();
        assert_eq!(opened.damage, None);
        assert_eq!(sound(&*opened.store), RECORDS);
        assert_eq!(epoch(&*opened.store), Some(7_u64.to_be_bytes().to_vec()));
    }
    assert_eq!(place.beside(), [""; 0]);
}

#[test]
fn a_flipped_bit_anywhere_in_a_table_costs_some_rows_and_no_start() {
    let length = fs::metadata(Place::new().table()).unwrap().len();
    for part in 0..8 {
        let place = Place::new();
        flip(&place.table(), (length * part / 8 + 20).min(length - 1));
        let opened = place.open();
        let left = sound(&*opened.store);
        assert!(left >= RECORDS / 3, "{left} of {RECORDS}, bit at {part}/8");
        // And it goes on.
        let mut store = opened.store;
        store.write(&Batch::of(put(1))).unwrap();
        store.sync().unwrap();
    }
}

#[test]
fn a_table_that_is_cut_or_gone_is_left_out_and_the_rest_is_copied() {
    for gone in [false, true] {
        let place = Place::new();
        let table = place.table();
        if gone {
            fs::remove_file(&table).unwrap();
        } else {
            let file = fs::OpenOptions::new().write(true).open(&table).unwrap();
            file.set_len(fs::metadata(&table).unwrap().len() / 2).unwrap();
        }
        let opened = place.open();
        let damage = opened.damage.expect("it does not open");
        let left = sound(&*opened.store);
        assert_eq!(left, damage.salvaged.records);
        assert!(left > 0 && left < RECORDS, "{left}");
        assert_eq!(verify(&*opened.store, UnixSeconds(0), &mut |_| ()).unwrap().bad, 0, "what is there is good");
        assert_eq!(epoch(&*opened.store), None, "readers begin anew");
        assert_eq!(place.beside(), [format!("db.damaged-{}", NOW.0)]);
        drop(opened.store);
        assert_eq!(place.open().damage, None, "once");
    }
}

#[test]
fn a_damaged_log_means_an_older_state() {
    let place = Place::new();
    let log = place.files(".log").pop().unwrap();
    flip(&log, fs::metadata(&log).unwrap().len() / 2);
    let opened = place.open();
    let left = sound(&*opened.store);
    assert!((200..RECORDS).contains(&left), "{left}");
    // The first of them, and no other.
    let last = (0..left).all(|n| record(&*opened.store, &written(u8::try_from(n).unwrap()).0.key).unwrap().is_some());
    assert!(last, "none is there without all before it");
}

#[test]
fn a_database_of_which_nothing_says_what_it_is_is_moved_aside_and_a_new_one_begun() {
    for spoil in ["CURRENT", "MANIFEST"] {
        let place = Place::new();
        for entry in fs::read_dir(&place.directory).unwrap().flatten() {
            if entry.file_name().to_str().unwrap().starts_with(spoil) {
                fs::write(entry.path(), "nonsense").unwrap();
            }
        }
        let mut opened = place.open();
        assert!(opened.damage.is_some(), "{spoil}");
        assert_eq!(verify(&*opened.store, UnixSeconds(0), &mut |_| ()).unwrap().bad, 0);
        opened.store.write(&Batch::of(put(1))).unwrap();
        assert_eq!(place.beside(), [format!("db.damaged-{}", NOW.0)]);
    }
}

#[test]
fn a_database_that_opens_and_is_damaged_all_the_same_is_rebuilt_and_two_old_ones_are_kept() {
    let place = Place::new();
    for time in 1..=3 {
        let opened = rebuild(&place.directory, &CHAIN, UnixSeconds(time)).unwrap();
        assert_eq!(opened.damage.unwrap().salvaged.records, RECORDS);
        assert_eq!(sound(&*opened.store), RECORDS);
    }
    assert_eq!(place.beside(), ["db.damaged-2", "db.damaged-3"]);
}

#[test]
fn a_rebuilding_that_was_cut_short_is_finished_or_begun_anew() {
    let place = Place::new();
    let new = place.directory.with_file_name("db.new");
    fs::create_dir(&new).unwrap();
    fs::write(new.join("half"), "a database").unwrap();
    assert_eq!(sound(&*place.open().store), RECORDS, "half a database is none");
    assert_eq!(place.beside(), [""; 0]);
    fs::rename(&place.directory, &new).unwrap();
    assert_eq!(sound(&*place.open().store), RECORDS, "the old one was aside already");
    assert_eq!(place.beside(), [""; 0]);
}

#[test]
fn a_copy_begins_a_new_epoch_and_a_restart_does_not() {
    let place = Place::new();
    let copy = place.directory.with_file_name("copy");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(&place.directory).unwrap().flatten() {
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let mut store = place.open().store;
    store.write(&Batch::of(Write::DeleteRecord { key: written(5).0.key, id: written(5).0.id })).unwrap();
    drop(store);
    fs::remove_dir_all(&place.directory).unwrap();
    fs::rename(&copy, &place.directory).unwrap();
    let opened = place.open();
    assert_eq!(sound(&*opened.store), RECORDS, "an older state");
    assert_eq!(epoch(&*opened.store), Some(Vec::new()), "under no epoch that a reader knows");
    drop(opened);
    let opened = place.open();
    assert_eq!(opened.damage, None);
}

#[test]
fn a_database_of_another_version_or_chain_is_refused_and_not_moved() {
    let place = Place::new();
    let mut store = RocksStore::open(&place.directory).unwrap();
    store.write(&Batch::of(Write::PutMeta(MetaKey::SchemaVersion, 9_u32.to_be_bytes().to_vec()))).unwrap();
    drop(store);
    assert!(matches!(open(&place.directory, &CHAIN, NOW), Err(StoreError::Version { .. })));
    let place = Place::new();
    let other = ChainId::new([9; 32]);
    assert!(matches!(rebuild(&place.directory, &other, NOW), Err(StoreError::OtherChain { .. })));
    assert_eq!(sound(&*place.open().store), RECORDS);
    assert_eq!(place.open().store.block_range().unwrap(), None::<std::ops::RangeInclusive<Height>>);
}
