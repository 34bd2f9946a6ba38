//! How many connections are held, and with whom: refused before they cost anything, each refusal typed and counted.
//!
//! Nodes and clients have separate allowances, so that a crowd of clients cannot push the network apart. Limits per
//! address count one IPv4 address or one IPv6 /64 (what one customer has); they are a genesis parameter, because on a
//! testnet all nodes share a host. Connections in their handshakes have a smaller allowance per address, or one address
//! could hold all places before anybody knows who is calling.
//!
//! Must be the first of all behaviours: what it refuses, no other behaviour has heard of.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::derive_prelude::ConnectionEstablished;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};
use sotto_proto::id::NodeId;
use sotto_proto::limits::CONNECTIONS_PER_PEER;

use crate::metrics::Metrics;
use crate::network::ConnectionLimits;
use crate::{peer, transport};

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refusal {
    /// Too many inbound connections are in their handshakes.
    #[error("too many inbound handshakes")]
    PendingIncoming,
    /// Too many dials are under way.
    #[error("too many dials")]
    PendingOutgoing,
    /// Too many connections of this address are in their handshakes.
    #[error("too many handshakes from this address")]
    PendingPerAddress,
    /// This address has too many connections.
    #[error("too many connections from this address")]
    PerAddress,
    /// This peer is banned for a while.
    #[error("this peer is banned")]
    Banned,
    /// This peer has too many connections.
    #[error("too many connections with this peer")]
    PerPeer,
    /// Too many nodes are connected.
    #[error("too many nodes")]
    Nodes,
    /// Too many clients are connected.
    #[error("too many clients")]
    Clients,
}

impl Refusal {
    /// A fixed name for metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::PendingIncoming => "pending_incoming",
            Self::PendingOutgoing => "pending_outgoing",
            Self::PendingPerAddress => "pending_per_address",
            Self::PerAddress => "per_address",
            Self::Banned => "banned",
            Self::PerPeer => "per_peer",
            Self::Nodes => "nodes",
            Self::Clients => "clients",
        }
    }
}

/// What counts as one address: an IPv4 address or an IPv6 /64.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << 64)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// A connection that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Incoming { from: Option<IpAddr> },
    Outgoing,
    Established { peer: PeerId, from: Option<IpAddr>, is_node: bool },
}

/// The books: every connection from its first packet to its end.
struct Ledger {
    limits: ConnectionLimits,
    held: BTreeMap<ConnectionId, Held>,
}

impl Ledger {
    fn incoming(&mut self, id: ConnectionId, from: Option<IpAddr>) -> Result<(), Refusal> {
        if self.count(|held| matches!(held, Held::Incoming { .. })) >= self.limits.pending_incoming {
            return Err(Refusal::PendingIncoming);
        }
        let from = from.map(network);
        if self.limits.per_address_enabled && from.is_some() {
            let pending = |held: &Held| *held == Held::Incoming { from };
            let all = |held: &Held| match held {
                Held::Incoming { from: other } | Held::Established { from: other, .. } => *other == from,
                Held::Outgoing => false,
            };
            if self.count(pending) >= self.limits.pending_per_address {
                return Err(Refusal::PendingPerAddress);
            }
            if self.count(all) >= self.limits.per_address {
                return Err(Refusal::PerAddress);
            }
        }
        self.held.insert(id, Held::Incoming { from });
        Ok(())
    }

    fn outgoing(&mut self, id: ConnectionId) -> Result<(), Refusal> {
        if self.count(|held| *held == Held::Outgoing) >= self.limits.pending_outgoing {
            return Err(Refusal::PendingOutgoing);
        }
        self.held.insert(id, Held::Outgoing);
        Ok(())
    }

