//! Reading back what is on disk: what is damaged is found, served to nobody, and fetched again.

use sotto_behaviours::network::Verdict as GossipVerdict;
use sotto_proto::id::ChainId;

use super::replicating::World;
use super::*;
use crate::store::check::{Suspect, Verdict};
use crate::store::records::{RecordEntry, RecordKey, Source};
use crate::store::{MetaKey, Write};

/// Records of so many owners, of each so many.
fn many(owners: u32, each: u8) -> Vec<Record> {
    let drafts = (0..owners).map(|index| Draft::to(&owner_in(MINE, index)));
    drafts.flat_map(|draft| (0..each).map(move |n| draft.record(n)).collect::<Vec<_>>()).collect()
}

/// What a node has on disk of a record that arrived as the `n`th.
fn entry(record: &Record, n: u64, chain: &ChainId) -> RecordEntry {
    let envelope = record.envelope();
    RecordEntry {
        key: RecordKey { address: envelope.address(), arrival: Arrival(n) },
        id: envelope.id(chain),
        timestamp: envelope.timestamp(),
        ttl: envelope.ttl().seconds(),
        length: u32::try_from(record.encode().len()).unwrap(),
        source: Source::Gossip,
        received: envelope.timestamp(),
    }
}

/// A disk with these records, arrived in this order, and their entries.
fn disk(records: &[Record]) -> (Disk, Vec<RecordEntry>) {
    let chain = TestChain::new().genesis.chain_id();
    let entries: Vec<_> = records.iter().zip(1..).map(|(record, n)| entry(record, n, &chain)).collect();
    let puts = records.iter().zip(&entries);
    let writes = puts.map(|(record, entry)| Write::PutRecord { entry: *entry, bytes: record.encode() }).collect();
    let mut disk = Disk::default();
    disk.written.write(&Batch { writes }).unwrap();
    disk.synced = disk.written.clone();
    (disk, entries)
}

impl Bench {
    fn spoil(&mut self, write: Write) {
        self.disk.written.write(&Batch::of(write)).unwrap();
    }

    /// Whether everything the index has is on disk as it was written.
    fn is_sound(&self) -> bool {
        let entries = self.mail.index.on_disk_after(Arrival(0), usize::MAX, u64::MAX).into_iter();
        let tombstones = self.mail.index.tombstones_after(None, usize::MAX).into_iter().map(Suspect::Tombstone);
        let suspects = entries.map(Suspect::Record).chain(tombstones).collect();
        let found = look_up(&self.disk.written, &Lookup::Check { chain: self.view.chain, suspects });
        matches!(found, Found::Checked(verdicts) if verdicts.iter().all(|verdict| *verdict == Verdict::Sound))
    }

    fn rows_of_records(&self) -> usize {
        self.disk.written.rows(Family::Records, &[], &[], usize::MAX).unwrap().len()
    }
}

#[test]
fn ten_thousand_damaged_records_are_found_and_fetched_from_a_member_within_a_minute() {
    const RECORDS: usize = 10_000;
    let records = many(40, 250);
    let (disk, entries) = disk(&records);
    let mut world = World::on(&[0, 1], &disk);
    world.nodes.values_mut().for_each(|bench| bench.loses_power = false);
    world.connect();
    assert_eq!(world.at(0).mail.records(), RECORDS);
    for entry in &entries {
        world.at(0).disk.written.damage(Family::Records, &entry.key.to_bytes());
    }
    world.pass(60);
    let bench = world.at(0);
    let counts = bench.mail.counts();
    assert_eq!((counts.damaged, counts.from_repair), (RECORDS as u64, RECORDS as u64));
    assert_eq!((bench.mail.records(), bench.rows_of_records()), (RECORDS, RECORDS));
    assert!(bench.is_sound());
    assert_eq!(
        world.at(1).mail.counts(),
        MailCounts { read_back: world.at(1).mail.counts().read_back, ..MailCounts::default() }
    );
}

#[test]
fn what_is_damaged_at_every_member_but_never_the_same_is_lost_nowhere() {
    let records = many(4, 75);
    let (disk, entries) = disk(&records);
    let mut world = World::on(&[0, 1, 2], &disk);
    world.connect();
    for (index, entry) in entries.iter().enumerate() {
        let number = u32::try_from(index % 3).unwrap();
        world.at(number).disk.written.damage(Family::Records, &entry.key.to_bytes());
    }
    world.pass(60);
    for number in 0..3 {
        let bench = world.at(number);
        assert_eq!((bench.mail.records(), bench.mail.counts().damaged), (300, 100), "{number}");
        assert!(bench.is_sound(), "{number}");
        assert_eq!(bench.read_all(&owner()).len(), 75);
    }
}

