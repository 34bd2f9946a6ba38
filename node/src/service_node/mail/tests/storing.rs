//! What clients store.

use sotto_proto::envelope::Record;
use sotto_proto::limits::{
    PUBLIC_RECORDS_PER_ADDRESS, TIMESTAMP_FUTURE_SECONDS, TIMESTAMP_PAST_SECONDS, TTL_SECONDS,
    budget::ENVELOPE_DATA_SIZES,
};
use sotto_proto::request::Receipt;
use sotto_proto::sign::Signature;

use super::super::storing::PUBLISHING_BYTES;
use super::*;

fn later(seconds: u64) -> UnixSeconds {
    UnixSeconds(START.seconds().0 + seconds)
}

fn earlier(seconds: u64) -> UnixSeconds {
    UnixSeconds(START.seconds().0 - seconds)
}

#[test]
fn a_stored_record_is_acknowledged_with_a_receipt_that_holds_and_then_published() {
    let mut bench = Bench::new();
    let record = record(1);
    let SwarmResponse::Stored { receipt, signature } = bench.store(&record) else { panic!() };
    let expected = Receipt {
        node: node(0),
        address: record.envelope().address(),
        id: id(&bench, &record),
        expiry: record.envelope().expiry(),
        height: Height(130),
    };
    assert_eq!(receipt, expected);
    assert!(receipt.verify(&bench.view.chain, &signature, &Ed25519));
    assert!(bench.published().is_empty(), "the receipt goes first");
    bench.pass(2);
    assert_eq!(bench.published(), [[vec![RECORD], record.encode()].concat()]);
    assert_eq!(bench.read_all(&owner()), [record.encode()]);
    assert_eq!((bench.mail.records(), bench.mail.bytes()), (1, record.encode().len() as u64));
}

#[test]
fn nothing_is_acknowledged_read_or_published_before_it_is_on_disk() {
    let mut bench = Bench::new();
    bench.prompt = false;
    bench.store_as(1, &record(1), PublishOrder::First);
    assert!(bench.answers().is_empty() && bench.published().is_empty());
    let read = bench.read_at(&owner(), Cursor::default(), 9999);
    bench.ask(2, SwarmRequest::Retrieve(SignedRead::sign(read, &owner(), &bench.view.chain)));
    let waits = |output: &Output| matches!(output, Output::Persist { sync: Sync::Now, .. });
    assert!(bench.outputs.len() == 2 && bench.outputs.iter().all(waits), "{:?}", bench.outputs);
    bench.serve_disk();
    let [(Tunnel(1), stored), (Tunnel(2), read)] = &bench.answers()[..] else { panic!("two answers") };
    assert!(is_stored(stored));
    assert_eq!(records(read.clone()).records.len(), 1);
}

#[test]
fn what_the_disk_refuses_is_refused_and_can_be_stored_again() {
    let mut bench = Bench::new();
    bench.prompt = false;
    bench.store_as(1, &record(1), PublishOrder::First);
    let (_, token, _) = bench.take_persists().remove(0);
    bench.fail(token);
    assert_eq!(error(bench.answer()), Error::Busy);
    assert_eq!(bench.mail.records(), 0);
    assert!(bench.published().is_empty());
    bench.prompt = true;
    assert!(is_stored(&bench.store(&record(1))));
}

#[test]
fn an_acknowledged_record_survives_a_loss_of_power_with_its_number() {
    let mut bench = Bench::new();
    for n in 1..=3 {
        assert!(is_stored(&bench.store(&record(n))));
    }
    let before = records(bench.retrieve(&owner(), Cursor::default(), 9999));
    let mut bench = bench.after_power_loss();
    assert_eq!(records(bench.retrieve(&owner(), Cursor::default(), 9999)), before);
    // And what comes is behind every cursor given out.
    bench.store(&record(4));
    let cursor = Cursor { epoch: before.epoch, seq: before.next_seq };
    let after = records(bench.retrieve(&owner(), cursor, 9999));
    assert_eq!(after.records.len(), 1);
    assert_eq!(after.records[0].record, record(4).encode());
}

