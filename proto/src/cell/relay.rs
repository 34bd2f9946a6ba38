//! The command in each layer of a cell.
//!
//! ```text
//! forward    hop i opens  sealed_len(i) bytes → command 1 ‖ rest           RELAY passes rest on, DROP ends here
//! backward   hop i seals  command 1 ‖ rest → sealed_len(i) bytes           RELAY wraps what came, DESTROY is its own
//! ```
//!
//! Whatever does not open or does not parse resets both links at once, without a reason: to a client all errors look
//! alike, and nobody learns by trying.

use super::{Position, exactly, padded, zeros};
use crate::codec::{DecodeError, Reader};

const RELAY: u8 = 0;
const DROP: u8 = 1;
const DESTROY: u8 = 2;

/// What a hop finds in a forward cell it opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward<'a> {
    /// The meaningful bytes of the next link's cell; at the exit the body.
    Relay(&'a [u8]),
    /// Link padding, for this hop alone. Later hops do not count it.
    Drop,
}

impl<'a> Forward<'a> {
    /// The command, for sealing a cell where it lies.
    #[must_use]
    pub const fn byte(&self) -> u8 {
        match self {
            Self::Relay(_) => RELAY,
            Self::Drop => DROP,
        }
    }

    /// Reads what the hop at `position` opened.
    ///
    /// # Errors
    /// [`DecodeError`] for an unknown command, a wrong length, or padding other than zeros.
    pub fn read(position: Position, opened: &'a [u8]) -> Result<Self, DecodeError> {
        let (command, rest) = split(position, opened)?;
        match command {
            RELAY => Ok(Self::Relay(rest)),
            DROP => zeros("padding", rest).map(|()| Self::Drop),
            _ => Err(DecodeError::Value("command")),
        }
    }

    /// Appends what the client seals for the hop at `position`: command ‖ rest.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes to relay are not as many as the next link's cell has.
    pub fn write(&self, position: Position, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        match self {
            Self::Relay(rest) => relay(position, rest, out),
            Self::Drop => {
                out.push(self.byte());
                padded("padding", out, &[], position.rest_len())
            }
        }
    }
}

/// What a client finds in a hop's layer of a backward cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backward<'a> {
    /// The meaningful bytes of the cell on the link behind the hop; from the exit the body.
    Relay(&'a [u8]),
    /// The hop ends the path.
    Destroy(DestroyReason),
}

impl<'a> Backward<'a> {
    /// The command, for sealing a cell where it lies.
    #[must_use]
    pub const fn byte(&self) -> u8 {
        match self {
            Self::Relay(_) => RELAY,
            Self::Destroy(_) => DESTROY,
        }
    }

    /// Reads what the client opened of the layer of the hop at `position`.
    ///
    /// # Errors
    /// [`DecodeError`] for an unknown command or reason, a wrong length, or padding other than zeros.
    pub fn read(position: Position, opened: &'a [u8]) -> Result<Self, DecodeError> {
        let (command, rest) = split(position, opened)?;
        match command {
            RELAY => Ok(Self::Relay(rest)),
            DESTROY => {
                let mut reader = Reader::new(rest);
                let reason = DestroyReason::from_byte(reader.u8()?).ok_or(DecodeError::Value("reason"))?;
                zeros("padding", reader.bytes(reader.remaining())?)?;
                Ok(Self::Destroy(reason))
            }
            _ => Err(DecodeError::Value("command")),
        }
    }

    /// Appends what the hop at `position` seals: command ‖ rest.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes to relay are not as many as the cell on the link behind has.
    pub fn write(&self, position: Position, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        match self {
            Self::Relay(rest) => relay(position, rest, out),
            Self::Destroy(reason) => {
                out.push(self.byte());
                padded("padding", out, &[reason.byte()], position.rest_len())
            }
        }
    }
}

fn split(position: Position, opened: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
    exactly("cell", position.opened_len(), opened)?;
    let mut reader = Reader::new(opened);
    Ok((reader.u8()?, reader.bytes(reader.remaining())?))
}

fn relay(position: Position, rest: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    exactly("relayed bytes", position.rest_len(), rest)?;
    out.push(RELAY);
    out.extend_from_slice(rest);
    Ok(())
}

/// Why a hop ended the path. The client believes the deepest hop that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DestroyReason {
    /// The next link ended.
    NextClosed,
    /// No forward frame for two minutes.
    Idle,
    /// A quarter of an hour old, or out of counters.
    TooOld,
    /// The hop shuts down.
    ShuttingDown,
    /// The hop's chain is behind.
    ChainBehind,
}

impl DestroyReason {
    const ALL: [Self; 5] = [Self::NextClosed, Self::Idle, Self::TooOld, Self::ShuttingDown, Self::ChainBehind];

    /// The byte in a cell, from 1.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::NextClosed => 1,
            Self::Idle => 2,
            Self::TooOld => 3,
            Self::ShuttingDown => 4,
            Self::ChainBehind => 5,
        }
    }

    /// The reason of a byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.byte() == byte)
    }
}
