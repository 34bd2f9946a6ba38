use proptest::prelude::*;
use sotto_proto::domain;
use sotto_proto::hash::hash;
use sotto_proto::id::{Height, SwarmId};
use sotto_proto::request::{Message as _, Summary};
use sotto_proto::time::UnixSeconds;

use super::super::set::{Entry, ItemSet};
use super::super::{check_scope, scope_at};
use super::*;

const NOW: UnixSeconds = UnixSeconds(1_790_000_000);

fn scope() -> Scope {
    scope_at(Height(1), SwarmId(0), NOW)
}

/// Item number `n`: somewhere in the last day, for four days.
fn entry(n: u64) -> Entry {
    let id = hash(domain::TOMBSTONE, n.to_be_bytes());
    let timestamp = UnixSeconds(NOW.0 - 60 - n * 7919 % 86_400);
    Entry { timestamp, id: ItemId::new(*id.as_bytes()), expiry: UnixSeconds(timestamp.0 + 345_600) }
}

fn ids(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<ItemId> {
    numbers.into_iter().map(|n| entry(n).id).collect()
}

/// How a session went.
struct Run {
    result: Result<Step, SessionError>,
    /// Requests sent, the summary among them.
    rounds: usize,
    /// Bytes of all messages, both ways, framed in protobuf.
    bytes: usize,
}

impl Run {
    fn differences(self) -> Differences {
        match self.result {
            Ok(Step::Different(differences)) => differences,
            other => panic!("{other:?}"),
        }
    }
}

/// The responder as a node is one, without its network.
fn answer(set: &ItemSet, request: RepairRequest) -> RepairResponse {
    let scope = match &request {
        RepairRequest::Summary(Summary { scope, .. }) | RepairRequest::Reconcile { scope, .. } => *scope,
        other => panic!("{other:?}"),
    };
    if let Err(error) = check_scope(&scope, NOW, &(Height(0)..=Height(15))) {
        return RepairResponse::Error(error.into());
    }
    let view = set.view(scope);
    match request {
        RepairRequest::Summary(summary) => RepairResponse::Summary { equal: summary == view.summary() },
        RepairRequest::Reconcile { message, .. } => match respond(&view, &message) {
            Ok(message) => RepairResponse::Reconcile { message },
            Err(_) => RepairResponse::Error(Error::Malformed),
        },
        other => panic!("{other:?}"),
    }
}

fn run(initiator: &ItemSet, responder: &ItemSet) -> Run {
    let (mut session, mut request) = Session::start(&initiator.view(scope()));
    let (mut rounds, mut bytes) = (0, 0);
    loop {
        rounds += 1;
        let sent = request.encode().unwrap();
        let response = answer(responder, RepairRequest::decode(&sent).unwrap()).encode().unwrap();
        bytes += sent.len() + response.len();
        match session.answered(&initiator.view(scope()), RepairResponse::decode(&response).unwrap()) {
            Ok(Step::Ask(next)) => request = next,
            result => return Run { result, rounds, bytes },
        }
    }
}

fn set(numbers: impl IntoIterator<Item = u64>) -> ItemSet {
    numbers.into_iter().map(entry).collect()
}

#[test]
fn equal_sets_cost_one_summary() {
    let run = run(&set(0..1000), &set((0..1000).rev()));
    assert_eq!((run.result, run.rounds), (Ok(Step::Equal), 1));
    assert!(run.bytes <= Summary::LEN + 10, "{}", run.bytes);
}

#[test]
fn one_item_among_a_hundred_thousand_takes_four_round_trips_and_8_kib() {
    let (all, mut without) = (set(0..100_000), set(0..100_000));
    let missing = entry(31_415);
    without.remove(missing.timestamp, &missing.id);
    for (initiator, responder, initiator_lacks) in [(&without, &all, true), (&all, &without, false)] {
        let run = run(initiator, responder);
        println!("1 of 100,000: {} round trips after the summary, {} bytes", run.rounds - 1, run.bytes);
        assert!(run.rounds - 1 <= 4, "{}", run.rounds);
        assert!(run.bytes <= 8 * 1024, "{}", run.bytes);
        let found = run.differences();
        let expected = ids([31_415]);
        let (need, have) = if initiator_lacks { (expected, ids([])) } else { (ids([]), expected) };
        assert_eq!(found, Differences { have, need, complete: true });
    }
}

#[test]
fn a_joiner_gets_everything_in_sessions_of_bounded_length() {
    let all = set(0..50_000);
    let mut joiner = ItemSet::default();
    let mut sessions = 0;
    loop {
        let run = run(&joiner, &all);
        assert!(run.rounds <= RECONCILE_MESSAGES + 1);
        sessions += 1;
        let found = run.differences();
        assert!(found.have.is_empty() && !found.need.is_empty());
        joiner.extend((0..50_000).map(entry).filter(|entry| found.need.contains(&entry.id)));
        if found.complete {
            break;
        }
    }
    assert_eq!(joiner.len(), 50_000);
    assert!((2..6).contains(&sessions), "{sessions}");
}

#[test]
fn what_is_young_or_about_to_expire_is_no_difference() {
    let young = Entry { timestamp: NOW, ..entry(1001) };
    let dying = Entry { expiry: UnixSeconds(NOW.0 + 100), ..entry(1002) };
    let mut more = set(0..1000);
    more.extend([young, dying]);
    assert_eq!(run(&set(0..1000), &more).result, Ok(Step::Equal));
    assert_eq!(run(&more, &set(0..1000)).result, Ok(Step::Equal));
}

#[test]
fn a_responder_that_answers_something_else_ends_the_session() {
    let own = set(0..100);
    let view = own.view(scope());
    for response in [
        RepairResponse::Taken,
        RepairResponse::Items { items: vec![], more: false },
        RepairResponse::Reconcile { message: vec![0x61] },
    ] {
        let (mut session, _) = Session::start(&view);
        assert_eq!(session.answered(&view, response), Err(SessionError::Unexpected));
    }
    let (mut session, _) = Session::start(&view);
    assert!(matches!(session.answered(&view, RepairResponse::Summary { equal: false }), Ok(Step::Ask(_))));
    let late = session.answered(&view, RepairResponse::Summary { equal: true });
    assert_eq!(late, Err(SessionError::Unexpected));
    let (mut session, _) = Session::start(&view);
    assert_eq!(session.answered(&view, RepairResponse::Error(Error::Busy)), Err(SessionError::Refused(Error::Busy)));
}

#[test]
fn a_responder_that_never_comes_to_an_end_is_left_after_32_messages() {
    let own = set(0..20_000);
    let view = own.view(scope());
    let (mut session, _) = Session::start(&view);
    let mut step = session.answered(&view, RepairResponse::Summary { equal: false });
    // One fingerprint over everything that never matches: the initiator splits it for ever.
    let message: Vec<u8> = [[0x61, 0, 0, 1].as_slice(), &[7; 16]].concat();
    let mut asked = 0;
    while let Ok(Step::Ask(_)) = step {
        asked += 1;
        step = session.answered(&view, RepairResponse::Reconcile { message: message.clone() });
    }
    assert_eq!(asked, RECONCILE_MESSAGES);
    assert_eq!(step, Ok(Step::Different(Differences::default())), "not complete");
}

#[test]
fn a_count_of_ids_that_are_not_there_costs_nothing() {
    let own = set(0..100);
    let lie = [0x61, 0x00, 0x00, 0x02, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert!(matches!(respond(&own.view(scope()), &lie), Err(SessionError::Malformed(_))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_two_sets_find_exactly_their_differences(
        shared in 0..3000u64, own in 0..400u64, other in 0..400u64,
    ) {
        let (own, other) = (10_000..10_000 + own, 20_000..20_000 + other);
        let initiator = set((0..shared).chain(own.clone()));
        let responder = set((0..shared).chain(other.clone()));
        let expected = Differences { have: ids(own.clone()), need: ids(other.clone()), complete: true };
        let run = run(&initiator, &responder);
        if own.is_empty() && other.is_empty() {
            prop_assert_eq!(run.result, Ok(Step::Equal));
        } else {
            prop_assert_eq!(run.differences(), expected);
        }
    }

    #[test]
    fn messages_of_strangers_never_panic(
        message in prop::collection::vec(any::<u8>(), 0..300), count in 0..200u64, change in any::<(u16, u8)>(),
    ) {
        let (own, other) = (set(0..count), set(50..250));
        let view = own.view(scope());
        let survive = |message: &[u8]| {
            let _ = respond(&view, message);
            let (mut session, _) = Session::start(&view);
            let _ = session.answered(&view, RepairResponse::Summary { equal: false });
            let _ = session.answered(&view, RepairResponse::Reconcile { message: message.to_vec() });
        };
        survive(&message);
        survive(&[&[0x61], message.as_slice()].concat());
        // A real one with one byte changed gets deeper.
        let mut real = Negentropy::borrowed(&other.view(scope()), RECONCILE_FRAME as u64).unwrap().initiate().unwrap();
        let length = real.len();
        real[usize::from(change.0) % length] = change.1;
        survive(&real);
    }
}
