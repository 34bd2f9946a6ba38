//! Frames and cells of a path: how they are laid out, not how they are sealed (B5, B6).
//!
//! One libp2p stream per path and link carries nothing but frames of 2,048 bytes. The first frame each way builds the
//! path, all later ones are cells:
//!
//! ```text
//! client ──link 1── guard ──link 2── middle ──link 3── exit ──tunnel── destination
//!
//!          forward                              backward
//! first    build: layer in layer in layer       reply: layer in layer in layer
//! then     cells: each hop opens one layer      cells: each hop seals one layer
//! ```
//!
//! | file | what it lays out | sealed by |
//! | --- | --- | --- |
//! | `build` | a layer of the first forward frame, and what it says to its hop | Noise message 1 |
//! | `reply` | a layer of the first backward frame: built, or why not | Noise message 2 |
//! | `relay` | the command in each layer of a cell | transport keys of one hop |
//! | `body` | what client and exit say to each other: streams and their credit | the exit's layer |
//! | `tunnel` | the frames between exit and destination | nothing: end to end sealed bytes |
//!
//! A layer takes some bytes of the frame, so the part of a frame that means something gets shorter from link to link
//! ([`Position`] knows how long it is). The rest is written as zeros and never read, and no byte of it is ever copied to
//! another frame. Decoding is strict and total: unknown values, wrong lengths and padding other than zeros are errors.

mod body;
mod build;
mod relay;
mod reply;
mod tunnel;

use std::fmt;

pub use self::body::{Body, Destination, Direction, ResetReason, StreamId};
pub use self::build::{Build, BuildHead, BuildPayload, KeyTag, Minute, key_tag, prologue};
pub use self::relay::{Backward, DestroyReason, Forward};
pub use self::reply::{ReplyPayload, Status};
pub use self::tunnel::{read_tunnel_frame, write_tunnel_frame};
use crate::codec::DecodeError;
use crate::limits::budget::{BUILD, CELL_LAYER, FRAME, HOPS, REPLY, SEAL, TAG};

/// A frame as it is on a link.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(Box<[u8; FRAME]>);

impl Frame {
    /// Nothing but zeros.
    #[must_use]
    pub fn zeroed() -> Self {
        Self(Box::new([0; FRAME]))
    }

    /// A frame whose beginning means something.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`] if that is longer than a frame.
    pub fn new(meaningful: &[u8]) -> Result<Self, DecodeError> {
        let mut frame = Self::zeroed();
        frame.set(meaningful)?;
        Ok(frame)
    }

    /// Writes the beginning anew, and zeros behind it.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`] if it is longer than a frame, which is then as it was.
    pub fn set(&mut self, meaningful: &[u8]) -> Result<(), DecodeError> {
        let (head, rest) = self.0.split_at_mut_checked(meaningful.len()).ok_or(DecodeError::TooLong {
            field: "frame",
            limit: FRAME,
            actual: meaningful.len(),
        })?;
        head.copy_from_slice(meaningful);
        rest.fill(0);
        Ok(())
    }

    /// All bytes, for writing to a stream.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; FRAME] {
        &self.0
    }

    /// All bytes, for reading a whole frame from a stream into them.
    #[must_use]
    pub fn as_mut_bytes(&mut self) -> &mut [u8; FRAME] {
        &mut self.0
    }

    /// The sealed part of a cell on the link before the hop at `position`.
    #[must_use]
    pub fn sealed(&self, position: Position) -> &[u8] {
        &self.0[..position.sealed_len()]
    }

    /// The Noise message 2 of a reply on the link before the hop at `position`.
    #[must_use]
    pub fn reply(&self, position: Position) -> &[u8] {
        &self.0[..position.reply_len()]
    }
}

impl From<[u8; FRAME]> for Frame {
    fn from(bytes: [u8; FRAME]) -> Self {
        Self(Box::new(bytes))
    }
}

