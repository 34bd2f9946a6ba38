//! Paths between hosts that do as they should.

use std::time::{Duration, Instant};

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use sotto_behaviours::onion::client::{PathEnd, StreamError};
use sotto_behaviours::tunnel::Tunnel;
use sotto_behaviours::tunnel::handshake::ClientHandshake;
use sotto_proto::cell::{Destination, DestroyReason, Position, ResetReason};
use sotto_proto::limits::{FRAME, STREAMS_PER_PATH};
use sotto_proto::request::{Error, Message as _, SwarmResponse};

use crate::support::{PathNet, Rogue, echo, echoed, hop, minute, node_of, rng};
use crate::test_support::CHAIN;

#[tokio::test]
async fn a_request_goes_through_three_hops_and_its_answer_comes_back() {
    let net = PathNet::new();
    let nodes = net.nodes(&[1, 2, 3, 4]).await;
    let client = net.client(40);
    let (path, mut tunnel) = client.tunnel([1, 2, 3], 4).await;
    for length in [1, 1000, 3000, 40_000] {
        let bytes = vec![length as u8; length];
        assert_eq!(echoed(&tunnel.request(echo(&bytes)).await.unwrap()), bytes);
    }
    assert_eq!(nodes[3].with(|host| host.tunnel_requests).await, 5);
    // Each of them had records, and who gave them knows when they are sent.
    while nodes[3].with(|host| host.tunnels_ready).await < 5 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((path.streams(), path.end()), (1, None));
    drop(tunnel);
    nodes[3].until_metric("sotto_network_tunnels_ended_total{reason=\"closed\"}", 1).await;
    drop(path);
    for node in &nodes[..3] {
        node.until_metric("sotto_network_paths_ended_total{reason=\"closed\"}", 1).await;
    }
    assert_eq!(nodes[3].with(|host| host.tunnels_closed).await, 1);
}

#[tokio::test]
async fn many_tunnels_share_a_path() {
    let net = PathNet::new();
    let _nodes = net.nodes(&[1, 2, 3, 4, 5]).await;
    let client = net.client(40);
    let path = client.path([1, 2, 3]).await.unwrap();
    let mut tunnels = Vec::new();
    for to in [4, 5, 4, 5, 4, 5, 4, 5] {
        tunnels.push(Tunnel::connect(&path, hop(to), None).await.unwrap().0);
    }
    let requests = tunnels.iter_mut().enumerate().map(|(index, tunnel)| async move {
        let bytes = vec![index as u8; 30_000];
        for _ in 0..4 {
            assert_eq!(echoed(&tunnel.request(echo(&bytes)).await.unwrap()), bytes);
        }
    });
    futures::future::join_all(requests).await;
}

#[tokio::test]
async fn bytes_of_any_kind_arrive_in_order_and_the_end_after_them() {
    let net = PathNet::new();
    let mut destination = Rogue::new(&net.net, 4);
    let _nodes = net.nodes(&[1, 2, 3]).await;
    let client = net.client(40);
    let path = client.path([1, 2, 3]).await.unwrap();
    let mut stream = path.open(Destination::Node(node_of(4)), b"first").unwrap();
    let (_, mut tunnel) = destination.accept().await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|index| (index / 7) as u8).collect();
    let sending = async {
        stream.send(&sent).await.unwrap();
        stream.end();
    };
    let receiving = async {
        let mut frames = Vec::new();
        tunnel.read_to_end(&mut frames).await.unwrap();
        frames
    };
    let ((), frames) = tokio::join!(sending, receiving);
    assert_eq!(frames.len() % FRAME, 0, "every frame has one size");
    let data: Vec<&[u8]> =
        frames.chunks(FRAME).map(|frame| &frame[2..][..usize::from(frame[0]) << 8 | usize::from(frame[1])]).collect();
    assert_eq!(data[0], b"first");
    assert_eq!(data[1..].concat(), sent);

    let mut answer = vec![0; 600 * FRAME];
    for frame in answer.chunks_mut(FRAME) {
        frame[..2].copy_from_slice(&1992_u16.to_be_bytes());
        frame[2..1994].fill(7);
    }
    let answering = async {
        tunnel.write_all(&answer).await.unwrap();
        tunnel.close().await.unwrap();
    };
    let hearing = async {
        let mut heard = 0;
        while let Some(data) = stream.recv().await.unwrap() {
            assert!(data.iter().all(|byte| *byte == 7));
            heard += data.len();
        }
        heard
    };
    let ((), heard) = tokio::join!(answering, hearing);
    assert_eq!(heard, 600 * 1992);
}

