//! The first backward frame: how far the path was built.
//!
//! ```text
//! e 32 ‖ sealed: status 1 ‖ zero 1 ‖ own minute 4 ‖ zeros 2 ‖ inner ‖ tag 16          Noise message 2
//! ```
//!
//! Each hop wraps what the next one answered. The client opens layer after layer until one says why it could not go
//! on, or does not open; it therefore knows which hop failed, and no hop can speak for another.

use super::build::Minute;
use super::{Position, exactly, padded, zeros};
use crate::codec::{DecodeError, Reader};
use crate::limits::budget::{KEY, REPLY_LAYER, TAG};

/// What a hop says of the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// The path is built this far; the next layer says more.
    Built,
    /// No connection to the next hop.
    NextUnreachable,
    /// The next hop closed the stream without a reply.
    NextClosed,
    /// The next hop did not reply in time.
    NextTimedOut,
    /// The next hop is not on the list, or not active.
    NextUnknown,
    /// The hop has too much to do.
    Busy,
    /// The build's time is too far from the hop's, which stands in the reply.
    TimeRefused,
    /// The hop's rules forbid it.
    Refused,
}

impl Status {
    const ALL: [Self; 8] = [
        Self::Built,
        Self::NextUnreachable,
        Self::NextClosed,
        Self::NextTimedOut,
        Self::NextUnknown,
        Self::Busy,
        Self::TimeRefused,
        Self::Refused,
    ];

    /// The byte in a reply.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Built => 0,
            Self::NextUnreachable => 1,
            Self::NextClosed => 2,
            Self::NextTimedOut => 3,
            Self::NextUnknown => 4,
            Self::Busy => 5,
            Self::TimeRefused => 6,
            Self::Refused => 7,
        }
    }

    /// The status of a byte; any other is a failure, too, of a kind unknown here.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    /// Whether the hop speaks of the next one rather than of itself.
    #[must_use]
    pub const fn blames_next(self) -> bool {
        matches!(self, Self::NextUnreachable | Self::NextClosed | Self::NextTimedOut | Self::NextUnknown)
    }
}

/// What a layer of the reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyPayload<'a> {
    /// How it went.
    pub status: Status,
    /// The hop's own minute: a client with a wrong clock learns it here, authenticated.
    pub minute: Minute,
    /// The next hop's layer; empty at the exit, and where the path ends early.
    pub inner: &'a [u8],
}

impl<'a> ReplyPayload<'a> {
    /// Bytes of the payload at `position`.
    #[must_use]
    pub const fn len(position: Position) -> usize {
        position.reply_len() - KEY - TAG
    }

    /// Bytes of `inner` at `position`; zeros where there is none.
    #[must_use]
    pub const fn inner_len(position: Position) -> usize {
        position.reply_len() - REPLY_LAYER
    }

    const fn wraps_next(status: Status, position: Position) -> bool {
        matches!(status, Status::Built) && position.next().is_some()
    }

    /// Reads what opened as the layer of the hop at `position`.
    ///
    /// # Errors
    /// [`DecodeError`] for an unknown status and everything else that is not laid out as it should be: the build
    /// failed at this hop.
    pub fn read(position: Position, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        exactly("reply payload", Self::len(position), bytes)?;
        let mut reader = Reader::new(bytes);
        let status = Status::from_byte(reader.u8()?).ok_or(DecodeError::Value("status"))?;
        zeros("reserved", reader.bytes(1)?)?;
        let minute = Minute(reader.u32()?);
        zeros("reserved", reader.bytes(2)?)?;
        let inner = reader.bytes(reader.remaining())?;
        if Self::wraps_next(status, position) {
            return Ok(Self { status, minute, inner });
        }
        zeros("inner", inner)?;
        Ok(Self { status, minute, inner: &[] })
    }

    /// The payload's bytes, to be sealed as Noise message 2.
    ///
    /// # Errors
    /// [`DecodeError`] if `inner` is not what status and position ask for.
    pub fn to_bytes(&self, position: Position) -> Result<Vec<u8>, DecodeError> {
        let layer = if Self::wraps_next(self.status, position) { Self::inner_len(position) } else { 0 };
        exactly("inner", layer, self.inner)?;
        let mut bytes = Vec::with_capacity(Self::len(position));
        bytes.extend_from_slice(&[self.status.byte(), 0]);
        bytes.extend_from_slice(&self.minute.0.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        padded("inner", &mut bytes, self.inner, Self::inner_len(position))?;
        Ok(bytes)
    }
}

const _: () = {
    assert!(ReplyPayload::inner_len(Position::Guard) == Position::Middle.reply_len());
    assert!(ReplyPayload::inner_len(Position::Middle) == Position::Exit.reply_len());
};
