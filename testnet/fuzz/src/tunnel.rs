//! Tunnels between a client and a destination: on the way anything may happen to their bytes, and nothing that was
//! changed, repeated or reordered may come through.

use std::collections::VecDeque;

use sotto_behaviours::noise::Secret;
use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::build::HopSecrets;
use sotto_behaviours::tunnel::handshake::{ClientHandshake, FirstRecord, OpenedTunnel};
use sotto_behaviours::tunnel::record::{Inbound, Outbound};
use sotto_proto::cell::{Destination, Minute};
use sotto_proto::id::NodeId;
use sotto_proto::limits::{BODY_DATA, REQUEST_MAX, RESPONSE_MAX};

use crate::fixtures::{CHAIN, rng, secret};
use crate::input::Input;

const NODE: NodeId = NodeId::new([2; 32]);
const MINUTE: Minute = Minute(29_500_000);
/// Steps of one input.
const STEPS: usize = 64;

fn secrets() -> HopSecrets {
    HopSecrets::new([secret(1), Secret::take(&mut [4; 32])])
}

fn client(request: &[u8]) -> (Vec<u8>, ClientHandshake) {
    let to = HopInfo { node: NODE, x25519: secret(1).public() };
    let room = Destination::Node(NODE).first_bytes();
    ClientHandshake::new(&CHAIN, &to, room, MINUTE, request, &mut rng(3)).expect("a request that fits")
}

fn request(input: &mut Input<'_>) -> Vec<u8> {
    let length = usize::from(input.u16()) % 5000;
    (0_u8..251).cycle().take(length).collect()
}

/// Hands over a flight in cells; what opens must be what was asked.
fn arrive(flight: &[u8]) -> Option<OpenedTunnel> {
    let mut record = FirstRecord::new();
    let (first, rest) = flight.split_at(Destination::Node(NODE).first_bytes().min(flight.len()));
    let mut complete = record.push(first).ok()?;
    for cell in rest.chunks(BODY_DATA) {
        complete = record.push(cell).ok()?;
    }
    if !complete {
        return None;
    }
    record.read(&secrets()).ok()?.open(&CHAIN, &NODE).ok()
}

pub(crate) fn first(input: &[u8]) {
    let mut input = Input::new(input);
    let request = request(&mut input);
    let (flight, mut client) = client(&request);
    let mut sent = flight.clone();
    input.edit(&mut sent);
    let opened = arrive(&sent);
    assert_eq!(opened.is_some(), sent == flight, "a changed flight opens, or a good one does not");
    let Some(opened) = opened else { return };
    assert_eq!((opened.request(), opened.minute()), (request.as_slice(), MINUTE));
    let answer: Vec<u8> = self::request(&mut input);
    let (flight, ..) = opened.answer(&answer, &mut rng(5)).expect("an answer that fits");
    let mut sent = flight.clone();
    input.edit(&mut sent);
    let mut cells = sent.chunks(BODY_DATA);
    let mut whole = Ok(false);
    while let (Ok(false), Some(cell)) = (&whole, cells.next()) {
        whole = client.push(cell);
    }
    if !matches!(whole, Ok(true)) {
        assert!(sent != flight, "a good answer is not taken");
        return;
    }
    let Ok((_, mut inbound)) = client.finish() else {
        assert!(sent != flight, "a good answer does not open");
        return;
    };
    let mut read = inbound.poll();
    for cell in cells {
        if !matches!(read, Ok(None)) {
            break;
        }
        read = inbound.push(cell).and_then(|()| inbound.poll());
    }
    match read {
        Ok(Some(message)) => assert_eq!(message, answer),
        _ => assert!(sent != flight, "a good answer does not open"),
    }
}

pub(crate) fn first_seeds() -> Vec<Vec<u8>> {
    // Request, its change, answer, its change.
    vec![
        vec![0, 60],
        vec![0, 60, 0, 0, 0, 0, 0, 90],
        vec![0x12, 0, 0, 0, 0, 0, 0x13, 0x80],
        vec![0, 60, 1, 0, 50, 1],
        vec![0, 60, 2, 0, 50, 0],
        vec![0, 60, 0, 0, 0, 0, 0x10, 0, 1, 7, 0xa0, 3],
        vec![0, 60, 0, 0, 0, 0, 0x10, 0, 3, 7, 0xa0, 3],
    ]
}

pub(crate) fn bytes(input: &[u8]) {
    let Some((&size, data)) = input.split_first() else { return };
    let mut record = FirstRecord::new();
    for piece in data.chunks(usize::from(size) * 8 + 1) {
        match record.push(piece) {
            Ok(true) => break,
            Ok(false) => {}
            Err(_) => return,
        }
    }
    assert!(record.buffered() <= data.len());
    let secrets = secrets();
    let Ok(arrived) = record.read(&secrets) else { return };
    let Ok(opened) = arrived.open(&CHAIN, &NODE) else { return };
    assert!(data.starts_with(&client(opened.request()).0), "forged without the client");
}

