//! Gets transactions onto the chain: sends each, and again, until the chain shows that it is not wanted any more.
//!
//! Nothing is remembered over a restart and nothing needs to be: what is wanted follows from the chain and the node's
//! own keys and settings ([`super::duties`]), anew after every block.

use std::collections::BTreeMap;
use std::time::Duration;

use sotto_behaviours::network::{RequestError, Response};
use sotto_proto::request::ChainResponse;
use sotto_proto::time::Monotonic;

use super::message::Tag;

/// The first pause after a failure; doubled with each.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Blocks after which a transaction that was taken is sent again.
const PATIENCE_BLOCKS: u32 = 4;

/// What a transaction is for. At most one of each is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Duty {
    /// The node is not registered and should be.
    Register,
    /// The chain has other addresses of the node.
    UpdateAddress,
    /// The chain has another X25519 key of the node.
    RotateKey,
    /// The chain has no proof of this epoch.
    UptimeProof,
}

#[derive(Debug)]
enum Progress {
    /// Sent; no answer yet, but one will come.
    Sent(Tag),
    /// The producer has it.
    Taken { resend_at: Monotonic },
    /// It failed.
    Pausing { until: Monotonic },
}

#[derive(Debug)]
struct Attempt {
    progress: Progress,
    failures: u32,
    /// Why it failed last.
    reason: Option<String>,
}

/// The transactions on their way.
#[derive(Debug, Default)]
pub struct Submitter {
    attempts: BTreeMap<Duty, Attempt>,
}

impl Submitter {
    /// Forgets what is not wanted any more.
    pub fn retain(&mut self, wanted: impl Fn(Duty) -> bool) {
        self.attempts.retain(|duty, _| wanted(*duty));
    }

    /// Whether `duty` is to be sent now.
    #[must_use]
    pub fn may_send(&self, duty: Duty, now: Monotonic) -> bool {
        self.attempts.get(&duty).is_none_or(|attempt| match attempt.progress {
            Progress::Sent(_) => false,
            Progress::Taken { resend_at: at } | Progress::Pausing { until: at } => now >= at,
        })
    }

    /// It was sent under this tag.
    pub fn sent(&mut self, duty: Duty, tag: Tag) {
        let attempt =
            self.attempts.entry(duty).or_insert(Attempt { progress: Progress::Sent(tag), failures: 0, reason: None });
        attempt.progress = Progress::Sent(tag);
    }

    /// An answer came. Returns what it was to, if it was to one of these.
    pub fn answered(
        &mut self,
        tag: Tag,
        result: &Result<Response, RequestError>,
        block_time: Duration,
        now: Monotonic,
        rng: &mut impl rand_core::Rng,
    ) -> Option<Duty> {
        let is_tag = |attempt: &Attempt| matches!(attempt.progress, Progress::Sent(sent) if sent == tag);
        let (duty, attempt) = self.attempts.iter_mut().find(|(_, attempt)| is_tag(attempt))?;
        match outcome(result) {
            Ok(()) => {
                let resend_at = now.plus(block_time.saturating_mul(PATIENCE_BLOCKS).saturating_add(FIRST_PAUSE));
                attempt.progress = Progress::Taken { resend_at };
                attempt.reason = None;
            }
            Err(failure) => {
                // What the rules refuse now they refuse until the next block at least.
                let least = if failure.is_rejected { block_time } else { FIRST_PAUSE };
                let pause = pause(attempt.failures).max(least);
                attempt.progress = Progress::Pausing { until: now.plus(jittered(pause, rng)) };
                attempt.failures = attempt.failures.saturating_add(1);
                attempt.reason = Some(failure.reason);
            }
        }
        Some(*duty)
    }

    /// Why a duty failed last, if it did not succeed since.
    #[must_use]
    pub fn reason(&self, duty: Duty) -> Option<&str> {
        self.attempts.get(&duty)?.reason.as_deref()
    }

    /// When something is to be sent again.
    #[must_use]
    pub fn wake_at(&self) -> Option<Monotonic> {
        let at = self.attempts.values().filter_map(|attempt| match attempt.progress {
            Progress::Sent(_) => None,
            Progress::Taken { resend_at: at } | Progress::Pausing { until: at } => Some(at),
        });
        at.min()
    }
}

/// Why a transaction was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whether the chain's rules refuse it, as opposed to nobody having asked them.
    pub is_rejected: bool,
    /// The reason, for people.
    pub reason: String,
}