#[test]
fn storing_again_is_success_and_stores_nothing() {
    let mut bench = Bench::new();
    let first = bench.store(&record(1));
    bench.outputs.clear();
    assert_eq!(bench.store(&record(1)), first);
    assert_eq!(bench.mail.records(), 1);
    assert!(bench.published().is_empty());
    assert!(bench.outputs.is_empty());
}

#[test]
fn two_nonces_of_one_envelope_are_one_record_whatever_comes_first() {
    let draft = Draft::to(&owner());
    let one = draft.record(1);
    let other = Draft { start: one.nonce().0 + 1, ..draft }.record(1);
    assert_ne!(one.encode(), other.encode());
    for (first, second) in [(&one, &other), (&other, &one)] {
        let mut bench = Bench::new();
        assert!(is_stored(&bench.store(first)) && is_stored(&bench.store(second)));
        assert_eq!(bench.gossip_record(second), Verdict::Accept);
        assert_eq!(bench.read_all(&owner()), [first.encode()]);
    }
}

#[test]
fn a_copy_on_its_way_to_disk_is_synced_before_a_client_that_brings_it_again_is_answered() {
    let mut bench = Bench::new();
    bench.prompt = false;
    assert_eq!(bench.gossip_record(&record(1)), Verdict::Accept);
    bench.store_as(5, &record(1), PublishOrder::First);
    let syncs: Vec<_> = bench
        .outputs
        .iter()
        .filter_map(|o| match o {
            Output::Persist { batch, sync, .. } => Some((batch.batch.writes.is_empty(), *sync)),
            _ => None,
        })
        .collect();
    assert_eq!(syncs, [(false, Sync::Later), (true, Sync::Now)]);
    assert!(bench.answers().is_empty());
    bench.serve_disk();
    assert!(is_stored(&bench.answer()));
    assert!(bench.published().is_empty(), "it came by gossip");
}

#[test]
fn foreign_addresses_are_named_with_their_owner_and_the_height() {
    let mut bench = Bench::new();
    let foreign = Draft::to(&owner_in(OTHER, 0));
    // Work does not matter: the client is sent elsewhere before.
    let wrong = Error::WrongSwarm { swarm: OTHER, height: Height(130) };
    assert_eq!(error(bench.store(&foreign.without_work(1))), wrong);
}

#[test]
fn times_outside_the_window_are_refused() {
    let mut bench = Bench::new();
    let at = |timestamp| Draft { timestamp, ..Draft::to(&owner()) }.record(1);
    let skew = Error::ClockSkew { now: START.seconds() };
    assert_eq!(error(bench.store(&at(later(TIMESTAMP_FUTURE_SECONDS + 1)))), skew);
    assert_eq!(error(bench.store(&at(earlier(TIMESTAMP_PAST_SECONDS + 1)))), Error::Expired);
    assert!(is_stored(&bench.store(&at(later(TIMESTAMP_FUTURE_SECONDS)))));
    assert!(is_stored(&bench.store(&at(earlier(TIMESTAMP_PAST_SECONDS)))));
    let short = Draft { timestamp: earlier(60), ttl: 60, ..Draft::to(&owner()) };
    assert_eq!(error(bench.store(&short.record(2))), Error::Expired, "it has expired this second");
}

#[test]
fn anchors_are_good_for_three_periods_and_must_be_known() {
    let mut bench = Bench::new();
    bench.view = view(&TestChain::new().genesis, Height(250));
    for height in [60, 120, 180] {
        let block =
            crate::store::Write::PutBlock { height: Height(height), hash: anchor_hash(Height(height)), bytes: vec![1] };
        bench.disk.written.write(&Batch::of(block)).unwrap();
    }
    bench.follow();
    let at = |height| Draft { anchor: Height(height), ..Draft::to(&owner()) };
    for height in [240, 180, 120] {
        assert!(is_stored(&bench.store(&at(height).record(1))), "{height}");
    }
    assert_eq!(error(bench.store(&at(60).record(1))), Error::Expired);
    assert_eq!(error(bench.store(&at(241).record(1))), Error::Malformed);
    assert_eq!(error(bench.store(&at(300).record(1))), Error::Busy, "ahead of this node");
    // They are noted on disk: blocks are pruned long before records expire.
    bench.follow();
    let mut bench = bench.after_power_loss();
    bench.disk.written.write(&Batch::of(crate::store::Write::PruneBlocksBelow(Height(999)))).unwrap();
    assert!(is_stored(&bench.store(&at(180).record(2))));
}

