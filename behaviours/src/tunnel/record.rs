//! Records, and the flights they make (B6).
//!
//! ```text
//! record   u16 n ‖ n bytes: a Noise message
//! payload  u8 flags ‖ u32 len ‖ len bytes ‖ zeros        flags bit 0: the message goes on in the next record
//! flight   record ‖ record ‖ …                           together whole cells
//! ```
//!
//! A message is spread over the records of its flight, and zeros fill what is left: of an answer only one of ten sizes
//! can be seen, of a request the number of its cells.

use std::fmt;

use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::limits::budget::{LATER_RECORD, RECORD_BYTES, TAG};
use sotto_proto::limits::{ANSWER_CELLS, BODY_DATA, REQUEST_MAX, RESPONSE_MAX, TUNNEL_CELLS};
use zeroize::Zeroizing;

use super::TunnelError;
use crate::onion::keys::{Opener, Sealer};

/// Bytes of a record's length.
pub(super) const LENGTH: usize = 2;
/// Set while a message goes on in the next record.
const GOES_ON: u8 = 1;

/// Writes a payload: the part of a message that fits into it, and zeros behind; gives what does not fit. All but the last
/// payload of a flight say that the message goes on, also when only zeros do.
pub(super) fn fill<'a>(payload: &mut [u8], message: &'a [u8], last: bool) -> Result<&'a [u8], DecodeError> {
    let (flags, rest) = payload.split_first_mut().ok_or(DecodeError::Truncated { missing: 1 })?;
    *flags = if last { 0 } else { GOES_ON };
    fill_bytes(rest, message)
}

/// Writes `u32 len ‖ len bytes ‖ zeros`, to the end; gives what does not fit.
pub(super) fn fill_bytes<'a>(out: &mut [u8], message: &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let (length, room) = out.split_first_chunk_mut().ok_or(DecodeError::Truncated { missing: 4 })?;
    let (now, later) = message.split_at(message.len().min(room.len()));
    *length = u32::try_from(now.len()).map_err(|_| DecodeError::Value("len"))?.to_be_bytes();
    let (bytes, zeros) = room.split_at_mut(now.len());
    bytes.copy_from_slice(now);
    zeros.fill(0);
    Ok(later)
}

/// A payload's part of a message, and whether the message goes on.
pub(super) fn part(payload: &[u8]) -> Result<(&[u8], bool), DecodeError> {
    let mut reader = Reader::new(payload);
    let goes_on = flags(&mut reader)?;
    Ok((bytes_and_zeros(reader)?, goes_on))
}

/// The flags at the beginning of a payload.
pub(super) fn flags(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        GOES_ON => Ok(true),
        _ => Err(DecodeError::Value("flags")),
    }
}

/// `u32 len ‖ len bytes ‖ zeros`, to the end.
pub(super) fn bytes_and_zeros(mut reader: Reader<'_>) -> Result<&[u8], DecodeError> {
    let bytes = reader.var_bytes("len", RECORD_BYTES)?;
    let padding = reader.bytes(reader.remaining())?;
    if padding.iter().fold(0, |seen, byte| seen | byte) == 0 { Ok(bytes) } else { Err(DecodeError::Value("padding")) }
}

/// How many bytes each record of a flight has, its length included: as few records as carry `bytes`, the last the
/// shortest, and none too short for `least`.
pub(super) fn records(bytes: usize, least: usize) -> impl Iterator<Item = usize> {
    let mut left = bytes;
    std::iter::from_fn(move || {
        let rest = left.saturating_sub(RECORD_BYTES);
        // A rest that is too short for a record is made longer at the cost of this one.
        let borrowed = if (1..least).contains(&rest) { least - rest } else { 0 };
        let record = left.min(RECORD_BYTES) - borrowed;
        left -= record;
        (record > 0).then_some(record)
    })
}

/// Bytes of whole cells that hold `bytes`, of a number of cells that answers have.
pub(super) fn answer_flight(bytes: impl Fn(usize) -> usize) -> Option<usize> {
    ANSWER_CELLS.into_iter().map(|cells| cells * BODY_DATA).find(|&flight| bytes(flight) <= flight)
}

/// Bytes of records around a message in a flight of so many bytes, the first of them with a layer of `first`.
pub(super) fn overhead(flight: usize, first: usize) -> usize {
    first + (records(flight, LATER_RECORD).count().saturating_sub(1)) * LATER_RECORD
}

/// What one side of a tunnel sends.
pub struct Outbound {
    key: Sealer,
}

