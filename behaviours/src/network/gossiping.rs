//! Publishing, judging, and which topics are followed.

use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance, PublishError};
use libp2p::metrics::Recorder as _;
use sotto_proto::chain::{Header, SignedHeader};
use sotto_proto::id::{Height, SwarmId};

use super::event::Instance;
use super::{Event, GossipId, Network, Verdict};
use crate::gossip;
use crate::peer;

impl Network {
    /// Gossips a block (B7 bytes) to all registered nodes. A block that is known already is not sent again. Where
    /// nobody is connected nothing is kept: whoever connects asks for the newest block.
    pub fn publish_block(&mut self, bytes: Vec<u8>) {
        self.publish(Instance::Chain, self.names.chain_topic(), bytes);
    }

    /// Gossips a message to the members of the own swarm.
    pub fn publish_swarm(&mut self, bytes: Vec<u8>) {
        match self.own_swarm {
            Some(swarm) => self.publish(Instance::Swarm, self.names.swarm_topic(swarm), bytes),
            None => self.metrics.gossip_unsent("no_swarm"),
        }
    }

    /// Says what became of a gossiped message; until then it is not passed on, and after ten seconds it never will be.
    /// `Reject` only what is provably invalid.
    pub fn judge(&mut self, gossip: GossipId, verdict: Verdict) {
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
                Some(height) => {
                    // It has the blocks before; this one is on its way up.
                    self.heard_tip(from, height.minus(1));
                    self.events.push_back(Event::Block { from, gossip, bytes });
                }
                None => self.judge(gossip, Verdict::Reject),
            },
            Instance::Swarm => self.events.push_back(Event::SwarmMessage { from, gossip, bytes }),
        }
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

/// The height of a gossiped block, if its header can be read and something follows it.
fn height_of(block: &[u8]) -> Option<Height> {
    let (header, body) = block.split_at_checked(SignedHeader::LEN)?;
    const { assert!(SignedHeader::LEN > Header::LEN) };
    if body.is_empty() {
        return None;
    }
    SignedHeader::decode(header).ok().map(|signed| signed.header.height)
}
