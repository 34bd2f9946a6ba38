//! Two honest ends in any order of steps, and a stranger who says anything.

use proptest::prelude::*;

use super::*;

/// What may happen at either end of a path.
#[derive(Clone, Copy, Debug)]
enum Step {
    Open,
    /// Sends as many cells as credit allows, at most so many.
    Send(Side, u16, u16),
    /// Carries so many cells over the path.
    Carry(Side, usize),
    /// Consumes so many of what is held.
    Consume(Side, u16, u16),
    End(Side, u16),
    Reset(Side, u16),
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Client), Just(Side::Exit)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Open),
        8 => (side(), 0..6_u16, 1..200_u16).prop_map(|(side, stream, cells)| Step::Send(side, stream, cells)),
        8 => (side(), 1..300_usize).prop_map(|(side, cells)| Step::Carry(side, cells)),
        8 => (side(), 0..6_u16, 1..300_u16).prop_map(|(side, stream, cells)| Step::Consume(side, stream, cells)),
        1 => (side(), 0..6_u16).prop_map(|(side, stream)| Step::End(side, stream)),
        1 => (side(), 0..6_u16).prop_map(|(side, stream)| Step::Reset(side, stream)),
    ]
}

/// One end: its machine, the cells under way from it, and what it holds of each stream.
struct End {
    streams: Streams,
    link: VecDeque<Body<'static>>,
    held: BTreeMap<StreamId, u16>,
    received: BTreeMap<StreamId, usize>,
    sent: BTreeMap<StreamId, usize>,
}

impl End {
    fn new(side: Side, budget: usize) -> Self {
        Self {
            streams: Streams::new(side, CreditBudget::new(budget)),
            link: VecDeque::new(),
            held: BTreeMap::new(),
            received: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }

    fn flush(&mut self) {
        self.link.extend(std::iter::from_fn(|| self.streams.poll_body()));
    }

    fn send(&mut self, stream: StreamId, cells: u16) {
        for _ in 0..cells {
            if self.streams.spend(stream) {
                *self.sent.entry(stream).or_default() += 1;
                self.link.push_back(data(stream));
            }
        }
    }

    fn consume(&mut self, stream: StreamId, cells: u16) {
        let held = self.held.entry(stream).or_default();
        let cells = cells.min(*held);
        *held -= cells;
        self.streams.consumed(stream, cells);
        self.flush();
    }

    fn receive(&mut self, body: Body<'static>) {
        match self.streams.on_body(body, NOW).expect("honest ends break no rule") {
            Some(StreamEvent::Opened { stream, .. }) => *self.held.entry(stream).or_default() += 1,
            Some(StreamEvent::Data { stream, .. }) => {
                *self.held.entry(stream).or_default() += 1;
                *self.received.entry(stream).or_default() += 1;
            }
            Some(StreamEvent::Reset { stream, .. }) => {
                self.held.remove(&stream);
            }
            Some(StreamEvent::Credit { .. } | StreamEvent::Ended { .. }) | None => {}
        }
        assert!(self.held.values().all(|held| *held <= CREDIT_MAX), "holds more than it granted");
        self.flush();
    }
}

fn carry(from: &mut End, to: &mut End, cells: usize) {
    for body in from.link.drain(..cells.min(from.link.len())).collect::<Vec<_>>() {
        to.receive(body);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn honest_ends_never_overrun_each_other_and_never_wait_for_ever(
        steps in prop::collection::vec(step(), 1..200),
        budget in prop_oneof![Just(0), Just(40), Just(100_000)],
    ) {
        let (mut client, mut exit) = (End::new(Side::Client, budget), End::new(Side::Exit, budget));
        for step in steps {
            match step {
                Step::Open => {
                    if let Ok(stream) = client.streams.open() {
                        client.link.push_back(open_body(stream));
                    }
                }
                Step::Send(side, stream, cells) => {
                    let end = if side == Side::Client { &mut client } else { &mut exit };
                    end.send(id(stream + 1), cells);
                }
                Step::Carry(Side::Client, cells) => carry(&mut client, &mut exit, cells),
                Step::Carry(Side::Exit, cells) => carry(&mut exit, &mut client, cells),
                Step::Consume(side, stream, cells) => {
                    let end = if side == Side::Client { &mut client } else { &mut exit };
                    end.consume(id(stream + 1), cells);
                }
                Step::End(side, stream) => {
                    let end = if side == Side::Client { &mut client } else { &mut exit };
                    end.streams.end(id(stream + 1));
                    end.flush();
                }
                Step::Reset(side, stream) => {
                    let end = if side == Side::Client { &mut client } else { &mut exit };
                    end.streams.reset(id(stream + 1), ResetReason::Timeout);
                    end.held.remove(&id(stream + 1));
                    end.flush();
                }
            }
            prop_assert!(client.streams.len() <= STREAMS_PER_PATH && exit.streams.len() <= STREAMS_PER_PATH);
        }
        // From here on everything is carried and consumed: every stream that is open both ways has credit again.
        for _ in 0..4 {
            carry(&mut client, &mut exit, usize::MAX);
            carry(&mut exit, &mut client, usize::MAX);
            for end in [&mut client, &mut exit] {
                for stream in end.held.keys().copied().collect::<Vec<_>>() {
                    end.consume(stream, u16::MAX);
                }
            }
        }
        prop_assert!(client.link.is_empty() && exit.link.is_empty());
        for (one, other) in [(&client, &exit), (&exit, &client)] {
            for (stream, open) in &one.streams.open {
                if open.sending == Sending::Open {
                    prop_assert!(one.streams.credit(*stream) > INITIAL_CREDIT - CREDIT_RETURN, "{stream} waits");
                }
                if other.streams.is_open(*stream) {
                    let sent = one.sent.get(stream).copied().unwrap_or(0);
                    prop_assert_eq!(sent, other.received.get(stream).copied().unwrap_or(0), "{} lost cells", stream);
                }
            }
        }
    }

    #[test]
    fn nothing_a_stranger_sends_panics_and_what_is_held_stays_bounded(
        cells in prop::collection::vec((0..6_u8, 1..40_u16, 1..=CREDIT_MAX), 1..600),
        side in side(),
    ) {
        let mut streams = Streams::new(side, CreditBudget::of_node());
        for (kind, number, cells) in cells {
            let stream = id(number);
            let body = match kind {
                0 => Body::Drop,
                1 => open_body(stream),
                2 => data(stream),
                3 => Body::End { stream },
                4 => Body::Reset { stream, reason: ResetReason::Timeout },
                _ => Body::Window { stream, cells },
            };
            if streams.on_body(body, NOW).is_err() {
                break;
            }
            sent(&mut streams);
            prop_assert!(streams.len() <= STREAMS_PER_PATH && streams.draining.len() <= STREAMS_PER_PATH);
        }
    }
}