#[test]
fn a_node_that_lost_something_says_so_until_members_were_compared_with() {
    let records = many(1, 20);
    let (disk, entries) = disk(&records);
    let mut bench = Bench::on(disk, MailLimits::default());
    assert!(!bench.mail.is_syncing());
    bench.disk.written.damage(Family::Records, &entries[3].key.to_bytes());
    bench.pass(31_000);
    assert_eq!((bench.mail.records(), bench.mail.counts().damaged), (19, 1));
    assert!(bench.mail.is_syncing(), "whoever reads here may lack it");
    bench.meet_two();
    assert!(!bench.mail.is_syncing());
}

#[test]
fn what_is_damaged_is_found_while_mail_never_stops() {
    let records = many(1, 20);
    let (disk, entries) = disk(&records);
    let mut bench = Bench::on(disk, MailLimits::default());
    bench.pass(31_000);
    bench.disk.written.damage(Family::Records, &entries[3].key.to_bytes());
    for n in 100..160 {
        bench.store(&record(n));
        bench.pass(1000);
    }
    assert_eq!((bench.mail.records(), bench.mail.counts().damaged), (79, 1));
}

#[test]
fn each_kind_of_damage_of_a_record_is_found() {
    let records = many(1, 8);
    let (disk, entries) = disk(&records);
    let mut bench = Bench::on(disk, MailLimits::default());
    let row = |entry: &RecordEntry| Write::DeleteRow { family: Family::Records, key: entry.key.to_bytes().to_vec() };
    bench.disk.written.damage(Family::Records, &entries[0].key.to_bytes());
    bench.spoil(row(&entries[1])); // an entry without its row
    bench.spoil(Write::PutRecord { entry: entries[2], bytes: records[3].encode() }); // another's bytes, well written
    bench.spoil(Write::PutRecord { entry: entries[4], bytes: b"no record at all".to_vec() });
    bench.pass(31_000);
    let kept: Vec<_> = [3, 5, 6, 7].map(|n: usize| records[n].encode()).into();
    assert_eq!(bench.read_all(&owner()), kept);
    assert_eq!(bench.mail.counts(), MailCounts { read_back: 8, damaged: 4, ..MailCounts::default() });
    assert_eq!(bench.rows_of_records(), 4, "damaged rows are gone");
    assert!(bench.is_sound());
}

#[test]
fn a_record_whose_entry_is_damaged_stays_and_its_entry_is_written_again() {
    let records = many(1, 8);
    let (disk, entries) = disk(&records);
    let mut bench = Bench::on(disk, MailLimits::default());
    bench.disk.written.damage(Family::RecordIds, entries[0].id.as_ref());
    bench.spoil(Write::DeleteRow { family: Family::RecordIds, key: entries[1].id.as_ref().to_vec() });
    assert!(!bench.is_sound());
    bench.pass(31_000);
    assert!(bench.is_sound());
    assert_eq!(bench.mail.counts(), MailCounts { read_back: 8, damaged: 2, mended: 2, ..MailCounts::default() });
    let bench = bench.after_power_loss();
    assert_eq!((bench.mail.records(), bench.mail.counts().damaged), (8, 0));
}

#[test]
fn a_record_whose_entry_was_damaged_at_a_start_is_taken_in_again_under_a_new_number() {
    let records = many(1, 8);
    let (mut disk, entries) = disk(&records);
    disk.written.damage(Family::RecordIds, entries[2].id.as_ref());
    let mut bench = Bench::on(disk, MailLimits::default());
    assert_eq!((bench.mail.records(), bench.mail.counts().damaged), (7, 1));
    bench.pass(2000);
    assert_eq!(bench.mail.records(), 8);
    assert!(bench.mail.index.find(&entries[2].id).unwrap().entry.key.arrival > Arrival(8), "cursors have passed 3");
    assert_eq!(bench.rows_of_records(), 8, "the row that nobody knew is gone");
    assert!(bench.is_sound());
}

