//! Peers that flood, hoard and stall.

use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::StreamProtocol;
use sotto_behaviours::names::Names;
use sotto_behaviours::onion::build::ClientBuild;
use sotto_behaviours::onion::client::PathError;
use sotto_proto::cell::{Frame, Position, Status};

use crate::support::{PathNet, Rogue, Running, hop, minute, open_build, read_frame, rng, write_frame};
use crate::test_support::CHAIN;

pub(super) fn names() -> Names {
    Names::new(&CHAIN)
}

/// A build of this path for the guard, and the layer that the guard passes on.
pub(super) fn build(seeds: [u8; 3]) -> (Frame, Frame) {
    let (frame, _) = ClientBuild::new(&CHAIN, &seeds.map(hop), minute(), &mut rng()).unwrap();
    let inner = open_build(seeds[0], &frame, &[Position::Guard]).inner_frame().unwrap().clone();
    (frame, inner)
}

/// Sends the same first frame on streams of its own, some at once, and counts what is answered.
pub(super) async fn replay(rogue: &Rogue, to: u8, protocol: &StreamProtocol, frame: &Frame, times: usize) -> usize {
    let once = |_| async {
        let mut stream = rogue.open(to, protocol.clone()).await;
        // It may be reset before all is written.
        let sent = async {
            stream.write_all(frame.as_bytes()).await?;
            stream.flush().await?;
            stream.read_exact(&mut [0; 1]).await
        };
        tokio::time::timeout(Duration::from_secs(30), sent).await.unwrap().is_ok()
    };
    let answers = futures::stream::iter(0..times).map(once).buffer_unordered(16);
    answers.filter(|answered| std::future::ready(*answered)).count().await
}

#[tokio::test]
async fn a_rotated_key_is_good_as_long_as_the_node_keeps_it() {
    use std::sync::Arc;

    use sotto_behaviours::onion::build::HopSecrets;

    use crate::support::secret;

    let net = PathNet::new();
    let nodes = net.nodes(&[1, 2, 3]).await;
    let client = net.client(40);
    let rotate = |secrets| nodes[1].keys.as_ref().unwrap().send_replace(Arc::new(secrets));
    rotate(HopSecrets::new([secret(60), secret(2)]));
    client.path([1, 2, 3]).await.unwrap();
    rotate(HopSecrets::new([secret(61), secret(60)]));
    let error = client.path([1, 2, 3]).await.unwrap_err();
    assert!(matches!(error, PathError::Refused { position: Position::Guard, status: Status::NextClosed, .. }));
    let hops = [hop(1), sotto_behaviours::onion::HopInfo { x25519: secret(61).public(), ..hop(2) }, hop(3)];
    let built = client.with(move |host| host.network.build_path(hops)).await.await.unwrap();
    assert!(built.is_ok());
}

#[tokio::test]
async fn a_build_is_taken_only_at_the_place_that_its_sender_may_give() {
    let net = PathNet::new();
    // A stranger says that this node is a middle; a registered node, that it is a guard.
    let (stranger, registered) = (Rogue::new(&net.net, 50), Rogue::new(&net.net, 1));
    let node = net.nodes(&[2]).await.remove(0);
    let (_, for_middle) = build([1, 2, 3]);
    let (for_guard, _) = build([2, 1, 3]);
    assert_eq!(replay(&stranger, 2, &names().path(), &for_middle, 1).await, 0);
    assert_eq!(replay(&registered, 2, &names().path(), &for_guard, 1).await, 0);
    assert_eq!(node.metric("sotto_network_path_builds_total{reason=\"forged\"}").await, 2);
    assert_eq!(replay(&registered, 2, &names().path(), &for_middle, 1).await, 1, "and this it answers");
}

#[tokio::test]
async fn a_tunnel_of_a_stranger_is_refused() {
    let net = PathNet::new();
    let node = net.node(4);
    let stranger = Rogue::new(&net.net, 50);
    assert_eq!(replay(&stranger, 4, &names().tunnel(), &Frame::zeroed(), 20).await, 0);
    assert_eq!(node.metric("sotto_network_streams_refused_total{reason=\"tunnel_of_stranger\"}").await, 20);
}

