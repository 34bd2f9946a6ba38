//! The libp2p behaviour of paths and tunnels: keeps the books of peers, tells [`Control`] of their connections, and
//! asks for the dials that are missing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::derive_prelude::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use sotto_proto::id::NodeId;
use tokio::sync::mpsc;

use super::books::Books;
use super::config::Caps;
use super::control::{Control, DIALS, Link, Links, OPENINGS, OpenError, Opening, WAITING};
use super::handler::{Handler, Protocols};
use super::hop::Hop;
use crate::peer;

/// What the behaviour wants of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A connection to this node. Answered by one, or by [`Behaviour::unreachable`].
    Dial(NodeId),
}

/// The behaviour.
pub(crate) struct Behaviour {
    protocols: Protocols,
    caps: Caps,
    warm: Duration,
    hop: Option<Arc<Hop>>,
    links: Links,
    dials: mpsc::Receiver<(NodeId, Opening)>,
    waiting: BTreeMap<NodeId, Vec<Opening>>,
    /// Connections between their handler's making and their announcement.
    unborn: BTreeMap<ConnectionId, Link>,
    events: VecDeque<Event>,
}

impl Behaviour {
    /// The behaviour, and the way to open streams through it.
    pub(crate) fn new(protocols: Protocols, caps: Caps, warm: Duration) -> (Self, Control) {
        let (sender, dials) = mpsc::channel(DIALS);
        let links = Links::default();
        let control = Control { links: links.clone(), dials: sender };
        let behaviour = Self {
            protocols,
            caps,
            warm,
            hop: None,
            links,
            dials,
            waiting: BTreeMap::new(),
            unborn: BTreeMap::new(),
            events: VecDeque::new(),
        };
        (behaviour, control)
    }

    /// From now on streams of peers are taken. To be called before there is any connection.
    pub(crate) fn listen(&mut self, hop: Arc<Hop>) {
        self.hop = Some(hop);
    }

    /// There will be no connection with `node` now.
    pub(crate) fn unreachable(&mut self, node: &NodeId) {
        for opening in self.waiting.remove(node).unwrap_or_default() {
            let _given_up = opening.reply.send(Err(OpenError::Unreachable));
        }
    }

    /// Forgets openings that nobody waits for any more. To be called every second or so.
    pub(crate) fn tidy(&mut self) {
        self.waiting.retain(|_, openings| {
            openings.retain(|opening| !opening.reply.is_closed());
            !openings.is_empty()
        });
    }

    /// Peers that anything runs with.
    pub(crate) fn in_use(&self) -> Vec<NodeId> {
        let links = self.links.lock();
        links
            .values()
            .filter_map(|links| links.last())
            .map(|link| &link.books)
            .filter(|books| books.in_use())
            .map(|books| books.node)
            .collect()
    }

    fn handler(&mut self, connection: ConnectionId, peer: PeerId) -> Result<Handler, ConnectionDenied> {
        let node = peer::node_id(&peer).map_err(ConnectionDenied::new)?;
        let known = self.links.lock().get(&peer).and_then(|links| links.last()).map(|link| Arc::clone(&link.books));
        let books = known.unwrap_or_else(|| Arc::new(Books::new(node, &self.caps)));
        let (openings, received) = mpsc::channel(OPENINGS);
        self.unborn.insert(connection, Link { connection, openings, books: Arc::clone(&books) });
        Ok(Handler {
            protocols: self.protocols.clone(),
            books,
            openings: received,
            hop: self.hop.clone(),
            warm: self.warm,
            last_used: None,
        })
    }

    fn on_established(&mut self, established: ConnectionEstablished<'_>) {
        let Some(link) = self.unborn.remove(&established.connection_id) else { return };
        let node = link.books.node;
        self.links.lock().entry(established.peer_id).or_default().push(link);
        for opening in self.waiting.remove(&node).unwrap_or_default() {
            if let Err(opening) = self.links.dispatch(&established.peer_id, opening) {
                let _given_up = opening.reply.send(Err(OpenError::Busy));
            }
        }
    }

    fn on_closed(&mut self, closed: ConnectionClosed<'_>) {
        let mut links = self.links.lock();
        if let Some(of_peer) = links.get_mut(&closed.peer_id) {
            of_peer.retain(|link| link.connection != closed.connection_id);
            if of_peer.is_empty() {
                links.remove(&closed.peer_id);
            }
        }
    }

    /// An opening to a peer that was not connected when it was made.
    fn on_dial(&mut self, node: NodeId, opening: Opening) {
        if let Err(opening) = self.links.dispatch(&peer::peer_id(&node), opening) {
            if self.waiting.values().map(Vec::len).sum::<usize>() >= WAITING {
                let _given_up = opening.reply.send(Err(OpenError::Busy));
                return;
            }
            self.waiting.entry(node).or_default().push(opening);
            self.events.push_back(Event::Dial(node));
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(connection, peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(connection, peer)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => self.on_established(established),
            FromSwarm::ConnectionClosed(closed) => self.on_closed(closed),
            FromSwarm::DialFailure(failure) => {
                self.unborn.remove(&failure.connection_id);
            }
            FromSwarm::ListenFailure(failure) => {
                self.unborn.remove(&failure.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        libp2p::core::util::unreachable(event)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        while let Poll::Ready(Some((node, opening))) = self.dials.poll_recv(cx) {
            self.on_dial(node, opening);
        }
        match self.events.pop_front() {
            Some(event) => Poll::Ready(ToSwarm::GenerateEvent(event)),
            None => Poll::Pending,
        }
    }
}
