//! The wish to talk (H10): who asks, a few words, and a signed bundle of each of its devices.

use std::fmt;

use super::at_most;
use crate::codec::DecodeError;
use crate::limits::{DEVICES_MAX, INTRODUCTION_MAX, NAME_MAX, SIGNED_BUNDLE_BYTES};
use crate::wire;

/// A request. `Debug` shows none of its words.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    name: String,
    introduction: String,
    bundles: Vec<Vec<u8>>,
    renewal: bool,
}

impl Request {
    /// A request of somebody who calls itself `name`, with signed bundles, which are not looked into here. `renewal`:
    /// sessions that there are already are to be begun anew.
    ///
    /// # Errors
    /// [`DecodeError`] when a text is too long, or there are no bundles, too many, or of another length.
    pub fn new(name: String, introduction: String, bundles: Vec<Vec<u8>>, renewal: bool) -> Result<Self, DecodeError> {
        at_most("name", NAME_MAX, name.len())?;
        at_most("introduction", INTRODUCTION_MAX, introduction.len())?;
        at_most("bundles", DEVICES_MAX, bundles.len())?;
        if bundles.is_empty() || bundles.iter().any(|bundle| bundle.len() != SIGNED_BUNDLE_BYTES) {
            return Err(DecodeError::Value("bundles"));
        }
        Ok(Self { name, introduction, bundles, renewal })
    }

    /// What the sender calls itself; it may be empty, and anything.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A few words; they may be none.
    #[must_use]
    pub fn introduction(&self) -> &str {
        &self.introduction
    }

    /// Signed bundles, one for each device.
    #[must_use]
    pub fn bundles(&self) -> &[Vec<u8>] {
        &self.bundles
    }

    /// Whether sessions that there are already are to be begun anew.
    #[must_use]
    pub const fn renewal(&self) -> bool {
        self.renewal
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({} bundles, renewal {})", self.bundles.len(), self.renewal)
    }
}

impl From<Request> for wire::Request {
    fn from(request: Request) -> Self {
        let Request { name, introduction, bundles, renewal } = request;
        Self { name, introduction, bundles, renewal }
    }
}

impl TryFrom<wire::Request> for Request {
    type Error = DecodeError;

    fn try_from(request: wire::Request) -> Result<Self, DecodeError> {
        Self::new(request.name, request.introduction, request.bundles, request.renewal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: usize, introduction: usize, bundles: &[usize]) -> Result<Request, DecodeError> {
        let bundles = bundles.iter().map(|length| vec![7; *length]).collect();
        Request::new("n".repeat(name), "i".repeat(introduction), bundles, false)
    }

    #[test]
    fn everything_in_a_request_is_bounded() {
        const ONE: usize = SIGNED_BUNDLE_BYTES;
        assert!(request(0, 0, &[ONE]).is_ok() && request(NAME_MAX, INTRODUCTION_MAX, &[ONE; DEVICES_MAX]).is_ok());
        assert!(request(NAME_MAX + 1, 0, &[ONE]).is_err() && request(0, INTRODUCTION_MAX + 1, &[ONE]).is_err());
        for bundles in [&[][..], &[ONE; DEVICES_MAX + 1], &[ONE - 1], &[ONE, ONE + 1]] {
            assert!(request(1, 1, bundles).is_err(), "{bundles:?}");
        }
    }

    #[test]
    fn debug_shows_none_of_its_words() {
        let request = request(3, 5, &[SIGNED_BUNDLE_BYTES]).unwrap();
        assert_eq!(format!("{request:?}"), "Request(1 bundles, renewal false)");
    }
}
