//! Blocks, transactions and clocks among honest hosts.

use std::time::Duration;

use sotto_behaviours::network::{NetworkConfig, Peer, Response, WallClock};
use sotto_proto::id::NodeId;
use sotto_proto::request::ChainResponse;
use sotto_proto::time::UnixMillis;

use crate::support::{Host, Net, block, drive_for, node_of, transaction, until};

#[tokio::test]
async fn a_new_node_fetches_the_chain_from_the_producer() {
    let net = Net::new();
    let mut hosts = vec![net.host(0, net.view(0, &[], &[])).with_blocks(350), net.host(1, net.view(0, &[], &[]))];
    until(&mut hosts, "it has the chain", |hosts| hosts[1].tip() == 350).await;
    assert_eq!(hosts[1].chain, hosts[0].chain);
    assert!(hosts[1].metric("sotto_network_fetches_total{reason=\"inserted\"}") >= 4);
}

#[tokio::test]
async fn a_node_that_nobody_gossips_with_follows_all_the_same() {
    let net = Net::new();
    let mut hosts = vec![net.host(0, net.view(0, &[], &[])).with_blocks(3), net.host(1, net.view(0, &[], &[]))];
    until(&mut hosts, "it has the chain", |hosts| hosts[1].tip() == 3).await;
    for height in 4..7 {
        hosts[0].chain.insert(height, block(height));
        hosts[0].network.publish_block(block(height));
        until(&mut hosts, "it has the next block", |hosts| hosts[1].tip() == height).await;
    }
    assert!(hosts[1].gossiped_blocks.is_empty());
}

#[tokio::test]
async fn a_block_reaches_every_registered_node_by_gossip() {
    let net = Net::new();
    let listed = [1, 2, 3, 4, 5, 6];
    let view = net.view(1, &listed, &[]);
    let mut hosts: Vec<_> = (0..7).map(|seed| net.host(seed, view.clone())).collect();
    until(&mut hosts, "the mesh stands", |hosts| hosts.iter().all(|host| host.network.counts().nodes >= 3)).await;
    // While meshes form a block may pass a node by; then all have each.
    let mut height = 0;
    while !hosts[1..].iter().all(|host| host.gossiped_blocks.contains(&block(height))) {
        height += 1;
        hosts[0].network.publish_block(block(height));
        drive_for(&mut hosts, Duration::from_millis(300)).await;
        assert!(height < 60, "no block reaches all");
    }
    for host in &hosts[1..] {
        let last = host.gossiped_blocks.iter().filter(|bytes| **bytes == block(height));
        assert_eq!(last.count(), 1, "once each");
    }
}

#[tokio::test]
async fn a_transaction_reaches_the_producer_directly_or_over_another_node() {
    let net = Net::new();
    let view = net.view(1, &[1, 2], &[(7, &[1, 2])]);
    // Node 2 cannot reach the producer: what it knows of it is a closed door.
    let cut_off =
        NetworkConfig { producer: Peer { node: node_of(0), addresses: vec![net.address(99)] }, ..net.config(2) };
    // Nor does the producer know of node 2 and dial it.
    let without = net.view(1, &[1], &[]);
    let mut hosts = vec![net.host(0, without), net.host(1, view.clone()), net.host_with(cut_off, view)];
    until(&mut hosts, "connected", |hosts| hosts[1].is_connected(0) && hosts[2].is_connected(1)).await;

    submitted(&mut hosts, 1, transaction(1), node_of(0)).await;
    submitted(&mut hosts, 2, transaction(2), node_of(1)).await;
    assert!(hosts[0].transactions.contains(&transaction(1)) && hosts[0].transactions.contains(&transaction(2)));
}

/// Submits until it is taken, as its maker would: while dials cross, a connection may go in between.
async fn submitted(hosts: &mut [Host], by: usize, transaction: Vec<u8>, taken_by: NodeId) {
    for _ in 0..10 {
        let id = hosts[by].network.submit_transaction(transaction.clone()).unwrap();
        until(hosts, "answered", |hosts| hosts[by].responses.contains_key(&id)).await;
        if hosts[by].responses[&id] == (taken_by, Ok(Response::Chain(ChainResponse::Submitted))) {
            return;
        }
        drive_for(hosts, Duration::from_millis(500)).await;
    }
    panic!("not taken");
}

#[tokio::test]
async fn a_clock_two_minutes_off_is_noticed_by_its_owner() {
    let net = Net::new();
    let members = [1, 2, 3, 4];
    let view = net.view(4, &members, &[(7, &members)]);
    let slow = WallClock::new(|| UnixMillis(WallClock::system().now().0 - 120_000));
    let wrong = NetworkConfig { clock: slow, ..net.config(4) };
    let mut hosts: Vec<_> = [1, 2, 3].map(|seed| net.host(seed, view.clone())).into();
    hosts.push(net.host_with(wrong, view));
    until(&mut hosts, "it says so", |hosts| hosts[3].clock_judged == [true]).await;
    let offset = hosts[3].network.clock_offset().unwrap();
    assert!(offset.off && offset.peers == 3 && offset.millis.abs_diff(120_000) < 5_000, "{offset:?}");
    until(&mut hosts, "the others can tell", |hosts| hosts.iter().all(|host| host.network.clock_offset().is_some()))
        .await;
    assert!(hosts[..3].iter().all(|host| host.clock_judged.is_empty()));
}
