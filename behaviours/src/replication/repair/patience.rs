//! How long the other member of an exchange is waited for. It runs out whatever it says, unless it brings something:
//! what is new here gives as much time as it takes on a slow line. So an exchange may last as long as there is
//! something to be had, and one that brings nothing is over after [`PATIENCE`].

use std::time::Duration;

/// Waiting for one member in an exchange that brings nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// After so much waiting for one member the others have their turn, even if it brings much.
const TURN: Duration = Duration::from_secs(10);
/// Bytes that are new here and buy a millisecond: whoever brings fewer is as good as silent.
const TAKEN_PER_MILLI: usize = 64;
/// Bytes given to the other member that buy a millisecond. More of them, for nobody can see whether it wanted them.
const GIVEN_PER_MILLI: usize = 512;
/// Further differences that one message of the reconciliation must tell of; a full one names a thousand.
const NARROWED: usize = 256;
/// What such a message buys. Thirty-two of them are a session, and may all be lies.
const NARROWING: Duration = Duration::from_millis(300);
/// Pages that were not worth their while, after which the member is not asked for more.
const POOR_PAGES: u32 = 3;

/// What is left of it in one exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    left: Duration,
    waited: Duration,
    poor_pages: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { left: PATIENCE, waited: Duration::ZERO, poor_pages: 0 }
    }
}

impl Patience {
    /// How much longer an answer is waited for.
    pub(super) const fn left(&self) -> Duration {
        self.left
    }

    /// The member was waited for.
    pub(super) const fn waited(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
        self.waited = self.waited.saturating_add(time);
    }

    /// A page of it is new here, and this many bytes.
    pub(super) fn took(&mut self, bytes: usize) {
        self.earned(bytes / TAKEN_PER_MILLI);
    }

    /// It was given this many bytes.
    pub(super) fn gave(&mut self, bytes: usize) {
        self.earned(bytes / GIVEN_PER_MILLI);
    }

    /// A message of the reconciliation told of so many further differences.
    pub(super) fn found(&mut self, differences: usize) {
        if differences >= NARROWED {
            self.left = self.left.saturating_add(NARROWING).min(PATIENCE);
        }
    }

    fn earned(&mut self, millis: usize) {
        let earned = Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
        self.left = self.left.saturating_add(earned).min(PATIENCE);
    }

    /// A page was not worth its while; true after the last one of which that is borne.
    pub(super) const fn poor_page(&mut self) -> bool {
        self.poor_pages = self.poor_pages.saturating_add(1);
        self.poor_pages >= POOR_PAGES
    }

    /// Whether nothing is left.
    pub(super) const fn is_out(&self) -> bool {
        self.left.is_zero()
    }

    /// Whether the member took so long that others should not wait for it again at once.
    pub(super) fn is_short(&self) -> bool {
        self.left <= PATIENCE / 2
    }

    /// Whether the member has had its turn.
    pub(super) fn is_turn_over(&self) -> bool {
        self.waited >= TURN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_brought_buys_time_and_drops_of_it_do_not() {
        let mut patience = Patience::default();
        for _ in 0..100 {
            patience.waited(Duration::from_secs(2));
            patience.took(512 << 10);
            assert!(!patience.is_short(), "a page in two seconds goes on for ever");
        }
        assert!(patience.is_turn_over());
        let mut patience = Patience::default();
        let last = (1..100).find(|_| {
            patience.waited(Duration::from_secs(1));
            let is_out = patience.is_out();
            patience.took(1700);
            is_out
        });
        assert_eq!(last, Some(11), "a record a second does not");
    }

    #[test]
    fn a_session_of_lies_is_over_in_twenty_seconds() {
        let session = |answer: Duration| {
            let mut patience = Patience::default();
            (1..=32).find(|_| {
                patience.waited(answer);
                let is_out = patience.is_out();
                patience.found(1000);
                is_out
            })
        };
        assert_eq!(session(Duration::from_millis(900)), Some(17));
        assert_eq!(session(Duration::from_millis(500)), None, "and an honest one on a slow line goes on");
    }
}