impl fmt::Debug for Frame {
    /// Its size only: everything in a frame is ciphertext.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({FRAME} bytes)")
    }
}

/// A hop's place on the path. Link i is the one before hop i.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Position {
    /// The first hop, which knows the client.
    Guard,
    /// The second hop, which knows neither end.
    Middle,
    /// The last hop, which knows the destinations.
    Exit,
}

impl Position {
    /// From the client on.
    pub const ALL: [Self; HOPS] = [Self::Guard, Self::Middle, Self::Exit];

    /// The positions that a build may have which comes from a peer that is or is not a registered node: the guard's
    /// neighbour is a client, the others' are nodes. So an exit never sees a client's address, whatever a client tries.
    ///
    /// A build does not say where it is meant for until it is opened, and a middle's is longer than an exit's: a hop
    /// tries these in turn.
    #[must_use]
    pub const fn candidates(from_registered: bool) -> &'static [Self] {
        if from_registered { &[Self::Middle, Self::Exit] } else { &[Self::Guard] }
    }

    /// 1, 2 or 3, as in a build.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Guard => 1,
            Self::Middle => 2,
            Self::Exit => 3,
        }
    }

    /// The position with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Guard),
            2 => Some(Self::Middle),
            3 => Some(Self::Exit),
            _ => None,
        }
    }

    /// The hop behind; none behind the exit.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        Self::from_number(self.number() + 1)
    }

    const fn index(self) -> usize {
        self.number() as usize - 1
    }

    /// Meaningful bytes of a build frame on the link before this hop.
    #[must_use]
    pub const fn build_len(self) -> usize {
        BUILD[self.index()]
    }

    /// Meaningful bytes of a reply frame on the link before this hop.
    #[must_use]
    pub const fn reply_len(self) -> usize {
        REPLY[self.index()]
    }

    /// Sealed bytes of a cell on the link before this hop.
    #[must_use]
    pub const fn sealed_len(self) -> usize {
        SEAL[self.index()]
    }

    /// Bytes that opening a cell gives this hop: command and rest.
    #[must_use]
    pub const fn opened_len(self) -> usize {
        self.sealed_len() - TAG
    }

    /// Bytes behind the command: what the next link's cell means, or at the exit the body.
    #[must_use]
    pub const fn rest_len(self) -> usize {
        self.sealed_len() - CELL_LAYER
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Guard => "guard",
            Self::Middle => "middle",
            Self::Exit => "exit",
        })
    }
}

/// Bytes that a layout wants as zeros.
fn zeros(field: &'static str, bytes: &[u8]) -> Result<(), DecodeError> {
    // Folded without a branch, so that the compiler takes many bytes at a time: bodies are checked for every cell.
    if bytes.iter().fold(0, |seen, byte| seen | byte) == 0 { Ok(()) } else { Err(DecodeError::Value(field)) }
}

/// The bytes must be as many as the layout says.
const fn exactly(field: &'static str, expected: usize, bytes: &[u8]) -> Result<(), DecodeError> {
    if bytes.len() == expected { Ok(()) } else { Err(DecodeError::Value(field)) }
}

/// Appends `bytes` and zeros, together `length` long.
fn padded(field: &'static str, out: &mut Vec<u8>, bytes: &[u8], length: usize) -> Result<(), DecodeError> {
    if bytes.len() > length {
        return Err(DecodeError::TooLong { field, limit: length, actual: bytes.len() });
    }
    let end = out.len() + length;
    out.extend_from_slice(bytes);
    out.resize(end, 0);
    Ok(())
}

const _: () = {
    let mut index = 0;
    while index + 1 < HOPS {
        let (here, behind) = (Position::ALL[index], Position::ALL[index + 1]);
        assert!(here.rest_len() == behind.sealed_len(), "a cell's rest is the next link's cell");
        index += 1;
    }
    assert!(Position::Exit.rest_len() == crate::limits::BODY);
};