/// What an answer says of a transaction.
///
/// # Errors
/// [`Failure`] if it was not taken.
pub fn outcome(result: &Result<Response, RequestError>) -> Result<(), Failure> {
    let failed = |reason: String| Err(Failure { is_rejected: false, reason });
    match result {
        Ok(Response::Chain(ChainResponse::Submitted)) => Ok(()),
        Ok(Response::Chain(ChainResponse::Error(error))) => match error {
            sotto_proto::request::Error::Rejected { reason } => {
                Err(Failure { is_rejected: true, reason: reason.to_string() })
            }
            error => failed(error.to_string()),
        },
        Ok(_) => failed("an answer to another question".into()),
        Err(error) => failed(error.to_string()),
    }
}

fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE)
}

/// Up to half as long again: nodes that failed together do not try again together.
fn jittered(pause: Duration, rng: &mut impl rand_core::Rng) -> Duration {
    pause + (pause / 512).saturating_mul(rng.next_u32() % 256)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;
    use sotto_proto::request::{Error, Line};

    const BLOCK: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Monotonic {
        Monotonic(Duration::from_millis(millis))
    }

    fn taken() -> Result<Response, RequestError> {
        Ok(Response::Chain(ChainResponse::Submitted))
    }

    fn rejected() -> Result<Response, RequestError> {
        Ok(Response::Chain(ChainResponse::Error(Error::Rejected { reason: Line::new("no") })))
    }

    #[test]
    fn a_taken_transaction_is_sent_again_if_no_block_brings_it() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let mut submitter = Submitter::default();
        assert!(submitter.may_send(Duty::UptimeProof, at(0)));
        submitter.sent(Duty::UptimeProof, Tag(1));
        assert!(!submitter.may_send(Duty::UptimeProof, at(99_999)), "an answer always comes");
        assert_eq!(submitter.answered(Tag(1), &taken(), BLOCK, at(10), &mut rng), Some(Duty::UptimeProof));
        assert!(!submitter.may_send(Duty::UptimeProof, at(4000)));
        assert_eq!(submitter.wake_at(), Some(at(4510)));
        assert!(submitter.may_send(Duty::UptimeProof, at(4510)));
        submitter.retain(|_| false);
        assert_eq!(submitter.wake_at(), None);
    }

    #[test]
    fn failures_are_repeated_ever_more_slowly() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let mut submitter = Submitter::default();
        let mut now = at(0);
        let mut pauses = Vec::new();
        for tag in 0..10 {
            submitter.sent(Duty::Register, Tag(tag));
            submitter.answered(Tag(tag), &Err(RequestError::Timeout), BLOCK, now, &mut rng);
            let next = submitter.wake_at().unwrap();
            pauses.push(next.since(now));
            now = next;
        }
        assert!(pauses[0] >= FIRST_PAUSE && pauses[0] < FIRST_PAUSE * 3 / 2, "{pauses:?}");
        assert!(pauses[9] >= LONGEST_PAUSE && pauses[9] < LONGEST_PAUSE * 3 / 2, "{pauses:?}");
        assert_eq!(submitter.reason(Duty::Register), Some("no answer in time"));
    }

    #[test]
    fn what_the_rules_refuse_waits_for_the_next_block_and_says_why() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let mut submitter = Submitter::default();
        submitter.sent(Duty::Register, Tag(1));
        submitter.answered(Tag(1), &rejected(), BLOCK, at(0), &mut rng);
        assert!(!submitter.may_send(Duty::Register, at(999)));
        assert_eq!(submitter.reason(Duty::Register), Some("no"));
        submitter.sent(Duty::Register, Tag(2));
        submitter.answered(Tag(2), &taken(), BLOCK, at(2000), &mut rng);
        assert_eq!(submitter.reason(Duty::Register), None);
    }

    #[test]
    fn answers_to_other_questions_are_not_taken_for_ours() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let mut submitter = Submitter::default();
        submitter.sent(Duty::Register, Tag(1));
        assert_eq!(submitter.answered(Tag(2), &taken(), BLOCK, at(0), &mut rng), None);
        let odd = Ok(Response::Chain(ChainResponse::Blocks { blocks: Vec::new(), tip: sotto_proto::id::Height(1) }));
        assert_eq!(submitter.answered(Tag(1), &odd, BLOCK, at(0), &mut rng), Some(Duty::Register));
        assert!(submitter.reason(Duty::Register).is_some());
    }
}
