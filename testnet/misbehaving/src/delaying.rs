//! Answers up to half a minute later, each as much later as the numbers of a fixed series say: they spread evenly, and
//! the next run is the same. All that is no answer is done at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sotto_node::service_node::Output;

use crate::answers::is_answer;
use crate::mode::Misbehaviour;

/// The longest wait, in milliseconds.
const LONGEST_MS: u64 = 30_000;
/// From one wait to the next, within the longest one; no divisor in common with `LONGEST_MS` + 1.
const STEP_MS: u64 = 18_541;
/// Answers held back; beyond it they go at once.
const HELD: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Delaying {
    /// By when they are due; the number tells apart those that are due at one moment.
    held: BTreeMap<(Instant, u64), Output>,
    number: u64,
}

impl Delaying {
    fn next_wait(&mut self) -> Duration {
        self.number = self.number.wrapping_add(1);
        Duration::from_millis(self.number.wrapping_mul(STEP_MS) % (LONGEST_MS + 1))
    }
}

impl Misbehaviour for Delaying {
    fn instead_of(&mut self, output: Output, now: Instant) -> Option<Output> {
        if !is_answer(&output) || self.held.len() >= HELD {
            return Some(output);
        }
        let wait = self.next_wait();
        self.held.insert((now + wait, self.number), output);
        None
    }

    fn due(&mut self, now: Instant) -> Vec<Output> {
        let later = self.held.split_off(&(now, u64::MAX));
        std::mem::replace(&mut self.held, later).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{every_output, same};

    #[test]
    fn every_answer_comes_unchanged_within_half_a_minute_and_all_else_at_once() {
        let (mut delaying, began) = (Delaying::default(), Instant::now());
        let (answers, others): (Vec<_>, Vec<_>) = every_output(1).into_iter().partition(is_answer);
        assert!(answers.len() > 10 && !others.is_empty());
        for honest in others {
            assert!(delaying.instead_of(honest.clone(), began).is_some_and(|passed| same(&passed, &honest)));
        }
        assert!(answers.iter().all(|answer| delaying.instead_of(answer.clone(), began).is_none()));
        let mut come = Vec::new();
        for second in 0..=30 {
            come.extend(delaying.due(began + Duration::from_secs(second)));
        }
        assert_eq!(come.len(), answers.len());
        assert!(answers.iter().all(|answer| come.iter().any(|passed| same(passed, answer))));
    }

    #[test]
    fn waits_are_spread_over_the_half_minute() {
        let mut delaying = Delaying::default();
        let waits: Vec<_> = (0..300).map(|_| delaying.next_wait()).collect();
        for from in 0..30 {
            let second = Duration::from_secs(from)..Duration::from_secs(from + 1);
            let count = waits.iter().filter(|wait| second.contains(wait)).count();
            assert!((5..=15).contains(&count), "{count} at {from} s");
        }
    }

    #[test]
    fn what_is_held_is_bounded() {
        let (mut delaying, began) = (Delaying::default(), Instant::now());
        let answer = every_output(1).into_iter().find(is_answer).unwrap();
        let passed = (0..HELD + 3).filter_map(|_| delaying.instead_of(answer.clone(), began)).count();
        assert_eq!((passed, delaying.held.len()), (3, HELD));
    }
}
