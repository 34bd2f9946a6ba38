//! What follows from how things stand, whatever happened last: keys, clock, duties, tips, and when to wake up.

use std::time::Duration;

use rand_core::Rng as _;
use sotto_behaviours::network::Request;
use sotto_proto::request::{ChainRequest, ListRequest};
use sotto_proto::time::{Monotonic, Now};
use zeroize::Zeroizing;

use super::clock_check::Verdict;
use super::duties::Situation;
use super::submitter::Duty;
use super::{ChainUpdate, Outgoing, Output, ServiceNode, Shown, Sync, Tag, To, Token, health};
use crate::keys::Seed;

impl ServiceNode {
    /// Everything that follows from how things stand now, whatever happened last.
    pub(super) fn advance(&mut self, now: Now, outputs: &mut Vec<Output>) {
        if let Some(chain) = &self.chain {
            self.peers.compare(chain.tip.height());
        }
        self.advance_keys(now, outputs);
        self.check_clock(now, outputs);
        self.advance_duties(now, outputs);
        self.ask_tips(now, outputs);
        self.advance_mail(now, outputs);
        self.listeners.close_stalled(now.monotonic, outputs);
        self.advance_surveys(now, outputs);
        self.set_alarm(now, outputs);
    }

    fn advance_keys(&mut self, now: Now, outputs: &mut Vec<Output>) {
        if !self.key_steps.may_begin(now.monotonic) {
            return;
        }
        let Some(shown) = self.shown() else { return };
        let (node, period) = (self.node_id(), self.rotation_period());
        let rng = &mut self.rng;
        let draw = || {
            let mut bytes = Zeroizing::new([0; 32]);
            rng.fill_bytes(&mut *bytes);
            Seed::take(&mut bytes)
        };
        if let Some(batch) = self.keys.step(&node, &shown, period, now.wall, draw) {
            let token = Token(self.number());
            self.key_steps.begun(token);
            outputs.push(Output::Persist { batch, token, sync: Sync::Now });
        }
    }

    /// What the chain shows of the node's keys, once the record is final.
    fn shown(&self) -> Option<Shown> {
        let chain = self.chain.as_ref()?;
        let entry = self.entry()?;
        let confirmed = chain.view.current().nodes.get(&self.node_id())?.x25519;
        let changed_at = entry.key_rotated_at.max(entry.registered_at);
        let age = self.block_time().as_millis().saturating_mul(chain.tip.height().since(changed_at).into());
        Some(Shown { confirmed, newest: entry.record.x25519, age_ms: u64::try_from(age).unwrap_or(u64::MAX) })
    }

    /// Asks other nodes for their clocks as long as the node is not registered; afterwards the network does.
    fn check_clock(&mut self, now: Now, outputs: &mut Vec<Output>) {
        if self.entry().is_some() {
            return;
        }
        let Some(chain) = &self.chain else { return };
        let nodes = self.peers.nodes(|peer| chain.is_node(peer));
        let due = self.clock_check.due(nodes, now.monotonic);
        let others = chain.view.current().nodes.len().saturating_add(1); // the producer
        for node in due {
            let tag = Tag(self.number());
            self.clock_check.asked(node, tag, now.monotonic);
            let request = Request::List(ListRequest::Info);
            outputs.push(Output::Send { to: To::Node(node), message: Outgoing::Request { tag, request } });
        }
        self.clock_check.judge(others, self.peers.is_synced(), now);
    }

    fn advance_duties(&mut self, now: Now, outputs: &mut Vec<Output>) {
        let Some(chain) = &self.chain else { return };
        let shown = self.shown();
        let situation = self.situation(chain, shown.as_ref());
        let wanted = situation.wanted();
        let is_due = |duty: &Duty| self.submitter.may_send(*duty, now.monotonic);
        let signed: Vec<_> = (wanted.iter().filter(|(duty, _)| is_due(duty)))
            .filter_map(|(duty, payload)| Some((*duty, situation.sign(payload.clone())?.encode())))
            .collect();
        self.submitter.retain(|duty| wanted.iter().any(|(kind, _)| *kind == duty));
        for (duty, bytes) in signed {
            let tag = Tag(self.number());
            self.submitter.sent(duty, tag);
            tracing::debug!(?duty, "a transaction is sent");
            outputs.push(Output::Send { to: To::Producer, message: Outgoing::Transaction { tag, bytes } });
        }
    }

    pub(super) fn situation<'a>(&'a self, chain: &'a ChainUpdate, shown: Option<&'a Shown>) -> Situation<'a> {
        Situation {
            tip: &chain.tip,
            identity: &self.identity,
            settings: &self.settings,
            keys: &self.keys,
            shown,
            register: self.settings.register
                && self.peers.is_synced()
                && !self.was_registered
                && self.clock_check.verdict() == Verdict::Passed,
        }
    }

    fn ask_tips(&mut self, now: Now, outputs: &mut Vec<Output>) {
        if now.monotonic >= self.silence_at().max(self.ask_again_at()) {
            self.asked_at = now.monotonic;
            self.peers.forget_tips();
        }
        let Some(chain) = &self.chain else { return };
        for node in self.peers.to_ask(|peer| chain.is_node(peer)) {
            let tag = Tag(self.number());
            self.peers.asked(node, tag);
            let request = Request::Chain(ChainRequest::Tip);
            outputs.push(Output::Send { to: To::Node(node), message: Outgoing::Request { tag, request } });
        }
    }

    /// When the chain counts as silent.
    pub(super) fn silence_at(&self) -> Monotonic {
        self.block_at.plus(health::silent_after(self.block_time()))
    }

    fn ask_again_at(&self) -> Monotonic {
        self.asked_at.plus(health::silent_after(self.block_time()))
    }

    /// Says when to wake up, if that changed.
    fn set_alarm(&mut self, now: Now, outputs: &mut Vec<Output>) {
        let period = self.rotation_period();
        let keys = self.chain.as_ref().and_then(|_| self.keys.wake_at(&self.node_id(), period)).map(|at| {
            // At least a second from now: a step that waits for the chain must not spin.
            let wait = Duration::from_millis(at.0.saturating_sub(now.wall.0)).max(Duration::from_secs(1));
            now.monotonic.plus(wait)
        });
        let silence = Some(self.silence_at().max(self.ask_again_at()));
        let clock = self.entry().is_none().then(|| self.clock_check.wake_at());
        let next = [keys, self.key_steps.wake_at(), self.submitter.wake_at(), self.peers.lonely_at(), silence]
            .into_iter()
            .flatten()
            .chain(self.mail.wake_at())
            .chain(self.listeners.wake_at())
            .chain(self.surveys.wake_at())
            .chain(clock.into_iter().flatten())
            .filter(|at| *at > now.monotonic)
            .min();
        if let Some(at) = next.filter(|at| self.wake_at.is_none_or(|set| set != *at)) {
            self.wake_at = Some(at);
            outputs.push(Output::WakeAt(at));
        }
    }
}
