//! What a [`Network`](super::Network) is built from.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sotto_proto::id::{ChainId, NodeId};
use sotto_proto::limits;
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::network::NetworkView;
use sotto_proto::time::UnixMillis;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::clock;
use crate::onion::{Caps, Deadlines, RelayConfig};

/// What this process is on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A service node, registered or about to be.
    Node,
    /// The block producer.
    Producer,
    /// A client: no gossip, dials nobody by itself, serves nothing.
    Client,
}

/// A peer whose addresses are known before the chain is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its key.
    pub node: NodeId,
    /// Where it listens.
    pub addresses: Vec<NodeAddr>,
}

/// How many connections are held. Defaults are those of production.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Whether the limits per address hold (genesis parameter; off where all nodes share a host).
    pub per_address_enabled: bool,
    /// Inbound connections of one address, those in their handshakes included.
    pub per_address: usize,
    /// Inbound connections of one address in their handshakes: less than all there may be.
    pub pending_per_address: usize,
    /// Inbound connections in their handshakes.
    pub pending_incoming: usize,
    /// Dials under way.
    pub pending_outgoing: usize,
    /// Connections with registered nodes and the producer.
    pub nodes: usize,
    /// Connections with everybody else.
    pub clients: usize,
    /// What runs over them: paths and tunnels.
    pub paths: Caps,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            per_address_enabled: true,
            per_address: limits::CONNECTIONS_PER_ADDRESS,
            pending_per_address: limits::PENDING_INCOMING / 32,
            pending_incoming: limits::PENDING_INCOMING,
            pending_outgoing: limits::PENDING_OUTGOING,
            nodes: limits::NODE_CONNECTIONS,
            clients: limits::CLIENT_CONNECTIONS,
            paths: Caps::default(),
        }
    }
}

/// Deadlines. Defaults are those of production.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From a TCP connect or accept to the end of the Noise and Yamux handshakes.
    pub handshake: Duration,
    /// From a request to its answer. Each of its phases (sending it, reading it, sending the answer, reading that) may
    /// take half of this.
    pub request: Duration,
    /// How long a connection without any stream is kept.
    pub idle: Duration,
    /// Between two pings; two failures in a row close all connections to the peer.
    pub ping_interval: Duration,
    /// How long a ping may take.
    pub ping: Duration,
    /// Those of paths and tunnels.
    pub paths: Deadlines,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            request: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            ping_interval: Duration::from_secs(30),
            ping: Duration::from_secs(10),
            paths: Deadlines::default(),
        }
    }
}

/// Where the wall clock comes from, so that tests can set it wrong.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> UnixMillis + Send + Sync>);

impl WallClock {
    /// A clock that asks `read`.
    pub fn new(read: impl Fn() -> UnixMillis + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(clock::wall)
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        (self.0)()
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}

/// Everything a [`Network`] is built from.
#[derive(Clone)]
pub struct NetworkConfig {
    /// Seed of the Ed25519 key that is the libp2p identity (for a node its node key).
    pub identity: Zeroizing<[u8; 32]>,
    /// The chain; its id is in every protocol name.
    pub chain: ChainId,
    /// What this process is.
    pub role: Role,
    /// Where to listen; outgoing connections are bound to the same IP. `None`: do not listen.
    pub listen: Option<NodeAddr>,
    /// The block producer.
    pub producer: Peer,
    /// Nodes to ask before the list is known.
    pub bootstrap: Vec<Peer>,
    /// Connection limits.
    pub limits: ConnectionLimits,
    /// Whether loopback and private addresses are dialled (genesis parameter; testnets only).
    pub private_addresses: bool,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// The wall clock.
    pub clock: WallClock,
    /// What a node needs to be a hop of paths and a destination of tunnels; without it this host is neither.
    pub relay: Option<RelayConfig>,
}

impl NetworkConfig {
    /// Who is a node, as `view` says at the time of asking: a registered node, the producer or a bootstrap node.
    pub fn knows_nodes_of(
        &self,
        view: watch::Receiver<Arc<NetworkView>>,
    ) -> impl Fn(&NodeId) -> bool + Clone + Send + Unpin + 'static + use<> {
        let configured: Vec<NodeId> = self.bootstrap.iter().chain([&self.producer]).map(|peer| peer.node).collect();
        move |node| configured.contains(node) || view.borrow().is_registered(node)
    }
}

impl fmt::Debug for NetworkConfig {
    /// Everything but the identity.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkConfig")
            .field("chain", &self.chain)
            .field("role", &self.role)
            .field("listen", &self.listen)
            .field("producer", &self.producer)
            .field("bootstrap", &self.bootstrap)
            .field("limits", &self.limits)
            .field("private_addresses", &self.private_addresses)
            .field("timeouts", &self.timeouts)
            .field("relay", &self.relay)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{CHAIN, node};

    #[test]
    fn debug_shows_no_secret() {
        let config = NetworkConfig {
            identity: Zeroizing::new([0xa7; 32]),
            chain: CHAIN,
            role: Role::Node,
            listen: None,
            producer: Peer { node: node(1), addresses: Vec::new() },
            bootstrap: Vec::new(),
            limits: ConnectionLimits::default(),
            private_addresses: true,
            timeouts: Timeouts::default(),
            clock: WallClock::system(),
            relay: None,
        };
        let shown = format!("{config:?}");
        assert!(!shown.contains("167, 167") && !shown.contains("a7a7"), "{shown}");
    }
}
