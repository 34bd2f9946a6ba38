//! Node addresses: their two forms, and which of them may be dialled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use sotto_proto::net_addr::{NodeAddr, Refusal};

fn at(ip: impl Into<IpAddr>) -> NodeAddr {
    NodeAddr::new(ip.into(), 20_000)
}

/// The first and last address of each refused range, and the reason.
const V4: [(&str, &str, Refusal); 18] = [
    ("0.0.0.0", "0.255.255.255", Refusal::Unspecified),
    ("10.0.0.0", "10.255.255.255", Refusal::Private),
    ("100.64.0.0", "100.127.255.255", Refusal::Shared),
    ("127.0.0.0", "127.255.255.255", Refusal::Loopback),
    ("169.254.0.0", "169.254.255.255", Refusal::LinkLocal),
    ("172.16.0.0", "172.31.255.255", Refusal::Private),
    ("192.0.0.0", "192.0.0.255", Refusal::Reserved),
    ("192.0.2.0", "192.0.2.255", Refusal::Documentation),
    ("192.88.99.0", "192.88.99.255", Refusal::Reserved),
    ("192.168.0.0", "192.168.255.255", Refusal::Private),
    ("198.18.0.0", "198.19.255.255", Refusal::Benchmarking),
    ("198.51.100.0", "198.51.100.255", Refusal::Documentation),
    ("203.0.113.0", "203.0.113.255", Refusal::Documentation),
    ("224.0.0.0", "233.251.255.255", Refusal::Multicast),
    ("233.252.0.0", "233.252.0.255", Refusal::Documentation),
    ("233.252.1.0", "239.255.255.255", Refusal::Multicast),
    ("240.0.0.0", "255.255.255.254", Refusal::Reserved),
    ("255.255.255.255", "255.255.255.255", Refusal::Broadcast),
];

const V6: [(&str, &str, Refusal); 18] = [
    ("::", "::", Refusal::Unspecified),
    ("::1", "::1", Refusal::Loopback),
    // IPv4-compatible addresses, retired.
    ("::2", "::fffe:ffff:ffff", Refusal::Reserved),
    // What lies between IPv4-mapped addresses and NAT64.
    ("::1:0:0:0", "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", Refusal::Reserved),
    // NAT64 of a network's own choice, and all up to global unicast.
    ("64:ff9b::1:0:0", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Refusal::Reserved),
    ("100::", "100::ffff:ffff:ffff:ffff", Refusal::Reserved),
    // Teredo, ORCHID and their like.
    ("2001::", "2001:1:ffff:ffff:ffff:ffff:ffff:ffff", Refusal::Reserved),
    ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", Refusal::Benchmarking),
    ("2001:2:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", Refusal::Reserved),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Refusal::Documentation),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Refusal::Documentation),
    ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Refusal::Reserved),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Refusal::Private),
    ("fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Refusal::Reserved),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Refusal::LinkLocal),
    ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Refusal::Private),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Refusal::Multicast),
    ("ff02::1", "ff02::1", Refusal::Multicast),
];

/// Addresses next to a refused range that may be dialled.
const DIALABLE: [&str; 40] = [
    "1.0.0.0",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.1.255",
    "192.0.3.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "8.8.8.8",
    "2000::",
    "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:200::",
    "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:db9::",
    "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2003::",
    "2600::1",
    "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "3fff:1000::",
    "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2a00::",
    "2001:4860:4860::8888",
];

/// The same address as a translator would take it: mapped, NAT64, 6to4.
fn disguises(v4: Ipv4Addr) -> [Ipv6Addr; 3] {
    let bits = u128::from(v4.to_bits());
    [
        v4.to_ipv6_mapped(),
        Ipv6Addr::from_bits((0x64_ff9b << 96) | bits),
        Ipv6Addr::from_bits((0x2002 << 112) | (bits << 80) | 1),
    ]
}

#[test]
fn the_first_and_last_address_of_every_refused_range_are_refused() {
    for (first, last, refusal) in V4.into_iter().chain(V6) {
        for ip in [first, last] {
            let address = at(ip.parse::<IpAddr>().unwrap());
            assert_eq!(address.refusal(), Some(refusal), "{ip}");
            assert!(!address.dialable(false), "{ip}");
        }
    }
}

#[test]
fn addresses_next_to_a_refused_range_are_dialable() {
    for ip in DIALABLE {
        assert_eq!(at(ip.parse::<IpAddr>().unwrap()).refusal(), None, "{ip}");
    }
}

#[test]
fn an_ipv4_address_in_ipv6_disguise_is_judged_as_what_it_is() {
    for (first, last, refusal) in V4 {
        for v4 in [first, last].map(|ip| ip.parse().unwrap()) {
            for ip in disguises(v4) {
                assert_eq!(at(ip).refusal(), Some(refusal), "{v4} as {ip}");
            }
        }
    }
    for v4 in DIALABLE.iter().filter_map(|ip| ip.parse().ok()) {
        for ip in disguises(v4) {
            assert_eq!(at(ip).refusal(), None, "{v4} as {ip}");
        }
    }
}

#[test]
fn port_0_is_refused_everywhere() {
    for ip in ["8.8.8.8", "127.0.0.1", "2600::1", "::1"] {
        let address = NodeAddr::new(ip.parse().unwrap(), 0);
        assert!(!address.dialable(true) && !address.dialable(false), "{ip}");
    }
}

