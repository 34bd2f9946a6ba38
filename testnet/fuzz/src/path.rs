//! A path with the keys of a real one, and somebody on its links who changes, drops, repeats, moves and cuts cells.
//!
//! Whatever he does, only bodies that were sent come out, in their order and from the first on; and when he did nothing
//! all of them do.

use std::collections::VecDeque;

use sotto_behaviours::onion::build::ClientKeys;
use sotto_behaviours::onion::layers::{FromPath, HopBackward, HopForward};
use sotto_proto::cell::{Body, DestroyReason, Direction, Position, StreamId};
use sotto_proto::limits::{BODY_DATA, FRAME, HOPS};

use crate::build;
use crate::input::Input;
use crate::path_link::{Link, Way};

/// Steps of one input.
const STEPS: usize = 96;

struct Path {
    client: ClientKeys,
    forward: [Way<HopForward>; HOPS],
    backward: [Way<HopBackward>; HOPS],
    /// Link i lies before hop i.
    out: [Link; HOPS],
    back: [Link; HOPS],
    /// What was sent to the exit, and by it, and did not come out yet.
    to_exit: VecDeque<Vec<u8>>,
    to_client: VecDeque<Vec<u8>>,
    /// The client heard of the path's end, or of nothing that makes sense.
    client_done: bool,
    /// A hop ended the path by itself.
    destroyed: bool,
}

impl Path {
    fn new() -> Self {
        let (client, hops) = build::path();
        let [(f0, b0), (f1, b1), (f2, b2)] = hops.map(|keys| (Way::new(keys.forward), Way::new(keys.backward)));
        Self {
            client,
            forward: [f0, f1, f2],
            backward: [b0, b1, b2],
            out: Default::default(),
            back: Default::default(),
            to_exit: VecDeque::new(),
            to_client: VecDeque::new(),
            client_done: false,
            destroyed: false,
        }
    }

    fn send(&mut self, length: usize, number: u8) {
        let data = vec![number | 1; length.clamp(1, BODY_DATA)];
        let body = Body::Data { stream: StreamId::FIRST, data: &data };
        let mut frame = [0; FRAME];
        self.client.forward.seal_body(&body, &mut frame).expect("a body");
        self.out[0].write(&frame);
        self.to_exit.push_back(written(&body));
    }

    fn pad(&mut self, position: Position) {
        let mut frame = [0; FRAME];
        self.client.forward.drop_at(position, &mut frame).expect("a drop");
        self.out[0].write(&frame);
    }

    fn answer(&mut self, length: usize, number: u8) {
        let data = vec![number | 1; length.clamp(1, BODY_DATA)];
        let body = Body::Data { stream: StreamId::FIRST, data: &data };
        let mut frame = [0; FRAME];
        self.backward[2].key().seal_body(&body, &mut frame).expect("a body");
        self.back[2].write(&frame);
        self.to_client.push_back(written(&body));
    }

    fn destroy(&mut self, hop: usize) {
        let mut frame = [0; FRAME];
        self.backward[hop].key().destroy(DestroyReason::Idle, &mut frame).expect("a reason");
        self.back[hop].write(&frame);
        self.destroyed = true;
    }

    /// Hop `hop` takes what is on the link before it.
    fn carry(&mut self, hop: usize, bytes: usize) {
        let passed = self.forward[hop].step(&mut self.out[hop], bytes);
        if hop + 1 < HOPS {
            passed.iter().for_each(|frames| self.out[hop + 1].write(frames));
            return;
        }
        for body in passed {
            assert_eq!(Some(&body), self.to_exit.pop_front().as_ref(), "not the next body that was sent");
            assert!(Body::read(Direction::Forward, &body).is_ok());
        }
    }

