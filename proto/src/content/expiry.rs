//! When a message disappears.

use crate::codec::DecodeError;
use crate::limits::EXPIRY_SECONDS;
use crate::wire;
use crate::wire::expiry::After;

/// From when on the time runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryStart {
    /// From when it was written.
    Sent,
    /// At each end from when it was read there.
    Read,
}

/// When a message disappears: a time of [`EXPIRY_SECONDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    start: ExpiryStart,
    seconds: u32,
}

impl Expiry {
    /// So many seconds after that.
    ///
    /// # Errors
    /// [`DecodeError::Value`] when it is no second, or longer than messages may be bound to disappear.
    pub fn new(start: ExpiryStart, seconds: u32) -> Result<Self, DecodeError> {
        if !EXPIRY_SECONDS.contains(&seconds) {
            return Err(DecodeError::Value("expiry"));
        }
        Ok(Self { start, seconds })
    }

    /// From when on.
    #[must_use]
    pub const fn start(self) -> ExpiryStart {
        self.start
    }

    /// How long.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.seconds
    }

    /// `None` where the time runs from a moment that this version does not know.
    pub(super) fn from_wire(expiry: wire::Expiry) -> Result<Option<Self>, DecodeError> {
        match expiry.after {
            Some(After::SentSeconds(seconds)) => Self::new(ExpiryStart::Sent, seconds).map(Some),
            Some(After::ReadSeconds(seconds)) => Self::new(ExpiryStart::Read, seconds).map(Some),
            None => Ok(None),
        }
    }
}

impl From<Expiry> for wire::Expiry {
    fn from(Expiry { start, seconds }: Expiry) -> Self {
        let after = match start {
            ExpiryStart::Sent => After::SentSeconds(seconds),
            ExpiryStart::Read => After::ReadSeconds(seconds),
        };
        Self { after: Some(after) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_second_to_four_weeks_after_one_of_two_moments() {
        for start in [ExpiryStart::Sent, ExpiryStart::Read] {
            for seconds in [1, 3600, 28 * 86_400] {
                let expiry = Expiry::new(start, seconds).unwrap();
                assert_eq!(Expiry::from_wire(expiry.into()), Ok(Some(expiry)));
            }
            for seconds in [0, 28 * 86_400 + 1, u32::MAX] {
                assert_eq!(Expiry::new(start, seconds), Err(DecodeError::Value("expiry")));
            }
        }
        assert_eq!(
            Expiry::from_wire(wire::Expiry { after: Some(After::SentSeconds(0)) }),
            Err(DecodeError::Value("expiry"))
        );
        assert_eq!(Expiry::from_wire(wire::Expiry { after: None }), Ok(None), "a moment of a later version");
    }
}
