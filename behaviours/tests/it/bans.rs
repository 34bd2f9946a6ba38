//! Registered peers that gossip what they should not: little of it is kept, and for some of it they are kept out.

use std::time::Duration;

use sotto_behaviours::bans::BAN;
use sotto_behaviours::membership::Direction;
use sotto_behaviours::names::Names;
use sotto_behaviours::network::Verdict;
use sotto_proto::id::SwarmId;

use crate::support::{Host, Hostile, Net, block, drive_for, node_of, rpc, until};
use crate::test_support::CHAIN;

const BANNED: &str = "sotto_network_peers_banned_total";

/// Nodes 1 and 2, and 3, which is hostile and registered too.
async fn scene() -> (Net, Vec<Host>, Hostile, Names) {
    let net = Net::new();
    let names = Names::new(&CHAIN);
    let view = net.view(5, &[1, 2, 3], &[(7, &[1, 2, 3])]);
    let mut hosts: Vec<_> = [1, 2].map(|seed| net.host(seed, view.clone())).into();
    let accepts = vec![names.chain_gossip(), names.swarm_gossip(), names.chain()];
    let hostile = Hostile::connect(3, (node_of(1), net.address(1)), accepts, None);
    until(&mut hosts, "all are connected", |hosts| {
        hosts[0].is_connected(2) && hosts[0].is_connected(3) && hostile.see(|seen| seen.connected)
    })
    .await;
    assert!(hosts[0].network.directions(&node_of(3)).eq([Direction::Accepted]));
    (net, hosts, hostile, names)
}

/// Everything on one stream: gossipsub gives up on a peer that opens many.
fn gossip(hostile: &Hostile, names: &Names, messages: impl IntoIterator<Item = (String, Vec<u8>)>) {
    let frames: Vec<u8> = messages.into_iter().flat_map(|(topic, data)| rpc::publish(&topic, &data)).collect();
    hostile.send(node_of(1), &names.chain_gossip(), frames, false);
}

fn blocks(names: &Names, heights: impl IntoIterator<Item = u64>) -> Vec<(String, Vec<u8>)> {
    heights.into_iter().map(|height| (names.chain_topic().to_string(), block(height))).collect()
}

/// Node 2 is heard by node 1.
async fn honest_neighbour_is_heard(hosts: &mut [Host], height: u64) {
    until(hosts, "the honest neighbour is heard", |hosts| {
        hosts[1].network.publish_block(block(height));
        hosts[0].gossiped_blocks.contains(&block(height))
    })
    .await;
}

async fn is_kept_out(hosts: &mut [Host]) {
    until(hosts, "it is banned and comes again in vain", |hosts| {
        hosts[0].metric(BANNED) == 1
            && !hosts[0].is_connected(3)
            && hosts[0].metric("sotto_network_connections_refused_total{reason=\"banned\"}") > 2
    })
    .await;
    assert!(hosts[0].is_connected(2), "nobody else is concerned");
    let banned: Vec<_> = hosts[0].network.banned().collect();
    assert!(matches!(banned[..], [(node, left)] if node == node_of(3) && left <= BAN), "{banned:?}");
}

#[tokio::test]
async fn a_peer_that_gossips_invalid_blocks_is_kept_out() {
    let (_, mut hosts, hostile, names) = scene().await;
    hosts[0].verdict = Some(Verdict::Reject);
    gossip(&hostile, &names, blocks(&names, 100..107));
    until(&mut hosts, "seven were judged", |hosts| hosts[0].gossiped_blocks.len() == 7).await;
    drive_for(&mut hosts, Duration::from_millis(300)).await;
    assert_eq!((hosts[0].metric(BANNED), hosts[0].is_connected(3)), (0, true));
    gossip(&hostile, &names, blocks(&names, 107..108));
    is_kept_out(&mut hosts).await;
    hosts[0].verdict = Some(Verdict::Accept);
    honest_neighbour_is_heard(&mut hosts, 300).await;
}

#[tokio::test]
async fn a_peer_that_gossips_on_foreign_topics_or_no_blocks_is_kept_out_and_nothing_of_it_comes_up() {
    let (_, mut hosts, hostile, names) = scene().await;
    let foreign = (0..5).map(|index| (format!("topic {index}"), vec![1; 100_000]));
    let of_another_instance = [(names.swarm_topic(SwarmId(7)).to_string(), block(9))];
    let no_blocks = (0..5).map(|index| (names.chain_topic().to_string(), vec![index; 10]));
    gossip(&hostile, &names, foreign.chain(of_another_instance).chain(no_blocks));
    is_kept_out(&mut hosts).await;
    assert!(hosts[0].gossiped_blocks.is_empty() && hosts[0].swarm_messages.is_empty());
    honest_neighbour_is_heard(&mut hosts, 300).await;
}

#[tokio::test]
async fn what_cannot_be_judged_is_no_offence() {
    let (_, mut hosts, hostile, names) = scene().await;
    hosts[0].verdict = Some(Verdict::Ignore);
    gossip(&hostile, &names, blocks(&names, 100..130));
    until(&mut hosts, "all were judged", |hosts| hosts[0].gossiped_blocks.len() == 30).await;
    drive_for(&mut hosts, Duration::from_millis(1500)).await;
    assert_eq!((hosts[0].metric(BANNED), hosts[0].is_connected(3)), (0, true));
}

#[tokio::test]
async fn of_one_source_eight_blocks_wait_for_their_verdicts() {
    let (_, mut hosts, hostile, names) = scene().await;
    hosts[0].verdict = None;
    gossip(&hostile, &names, blocks(&names, 100..120));
    until(&mut hosts, "the others are not judged", |hosts| {
        hosts[0].metric("sotto_network_gossip_judged_total{reason=\"ignored\"}") == 12
    })
    .await;
    assert_eq!(hosts[0].gossiped_blocks, (100..108).map(block).collect::<Vec<_>>());
    // Another source has its own.
    honest_neighbour_is_heard(&mut hosts, 300).await;
    assert_eq!(hosts[0].metric(BANNED), 0);
}

#[tokio::test]
async fn of_a_flood_of_blocks_few_are_let_in_and_old_ones_never() {
    let (net, mut hosts, hostile, names) = scene().await;
    hosts[0].verdict = Some(Verdict::Ignore);
    // The tip is at 1003; what is older than the final blocks that all have in common is of no use.
    hosts[0].set_view(net.view(1000, &[1, 2, 3], &[(7, &[1, 2, 3])]));
    until(&mut hosts, "still connected", |hosts| hosts[0].is_connected(2) && hosts[0].is_connected(3)).await;
    gossip(&hostile, &names, blocks(&names, (0..900).chain(2000..2900)));
    until(&mut hosts, "the first were judged", |hosts| hosts[0].gossiped_blocks.len() >= 64).await;
    drive_for(&mut hosts, Duration::from_millis(1500)).await;
    let let_in = hosts[0].gossiped_blocks.len();
    assert!(let_in < 300, "{let_in}");
    assert!(hosts[0].gossiped_blocks.iter().all(|bytes| (2000..2900).any(|height| *bytes == block(height))));
    hosts[0].verdict = Some(Verdict::Accept);
    honest_neighbour_is_heard(&mut hosts, 3000).await;
}
