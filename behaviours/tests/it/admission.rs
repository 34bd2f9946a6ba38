//! Gates that open and close while peers are connected.

use std::time::Duration;

use crate::support::{Net, block, drive_for, until};

#[tokio::test]
async fn a_newcomer_hears_gossip_as_soon_as_it_is_registered() {
    let net = Net::new();
    let before = net.view(1, &[], &[]);
    let mut hosts = vec![net.host(0, before.clone()), net.host(1, before)];
    until(&mut hosts, "connected", |hosts| hosts[1].is_connected(0)).await;
    hosts[0].network.publish_block(block(1));
    drive_for(&mut hosts, Duration::from_millis(500)).await;
    assert!(hosts[1].gossiped_blocks.is_empty());
    assert!(hosts[0].metric("sotto_network_gossip_unsent_total{reason=\"nobody\"}") >= 1);

    let after = net.view(2, &[1], &[]);
    hosts[0].set_view(after.clone());
    hosts[1].set_view(after);
    until(&mut hosts, "the connection was closed and made anew", |hosts| {
        hosts[1].disconnections == 1 && hosts[1].is_connected(0)
    })
    .await;
    until(&mut hosts, "it hears the next block", |hosts| {
        hosts[0].network.publish_block(block(2));
        hosts[1].gossiped_blocks.contains(&block(2))
    })
    .await;
}

#[tokio::test]
async fn nodes_that_learn_of_a_registration_at_different_times_end_connected() {
    let net = Net::new();
    let members: [&[u8]; 2] = [&[1, 2], &[1, 2, 3]];
    let before = net.view(1, members[0], &[(7, members[0])]);
    let after = net.view(2, members[1], &[(7, members[1])]);
    let mut hosts: Vec<_> = [1, 2, 3].map(|seed| net.host(seed, before.clone())).into();
    until(&mut hosts, "two are connected", |hosts| hosts[0].network.counts().swarm_connected == 1).await;
    for index in [2, 0, 1] {
        hosts[index].set_view(after.clone());
        drive_for(&mut hosts, Duration::from_millis(700)).await;
    }
    until(&mut hosts, "all hear each other", |hosts| {
        hosts[2].network.publish_swarm(b"hello".to_vec());
        hosts[..2].iter().all(|host| !host.swarm_messages.is_empty())
    })
    .await;
}

#[tokio::test]
async fn a_member_that_leaves_the_swarm_hears_nothing_more_once_no_recent_map_has_it() {
    let net = Net::new();
    let all = [1, 2, 3];
    let before = net.view(1, &all, &[(7, &all)]);
    let mut hosts: Vec<_> = all.map(|seed| net.host(seed, before.clone())).into();
    until(&mut hosts, "all hear each other", |hosts| {
        hosts[0].network.publish_swarm(b"one".to_vec());
        hosts[1..].iter().all(|host| !host.swarm_messages.is_empty())
    })
    .await;
    let after = net.view(2, &all, &[(7, &all[..2])]);
    for host in &hosts {
        host.set_view(after.clone());
    }
    hosts[2].swarm_messages.clear();
    until(&mut hosts, "those who stay hear each other", |hosts| {
        hosts[0].network.publish_swarm(b"two".to_vec());
        hosts[1].swarm_messages.contains(&b"two".to_vec())
    })
    .await;
    drive_for(&mut hosts, Duration::from_millis(1500)).await;
    assert!(hosts[2].swarm_messages.is_empty());
}

#[tokio::test]
async fn the_topic_follows_the_own_swarm() {
    let net = Net::new();
    let all = [1, 2];
    let before = net.view(1, &all, &[(7, &all)]);
    let mut hosts: Vec<_> = all.map(|seed| net.host(seed, before.clone())).into();
    until(&mut hosts, "heard", |hosts| {
        hosts[0].network.publish_swarm(b"one".to_vec());
        !hosts[1].swarm_messages.is_empty()
    })
    .await;
    // Both are drawn into a new swarm; one of them hears of it first.
    let after = net.view(2, &all, &[(9, &all)]);
    hosts[1].set_view(after.clone());
    drive_for(&mut hosts, Duration::from_millis(300)).await;
    hosts[0].set_view(after);
    let disconnections = hosts[0].disconnections;
    let mut sent = 0;
    until(&mut hosts, "heard on the new topic", |hosts| {
        sent += 1;
        hosts[0].network.publish_swarm(format!("two {sent}").into_bytes());
        hosts[1].swarm_messages.iter().any(|message| message.starts_with(b"two"))
    })
    .await;
    assert_eq!(hosts[0].disconnections, disconnections, "they stay admitted, so they stay connected");
}