#[test]
fn too_little_work_names_the_difficulty_and_ten_such_stamps_end_the_tunnel() {
    let mut bench = Bench::new();
    let worthless = Draft::to(&owner()).without_work(1);
    for n in 1..=9 {
        assert_eq!(error(bench.store(&worthless)), Error::InsufficientWork { difficulty: 1 });
        assert!(bench.closed().is_empty(), "{n}");
    }
    bench.store_as(2, &worthless, PublishOrder::First);
    assert!(bench.closed().is_empty(), "another tunnel");
    bench.answers();
    bench.store(&worthless);
    assert_eq!(bench.closed(), [Tunnel(1)]);
    assert!(bench.mail.bad_stamps.contains_key(&Tunnel(2)));
    bench.act(|mail, env, out| mail.on_closed(Tunnel(2), env, out));
    assert!(bench.mail.bad_stamps.is_empty());
}

#[test]
fn a_filling_mailbox_raises_its_price_and_ends_at_twice_the_quota() {
    let mut bench = Bench::new();
    let length = record(1).encode().len() as u64;
    bench.params.mailbox_quota = 8 * length; // each record is an eighth
    let mut n = 0_u8;
    for difficulty in [1, 2, 4, 8, 16, 32, 64, 128] {
        let draft = Draft { difficulty, ..Draft::to(&owner()) };
        n += 1;
        if difficulty > 1 {
            // Work for less than the price is no bad stamp: nobody could know the price.
            let cheap = (0..=255).map(|n| Draft::to(&owner()).record(n)).find(|record| {
                let work = Work::new(record.envelope(), &anchor_hash(ANCHOR));
                !work.verify(record.nonce(), Difficulty::new(difficulty).unwrap())
            });
            assert_eq!(error(bench.store(&cheap.unwrap())), Error::InsufficientWork { difficulty });
        }
        assert!(is_stored(&bench.store(&draft.record(n))), "{difficulty}");
    }
    let full = Draft { difficulty: 256, ..Draft::to(&owner()) };
    for _ in 0..8 {
        n += 1;
        assert!(is_stored(&bench.store(&full.record(n))));
    }
    assert_eq!(error(bench.store(&full.record(99))), Error::Busy);
    assert!(bench.mail.bad_stamps.is_empty());
    // Others are not concerned, and members are not refused.
    assert!(is_stored(&bench.store(&Draft::to(&owner_in(MINE, 1)).record(1))));
    assert_eq!(bench.gossip_record(&record(100)), Verdict::Accept);
}

#[test]
fn a_full_node_refuses_clients_and_never_members() {
    let mut bench = Bench::on(Disk::default(), MailLimits { records: 2, bytes: 1 << 30 });
    assert!(is_stored(&bench.store(&record(1))) && is_stored(&bench.store(&record(2))));
    assert_eq!(error(bench.store(&record(3))), Error::Busy);
    assert!(is_stored(&bench.store(&record(1))), "what is here is here");
    assert_eq!(bench.gossip_record(&record(3)), Verdict::Accept);
    let mut bench = Bench::on(Disk::default(), MailLimits { records: 9, bytes: 4000 });
    assert!(is_stored(&bench.store(&record(1))) && is_stored(&bench.store(&record(2))));
    assert_eq!(error(bench.store(&record(3))), Error::Busy);
}

#[test]
fn a_group_epoch_takes_records_with_its_signature_only() {
    let mut bench = Bench::new();
    let group = owner();
    let draft = Draft { address: Address::group_epoch(&group.public()), ..Draft::to(&group) };
    let envelope = draft.envelope(1);
    let id = envelope.id(&bench.view.chain);
    let work = Work::new(&envelope, &anchor_hash(ANCHOR));
    let nonce = work.prove_on(NonZeroUsize::MIN, Difficulty::MIN, Nonce(0), &Search::new()).unwrap();
    let signed = |by: &SigningKey| {
        let auth = Record::sign_write(by, &bench.view.chain, &id);
        Record::new(envelope.clone(), nonce, Some(auth)).unwrap()
    };
    let (forged, right) = (signed(&owner_in(MINE, 1)), signed(&group));
    assert_eq!(error(bench.store(&forged)), Error::Unauthorized);
    assert_eq!(bench.gossip_record(&forged), Verdict::Reject);
    assert!(is_stored(&bench.store(&right)));
    let junk = Record::new(envelope, nonce, Some(Signature::new([0; 64]))).unwrap();
    assert!(is_stored(&bench.store(&junk)), "the same envelope: it is here already");
    assert_eq!(bench.gossip_record(&right), Verdict::Accept);
}

