//! Retrieve and subscribe.

use super::super::reading::READS;
use super::super::shares::PATIENCE;
use super::super::subscriptions::SUBSCRIPTIONS_PER_ADDRESS;
use super::*;

fn cursor_of(records: &Records) -> Cursor {
    Cursor { epoch: records.epoch, seq: records.next_seq }
}

fn seqs(records: &Records) -> Vec<u64> {
    records.records.iter().map(|stored| stored.seq).collect()
}

#[test]
fn reads_are_paged_in_the_order_of_arrival_and_miss_nothing() {
    let mut bench = Bench::new();
    for n in 1..=7 {
        bench.store(&record(n));
        bench.store(&Draft::to(&owner_in(MINE, 1)).record(n)); // somebody else's, between
    }
    let first = records(bench.retrieve(&owner(), Cursor::default(), 4000));
    assert_eq!((first.records.len(), first.more, first.syncing), (2, true, false));
    let rest = records(bench.retrieve(&owner(), cursor_of(&first), 1 << 20));
    assert_eq!((rest.records.len(), rest.more), (5, false));
    let end = records(bench.retrieve(&owner(), cursor_of(&rest), 1 << 20));
    assert_eq!((end.records.len(), cursor_of(&end)), (0, cursor_of(&rest)));
    let expected: Vec<_> = (1..=7).map(|n| record(n).encode()).collect();
    assert_eq!(bench.read_all(&owner()), expected);
}

#[test]
fn a_cursor_of_another_database_or_from_its_future_is_refused() {
    let mut bench = Bench::new();
    bench.store(&record(1));
    let known = records(bench.retrieve(&owner(), Cursor::default(), 9999));
    for cursor in [
        Cursor { epoch: known.epoch + 1, seq: 0 },
        Cursor { epoch: 0, seq: 1 },
        Cursor { epoch: known.epoch, seq: known.next_seq + 1 },
        Cursor { epoch: known.epoch, seq: u64::MAX },
    ] {
        assert_eq!(error(bench.retrieve(&owner(), cursor, 9999)), Error::CursorUnknown, "{cursor:?}");
    }
    let start = Cursor { epoch: known.epoch, seq: 0 };
    assert_eq!(records(bench.retrieve(&owner(), start, 9999)), known);
}

#[test]
fn only_the_owner_reads_in_time_at_the_node_that_was_named() {
    let mut bench = Bench::new();
    bench.store(&record(1));
    let (good, chain) = (bench.read_at(&owner(), Cursor::default(), 9999), bench.view.chain);
    let mut ask = |read: Read, by: &SigningKey| {
        bench.ask(1, SwarmRequest::Retrieve(SignedRead::sign(read, by, &chain)));
        bench.answer()
    };
    assert_eq!(error(ask(good, &owner_in(MINE, 1))), Error::Unauthorized);
    assert_eq!(error(ask(Read { node: node(1), ..good }, &owner())), Error::Unauthorized);
    let skew = Error::ClockSkew { now: START.seconds() };
    for (offset, in_time) in [(-121, false), (-120, true), (120, true), (121, false)] {
        let time = UnixSeconds(good.time.0.saturating_add_signed(offset));
        let answer = ask(Read { time, ..good }, &owner());
        if in_time {
            assert_eq!(records(answer).records.len(), 1);
        } else {
            assert_eq!(error(answer), skew);
        }
    }
    let other = owner_in(OTHER, 0);
    let foreign = Read { address: Address::mailbox(&other.public()), ..good };
    assert_eq!(error(ask(foreign, &other)), Error::WrongSwarm { swarm: OTHER, height: Height(130) });
    // A signature for a subscription is none for a retrieve.
    let subscribe = SignedRead::<Subscribe>::sign(good, &owner(), &chain);
    let bytes = sotto_proto::request::Message::encode(SwarmRequest::Subscribe(subscribe)).unwrap();
    assert!(!bytes.is_empty());
}

#[test]
fn what_was_damaged_on_disk_is_passed_over_reported_and_can_come_again() {
    let mut bench = Bench::new();
    for n in 1..=3 {
        bench.store(&record(n));
    }
    let key = bench.mail.index.find(&id(&bench, &record(2))).unwrap().entry.key;
    bench.disk.written.damage(Family::Records, &key.to_bytes());
    let read = records(bench.retrieve(&owner(), Cursor::default(), 9999));
    assert_eq!(seqs(&read), [1, 3]);
    assert_eq!(bench.mail.counts().damaged, 1);
    assert_eq!(bench.mail.records(), 2);
    assert_eq!(bench.gossip_record(&record(2)), Verdict::Accept);
    let again = records(bench.retrieve(&owner(), cursor_of(&read), 9999));
    assert_eq!(again.records[0].record, record(2).encode());
}

