//! Publishing, judging and what follows from it, and which topics are followed.

use std::time::Duration;

use libp2p::PeerId;
use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance, PublishError};
use libp2p::metrics::Recorder as _;
use sotto_proto::id::{NodeId, SwarmId};
use sotto_proto::time::Monotonic;

use super::event::Instance;
use super::{Event, GossipId, Network, Role, Verdict};
use crate::bans::OFFENCES;
use crate::gossip::height_of;
use crate::{gossip, peer};

/// Blocks of one source that wait for their verdicts; of more the next is not judged at all. A reorganisation brings
/// four at once, and what is left out then is missed; the producer's are always judged.
const JUDGED_AT_ONCE: usize = 8;
/// Between two lines in the log about peers that are banned.
const SAY_AGAIN: Duration = Duration::from_secs(10);

impl Network {
    /// Gossips a block (B7 bytes) to all registered nodes. A block that is known already is not sent again. Where
    /// nobody is connected nothing is kept: whoever connects asks for the newest block.
    pub fn publish_block(&mut self, bytes: Vec<u8>) {
        self.publish(Instance::Chain, self.names.chain_topic(), bytes);
    }

    /// Gossips a block to those connected nodes only that are `wanted`; they pass it on as they do every block. For a
    /// producer that shows different blocks to different nodes on purpose: no other role can, and nothing is sent then.
    pub fn publish_block_to(&mut self, bytes: Vec<u8>, wanted: impl Fn(&NodeId) -> bool) {
        if self.role != Role::Producer {
            tracing::error!("only the producer's network can leave peers out");
            return;
        }
        let left_out: Vec<PeerId> =
            self.connected().filter(|node| !wanted(node)).map(|node| peer::peer_id(&node)).collect();
        self.score(&left_out, gossip::LEFT_OUT);
        self.publish_block(bytes);
        self.score(&left_out, gossip::HEARD);
    }

    fn score(&mut self, peers: &[PeerId], score: f64) {
        let Some(blocks) = self.gossip(Instance::Chain) else { return };
        for peer in peers {
            // False for peers outside the gate: gossip does not know them, so they hear nothing anyway.
            let _known = blocks.set_application_score(peer, score);
        }
    }

    /// Gossips a message to the members of the own swarm.
    pub fn publish_swarm(&mut self, bytes: Vec<u8>) {
        match self.own_swarm {
            Some(swarm) => self.publish(Instance::Swarm, self.names.swarm_topic(swarm), bytes),
            None => self.metrics.gossip_unsent("no_swarm"),
        }
    }

    /// Says what became of a gossiped message; until then it is not passed on, and after ten seconds it never will be.
    /// `Reject` only what is provably invalid: who passes on too much of that is banned for some minutes.
    pub fn judge(&mut self, gossip: GossipId, verdict: Verdict) {
        if gossip.instance == Instance::Chain
            && let Some(waiting) = self.judging.get_mut(&gossip.source)
        {
            *waiting -= 1;
            if *waiting == 0 {
                self.judging.remove(&gossip.source);
            }
        }
        self.settle(gossip, verdict);
    }

    fn settle(&mut self, gossip: GossipId, verdict: Verdict) {
        let (acceptance, label) = match verdict {
            Verdict::Accept => (MessageAcceptance::Accept, "accepted"),
            Verdict::Ignore => (MessageAcceptance::Ignore, "ignored"),
            Verdict::Reject => (MessageAcceptance::Reject, "rejected"),
        };
        self.metrics.gossip_judged(label);
        let GossipId { instance, message, source } = gossip;
        if verdict == Verdict::Reject && instance == Instance::Chain {
            // The id is that of the header. Whoever sends a header with a body of its own making first keeps us from
            // the real block by gossip, so the others are asked for it.
            let now = self.clock.monotonic();
            if let Some(sync) = &mut self.sync {
                sync.look(now);
            }
        }
        if verdict == Verdict::Reject {
            self.offended(&source);
        }
        if let Some(behaviour) = self.gossip(instance) {
            // False when it is no longer in the cache: it was judged too late to be of use to anybody.
            let _still_known = behaviour.report_message_validation_result(&message, &source, acceptance);
        }
    }

