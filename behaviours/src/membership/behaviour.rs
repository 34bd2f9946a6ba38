//! [`State`] as a libp2p behaviour: dials, closes, reports. It speaks no protocol of its own.

use std::collections::BTreeSet;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::derive_prelude::{ConnectionClosed, ConnectionEstablished, DialFailure};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use rand_chacha::ChaCha20Rng;
use sotto_proto::id::NodeId;
use sotto_proto::network::NetworkView;

use super::state::{Cause, CloseReason, Direction, Output, Settings, State, Unreachable};
use crate::clock::Clock;
use crate::peer;
use crate::transport::multiaddr;

/// What the rules did that others want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A dial failed; there is no connection with this peer.
    Unreachable(NodeId),
    /// Connections with this peer are being closed.
    Closing(NodeId, CloseReason),
}

/// The behaviour.
pub struct Behaviour {
    state: State<ConnectionId>,
    clock: Clock,
    timer: Pin<Box<tokio::time::Sleep>>,
    /// Reports that follow a close; one at a time, as `poll` empties it first.
    closing: Option<Event>,
}

impl Behaviour {
    /// Starts the rules. Must be called inside a tokio runtime.
    #[must_use]
    pub(crate) fn new(settings: Settings, rng: ChaCha20Rng, clock: Clock) -> Self {
        let timer = Box::pin(tokio::time::sleep_until(clock.instant(clock.monotonic())));
        Self { state: State::new(settings, rng), clock, timer, closing: None }
    }

    /// The network changed.
    pub fn set_view(&mut self, view: Arc<NetworkView>) {
        self.state.set_view(view, self.clock.monotonic());
    }

    /// Somebody is about to send to `node`.
    ///
    /// # Errors
    /// [`Unreachable`] when there is no connection and none is tried.
    pub fn demand(&mut self, node: NodeId) -> Result<(), Unreachable> {
        self.state.demand(node, self.clock.monotonic())
    }

    /// Something was sent to `node` or came from it.
    pub fn used(&mut self, node: NodeId) {
        self.state.used(node, self.clock.monotonic());
    }

    /// Two pings in a row failed.
    pub fn ping_failed(&mut self, node: NodeId) {
        self.state.ping_failed(node);
    }

    /// The peer speaks none of our protocols.
    pub fn foreign(&mut self, node: NodeId) {
        self.state.foreign(node);
    }

    /// Which connected peers are not subscribed to a topic that they should be.
    pub fn deaf(&mut self, deaf: &BTreeSet<NodeId>) {
        self.state.deaf(deaf, self.clock.monotonic());
    }

    /// The rules, to look at.
    #[must_use]
    pub const fn state(&self) -> &State<ConnectionId> {
        &self.state
    }

    fn on_dial_failure(&mut self, failure: DialFailure<'_>) {
        // Refused because there is a connection or a dial already: neither a failure nor one of ours, which are never
        // asked for then.
        if matches!(failure.error, DialError::DialPeerConditionFalse(_)) {
            return;
        }
        if let Some(node) = failure.peer_id.and_then(|peer| peer::node_id(&peer).ok()) {
            tracing::debug!(node = node.short(), error = %failure.error, "dial failed");
            self.state.dial_failed(node, self.clock.monotonic());
        }
    }

    fn on_established(&mut self, established: ConnectionEstablished<'_>) {
        let Ok(node) = peer::node_id(&established.peer_id) else { return };
        let direction = match established.endpoint {
            ConnectedPoint::Dialer { .. } => Direction::Dialed,
            ConnectedPoint::Listener { .. } => Direction::Accepted,
        };
        self.state.established(node, established.connection_id, direction, self.clock.monotonic());
    }

    fn on_closed(&mut self, closed: ConnectionClosed<'_>) {
        let Ok(node) = peer::node_id(&closed.peer_id) else { return };
        let cause = if closed.cause.is_none() { Cause::Own } else { Cause::Other };
        self.state.closed(node, closed.connection_id, cause, self.clock.monotonic());
    }

    fn translate(&mut self, output: Output) -> ToSwarm<Event, THandlerInEvent<Self>> {
        match output {
            Output::Dial { node, addresses } => {
                let opts = DialOpts::peer_id(peer::peer_id(&node))
                    .condition(PeerCondition::DisconnectedAndNotDialing)
                    .addresses(addresses.iter().map(multiaddr).collect())
                    .allocate_new_port()
                    .build();
                ToSwarm::Dial { opts }
            }
            Output::Close { node, reason } => {
                self.closing = Some(Event::Closing(node, reason));
                ToSwarm::CloseConnection { peer_id: peer::peer_id(&node), connection: CloseConnection::All }
            }
            Output::Unreachable { node } => ToSwarm::GenerateEvent(Event::Unreachable(node)),
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        known_key(&peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        known_key(&peer)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => self.on_established(established),
            FromSwarm::ConnectionClosed(closed) => self.on_closed(closed),
            FromSwarm::DialFailure(failure) => self.on_dial_failure(failure),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        libp2p::core::util::unreachable(event)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        if let Some(event) = self.closing.take() {
            return Poll::Ready(ToSwarm::GenerateEvent(event));
        }
        loop {
            if let Some(output) = self.state.poll_output() {
                return Poll::Ready(self.translate(output));
            }
            let Some(at) = self.state.next_timeout() else { return Poll::Pending };
            let now = self.clock.monotonic();
            if at > now {
                let at = self.clock.instant(at);
                if self.timer.deadline() != at {
                    self.timer.as_mut().reset(at);
                }
                if self.timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            self.state.timeout(self.clock.monotonic().max(now));
        }
    }
}

/// Keys of other types than Ed25519 are no part of this network.
fn known_key(peer: &PeerId) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
    peer::node_id(peer).map_err(ConnectionDenied::new)?;
    Ok(dummy::ConnectionHandler)
}