#[test]
fn a_former_owner_serves_what_it_has_and_says_that_it_may_not_be_all() {
    let mut bench = Bench::new();
    bench.store(&record(1));
    // The swarm map changes: the other swarm owns everything now.
    let genesis = TestChain::new().genesis;
    let all = NetworkView::new(
        bench.view.chain,
        Height(140),
        false,
        {
            let mut snapshot = view(&genesis, Height(137)).current().clone();
            let mut members: Vec<_> = (0..10).map(node).collect();
            members.sort_unstable();
            snapshot.swarms = SwarmMap::from_parts([(OTHER, members)], Vec::new()).unwrap();
            Arc::new(snapshot)
        },
        Vec::new(),
    );
    bench.subscribe(4, &owner_in(MINE, 1), Cursor::default());
    bench.answers();
    bench.view = all;
    bench.follow();
    let wrong = Error::WrongSwarm { swarm: OTHER, height: Height(137) };
    assert_eq!(bench.answers(), [(Tunnel(4), SwarmResponse::Error(wrong.clone()))], "its reader goes to the owners");
    let read = records(bench.retrieve(&owner(), Cursor::default(), 9999));
    assert_eq!((read.records.len(), read.syncing), (1, true));
    assert_eq!(error(bench.store(&record(2))), wrong);
}

#[test]
fn while_it_takes_over_a_member_says_so() {
    let mut bench = Bench::newcomer(0, Disk::default(), MailLimits::default());
    assert!(records(bench.retrieve(&owner(), Cursor::default(), 9999)).syncing);
    bench.meet(node(3));
    assert!(records(bench.retrieve(&owner(), Cursor::default(), 9999)).syncing, "one alone may withhold");
    bench.meet(node(4));
    assert!(!records(bench.retrieve(&owner(), Cursor::default(), 9999)).syncing);
}

#[test]
fn a_subscriber_gets_what_is_there_and_what_comes_in_order_without_a_gap() {
    let mut bench = Bench::new();
    bench.store(&record(1));
    bench.store(&record(2));
    bench.subscribe(9, &owner(), Cursor::default());
    let first = records(bench.answer());
    assert_eq!(seqs(&first), [1, 2]);
    // While an answer is on its way nothing is sent after it.
    bench.store_as(1, &record(3), PublishOrder::First);
    bench.gossip_record(&record(4));
    let answers = bench.answers();
    assert!(answers.iter().all(|(tunnel, _)| *tunnel == Tunnel(1)), "{answers:?}");
    bench.act(|mail, env, out| mail.on_room(Tunnel(9), env, out));
    assert_eq!(seqs(&records(bench.answer())), [3, 4]);
    bench.act(|mail, env, out| mail.on_room(Tunnel(9), env, out));
    assert!(bench.answers().is_empty(), "nothing new");
    bench.gossip_record(&record(5));
    assert_eq!(seqs(&records(bench.answer())), [5]);
    bench.act(|mail, env, out| mail.on_closed(Tunnel(9), env, out));
    bench.gossip_record(&record(6));
    assert!(bench.answers().is_empty());
}

#[test]
fn a_subscription_is_confirmed_even_if_there_is_nothing() {
    let mut bench = Bench::new();
    bench.subscribe(9, &owner(), Cursor::default());
    let first = records(bench.answer());
    assert_eq!((first.epoch, first.records.len(), first.next_seq), (bench.mail.epoch, 0, 0));
    assert_ne!(first.epoch, 0);
}

#[test]
fn nothing_is_pushed_before_it_is_on_disk() {
    let mut bench = Bench::new();
    bench.subscribe(9, &owner(), Cursor::default());
    bench.answers();
    bench.act(|mail, env, out| mail.on_room(Tunnel(9), env, out));
    bench.prompt = false;
    bench.gossip_record(&record(1));
    assert!(bench.answers().is_empty());
    bench.serve_disk();
    assert_eq!(records(bench.answer()).records.len(), 1);
}