#[test]
fn rows_without_entries_are_looked_for_until_all_were_over_restarts() {
    let records = many(1, 80);
    let (mut disk, entries) = disk(&records);
    disk.written.damage(Family::RecordIds, entries[79].id.as_ref());
    let bench = Bench::on(disk, MailLimits::default());
    assert_eq!((bench.mail.records(), bench.mail.counts().damaged), (79, 1));
    let mut bench = bench.after_power_loss();
    bench.pass(150);
    assert_eq!(
        (bench.mail.records(), bench.mail.counts().damaged),
        (79, 0),
        "the damaged row went with the first start"
    );
    let mut bench = bench.after_power_loss();
    bench.pass(2000);
    assert_eq!((bench.mail.records(), bench.rows_of_records()), (80, 80));
    assert!(bench.is_sound());
    let due = bench.disk.synced.meta(MetaKey::Strays).unwrap();
    assert_eq!(due, Some(Vec::new()), "no later start looks again");
}

#[test]
fn what_is_made_of_a_row_without_an_entry_is_one_write_and_is_made_again_if_that_fails() {
    // The rows fit one batch, or more of them are being looked at when the write fails.
    for each in [8, 80] {
        let records = many(1, each);
        let (mut disk, entries) = disk(&records);
        disk.written.damage(Family::RecordIds, entries[2].id.as_ref());
        let mut bench = Bench::on(disk, MailLimits::default());
        bench.prompt = false;
        bench.pass(200);
        for what in ["keys", "rows"] {
            let at = bench.outputs.iter().position(|output| matches!(output, Output::LookUp { .. })).expect(what);
            let output = bench.outputs.remove(at);
            bench.do_on_disk(output);
        }
        let persists = bench.take_persists();
        let [(_, token, _)] = persists[..] else { panic!("{persists:?}") };
        bench.pass(200);
        bench.fail(token);
        let each = usize::from(each);
        assert_eq!((bench.mail.records(), bench.rows_of_records()), (each - 1, each));
        bench.prompt = true;
        bench.pass(1); // what waits for the disk
        bench.pass(2000);
        assert_eq!((bench.mail.records(), bench.rows_of_records()), (each, each));
        assert!(bench.is_sound());
    }
}

#[test]
fn a_row_that_nobody_knows_is_no_way_back_for_what_was_deleted() {
    let mut bench = Bench::new();
    for n in 1..=3 {
        bench.store(&record(n));
    }
    let gone = bench.mail.index.find(&id(&bench, &record(2))).unwrap().entry;
    bench.delete(&owner(), &[&record(2)]);
    // Its row is there again, without an entry; and another entry is damaged, so that somebody looks.
    bench.spoil(Write::PutRecord { entry: gone, bytes: record(2).encode() });
    bench.disk.written.damage(Family::RecordIds, gone.id.as_ref());
    bench.disk.synced = bench.disk.written.clone();
    let mut bench = bench.after_power_loss();
    bench.pass(2000);
    assert_eq!((bench.mail.records(), bench.rows_of_records()), (2, 2));
    assert!(bench.mail.index.is_deleted(&gone.key.address, &gone.id));
}

#[test]
fn a_tombstone_is_mended_from_its_delete_and_lost_with_it() {
    let records = many(1, 4);
    let (disk, _) = disk(&records);
    let mut world = World::on(&[0, 1], &disk);
    let delete = world.at(0).signed_delete(&owner(), &[&records[0], &records[1]]);
    for number in [0, 1] {
        assert_eq!(world.at(number).gossip_delete(&delete), GossipVerdict::Accept);
    }
    world.connect();
    let bench = world.at(0);
    let tombstones = bench.mail.index.tombstones_after(None, 9);
    bench.disk.written.damage(Family::Tombstones, tombstones[0].item().as_ref());
    bench.pass(46_000);
    assert!(bench.is_sound());
    assert_eq!((bench.mail.counts().mended, bench.mail.index.tombstone_count()), (1, 2));
    let key = [b"d".as_slice(), tombstones[0].delete.as_ref()].concat();
    bench.disk.written.damage(Family::Misc, &key);
    bench.pass(46_000);
    assert_eq!(bench.mail.index.tombstone_count(), 0, "what made them is gone, so they can be shown to nobody");
    world.pass(30);
    let bench = world.at(0);
    assert_eq!(bench.mail.index.tombstone_count(), 2, "the other member has it");
    assert!(bench.is_sound());
    assert_eq!(bench.mail.records(), 2, "and nothing has come back meanwhile");
}

