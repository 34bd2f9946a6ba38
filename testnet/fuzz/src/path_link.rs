//! The links of a path, as bytes under way: what was put in, what somebody did to it, and a hop that reads them.

use sotto_behaviours::onion::keys::CellError;
use sotto_behaviours::onion::layers::{CellBuffer, HopBackward, HopForward};
use sotto_proto::cell::Position;
use sotto_proto::limits::FRAME;

use crate::input::Input;

/// Bytes that were written to a stream and not yet read from it.
#[derive(Debug, Default)]
pub(crate) struct Link {
    bytes: Vec<u8>,
    /// Whether they are others than were written.
    pub(crate) touched: bool,
}

impl Link {
    pub(crate) fn write(&mut self, frames: &[u8]) {
        assert_eq!(frames.len() % FRAME, 0, "something else than whole frames");
        self.bytes.extend_from_slice(frames);
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether a whole frame can be read.
    pub(crate) const fn holds_frame(&self) -> bool {
        self.bytes.len() >= FRAME
    }

    /// The next frame; there must be one.
    pub(crate) fn take(&mut self) -> [u8; FRAME] {
        let mut frame = [0; FRAME];
        self.read(&mut frame, FRAME);
        frame
    }

    /// Reads at most so many bytes into `space`.
    fn read(&mut self, space: &mut [u8], most: usize) -> usize {
        let length = self.bytes.len().min(space.len()).min(most);
        space[..length].copy_from_slice(&self.bytes[..length]);
        self.bytes.drain(..length);
        length
    }

    /// Changes, drops, repeats or moves a frame, or takes some bytes out.
    pub(crate) fn meddle(&mut self, input: &mut Input<'_>) {
        let (how, at, length) = (input.below(5), input.below(self.bytes.len() / FRAME) * FRAME, self.bytes.len());
        if length < FRAME {
            return;
        }
        let before = self.bytes.clone();
        match how {
            0 => {
                let mut frame = self.bytes[at..at + FRAME].to_vec();
                input.edit(&mut frame);
                self.bytes.splice(at..at + FRAME, frame);
            }
            1 => drop(self.bytes.drain(at..at + FRAME)),
            2 => {
                let frame = self.bytes[at..at + FRAME].to_vec();
                self.bytes.splice(at..at, frame);
            }
            3 => self.bytes[..length / FRAME * FRAME].rotate_left(at),
            _ => drop(self.bytes.drain(at..at + 1 + input.below(FRAME))),
        }
        self.touched |= self.bytes != before;
    }
}

/// A hop's way of one direction: what it has read, and its key. After the first failure it does nothing any more.
#[derive(Debug)]
pub(crate) struct Way<K> {
    key: K,
    buffer: CellBuffer,
    pub(crate) dead: bool,
}

impl<K> Way<K> {
    pub(crate) fn new(key: K) -> Self {
        Self { key, buffer: CellBuffer::new(), dead: false }
    }

    fn fill(&mut self, from: &mut Link, most: usize) {
        let mut left = most;
        while left > 0 && !self.dead {
            if self.buffer.is_full() {
                self.buffer.grow();
            }
            let read = from.read(self.buffer.space(), left);
            if read == 0 {
                return;
            }
            self.buffer.filled(read);
            left -= read;
        }
    }
}

impl Way<HopForward> {
    /// Reads at most `most` bytes, opens the whole cells in them and passes on what is in those: frames, or at the exit
    /// bodies.
    pub(crate) fn step(&mut self, from: &mut Link, most: usize) -> Vec<Vec<u8>> {
        self.fill(from, most);
        if self.dead || self.buffer.whole() == 0 {
            return Vec::new();
        }
        let opened = match self.key.open(&mut self.buffer) {
            Ok(opened) => opened,
            Err(error) => return self.die(error),
        };
        let out: Vec<Vec<u8>> = match self.key.position() {
            Position::Exit => self.buffer.bodies(&opened).map(<[u8]>::to_vec).collect(),
            position => {
                let frames: Vec<Vec<u8>> = self.buffer.relayed(&opened).map(<[u8]>::to_vec).collect();
                let meant = position.rest_len();
                for frame in frames.iter().flat_map(|run| run.chunks(FRAME)) {
                    assert!(frame[meant..].iter().all(|byte| *byte == 0), "bytes of another frame are passed on");
                }
                frames
            }
        };
        self.buffer.advance();
        out
    }
}

impl Way<HopBackward> {
    /// Reads at most `most` bytes and wraps the whole cells in them.
    pub(crate) fn step(&mut self, from: &mut Link, most: usize) -> Vec<u8> {
        self.fill(from, most);
        if self.dead || self.buffer.whole() == 0 {
            return Vec::new();
        }
        let wrapped = self.key.wrap(&mut self.buffer).expect("whatever comes is wrapped").to_vec();
        self.buffer.advance();
        wrapped
    }

    pub(crate) const fn key(&mut self) -> &mut HopBackward {
        &mut self.key
    }
}

impl<K> Way<K> {
    fn die(&mut self, error: CellError) -> Vec<Vec<u8>> {
        assert_ne!(error, CellError::Exhausted, "a key that has opened next to nothing");
        self.dead = true;
        Vec::new()
    }
}
