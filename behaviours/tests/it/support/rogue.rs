//! A node or client whose path and tunnel streams are in the hands of the test: it takes and opens raw streams, and
//! does on them what it likes.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, DialError, FromSwarm, NetworkBehaviour,
    NotifyHandler, Stream, SubstreamProtocol, SwarmEvent, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use sotto_behaviours::names::Names;
use sotto_behaviours::network::Timeouts;
use sotto_behaviours::transport::{BoundTcp, multiaddr};
use sotto_behaviours::{host, peer};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::any_of::AnyOf;
use super::memory::MemoryNet;
use super::{Net, keypair, node_of};
use crate::test_support::CHAIN;

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// The peer, driven by a task of its own.
pub(crate) struct Rogue {
    streams: mpsc::Receiver<Taken>,
    orders: mpsc::Sender<(u8, Order)>,
    met: Arc<Mutex<Vec<(PeerId, Multiaddr)>>>,
    task: JoinHandle<()>,
}

/// A stream, and who opened it.
type Taken = (PeerId, (StreamProtocol, Stream));

impl Drop for Rogue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Order {
    protocol: StreamProtocol,
    opened: oneshot::Sender<Stream>,
}

impl Rogue {
    /// Listens as `seed`, and takes path and tunnel streams.
    pub(crate) fn new(net: &Net, seed: u8) -> Self {
        let names = Names::new(&CHAIN);
        Self::taking(net, seed, vec![names.path(), names.tunnel()])
    }

    /// Listens as `seed`, and takes streams of these protocols.
    pub(crate) fn taking(net: &Net, seed: u8, mut accepts: Vec<StreamProtocol>) -> Self {
        let timeouts = Timeouts::default();
        let transport = if net.tcp {
            host::secure(BoundTcp::new(Some(net.address(seed).ip), true), &keypair(seed), &timeouts, |_| true)
        } else {
            host::secure(MemoryNet::default(), &keypair(seed), &timeouts, |_| true)
        };
        let transport = transport.unwrap();
        let names = Names::new(&CHAIN);
        accepts.push(names.chain());
        let behaviour =
            Behaviour { accepts, orders: VecDeque::new(), taken: VecDeque::new(), connected: BTreeSet::new() };
        let mut swarm = host::swarm(transport, behaviour, &keypair(seed), &timeouts);
        swarm.listen_on(multiaddr(&net.address(seed))).unwrap();
        let (sender, streams) = mpsc::channel(65_536);
        let (orders, mut received) = mpsc::channel::<(u8, Order)>(64);
        let known = net.clone();
        let met = Arc::<Mutex<Vec<_>>>::default();
        let meets = Arc::clone(&met);
        let task = tokio::spawn(async move {
            // Whoever does not speak `chain` is taken for a host of another network; to keep silent on it is enough.
            let mut silent = Vec::new();
            loop {
                tokio::select! {
                    Some((to, order)) = received.recv() => {
                        let peer = peer::peer_id(&node_of(to));
                        if !swarm.is_connected(&peer) {
                            let at = vec![multiaddr(&known.address(to))];
                            match swarm.dial(DialOpts::peer_id(peer).addresses(at).allocate_new_port().build()) {
                                // Another stream was asked for a moment ago.
                                Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
                                Err(error) => panic!("{error}"),
                            }
                        }
                        swarm.behaviour_mut().orders.push_back((peer, order));
                    }
                    event = swarm.select_next_some() => match event {
                        SwarmEvent::Behaviour((_, (name, stream))) if name == names.chain() => silent.push(stream),
                        SwarmEvent::Behaviour(taken) => sender.send(taken).await.unwrap(),
                        SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } => {
                            meets.lock().unwrap().push((peer_id, endpoint.get_remote_address().clone()));
                        }
                        _ => {}
                    },
                }
            }
        });
        Self { streams, orders, met, task }
    }

    /// Ends it, and waits until nothing of it is left.
    pub(crate) async fn stop(mut self) {
        self.task.abort();
        drop((&mut self.task).await);
    }

    /// The next stream that somebody opened to it.
    pub(crate) async fn accept(&mut self) -> (StreamProtocol, Stream) {
        self.accept_from().await.1
    }

    /// The same, and who opened it.
    pub(crate) async fn accept_from(&mut self) -> Taken {
        tokio::time::timeout(DEADLINE, self.streams.recv()).await.unwrap().unwrap()
    }

    /// Whom it was ever connected with, and at which address it saw them.
    pub(crate) fn met(&self) -> Vec<(PeerId, Multiaddr)> {
        self.met.lock().unwrap().clone()
    }

    /// Streams that were opened to it and not taken.
    pub(crate) fn waiting(&self) -> usize {
        self.streams.len()
    }

    /// Opens a stream; dials first.
    pub(crate) async fn open(&self, to: u8, protocol: StreamProtocol) -> Stream {
        let (opened, stream) = oneshot::channel();
        self.orders.send((to, Order { protocol, opened })).await.unwrap();
        tokio::time::timeout(DEADLINE, stream).await.unwrap().unwrap()
    }
}

struct Behaviour {
    accepts: Vec<StreamProtocol>,
    orders: VecDeque<(PeerId, Order)>,
    taken: VecDeque<Taken>,
    connected: BTreeSet<PeerId>,
}

impl Behaviour {
    fn handler(&self) -> Handler {
        Handler { accepts: self.accepts.clone(), orders: VecDeque::new(), taken: VecDeque::new() }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Taken;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                self.connected.insert(established.peer_id);
            }
            FromSwarm::ConnectionClosed(closed) if closed.remaining_established == 0 => {
                self.connected.remove(&closed.peer_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        self.taken.push_back((peer, event));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(taken) = self.taken.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(taken));
        }
        let ready = self.orders.iter().position(|(peer, _)| self.connected.contains(peer));
        if let Some((peer_id, event)) = ready.and_then(|index| self.orders.remove(index)) {
            return Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::Any, event });
        }
        Poll::Pending
    }
}

struct Handler {
    accepts: Vec<StreamProtocol>,
    orders: VecDeque<Order>,
    taken: VecDeque<(StreamProtocol, Stream)>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Order;
    type ToBehaviour = (StreamProtocol, Stream);
    type InboundProtocol = AnyOf;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Order;

    fn listen_protocol(&self) -> SubstreamProtocol<AnyOf> {
        SubstreamProtocol::new(AnyOf(self.accepts.clone()), ())
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn on_behaviour_event(&mut self, order: Order) {
        self.orders.push_back(order);
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Order, Self::ToBehaviour>> {
        if let Some(taken) = self.taken.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(taken));
        }
        if let Some(order) = self.orders.pop_front() {
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(order.protocol.clone()), order);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Order>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                self.taken.push_back(protocol);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, info }) => {
                drop(info.opened.send(stream));
            }
            _ => {}
        }
    }
}
