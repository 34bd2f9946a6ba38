//! What every attack is given.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::tcp::tokio::TcpStream;
use rand_chacha::ChaCha20Rng;
use tokio::net::TcpSocket;
use tokio_util::sync::CancellationToken;

use super::{Tally, Victim};
use crate::bench::{Network, seeded};
use crate::control::{self, Action, Done, Request};
use crate::failure::Failure;
use crate::plan::Plan;
use crate::target::Target;

/// How long the victim may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Attackers have addresses from 127.20.0.1 on, so many /16: far from those of nodes.
const FIRST_OCTET: u8 = 20;
const NETWORKS: usize = 50;
/// Addresses in each of them.
const HOSTS: usize = 200;

/// The stage of one attack.
pub(crate) struct Scene {
    /// The genesis and the node list, as a client has them.
    pub(crate) network: Arc<Network>,
    /// Who is attacked.
    pub(crate) victim: Victim,
    /// What all draws follow from.
    pub(crate) seed: u64,
    /// Cancelled when the attack has to end.
    pub(crate) stop: CancellationToken,
    /// How long the attack lasts.
    pub(crate) lasting: Duration,
    /// Its counters.
    pub(crate) tally: Arc<Tally>,
    /// The testnet's directory.
    pub(crate) dir: PathBuf,
    /// Who runs where.
    pub(crate) plan: Arc<Plan>,
    /// Nodes that the attack has stopped.
    pub(crate) paused: Paused,
}

/// Nodes that an attack has stopped and that have to go on, however it ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paused(Arc<Mutex<BTreeSet<u16>>>);

impl Paused {
    /// Stops a node.
    pub(crate) async fn pause(&self, dir: &Path, index: u16) -> Result<(), Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(index);
        act(dir, Action::Pause, index).await
    }

    /// Lets all of them go on.
    pub(crate) async fn resume(&self, dir: &Path) -> Result<(), Failure> {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut resumed = Ok(());
        for index in all {
            resumed = resumed.and(act(dir, Action::Resume, index).await);
        }
        resumed
    }
}

async fn act(dir: &Path, action: Action, index: u16) -> Result<(), Failure> {
    let request = Request::Act { action, targets: vec![Target::Node(index)] };
    control::ask::<Done>(dir, &request).await.map(drop)
}

impl Scene {
    /// A connection with the victim from the address of attacker `source`, counted.
    pub(crate) async fn connect(&self, source: usize) -> io::Result<TcpStream> {
        self.connect_to(self.victim.listen, source).await
    }

    /// The same with any node of the testnet; anybody else is refused.
    pub(crate) async fn connect_to(&self, to: SocketAddrV4, source: usize) -> io::Result<TcpStream> {
        if !is_ours(&self.plan, to) {
            let message = format!("{to} is no loopback address of the testnet {}", self.plan.settings.name);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        let socket = TcpSocket::new_v4()?;
        socket.set_nodelay(true)?;
        socket.bind(SocketAddr::new(IpAddr::V4(address(source)), 0))?;
        let connected = tokio::time::timeout(CONNECT, socket.connect(to.into())).await;
        let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        self.tally.connected();
        Ok(TcpStream(stream))
    }

    /// A source of randomness of its own for each `role` and `index` of an attack.
    pub(crate) fn rng(&self, role: &str, index: usize) -> ChaCha20Rng {
        seeded(self.seed, &format!("attack {role}"), index)
    }

    /// The libp2p identity of an attacker whom nobody knows.
    pub(crate) fn stranger(&self, role: &str, index: usize) -> io::Result<Keypair> {
        use rand_core::Rng as _;
        let mut seed = [0; 32];
        self.rng(&format!("{role} identity"), index).fill_bytes(&mut seed);
        Keypair::ed25519_from_bytes(seed).map_err(io::Error::other)
    }
}

/// The address of attacker `source`: fifty networks, each with two hundred hosts.
pub(crate) fn address(source: usize) -> Ipv4Addr {
    let network = u8::try_from(source % NETWORKS).unwrap_or_default();
    let host = u8::try_from(source / NETWORKS % HOSTS).unwrap_or_default();
    Ipv4Addr::new(127, FIRST_OCTET + network, host, 1)
}

/// Whether this is where a process of the testnet listens for its network, on loopback.
pub(crate) fn is_ours(plan: &Plan, address: SocketAddrV4) -> bool {
    address.ip().is_loopback() && plan.nodes().any(|place| place.listen == address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Settings;

    #[test]
    fn nobody_but_nodes_of_the_testnet_is_connected_with() {
        let settings = Settings::new("dev", 42, 20, Duration::from_secs(1), 27_000).unwrap();
        let mut plan = Plan::new(settings, PathBuf::from("data"));
        for (to, ours) in [
            ("127.100.0.1:27010", true),
            ("127.119.0.1:27200", true),
            ("127.100.0.1:27011", false),
            ("127.99.0.1:27000", false),
            ("127.120.0.1:27210", false),
            ("10.0.0.1:27010", false),
            ("192.0.2.1:443", false),
        ] {
            assert_eq!(is_ours(&plan, to.parse().unwrap()), ours, "{to}");
        }
        plan.settings.nodes = 21;
        assert!(is_ours(&plan, "127.120.0.1:27210".parse().unwrap()));
    }

    #[test]
    fn attackers_have_many_addresses_none_of_which_is_a_node_s() {
        let addresses: BTreeSet<_> = (0..NETWORKS * HOSTS).map(address).collect();
        assert_eq!(addresses.len(), NETWORKS * HOSTS);
        assert!(addresses.iter().all(|ip| ip.is_loopback() && ip.octets()[1] < 99), "nodes begin at 127.100");
    }
}
