//! What is asked of a measurement.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sotto_proto::limits::TEXT_MAX;

use crate::failure::{Exit, Failure};

/// Storing may take so long in all: records are kept for twenty minutes, and none may expire before the end.
const STORING: Duration = Duration::from_secs(600);

/// How much is stored, how fast, and what is measured with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Records that the swarm has when a member begins with nothing.
    pub records: usize,
    /// Records that are stored while a member is down; 0 leaves this part out.
    pub missed: usize,
    /// Whether nodes come until a swarm is born.
    pub split: bool,
    /// Clients that store, each with a guard connection and paths of its own.
    pub clients: usize,
    /// Records a second that they store together.
    pub rate: u32,
    /// Bytes of the text in a record.
    pub size: usize,
    /// What accounts and hops are drawn from.
    pub seed: u64,
}

impl Options {
    /// Whether they make sense together.
    ///
    /// # Errors
    /// [`Exit::Usage`] naming what does not fit and what would.
    pub fn check(&self) -> Result<(), Failure> {
        let usage = |message: String, hint: &str| Err(Failure::new(Exit::Usage, message).hint(hint));
        if self.records == 0 || self.clients == 0 || self.rate == 0 {
            return usage("nothing to store".to_owned(), "--records, --clients and --rate are at least 1");
        }
        if !(1..=TEXT_MAX).contains(&self.size) {
            return usage(format!("a text of {} bytes", self.size), &format!("--size from 1 to {TEXT_MAX}"));
        }
        let all = self.records.saturating_add(self.missed) as u64;
        if all > u64::from(self.rate).saturating_mul(STORING.as_secs()) {
            let message =
                format!("{all} records take more than {} s to store, and expire soon after", STORING.as_secs());
            return usage(message, "fewer --records, fewer --missed, or a higher --rate");
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Options as the command line has them when nothing is said.
    pub(in super::super) fn usual() -> Options {
        Options { records: 10_000, missed: 10_000, split: true, clients: 8, rate: 200, size: 2048, seed: 1 }
    }

    #[test]
    fn options_that_contradict_each_other_are_refused_with_what_would_do() {
        assert_eq!(usual().check(), Ok(()));
        assert_eq!(Options { missed: 0, ..usual() }.check(), Ok(()));
        for wrong in [
            Options { records: 0, ..usual() },
            Options { clients: 0, ..usual() },
            Options { rate: 0, ..usual() },
            Options { size: 0, ..usual() },
            Options { size: TEXT_MAX + 1, ..usual() },
            Options { records: 110_001, ..usual() },
        ] {
            let failure = wrong.check().unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{wrong:?}");
            assert!(failure.hint.is_some(), "{wrong:?}");
        }
    }
}