#[test]
fn what_a_member_asks_for_and_is_damaged_is_not_given_and_is_fetched_again() {
    let records = many(1, 30);
    let (disk, entries) = disk(&records);
    let mut world = World::on(&[0, 1, 2], &disk);
    world.connect();
    // One lacks everything; the others have it, each with some damage.
    let empty = Bench::newcomer(3, Disk::default(), MailLimits::default());
    for (number, damaged) in [(0, 0..5), (1, 5..10), (2, 10..15)] {
        for entry in &entries[damaged] {
            world.at(number).disk.written.damage(Family::Records, &entry.key.to_bytes());
        }
    }
    world.nodes.insert(3, empty);
    world.pass(15);
    world.connect();
    world.pass(45);
    for number in 0..4 {
        assert_eq!(world.at(number).mail.records(), 30, "{number}");
        assert!(world.at(number).is_sound(), "{number}");
        assert_eq!(world.at(number).read_all(&owner()).len(), 30, "{number}");
    }
}

#[test]
fn nothing_is_dropped_while_nothing_can_be_written() {
    let records = many(1, 8);
    let (disk, entries) = disk(&records);
    let mut bench = Bench::on(disk, MailLimits::default());
    bench.disk.written.damage(Family::Records, &entries[0].key.to_bytes());
    bench.may_write = false;
    bench.pass(120_000);
    assert_eq!((bench.mail.records(), bench.mail.counts().read_back), (8, 0));
    assert_eq!(bench.read_all(&owner()).len(), 7, "served it is not all the same");
    assert_eq!(bench.mail.records(), 8);
    bench.may_write = true;
    assert_eq!(bench.read_all(&owner()).len(), 7);
    assert_eq!(bench.mail.records(), 7);
}

#[test]
fn reading_back_takes_little_at_a_time_and_one_batch_after_the_other() {
    let records = many(4, 200);
    let (disk, _) = disk(&records);
    let mut bench = Bench::on(disk, MailLimits::default());
    let lookups = |bench: &mut Bench| {
        bench.take(|output| match output {
            Output::LookUp { token, lookup: Lookup::Check { suspects, .. } } => Some((*token, suspects.len())),
            _ => None,
        })
    };
    bench.prompt = false;
    bench.pass(31_000);
    let asked = lookups(&mut bench);
    let [(token, count)] = asked[..] else { panic!("{asked:?}") };
    assert_eq!(count, 64);
    // A disk that is too busy is asked again, not at once.
    bench.act(|mail, env, out| mail.on_found(token, Found::Failed("busy".into()), env, out));
    assert_eq!(lookups(&mut bench), []);
    bench.prompt = true;
    bench.pass(60_000);
    let read_back = bench.mail.counts().read_back;
    assert!((1000..=1700).contains(&read_back), "all of it in each half minute: {read_back}");
}

#[test]
fn an_epoch_without_the_numbers_given_out_under_it_is_none() {
    let mut bench = Bench::new();
    bench.store(&record(1));
    let old = records(bench.retrieve(&owner(), Cursor::default(), 9999));
    bench.spoil(Write::PutMeta(MetaKey::Arrivals, b"damaged".to_vec()));
    bench.disk.synced = bench.disk.written.clone();
    let mut bench = bench.after_power_loss();
    let cursor = Cursor { epoch: old.epoch, seq: old.next_seq };
    assert_eq!(error(bench.retrieve(&owner(), cursor, 9999)), Error::CursorUnknown);
    let new = records(bench.retrieve(&owner(), Cursor::default(), 9999));
    assert_eq!(new.records.len(), 1);
    assert_ne!(new.epoch, old.epoch);
}

#[test]
fn an_old_copy_brings_nothing_back_that_was_deleted_or_has_expired() {
    let short = Draft { ttl: 60, ..Draft::to(&owner()) }.record(9);
    let mut world = World::on(&[0, 1], &Disk::default());
    for record in [record(1), record(2), short] {
        for number in [0, 1] {
            assert_eq!(world.at(number).gossip_record(&record), GossipVerdict::Accept);
        }
    }
    let copy = world.at(0).disk.clone();
    let delete = world.at(0).signed_delete(&owner(), &[&record(1)]);
    for number in [0, 1] {
        assert_eq!(world.at(number).gossip_delete(&delete), GossipVerdict::Accept);
    }
    world.pass(300);
    // The copy takes the place of the disk.
    let now = world.at(1).now;
    let mut restored = Bench::newcomer(0, copy, MailLimits::default());
    restored.now = now;
    assert_eq!(restored.mail.records(), 3);
    world.nodes.insert(0, restored);
    world.connect();
    world.pass(40);
    for number in [0, 1] {
        let bench = world.at(number);
        assert_eq!(bench.read_all(&owner()), [record(2).encode()], "{number}");
        assert_eq!((bench.mail.records(), bench.mail.index.tombstone_count()), (1, 1), "{number}");
    }
}
