use std::time::Duration;

use sotto_proto::id::NodeId;
use sotto_proto::limits::{CREDIT_BUDGET, CREDIT_RETURN, FRAME, INITIAL_CREDIT};

use super::*;

mod any_order;

const NOW: Monotonic = Monotonic(Duration::ZERO);
const FIRST: StreamId = StreamId::FIRST;

fn id(number: u16) -> StreamId {
    StreamId::new(number).unwrap()
}

fn client() -> Streams {
    Streams::new(Side::Client, CreditBudget::of_node())
}

fn exit() -> Streams {
    Streams::new(Side::Exit, CreditBudget::of_node())
}

fn open_body(stream: StreamId) -> Body<'static> {
    Body::Open { stream, destination: Destination::Node(NodeId::new([1; 32])), first: b"" }
}

fn data(stream: StreamId) -> Body<'static> {
    Body::Data { stream, data: b"x" }
}

/// Everything there is to send beside data.
fn sent(streams: &mut Streams) -> Vec<Body<'static>> {
    std::iter::from_fn(|| streams.poll_body()).collect()
}

/// An exit with so many streams open.
fn exit_with(count: u16) -> Streams {
    let mut exit = exit();
    for number in 1..=count {
        exit.on_body(open_body(id(number)), NOW).unwrap();
    }
    exit
}

#[test]
fn streams_are_numbered_in_order_and_numbers_are_not_used_again() {
    let mut client = client();
    assert_eq!(client.open(), Ok(id(1)));
    assert_eq!(client.open(), Ok(id(2)));
    client.reset(id(1), ResetReason::Timeout);
    assert_eq!(client.open(), Ok(id(3)));
    assert_eq!((client.len(), client.is_open(id(1))), (2, false));
    client.last = Some(id(u16::MAX));
    assert_eq!(client.open(), Err(OpenError::Exhausted));
    assert_eq!(exit().open(), Err(OpenError::NotClient));
}

#[test]
fn sixteen_streams_are_open_at_once_and_no_more() {
    let mut client = client();
    for number in 1..=16 {
        assert_eq!(client.open(), Ok(id(number)));
    }
    assert_eq!(client.open(), Err(OpenError::TooMany));
    client.reset(id(7), ResetReason::Timeout);
    assert_eq!(sent(&mut client).len(), 1);
    assert_eq!(client.open(), Ok(id(17)));

    let mut exit = exit_with(16);
    assert_eq!(exit.on_body(open_body(id(17)), NOW), Err(Violation::TooManyStreams));
    let mut exit = exit_with(16);
    exit.on_body(Body::Reset { stream: id(7), reason: ResetReason::Timeout }, NOW).unwrap();
    assert!(exit.on_body(open_body(id(17)), NOW).is_ok());
}

#[test]
fn opens_out_of_order_or_backward_kill_the_path() {
    let mut exit = exit_with(1);
    for number in [1, 3, 9] {
        assert_eq!(exit.on_body(open_body(id(number)), NOW), Err(Violation::OutOfOrder(id(number))));
    }
    assert_eq!(client().on_body(open_body(FIRST), NOW), Err(Violation::Unsolicited));
}

#[test]
fn either_side_has_thirty_two_cells_at_first_the_open_included() {
    let mut client = client();
    let stream = client.open().unwrap();
    assert_eq!(client.credit(stream), INITIAL_CREDIT - 1);
    let mut exit = exit_with(1);
    assert_eq!(exit.credit(FIRST), INITIAL_CREDIT);
    for _ in 0..INITIAL_CREDIT {
        assert!(exit.spend(FIRST));
    }
    assert!(!exit.spend(FIRST));
    for _ in 0..INITIAL_CREDIT - 1 {
        assert!(matches!(exit.on_body(data(FIRST), NOW), Ok(Some(StreamEvent::Data { .. }))));
    }
    assert_eq!(exit.on_body(data(FIRST), NOW), Err(Violation::Overrun(FIRST)));
    for _ in 0..INITIAL_CREDIT {
        client.on_body(data(stream), NOW).unwrap();
    }
    assert_eq!(client.on_body(data(stream), NOW), Err(Violation::Overrun(stream)));
}

#[test]
fn credit_comes_back_after_sixteen_consumed_cells() {
    let mut exit = exit_with(1);
    for _ in 0..20 {
        exit.on_body(data(FIRST), NOW).unwrap();
    }
    exit.consumed(FIRST, 15);
    assert_eq!(sent(&mut exit), []);
    exit.consumed(FIRST, 1);
    assert_eq!(sent(&mut exit), [Body::Window { stream: FIRST, cells: 16 }]);
    // What was never received cannot be consumed.
    exit.consumed(FIRST, 1000);
    assert_eq!(sent(&mut exit), []);
    exit.consumed(id(2), 16);
    assert_eq!(sent(&mut exit), []);
}

