//! Where a service node listens: `/ip4/…/tcp/…` or `/ip6/…/tcp/…`, and which such addresses may be dialled.
//!
//! The binary form is the multiaddr encoding, one form per address; it is hashed into the node list (B7), so parsing
//! refuses everything but that one form. The same goes for the text form. `FromStr` also takes `1.2.3.4:5` and
//! `[::1]:5`, because people type that.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::codec::{DecodeError, Reader};

/// Multiaddr protocol code of `/ip4`.
const IP4: u8 = 0x04;
/// Multiaddr protocol code of `/ip6`.
const IP6: u8 = 0x29;
/// Multiaddr protocol code of `/tcp`.
const TCP: u8 = 0x06;

/// Ports below this belong to the services of a machine's operating system; only [`HTTPS`] of them may be dialled.
const FIRST_FREE_PORT: u16 = 1024;
/// The one low port that networks which block everything else let through.
const HTTPS: u16 = 443;

/// The IP address and TCP port of a service node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAddr {
    /// The IP address.
    pub ip: IpAddr,
    /// The TCP port.
    pub port: u16,
}

impl NodeAddr {
    /// The longest binary form: `/ip6 ‖ 16 bytes ‖ /tcp ‖ u16`.
    pub const MAX_BYTES: usize = 20;

    /// Port `port` at `ip`.
    #[must_use]
    pub const fn new(ip: IpAddr, port: u16) -> Self {
        Self { ip, port }
    }

    /// What sockets take.
    #[must_use]
    pub const fn socket_addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }

    /// Appends the binary multiaddr.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self.ip {
            IpAddr::V4(ip) => {
                out.push(IP4);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(IP6);
                out.extend_from_slice(&ip.octets());
            }
        }
        out.push(TCP);
        out.extend_from_slice(&self.port.to_be_bytes());
    }

    /// The binary multiaddr, 8 or 20 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::MAX_BYTES);
        self.write(&mut out);
        out
    }

    /// Reads a binary multiaddr that is `/ip4` or `/ip6`, then `/tcp`, and nothing else.
    ///
    /// # Errors
    /// [`DecodeError`] for other protocols, for bytes missing or left over.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let ip = match reader.u8()? {
            IP4 => Ipv4Addr::from(reader.array::<4>()?).into(),
            IP6 => Ipv6Addr::from(reader.array::<16>()?).into(),
            _ => return Err(DecodeError::Value("multiaddr host")),
        };
        if reader.u8()? != TCP {
            return Err(DecodeError::Value("multiaddr transport"));
        }
        let port = reader.u16()?;
        reader.finish()?;
        Ok(Self { ip, port })
    }

    /// Whether it is an IPv4 address written as an IPv6 one (RFC 4291, 2.5.5.2).
    #[must_use]
    pub const fn is_mapped(&self) -> bool {
        match self.ip {
            IpAddr::V6(ip) => ip.to_ipv4_mapped().is_some(),
            IpAddr::V4(_) => false,
        }
    }

    /// Whether a node may register this address, and whether anybody may dial it.
    ///
    /// Everything on the chain is written by strangers, and an exit dials what a stranger names: without this rule both
    /// are scanners of private networks. Asked by the chain's rules, by every dialer, and by exits about the *resolved*
    /// address that is then dialled. That an address is not the asker's own is for the asker to check.
    ///
    /// `private_allowed` is the genesis parameter that the testnet preset sets; it lifts the whole rule but for port 0,
    /// where nobody can listen.
    #[must_use]
    pub fn dialable(&self, private_allowed: bool) -> bool {
        self.port != 0 && (private_allowed || self.refusal().is_none())
    }

    /// Why the address may not be dialled where private addresses are not allowed, or `None` if it may.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        if self.port < FIRST_FREE_PORT && self.port != HTTPS {
            return Some(Refusal::Port);
        }
        match self.ip {
            IpAddr::V4(ip) => refusal_v4(ip),
            IpAddr::V6(ip) => refusal_v6(ip),
        }
    }
}

impl From<SocketAddr> for NodeAddr {
    /// Drops an IPv6 scope and flow label: they mean nothing on another machine.
    fn from(address: SocketAddr) -> Self {
        Self { ip: address.ip(), port: address.port() }
    }
}

impl fmt::Display for NodeAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            IpAddr::V4(ip) => write!(f, "/ip4/{ip}/tcp/{}", self.port),
            IpAddr::V6(ip) => write!(f, "/ip6/{ip}/tcp/{}", self.port),
        }
    }
}

/// A text that is not a node's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address such as /ip4/1.2.3.4/tcp/5000, /ip6/2600::1/tcp/5000 or 1.2.3.4:5000")]
pub struct ParseNodeAddrError(String);

impl FromStr for NodeAddr {
    type Err = ParseNodeAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = if text.starts_with('/') { parse_multiaddr(text) } else { parse_socket(text) };
        parsed.ok_or_else(|| ParseNodeAddrError(text.chars().take(160).collect()))
    }
}

/// Accepts the form that [`NodeAddr`] itself prints, and no other.
fn parse_multiaddr(text: &str) -> Option<NodeAddr> {
    let (host, port) = text.split_once("/tcp/")?;
    let ip = match host.strip_prefix("/ip4/") {
        Some(ip) => ip.parse::<Ipv4Addr>().ok()?.into(),
        None => host.strip_prefix("/ip6/")?.parse::<Ipv6Addr>().ok()?.into(),
    };
    let address = NodeAddr { ip, port: port.parse().ok()? };
    (address.to_string() == text).then_some(address)
}

