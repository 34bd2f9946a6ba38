//! What a node needs for as many records as it takes, on the real store.

use std::time::Instant;

use super::full_disk::OnDisk;
use super::*;
use crate::process::resident_bytes;

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