#[test]
fn a_stream_that_drains_fast_is_raised_up_to_its_most_and_the_budget_gets_it_back() {
    let budget = CreditBudget::of_node();
    let before = budget.left();
    assert_eq!(before, CREDIT_BUDGET / FRAME);
    let mut exit = Streams::new(Side::Exit, Arc::clone(&budget));
    exit.on_body(open_body(FIRST), NOW).unwrap();
    exit.consumed(FIRST, 1);
    let mut credit = usize::from(INITIAL_CREDIT) - 1;
    let mut most = credit;
    for _ in 0..100 {
        // The sender uses all it has before anything comes back.
        for _ in 0..credit {
            exit.on_body(data(FIRST), NOW).unwrap();
        }
        exit.consumed(FIRST, u16::try_from(credit).unwrap());
        credit = 0;
        for body in sent(&mut exit) {
            let Body::Window { cells, .. } = body else { panic!("{body:?}") };
            credit += usize::from(cells);
        }
        most = most.max(credit);
    }
    assert_eq!(most, usize::from(CREDIT_MAX));
    assert_eq!(before - budget.left(), usize::from(CREDIT_MAX - INITIAL_CREDIT));
    exit.reset(FIRST, ResetReason::Timeout);
    assert_eq!(budget.left(), before);
}

#[test]
fn a_stream_whose_bytes_stay_gets_no_more_than_it_had() {
    let budget = CreditBudget::of_node();
    let mut exit = Streams::new(Side::Exit, Arc::clone(&budget));
    exit.on_body(open_body(FIRST), NOW).unwrap();
    for _ in 0..INITIAL_CREDIT - 1 {
        exit.on_body(data(FIRST), NOW).unwrap();
    }
    exit.consumed(FIRST, 16);
    assert_eq!(sent(&mut exit), [Body::Window { stream: FIRST, cells: 16 }]);
    assert_eq!(budget.left(), CREDIT_BUDGET / FRAME);
}

#[test]
fn an_empty_budget_lends_nothing_and_stops_nobody() {
    let mut exit = Streams::new(Side::Exit, CreditBudget::new(5));
    exit.on_body(open_body(FIRST), NOW).unwrap();
    let mut credit = INITIAL_CREDIT - 1;
    let mut held = 1;
    for round in 0..10 {
        for _ in 0..credit {
            exit.on_body(data(FIRST), NOW).unwrap();
        }
        exit.consumed(FIRST, credit + held);
        held = 0;
        let windows = sent(&mut exit);
        let [Body::Window { cells, .. }] = windows[..] else { panic!("{windows:?}") };
        credit = cells;
        assert_eq!(credit, INITIAL_CREDIT + 5, "round {round}");
    }
}

#[test]
fn more_credit_than_a_stream_can_have_kills_the_path() {
    let mut client = client();
    let stream = client.open().unwrap();
    let window = |cells| Body::Window { stream, cells };
    assert_eq!(client.on_body(window(CREDIT_MAX - 31), NOW), Ok(Some(StreamEvent::Credit { stream })));
    assert_eq!(client.credit(stream), CREDIT_MAX);
    assert_eq!(client.on_body(window(1), NOW), Err(Violation::Credit(stream)));
}

#[test]
fn a_stream_ends_when_both_sides_have_ended_it() {
    let (mut client, mut exit) = (client(), exit_with(1));
    let stream = client.open().unwrap();
    exit.consumed(stream, 1);
    client.end(stream);
    assert_eq!(sent(&mut client), [Body::End { stream }]);
    assert!(!client.spend(stream) && client.credit(stream) == 0 && client.is_open(stream));
    assert_eq!(exit.on_body(Body::End { stream }, NOW), Ok(Some(StreamEvent::Ended { stream })));
    assert!(exit.spend(stream) && exit.is_open(stream));
    exit.end(stream);
    assert_eq!(sent(&mut exit), [Body::End { stream }]);
    assert!(!exit.is_open(stream));
    assert_eq!(client.on_body(Body::End { stream }, NOW), Ok(Some(StreamEvent::Ended { stream })));
    assert!(!client.is_open(stream));
    client.end(stream);
    assert_eq!(sent(&mut client), []);
}

#[test]
fn a_stream_counts_until_its_end_is_said() {
    let mut client = client();
    let streams: Vec<StreamId> = (0..STREAMS_PER_PATH).map(|_| client.open().unwrap()).collect();
    client.reset(streams[0], ResetReason::Timeout);
    client.end(streams[1]);
    client.on_body(Body::End { stream: streams[1] }, NOW).unwrap();
    // Both are closed, but whoever opened another now would have eighteen open at the exit.
    assert_eq!((client.len(), client.open()), (STREAMS_PER_PATH - 2, Err(OpenError::TooMany)));
    assert_eq!(sent(&mut client).len(), 2);
    assert!(client.open().is_ok() && client.open().is_ok());
    assert_eq!(client.open(), Err(OpenError::TooMany));
}