fn parse_socket(text: &str) -> Option<NodeAddr> {
    let address: SocketAddr = text.parse().ok()?;
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 || v6.flowinfo() != 0 => None,
        _ => Some(address.into()),
    }
}

/// Why an address may not be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A port below 1024 other than 443.
    #[error("ports below 1024 other than 443 are not dialled")]
    Port,
    /// The unspecified address and, for IPv4, its whole network 0.0.0.0/8.
    #[error("the address is unspecified")]
    Unspecified,
    /// The machine itself.
    #[error("the address is a loopback address")]
    Loopback,
    /// A network that is not routed outside an organisation, IPv6 unique and site local addresses included.
    #[error("the address is private")]
    Private,
    /// Addresses that carriers share among customers (RFC 6598).
    #[error("the address is a carrier's shared address")]
    Shared,
    /// One link only; home of many a cloud's metadata service.
    #[error("the address is link-local")]
    LinkLocal,
    /// Many machines at once.
    #[error("the address is a multicast address")]
    Multicast,
    /// Every machine of a link.
    #[error("the address is the broadcast address")]
    Broadcast,
    /// For use in texts.
    #[error("the address is for documentation")]
    Documentation,
    /// For tests of routers (RFC 2544, RFC 5180).
    #[error("the address is for benchmarks")]
    Benchmarking,
    /// Everything else that is set aside or not handed out.
    #[error("the address is reserved")]
    Reserved,
}

/// The IPv4 ranges of the IANA special-purpose registry; first match counts.
const REFUSED_V4: [(Ipv4Addr, u32, Refusal); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, Refusal::Unspecified),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Refusal::Private),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Refusal::Shared),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Refusal::Loopback),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Refusal::LinkLocal),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Refusal::Private),
    // IETF protocol assignments, and the retired relays of 6to4.
    (Ipv4Addr::new(192, 0, 0, 0), 24, Refusal::Reserved),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Refusal::Reserved),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Refusal::Documentation),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Refusal::Private),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Refusal::Benchmarking),
    (Ipv4Addr::new(198, 51, 100, 0), 24, Refusal::Documentation),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Refusal::Documentation),
    (Ipv4Addr::new(233, 252, 0, 0), 24, Refusal::Documentation),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Refusal::Multicast),
    (Ipv4Addr::new(255, 255, 255, 255), 32, Refusal::Broadcast),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Refusal::Reserved),
];

/// The IPv6 ranges that are refused by name; first match counts. What is neither here nor in 2000::/3 is reserved.
const REFUSED_V6: [(Ipv6Addr, u32, Refusal); 9] = [
    (Ipv6Addr::UNSPECIFIED, 128, Refusal::Unspecified),
    (Ipv6Addr::LOCALHOST, 128, Refusal::Loopback),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Refusal::Private),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Refusal::LinkLocal),
    // Site-local addresses, retired by RFC 3879 and still routed by old networks.
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, Refusal::Private),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Refusal::Multicast),
    (Ipv6Addr::new(0x2001, 0x0db8, 0, 0, 0, 0, 0, 0), 32, Refusal::Documentation),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Refusal::Documentation),
    (Ipv6Addr::new(0x2001, 0x0002, 0, 0, 0, 0, 0, 0), 48, Refusal::Benchmarking),
];

/// IETF protocol assignments, Teredo among them: its addresses carry an IPv4 address in disguise.
const PROTOCOL_ASSIGNMENTS: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23);
/// The part of the address space that is handed out to networks.
const GLOBAL_UNICAST: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// NAT64 with the well-known prefix (RFC 6052). The local-use prefix 64:ff9b:1::/48 hides its IPv4 address where the
/// network likes, so it falls under *reserved*.
const NAT64: (Ipv6Addr, u32) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);
/// 6to4 (RFC 3056): the IPv4 address follows the prefix.
const SIX_TO_FOUR: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16);

fn refusal_v4(ip: Ipv4Addr) -> Option<Refusal> {
    let inside = |(network, prefix): (Ipv4Addr, u32)| (ip.to_bits() ^ network.to_bits()) >> (32 - prefix) == 0;
    REFUSED_V4.iter().find(|(network, prefix, _)| inside((*network, *prefix))).map(|(.., refusal)| *refusal)
}

fn refusal_v6(ip: Ipv6Addr) -> Option<Refusal> {
    let inside = |(network, prefix): (Ipv6Addr, u32)| (ip.to_bits() ^ network.to_bits()) >> (128 - prefix) == 0;
    if let Some(embedded) = embedded_v4(ip, inside) {
        return refusal_v4(embedded);
    }
    REFUSED_V6
        .iter()
        .find(|(network, prefix, _)| inside((*network, *prefix)))
        .map(|(.., refusal)| *refusal)
        .or_else(|| (inside(PROTOCOL_ASSIGNMENTS) || !inside(GLOBAL_UNICAST)).then_some(Refusal::Reserved))
}

/// The IPv4 address that a translator on the way would reach for `ip`.
fn embedded_v4(ip: Ipv6Addr, inside: impl Fn((Ipv6Addr, u32)) -> bool) -> Option<Ipv4Addr> {
    let octets = ip.octets();
    let at = |start: usize| octets[start..].first_chunk().copied().map(|four: [u8; 4]| Ipv4Addr::from(four));
    ip.to_ipv4_mapped()
        .or_else(|| inside(NAT64).then(|| at(12)).flatten())
        .or_else(|| inside(SIX_TO_FOUR).then(|| at(2)).flatten())
}