#[tokio::test]
async fn builds_beyond_the_rate_are_told_so_and_then_ignored() {
    let mut net = PathNet::new();
    net.caps.build_burst = 3;
    let nodes = net.nodes(&[1, 2, 3]).await;
    let client = net.client(40);
    let mut ends = Vec::new();
    for _ in 0..9 {
        ends.push(match client.path([1, 2, 3]).await {
            Ok(_) => "built",
            Err(PathError::Refused { position: Position::Guard, status: Status::Busy, .. }) => "told",
            Err(PathError::GuardClosed) => "ignored",
            Err(error) => panic!("{error:?}"),
        });
    }
    assert_eq!(ends[..3], ["built"; 3]);
    assert!(ends.contains(&"told"), "{ends:?}");
    let another = net.client(41);
    assert!(another.path([1, 2, 3]).await.is_ok(), "another client has its own rate");
    assert!(nodes[0].metric("sotto_network_path_builds_total{reason=\"busy\"}").await >= 1);
}

async fn builds(client: &Running, count: usize) -> Vec<Result<sotto_behaviours::onion::client::Path, PathError>> {
    let mut paths = Vec::new();
    for _ in 0..count {
        paths.push(client.path([1, 2, 3]).await);
    }
    paths
}

#[tokio::test]
async fn a_client_has_so_many_paths_and_a_node_so_many_hops() {
    let mut net = PathNet::new();
    (net.caps.builds_per_second, net.caps.build_burst) = (1000, 1000);
    net.caps.paths_per_client = 4;
    net.caps.hops = 6;
    let nodes = net.nodes(&[1, 2, 3]).await;
    // The client itself would not ask for more: its own books are wider.
    net.caps.paths_per_neighbour = 256;
    let (client, other) = (net.client(40), net.client(41));
    let mut paths = builds(&client, 6).await;
    assert_eq!(paths.iter().filter(|path| path.is_ok()).count(), 4);
    assert_eq!(paths[4].as_ref().unwrap_err(), &PathError::GuardClosed);
    let others = builds(&other, 4).await;
    assert_eq!(others.iter().filter(|path| path.is_ok()).count(), 2, "the node is full");
    assert!(nodes[0].metric("sotto_network_streams_refused_total{reason=\"peer_full\"}").await >= 2);
    assert!(nodes[0].metric("sotto_network_streams_refused_total{reason=\"node_full\"}").await >= 1);
    paths.clear();
    nodes[0].until_metric("sotto_network_paths_ended_total{reason=\"closed\"}", 4).await;
    assert!(builds(&other, 1).await[0].is_ok(), "places become free");
}

#[tokio::test]
async fn a_build_or_first_message_that_never_comes_whole_holds_nothing_for_long() {
    let mut net = PathNet::new();
    net.deadlines.build_frame = Duration::from_millis(300);
    net.deadlines.first_message = Duration::from_millis(300);
    let (stranger, registered) = (Rogue::new(&net.net, 50), Rogue::new(&net.net, 1));
    let node = net.nodes(&[2]).await.remove(0);
    let mut path = stranger.open(2, names().path()).await;
    path.write_all(&[1; 100]).await.unwrap();
    path.flush().await.unwrap();
    let mut tunnel = registered.open(2, names().tunnel()).await;
    tunnel.write_all(&[0; 100]).await.unwrap();
    tunnel.flush().await.unwrap();
    assert!(path.read_exact(&mut [0]).await.is_err() && tunnel.read_exact(&mut [0]).await.is_err());
    node.until_metric("sotto_network_path_builds_total{reason=\"incomplete\"}", 1).await;
    node.until_metric("sotto_network_tunnels_ended_total{reason=\"incomplete\"}", 1).await;
}