#[test]
fn public_records_are_short_lived_and_few() {
    let mut bench = Bench::new();
    let address = Address::new(AddressKind::PublicRecord, *Address::mailbox(&owner().public()).key());
    let draft = |ttl| Draft { address, ttl, ..Draft::to(&owner()) };
    assert_eq!(error(bench.store(&draft(601).record(0))), Error::Malformed);
    assert_eq!(bench.gossip_record(&draft(601).record(0)), Verdict::Reject);
    for n in 0..PUBLIC_RECORDS_PER_ADDRESS {
        assert!(is_stored(&bench.store(&draft(60).record(n as u8))));
    }
    assert_eq!(error(bench.store(&draft(60).record(99))), Error::Busy);
    bench.pass(61_000);
    let timestamp = bench.seconds();
    let fresh = Draft { timestamp, ..draft(60) };
    assert!(is_stored(&bench.store(&fresh.record(100))), "only live ones count");
    // Anybody reads them.
    let read = Read { address, ..bench.read_at(&owner(), Cursor::default(), 1 << 20) };
    bench.ask(1, SwarmRequest::Retrieve(SignedRead::public(read).unwrap()));
    assert_eq!(records(bench.answer()).records.len(), 1);
}

#[test]
fn a_wrong_clock_or_a_disk_that_failed_stops_acknowledging_and_not_serving() {
    let mut bench = Bench::new();
    bench.store(&record(1));
    // The own clock is an hour fast; the others' median says so.
    bench.now.wall.0 += 3_600_000;
    bench.clock = Some(ClockOffset { millis: -3_600_000, peers: 9, off: true });
    assert_eq!(error(bench.store(&record(2))), Error::Busy);
    let mut read = bench.read_at(&owner(), Cursor::default(), 9999);
    read.time = START.seconds();
    bench.ask(1, SwarmRequest::Retrieve(SignedRead::sign(read, &owner(), &bench.view.chain)));
    assert_eq!(records(bench.answer()).records.len(), 1, "by the others' time it has not expired");
    assert_eq!(bench.gossip_record(&record(3)), Verdict::Accept);

    let mut bench = Bench::new();
    bench.store(&record(1));
    bench.may_write = false;
    assert_eq!(error(bench.store(&record(2))), Error::Busy);
    assert_eq!(bench.gossip_record(&record(2)), Verdict::Ignore);
    assert_eq!(bench.read_all(&owner()).len(), 1);
}

#[test]
fn the_second_and_third_publish_only_what_they_have_not_seen() {
    for (order, delay) in [(PublishOrder::Second, 1002), (PublishOrder::Third, 2002)] {
        let mut bench = Bench::new();
        bench.store_as(1, &record(1), order);
        assert!(is_stored(&bench.answer()));
        bench.pass(delay - 1);
        assert!(bench.published().is_empty());
        bench.pass(1);
        assert_eq!(bench.published().len(), 1);
        bench.pass(10_000);
        assert!(bench.published().is_empty(), "once");

        let mut bench = Bench::new();
        bench.store_as(1, &record(1), order);
        bench.pass(delay / 2);
        assert_eq!(bench.gossip_record(&record(1)), Verdict::Accept);
        bench.pass(10_000);
        assert!(bench.published().is_empty(), "seen");

        let mut bench = Bench::new();
        bench.prompt = false;
        bench.store_as(1, &record(1), order);
        assert_eq!(bench.gossip_record(&record(1)), Verdict::Accept);
        bench.serve_disk();
        bench.pass(10_000);
        assert!(bench.published().is_empty(), "seen before it was on disk");
    }
}

