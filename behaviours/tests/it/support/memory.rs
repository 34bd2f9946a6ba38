//! libp2p's memory transport under `/ip4/…/tcp/…` addresses, so that hosts can be told nothing of it.

use std::pin::Pin;
use std::task::{Context, Poll};

use libp2p::core::transport::{DialOpts, ListenerId, MemoryTransport, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, Transport, TransportError};
use sotto_behaviours::transport::node_addr;
use sotto_proto::net_addr::NodeAddr;

/// Every IPv4 address and port is a port of the memory transport.
#[derive(Default)]
pub(crate) struct MemoryNet(MemoryTransport, Vec<ListenerId>);

impl Drop for MemoryNet {
    /// A listener that is merely dropped keeps its port.
    fn drop(&mut self) {
        for id in self.1.drain(..) {
            self.0.remove_listener(id);
        }
    }
}

fn to_memory(address: &Multiaddr) -> Option<Multiaddr> {
    let NodeAddr { ip: std::net::IpAddr::V4(ip), port } = node_addr(address)? else { return None };
    Some(Protocol::Memory(u64::from(ip.to_bits()) << 16 | u64::from(port)).into())
}

fn from_memory(address: &Multiaddr) -> Multiaddr {
    match address.iter().next() {
        Some(Protocol::Memory(port)) if port >> 48 == 0 => {
            let ip = std::net::Ipv4Addr::from_bits((port >> 16) as u32);
            sotto_behaviours::transport::multiaddr(&NodeAddr::new(ip.into(), port as u16))
        }
        _ => address.clone(),
    }
}

impl Transport for MemoryNet {
    type Output = <MemoryTransport as Transport>::Output;
    type Error = <MemoryTransport as Transport>::Error;
    type ListenerUpgrade = <MemoryTransport as Transport>::ListenerUpgrade;
    type Dial = <MemoryTransport as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        let memory = to_memory(&address).ok_or(TransportError::MultiaddrNotSupported(address))?;
        self.0.listen_on(id, memory)?;
        self.1.push(id);
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.0.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<Self::Error>> {
        let memory = to_memory(&address).ok_or(TransportError::MultiaddrNotSupported(address))?;
        self.0.dial(memory, opts)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.0).poll(cx).map(|event| match event {
            TransportEvent::NewAddress { listener_id, listen_addr } => {
                TransportEvent::NewAddress { listener_id, listen_addr: from_memory(&listen_addr) }
            }
            TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr } => {
                TransportEvent::Incoming { listener_id, upgrade, local_addr: from_memory(&local_addr), send_back_addr }
            }
            other => other,
        })
    }
}
