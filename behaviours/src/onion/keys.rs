//! One key and its counter: seals or opens in place, in order, and refuses when the key has done enough.
//!
//! Each direction of each hop owns one, so that the two tasks of a relay share nothing. The counter is what was sealed
//! or opened before; it moves only when that succeeds. There is no rekeying: a path that runs out is at its end.

use std::fmt;

use aws_lc_rs::aead::{Aad, LessSafeKey};
use sotto_proto::codec::DecodeError;
use sotto_proto::limits::CELLS_PER_KEY;
use sotto_proto::limits::budget::TAG;

use crate::noise::aead;

/// Why a cell goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CellError {
    /// The key has sealed or opened as many cells as it may: the path is too old.
    #[error("the key is used up")]
    Exhausted,
    /// It does not open: changed, repeated, missing, or out of order. Both links are reset at once, without a reason.
    #[error("the cell does not open")]
    Forged,
    /// It opens, but is nothing that the protocol knows. Answered like [`CellError::Forged`].
    #[error("the cell holds what no cell holds: {0}")]
    Malformed(#[from] DecodeError),
}

/// Seals with one key.
pub struct Sealer(Counted);

impl Sealer {
    /// With a key that was not used before.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Counted::new(key))
    }

    /// Seals everything but the last sixteen bytes, which become the tag.
    pub(crate) fn seal(&mut self, bytes: &mut [u8]) -> Result<(), CellError> {
        let (plain, tag) = bytes.split_last_chunk_mut::<TAG>().ok_or(DecodeError::Truncated { missing: TAG })?;
        let nonce = aead::nonce(self.0.next()?);
        let sealed = self.0.key.seal_in_place_scatter(nonce, Aad::empty(), plain, &[], tag);
        sealed.map_err(|_| CellError::Exhausted)
    }
}

/// Opens with one key.
pub struct Opener(Counted);

impl Opener {
    /// With a key that was not used before.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Counted::new(key))
    }

    /// With a key that has opened all it may.
    #[cfg(test)]
    pub(crate) fn used_up(key: &[u8; 32]) -> Self {
        Self(Counted { count: CELLS_PER_KEY, ..Counted::new(key) })
    }

    /// Opens everything but the last sixteen bytes, which are the tag and stay. After an error the bytes are nothing.
    pub(crate) fn open(&mut self, bytes: &mut [u8]) -> Result<(), CellError> {
        let (sealed, tag) = bytes.split_last_chunk_mut::<TAG>().ok_or(CellError::Forged)?;
        let nonce = aead::nonce(self.0.next()?);
        // With the tag apart, nothing is moved.
        self.0.key.open_in_place_separate_tag(nonce, Aad::empty(), tag, sealed).map_err(|_| CellError::Forged)?;
        Ok(())
    }
}

struct Counted {
    key: LessSafeKey,
    count: u64,
}

impl Counted {
    fn new(key: &[u8; 32]) -> Self {
        Self { key: aead::key(key), count: 0 }
    }

    /// The next counter. One that was handed out is not handed out again: a failure ends the path.
    const fn next(&mut self) -> Result<u64, CellError> {
        if self.count >= CELLS_PER_KEY {
            return Err(CellError::Exhausted);
        }
        self.count += 1;
        Ok(self.count - 1)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({} sealed)", self.0.count)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener({} opened)", self.0.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Sealer, Opener) {
        (Sealer::new(&[7; 32]), Opener::new(&[7; 32]))
    }

    #[test]
    fn what_is_sealed_opens_once_and_in_order() {
        let (mut sealer, mut opener) = pair();
        let mut first = [1; 40];
        let mut second = [2; 40];
        sealer.seal(&mut first).unwrap();
        sealer.seal(&mut second).unwrap();
        let again = first;
        opener.open(&mut first).unwrap();
        assert_eq!(first[..24], [1; 24]);
        assert_eq!(opener.open(&mut again.clone()), Err(CellError::Forged), "repeated");
        let (mut sealer, mut opener) = pair();
        sealer.seal(&mut [0; 40]).unwrap();
        let mut second = [2; 40];
        sealer.seal(&mut second).unwrap();
        assert_eq!(opener.open(&mut second), Err(CellError::Forged), "the first is missing");
    }

    #[test]
    fn a_key_stops_at_its_last_cell() {
        let (mut sealer, mut opener) = pair();
        sealer.0.count = CELLS_PER_KEY - 1;
        opener.0.count = CELLS_PER_KEY - 1;
        let mut last = [3; 40];
        sealer.seal(&mut last).unwrap();
        opener.open(&mut last).unwrap();
        assert_eq!(sealer.seal(&mut [0; 40]), Err(CellError::Exhausted));
        assert_eq!(opener.open(&mut [0; 40]), Err(CellError::Exhausted));
    }

    #[test]
    fn bytes_without_room_for_a_tag_are_errors() {
        let (mut sealer, mut opener) = pair();
        assert!(matches!(sealer.seal(&mut [0; 15]), Err(CellError::Malformed(_))));
        assert_eq!(opener.open(&mut [0; 15]), Err(CellError::Forged));
    }

    #[test]
    fn keys_are_not_shown() {
        let (sealer, opener) = pair();
        assert_eq!(format!("{sealer:?} {opener:?}"), "Sealer(0 sealed) Opener(0 opened)");
    }
}
