//! What is asked of a bench.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sotto_proto::limits::TEXT_MAX;

use crate::failure::{Exit, Failure};

/// The most messages of one run: all of them are sealed and worked for before the clock starts, and kept in memory.
pub const MESSAGES_MAX: u64 = 200_000;

/// What is sent by whom to whom, how fast and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Clients that send, each with a guard connection and paths of its own.
    pub clients: usize,
    /// Messages a second of all clients together.
    pub rate: u32,
    /// For how many seconds.
    pub seconds: u32,
    /// For how many seconds before that the same load is sent without being measured.
    #[serde(default)]
    pub warm_up: u32,
    /// Bytes of the text of a message.
    pub size: usize,
    /// Accounts that are written to.
    pub recipients: usize,
    /// How many of them follow their mail with a real messenger in this process.
    pub followers: usize,
    /// Messages that wait for the one who catches up; 0: nobody does.
    pub catch_up: usize,
    /// Clients beside them that hold a path and do nothing.
    #[serde(default)]
    pub idle_clients: usize,
    /// What who writes to whom follows from, and which nodes the paths go through.
    pub seed: u64,
}

impl Options {
    /// How many messages are to be sent.
    #[must_use]
    pub fn messages(&self) -> usize {
        usize::try_from(u64::from(self.rate) * u64::from(self.seconds)).unwrap_or(usize::MAX)
    }

    /// How long the load lasts.
    #[must_use]
    pub fn lasting(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// Whether they make sense together.
    ///
    /// # Errors
    /// [`Exit::Usage`] naming what does not fit and what would.
    pub fn check(&self) -> Result<(), Failure> {
        let usage = |message: String, hint: &str| Err(Failure::new(Exit::Usage, message).hint(hint));
        let messages = u64::from(self.rate) * (u64::from(self.seconds) + u64::from(self.warm_up));
        if self.messages() == 0 || self.clients == 0 || self.recipients == 0 {
            return usage("nothing to send".to_owned(), "--rate, --seconds, --clients and --recipients are at least 1");
        }
        if messages > MESSAGES_MAX {
            let message = format!("{messages} messages are too many: at most {MESSAGES_MAX} are prepared for one run");
            return usage(message, "fewer --seconds, a shorter --warm-up, or a lower --rate");
        }
        if self.followers > self.recipients {
            let message = format!("{} followers among {} recipients", self.followers, self.recipients);
            return usage(message, "followers are some of the recipients: fewer --followers, or more --recipients");
        }
        if !(1..=TEXT_MAX).contains(&self.size) {
            return usage(format!("a text of {} bytes", self.size), &format!("--size from 1 to {TEXT_MAX}"));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Options as the command line has them when nothing is said.
    pub(in super::super) fn usual() -> Options {
        Options {
            clients: 8,
            rate: 50,
            seconds: 30,
            warm_up: 5,
            size: 1024,
            recipients: 16,
            followers: 2,
            catch_up: 1000,
            idle_clients: 0,
            seed: 1,
        }
    }

    #[test]
    fn options_that_contradict_each_other_are_refused_with_what_would_do() {
        assert_eq!(usual().check(), Ok(()));
        assert_eq!(usual().messages(), 1500);
        for wrong in [
            Options { rate: 0, ..usual() },
            Options { clients: 0, ..usual() },
            Options { rate: 10_000, seconds: 60, ..usual() },
            Options { followers: 17, ..usual() },
            Options { size: 0, ..usual() },
            Options { size: TEXT_MAX + 1, ..usual() },
        ] {
            let failure = wrong.check().unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{wrong:?}");
            assert!(failure.hint.is_some(), "{wrong:?}");
        }
    }
}