    fn may_establish(&self, peer: &PeerId, is_node: bool) -> Result<(), Refusal> {
        if self.count(|held| matches!(held, Held::Established { peer: other, .. } if other == peer))
            >= CONNECTIONS_PER_PEER
        {
            return Err(Refusal::PerPeer);
        }
        let (limit, refusal) =
            if is_node { (self.limits.nodes, Refusal::Nodes) } else { (self.limits.clients, Refusal::Clients) };
        let same_kind = |held: &Held| matches!(held, Held::Established { is_node: other, .. } if *other == is_node);
        if self.count(same_kind) >= limit { Err(refusal) } else { Ok(()) }
    }

    fn established(&mut self, id: ConnectionId, peer: PeerId, from: Option<IpAddr>, is_node: bool) {
        self.held.insert(id, Held::Established { peer, from: from.map(network), is_node });
    }

    fn address_of(&self, id: ConnectionId) -> Option<IpAddr> {
        match self.held.get(&id) {
            Some(Held::Established { from, .. }) if self.limits.per_address_enabled => *from,
            _ => None,
        }
    }

    fn ended(&mut self, id: ConnectionId) {
        self.held.remove(&id);
    }

    /// Some hundred entries at most, looked through once for each connection made.
    fn count(&self, of: impl Fn(&Held) -> bool) -> usize {
        self.held.values().filter(|held| of(held)).count()
    }
}

/// Who is a node.
pub type IsNode = Box<dyn Fn(&NodeId) -> bool + Send>;

/// The behaviour.
pub struct Behaviour {
    ledger: Ledger,
    is_node: IsNode,
    banned: BTreeSet<PeerId>,
    metrics: Metrics,
}

impl Behaviour {
    pub(crate) fn new(limits: ConnectionLimits, metrics: Metrics) -> Self {
        Self {
            ledger: Ledger { limits, held: BTreeMap::new() },
            is_node: Box::new(|_| false),
            banned: BTreeSet::new(),
            metrics,
        }
    }

    /// Replaces the answer to who is a node. Connections keep the kind they had, until they end.
    pub fn set_nodes(&mut self, is_node: IsNode) {
        self.is_node = is_node;
    }

    /// Replaces the list of those with whom no connection is made, whoever dials. Those there are are not closed here.
    pub fn set_banned(&mut self, banned: BTreeSet<PeerId>) {
        self.banned = banned;
    }

    /// Inbound and outbound connections in their handshakes.
    #[must_use]
    pub fn pending(&self) -> (usize, usize) {
        let incoming = self.ledger.count(|held| matches!(held, Held::Incoming { .. }));
        (incoming, self.ledger.count(|held| *held == Held::Outgoing))
    }

    /// Where an inbound connection comes from, an IPv4 address or an IPv6 /64, if addresses are told apart.
    #[must_use]
    pub fn address_of(&self, connection: ConnectionId) -> Option<IpAddr> {
        self.ledger.address_of(connection)
    }

    fn is_node(&self, peer: &PeerId) -> bool {
        peer::node_id(peer).is_ok_and(|node| (self.is_node)(&node))
    }

    fn check(&self, result: Result<(), Refusal>) -> Result<(), ConnectionDenied> {
        result.map_err(|refusal| {
            self.metrics.refused(refusal);
            ConnectionDenied::new(refusal)
        })
    }

