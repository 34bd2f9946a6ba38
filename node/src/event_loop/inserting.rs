//! The chain's side of the loop: blocks go to the chain thread, and what became of them back to whom they came from.

use sotto_behaviours::network::{FetchOutcome, Verdict};

use super::{EventLoop, Source};
use crate::chain_thread::{self, Outcome};
use crate::service_node::Input;

impl EventLoop {
    pub(super) fn insert(&mut self, source: Source, blocks: Vec<Vec<u8>>) {
        if let Err(source) = self.parts.chain.try_insert(source, blocks) {
            match source {
                Source::Gossip { gossip, .. } => self.parts.network.judge(gossip, Verdict::Ignore),
                Source::Fetch(fetch) => self.parts.network.fetched(fetch, FetchOutcome::Inserted { tip: self.tip }),
            }
        }
    }

    pub(super) fn on_chain(&mut self, event: chain_thread::Event<Source>) {
        match event {
            chain_thread::Event::Updated(update) => {
                self.tip = update.tip.height();
                self.tell(Input::Chain(update));
                self.tell_network();
                self.note_standing();
            }
            chain_thread::Event::Inserted { source: Source::Fetch(fetch), outcome, tip } => {
                let outcome = match outcome {
                    Outcome::Inserted | Outcome::TooOld | Outcome::Halted => FetchOutcome::Inserted { tip },
                    Outcome::NeedsParent { .. } => FetchOutcome::NeedsParent,
                    Outcome::Invalid(reason) => {
                        self.warn_of_peer(&reason, "an invalid block was served");
                        FetchOutcome::Invalid
                    }
                };
                self.parts.network.fetched(fetch, outcome);
            }
            chain_thread::Event::Inserted { source: Source::Gossip { from, gossip }, outcome, .. } => {
                let verdict = match outcome {
                    Outcome::Inserted => Verdict::Accept,
                    Outcome::TooOld | Outcome::Halted => Verdict::Ignore,
                    Outcome::NeedsParent { height } => {
                        self.parts.network.behind(from, height);
                        Verdict::Ignore
                    }
                    Outcome::Invalid(reason) => {
                        self.warn_of_peer(&reason, "an invalid block was gossiped");
                        Verdict::Reject
                    }
                };
                self.parts.network.judge(gossip, verdict);
            }
            chain_thread::Event::Evidence(evidence) => self.note_evidence(evidence),
            chain_thread::Event::StorageFailed(reason) => self.tell(Input::StorageFailed(reason)),
        }
    }
}
