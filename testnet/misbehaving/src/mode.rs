//! What a node may do wrong, and how that is put between its machine and its event loop.

use std::time::Instant;

use clap::ValueEnum;
use sotto_node::event_loop::Outlet;
use sotto_node::keys::{KeyDirectory, KeyError, Slot};
use sotto_node::run::Start;
use sotto_node::service_node::Output;
use sotto_proto::id::ChainId;
use sotto_proto::sign::SigningKey;

use crate::delaying::Delaying;
use crate::dropping::Dropping;
use crate::equivocating::Equivocating;
use crate::lying::Lying;
use crate::redirecting::Redirecting;
use crate::replaying::Replaying;
use crate::tampering::Tampering;
use crate::withholding::Withholding;

/// What a node does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Acknowledges what is stored, keeps nothing of it and passes nothing on
    Drop,
    /// Shows readers none of their mail, or half of it, and calls that all
    Withhold,
    /// Alters records, numbers and receipts in its answers
    Tamper,
    /// Answers up to half a minute later
    Delay,
    /// Gives an earlier answer, to somebody else or to the same
    Replay,
    /// Says that another swarm owns the address
    Redirect,
    /// Says false heights, clocks, headers, lists and prices
    Lie,
    /// Says one thing to one and another thing to the next
    Equivocate,
}

/// Does with a node's outputs what no node should.
pub trait Misbehaviour: Send {
    /// What is done in place of an output; `None`: nothing.
    fn instead_of(&mut self, output: Output, now: Instant) -> Option<Output>;

    /// What was held back and is due.
    fn due(&mut self, _now: Instant) -> Vec<Output> {
        Vec::new()
    }
}

/// Signs in the node's name.
#[derive(Debug)]
pub struct Signer {
    /// The node's key.
    pub key: SigningKey,
    /// The chain it signs for.
    pub chain: ChainId,
}

impl Mode {
    /// Puts this mode into a node that starts. Its log says so.
    ///
    /// # Errors
    /// When the node's key cannot be read.
    pub fn outlet(self, start: &Start) -> Result<Outlet, KeyError> {
        let key = KeyDirectory::of(&start.datadir).read(Slot::Node)?.signing_key();
        tracing::warn!(mode = ?self, node = key.node_id().short(), "this node misbehaves, on purpose");
        Ok(outlet(self.misbehaviour(Signer { key, chain: start.genesis.genesis.chain_id() })))
    }

    /// The mode, before it has done anything.
    #[must_use]
    pub fn misbehaviour(self, signer: Signer) -> Box<dyn Misbehaviour> {
        match self {
            Self::Drop => Box::new(Dropping),
            Self::Withhold => Box::new(Withholding::default()),
            Self::Tamper => Box::new(Tampering::default()),
            Self::Delay => Box::new(Delaying::default()),
            Self::Replay => Box::new(Replaying::default()),
            Self::Redirect => Box::new(Redirecting::default()),
            Self::Lie => Box::new(Lying::default()),
            Self::Equivocate => Box::new(Equivocating::new(signer)),
        }
    }
}

/// Everything through `misbehaviour`: first what it has held back, then what the machine says now.
#[must_use]
pub fn outlet(mut misbehaviour: Box<dyn Misbehaviour>) -> Outlet {
    Box::new(move |outputs, now| {
        let mut instead = misbehaviour.due(now);
        instead.extend(outputs.into_iter().filter_map(|output| misbehaviour.instead_of(output, now)));
        instead
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{every_output, other_outputs, same, signer};

    #[test]
    fn no_mode_touches_what_is_no_answer_no_mail_and_no_gossip() {
        for mode in Mode::value_variants() {
            let mut outlet = outlet(mode.misbehaviour(signer()));
            let passed = outlet(other_outputs(), Instant::now());
            assert_eq!(passed.len(), other_outputs().len(), "{mode:?}");
            assert!(passed.iter().zip(&other_outputs()).all(|(left, right)| same(left, right)), "{mode:?}");
        }
    }

    #[test]
    fn every_mode_does_something_to_what_a_node_says_and_never_says_more() {
        for mode in Mode::value_variants() {
            let mut outlet = outlet(mode.misbehaviour(signer()));
            // A second time: what is replayed has been said before.
            outlet(every_output(1), Instant::now());
            let (honest, passed) = (every_output(2), outlet(every_output(2), Instant::now()));
            assert!(passed.len() <= honest.len(), "{mode:?}");
            let untouched = honest.len() == passed.len() && honest.iter().zip(&passed).all(|(l, r)| same(l, r));
            assert!(!untouched, "{mode:?}");
        }
    }
}
