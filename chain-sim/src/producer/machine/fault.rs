//! Misbehaviour on request, so that nodes can be seen to bear it. On testnets only.

use std::time::Duration;

use sotto_proto::chain::Preset;
use sotto_proto::limits::FINAL_DEPTH;
use sotto_proto::time::Now;

use super::produce::Job;
use super::{Machine, Output, Refusal, Reply, Ticket};
use crate::producer::schedule::{Pace, SLOWEST};

/// Deepest reorganisation that can be asked for, with `deep`: nodes hold that many states.
pub const MAX_REORG: u64 = 15;
/// Longest pair of branches: one block more and the nodes on the losing branch would halt.
pub const MAX_HEADS: u64 = FINAL_DEPTH;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No blocks, for some time or until cleared.
    Stall {
        /// How long.
        lasting: Option<Duration>,
    },
    /// Blocks come slower, for some time or until cleared.
    Slow {
        /// Time between blocks.
        every: Duration,
        /// How long.
        lasting: Option<Duration>,
    },
    /// The last blocks are undone and a branch one longer takes their place.
    Reorg {
        /// How many are undone.
        depth: u64,
        /// Whether more than finality allows is really meant: nodes halt then, as they should.
        deep: bool,
    },
    /// Two branches at once: half of the peers see one, half the other, for so many blocks. Then the first goes on.
    TwoHeads {
        /// Blocks in each: the first at once, the others in turn.
        blocks: u64,
    },
    /// Two blocks of one height, both shown to everybody.
    Equivocate,
    /// Back to normal.
    Clear,
}

impl Machine {
    pub(super) fn on_fault(&mut self, ticket: Ticket, fault: Fault, now: Now, out: &mut Vec<Output>) {
        match self.check_fault(fault) {
            Err(refusal) => out.push(Output::Reply { ticket, reply: Err(refusal) }),
            Ok(()) => self.commit_fault(ticket, fault, now, out),
        }
    }

    fn check_fault(&self, fault: Fault) -> Result<(), Refusal> {
        let range = |what, actual, most| {
            if (1..=most).contains(&actual) { Ok(()) } else { Err(Refusal::Range { what, actual, least: 1, most }) }
        };
        if self.preset != Preset::Testnet {
            return Err(Refusal::NotTestnet);
        }
        match fault {
            Fault::Slow { every, .. } => {
                let (least, most) = (self.schedule.interval(), SLOWEST.max(self.schedule.interval()));
                let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                let (actual, least, most) = (millis(every), millis(least), millis(most));
                let what = "milliseconds between blocks";
                if (least..=most).contains(&actual) {
                    Ok(())
                } else {
                    Err(Refusal::Range { what, actual, least, most })
                }
            }
            Fault::Reorg { depth, deep } => {
                range("depth of a reorganisation", depth, if deep { MAX_REORG } else { FINAL_DEPTH })
            }
            Fault::TwoHeads { blocks } => range("blocks in a branch", blocks, MAX_HEADS),
            Fault::Stall { .. } | Fault::Equivocate | Fault::Clear => Ok(()),
        }
    }

    fn commit_fault(&mut self, ticket: Ticket, fault: Fault, now: Now, out: &mut Vec<Output>) {
        let mut pace = |pace, lasting| {
            self.schedule.set_pace(pace, lasting, now.monotonic);
            out.push(Output::Reply { ticket, reply: Ok(Reply::Faulted) });
        };
        match fault {
            Fault::Stall { lasting } => pace(Pace::Stalled, lasting),
            Fault::Slow { every, lasting } => pace(Pace::Slow(every), lasting),
            Fault::Clear => {
                pace(Pace::Normal, None);
                self.split = None;
            }
            Fault::Reorg { depth, .. } => self.enqueue(Job::Reorg { ticket, depth }, now, out),
            Fault::TwoHeads { blocks } => self.enqueue(Job::Heads { ticket, blocks }, now, out),
            Fault::Equivocate => self.enqueue(Job::Equivocate { ticket }, now, out),
        }
    }
}