#[tokio::test]
async fn a_destination_that_does_not_read_holds_up_its_own_stream_only() {
    let net = PathNet::new();
    let mut deaf = Rogue::new(&net.net, 5);
    let _nodes = net.nodes(&[1, 2, 3, 4]).await;
    let client = net.client(40);
    let (path, mut tunnel) = client.tunnel([1, 2, 3], 4).await;
    let mut stuck = path.open(Destination::Node(node_of(5)), &[]).unwrap();
    let (_, _held) = deaf.accept().await;
    let bytes = vec![1; 8_000_000];
    let filling = tokio::time::timeout(Duration::from_secs(2), stuck.send(&bytes)).await;
    assert!(filling.is_err(), "more than windows and credit hold was taken");
    assert_eq!(echoed(&tunnel.request(echo(b"still here")).await.unwrap()), b"still here");
}

#[tokio::test]
async fn destinations_that_the_exit_does_not_go_to_are_refused_with_the_reason() {
    let net = PathNet::new();
    let _nodes = net.nodes(&[1, 2, 3]).await;
    let client = net.client(40);
    let path = client.path([1, 2, 3]).await.unwrap();
    for (destination, reason) in [
        (3, ResetReason::RefusedByPolicy),
        (2, ResetReason::RefusedByPolicy),
        (30, ResetReason::UnknownDestination),
        (9, ResetReason::Unreachable),
    ] {
        let mut stream = path.open(Destination::Node(node_of(destination)), b"x").unwrap();
        assert_eq!(stream.recv().await, Err(StreamError::Reset(reason)), "{destination}");
    }
    let server: libp2p::Multiaddr =
        format!("/ip4/127.0.0.1/udp/4000/quic-v1/p2p/{}", libp2p::PeerId::random()).parse().unwrap();
    let mut stream = path.open(Destination::Server(&server.to_vec()), &[]).unwrap();
    assert_eq!(stream.recv().await, Err(StreamError::Reset(ResetReason::RefusedByPolicy)));
    assert_eq!(path.end(), None, "none of this counts against the path");
}

#[tokio::test]
async fn every_dial_to_a_server_fails_alike_and_only_two_are_tried_at_once() {
    let mut net = PathNet::new();
    net.deadlines.dial_failure = Duration::from_millis(200);
    let _nodes = net.nodes(&[1, 2, 3]).await;
    let client = net.client(40);
    let path = client.path([1, 2, 3]).await.unwrap();
    let peer = sotto_behaviours::peer::peer_id(&node_of(77));
    let mut ends = Vec::new();
    for address in ["/ip4/127.0.0.1/tcp/9", "/dns4/nobody.invalid/tcp/443", "/ip4/127.0.0.1/tcp/4000"] {
        let server: libp2p::Multiaddr = format!("{address}/p2p/{peer}").parse().unwrap();
        let began = Instant::now();
        let mut stream = path.open(Destination::Server(&server.to_vec()), &[]).unwrap();
        ends.push((stream.recv().await, began.elapsed() >= net.deadlines.dial_failure));
    }
    let unreachable: (Result<Option<Vec<u8>>, StreamError>, bool) =
        (Err(StreamError::Reset(ResetReason::Unreachable)), true);
    assert_eq!(ends, [unreachable.clone(), unreachable, (Err(StreamError::Reset(ResetReason::Busy)), false)]);
}

#[tokio::test]
async fn idle_and_old_paths_are_ended_with_the_reason_by_the_hops() {
    for (idle, age, keep_alive, expected) in
        [(100, 60_000, 60_000, DestroyReason::Idle), (60_000, 300, 50, DestroyReason::TooOld)]
    {
        let mut net = PathNet::new();
        net.deadlines.idle = Duration::from_millis(idle);
        net.deadlines.age = Duration::from_millis(age);
        let nodes = net.nodes(&[1, 2, 3]).await;
        // The client's own age comes later, so that it hears what the hops say.
        net.deadlines.age = Duration::from_secs(60);
        net.deadlines.keep_alive = Duration::from_millis(keep_alive)..=Duration::from_millis(keep_alive);
        let client = net.client(40);
        let path = client.path([1, 2, 3]).await.unwrap();
        match path.closed().await {
            PathEnd::Destroyed { reason, .. } => assert_eq!(reason, expected),
            end => panic!("{end:?}"),
        }
        drop(nodes);
    }
}

#[tokio::test]
async fn a_path_in_use_outlives_the_idle_limit_by_its_keep_alive() {
    let mut net = PathNet::new();
    net.deadlines.idle = Duration::from_millis(300);
    net.deadlines.keep_alive = Duration::from_millis(50)..=Duration::from_millis(100);
    let _nodes = net.nodes(&[1, 2, 3, 4]).await;
    let client = net.client(40);
    let (path, mut tunnel) = client.tunnel([1, 2, 3], 4).await;
    let ended = tokio::time::timeout(Duration::from_millis(1500), path.closed()).await;
    assert!(ended.is_err(), "{ended:?}");
    assert_eq!(echoed(&tunnel.request(echo(b"alive")).await.unwrap()), b"alive");
}

