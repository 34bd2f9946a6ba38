//! Who is not to hear gossip, and tries: 0 bytes of payload.

use std::time::Duration;

use sotto_behaviours::names::Names;
use sotto_proto::domain;
use sotto_proto::hash::{Hasher, hash};
use sotto_proto::id::SwarmId;

use crate::support::{Host, Hostile, Net, block, drive_for, node_of, rpc, until};
use crate::test_support::CHAIN;

const SWARM: u64 = 7;
const RECORD: &[u8] = b"a record of the swarm, ciphertext and all";

/// Subscribes to both topics, asks to be grafted, and asks for the messages by their ids, again and again.
fn pry(hostile: &Hostile, names: &Names, target: u8) {
    let record_id = hash(domain::GOSSIP, RECORD).as_bytes()[..20].to_vec();
    let header_and_signature = &block(5)[..209];
    let block_hash = Hasher::new(domain::BLOCK).chain(CHAIN).chain(header_and_signature).finish();
    let block_id = block_hash.as_bytes()[..20].to_vec();
    let chain = rpc::subscribe_graft_iwant(&names.chain_topic().to_string(), &[block_id]);
    let swarm = rpc::subscribe_graft_iwant(&names.swarm_topic(SwarmId(SWARM)).to_string(), &[record_id]);
    hostile.send(node_of(target), &names.chain_gossip(), chain, false);
    hostile.send(node_of(target), &names.swarm_gossip(), swarm, false);
}

/// Node 1 and 2 share a swarm; 3 is staked and in another; 4 is a stranger.
async fn two_members(net: &Net) -> Vec<Host> {
    let (ours, theirs) = ([1, 2, 11, 12, 13], [3, 21, 22, 23, 24]);
    let listed: Vec<u8> = ours.iter().chain(&theirs).copied().collect();
    let view = net.view(5, &listed, &[(SWARM, &ours), (9, &theirs)]);
    let mut hosts: Vec<_> = [1, 2].map(|seed| net.host(seed, view.clone())).into();
    until(&mut hosts, "the members are connected", |hosts| {
        hosts.iter().all(|host| host.network.counts().swarm_connected == 1)
    })
    .await;
    hosts
}

fn hostile(net: &Net, names: &Names, seed: u8, target: u8) -> Hostile {
    // It keeps silent on `chain`: whoever does not even speak that is taken for a host of another network.
    let accepts = vec![names.chain_gossip(), names.swarm_gossip(), names.chain()];
    Hostile::connect(seed, (node_of(target), net.address(target)), accepts, None)
}

/// Lets both members publish while the hostile one pries, until both have heard both.
async fn publish_while(hosts: &mut [Host], hostile: &Hostile, names: &Names) {
    until(hosts, "the hostile peer is connected", |_| hostile.see(|seen| seen.connected)).await;
    pry(hostile, names, 1);
    drive_for(hosts, Duration::from_millis(300)).await;
    until(hosts, "the other member has both", |hosts| {
        hosts[0].network.publish_swarm(RECORD.to_vec());
        hosts[0].network.publish_block(block(5));
        !hosts[1].swarm_messages.is_empty() && !hosts[1].gossiped_blocks.is_empty()
    })
    .await;
    pry(hostile, names, 1);
    // Two heartbeats: adverts and grafts have had their chance.
    drive_for(hosts, Duration::from_millis(2500)).await;
    pry(hostile, names, 1);
    drive_for(hosts, Duration::from_millis(500)).await;
}

#[tokio::test]
async fn a_stranger_gets_nothing_of_either_instance() {
    let net = Net::new();
    let names = Names::new(&CHAIN);
    let mut hosts = two_members(&net).await;
    let stranger = hostile(&net, &names, 4, 1);
    publish_while(&mut hosts, &stranger, &names).await;
    for name in [names.chain_gossip(), names.swarm_gossip()] {
        assert_eq!(stranger.see(|seen| seen.opened.get(name.as_ref()).copied()), None, "no stream was opened to it");
        assert_eq!(stranger.bytes_of(&name), 0, "{name}");
    }
    let refused = stranger.see(|seen| seen.answers.iter().filter(|(_, answer)| answer.is_err()).count());
    assert_eq!(refused, 6, "each of its streams failed");
}

