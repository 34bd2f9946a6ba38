//! A peer that does as it likes: it opens streams of any name, writes any bytes, accepts what it is offered, and counts
//! what it was told.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, StreamExt as _};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, Stream, SubstreamProtocol, SwarmEvent, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm};
use sotto_behaviours::network::Timeouts;
use sotto_behaviours::transport::{BoundTcp, multiaddr};
use sotto_behaviours::{host, peer};
use sotto_proto::id::NodeId;
use sotto_proto::net_addr::NodeAddr;

use super::any_of::AnyOf;
use super::keypair;
use super::memory::MemoryNet;

/// What a hostile peer has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// By protocol: streams that the other side opened to us.
    pub(crate) opened: BTreeMap<String, usize>,
    /// By protocol: bytes that came on streams that the other side opened.
    pub(crate) pushed: BTreeMap<String, Vec<u8>>,
    /// What came of the own streams, in the order they ended.
    pub(crate) answers: Vec<(String, io::Result<Vec<u8>>)>,
    /// Whether a connection is open.
    pub(crate) connected: bool,
    /// How many were, all in all.
    pub(crate) connections: usize,
}

/// The peer, driven by a task of its own.
#[derive(Clone)]
pub(crate) struct Hostile {
    pub(crate) seen: Arc<Mutex<Seen>>,
    orders: tokio::sync::mpsc::Sender<Order>,
}

#[derive(Clone, Debug)]
struct Order {
    to: NodeId,
    protocol: StreamProtocol,
    bytes: Vec<u8>,
    /// Whether to end the own half after the bytes.
    finish: bool,
    /// Whether to read what comes back.
    read: bool,
}

impl Hostile {
    /// Connects to `target` and accepts streams of `accepts`. `from`: over TCP from this address.
    pub(crate) fn connect(
        seed: u8,
        target: (NodeId, NodeAddr),
        accepts: Vec<StreamProtocol>,
        from: Option<std::net::IpAddr>,
    ) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let timeouts = Timeouts::default();
        let transport = match from {
            Some(ip) => host::secure(BoundTcp::new(Some(ip), true), &keypair(seed), &timeouts, |_| true),
            None => host::secure(MemoryNet::default(), &keypair(seed), &timeouts, |_| true),
        };
        let behaviour = Behaviour { accepts, seen: Arc::clone(&seen), orders: VecDeque::new() };
        let mut swarm = host::swarm(transport.unwrap(), behaviour, &keypair(seed), &timeouts);
        let (orders, mut received) = tokio::sync::mpsc::channel::<Order>(8192);
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            dial(&mut swarm, target);
            loop {
                tokio::select! {
                    order = received.recv() => match order {
                        Some(order) => swarm.behaviour_mut().orders.push_back(order),
                        None => return,
                    },
                    event = swarm.select_next_some() => match event {
                        SwarmEvent::ConnectionEstablished { .. } => {
                            let mut seen = shared.lock().unwrap();
                            seen.connected = true;
                            seen.connections += 1;
                        }
                        SwarmEvent::ConnectionClosed { num_established: 0, .. } => {
                            shared.lock().unwrap().connected = false;
                            dial(&mut swarm, target);
                        }
                        SwarmEvent::OutgoingConnectionError { .. } => {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                            dial(&mut swarm, target);
                        }
                        _ => {}
                    },
                }
            }
        });
        Self { seen, orders }
    }

    /// Opens a stream, writes, and reads until the other side ends it.
    pub(crate) fn send(&self, to: NodeId, protocol: &StreamProtocol, bytes: Vec<u8>, finish: bool) {
        self.order(Order { to, protocol: protocol.clone(), bytes, finish, read: true });
    }

    /// Opens a stream, writes, and never reads what comes back.
    pub(crate) fn send_unread(&self, to: NodeId, protocol: &StreamProtocol, bytes: Vec<u8>) {
        self.order(Order { to, protocol: protocol.clone(), bytes, finish: true, read: false });
    }

    fn order(&self, order: Order) {
        self.orders.try_send(order).unwrap();
    }

    pub(crate) fn see<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap())
    }

    /// Bytes that came on streams of this protocol, whoever opened them.
    pub(crate) fn bytes_of(&self, protocol: &StreamProtocol) -> usize {
        self.see(|seen| {
            let pushed = seen.pushed.get(protocol.as_ref()).map_or(0, Vec::len);
            let answered = seen.answers.iter().filter(|(name, _)| name == protocol.as_ref());
            pushed + answered.map(|(_, answer)| answer.as_ref().map_or(0, Vec::len)).sum::<usize>()
        })
    }
}

fn dial(swarm: &mut Swarm<Behaviour>, (node, address): (NodeId, NodeAddr)) {
    let opts = libp2p::swarm::dial_opts::DialOpts::peer_id(peer::peer_id(&node))
        .addresses(vec![multiaddr(&address)])
        .allocate_new_port()
        .build();
    let _already_connected = swarm.dial(opts);
}