#[tokio::test]
async fn first_messages_together_hold_no_more_than_their_budget() {
    let mut net = PathNet::new();
    net.caps.unauthenticated_bytes = 10_000;
    let exit = Rogue::new(&net.net, 1);
    let node = net.nodes(&[2]).await.remove(0);
    let mut held = Vec::new();
    // Each announces a long first record and sends a part of it.
    let mut frame = Frame::zeroed();
    frame.as_mut_bytes()[..4].copy_from_slice(&[0x07, 0xc8, 0xf0, 0x00]);
    frame.as_mut_bytes()[4] = 1;
    for _ in 0..8 {
        let mut stream = exit.open(2, names().tunnel()).await;
        write_frame(&mut stream, &frame).await;
        held.push(stream);
    }
    node.until_metric("sotto_network_tunnels_ended_total{reason=\"crowded\"}", 3).await;
    assert_eq!(node.metric("sotto_network_tunnels_ended_total{reason=\"crowded\"}").await, 3, "five fit");
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_path_and_nobody_else_does() {
    let mut net = PathNet::new();
    net.deadlines.write_stall = Duration::from_millis(400);
    let (stalled, mut exit) = (Rogue::new(&net.net, 50), Rogue::new(&net.net, 3));
    let nodes = net.nodes(&[1, 2]).await;
    let (frame, build) = ClientBuild::new(&CHAIN, &[1, 2, 3].map(hop), minute(), &mut rng()).unwrap();
    let mut guard = stalled.open(1, names().path()).await;
    write_frame(&mut guard, &frame).await;
    let (_, mut middle) = exit.accept().await;
    let opened = open_build(3, &read_frame(&mut middle).await, &[Position::Exit]);
    let (reply, keys) = crate::support::reply(opened, Status::Built, None);
    write_frame(&mut middle, &reply).await;
    build.finish(&read_frame(&mut guard).await).unwrap();
    // The exit sends and sends; the client reads no more.
    let mut keys = keys.unwrap();
    let mut cell = [0; sotto_proto::limits::FRAME];
    loop {
        keys.backward.seal_body(&sotto_proto::cell::Body::Drop, &mut cell).unwrap();
        if middle.write_all(&cell).await.is_err() || middle.flush().await.is_err() {
            break;
        }
    }
    nodes[0].until_metric("sotto_network_paths_ended_total{reason=\"stalled\"}", 1).await;
    let open = nodes[0].metric("sotto_network_path_hops").await;
    assert_eq!(open, 0);
}

#[tokio::test]
async fn of_too_many_stalled_paths_the_oldest_dies() {
    let mut net = PathNet::new();
    net.caps.stalled_writes = 1;
    (net.caps.builds_per_second, net.caps.build_burst) = (1000, 1000);
    let (stalled, mut exit) = (Rogue::new(&net.net, 50), Rogue::new(&net.net, 3));
    let nodes = net.nodes(&[1, 2]).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let (frame, build) = ClientBuild::new(&CHAIN, &[1, 2, 3].map(hop), minute(), &mut rng()).unwrap();
        let mut guard = stalled.open(1, names().path()).await;
        write_frame(&mut guard, &frame).await;
        let (_, mut middle) = exit.accept().await;
        let opened = open_build(3, &read_frame(&mut middle).await, &[Position::Exit]);
        let (reply, keys) = crate::support::reply(opened, Status::Built, None);
        write_frame(&mut middle, &reply).await;
        build.finish(&read_frame(&mut guard).await).unwrap();
        let mut keys = keys.unwrap();
        let filling = tokio::spawn(async move {
            let mut cell = [0; sotto_proto::limits::FRAME];
            loop {
                keys.backward.seal_body(&sotto_proto::cell::Body::Drop, &mut cell).unwrap();
                if middle.write_all(&cell).await.is_err() || middle.flush().await.is_err() {
                    return;
                }
            }
        });
        held.push((guard, filling));
    }
    nodes[0].until_metric("sotto_network_paths_ended_total{reason=\"stalled\"}", 1).await;
}
