//! What client and exit say to each other in a cell: streams, their bytes and their credit.
//!
//! ```text
//! kind 1 ‖ stream 2 ‖ len 2 ‖ data 1,992          data beyond len is zeros
//! ```
//!
//! | kind | direction | data |
//! | --- | --- | --- |
//! | DROP | both | stream 0, nothing: keeps the path alive |
//! | OPEN | forward | destination, then first bytes |
//! | DATA | both | at least one byte |
//! | END | both | nothing: no more DATA this way |
//! | RESET | both | a reason |
//! | WINDOW | both | cells that the other side may send beyond what it was told |

use std::fmt;
use std::num::NonZeroU16;

use super::{exactly, zeros};
use crate::codec::{DecodeError, Reader};
use crate::id::NodeId;
use crate::limits::{BODY, BODY_DATA, MULTIADDR_MAX, WINDOW_CELLS};

const DROP: u8 = 0;
const OPEN: u8 = 1;
const DATA: u8 = 2;
const END: u8 = 3;
const RESET: u8 = 4;
const WINDOW: u8 = 5;

const TO_NODE: u8 = 1;
const TO_SERVER: u8 = 2;

/// Which way a cell goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client.
    Forward,
    /// To the client.
    Backward,
}

/// A stream of a path: 1, 2, 3 … in order of OPEN, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(NonZeroU16);

impl StreamId {
    /// The first one.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// The stream with this number; 0 is none.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0.get()
    }

    /// The next one; none after the last, when the path takes no more streams.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(next) => Some(Self(next)),
            None => None,
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Destination<'a> {
    /// A service node, whose address the exit takes from the list.
    Node(NodeId),
    /// A server by binary multiaddr, 1 to 128 bytes, not looked into here.
    Server(&'a [u8]),
}

/// A cell's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// Nothing.
    Drop,
    /// Opens a stream, by the client only.
    Open {
        /// The next unused number.
        stream: StreamId,
        /// Where to.
        destination: Destination<'a>,
        /// What to send at once; may be empty.
        first: &'a [u8],
    },
    /// Bytes of a stream, at least one.
    Data {
        /// The stream.
        stream: StreamId,
        /// The bytes.
        data: &'a [u8],
    },
    /// Half-close: no more bytes this way.
    End {
        /// The stream.
        stream: StreamId,
    },
    /// Ends a stream both ways.
    Reset {
        /// The stream.
        stream: StreamId,
        /// Why.
        reason: ResetReason,
    },
    /// Gives credit.
    Window {
        /// The stream.
        stream: StreamId,
        /// Cells, 1 to 1,024.
        cells: u16,
    },
}

impl<'a> Body<'a> {
    /// Reads a body that came in `direction`.
    ///
    /// # Errors
    /// [`DecodeError`] for whatever the table in the module's documentation does not allow: it kills the path.
    pub fn read(direction: Direction, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        exactly("body", BODY, bytes)?;
        let mut reader = Reader::new(bytes);
        let (kind, number, len) = (reader.u8()?, reader.u16()?, usize::from(reader.u16()?));
        if len > BODY_DATA {
            return Err(DecodeError::TooLong { field: "len", limit: BODY_DATA, actual: len });
        }
        let data = reader.bytes(len)?;
        zeros("padding", reader.bytes(reader.remaining())?)?;
        let stream = || StreamId::new(number).ok_or(DecodeError::Value("stream"));
        match (kind, direction) {
            (DROP, _) if number == 0 => empty(data).map(|()| Self::Drop),
            (OPEN, Direction::Forward) => open(stream()?, data),
            (DATA, _) if !data.is_empty() => Ok(Self::Data { stream: stream()?, data }),
            (END, _) => empty(data).and_then(|()| Ok(Self::End { stream: stream()? })),
            (RESET, _) => Ok(Self::Reset { stream: stream()?, reason: reset_reason(data)? }),
            (WINDOW, _) => Ok(Self::Window { stream: stream()?, cells: window(data)? }),
            (DROP, _) => Err(DecodeError::Value("stream")),
            (DATA, _) => Err(DecodeError::Value("len")),
            _ => Err(DecodeError::Value("kind")),
        }
    }

    /// Appends the body's 1,997 bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if it holds more than fits, or what [`Body::read`] would refuse; `out` is then as it was.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let start = out.len();
        out.resize(start + BODY, 0);
        self.write_to(&mut out[start..]).inspect_err(|_| out.truncate(start))
    }

    /// Writes the body's 1,997 bytes where they are to be sealed.
    ///
    /// # Errors
    /// As [`Body::write`], and for another length of `out`, which is then as it was.
    pub fn write_to(&self, out: &mut [u8]) -> Result<(), DecodeError> {
        match *self {
            Self::Drop => write(out, DROP, 0, &[]),
            Self::Open { stream, destination, first } => write_open(out, stream, destination, first),
            Self::Data { data: [], .. } => Err(DecodeError::Value("len")),
            Self::Data { stream, data } => write(out, DATA, stream.number(), &[data]),
            Self::End { stream } => write(out, END, stream.number(), &[]),
            Self::Reset { stream, reason } => write(out, RESET, stream.number(), &[&[reason.byte()]]),
            Self::Window { stream, cells } if WINDOW_CELLS.contains(&cells) => {
                write(out, WINDOW, stream.number(), &[&cells.to_be_bytes()])
            }
            Self::Window { .. } => Err(DecodeError::Value("window")),
        }
    }

    /// The stream it is about; none for DROP.
    #[must_use]
    pub const fn stream(&self) -> Option<StreamId> {
        match self {
            Self::Drop => None,
            Self::Open { stream, .. }
            | Self::Data { stream, .. }
            | Self::End { stream }
            | Self::Reset { stream, .. }
            | Self::Window { stream, .. } => Some(*stream),
        }
    }

    /// Whether it takes a cell of the stream's credit.
    #[must_use]
    pub const fn takes_credit(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::Data { .. })
    }
}