#[test]
fn what_waits_to_be_published_is_bounded() {
    let mut bench = Bench::new();
    let large = Draft { data: 63_424, ..Draft::to(&owner()) };
    bench.params.mailbox_quota = 1 << 40;
    let count = PUBLISHING_BYTES / 63_424 + 2;
    for n in 0..count {
        let draft = Draft { timestamp: UnixSeconds(large.timestamp.0 - (n / 256) as u64), ..large };
        bench.store_as(1, &draft.record(n as u8), PublishOrder::Third);
    }
    assert_eq!(bench.published().len(), 2, "those beyond the bound");
}

#[test]
fn before_the_index_is_loaded_nobody_is_served() {
    let mut bench = Bench::new();
    bench.store(&record(1));
    let (epoch, disk) = (bench.mail.epoch, bench.disk);
    let mut bench = Bench::new();
    bench.disk = disk;
    bench.mail = Mail::new(MailLimits::default(), &mut ChaCha20Rng::from_seed([5; 32]));
    bench.prompt = false;
    assert_eq!(error(bench.store(&record(1))), Error::Busy);
    assert_eq!(bench.gossip_record(&record(2)), Verdict::Ignore);
    // The disk does not answer at first: it is asked again.
    let asked = bench.take(|output| match output {
        Output::LookUp { token, .. } => Some(*token),
        _ => None,
    });
    bench.act(|mail, env, out| mail.on_found(asked[0], Found::Failed("busy".into()), env, out));
    assert!(bench.outputs.is_empty());
    bench.prompt = true;
    bench.pass(1000);
    assert!(bench.mail.is_ready());
    assert_eq!(bench.mail.records(), 1);
    assert_eq!(records(bench.retrieve(&owner(), Cursor::default(), 9999)).epoch, epoch, "the epoch of the database");
}

#[test]
fn malformed_bytes_are_refused_as_such() {
    let mut bench = Bench::new();
    let good = record(1).encode();
    for bytes in [vec![], good[..good.len() - 1].to_vec(), [good.clone(), vec![0]].concat(), vec![0xff; 3000]] {
        bench.ask(1, SwarmRequest::Store { record: bytes.clone(), publish_order: PublishOrder::First });
        assert_eq!(error(bench.answer()), Error::Malformed);
        assert_eq!(bench.gossip(&[vec![RECORD], bytes.clone()].concat()), Verdict::Reject);
        assert_eq!(bench.gossip(&[vec![DELETE], bytes].concat()), Verdict::Reject);
    }
    assert_eq!(bench.gossip(&[]), Verdict::Reject);
    assert_eq!(bench.gossip(&[9, 1, 2]), Verdict::Reject);
}

#[test]
fn a_life_span_or_a_size_that_no_envelope_has_is_malformed() {
    let mut bench = Bench::new();
    let good = record(1).encode();
    // B4: the life span lies at byte 42 and the data's length at byte 54, the data behind it.
    let living = |seconds: u32| [&good[..42], &seconds.to_be_bytes(), &good[46..]].concat();
    let sized = |n: usize| [&good[..54], &(n as u32).to_be_bytes(), &vec![1; n], &good[58 + 1664..]].concat();
    assert_eq!((living(TTL), sized(1664)), (good.clone(), good.clone()));
    let spans = [0, 1, TTL_SECONDS.start() - 1, TTL_SECONDS.end() + 1, u32::MAX].map(living);
    let steps = ENVELOPE_DATA_SIZES.into_iter().flat_map(|step| [step - 1, step + 1]);
    let sizes = steps.chain([0, 1, 2 * 1664, 63_424 + 1984]).map(sized);
    for bytes in spans.into_iter().chain(sizes) {
        bench.ask(1, SwarmRequest::Store { record: bytes.clone(), publish_order: PublishOrder::First });
        assert_eq!(error(bench.answer()), Error::Malformed);
        assert_eq!(bench.gossip(&[vec![RECORD], bytes].concat()), Verdict::Reject);
    }
    assert_eq!(bench.mail.records(), 0);
    for ttl in [*TTL_SECONDS.start(), *TTL_SECONDS.end()] {
        assert!(is_stored(&bench.store(&Draft { ttl, ..Draft::to(&owner()) }.record(1))), "{ttl} s");
    }
    for data in ENVELOPE_DATA_SIZES {
        assert!(is_stored(&bench.store(&Draft { data, ..Draft::to(&owner()) }.record(2))), "{data} bytes");
    }
}