pub(crate) fn bytes_seeds() -> Vec<Vec<u8>> {
    let flight = client(b"question").0;
    vec![[&[0xff][..], &flight].concat(), [&[20][..], &client(&[7; 2500]).0].concat()]
}

/// One way of an open tunnel: what was sealed, what is under way, what came out.
struct Way {
    outbound: Outbound,
    inbound: Inbound,
    most: usize,
    sent: VecDeque<Vec<u8>>,
    cells: VecDeque<Vec<u8>>,
    touched: bool,
    ended: bool,
}

impl Way {
    fn new(outbound: Outbound, inbound: Inbound, most: usize) -> Self {
        let (sent, cells) = (VecDeque::new(), VecDeque::new());
        Self { outbound, inbound, most, sent, cells, touched: false, ended: false }
    }

    fn send(&mut self, length: usize, fill: u8) {
        let message = vec![fill; length];
        let flight =
            if self.most == REQUEST_MAX { self.outbound.request(&message) } else { self.outbound.answer(&message) };
        let flight = flight.expect("a message that fits");
        assert_eq!(flight.len() % BODY_DATA, 0, "a flight that does not end at a cell's end");
        self.cells.extend(flight.chunks(BODY_DATA).map(<[u8]>::to_vec));
        self.sent.push_back(message);
    }

    fn meddle(&mut self, input: &mut Input<'_>) {
        let at = input.below(self.cells.len());
        let Some(cell) = self.cells.get(at).cloned() else { return };
        // No two cells are alike: they are sealed.
        self.touched |= match input.below(4) {
            0 => {
                let mut changed = cell.clone();
                input.edit(&mut changed);
                let touched = changed != cell;
                self.cells[at] = changed;
                touched
            }
            1 => self.cells.remove(at).is_some(),
            2 => {
                self.cells.insert(at, cell);
                true
            }
            _ => {
                self.cells.rotate_left(at);
                at != 0
            }
        };
    }

    /// Carries one cell. Whoever reads one that does not open reads no further.
    fn carry(&mut self) {
        let Some(cell) = self.cells.pop_front().filter(|_| !self.ended) else { return };
        if self.inbound.push(&cell).is_err() {
            self.ended = true;
            return;
        }
        loop {
            match self.inbound.poll() {
                Ok(Some(message)) => {
                    assert!(message.len() <= self.most);
                    assert_eq!(Some(message), self.sent.pop_front(), "not the next message that was sent");
                }
                Ok(None) => return,
                Err(_) => {
                    self.ended = true;
                    return;
                }
            }
        }
    }

    fn finish(mut self) {
        while !self.cells.is_empty() && !self.ended {
            self.carry();
        }
        assert!(self.touched || (!self.ended && self.sent.is_empty()), "untouched, and yet not all arrives");
    }
}

pub(crate) fn records(input: &[u8]) {
    let mut input = Input::new(input);
    let (flight, mut client) = client(b"");
    let opened = arrive(&flight).expect("an honest client");
    let (answer, answers, requests) = opened.answer(b"", &mut rng(5)).expect("an empty answer");
    client.push(&answer).expect("an honest answer");
    let (outbound, mut inbound) = client.finish().expect("an honest answer");
    assert_eq!(inbound.poll().ok(), Some(Some(Vec::new())));
    let mut ways = [Way::new(outbound, requests, REQUEST_MAX), Way::new(answers, inbound, RESPONSE_MAX)];
    for step in 0..STEPS {
        if input.is_empty() {
            break;
        }
        let choice = input.u8();
        let way = &mut ways[usize::from(choice & 1)];
        match choice >> 1 & 7 {
            0..=2 => way.send(usize::from(input.u16()) % 9000, u8::try_from(step).unwrap_or(0)),
            3..=5 => (0..=choice >> 5).for_each(|_| way.carry()),
            6 => way.meddle(&mut input),
            _ => {}
        }
    }
    ways.into_iter().for_each(Way::finish);
}

pub(crate) fn records_seeds() -> Vec<Vec<u8>> {
    vec![
        vec![0, 0, 60, 6, 1, 0, 90, 7, 0, 0x1f, 0xff, 0xe6, 6],
        vec![0, 0x20, 0, 0, 0, 5, 12, 1, 0, 1, 0, 9, 1, 6],
        vec![1, 0x1e, 0, 13, 2, 2, 0xe7, 1, 0, 1],
    ]
}