    fn establish(&self, peer: &PeerId) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        self.check(self.not_banned(peer))?;
        self.check(self.ledger.may_establish(peer, self.is_node(peer)))?;
        Ok(dummy::ConnectionHandler)
    }

    fn not_banned(&self, peer: &PeerId) -> Result<(), Refusal> {
        if self.banned.contains(peer) { Err(Refusal::Banned) } else { Ok(()) }
    }

    fn on_established(&mut self, established: ConnectionEstablished<'_>) {
        let from = match established.endpoint {
            ConnectedPoint::Listener { send_back_addr, .. } => transport::ip(send_back_addr),
            ConnectedPoint::Dialer { .. } => None,
        };
        let is_node = self.is_node(&established.peer_id);
        self.ledger.established(established.connection_id, established.peer_id, from, is_node);
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let result = self.ledger.incoming(id, transport::ip(remote));
        self.check(result)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.establish(&peer)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if let Some(peer) = peer {
            self.check(self.not_banned(&peer))?;
        }
        let result = self.ledger.outgoing(id);
        self.check(result)?;
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.establish(&peer)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => self.on_established(established),
            FromSwarm::ConnectionClosed(closed) => self.ledger.ended(closed.connection_id),
            FromSwarm::DialFailure(failure) => self.ledger.ended(failure.connection_id),
            FromSwarm::ListenFailure(failure) => self.ledger.ended(failure.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        libp2p::core::util::unreachable(event)
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(limits: ConnectionLimits) -> Ledger {
        Ledger { limits, held: BTreeMap::new() }
    }

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    fn ip(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([198, 18, 0, last]))
    }

    #[test]
    fn one_address_cannot_take_all_handshakes() {
        let mut ledger =
            ledger(ConnectionLimits { pending_per_address: 8, pending_incoming: 32, ..Default::default() });
        let taken = (0..100).filter(|n| ledger.incoming(id(*n), ip(1)).is_ok()).count();
        assert_eq!(taken, 8);
        assert_eq!(ledger.incoming(id(100), ip(1)), Err(Refusal::PendingPerAddress));
        assert_eq!(ledger.incoming(id(101), ip(2)), Ok(()));
        ledger.ended(id(0));
        assert_eq!(ledger.incoming(id(102), ip(1)), Ok(()));
    }

    #[test]
    fn many_addresses_together_stay_below_the_limit_of_handshakes() {
        let mut ledger = ledger(ConnectionLimits::default());
        let taken = (0..1000).filter(|n| ledger.incoming(id(*n), ip(*n as u8)).is_ok()).count();
        assert_eq!(taken, ConnectionLimits::default().pending_incoming);
    }

    #[test]
    fn established_connections_of_an_address_are_counted_with_the_pending_ones() {
        let mut ledger = ledger(ConnectionLimits { per_address: 3, ..Default::default() });
        for n in 0..3 {
            ledger.incoming(id(n), ip(1)).unwrap();
            ledger.established(id(n), PeerId::random(), ip(1), false);
        }
        assert_eq!(ledger.incoming(id(3), ip(1)), Err(Refusal::PerAddress));
        ledger.ended(id(1));
        assert_eq!(ledger.incoming(id(3), ip(1)), Ok(()));
    }

    #[test]
    fn limits_per_address_can_be_off() {
        let mut ledger = ledger(ConnectionLimits {
            per_address: 1,
            per_address_enabled: false,
            pending_incoming: 10,
            ..Default::default()
        });
        assert_eq!((0..20).filter(|n| ledger.incoming(id(*n), ip(1)).is_ok()).count(), 10);
    }

    #[test]
    fn an_ipv6_customer_is_one_address() {
        let a: IpAddr = "2600:1:2:3::1".parse().unwrap();
        let b: IpAddr = "2600:1:2:3:ffff::2".parse().unwrap();
        let c: IpAddr = "2600:1:2:4::1".parse().unwrap();
        assert_eq!(network(a), network(b));
        assert_ne!(network(a), network(c));
        assert_eq!(network("::ffff:198.18.0.1".parse().unwrap()), network("198.18.0.1".parse().unwrap()));
    }

    #[test]
    fn nodes_and_clients_have_separate_allowances() {
        let mut ledger = ledger(ConnectionLimits { nodes: 1, clients: 2, ..Default::default() });
        let peer = PeerId::random();
        ledger.established(id(0), peer, None, false);
        ledger.established(id(1), PeerId::random(), None, false);
        assert_eq!(ledger.may_establish(&PeerId::random(), false), Err(Refusal::Clients));
        assert_eq!(ledger.may_establish(&PeerId::random(), true), Ok(()));
        ledger.established(id(2), peer, None, true);
        assert_eq!(ledger.may_establish(&PeerId::random(), true), Err(Refusal::Nodes));
        assert_eq!(ledger.may_establish(&peer, true), Err(Refusal::PerPeer));
    }
}