#[test]
fn who_asks_for_what_is_on_its_way_to_disk_waits_for_it_and_nobody_else_does() {
    let mut bench = Bench::new();
    bench.store(&Draft::to(&owner_in(MINE, 1)).record(1));
    bench.prompt = false;
    bench.gossip_record(&record(1));
    let ask = |bench: &mut Bench, tunnel: u64, owner: &SigningKey| {
        let read = bench.read_at(owner, Cursor::default(), 9999);
        bench.ask(tunnel, SwarmRequest::Retrieve(SignedRead::sign(read, owner, &bench.view.chain)));
    };
    let syncs = |bench: &Bench| {
        let now = |output: &&Output| matches!(output, Output::Persist { sync: Sync::Now, .. });
        bench.outputs.iter().filter(now).count()
    };
    assert_eq!(syncs(&bench), 0, "a copy that nobody waits for is held");
    ask(&mut bench, 7, &owner_in(MINE, 1));
    assert_eq!(syncs(&bench), 0, "and not even who reads elsewhere has it written");
    for tunnel in 100..100 + READS as u64 {
        ask(&mut bench, tunnel, &owner());
    }
    assert_eq!(bench.answers(), [(Tunnel(115), SwarmResponse::Error(Error::Busy))], "one is read from disk");
    assert_eq!(syncs(&bench), READS - 1);
    bench.serve_disk();
    let answers = bench.answers();
    assert_eq!(answers.len(), READS);
    assert!(answers.into_iter().all(|(_, answer)| records(answer).records.len() == 1));
}

#[test]
fn a_write_that_fails_leaves_nobody_waiting() {
    let mut bench = Bench::new();
    bench.prompt = false;
    bench.gossip_record(&record(1));
    let read = bench.read_at(&owner(), Cursor::default(), 9999);
    bench.ask(7, SwarmRequest::Retrieve(SignedRead::sign(read, &owner(), &bench.view.chain)));
    assert!(bench.answers().is_empty());
    for (_, token, _) in bench.take_persists() {
        bench.fail(token);
    }
    assert_eq!(records(bench.answer()).records, []);
}

#[test]
fn who_subscribes_has_what_is_on_its_way_written_at_once() {
    let mut bench = Bench::new();
    bench.prompt = false;
    bench.gossip_record(&record(1));
    bench.subscribe(9, &owner(), Cursor::default());
    assert_eq!(records(bench.answer()).records, [], "that the subscription stands is said at once");
    bench.act(|mail, env, out| mail.on_room(Tunnel(9), env, out));
    assert_eq!(bench.take(|output| matches!(output, Output::Persist { sync: Sync::Now, .. }).then_some(())).len(), 1);
    bench.serve_disk();
    assert_eq!(records(bench.answer()).records.len(), 1);
}

#[test]
fn who_does_not_read_is_closed_and_comes_back_with_its_cursor() {
    let mut bench = Bench::new();
    bench.store(&record(1));
    bench.subscribe(9, &owner(), Cursor::default());
    let first = records(bench.answer());
    bench.store_as(1, &record(2), PublishOrder::First);
    bench.pass(29_999);
    assert!(bench.closed().is_empty());
    bench.pass(1);
    assert_eq!(bench.closed(), [Tunnel(9)]);
    bench.answers();
    bench.subscribe(10, &owner(), cursor_of(&first));
    assert_eq!(records(bench.answer()).records[0].record, record(2).encode());
}

#[test]
fn subscriptions_are_bounded_per_address_and_one_a_tunnel() {
    let mut bench = Bench::new();
    for tunnel in 0..SUBSCRIPTIONS_PER_ADDRESS as u64 {
        bench.subscribe(tunnel, &owner(), Cursor::default());
        records(bench.answer());
    }
    bench.subscribe(99, &owner(), Cursor::default());
    assert_eq!(error(bench.answer()), Error::Busy);
    bench.subscribe(3, &owner(), Cursor::default());
    records(bench.answer());
    assert_eq!(bench.mail.subscriptions.len(), SUBSCRIPTIONS_PER_ADDRESS, "the tunnel's earlier one is gone");
    bench.subscribe(100, &owner_in(MINE, 1), Cursor::default());
    records(bench.answer());
}

