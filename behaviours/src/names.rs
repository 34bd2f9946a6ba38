//! Protocol and topic names. The chain's id is in every one of them, so that hosts of two networks never get beyond
//! negotiation.

use libp2p::StreamProtocol;
use libp2p::gossipsub::{IdentTopic, TopicHash};
use sotto_proto::id::{ChainId, SwarmId};

/// The names spoken on one chain.
#[derive(Clone, Debug)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// The names on `chain`.
    #[must_use]
    pub fn new(chain: &ChainId) -> Self {
        Self { prefix: format!("/sotto/{}", chain.protocol_prefix()) }
    }

    /// Blocks, tip, transactions; for anybody.
    #[must_use]
    pub fn chain(&self) -> StreamProtocol {
        self.protocol("chain")
    }

    /// The node list; for anybody.
    #[must_use]
    pub fn list(&self) -> StreamProtocol {
        self.protocol("list")
    }

    /// Time and final height; for registered nodes.
    #[must_use]
    pub fn status(&self) -> StreamProtocol {
        self.protocol("status")
    }

    /// Paths: for clients at their guard, and between registered nodes.
    #[must_use]
    pub fn path(&self) -> StreamProtocol {
        self.protocol("path")
    }

    /// Tunnels from exits; for registered nodes.
    #[must_use]
    pub fn tunnel(&self) -> StreamProtocol {
        self.protocol("tunnel")
    }

    /// Comparing and exchanging records; for members of one swarm.
    #[must_use]
    pub fn repair(&self) -> StreamProtocol {
        self.protocol("repair")
    }

    /// Handing records over to the swarm that owns them now; for registered nodes.
    #[must_use]
    pub fn offer(&self) -> StreamProtocol {
        self.protocol("offer")
    }

    /// Gossip of blocks; for registered nodes and the producer.
    #[must_use]
    pub fn chain_gossip(&self) -> StreamProtocol {
        self.protocol("gossip/chain")
    }

    /// Gossip within a swarm; for its members.
    #[must_use]
    pub fn swarm_gossip(&self) -> StreamProtocol {
        self.protocol("gossip/swarm")
    }

    /// The topic of blocks.
    #[must_use]
    pub fn chain_topic(&self) -> IdentTopic {
        IdentTopic::new(format!("{}/chain", self.prefix))
    }

    /// The topic of a swarm.
    #[must_use]
    pub fn swarm_topic(&self, swarm: SwarmId) -> IdentTopic {
        IdentTopic::new(format!("{}/swarm/{swarm}", self.prefix))
    }

    /// The swarm whose topic this is, if it is one of this chain's.
    #[must_use]
    pub fn swarm_of_topic(&self, topic: &TopicHash) -> Option<SwarmId> {
        let id = topic.as_str().strip_prefix(&self.prefix)?.strip_prefix("/swarm/")?;
        let lower_hex = id.len() == 16 && id.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        id.parse().ok().filter(|swarm| lower_hex && *swarm != SwarmId::NONE)
    }

    fn protocol(&self, name: &str) -> StreamProtocol {
        #[expect(clippy::expect_used, reason = "a name that begins with a slash is a protocol name")]
        StreamProtocol::try_from_owned(format!("{}/{name}/1", self.prefix)).expect("the prefix begins with a slash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_carries_the_chain() {
        let names = Names::new(&ChainId::new([0xab; 32]));
        assert_eq!(names.chain().as_ref(), "/sotto/abababab/chain/1");
        assert_eq!(names.path().as_ref(), "/sotto/abababab/path/1");
        assert_eq!(names.tunnel().as_ref(), "/sotto/abababab/tunnel/1");
        assert_eq!(names.chain_gossip().as_ref(), "/sotto/abababab/gossip/chain/1");
        assert_eq!(names.swarm_gossip().as_ref(), "/sotto/abababab/gossip/swarm/1");
        assert_eq!(names.chain_topic().hash().as_str(), "/sotto/abababab/chain");
        let topic = names.swarm_topic(SwarmId(0x3fff)).hash();
        assert_eq!(topic.as_str(), "/sotto/abababab/swarm/0000000000003fff");
        assert_eq!(names.swarm_of_topic(&topic), Some(SwarmId(0x3fff)));
    }

    #[test]
    fn only_well_formed_topics_of_this_chain_are_swarm_topics() {
        let names = Names::new(&ChainId::new([0xab; 32]));
        for topic in [
            "/sotto/abababab/chain",
            "/sotto/abababab/swarm/3fff",
            "/sotto/abababab/swarm/0000000000003FFF",
            "/sotto/abababab/swarm/0x00000000003fff",
            "/sotto/abababab/swarm/ffffffffffffffff",
            "/sotto/abababac/swarm/0000000000003fff",
            "/sotto/abababab/swarm/0000000000003fff/x",
        ] {
            assert_eq!(names.swarm_of_topic(&TopicHash::from_raw(topic)), None, "{topic}");
        }
    }
}