#[test]
fn the_last_end_waits_until_what_came_is_consumed() {
    let mut exit = exit_with(1);
    exit.on_body(data(FIRST), NOW).unwrap();
    exit.on_body(Body::End { stream: FIRST }, NOW).unwrap();
    exit.end(FIRST);
    exit.consumed(FIRST, 1);
    assert_eq!(sent(&mut exit), []);
    assert!(exit.is_open(FIRST));
    exit.consumed(FIRST, 1);
    assert_eq!(sent(&mut exit), [Body::End { stream: FIRST }]);
    assert!(!exit.is_open(FIRST));
}

#[test]
fn ended_streams_that_still_hold_bytes_are_counted() {
    let mut exit = exit();
    let mut hold = |number: u16, consumed: bool| {
        let stream = id(number);
        exit.on_body(open_body(stream), NOW).unwrap();
        exit.end(stream);
        let result = exit.on_body(Body::End { stream }, NOW).map(|_| ());
        if consumed {
            exit.consumed(stream, 1);
        }
        assert!(!exit.is_open(stream));
        result
    };
    for number in 1..=100 {
        assert_eq!(hold(number, true), Ok(()));
    }
    for number in 101..=116 {
        assert_eq!(hold(number, false), Ok(()));
    }
    assert_eq!(hold(117, false), Err(Violation::Draining));
}

#[test]
fn more_after_the_end_resets_the_stream() {
    for body in [data(FIRST), Body::End { stream: FIRST }] {
        let mut exit = exit_with(1);
        exit.on_body(Body::End { stream: FIRST }, NOW).unwrap();
        let reason = ResetReason::Protocol;
        assert_eq!(exit.on_body(body, NOW), Ok(Some(StreamEvent::Reset { stream: FIRST, reason })));
        assert_eq!(sent(&mut exit), [Body::Reset { stream: FIRST, reason }]);
        assert!(!exit.is_open(FIRST));
    }
}

#[test]
fn a_reset_closes_both_ways_and_is_not_answered() {
    let mut exit = exit_with(1);
    let reason = ResetReason::ClosedByDestination;
    let reset = Body::Reset { stream: FIRST, reason };
    assert_eq!(exit.on_body(reset, NOW), Ok(Some(StreamEvent::Reset { stream: FIRST, reason })));
    assert_eq!(sent(&mut exit), []);
    assert_eq!((exit.credit(FIRST), exit.is_open(FIRST)), (0, false));
}

#[test]
fn nothing_may_come_for_a_stream_that_was_never_opened() {
    let reason = ResetReason::Timeout;
    let stream = id(2);
    let bodies =
        [data(stream), Body::End { stream }, Body::Reset { stream, reason }, Body::Window { stream, cells: 1 }];
    for body in bodies {
        assert_eq!(exit_with(1).on_body(body, NOW), Err(Violation::NeverOpened(stream)));
        let mut client = client();
        assert_eq!(client.on_body(body, NOW), Err(Violation::NeverOpened(stream)));
        client.open().unwrap();
        assert_eq!(client.on_body(body, NOW), Err(Violation::NeverOpened(stream)));
    }
}

#[test]
fn sixty_four_late_cells_are_forgiven_and_those_that_were_granted_do_not_count() {
    // The exit ends a stream of which the client has 31 cells under way.
    let mut exit = exit_with(1);
    exit.reset(FIRST, ResetReason::ClosedByDestination);
    for cell in 0..31 + LATE_DATA {
        assert_eq!(exit.on_body(data(FIRST), NOW), Ok(None), "cell {cell}");
    }
    assert_eq!(exit.on_body(data(FIRST), NOW), Err(Violation::Late));
    // Behind the other side's own end nothing was granted.
    let mut exit = exit_with(1);
    exit.on_body(Body::Reset { stream: FIRST, reason: ResetReason::Timeout }, NOW).unwrap();
    for _ in 0..LATE_DATA {
        assert_eq!(exit.on_body(data(FIRST), NOW), Ok(None));
    }
    assert_eq!(exit.on_body(data(FIRST), NOW), Err(Violation::Late));
}

#[test]
fn late_cells_without_credit_are_bounded_too() {
    let mut client = client();
    let stream = client.open().unwrap();
    client.reset(stream, ResetReason::Timeout);
    let window = Body::Window { stream, cells: 1 };
    let late = (0..10_000).take_while(|_| client.on_body(window, NOW).is_ok()).count();
    assert_eq!(late, 2 * LATE_CONTROL);
    assert_eq!(client.on_body(window, NOW), Err(Violation::Late));
}

#[test]
fn backward_padding_comes_once_in_five_seconds_and_forward_padding_at_will() {
    let at = |seconds| Monotonic(Duration::from_secs(seconds));
    let mut client = client();
    for seconds in [0, 5, 10, 14, 20, 25] {
        assert_eq!(client.on_body(Body::Drop, at(seconds)), Ok(None), "second {seconds}");
    }
    let flood = (0..100).take_while(|_| client.on_body(Body::Drop, at(26)).is_ok()).count();
    assert!(flood <= 1, "{flood}");
    assert_eq!(client.on_body(Body::Drop, at(26)), Err(Violation::Unsolicited));
    let mut exit = exit();
    assert!((0..1000).all(|_| exit.on_body(Body::Drop, NOW) == Ok(None)));
}
