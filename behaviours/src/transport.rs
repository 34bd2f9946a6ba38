//! TCP whose outgoing sockets are bound to the address the host listens on.
//!
//! libp2p's own transport either reuses the listening *port* for dialling, which on one machine makes simultaneous
//! opens and address clashes, or does not bind at all, so that all hosts of a machine dial from one address and a
//! multi-homed host from whichever the routing table picks. Bound to the listening IP and port 0, who talks to whom can
//! be told from the addresses alone.
//!
//! Listening is libp2p's. Dialling is here, and is the one place that every dial goes through: addresses that
//! [`NodeAddr::dialable`] refuses never see a packet.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use libp2p::core::transport::{DialOpts, ListenerId, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::tcp::tokio::TcpStream;
use libp2p::{Multiaddr, Transport, TransportError, tcp};
use sotto_proto::net_addr::NodeAddr;
use tokio::net::TcpSocket;

/// The transport. Must be used inside a tokio runtime.
pub struct BoundTcp {
    listening: tcp::tokio::Transport,
    bind: Option<IpAddr>,
    private_allowed: bool,
    /// Connections taken since the host last did anything else.
    taken: usize,
}

/// Connections that are taken in one turn: the host does nothing else meanwhile, and whoever floods it has the next ones
/// ready before it is done with these.
const TAKEN: usize = 8;

impl BoundTcp {
    /// Binds outgoing sockets to `bind`, where it is a specified address of the family dialled.
    #[must_use]
    pub fn new(bind: Option<IpAddr>, private_allowed: bool) -> Self {
        Self {
            listening: tcp::tokio::Transport::new(tcp::Config::new()),
            bind: bind.filter(|ip| !ip.is_unspecified()),
            private_allowed,
            taken: 0,
        }
    }
}

