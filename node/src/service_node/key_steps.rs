//! The key ring's steps on their way to the disk: one at a time, and after a failure only after a pause. A disk that is
//! full or read-only stays so for a while, and every attempt draws a key and writes files.

use std::time::Duration;

use sotto_proto::time::Monotonic;

use super::message::Token;

/// The first pause after a failure; doubled with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// So many failures in a row are shown: a full queue passes by itself.
const SHOWN_FROM: u32 = 3;

/// The step under way, and what became of those before it.
#[derive(Debug, Default)]
pub(super) struct KeySteps {
    under_way: Option<Token>,
    /// In a row.
    failures: u32,
    /// Why the last one failed.
    reason: String,
    /// No step before this.
    not_before: Option<Monotonic>,
}

impl KeySteps {
    /// Whether a step may begin now.
    pub(super) fn may_begin(&self, now: Monotonic) -> bool {
        self.under_way.is_none() && self.not_before.is_none_or(|at| now >= at)
    }

    pub(super) const fn begun(&mut self, token: Token) {
        self.under_way = Some(token);
    }

    /// Something is on disk, or why it is not. Whether it was the step.
    pub(super) fn ended(&mut self, token: Token, result: &Result<(), String>, now: Monotonic) -> bool {
        if self.under_way.take_if(|under_way| *under_way == token).is_none() {
            return false;
        }
        match result {
            Ok(()) => (self.failures, self.not_before) = (0, None),
            Err(reason) => {
                let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
                self.not_before = Some(now.plus(pause));
                self.failures = self.failures.saturating_add(1);
                self.reason.clone_from(reason);
            }
        }
        true
    }

    /// Why keys cannot be written, if that is not a matter of a moment.
    pub(super) fn failure(&self) -> Option<&str> {
        (self.failures >= SHOWN_FROM).then_some(self.reason.as_str())
    }

    /// When the pause after a failure is over.
    pub(super) const fn wake_at(&self) -> Option<Monotonic> {
        self.not_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_end_with_the_first_success() {
        let mut steps = KeySteps::default();
        let mut now = Monotonic::default();
        let failed = Err("disk full".to_owned());
        let mut pauses = Vec::new();
        for number in 0..9 {
            assert!(steps.may_begin(now));
            steps.begun(Token(number));
            assert!(!steps.may_begin(now), "one at a time");
            assert_eq!(steps.failure().is_some(), number >= 3, "after {number} failures");
            assert!(!steps.ended(Token(99), &failed, now), "another write");
            assert!(steps.ended(Token(number), &failed, now));
            let next = steps.wake_at().unwrap();
            assert!(!steps.may_begin(now) && steps.may_begin(next));
            pauses.push(next.since(now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(steps.failure(), Some("disk full"));
        steps.begun(Token(9));
        assert!(steps.ended(Token(9), &Ok(()), now));
        assert!(steps.may_begin(now));
        assert_eq!((steps.failure(), steps.wake_at()), (None, None));
    }
}
