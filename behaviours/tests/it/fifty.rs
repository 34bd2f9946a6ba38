//! The size of the testnet: fifty nodes, five swarms of ten.

use std::time::{Duration, Instant};

use crate::support::{Net, block, drive_for, until};

#[tokio::test]
async fn fifty_nodes_form_their_swarms_and_hear_every_block() {
    let net = Net::new();
    let seeds: Vec<u8> = (1..=50).collect();
    let swarms: Vec<(u64, &[u8])> = (1..).zip(seeds.chunks(10)).collect();
    let nobody = net.view(0, &[], &[]);
    let mut hosts: Vec<_> = (0..=50).map(|seed| net.host(seed, nobody.clone())).collect();
    until(&mut hosts, "all know the producer", |hosts| hosts[0].network.counts().clients == 50).await;

    // They are registered, and learn of it one after the other, as blocks spread.
    let started = Instant::now();
    let registered = net.view(1, &seeds, &swarms);
    for index in 0..hosts.len() {
        hosts[index].set_view(registered.clone());
        if index % 10 == 0 {
            drive_for(&mut hosts, Duration::from_millis(20)).await;
        }
    }
    until(&mut hosts, "every swarm is complete", |hosts| {
        hosts[1..].iter().all(|host| host.network.counts().swarm_connected == 9)
    })
    .await;
    let complete = started.elapsed();

    let mut height = 0;
    while !hosts[1..].iter().all(|host| host.gossiped_blocks.contains(&block(height))) {
        height += 1;
        hosts[0].network.publish_block(block(height));
        drive_for(&mut hosts, Duration::from_millis(500)).await;
        assert!(height < 40, "no block reaches all");
    }
    let dials: u64 = hosts.iter().map(|host| host.metric("libp2p_swarm_dial_attempt_total")).sum();
    let connections: usize = hosts.iter().map(|host| host.network.counts().established).sum();
    eprintln!(
        "fifty nodes: swarms complete after {complete:?}, block {height} heard by all after {:?}, {dials} dials, {} \
         connections",
        started.elapsed(),
        connections / 2
    );
    // Twice the network's size in dials would mean that they cross or fail all the time.
    assert!(dials < 3 * connections as u64, "{dials} dials for {connections} ends of connections");
}