impl Transport for BoundTcp {
    type Output = TcpStream;
    type Error = io::Error;
    type ListenerUpgrade = <tcp::tokio::Transport as Transport>::ListenerUpgrade;
    type Dial = BoxFuture<'static, io::Result<TcpStream>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        // libp2p listens with SO_REUSEPORT, so that a second process on the same port would silently get half of the
        // connections. A socket without it finds the port taken.
        if let Some(taken) = node_addr(&address).filter(|address| address.port != 0) {
            std::net::TcpListener::bind(taken.socket_addr()).map_err(TransportError::Other)?;
        }
        self.listening.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.listening.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let Some(remote) = node_addr(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        if remote.ip.is_unspecified() || !remote.dialable(self.private_allowed) {
            let refusal = remote.refusal().map_or_else(|| "unspecified address or port".into(), |why| why.to_string());
            return Err(TransportError::Other(io::Error::new(io::ErrorKind::PermissionDenied, refusal)));
        }
        let bind = self.bind.filter(|ip| ip.is_ipv4() == remote.ip.is_ipv4());
        Ok(connect(remote.socket_addr(), bind).boxed())
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        if self.taken >= TAKEN {
            self.taken = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let event = Pin::new(&mut self.listening).poll(cx);
        self.taken = match &event {
            Poll::Ready(TransportEvent::Incoming { .. }) => self.taken + 1,
            Poll::Ready(_) => self.taken,
            Poll::Pending => 0,
        };
        event
    }
}

async fn connect(remote: SocketAddr, bind: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    if let Some(ip) = bind {
        socket.bind(SocketAddr::new(ip, 0))?;
    }
    socket.connect(remote).await.map(TcpStream)
}

/// Reads `/ip4|/ip6 / tcp [/ p2p]`, the only form that nodes have.
#[must_use]
pub fn node_addr(address: &Multiaddr) -> Option<NodeAddr> {
    let mut parts = address.iter();
    let ip = ip_of(parts.next()?)?;
    let Protocol::Tcp(port) = parts.next()? else { return None };
    match (parts.next(), parts.next()) {
        (None | Some(Protocol::P2p(_)), None) => Some(NodeAddr::new(ip, port)),
        _ => None,
    }
}

/// The IP address that a multiaddr begins with.
#[must_use]
pub fn ip(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().next().and_then(ip_of)
}

fn ip_of(part: Protocol<'_>) -> Option<IpAddr> {
    match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

/// The multiaddr of a node's address.
#[must_use]
pub fn multiaddr(address: &NodeAddr) -> Multiaddr {
    Multiaddr::from(address.ip).with(Protocol::Tcp(address.port))
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use futures::stream::poll_fn;
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;

    use super::*;

    const OPTS: DialOpts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };

    #[tokio::test]
    async fn outgoing_connections_come_from_the_listening_address() {
        let mut listener = BoundTcp::new(None, true);
        listener.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let mut events = poll_fn(|cx| Pin::new(&mut listener).poll(cx).map(Some));
        let Some(TransportEvent::NewAddress { listen_addr, .. }) = events.next().await else { panic!("no address") };

        let mut dialer = BoundTcp::new(Some("127.77.0.1".parse().unwrap()), true);
        let dialled = tokio::spawn(dialer.dial(listen_addr, OPTS).unwrap());
        let Some(TransportEvent::Incoming { send_back_addr, .. }) = events.next().await else { panic!("nobody came") };
        assert_eq!(ip(&send_back_addr), Some("127.77.0.1".parse().unwrap()));
        assert!(dialled.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_crowd_of_connections_is_taken_a_few_at_a_time() {
        let mut listener = BoundTcp::new(None, true);
        listener.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let address = {
            let mut events = poll_fn(|cx| Pin::new(&mut listener).poll(cx).map(Some));
            let Some(TransportEvent::NewAddress { listen_addr, .. }) = events.next().await else {
                panic!("no address")
            };
            node_addr(&listen_addr).unwrap().socket_addr()
        };
        let crowd: Vec<_> = (0..3 * TAKEN).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let mut turns = Vec::new();
        while turns.iter().sum::<usize>() < crowd.len() {
            let taken = poll_fn(|cx| {
                let mut taken = 0;
                while let Poll::Ready(event) = Pin::new(&mut listener).poll(cx) {
                    taken += usize::from(matches!(event, TransportEvent::Incoming { .. }));
                }
                // Whoever has a turn in between: the waker was told, so nothing is lost.
                if taken > 0 { Poll::Ready(Some(taken)) } else { Poll::Pending }
            });
            turns.push(Box::pin(taken).next().await.unwrap());
        }
        assert!(turns.iter().all(|taken| *taken <= TAKEN), "{turns:?}");
    }

    #[tokio::test]
    async fn private_addresses_are_not_dialled_unless_allowed() {
        let mut transport = BoundTcp::new(None, false);
        for address in ["/ip4/127.0.0.1/tcp/4000", "/ip4/169.254.169.254/tcp/80", "/ip4/8.8.8.8/tcp/22"] {
            let error = transport.dial(address.parse().unwrap(), OPTS).err();
            assert!(
                matches!(&error, Some(TransportError::Other(e)) if e.kind() == io::ErrorKind::PermissionDenied),
                "{address}: {error:?}"
            );
        }
    }

    #[tokio::test]
    async fn only_ip_and_tcp_is_dialled() {
        let mut transport = BoundTcp::new(None, true);
        for address in
            ["/dns4/example.org/tcp/1", "/ip4/127.0.0.1/udp/1/quic-v1", "/ip4/127.0.0.1/tcp/1/ws", "/memory/1"]
        {
            assert!(matches!(
                transport.dial(address.parse().unwrap(), OPTS),
                Err(TransportError::MultiaddrNotSupported(_))
            ));
        }
        assert!(matches!(transport.dial("/ip4/127.0.0.1/tcp/0".parse().unwrap(), OPTS), Err(TransportError::Other(_))));
    }
}