    /// Hop `hop` takes what is on the link behind it, or the client what is on the first.
    fn carry_back(&mut self, hop: usize, bytes: usize) {
        if hop > 0 {
            let wrapped = self.backward[hop - 1].step(&mut self.back[hop], bytes);
            self.back[hop - 1].write(&wrapped);
            return;
        }
        // The client reads whole frames.
        while self.back[0].holds_frame() && !self.client_done {
            let frame = self.back[0].take();
            self.receive(frame);
        }
    }

    fn receive(&mut self, mut frame: [u8; FRAME]) {
        match self.client.backward.open(&mut frame) {
            Ok(FromPath::Body(body)) => {
                assert_eq!(Some(written(&body)), self.to_client.pop_front(), "not the next body that was sent");
            }
            Ok(FromPath::Destroy { reason, .. }) => {
                assert!(self.destroyed && reason == DestroyReason::Idle, "an end that nobody told");
                self.client_done = true;
            }
            Err(_) => self.client_done = true,
        }
    }

    fn finish(mut self) {
        for hop in 0..HOPS {
            while !self.out[hop].is_empty() && !self.forward[hop].dead {
                self.carry(hop, usize::MAX);
            }
        }
        let all = self.to_exit.is_empty() && !self.forward.iter().any(|way| way.dead);
        assert!(all || self.out.iter().any(|link| link.touched), "untouched, and yet not all arrives at the exit");
        for hop in (1..HOPS).rev() {
            while !self.back[hop].is_empty() {
                self.carry_back(hop, usize::MAX);
            }
        }
        self.carry_back(0, usize::MAX);
        let touched = self.back.iter().any(|link| link.touched) || self.destroyed;
        assert!(touched || (self.to_client.is_empty() && !self.client_done), "untouched, and yet not all arrives");
    }
}

fn written(body: &Body<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    body.write(&mut bytes).expect("a body");
    bytes
}

pub(crate) fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let mut path = Path::new();
    for step in 0..STEPS {
        if input.is_empty() {
            break;
        }
        let number = u8::try_from(step).unwrap_or(0);
        let choice = input.u8();
        let hop = usize::from(choice >> 6) % HOPS;
        match choice % 16 {
            0..=2 => path.send(usize::from(input.u16()) % 2100, number),
            3 => path.pad(Position::ALL[hop]),
            4..=6 => path.answer(usize::from(input.u16()) % 2100, number),
            7..=9 => path.carry(hop, usize::from(input.u16())),
            10..=12 => path.carry_back(hop, usize::from(input.u16())),
            13 => path.out[hop].meddle(&mut input),
            14 => path.back[hop].meddle(&mut input),
            _ if !path.destroyed && choice & 0x10 != 0 => path.destroy(hop),
            _ => {}
        }
    }
    path.finish();
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    const ALL: [u8; 2] = [0xff, 0xff];
    let carry = [[7, ALL[0], ALL[1]], [0x47, ALL[0], ALL[1]], [0x87, ALL[0], ALL[1]]].concat();
    let back = [[0x8a, ALL[0], ALL[1]], [0x4a, ALL[0], ALL[1]], [0x0a, ALL[0], ALL[1]]].concat();
    let send = [0, 3, 0xe8, 0, 0, 1, 3, 0x43, 0x83, 0, 0, 9];
    let answer = [4, 3, 0xe8, 4, 0, 1, 4, 0, 9];
    vec![
        [&send[..], &carry, &answer, &back].concat(),
        // Half a frame at a time.
        [&send[..], &[7, 12, 0], &[7, 12, 0], &[0x47, 1, 0], &carry].concat(),
        // Meddling on each link, in each way.
        [&send[..], &[13, 2, 0], &carry].concat(),
        [&send[..], &[7, 0xff, 0xff, 13 + 0x40, 3, 1], &carry].concat(),
        [&answer[..], &[14 + 0x80, 0, 1, 1, 0, 3, 1], &back].concat(),
        [&answer[..], &[14 + 0x80, 4, 0, 9], &back].concat(),
        [&answer[..], &[0x1f + 0x40], &back].concat(),
    ]
}
