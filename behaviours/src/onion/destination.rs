//! Where an exit goes: to registered nodes by key, and to servers that the public internet reaches. An exit is asked by
//! strangers, so it must be no way into the networks it stands in, and no port scanner.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use sotto_proto::cell::{Destination, ResetReason};
use sotto_proto::id::NodeId;
use sotto_proto::limits::{MULTIADDR_MAX, SERVER_DIAL_SPAN, SERVER_DIALS};
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::network::NetworkView;
use sotto_proto::time::Monotonic;

use super::books::Bucket;

/// What an exit does about a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Opens a tunnel to this node.
    Node(NodeId),
    /// Refuses it at once: nothing was dialled, so nothing is learnt from how fast that is.
    Refused(ResetReason),
    /// Has no way to this server; says so after the time that every failed dial takes.
    Unreachable,
}

/// What an exit knows when it decides.
pub(super) struct Policy<'a> {
    pub(super) own: NodeId,
    /// The middle of the path.
    pub(super) sender: NodeId,
    pub(super) listen: Option<NodeAddr>,
    pub(super) private_addresses: bool,
    pub(super) view: &'a NetworkView,
}

/// How often one path asks for servers.
pub(super) fn server_dials() -> Bucket {
    Bucket::every(SERVER_DIAL_SPAN / SERVER_DIALS, SERVER_DIALS)
}