struct Behaviour {
    accepts: Vec<StreamProtocol>,
    seen: Arc<Mutex<Seen>>,
    orders: VecDeque<Order>,
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = std::convert::Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.accepts.clone(), Arc::clone(&self.seen)))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.accepts.clone(), Arc::clone(&self.seen)))
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if !self.seen.lock().unwrap().connected {
            return Poll::Pending;
        }
        match self.orders.pop_front() {
            Some(order) => Poll::Ready(ToSwarm::NotifyHandler {
                peer_id: peer::peer_id(&order.to),
                handler: NotifyHandler::Any,
                event: order,
            }),
            None => Poll::Pending,
        }
    }
}

struct Handler {
    accepts: Vec<StreamProtocol>,
    seen: Arc<Mutex<Seen>>,
    pending: VecDeque<Order>,
    work: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Handler {
    fn new(accepts: Vec<StreamProtocol>, seen: Arc<Mutex<Seen>>) -> Self {
        Self { accepts, seen, pending: VecDeque::new(), work: FuturesUnordered::new() }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Order;
    type ToBehaviour = std::convert::Infallible;
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
        self.pending.push_back(order);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Order, Self::ToBehaviour>> {
        while let Poll::Ready(Some(())) = self.work.poll_next_unpin(cx) {}
        if let Some(order) = self.pending.pop_front() {
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
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (name, stream), .. }) => {
                *self.seen.lock().unwrap().opened.entry(name.to_string()).or_default() += 1;
                self.work.push(listen(stream, name, Arc::clone(&self.seen)).boxed());
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, info: order }) => {
                self.work.push(speak(stream, order, Arc::clone(&self.seen)).boxed());
            }
            ConnectionEvent::DialUpgradeError(error) => {
                let failure = io::Error::other(error.error.to_string());
                self.seen.lock().unwrap().answers.push((error.info.protocol.to_string(), Err(failure)));
            }
            _ => {}
        }
    }
}

async fn listen(mut stream: Stream, name: StreamProtocol, seen: Arc<Mutex<Seen>>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        seen.lock().unwrap().pushed.entry(name.to_string()).or_default().extend_from_slice(&buffer[..count]);
    }
}

async fn speak(mut stream: Stream, order: Order, seen: Arc<Mutex<Seen>>) {
    let talk = async {
        stream.write_all(&order.bytes).await?;
        stream.flush().await?;
        if order.finish {
            stream.close().await?;
        }
        if !order.read {
            std::future::pending::<()>().await;
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(answer)
    };
    let answer = talk.await;
    seen.lock().unwrap().answers.push((order.protocol.to_string(), answer));
}

/// gossipsub frames, written by hand.
pub(crate) mod rpc {
    /// `SUBSCRIBE topic`, `GRAFT topic` and `IWANT ids` in one frame.
    pub(crate) fn subscribe_graft_iwant(topic: &str, ids: &[Vec<u8>]) -> Vec<u8> {
        let subscription = [field(1, &Value::Number(1)), field(2, &Value::Bytes(topic.as_bytes()))].concat();
        let graft = field(1, &Value::Bytes(topic.as_bytes()));
        let wanted: Vec<u8> = ids.iter().flat_map(|id| field(1, &Value::Bytes(id))).collect();
        let control = [field(2, &Value::Bytes(&wanted)), field(3, &Value::Bytes(&graft))].concat();
        frame(&[field(1, &Value::Bytes(&subscription)), field(3, &Value::Bytes(&control))].concat())
    }

    /// `SUBSCRIBE topic` and `IHAVE ids` in one frame.
    pub(crate) fn subscribe_ihave(topic: &str, ids: &[Vec<u8>]) -> Vec<u8> {
        let subscription = [field(1, &Value::Number(1)), field(2, &Value::Bytes(topic.as_bytes()))].concat();
        let had: Vec<u8> = ids.iter().flat_map(|id| field(2, &Value::Bytes(id))).collect();
        let had = [field(1, &Value::Bytes(topic.as_bytes())), had].concat();
        let control = field(1, &Value::Bytes(&had));
        frame(&[field(1, &Value::Bytes(&subscription)), field(3, &Value::Bytes(&control))].concat())
    }

    /// A message on `topic`.
    pub(crate) fn publish(topic: &str, data: &[u8]) -> Vec<u8> {
        let message = [field(2, &Value::Bytes(data)), field(4, &Value::Bytes(topic.as_bytes()))].concat();
        frame(&field(2, &Value::Bytes(&message)))
    }

    enum Value<'a> {
        Number(u64),
        Bytes(&'a [u8]),
    }

    fn field(number: u64, value: &Value<'_>) -> Vec<u8> {
        match value {
            Value::Number(value) => [varint(number << 3), varint(*value)].concat(),
            Value::Bytes(bytes) => [varint(number << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat(),
        }
    }

    fn frame(bytes: &[u8]) -> Vec<u8> {
        [varint(bytes.len() as u64), bytes.to_vec()].concat()
    }

    fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }
}