#[tokio::test]
async fn a_staked_node_of_another_swarm_gets_blocks_and_nothing_of_the_swarm() {
    let net = Net::new();
    let names = Names::new(&CHAIN);
    let mut hosts = two_members(&net).await;
    let neighbour = hostile(&net, &names, 3, 1);
    publish_while(&mut hosts, &neighbour, &names).await;
    assert_eq!(neighbour.see(|seen| seen.opened.get(names.swarm_gossip().as_ref()).copied()), None);
    assert_eq!(neighbour.bytes_of(&names.swarm_gossip()), 0);
    // It may have blocks, which shows that this test would have seen what it looks for.
    let got = neighbour.see(|seen| seen.pushed.get(names.chain_gossip().as_ref()).cloned().unwrap_or_default());
    assert!(contains(&got, &block(5)));
}

#[tokio::test]
async fn a_member_that_behaves_the_same_way_does_get_the_swarms_messages() {
    let net = Net::new();
    let names = Names::new(&CHAIN);
    let mut hosts = two_members(&net).await;
    let member = hostile(&net, &names, 11, 1);
    publish_while(&mut hosts, &member, &names).await;
    let got = member.see(|seen| seen.pushed.get(names.swarm_gossip().as_ref()).cloned().unwrap_or_default());
    assert!(contains(&got, RECORD));
}

#[tokio::test]
async fn what_a_silent_member_says_it_has_is_asked_of_another() {
    let net = Net::new();
    let names = Names::new(&CHAIN);
    let mut hosts = two_members(&net).await;
    let (silent, other) = (hostile(&net, &names, 11, 1), hostile(&net, &names, 12, 1));
    let topic = names.swarm_topic(SwarmId(SWARM)).to_string();
    let (id, name) = (vec![0xab; 20], names.swarm_gossip());
    for member in [&silent, &other] {
        until(&mut hosts, "connected", |_| member.see(|seen| seen.connected)).await;
        let is_asked = || member.see(|seen| seen.pushed.get(name.as_ref()).is_some_and(|came| contains(came, &id)));
        // Each is a stream of its own, of which gossipsub takes four of a peer; a promise is given up at the first
        // heartbeat a second after it.
        for _ in 0..4 {
            member.send(node_of(1), &name, rpc::subscribe_ihave(&topic, std::slice::from_ref(&id)), false);
            drive_for(&mut hosts, Duration::from_millis(800)).await;
            if is_asked() {
                break;
            }
        }
        assert!(is_asked());
    }
}

#[tokio::test]
async fn what_an_outsider_publishes_reaches_nobody() {
    let net = Net::new();
    let names = Names::new(&CHAIN);
    let mut hosts = two_members(&net).await;
    let outsider = hostile(&net, &names, 3, 1);
    until(&mut hosts, "connected", |_| outsider.see(|seen| seen.connected)).await;
    let topic = names.swarm_topic(SwarmId(SWARM)).to_string();
    outsider.send(node_of(1), &names.swarm_gossip(), rpc::publish(&topic, b"forged"), false);
    // The other topic over the instance that it may use.
    outsider.send(node_of(1), &names.chain_gossip(), rpc::publish(&topic, b"forged"), false);
    drive_for(&mut hosts, Duration::from_millis(1500)).await;
    assert!(hosts.iter().all(|host| host.swarm_messages.is_empty()));
}

#[tokio::test]
async fn garbage_on_a_gossip_stream_leaves_everybody_else_alone() {
    let net = Net::new();
    let names = Names::new(&CHAIN);
    let mut hosts = two_members(&net).await;
    let neighbour = hostile(&net, &names, 3, 1);
    until(&mut hosts, "connected", |_| neighbour.see(|seen| seen.connected)).await;
    let topic = names.chain_topic().to_string();
    for bytes in [
        vec![0xff; 100],
        vec![0xff, 0xff, 0xff, 0xff, 0x0f],
        vec![5, 1, 2],
        rpc::publish(&topic, b"not a block"),
        rpc::publish(&topic, &[1; 300]),
    ] {
        neighbour.send(node_of(1), &names.chain_gossip(), bytes, true);
    }
    drive_for(&mut hosts, Duration::from_millis(500)).await;
    assert!(
        hosts[0].gossiped_blocks.iter().all(|bytes| bytes == &vec![1; 300]),
        "only what looks like a block comes up"
    );
    until(&mut hosts, "the members still hear each other", |hosts| {
        hosts[0].network.publish_swarm(RECORD.to_vec());
        !hosts[1].swarm_messages.is_empty()
    })
    .await;
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
