//! Expiry: never served, swept after a while, never by a clock that may be wrong.

use super::*;
use crate::store::mail;

fn on_disk(bench: &Bench) -> usize {
    mail::record_entries(&bench.disk.written, ItemId::new([0; 32]), 99).unwrap().rows.len()
}

fn short(n: u8) -> Record {
    Draft { ttl: 60, ..Draft::to(&owner()) }.record(n)
}

#[test]
fn what_has_expired_is_not_served_and_gone_from_disk_two_minutes_later() {
    let mut bench = Bench::new();
    bench.store(&short(1));
    bench.store(&record(2));
    bench.pass(59_999);
    assert_eq!(bench.read_all(&owner()).len(), 2);
    bench.pass(1);
    assert_eq!(bench.read_all(&owner()), [record(2).encode()]);
    bench.pass(119_000);
    assert_eq!(on_disk(&bench), 2);
    bench.pass(2000);
    assert_eq!((on_disk(&bench), bench.mail.records(), bench.mail.counts().expired), (1, 1, 1));
}

#[test]
fn many_go_a_batch_at_a_time() {
    let mut bench = Bench::new();
    bench.params.mailbox_quota = 1 << 40;
    for n in 0..1100_u32 {
        let timestamp = UnixSeconds(START.seconds().0 - u64::from(n / 256));
        let address = Address::mailbox(&owner().public());
        let draft = Draft { ttl: 60, timestamp, address, ..Draft::to(&owner()) };
        assert_eq!(bench.gossip_record(&draft.record((n % 256) as u8)), Verdict::Accept);
    }
    bench.prompt = false;
    bench.pass(181_000);
    let persists = bench.take_persists();
    assert_eq!(persists.len(), 1, "one batch at a time");
    assert!(persists[0].0.writes.len() <= 2 * 512);
    assert!(bench.mail.records() >= 1100 - 512);
    let token = persists[0].1;
    bench.prompt = true;
    bench.act(|mail, env, out| mail.on_written(token, true, env, out));
    bench.pass(1000);
    assert_eq!(bench.mail.records(), 0);
}

#[test]
fn a_wrong_clock_deletes_nothing() {
    let mut bench = Bench::new();
    bench.store(&short(1));
    bench.now.wall.0 += 3_600_000;
    bench.clock = Some(ClockOffset { millis: -3_600_000, peers: 9, off: true });
    bench.pass(60_000);
    assert_eq!(on_disk(&bench), 1);
    bench.now.wall.0 -= 3_600_000;
    bench.clock = Some(ClockOffset { millis: 0, peers: 9, off: false });
    bench.pass(200_000);
    assert_eq!(on_disk(&bench), 0);
}

#[test]
fn a_clock_that_nobody_has_confirmed_deletes_no_further_than_the_chain_has_come() {
    let mut bench = Bench::new();
    bench.store(&short(1));
    bench.clock = None;
    bench.pass(3_600_000);
    assert_eq!(on_disk(&bench), 1, "the last final block is of the beginning");
    bench.clock = Some(ClockOffset { millis: 0, peers: 3, off: false });
    bench.pass(2000);
    assert_eq!(on_disk(&bench), 0);
}