#[test]
fn ports_below_1024_are_refused_but_443() {
    for (port, dialable) in [
        (0, false),
        (22, false),
        (80, false),
        (442, false),
        (443, true),
        (444, false),
        (1023, false),
        (1024, true),
        (65535, true),
    ] {
        assert_eq!(NodeAddr::new(Ipv4Addr::new(8, 8, 8, 8).into(), port).dialable(false), dialable, "{port}");
    }
    assert_eq!(NodeAddr::new(Ipv4Addr::LOCALHOST.into(), 443).refusal(), Some(Refusal::Loopback));
}

#[test]
fn a_testnet_dials_everything() {
    for (first, ..) in V4.into_iter().chain(V6) {
        assert!(at(first.parse::<IpAddr>().unwrap()).dialable(true), "{first}");
    }
    assert!(NodeAddr::new(Ipv4Addr::LOCALHOST.into(), 80).dialable(true));
    assert!(NodeAddr::new(Ipv4Addr::LOCALHOST.into(), 1).dialable(true));
}

#[test]
fn both_forms_are_those_of_multiaddrs() {
    for (text, bytes) in [
        ("/ip4/127.0.0.1/tcp/20000", "047f000001064e20"),
        ("/ip4/255.255.255.255/tcp/0", "04ffffffff060000"),
        ("/ip6/2600::1/tcp/443", "29260000000000000000000000000000010601bb"),
        ("/ip6/::ffff:1.2.3.4/tcp/65535", "2900000000000000000000ffff0102030406ffff"),
    ] {
        let address: NodeAddr = text.parse().unwrap();
        assert_eq!(address.to_string(), text);
        assert_eq!(hex::encode(address.to_bytes()), bytes);
        assert_eq!(NodeAddr::from_bytes(&hex::decode(bytes).unwrap()), Ok(address));
    }
}

#[test]
fn people_may_type_a_socket_address() {
    for (typed, text) in [
        ("1.2.3.4:5", "/ip4/1.2.3.4/tcp/5"),
        ("[2600::1]:443", "/ip6/2600::1/tcp/443"),
        ("[2600:0:0::1]:443", "/ip6/2600::1/tcp/443"),
    ] {
        assert_eq!(typed.parse::<NodeAddr>().unwrap().to_string(), text);
    }
}

#[test]
fn every_other_text_is_refused() {
    for text in [
        "",
        "1.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:65536",
        "example.org:5",
        "[fe80::1%3]:5",
        "2600::1:443",
        "/ip4/1.2.3.4",
        "/ip4/1.2.3.4/tcp",
        "/ip4/1.2.3.4/tcp/",
        "/ip4/1.2.3.4/tcp/05",
        "/ip4/1.2.3.4/tcp/+5",
        "/ip4/1.2.3.4/tcp/65536",
        "/ip4/1.2.3.4/tcp/5/",
        "/ip4/1.2.3.4/tcp/5/p2p/12D3",
        "/ip4/1.2.3.4/udp/5",
        "/ip4/01.2.3.4/tcp/5",
        "/ip4/1.2.3/tcp/5",
        "/ip4/2600::1/tcp/5",
        "/ip6/1.2.3.4/tcp/5",
        "/ip6/2600:0::1/tcp/5",
        "/ip6/2600::A/tcp/5",
        "/dns4/example.org/tcp/5",
        " /ip4/1.2.3.4/tcp/5",
        "/ip4/1.2.3.4/tcp/5\n",
    ] {
        assert!(text.parse::<NodeAddr>().is_err(), "{text:?}");
    }
}

#[test]
fn other_protocols_lengths_and_codes_are_refused_in_bytes() {
    for bytes in [
        "",
        "04",
        "047f0000010",
        "047f00000106",
        "047f000001064e",
        "047f000001064e2000",
        "047f000001114e20",
        "84007f000001064e20",
        "297f000001064e20",
        "35096c6f63616c686f7374064e20",
    ] {
        let bytes = hex::decode(bytes).unwrap_or_default();
        assert!(NodeAddr::from_bytes(&bytes).is_err(), "{}", hex::encode(bytes));
    }
}

fn any_address() -> impl Strategy<Value = NodeAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| NodeAddr::new(ip, port))
}

proptest! {
    #[test]
    fn addresses_round_trip_in_both_forms(address in any_address()) {
        let bytes = address.to_bytes();
        prop_assert!(bytes.len() <= NodeAddr::MAX_BYTES);
        prop_assert_eq!(NodeAddr::from_bytes(&bytes), Ok(address));
        prop_assert_eq!(address.to_string().parse(), Ok(address));
        prop_assert_eq!(NodeAddr::from(address.socket_addr()), address);
    }

    #[test]
    fn whatever_bytes_decode_they_are_the_only_ones_for_it(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
        if let Ok(address) = NodeAddr::from_bytes(&bytes) {
            prop_assert_eq!(address.to_bytes(), bytes);
        }
    }

    #[test]
    fn whatever_multiaddr_text_parses_is_the_only_one_for_it(text in "/ip[46]/[0-9a-f:.]{2,20}/tcp/[0-9]{1,5}") {
        if let Ok(address) = text.parse::<NodeAddr>() {
            prop_assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn the_standard_library_agrees_on_what_it_knows(bits in any::<u32>()) {
        let ip = Ipv4Addr::from_bits(bits);
        let known = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip.is_broadcast()
            || ip.is_documentation() || ip.is_unspecified();
        prop_assert!(!known || !at(ip).dialable(false), "{}", ip);
    }
}