impl Destination<'_> {
    /// How many first bytes an OPEN to here holds.
    #[must_use]
    pub const fn first_bytes(&self) -> usize {
        let address = match self {
            Self::Node(_) => 32,
            Self::Server(multiaddr) => multiaddr.len(),
        };
        BODY_DATA.saturating_sub(1 + 2 + address)
    }
}

fn empty(data: &[u8]) -> Result<(), DecodeError> {
    exactly("len", 0, data)
}

fn open(stream: StreamId, data: &[u8]) -> Result<Body<'_>, DecodeError> {
    let mut reader = Reader::new(data);
    let (form, length) = (reader.u8()?, usize::from(reader.u16()?));
    let destination = match form {
        TO_NODE if length == 32 => Destination::Node(reader.id()?),
        TO_SERVER if (1..=MULTIADDR_MAX).contains(&length) => Destination::Server(reader.bytes(length)?),
        _ => return Err(DecodeError::Value("destination")),
    };
    Ok(Body::Open { stream, destination, first: reader.bytes(reader.remaining())? })
}

fn reset_reason(data: &[u8]) -> Result<ResetReason, DecodeError> {
    match data {
        [byte] => ResetReason::from_byte(*byte).ok_or(DecodeError::Value("reason")),
        _ => Err(DecodeError::Value("len")),
    }
}

fn window(data: &[u8]) -> Result<u16, DecodeError> {
    let cells = <[u8; 2]>::try_from(data).map(u16::from_be_bytes).map_err(|_| DecodeError::Value("len"))?;
    if WINDOW_CELLS.contains(&cells) { Ok(cells) } else { Err(DecodeError::Value("window")) }
}

fn write_open(out: &mut [u8], stream: StreamId, destination: Destination<'_>, first: &[u8]) -> Result<(), DecodeError> {
    let (form, address) = match &destination {
        Destination::Node(node) => (TO_NODE, node.as_ref()),
        Destination::Server(multiaddr) => (TO_SERVER, *multiaddr),
    };
    let length = u16::try_from(address.len())
        .ok()
        .filter(|&length| (1..=MULTIADDR_MAX).contains(&length.into()))
        .ok_or(DecodeError::Value("destination"))?;
    write(out, OPEN, stream.number(), &[&[form], &length.to_be_bytes(), address, first])
}

fn write(out: &mut [u8], kind: u8, stream: u16, parts: &[&[u8]]) -> Result<(), DecodeError> {
    exactly("body", BODY, out)?;
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let too_long = DecodeError::TooLong { field: "data", limit: BODY_DATA, actual: len };
    let encoded = u16::try_from(len).ok().filter(|_| len <= BODY_DATA).ok_or(too_long)?;
    let (head, mut rest) = out.split_at_mut(BODY - BODY_DATA);
    let ([a, b], [c, d]) = (stream.to_be_bytes(), encoded.to_be_bytes());
    head.copy_from_slice(&[kind, a, b, c, d]);
    for part in parts {
        let (place, behind) = rest.split_at_mut(part.len());
        place.copy_from_slice(part);
        rest = behind;
    }
    rest.fill(0);
    Ok(())
}

/// Why a stream was reset. It never counts against the path: most of it is the destination's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResetReason {
    /// The exit does not go there.
    RefusedByPolicy,
    /// No such node on the list, or no such name.
    UnknownDestination,
    /// No connection.
    Unreachable,
    /// The destination closed.
    ClosedByDestination,
    /// Nothing came in time.
    Timeout,
    /// The exit has too many streams.
    Busy,
    /// The stream's rules were broken.
    Protocol,
}

impl ResetReason {
    const ALL: [Self; 7] = [
        Self::RefusedByPolicy,
        Self::UnknownDestination,
        Self::Unreachable,
        Self::ClosedByDestination,
        Self::Timeout,
        Self::Busy,
        Self::Protocol,
    ];

    /// The byte in a cell, from 1.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::RefusedByPolicy => 1,
            Self::UnknownDestination => 2,
            Self::Unreachable => 3,
            Self::ClosedByDestination => 4,
            Self::Timeout => 5,
            Self::Busy => 6,
            Self::Protocol => 7,
        }
    }

    /// The reason of a byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.byte() == byte)
    }
}
