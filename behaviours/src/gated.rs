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

/// Told whose connection the behaviour inside is about to hear from.
pub type Watcher = Box<dyn Fn(&PeerId) + Send>;

/// A behaviour behind a gate.
pub struct Gated<B> {
    inner: B,
    admission: Admission,
    watcher: Option<Watcher>,
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
        let admission: Admission = Box::new(|_| false);
        Self { inner, admission, watcher: None, links: BTreeMap::new(), closing: VecDeque::new() }
    }

    /// Has `watcher` told of each peer right before the behaviour inside hears from one of its connections: some
    /// behaviours have hooks that are not told whom they are about.
    #[must_use]
    pub fn watched_by(mut self, watcher: Watcher) -> Self {
        self.watcher = Some(watcher);
        self
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

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {
            Either::Left(event) => {
                if let Some(watcher) = &self.watcher {
                    watcher(&peer);
                }
                self.inner.on_connection_handler_event(peer, connection, event);
            }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures::task::noop_waker;
    use libp2p::core::ConnectedPoint;

    use super::*;
    use crate::test_support::node;

    /// Writes down what it hears.
    #[derive(Default)]
    struct Inner(Vec<(&'static str, PeerId)>);

    impl NetworkBehaviour for Inner {
        type ConnectionHandler = dummy::ConnectionHandler;
        type ToSwarm = std::convert::Infallible;

        fn handle_established_inbound_connection(
            &mut self,
            _: ConnectionId,
            peer: PeerId,
            _: &Multiaddr,
            _: &Multiaddr,
        ) -> Result<THandler<Self>, ConnectionDenied> {
            self.0.push(("handler", peer));
            Ok(dummy::ConnectionHandler)
        }

        fn handle_established_outbound_connection(
            &mut self,
            _: ConnectionId,
            peer: PeerId,
            _: &Multiaddr,
            _: Endpoint,
            _: PortUse,
        ) -> Result<THandler<Self>, ConnectionDenied> {
            self.0.push(("handler", peer));
            Ok(dummy::ConnectionHandler)
        }

        fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
            match event {
                FromSwarm::ConnectionEstablished(event) => self.0.push(("established", event.peer_id)),
                FromSwarm::ConnectionClosed(event) => self.0.push(("closed", event.peer_id)),
                _ => {}
            }
        }

        fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
            match event {}
        }

        fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
            Poll::Pending
        }
    }

    struct Scene {
        gate: Gated<Inner>,
        endpoint: ConnectedPoint,
        established: usize,
    }

    impl Scene {
        fn new(admitted: &[u8]) -> Self {
            let address: Multiaddr = "/memory/1".parse().unwrap();
            let endpoint = ConnectedPoint::Listener { local_addr: address.clone(), send_back_addr: address };
            let mut scene = Self { gate: Gated::new(Inner::default()), endpoint, established: 0 };
            scene.admit(admitted);
            scene
        }

        fn admit(&mut self, admitted: &[u8]) {
            let admitted: BTreeSet<_> = admitted.iter().map(|key| node(*key)).collect();
            self.gate.set_admission(Box::new(move |node| admitted.contains(node)));
        }

        /// Whether the connection got the inner handler.
        fn connect(&mut self, key: u8) -> bool {
            let (peer_id, address) = (peer::peer_id(&node(key)), self.endpoint.get_remote_address().clone());
            let connection_id = ConnectionId::new_unchecked(self.established);
            let handler =
                self.gate.handle_established_inbound_connection(connection_id, peer_id, &address, &address).unwrap();
            self.gate.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint: &self.endpoint,
                failed_addresses: &[],
                other_established: 0,
            }));
            self.established += 1;
            matches!(handler, Either::Left(_))
        }

        fn disconnect(&mut self, key: u8) {
            self.gate.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id: peer::peer_id(&node(key)),
                connection_id: ConnectionId::new_unchecked(0),
                endpoint: &self.endpoint,
                cause: None,
                remaining_established: 0,
            }));
        }

        /// Peers whose connections it wants closed.
        fn closing(&mut self) -> Vec<PeerId> {
            let waker = noop_waker();
            let mut closing = Vec::new();
            while let Poll::Ready(action) = self.gate.poll(&mut Context::from_waker(&waker)) {
                let ToSwarm::CloseConnection { peer_id, connection: CloseConnection::All } = action else {
                    panic!("only closes are expected")
                };
                closing.push(peer_id);
            }
            closing
        }

        fn heard(&self) -> Vec<&'static str> {
            self.gate.inner().0.iter().map(|(what, _)| *what).collect()
        }
    }

    #[test]
    fn the_behaviour_inside_never_hears_of_who_is_not_admitted() {
        let mut scene = Scene::new(&[1]);
        assert!(!scene.connect(2));
        scene.disconnect(2);
        assert_eq!(scene.heard(), Vec::<&str>::new());
        assert!(scene.connect(1));
        scene.disconnect(1);
        assert_eq!(scene.heard(), ["handler", "established", "closed"]);
        assert_eq!(scene.closing(), []);
    }

    #[test]
    fn all_connections_of_a_peer_are_closed_when_its_admission_changes_either_way() {
        let mut scene = Scene::new(&[1, 3]);
        for key in [1, 1, 2, 3] {
            scene.connect(key);
        }
        scene.admit(&[2, 3]);
        let mut changed = vec![peer::peer_id(&node(1)), peer::peer_id(&node(2))];
        changed.sort();
        assert_eq!(scene.closing(), changed);
        scene.admit(&[2, 3]);
        let again: BTreeSet<_> = scene.closing().into_iter().collect();
        assert_eq!(again, changed.into_iter().collect(), "until they are closed");
        assert!(scene.gate.is_open(&peer::peer_id(&node(1))), "what it was stays until then");
        scene.disconnect(1);
        scene.disconnect(1);
        assert!(!scene.connect(1));
    }

    #[test]
    fn a_connection_that_comes_while_others_are_closed_shares_their_admission_and_their_end() {
        let mut scene = Scene::new(&[1]);
        assert!(scene.connect(1));
        scene.admit(&[]);
        assert_eq!(scene.closing().len(), 1);
        assert!(scene.connect(1), "per peer, never per connection");
        assert_eq!(scene.closing().len(), 1);
    }
}
