//! Acknowledges and confirms, keeps nothing, passes nothing on.
//!
//! The machine believes that everything is on its disk, so its receipts, its confirmations and what it says of its set
//! are those of a node that keeps what it is given. What it is asked for later is found damaged.

use std::time::Instant;

use sotto_behaviours::network::Verdict;
use sotto_node::service_node::Output;
use sotto_node::store::Write;

use crate::mode::Misbehaviour;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropping;

impl Misbehaviour for Dropping {
    fn instead_of(&mut self, mut output: Output, _now: Instant) -> Option<Output> {
        match &mut output {
            Output::Persist { batch, .. } => batch.batch.writes.retain(|write| !is_mail(write)),
            Output::Publish(_) => return None,
            // What is accepted is passed on.
            Output::Judge { verdict, .. } if matches!(verdict, Verdict::Accept) => *verdict = Verdict::Ignore,
            _ => {}
        }
        Some(output)
    }
}

const fn is_mail(write: &Write) -> bool {
    matches!(write, Write::PutRecord { .. } | Write::PutTombstone(_) | Write::PutSignedDelete { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{every_output, same};

    #[test]
    fn records_and_deletes_are_not_written_everything_else_of_the_batch_is() {
        let mut dropped = 0;
        for honest in every_output(1) {
            let Output::Persist { batch: all, token: of, .. } = &honest else { continue };
            let Some(Output::Persist { batch, token, .. }) = Dropping.instead_of(honest.clone(), Instant::now()) else {
                panic!("the machine waits for it")
            };
            let (mail, kept): (Vec<_>, Vec<_>) = all.batch.writes.iter().cloned().partition(is_mail);
            assert_eq!((batch.batch.writes, token), (kept, *of));
            dropped += mail.len();
        }
        assert_eq!(dropped, 5, "three records, a tombstone, a delete");
    }

    #[test]
    fn nothing_is_published_and_nothing_passed_on_all_else_passes() {
        for honest in every_output(1) {
            let passed = Dropping.instead_of(honest.clone(), Instant::now());
            match &honest {
                Output::Publish(_) => assert!(passed.is_none()),
                Output::Judge { verdict: Verdict::Accept, .. } => {
                    assert!(matches!(passed, Some(Output::Judge { verdict: Verdict::Ignore, .. })), "{passed:?}");
                }
                Output::Persist { .. } => {}
                _ => assert!(passed.is_some_and(|passed| same(&passed, &honest)), "{honest:?}"),
            }
        }
        let rejected = Output::Judge { gossip: sotto_node::service_node::Gossip(1), verdict: Verdict::Reject };
        assert!(Dropping.instead_of(rejected.clone(), Instant::now()).is_some_and(|passed| same(&passed, &rejected)));
    }
}
