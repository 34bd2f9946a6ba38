//! Floods of connections, handshakes and streams from one address: others are served all the same.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sotto_behaviours::names::Names;
use sotto_behaviours::network::{ConnectionLimits, Request, Response, Timeouts};
use sotto_proto::limits::{NEGOTIATING_STREAMS, WAITING_STREAMS};
use sotto_proto::request::{ChainRequest, ChainResponse};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{Flood, Host, Hostile, Net, node_of, until};
use crate::test_support::CHAIN;

const FLOODER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 66, 6, 6));

/// A host with limits per address, and an honest client at another address that is not yet connected.
fn scene() -> (Net, Vec<Host>) {
    let net = Net {
        limits: ConnectionLimits { per_address_enabled: true, per_address: 8, ..ConnectionLimits::default() },
        timeouts: Timeouts { handshake: Duration::from_secs(2), ..Timeouts::default() },
        ..Net::tcp()
    };
    let hosts = vec![net.host(0, net.view(1, &[], &[])), net.client(2)];
    (net, hosts)
}

async fn listening(hosts: &mut [Host]) -> SocketAddr {
    until(hosts, "listening", |hosts| hosts[0].network.local_address().is_some()).await;
    hosts[0].network.local_address().unwrap().socket_addr()
}

async fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(FLOODER, 0))?;
    socket.connect(to).await
}

async fn honest_client_is_served(hosts: &mut [Host]) {
    let started = tokio::time::Instant::now();
    let id = hosts[1].network.request(node_of(0), Request::Chain(ChainRequest::Tip)).unwrap();
    until(hosts, "the honest client is served", |hosts| hosts[1].responses.contains_key(&id)).await;
    assert!(matches!(&hosts[1].responses[&id].1, Ok(Response::Chain(ChainResponse::Tip { .. }))));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn half_open_connections_of_one_address_leave_room_for_others_and_are_dropped_in_time() {
    let (_, mut hosts) = scene();
    let to = listening(&mut hosts).await;
    let flood = tokio::spawn(async move {
        let mut open = Vec::new();
        for _ in 0..200 {
            open.extend(connect(to).await);
        }
        open
    });
    until(&mut hosts, "the limit bites", |hosts| {
        hosts[0].metric("sotto_network_connections_refused_total{reason=\"pending_per_address\"}") > 100
    })
    .await;
    assert!(hosts[0].network.counts().pending_incoming <= ConnectionLimits::default().pending_incoming / 4);
    honest_client_is_served(&mut hosts).await;

    let mut open = flood.await.unwrap();
    until(&mut hosts, "none is left", |hosts| hosts[0].network.counts().pending_incoming == 0).await;
    for stream in &mut open {
        let mut buffer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(1), stream.read_to_end(&mut buffer)).await;
        assert!(ended.is_ok(), "the host has closed it");
    }
}

#[tokio::test]
async fn a_handshake_that_trickles_in_has_one_deadline_for_all_of_it() {
    let (_, mut hosts) = scene();
    let to = listening(&mut hosts).await;
    let started = tokio::time::Instant::now();
    let trickle = tokio::spawn(async move {
        let mut stream = connect(to).await.unwrap();
        // The first bytes of the negotiation, one every fifth of a second.
        let mut pace = tokio::time::interval(Duration::from_millis(200));
        for byte in b"\x13/multistream/1.0.0\n\x07/noise\n".iter().cycle() {
            pace.tick().await;
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    });
    until(&mut hosts, "it came", |hosts| hosts[0].network.counts().pending_incoming == 1).await;
    until(&mut hosts, "it was dropped", |hosts| hosts[0].network.counts().pending_incoming == 0).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    until(&mut hosts, "its end was seen", |_| trickle.is_finished()).await;
    honest_client_is_served(&mut hosts).await;
}

#[tokio::test]
async fn established_connections_of_one_address_are_limited() {
    let (net, mut hosts) = scene();
    listening(&mut hosts).await;
    let flood: Vec<_> =
        (50..90).map(|seed| Hostile::connect(seed, (node_of(0), net.address(0)), Vec::new(), Some(FLOODER))).collect();
    let connected = |flood: &[Hostile]| flood.iter().filter(|one| one.see(|seen| seen.connected)).count();
    until(&mut hosts, "the limit is reached", |hosts| {
        connected(&flood) == 8
            && hosts[0].metric("sotto_network_connections_refused_total{reason=\"per_address\"}") > 40
    })
    .await;
    assert_eq!(hosts[0].network.counts().established, 8);
    honest_client_is_served(&mut hosts).await;
}

#[tokio::test]
async fn a_flood_of_streams_harms_only_its_own_connection() {
    let (net, mut hosts) = scene();
    listening(&mut hosts).await;
    let names = Names::new(&CHAIN);
    let flooder = Hostile::connect(50, (node_of(0), net.address(0)), Vec::new(), Some(FLOODER));
    until(&mut hosts, "connected", |_| flooder.see(|seen| seen.connected)).await;
    for _ in 0..3000 {
        // A length that promises more, and then nothing.
        flooder.send(node_of(0), &names.chain(), vec![0, 0, 1, 0], false);
    }
    until(&mut hosts, "most were dropped", |_| flooder.see(|seen| seen.answers.len() > 1000 || seen.connections > 1))
        .await;
    honest_client_is_served(&mut hosts).await;
}

#[tokio::test]
async fn of_hundreds_of_streams_that_never_say_what_they_are_for_a_few_are_held() {
    let (net, mut hosts) = scene();
    listening(&mut hosts).await;
    // The length of a message of the negotiation, and a part of it.
    let data = [&[0xff, 0x7f][..], &[0; 10_000]].concat();
    let target = (node_of(0), net.address(0));
    let floods: Vec<_> = (50..54).map(|seed| Flood::start(seed, target, FLOODER, 400, data.clone())).collect();
    let most = NEGOTIATING_STREAMS + WAITING_STREAMS;
    until(&mut hosts, "all are open, and most were reset", |_| {
        floods.iter().all(|flood| flood.opened() == 400 && flood.live() <= most)
    })
    .await;
    assert!(floods.iter().all(|flood| flood.live() > 0), "the connections live");
    assert!(hosts[0].metric("sotto_network_streams_beyond_total") >= 4 * (400 - most as u64));
    honest_client_is_served(&mut hosts).await;
}

#[tokio::test]
async fn bytes_that_are_no_handshake_are_dropped() {
    let (_, mut hosts) = scene();
    let to = listening(&mut hosts).await;
    let garbage = tokio::spawn(async move {
        for size in [1, 10, 1000, 100_000] {
            let mut stream = connect(to).await.unwrap();
            // The host may close before all is written.
            let _closed_early = stream.write_all(&vec![0x5a; size]).await;
            let mut buffer = Vec::new();
            let _reset = stream.read_to_end(&mut buffer).await;
        }
    });
    until(&mut hosts, "all were dropped", |_| garbage.is_finished()).await;
    honest_client_is_served(&mut hosts).await;
}
