//! The frames between exit and destination (B6): `len 2 ‖ data ‖ zeros`.
//!
//! One OPEN or DATA with data is one frame with the same bytes, so a tunnel looks the same on every link, and neither
//! side learns more of the other's flights than their number of cells.

use super::{Frame, zeros};
use crate::codec::{DecodeError, Reader};
use crate::limits::BODY_DATA;

/// The bytes in a frame, 1 to 1,992.
///
/// # Errors
/// [`DecodeError`] for another length, or padding other than zeros: the tunnel is reset.
pub fn read_tunnel_frame(frame: &Frame) -> Result<&[u8], DecodeError> {
    let mut reader = Reader::new(frame.as_bytes());
    let len = usize::from(reader.u16()?);
    check(len)?;
    let data = reader.bytes(len)?;
    zeros("padding", reader.bytes(reader.remaining())?)?;
    Ok(data)
}

/// Writes `data`, 1 to 1,992 bytes, as a frame.
///
/// # Errors
/// [`DecodeError`] for another length; the frame is then as it was.
pub fn write_tunnel_frame(frame: &mut Frame, data: &[u8]) -> Result<(), DecodeError> {
    check(data.len())?;
    let len = u16::try_from(data.len()).map_err(|_| DecodeError::Value("len"))?;
    let (head, rest) = frame.as_mut_bytes().split_at_mut(2);
    head.copy_from_slice(&len.to_be_bytes());
    let (body, padding) = rest.split_at_mut(data.len());
    body.copy_from_slice(data);
    padding.fill(0);
    Ok(())
}

const fn check(len: usize) -> Result<(), DecodeError> {
    match len {
        0 => Err(DecodeError::Value("len")),
        1..=BODY_DATA => Ok(()),
        _ => Err(DecodeError::TooLong { field: "len", limit: BODY_DATA, actual: len }),
    }
}