impl Outbound {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self { key: Sealer::new(key) }
    }

    /// The flight of a request behind the first: whole cells, as few as hold it.
    ///
    /// # Errors
    /// [`TunnelError`] if it is longer than any request, or the key is used up.
    pub fn request(&mut self, message: &[u8]) -> Result<Vec<u8>, TunnelError> {
        too_long("request", REQUEST_MAX, message.len())?;
        let mut sizes = (1..=TUNNEL_CELLS).map(|cells| cells * BODY_DATA);
        let flight = sizes.find(|&flight| message.len() + overhead(flight, LATER_RECORD) <= flight);
        self.flight(message, flight)
    }

    /// The flight of an answer: whole cells, of one of the numbers that answers have.
    ///
    /// # Errors
    /// [`TunnelError`] if it is longer than any answer, or the key is used up.
    pub fn answer(&mut self, message: &[u8]) -> Result<Vec<u8>, TunnelError> {
        too_long("answer", RESPONSE_MAX, message.len())?;
        self.flight(message, answer_flight(|flight| message.len() + overhead(flight, LATER_RECORD)))
    }

    fn flight(&mut self, message: &[u8], bytes: Option<usize>) -> Result<Vec<u8>, TunnelError> {
        let bytes = bytes.ok_or(DecodeError::Value("message"))?;
        let mut out = vec![0; bytes];
        self.records(message, &mut out)?;
        Ok(out)
    }

    /// Fills `out` with records that carry the message.
    pub(super) fn records(&mut self, mut message: &[u8], mut out: &mut [u8]) -> Result<(), TunnelError> {
        for size in records(out.len(), LATER_RECORD) {
            let (record, behind) = out.split_at_mut(size);
            let (length, sealed) = record.split_at_mut(LENGTH);
            length.copy_from_slice(&record_length(sealed.len())?);
            let end = sealed.len().checked_sub(TAG).ok_or(DecodeError::Truncated { missing: TAG })?;
            message = fill(&mut sealed[..end], message, behind.is_empty())?;
            self.key.seal(sealed)?;
            out = behind;
        }
        Ok(nothing_left(message)?)
    }
}

/// All of the message is in the flight.
pub(super) const fn nothing_left(message: &[u8]) -> Result<(), DecodeError> {
    if message.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(message.len())) }
}

/// `u16 n`.
pub(super) fn record_length(bytes: usize) -> Result<[u8; LENGTH], DecodeError> {
    u16::try_from(bytes).map(u16::to_be_bytes).map_err(|_| DecodeError::Value("record"))
}

pub(super) fn too_long(field: &'static str, limit: usize, actual: usize) -> Result<(), DecodeError> {
    if actual > limit { Err(DecodeError::TooLong { field, limit, actual }) } else { Ok(()) }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbound({:?})", self.key)
    }
}

/// Gathers bytes until there is a whole record.
#[derive(Default)]
pub(super) struct RecordBuffer {
    bytes: Vec<u8>,
    /// Bytes of records that were taken.
    taken: usize,
}

impl RecordBuffer {
    /// Adds the bytes of a cell. What was taken makes room, once that costs little.
    pub(super) fn push(&mut self, data: &[u8]) {
        if self.taken > self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(data);
    }

    /// Bytes that were not taken.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// What the next record's length counts, if all of it is there.
    pub(super) fn peek(&self) -> Option<&[u8]> {
        let left = &self.bytes[self.taken..];
        let (length, left) = left.split_first_chunk::<LENGTH>()?;
        left.get(..usize::from(u16::from_be_bytes(*length)))
    }

    /// Takes the next record, to be opened where it lies.
    pub(super) fn take(&mut self) -> Option<&mut [u8]> {
        let start = self.taken + LENGTH;
        let length = self.peek()?.len();
        self.taken = start + length;
        Some(&mut self.bytes[start..start + length])
    }
}

/// What one side of a tunnel receives.
pub struct Inbound {
    key: Opener,
    records: RecordBuffer,
    /// The parts of a message that goes on.
    message: Zeroizing<Vec<u8>>,
    /// A message that is whole already: the one that came with the handshake.
    ready: Option<Vec<u8>>,
    limit: usize,
}

impl Inbound {
    /// Of messages no longer than `limit`; goes on with what the handshake left: bytes behind its record, and the first
    /// part of a message.
    pub(super) fn new(
        key: &[u8; 32],
        limit: usize,
        records: RecordBuffer,
        first: Option<(&[u8], bool)>,
    ) -> Result<Self, TunnelError> {
        let key = Opener::new(key);
        let mut inbound = Self { key, records, message: Zeroizing::new(Vec::new()), ready: None, limit };
        if let Some((bytes, goes_on)) = first {
            inbound.ready = gather(&mut inbound.message, bytes, goes_on, limit)?;
        }
        Ok(inbound)
    }

    /// Adds the bytes of a cell, in order. [`poll`](Self::poll) is to be asked before the next: at most one incomplete
    /// record is held.
    ///
    /// # Errors
    /// [`TunnelError`] if more came than anybody sends without being answered.
    pub fn push(&mut self, data: &[u8]) -> Result<(), TunnelError> {
        too_long("record", RECORD_BYTES + BODY_DATA, self.records.len() + data.len())?;
        self.records.push(data);
        Ok(())
    }

    /// The next whole message, if there is one.
    ///
    /// # Errors
    /// [`TunnelError`] if a record does not open, or the message gets too long: the tunnel ends.
    pub fn poll(&mut self) -> Result<Option<Vec<u8>>, TunnelError> {
        if let Some(message) = self.ready.take() {
            return Ok(Some(message));
        }
        while let Some(record) = self.records.take() {
            self.key.open(record)?;
            let payload = &record[..record.len() - TAG];
            let (bytes, goes_on) = part(payload)?;
            if let Some(message) = gather(&mut self.message, bytes, goes_on, self.limit)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}

/// Adds a part to a message; gives the message if that was its last.
fn gather(message: &mut Vec<u8>, bytes: &[u8], goes_on: bool, limit: usize) -> Result<Option<Vec<u8>>, DecodeError> {
    too_long("message", limit, message.len() + bytes.len())?;
    message.extend_from_slice(bytes);
    Ok((!goes_on).then(|| std::mem::take(message)))
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inbound({:?}, {} bytes waiting)", self.key, self.records.len())
    }
}

#[cfg(test)]
mod tests;
