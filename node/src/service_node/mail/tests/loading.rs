//! The index after a start.

use super::*;
use crate::store::Write;
use crate::store::records::{RecordEntry, RecordKey, Source};

fn entry(n: u32) -> RecordEntry {
    let mut id = *sotto_proto::hash::hash(sotto_proto::domain::STORED, n.to_be_bytes()).as_bytes();
    id[31] = 1;
    RecordEntry {
        key: RecordKey {
            address: Address::new(AddressKind::Mailbox, [(n % 200) as u8; 32]),
            arrival: Arrival(n.into()),
        },
        id: RecordId::new(id),
        timestamp: START.seconds(),
        ttl: TTL,
        length: 2000,
        source: Source::Client,
        received: START.seconds(),
    }
}

/// A disk with so many records, each of one byte; what is not read costs nothing.
fn disk(records: u32) -> Disk {
    let mut disk = Disk::default();
    let put = |n| Write::PutRecord { entry: entry(n), bytes: vec![1] };
    disk.written.write(&Batch { writes: (1..=records).map(put).collect() }).unwrap();
    disk
}

/// A machine on `disk` that has just heard of the chain; nothing is read yet.
fn begun(disk: Disk) -> Bench {
    let mut bench = Bench::new();
    bench.disk = disk;
    bench.outputs.clear();
    bench.mail = Mail::new(MailLimits::default(), &mut ChaCha20Rng::from_seed([8; 32]));
    bench.prompt = false;
    bench.follow();
    bench
}

#[test]
fn a_large_index_is_read_page_by_page_and_numbers_go_on_behind_it() {
    const RECORDS: u32 = 20_000;
    let mut bench = begun(disk(RECORDS));
    let mut pages = 0;
    while let Some(at) = bench.outputs.iter().position(|o| matches!(o, Output::LookUp { .. } | Output::Persist { .. }))
    {
        assert!(!bench.mail.is_ready());
        assert_eq!(error(bench.store(&record(1))), Error::Busy, "the loop goes on meanwhile");
        let output = bench.outputs.remove(at);
        bench.do_on_disk(output);
        pages += 1;
    }
    assert!(bench.mail.is_ready());
    assert!((20..40).contains(&pages), "{pages}");
    assert_eq!(bench.mail.records(), RECORDS as usize);
    assert_eq!(bench.mail.bytes(), u64::from(RECORDS) * 2000);
    bench.prompt = true;
    bench.store(&record(1));
    let stored = bench.mail.index.find(&id(&bench, &record(1))).unwrap().entry.key.arrival;
    assert!(stored > Arrival(RECORDS.into()));
}

#[test]
fn damaged_rows_are_passed_over_and_counted() {
    let mut disk = disk(10);
    disk.written.damage(Family::RecordIds, entry(3).id.as_ref());
    let mut bench = begun(disk);
    bench.serve_disk();
    assert!(bench.mail.is_ready());
    assert_eq!((bench.mail.records(), bench.mail.counts().damaged), (9, 1));
}
