//! What a node needs for as many records as it takes, and how soon it serves with them, on the real store.

use std::time::Instant;

use super::full_disk::OnDisk;
use super::*;
use crate::process::resident_bytes;
use crate::store::Write;
use crate::store::records::{RecordEntry, RecordKey, Source};
use crate::store::rocks::RocksStore;

/// Mailboxes.
const OWNERS: u32 = 400;
/// Records of each, of the smallest size: 100,000 in all.
const EACH: u8 = 250;

/// Not a test of anything that must hold on every machine: it prints what 100,000 records of 1 KiB cost.
#[test]
#[ignore = "a measurement of some minutes"]
fn memory_of_a_hundred_thousand_records() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = OnDisk::open(directory.path());
    let mib = || resident_bytes().unwrap() as f64 / f64::from(1 << 20);
    let (before, began) = (mib(), Instant::now());
    for index in 0..OWNERS {
        let draft = Draft::to(&owner_in(MINE, index));
        for n in 0..EACH {
            assert!(is_stored(&node.store(&draft.record(n))));
            // What would go to other members.
            node.bench.outputs.clear();
        }
    }
    let (after, took) = (mib(), began.elapsed().as_secs_f64());
    println!("{before:.1} MiB before, {after:.1} MiB after 100,000 records in {took:.0} s");
    node.close();
    let (before, began) = (mib(), Instant::now());
    let node = OnDisk::open(directory.path());
    println!("{before:.1} MiB closed, {:.1} MiB opened again in {:.1} s", mib(), began.elapsed().as_secs_f64());
    assert_eq!(node.bench.mail.records(), usize::from(EACH) * OWNERS as usize);
    node.close();
}

/// Records of 2 KiB in the database, and how many are written at a time.
const FILLED: u32 = 100_000;
const BYTES: usize = 2048;
const BATCH: u32 = 500;
/// How often the node starts on them.
const STARTS: usize = 5;

/// Record number `n` as it lies on disk, of one of four hundred mailboxes. The bytes of each are others, as ciphertext is:
/// nothing is to be had by compressing them.
fn on_disk(n: u32, owners: &[SigningKey], rng: &mut ChaCha20Rng) -> Write {
    let owner = &owners[n as usize % owners.len()];
    let mut bytes = vec![0; BYTES];
    rng.fill_bytes(&mut bytes);
    let mut id = [0; 32];
    rng.fill_bytes(&mut id);
    let entry = RecordEntry {
        key: RecordKey { address: Address::mailbox(&owner.public()), arrival: Arrival(n.into()) },
        id: RecordId::new(id),
        timestamp: UnixSeconds(START.seconds().0 - u64::from(n % TTL / 2)),
        ttl: TTL,
        length: BYTES as u32,
        source: Source::Client,
        received: START.seconds(),
    };
    Write::PutRecord { entry, bytes }
}

/// Not a test of anything that must hold on every machine: it prints how soon a node that was killed serves with 100,000
/// records of 2 KiB, from opening its database. They are written into it as they are, past the rules, which would take
/// minutes.
#[test]
#[ignore = "a measurement of some seconds"]
fn start_with_a_hundred_thousand_records() {
    let directory = tempfile::tempdir().unwrap();
    let owners: Vec<SigningKey> = (0..OWNERS).map(|index| owner_in(MINE, index)).collect();
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    let mut store = RocksStore::open(directory.path()).unwrap();
    for first in (1..=FILLED).step_by(BATCH as usize) {
        let writes = (first..first + BATCH).map(|n| on_disk(n, &owners, &mut rng)).collect();
        store.write(&Batch { writes }).unwrap();
    }
    store.sync().unwrap();
    drop(store);
    for _ in 0..STARTS {
        let began = Instant::now();
        let mut node = OnDisk::open(directory.path());
        let loaded = began.elapsed();
        assert_eq!(node.bench.mail.records(), FILLED as usize);
        let read = node.read_all();
        let served = began.elapsed();
        assert_eq!(read.len(), (FILLED / OWNERS) as usize);
        assert!(read.iter().all(|record| record.len() == BYTES));
        println!(
            "100,000 records of 2 KiB: opened and loaded in {:.2} s, a mailbox served after {:.2} s",
            loaded.as_secs_f64(),
            served.as_secs_f64()
        );
        node.close();
    }
}
