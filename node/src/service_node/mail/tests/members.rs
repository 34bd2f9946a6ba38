//! What members bring is judged by form and floor, never by this node's lateness.

use sotto_proto::limits::MEMBER_TIMESTAMP_FUTURE_SECONDS;

use super::*;

#[test]
fn a_record_that_a_client_could_no_longer_store_is_taken_from_a_member() {
    let mut bench = Bench::new();
    // Two days old: its anchor is far in the past, its timestamp out of the window.
    bench.view = view(&TestChain::new().genesis, Height(200_000));
    let block = crate::store::Write::PutBlock { height: ANCHOR, hash: anchor_hash(ANCHOR), bytes: vec![1] };
    bench.disk.written.write(&Batch::of(block)).unwrap();
    bench.follow();
    bench.now.wall = UnixMillis(START.0 + 172_800_000);
    let old = Draft { ttl: 345_600, ..Draft::to(&owner()) }.record(1);
    assert_eq!(error(bench.store(&old)), Error::Expired);
    assert_eq!(bench.gossip_record(&old), Verdict::Accept);
    assert_eq!(bench.mail.records(), 1);
}

#[test]
fn what_is_wrong_for_ever_is_rejected_and_what_is_wrong_here_is_ignored() {
    let mut bench = Bench::new();
    let draft = || Draft::to(&owner());
    let at = |seconds: u64| UnixSeconds(START.seconds().0 + seconds);
    let cases = [
        ("no work", draft().without_work(1), Verdict::Reject),
        ("no anchor", Draft { anchor: Height(121), ..draft() }.record(1), Verdict::Reject),
        ("anchor ahead", Draft { anchor: Height(180), ..draft() }.record(1), Verdict::Ignore),
        ("foreign", Draft::to(&owner_in(OTHER, 0)).record(1), Verdict::Ignore),
        (
            "expired",
            Draft { timestamp: UnixSeconds(START.seconds().0 - 60), ttl: 60, ..draft() }.record(1),
            Verdict::Ignore,
        ),
        ("future", Draft { timestamp: at(MEMBER_TIMESTAMP_FUTURE_SECONDS + 1), ..draft() }.record(1), Verdict::Ignore),
        ("nearly", Draft { timestamp: at(MEMBER_TIMESTAMP_FUTURE_SECONDS), ..draft() }.record(1), Verdict::Accept),
    ];
    for (what, record, expected) in cases {
        assert_eq!(bench.gossip_record(&record), expected, "{what}");
    }
    assert_eq!(bench.mail.records(), 1);
}

#[test]
fn gossip_is_passed_on_at_once_and_on_disk_a_little_later() {
    let mut bench = Bench::new();
    bench.prompt = false;
    assert_eq!(bench.gossip_record(&record(1)), Verdict::Accept);
    let [(_, _, sync)] = &bench.take_persists()[..] else { panic!() };
    assert_eq!(*sync, Sync::Later);
    assert!(bench.published().is_empty());
}

#[test]
fn what_gossip_brought_and_power_took_can_come_again_behind_every_cursor() {
    let mut bench = Bench::new();
    bench.store(&record(1));
    let cursor = {
        let read = records(bench.retrieve(&owner(), Cursor::default(), 9999));
        Cursor { epoch: read.epoch, seq: read.next_seq }
    };
    bench.prompt = false;
    for n in 2..=5 {
        bench.gossip_record(&record(n)); // written nowhere
    }
    let mut bench = bench.after_power_loss();
    assert_eq!(bench.mail.records(), 1);
    for n in [5, 3] {
        assert_eq!(bench.gossip_record(&record(n)), Verdict::Accept);
    }
    let read = records(bench.retrieve(&owner(), cursor, 9999));
    let found: Vec<_> = read.records.iter().map(|stored| stored.record.clone()).collect();
    assert_eq!(found, [record(5).encode(), record(3).encode()]);
}

#[test]
fn a_member_ahead_by_a_fork_is_not_punished() {
    let mut bench = Bench::new();
    bench.view = view(&TestChain::new().genesis, Height(177));
    // Our block 180 is another one than the sender's; none of them is final.
    let tip = (Height(180), BlockHash::new([7; 32]));
    bench.act(|mail, env, out| mail.on_chain(tip, env, out));
    let record = Draft { anchor: Height(180), ..Draft::to(&owner()) };
    let theirs = (0..50)
        .map(|n| record.record(n))
        .find(|record| !Work::new(record.envelope(), &tip.1).verify(record.nonce(), Difficulty::MIN));
    assert_eq!(bench.gossip_record(&theirs.unwrap()), Verdict::Ignore);
}
