//! How hosts find and lose each other.

use std::time::Duration;

use sotto_behaviours::network::{NetworkConfig, Peer, Request, RequestError, Response, Role, SendError};
use sotto_proto::id::ChainId;
use sotto_proto::request::{ChainRequest, ChainResponse};

use crate::support::{Net, block, drive_for, node_of, until};

#[tokio::test]
async fn members_that_dial_at_once_end_with_one_connection() {
    let net = Net::new();
    let view = net.view(1, &[1, 2, 3], &[(7, &[1, 2, 3])]);
    let mut hosts: Vec<_> = [1, 2, 3].map(|seed| net.host(seed, view.clone())).into();
    until(&mut hosts, "each has one connection with both others", |hosts| {
        hosts.iter().all(|host| host.network.counts().swarm_connected == 2 && host.network.counts().established == 2)
    })
    .await;
    // And it stays so.
    drive_for(&mut hosts, Duration::from_secs(5)).await;
    for host in &hosts {
        assert_eq!(host.network.counts().established, 2);
        assert_eq!(host.metric("sotto_network_connections_closed_total{reason=\"deaf\"}"), 0);
    }
}

#[tokio::test]
async fn a_member_that_was_restarted_hears_gossip_again() {
    let net = Net::tcp();
    let view = net.view(1, &[1, 2], &[(7, &[1, 2])]);
    let mut hosts: Vec<_> = [1, 2].map(|seed| net.host(seed, view.clone())).into();
    until(&mut hosts, "connected", |hosts| hosts.iter().all(|host| host.network.counts().swarm_connected == 1)).await;
    drop(hosts.pop());
    until(&mut hosts, "the end was noticed", |hosts| !hosts[0].is_connected(2)).await;
    hosts.push(net.host(2, view));
    let mut sent = 0;
    until(&mut hosts, "the restarted one hears the first", |hosts| {
        hosts[0].network.publish_swarm(vec![1, sent]);
        sent = sent.wrapping_add(1);
        !hosts[1].swarm_messages.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_host_of_another_genesis_fails_at_negotiation_and_is_reported() {
    let net = Net::new();
    let other = Net { chain: ChainId::new([0x77; 32]), ..net.clone() };
    let producer = other.host(0, net.view(1, &[], &[]));
    let mut hosts = vec![net.host(1, net.view(1, &[], &[])), producer];
    until(&mut hosts, "reported", |hosts| hosts[0].foreign.contains(&node_of(0))).await;
    until(&mut hosts, "closed", |hosts| hosts[0].network.counts().established == 0).await;
    assert_eq!(hosts[0].metric("sotto_network_connections_closed_total{reason=\"foreign\"}"), 1);
    // It is not dialled in a loop, and requests to it fail at once.
    let refused = hosts[0].network.request(node_of(0), Request::Chain(ChainRequest::Tip));
    assert_eq!(refused, Err(SendError::Unreachable));
}

#[tokio::test]
async fn a_protocol_that_the_peer_does_not_speak_is_a_typed_error_and_no_hang() {
    let net = Net::new();
    let mut hosts = vec![net.client(2), net.host(0, net.view(1, &[], &[]))];
    // A client speaks `list` and `chain` to ask only; the producer is told where it listens.
    let listening = NetworkConfig { role: Role::Client, listen: Some(net.address(3)), ..net.config(3) };
    hosts.push(net.host_with(listening, net.view(1, &[], &[])));
    let with_it = NetworkConfig { bootstrap: vec![net.peer(3)], role: Role::Client, listen: None, ..net.config(4) };
    hosts.push(net.host_with(with_it, net.view(1, &[], &[])));
    let id = hosts[3].network.request(node_of(3), Request::Chain(ChainRequest::Tip)).unwrap();
    until(&mut hosts, "failed", |hosts| hosts[3].responses.contains_key(&id)).await;
    assert_eq!(hosts[3].responses[&id].1, Err(RequestError::Unsupported));
}

#[tokio::test]
async fn a_client_reaches_the_producer_and_dials_nobody_by_itself() {
    let net = Net::new();
    let mut hosts = vec![net.client(2), net.host(0, net.view(1, &[], &[])).with_blocks(5)];
    drive_for(&mut hosts, Duration::from_millis(300)).await;
    assert_eq!(hosts[0].network.counts().established, 0);
    let id = hosts[0].network.request(node_of(0), Request::Chain(ChainRequest::Tip)).unwrap();
    until(&mut hosts, "answered", |hosts| hosts[0].responses.contains_key(&id)).await;
    assert!(
        matches!(&hosts[0].responses[&id].1, Ok(Response::Chain(ChainResponse::Tip { height, .. })) if height.0 == 5)
    );
}

#[tokio::test]
async fn unreachable_and_unknown_peers_are_told_apart_from_the_node_itself() {
    let net = Net::new();
    let mut hosts = vec![net.host(1, net.view(1, &[], &[]))];
    let ask = Request::Chain(ChainRequest::Tip);
    assert_eq!(hosts[0].network.request(node_of(1), ask.clone()), Err(SendError::Own));
    assert_eq!(hosts[0].network.request(node_of(9), ask.clone()), Err(SendError::NoAddress));
    let id = hosts[0].network.request(node_of(0), ask).unwrap();
    until(&mut hosts, "nobody listens there", |hosts| hosts[0].responses.contains_key(&id)).await;
    assert_eq!(hosts[0].responses[&id].1, Err(RequestError::Unreachable));
}

#[tokio::test]
async fn over_tcp_too_nodes_find_each_other_and_dial_from_where_they_listen() {
    let net = Net::tcp();
    let view = net.view(1, &[1, 2], &[(7, &[1, 2])]);
    let mut hosts: Vec<_> = [0, 1, 2].map(|seed| net.host(seed, view.clone())).into();
    until(&mut hosts, "all connected", |hosts| {
        hosts.iter().skip(1).all(|host| host.network.counts().swarm_connected == 1 && host.is_connected(0))
    })
    .await;
    let mut height = 0;
    until(&mut hosts, "a block arrived", |hosts| {
        height += 1;
        hosts[0].network.publish_block(block(height));
        hosts.iter().skip(1).all(|host| !host.gossiped_blocks.is_empty())
    })
    .await;
}

#[tokio::test]
async fn a_taken_listen_address_is_an_error_at_once() {
    let net = Net::tcp();
    let _first = net.host(1, net.view(1, &[], &[]));
    let (_view, receiver) = tokio::sync::watch::channel(net.view(1, &[], &[]));
    let config = NetworkConfig { identity: [2; 32].into(), ..net.config(1) };
    let error = sotto_behaviours::network::Network::new(config, receiver, None).unwrap_err();
    assert!(matches!(error, sotto_behaviours::network::BuildError::Listen { .. }), "{error}");
}

#[tokio::test]
async fn a_bootstrap_node_stands_in_for_the_producer() {
    let net = Net::new();
    let view = net.view(1, &[2], &[]);
    let newcomer = NetworkConfig {
        producer: Peer { node: node_of(0), addresses: Vec::new() },
        bootstrap: vec![net.peer(2)],
        ..net.config(1)
    };
    let mut hosts = vec![net.host_with(newcomer, net.view(0, &[], &[])), net.host(2, view).with_blocks(120)];
    until(&mut hosts, "it has the chain", |hosts| hosts[0].tip() == 120).await;
}

#[tokio::test]
async fn a_producer_can_show_different_blocks_to_different_nodes() {
    let net = Net::new();
    let view = net.view(1, &[1, 2], &[]);
    // Neither node listens, so they do not reach each other and nothing is passed on.
    let lonely = |seed| net.host_with(NetworkConfig { listen: None, ..net.config(seed) }, view.clone());
    let mut hosts = vec![net.host(0, view.clone()), lonely(1), lonely(2)];
    let mut height = 0;
    until(&mut hosts, "both hear the producer", |hosts| {
        height += 1;
        hosts[0].network.publish_block(block(height));
        hosts[1..].iter().all(|host| !host.gossiped_blocks.is_empty())
    })
    .await;
    drive_for(&mut hosts, Duration::from_millis(500)).await;
    hosts.iter_mut().for_each(|host| host.gossiped_blocks.clear());
    for (own, other) in [(1_u8, 2_u8), (2, 1)] {
        let shown = block(1_000_000 + u64::from(own));
        hosts[0].network.publish_block_to(shown.clone(), |node| *node != node_of(other));
        until(&mut hosts, "it is shown", |hosts| hosts[usize::from(own)].gossiped_blocks == [shown.clone()]).await;
    }
    drive_for(&mut hosts, Duration::from_millis(500)).await;
    assert!(hosts[1..].iter().all(|host| host.gossiped_blocks.len() == 1), "each saw one");
    // Nobody is left out for good.
    hosts[0].network.publish_block(block(2_000_000));
    until(&mut hosts, "both hear again", |hosts| hosts[1..].iter().all(|host| host.gossiped_blocks.len() == 2)).await;
}