#[tokio::test]
async fn a_hop_that_stops_says_so() {
    for (index, position) in [(0, Position::Guard), (1, Position::Middle), (2, Position::Exit)] {
        let net = PathNet::new();
        let nodes = net.nodes(&[1, 2, 3, 4]).await;
        let client = net.client(40);
        let (path, _tunnel) = client.tunnel([1, 2, 3], 4).await;
        nodes[index].drain().await;
        let expected = PathEnd::Destroyed { position, reason: DestroyReason::ShuttingDown };
        assert_eq!(path.closed().await, expected);
    }
}

#[tokio::test]
async fn a_path_takes_no_new_streams_after_a_while_and_keeps_those_it_has() {
    let mut net = PathNet::new();
    net.deadlines.new_streams = Duration::from_millis(300);
    let _nodes = net.nodes(&[1, 2, 3, 4]).await;
    let client = net.client(40);
    let (path, mut tunnel) = client.tunnel([1, 2, 3], 4).await;
    while path.age() < net.deadlines.new_streams {
        assert_eq!(echoed(&tunnel.request(echo(b"old")).await.unwrap()), b"old");
    }
    assert_eq!(path.open(Destination::Node(node_of(4)), &[]).unwrap_err(), StreamError::TooOld);
    assert_eq!(echoed(&tunnel.request(echo(b"old")).await.unwrap()), b"old");
}

#[tokio::test]
async fn more_tunnels_at_once_than_a_path_has_streams_take_their_turns() {
    let net = PathNet::new();
    let _nodes = net.nodes(&[1, 2, 3, 4]).await;
    let client = net.client(40);
    let (path, tunnel) = client.tunnel([1, 2, 3], 4).await;
    drop(tunnel);
    // Each ends as soon as it is answered: its end must not be overtaken by what takes its place.
    let asked = (0..10 * STREAMS_PER_PATH).map(|number| {
        let path = path.clone();
        async move {
            let said = number.to_be_bytes();
            let (_tunnel, answer) = Tunnel::connect(&path, hop(4), Some(echo(&said))).await.unwrap();
            assert_eq!(echoed(&answer.unwrap()), said);
        }
    });
    futures::future::join_all(asked).await;
    assert_eq!(path.end(), None);
}

#[tokio::test]
async fn the_end_of_a_tunnel_goes_along_with_the_next_one() {
    let net = PathNet::new();
    let nodes = net.nodes(&[1, 2, 3, 4]).await;
    let client = net.client(40);
    let (path, tunnel) = client.tunnel([1, 2, 3], 4).await;
    let ended = "sotto_network_tunnels_ended_total{reason=\"closed\"}";
    let began = Instant::now();
    drop(tunnel);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let count = nodes[3].metric(ended).await;
    assert!(count == 0 || began.elapsed() > Duration::from_millis(400), "told at once");
    let next = Tunnel::connect(&path, hop(4), Some(echo(b"next"))).await.unwrap();
    assert_eq!(nodes[3].metric(ended).await, 1, "the end comes before the next beginning");
    drop(next);
    nodes[3].until_metric(ended, 2).await;
    assert_eq!(path.end(), None);
}

#[tokio::test]
async fn a_request_that_is_none_is_answered_as_such_and_ends_its_tunnel() {
    let net = PathNet::new();
    let nodes = net.nodes(&[1, 2, 3, 4]).await;
    let client = net.client(40);
    let path = client.path([1, 2, 3]).await.unwrap();
    let destination = Destination::Node(node_of(4));
    let room = destination.first_bytes();
    let (flight, mut handshake) =
        ClientHandshake::new(&CHAIN, &hop(4), room, minute(), b"\xff\xff\xff", &mut rng()).unwrap();
    let mut stream = path.open(destination, &flight).unwrap();
    while !handshake.push(&stream.recv().await.unwrap().unwrap()).unwrap() {}
    let (_, mut inbound) = handshake.finish().unwrap();
    let answer = SwarmResponse::decode(&inbound.poll().unwrap().unwrap()).unwrap();
    assert_eq!(answer, SwarmResponse::Error(Error::Malformed));
    assert_eq!(stream.recv().await, Ok(None));
    nodes[3].until_metric("sotto_network_tunnels_ended_total{reason=\"malformed\"}", 1).await;
    assert_eq!(nodes[3].with(|host| host.tunnel_requests).await, 0);
}
