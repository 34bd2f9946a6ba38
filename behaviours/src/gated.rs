//! A gate in front of a behaviour: for peers that are not admitted it does not exist.
//!
//! gossipsub sends a message to every connected peer that subscribed, whoever that is, and has no hook to refuse one.
//! So the connection itself is kept from it: a peer that the gate does not admit gets a handler that speaks no
//! protocol, and the behaviour inside never hears of its connections.
//!
//! Admission is per peer, never per connection, because behaviours keep their books by peer. When it changes for a
//! connected peer, all its connections are closed; whoever wants it dials again and finds the new answer.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::derive_prelude::{ConnectionClosed, ConnectionEstablished, Either};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use sotto_proto::id::NodeId;

use crate::peer;

/// Who is admitted. Asked when a connection is made and when the gate is told that the answers may have changed.
pub type Admission = Box<dyn Fn(&NodeId) -> bool + Send>;

/// A behaviour behind a gate.
pub struct Gated<B> {
    inner: B,
    admission: Admission,
    links: BTreeMap<PeerId, Link>,
    /// Peers whose connections are to be closed; at most one entry for each of `links`.
    closing: VecDeque<PeerId>,
}

/// A connected peer.
struct Link {
    /// Fixed from the first connection to the end of the last.
    admitted: bool,
    connections: usize,
}

impl<B: NetworkBehaviour> Gated<B> {
    /// Nobody passes until [`Gated::set_admission`] says who may.
    #[must_use]
    pub fn new(inner: B) -> Self {
        Self { inner, admission: Box::new(|_| false), links: BTreeMap::new(), closing: VecDeque::new() }
    }

    /// Replaces the rule and closes the connections of every peer for whom the answer is now another.
    pub fn set_admission(&mut self, admission: Admission) {
        self.admission = admission;
        let changed: Vec<PeerId> = self
            .links
            .iter()
            .filter(|(peer, link)| link.admitted != admits(&self.admission, peer))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in changed {
            self.close(peer);
        }
    }

    /// Whether `peer` is connected and the behaviour inside knows it.
    #[must_use]
    pub fn is_open(&self, peer: &PeerId) -> bool {
        self.links.get(peer).is_some_and(|link| link.admitted)
    }

    /// The behaviour inside.
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    /// The behaviour inside.
    pub const fn inner_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    /// What a new connection of `peer` gets: what its other connections have, or else what the rule says.
    fn admitted(&self, peer: &PeerId) -> bool {
        self.links.get(peer).map_or_else(|| admits(&self.admission, peer), |link| link.admitted)
    }

    fn close(&mut self, peer: PeerId) {
        if !self.closing.contains(&peer) {
            self.closing.push_back(peer);
        }
    }

    /// Books a connection and says whether the behaviour inside hears of it.
    fn opened(&mut self, peer: PeerId) -> bool {
        let wanted = admits(&self.admission, &peer);
        let link = self.links.entry(peer).or_insert(Link { admitted: wanted, connections: 0 });
        link.connections += 1;
        let admitted = link.admitted;
        if admitted != wanted {
            // It came while the older ones are being closed and shares their stale admission.
            self.close(peer);
        }
        admitted
    }

    fn closed(&mut self, peer: PeerId) -> bool {
        let Entry::Occupied(mut link) = self.links.entry(peer) else { return false };
        let admitted = link.get().admitted;
        link.get_mut().connections -= 1;
        if link.get().connections == 0 {
            link.remove();
            self.closing.retain(|closing| *closing != peer);
        }
        admitted
    }
}

fn admits(admission: &Admission, peer: &PeerId) -> bool {
    peer::node_id(peer).is_ok_and(|node| admission(&node))
}

impl<B: NetworkBehaviour> NetworkBehaviour for Gated<B> {
    type ConnectionHandler = Either<THandler<B>, dummy::ConnectionHandler>;
    type ToSwarm = B::ToSwarm;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !self.admitted(&peer) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        self.inner.handle_established_inbound_connection(connection, peer, local, remote).map(Either::Left)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if peer.is_none_or(|peer| !self.admitted(&peer)) {
            return Ok(Vec::new());
        }
        self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !self.admitted(&peer) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        self.inner.handle_established_outbound_connection(connection, peer, address, role, port_use).map(Either::Left)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let passes = match &event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, .. }) => self.opened(*peer_id),
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, .. }) => self.closed(*peer_id),
            FromSwarm::AddressChange(change) => self.is_open(&change.peer_id),
            FromSwarm::DialFailure(failure) => failure.peer_id.is_none_or(|peer| self.admitted(&peer)),
            FromSwarm::ListenFailure(failure) => failure.peer_id.is_none_or(|peer| self.admitted(&peer)),
            FromSwarm::NewExternalAddrOfPeer(address) => self.admitted(&address.peer_id),
            _ => true,
        };
        if passes {
            self.inner.on_swarm_event(event);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {
            Either::Left(event) => self.inner.on_connection_handler_event(peer, connection, event),
            Either::Right(never) => libp2p::core::util::unreachable(never),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(peer_id) = self.closing.pop_front() {
            return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::All });
        }
        self.inner.poll(cx).map(|action| action.map_in(Either::Left))
    }
}
