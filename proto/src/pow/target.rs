//! How low a trial must come out (B4, paper 3.5).

use std::fmt;
use std::num::NonZeroU32;

/// How much work a swarm asks for. The chain bounds it; 1 is the least there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Difficulty(NonZeroU32);

impl Difficulty {
    /// The least.
    pub const MIN: Self = Self(NonZeroU32::MIN);

    /// A difficulty; `None` for 0.
    #[must_use]
    pub const fn new(difficulty: u32) -> Option<Self> {
        match NonZeroU32::new(difficulty) {
            Some(difficulty) => Some(Self(difficulty)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Difficulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a trial's value has to stay below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(pub u64);

impl Target {
    /// Whether a trial that came to `value` proves the work.
    #[must_use]
    pub const fn admits(self, value: u64) -> bool {
        value < self.0
    }

    /// How many attempts it takes on average. Half of all searches end before 0.69 of them; one in a hundred takes
    /// more than 4.6 times as many.
    #[must_use]
    pub const fn expected_attempts(self) -> u64 {
        match u64::MAX.checked_div(self.0) {
            Some(attempts) => attempts,
            None => u64::MAX,
        }
    }
}

/// `(2^64 − 1) div ( D · ( L + (t · L) div 65535 ) )`, both divisions rounding down.
///
/// `total_len` is L, the bytes covered and the nonce: long envelopes and long lives cost more. The inner division goes
/// first; the paper's formula reads as if it were exact, but the published test cases do not come out that way.
#[must_use]
pub const fn target(total_len: usize, ttl_seconds: u32, difficulty: Difficulty) -> Target {
    let length = total_len as u128;
    let weight = length + (ttl_seconds as u128 * length) / 65_535;
    // At most 2^32 · (2^64 + 2^81) < 2^114. Nothing is hashed without a nonce, so a length of 0 only guards the division.
    let divisor = difficulty.get() as u128 * if weight == 0 { 1 } else { weight };
    #[expect(clippy::cast_possible_truncation, reason = "the divisor is at least 1")]
    Target((u64::MAX as u128 / divisor) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(total_len: usize, ttl: u32, difficulty: u32) -> u64 {
        target(total_len, ttl, Difficulty::new(difficulty).unwrap()).0
    }

    #[test]
    fn the_inner_division_rounds_down_first() {
        // With exact division this would be 2644112719289100.
        assert_eq!(at(694, 345, 10), 2_646_591_689_197_927);
        assert_eq!(at(1749, 345_600, 10), 168_125_629_545_293);
    }

    #[test]
    fn extremes_neither_overflow_nor_divide_by_zero() {
        assert_eq!(at(usize::MAX, u32::MAX, u32::MAX), 0);
        assert_eq!(at(0, 0, 1), u64::MAX);
        assert!(Difficulty::new(0).is_none());
        assert_eq!((Target(0).expected_attempts(), Target(1 << 63).expected_attempts()), (u64::MAX, 1));
        assert!(!Target(0).admits(0));
    }

    #[test]
    fn the_dearest_envelope_can_still_be_proved() {
        // The largest data and the longest life, at the highest difficulty a node may ask for.
        assert!(at(63_424 + 85, 345_600, 1 << 28) > 0);
    }
}