#[test]
fn reads_under_way_are_bounded_and_subscribers_get_theirs_afterwards() {
    let mut bench = Bench::new();
    bench.store(&record(1));
    let owners: Vec<_> = (0..20).map(|n| owner_in(MINE, n)).collect();
    for owner in &owners[1..] {
        bench.store(&Draft::to(owner).record(1));
    }
    bench.outputs.clear();
    bench.prompt = false;
    for (tunnel, owner) in owners.iter().enumerate() {
        bench.subscribe(100 + tunnel as u64, owner, Cursor::default());
    }
    let reads = bench.outputs.iter().filter(|output| matches!(output, Output::LookUp { .. })).count();
    assert_eq!(reads, READS);
    assert_eq!(error(bench.retrieve(&owners[0], Cursor::default(), 9999)), Error::Busy);
    bench.serve_disk();
    let mut answered: Vec<_> = bench.answers().into_iter().map(|(tunnel, _)| tunnel.0).collect();
    answered.sort_unstable();
    assert_eq!(answered, (100..120).collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_read_is_busy_and_ends_a_subscription() {
    let mut bench = Bench::new();
    bench.store(&record(1));
    bench.prompt = false;
    bench.subscribe(9, &owner(), Cursor::default());
    let tokens = bench.take(|output| match output {
        Output::LookUp { token, .. } => Some(*token),
        _ => None,
    });
    bench.act(|mail, env, out| mail.on_found(tokens[0], Found::Failed("EIO".into()), env, out));
    assert_eq!(error(bench.answer()), Error::Busy);
    assert_eq!(bench.mail.subscriptions.len(), 0);
    assert_eq!(bench.mail.subscriptions.pop_waiting(), None);
}

/// A mailbox with a little more in it than the largest page holds.
fn full(bench: &mut Bench, owner: &SigningKey) {
    for n in 0..40 {
        bench.store_as(1, &Draft { data: 31_552, ..Draft::to(owner) }.record(n), PublishOrder::First);
        assert!(bench.answers().iter().any(|(_, answer)| is_stored(answer)));
    }
}

fn ask_for_a_page(bench: &mut Bench, tunnel: u64, owner: &SigningKey) {
    let read = bench.read_at(owner, Cursor::default(), sotto_proto::limits::RETRIEVE_BYTES);
    bench.ask(tunnel, SwarmRequest::Retrieve(SignedRead::sign(read, owner, &bench.view.chain)));
}

/// Whether the only answer is one with records, or that there is no room.
fn has_page(bench: &mut Bench) -> bool {
    match bench.answer() {
        SwarmResponse::Records(records) => !records.records.is_empty(),
        SwarmResponse::Error(Error::Busy) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn pages_that_nobody_takes_keep_back_those_of_their_own_mailbox_and_no_others() {
    let mut bench = Bench::new();
    full(&mut bench, &owner());
    bench.store(&Draft::to(&owner_in(MINE, 1)).record(1));
    let page = |bench: &mut Bench, tunnel: u64| {
        ask_for_a_page(bench, tunnel, &owner());
        has_page(bench)
    };
    assert!((10..14).all(|tunnel| page(&mut bench, tunnel)));
    assert!(!page(&mut bench, 14), "a fifth is not even read");
    ask_for_a_page(&mut bench, 15, &owner_in(MINE, 1));
    assert!(has_page(&mut bench), "a small page is another matter");
    // Sent, ended, or followed by the tunnel's next question: each makes room for one.
    bench.act(|mail, env, out| mail.on_room(Tunnel(10), env, out));
    assert!(page(&mut bench, 14) && !page(&mut bench, 16));
    bench.act(|mail, env, out| mail.on_closed(Tunnel(11), env, out));
    assert!(page(&mut bench, 16) && !page(&mut bench, 17));
    assert!(page(&mut bench, 12) && !page(&mut bench, 17));
    assert_eq!(bench.closed(), []);
}

#[test]
fn a_page_that_is_not_taken_for_seconds_makes_room_for_another_of_its_mailbox() {
    let mut bench = Bench::new();
    full(&mut bench, &owner());
    for tunnel in 10..14 {
        ask_for_a_page(&mut bench, tunnel, &owner());
        assert!(has_page(&mut bench));
        bench.pass(1000);
    }
    bench.pass(u64::try_from(PATIENCE.as_millis()).unwrap() - 4001);
    ask_for_a_page(&mut bench, 14, &owner());
    assert!(!has_page(&mut bench));
    bench.pass(1);
    ask_for_a_page(&mut bench, 14, &owner());
    assert!(has_page(&mut bench));
    assert_eq!(bench.closed(), [Tunnel(10)], "the oldest, and no more than have to");
    ask_for_a_page(&mut bench, 15, &owner());
    assert!(!has_page(&mut bench));
}

#[test]
fn a_subscriber_waits_for_the_other_readers_of_its_mailbox_and_a_new_one_asks_elsewhere() {
    let mut bench = Bench::new();
    bench.subscribe(9, &owner(), Cursor::default());
    assert_eq!(records(bench.answer()).records, []);
    bench.act(|mail, env, out| mail.on_room(Tunnel(9), env, out));
    full(&mut bench, &owner());
    bench.answers();
    // The subscriber's first push is small, and not counted.
    for tunnel in 10..14 {
        ask_for_a_page(&mut bench, tunnel, &owner());
        bench.answers();
    }
    bench.act(|mail, env, out| mail.on_room(Tunnel(9), env, out));
    ask_for_a_page(&mut bench, 14, &owner());
    bench.answers();
    bench.subscribe(20, &owner(), Cursor::default());
    assert_eq!(error(bench.answer()), Error::Busy, "others of the swarm have it too");
    bench.gossip_record(&record(99));
    assert!(bench.answers().is_empty());
    bench.act(|mail, env, out| mail.on_room(Tunnel(10), env, out));
    assert_eq!(bench.answers().len(), 1, "the subscriber has the next page");
    assert!(!bench.mail.shares.end(Tunnel(20)) && bench.mail.shares.end(Tunnel(9)));
}

#[test]
fn a_subscriber_that_waits_has_its_page_when_nobody_else_takes_theirs_either() {
    let mut bench = Bench::new();
    bench.subscribe(9, &owner(), Cursor::default());
    full(&mut bench, &owner());
    for tunnel in 10..14 {
        ask_for_a_page(&mut bench, tunnel, &owner());
    }
    bench.act(|mail, env, out| mail.on_room(Tunnel(9), env, out));
    bench.answers();
    bench.pass(u64::try_from(PATIENCE.as_millis()).unwrap() - 1);
    assert!(bench.answers().is_empty());
    bench.pass(1000);
    assert_eq!(bench.closed(), [Tunnel(10)]);
    assert_eq!(bench.answers().into_iter().map(|(tunnel, _)| tunnel).collect::<Vec<_>>(), [Tunnel(9)]);
    assert!(bench.mail.look_at.is_none(), "and nobody waits any more");
}

#[test]
fn mailboxes_share_what_may_be_under_way_alike() {
    let mut bench = Bench::new();
    let owners: Vec<_> = (0..9).map(|n| owner_in(MINE, n)).collect();
    owners.iter().for_each(|owner| full(&mut bench, owner));
    let page = |bench: &mut Bench, tunnel: u64, owner: usize| {
        ask_for_a_page(bench, tunnel, &owners[owner]);
        has_page(bench)
    };
    assert!((10..14).all(|tunnel| page(&mut bench, tunnel, 0)));
    assert!(page(&mut bench, 20, 1) && page(&mut bench, 21, 1));
    assert_eq!(bench.closed(), []);
    // Whoever has most gives some up, as long as the others have less.
    assert!(page(&mut bench, 22, 1));
    assert_eq!(bench.closed(), [Tunnel(10)]);
    assert!(!page(&mut bench, 23, 1));
    for (tunnel, owner) in [(30, 2), (40, 3), (50, 4), (60, 5)] {
        assert!(page(&mut bench, tunnel, owner), "{owner}");
    }
    assert_eq!(bench.closed().len(), 4);
    // All have one: a seventh mailbox waits, but for a small page, until one is sent or takes too long.
    assert!((6..9).all(|owner| !page(&mut bench, 70, owner)) && !page(&mut bench, 31, 2));
    bench.store(&Draft::to(&owner_in(MINE, 10)).record(1));
    ask_for_a_page(&mut bench, 80, &owner_in(MINE, 10));
    assert!(has_page(&mut bench));
    bench.act(|mail, env, out| mail.on_room(Tunnel(40), env, out));
    assert!(page(&mut bench, 70, 6) && !page(&mut bench, 71, 7));
    bench.pass(u64::try_from(PATIENCE.as_millis()).unwrap());
    assert!(page(&mut bench, 71, 7));
    assert_eq!(bench.closed().len(), 1);
}
