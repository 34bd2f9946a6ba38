//! The way to a node for libp2p's upgrades: a transport that dials nothing but what [`Scene::connect_to`] connects with.

use std::io;
use std::net::{IpAddr, SocketAddrV4};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Pending};
use libp2p::core::transport::{DialOpts, ListenerId, TransportEvent};
use libp2p::tcp::tokio::TcpStream;
use libp2p::{Multiaddr, Transport, TransportError};
use sotto_behaviours::transport::node_addr;

use super::super::Scene;

/// Dials as attacker `source`; never listens.
pub(super) struct Dialer {
    scene: Arc<Scene>,
    source: usize,
}

impl Dialer {
    pub(super) const fn new(scene: Arc<Scene>, source: usize) -> Self {
        Self { scene, source }
    }
}

impl Transport for Dialer {
    type Output = TcpStream;
    type Error = io::Error;
    type ListenerUpgrade = Pending<io::Result<TcpStream>>;
    type Dial = BoxFuture<'static, io::Result<TcpStream>>;

    fn listen_on(&mut self, _: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let Some(to) = node_addr(&address).and_then(|address| match address.ip {
            IpAddr::V4(ip) => Some(SocketAddrV4::new(ip, address.port)),
            IpAddr::V6(_) => None,
        }) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let (scene, source) = (Arc::clone(&self.scene), self.source);
        Ok(async move { scene.connect_to(to, source).await }.boxed())
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Poll::Pending
    }
}