impl Policy<'_> {
    /// Decides about a destination.
    pub(super) fn judge(&self, destination: Destination<'_>, dials: &mut Bucket, now: Monotonic) -> Verdict {
        match destination {
            // A hop of the path is never its destination: the exit, and the middle, which would see both sides.
            Destination::Node(node) if node == self.own || node == self.sender => {
                Verdict::Refused(ResetReason::RefusedByPolicy)
            }
            Destination::Node(node) if self.view.current().nodes.contains_key(&node) => Verdict::Node(node),
            Destination::Node(_) => Verdict::Refused(ResetReason::UnknownDestination),
            Destination::Server(multiaddr) => match self.server(multiaddr) {
                false => Verdict::Refused(ResetReason::RefusedByPolicy),
                true if dials.take(now) => Verdict::Unreachable,
                true => Verdict::Refused(ResetReason::Busy),
            },
        }
    }

    /// Whether a server may be dialled: `/ip4|/ip6|/dns4|/dns6 + /tcp + /p2p`. A name's addresses are looked at when it
    /// is resolved.
    fn server(&self, multiaddr: &[u8]) -> bool {
        let Some(address) =
            (multiaddr.len() <= MULTIADDR_MAX).then(|| Multiaddr::try_from(multiaddr.to_vec()).ok()).flatten()
        else {
            return false;
        };
        let mut parts = address.iter();
        let (host, transport, key, rest) = (parts.next(), parts.next(), parts.next(), parts.next());
        let (Some(Protocol::Tcp(port)), Some(Protocol::P2p(peer)), None) = (transport, key, rest) else { return false };
        if crate::peer::node_id(&peer).is_err() || port == 0 {
            return false;
        }
        let ip = match host {
            Some(Protocol::Ip4(ip)) => ip.into(),
            Some(Protocol::Ip6(ip)) => ip.into(),
            Some(Protocol::Dns4(_) | Protocol::Dns6(_)) => return true,
            _ => return false,
        };
        let address = NodeAddr::new(ip, port);
        !ip.is_unspecified() && address.dialable(self.private_addresses) && !self.is_own(&address)
    }

    /// Whether an address is this node's own: the one it listens on, or those it registered.
    fn is_own(&self, address: &NodeAddr) -> bool {
        let registered = self.view.current().nodes.get(&self.own);
        self.listen == Some(*address) || registered.is_some_and(|record| record.addresses.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::test_support::{address, node, view_of_swarm};

    const SERVER: &str = "/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";

    fn judge(private_addresses: bool, destination: Destination<'_>) -> Verdict {
        let view = view_of_swarm(5, &[node(1), node(2), node(3)], &[]);
        let policy = Policy {
            own: node(1),
            sender: node(2),
            listen: Some("/ip4/198.41.0.4/tcp/4000".parse().unwrap()),
            private_addresses,
            view: &view,
        };
        policy.judge(destination, &mut server_dials(), Monotonic::default())
    }

    fn server(private_addresses: bool, text: &str) -> Verdict {
        let address: Multiaddr = text.parse().unwrap();
        judge(private_addresses, Destination::Server(&address.to_vec()))
    }

    #[test]
    fn only_registered_nodes_that_are_no_hops_are_destinations() {
        assert_eq!(judge(true, Destination::Node(node(3))), Verdict::Node(node(3)));
        for hop in [1, 2] {
            assert_eq!(judge(true, Destination::Node(node(hop))), Verdict::Refused(ResetReason::RefusedByPolicy));
        }
        for stranger in [0, 4, 0xff] {
            let refused = Verdict::Refused(ResetReason::UnknownDestination);
            assert_eq!(judge(true, Destination::Node(node(stranger))), refused);
        }
    }

    #[test]
    fn servers_in_private_networks_and_the_exit_itself_are_refused() {
        let refused = Verdict::Refused(ResetReason::RefusedByPolicy);
        for host in [
            "/ip4/127.0.0.1/tcp/4000",
            "/ip4/10.1.2.3/tcp/4000",
            "/ip4/169.254.169.254/tcp/8080",
            "/ip4/192.168.1.1/tcp/4000",
            "/ip4/100.64.0.1/tcp/4000",
            "/ip4/0.0.0.0/tcp/4000",
            "/ip6/::1/tcp/4000",
            "/ip6/::ffff:10.0.0.1/tcp/4000",
            "/ip6/64:ff9b::a00:1/tcp/4000",
            "/ip4/8.8.8.8/tcp/22",
            "/ip4/198.41.0.4/tcp/4000",
        ] {
            assert_eq!(server(false, &format!("{host}{SERVER}")), refused, "{host}");
        }
        assert_eq!(server(false, &format!("/ip4/8.8.8.8/tcp/4000{SERVER}")), Verdict::Unreachable);
        assert_eq!(server(false, &format!("/dns4/example.org/tcp/443{SERVER}")), Verdict::Unreachable);
        assert_eq!(server(true, &format!("/ip4/10.1.2.3/tcp/4000{SERVER}")), Verdict::Unreachable);
        let own = address(&node(1));
        assert_eq!(server(true, &format!("{own}{SERVER}")), refused, "the exit's own registered address");
        assert_eq!(server(true, &format!("/ip4/198.41.0.4/tcp/4000{SERVER}")), refused);
    }

    #[test]
    fn forms_that_no_server_has_are_refused() {
        let refused = Verdict::Refused(ResetReason::RefusedByPolicy);
        for text in [
            "/ip4/8.8.8.8/tcp/4000".to_owned(),
            format!("/ip4/8.8.8.8/udp/4000/quic-v1{SERVER}"),
            format!("/dnsaddr/example.org/tcp/4000{SERVER}"),
            format!("/ip4/8.8.8.8/tcp/4000{SERVER}/p2p-circuit"),
            format!("/ip4/8.8.8.8/tcp/0{SERVER}"),
            SERVER.to_owned(),
        ] {
            assert_eq!(server(false, &text), refused, "{text}");
        }
        assert_eq!(judge(true, Destination::Server(&[0xff; 20])), refused);
        assert_eq!(judge(true, Destination::Server(&[])), refused);
    }

    #[test]
    fn a_path_asks_for_two_servers_in_ten_seconds() {
        let view = view_of_swarm(5, &[node(1)], &[]);
        let policy = Policy { own: node(1), sender: node(2), listen: None, private_addresses: true, view: &view };
        let address: Multiaddr = format!("/ip4/8.8.8.8/tcp/4000{SERVER}").parse().unwrap();
        let bytes = address.to_vec();
        let mut dials = server_dials();
        let mut judge =
            |seconds| policy.judge(Destination::Server(&bytes), &mut dials, Monotonic(Duration::from_secs(seconds)));
        assert_eq!(
            [judge(0), judge(0), judge(1)],
            [Verdict::Unreachable, Verdict::Unreachable, Verdict::Refused(ResetReason::Busy)]
        );
        assert_eq!(judge(5), Verdict::Unreachable);
    }
}
