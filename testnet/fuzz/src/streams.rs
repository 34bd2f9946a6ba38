//! The streams of a path with a stranger at the other end: whatever cells he sends, what one side holds and lends stays
//! within its bounds, and comes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sotto_behaviours::onion::streams::{CreditBudget, Side, StreamEvent, Streams};
use sotto_proto::cell::{Body, Destination, ResetReason, StreamId};
use sotto_proto::limits::{CREDIT_MAX, STREAMS_PER_PATH, WINDOW_CELLS};
use sotto_proto::time::Monotonic;

use crate::fixtures::node;
use crate::input::Input;

/// What a node lends over all its streams, in cells; little, so that it is used up.
const BUDGET: usize = 3000;
/// Steps of one input.
const STEPS: usize = 400;

/// One end, and what its owner holds of each stream.
struct End {
    streams: Streams,
    held: BTreeMap<StreamId, u16>,
    now: Monotonic,
}

fn stream(input: &mut Input<'_>) -> StreamId {
    StreamId::new(u16::from(input.u8() % 24)).unwrap_or(StreamId::FIRST)
}

fn body(choice: u8, input: &mut Input<'_>) -> Body<'static> {
    let stream = stream(input);
    match choice % 6 {
        0 => Body::Drop,
        1 => Body::Open { stream, destination: Destination::Node(node(1)), first: b"" },
        2 => Body::Data { stream, data: b"data" },
        3 => Body::End { stream },
        4 => Body::Reset { stream, reason: ResetReason::Busy },
        _ => Body::Window { stream, cells: (input.u16() % CREDIT_MAX).max(*WINDOW_CELLS.start()) },
    }
}

impl End {
    /// False when the other side broke a rule: the path has ended.
    fn receive(&mut self, body: Body<'static>) -> bool {
        match self.streams.on_body(body, self.now) {
            Ok(Some(StreamEvent::Opened { stream, .. } | StreamEvent::Data { stream, .. })) => {
                *self.held.entry(stream).or_default() += 1;
            }
            Ok(Some(StreamEvent::Reset { stream, .. })) => drop(self.held.remove(&stream)),
            Ok(_) => {}
            Err(_) => return false,
        }
        true
    }

    fn consume(&mut self, input: &mut Input<'_>) {
        let (stream, cells) = (stream(input), input.u16() % 1200);
        let held = self.held.entry(stream).or_default();
        let cells = cells.min(*held);
        *held -= cells;
        self.streams.consumed(stream, cells);
    }

    fn check(&self, budget: &CreditBudget) {
        assert!(self.streams.len() <= STREAMS_PER_PATH);
        assert!(self.held.values().all(|held| *held <= CREDIT_MAX), "holds more than a stream may have");
        for number in 1..=24 {
            let credit = StreamId::new(number).map_or(0, |stream| self.streams.credit(stream));
            assert!(credit <= CREDIT_MAX);
        }
        assert!(budget.left() <= BUDGET);
    }
}

pub(crate) fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let side = if input.flag() { Side::Exit } else { Side::Client };
    let budget = CreditBudget::new(BUDGET);
    let mut end = End {
        streams: Streams::new(side, Arc::clone(&budget)),
        held: BTreeMap::new(),
        now: Monotonic(Duration::from_secs(1)),
    };
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        let choice = input.u8();
        match choice % 8 {
            0 => drop(end.streams.open()),
            1 => drop(end.streams.spend(stream(&mut input))),
            2 => end.consume(&mut input),
            3 => end.streams.end(stream(&mut input)),
            4 => {
                let stream = stream(&mut input);
                end.streams.reset(stream, ResetReason::Timeout);
                end.held.remove(&stream);
            }
            5 => end.now = end.now.plus(Duration::from_millis(u64::from(choice) * 40)),
            _ => {
                // Many of one kind, as a flood is.
                let body = body(choice >> 3, &mut input);
                let times = if choice & 0x80 == 0 { 1 } else { input.u8() };
                if !(0..times).all(|_| end.receive(body)) {
                    break;
                }
            }
        }
        while let Some(body) = end.streams.poll_body() {
            body.write(&mut Vec::new()).expect("what is to be sent can be written");
        }
        end.check(&budget);
    }
    drop(end);
    assert_eq!(budget.left(), BUDGET, "credit that was lent and never given back");
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    // Opened by the other side; much data, consumed, and its end.
    let exit = [&[1, 0x0e, 1, 0x96, 1, 20, 2, 1, 0, 20, 0x96, 1, 30, 2, 1, 0, 30, 0x1e, 1, 3, 1][..]].concat();
    // Opened by us; a window, data both ways, a reset.
    let client = vec![0, 0, 0, 0x2e, 1, 0, 40, 1, 1, 0x96, 1, 9, 2, 1, 0, 9, 0x26, 2, 4, 1];
    vec![exit, client]
}