    /// Follows the topic of the own swarm and leaves that of the one before.
    pub(super) fn follow_swarm_topic(&mut self, swarm: Option<SwarmId>) {
        if self.own_swarm == swarm {
            return;
        }
        let before = std::mem::replace(&mut self.own_swarm, swarm);
        let (old, new) = (before.map(|id| self.names.swarm_topic(id)), swarm.map(|id| self.names.swarm_topic(id)));
        self.swarm_intake.follow(new.as_ref().map(IdentTopic::hash));
        let Some(behaviour) = self.gossip(Instance::Swarm) else { return };
        if let Some(topic) = old {
            behaviour.unsubscribe(&topic);
        }
        if let Some(topic) = new
            && let Err(error) = behaviour.subscribe(&topic)
        {
            tracing::error!(%error, %topic, "cannot follow the own swarm's topic");
        }
    }

    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        if let Some(metrics) = &self.libp2p_metrics {
            metrics.record(&event);
        }
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let instance =
                    if message.topic == self.names.chain_topic().hash() { Instance::Chain } else { Instance::Swarm };
                self.on_message(GossipId { instance, message: message_id, source: propagation_source }, message.data);
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                tracing::debug!(peer = %peer_id, "takes gossip too slowly");
                self.metrics.gossip_unsent("slow_peer");
            }
            gossipsub::Event::Subscribed { .. }
            | gossipsub::Event::Unsubscribed { .. }
            | gossipsub::Event::GossipsubNotSupported { .. } => {}
        }
    }

    fn on_message(&mut self, gossip: GossipId, bytes: Vec<u8>) {
        let Ok(from) = peer::node_id(&gossip.source) else { return };
        match gossip.instance {
            Instance::Chain => match height_of(&bytes) {
                Some(_)
                    if from != self.producer
                        && self.judging.get(&gossip.source).is_some_and(|waiting| *waiting >= JUDGED_AT_ONCE) =>
                {
                    self.settle(gossip, Verdict::Ignore);
                }
                Some(height) => {
                    *self.judging.entry(gossip.source).or_default() += 1;
                    // It has the blocks before; this one is on its way up.
                    self.heard_tip(from, height.minus(1));
                    self.events.push_back(Event::Block { from, gossip, bytes });
                }
                None => self.settle(gossip, Verdict::Reject),
            },
            Instance::Swarm => self.events.push_back(Event::SwarmMessage { from, gossip, bytes }),
        }
    }

    /// What gossip did not even let in, and whose ban is over.
    pub(super) fn punish(&mut self, now: Monotonic) {
        for intake in [&self.chain_intake, &self.swarm_intake] {
            intake.forget(now);
        }
        let offences = [self.chain_intake.take_offences(), self.swarm_intake.take_offences()];
        for (peer, count) in offences.into_iter().flatten() {
            for _ in 0..usize::try_from(count).unwrap_or(usize::MAX).min(OFFENCES) {
                self.metrics.gossip_judged("refused");
                self.offended(&peer);
            }
        }
        if self.bans.end(now) {
            self.keep_out();
        }
    }

    /// A peer has passed on what is provably invalid.
    fn offended(&mut self, peer: &PeerId) {
        let now = self.clock.monotonic();
        // Blocks are the producer's. Without it nothing goes on, so nothing is won by shutting it out.
        let Some(node) = peer::node_id(peer).ok().filter(|node| *node != self.producer) else { return };
        if !self.bans.offended(node, now) {
            return;
        }
        self.metrics.banned();
        if self.ban_said.is_none_or(|at| now.since(at) >= SAY_AGAIN) {
            self.ban_said = Some(now);
            tracing::warn!(node = node.short(), "kept out for five minutes: it gossips what is invalid");
        }
        self.keep_out();
        // An error says that it has no connection any more.
        let _gone = self.swarm.disconnect_peer_id(*peer);
    }

    fn keep_out(&mut self) {
        let banned = self.bans.banned().map(|(node, _)| peer::peer_id(&node)).collect();
        self.swarm.behaviour_mut().limits.set_banned(banned);
    }

    fn publish(&mut self, instance: Instance, topic: IdentTopic, bytes: Vec<u8>) {
        let Some(behaviour) = self.gossip(instance) else { return };
        let unsent = match behaviour.publish(topic, bytes) {
            Ok(_) | Err(PublishError::Duplicate) => return,
            Err(PublishError::NoPeersSubscribedToTopic) => "nobody",
            Err(PublishError::AllQueuesFull(_)) => "queues_full",
            Err(PublishError::MessageTooLarge) => "too_large",
            Err(PublishError::SigningError(_) | PublishError::TransformFailed(_)) => "unencodable",
        };
        self.metrics.gossip_unsent(unsent);
    }

    fn gossip(&mut self, instance: Instance) -> Option<&mut gossip::Behaviour> {
        let behaviour = self.swarm.behaviour_mut();
        let gate = match instance {
            Instance::Chain => behaviour.chain_gossip.as_mut(),
            Instance::Swarm => behaviour.swarm_gossip.as_mut(),
        };
        gate.map(crate::gated::Gated::inner_mut)
    }
}
