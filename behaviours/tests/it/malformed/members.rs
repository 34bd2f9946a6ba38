//! The same between members of a swarm, and what a member says again and again.

use sotto_proto::id::{Height, ItemId, SwarmId};
use sotto_proto::request::{
    Item, OfferRequest, OfferResponse, PublishOrder, RepairRequest, RepairResponse, Scope, Summary, SwarmRequest,
};
use sotto_proto::time::UnixSeconds;

use super::*;
use crate::support::{block, drive_for, rpc};

const SWARM: u64 = 7;
const MEMBERS: [u8; 5] = [0, 2, 3, 12, 13];

fn scope() -> Scope {
    Scope { height: Height(5), swarm: SwarmId(SWARM), until: UnixSeconds(1), cutoff: UnixSeconds(2) }
}

fn summary() -> RepairRequest {
    RepairRequest::Summary(Summary { scope: scope(), count: 0, fingerprint: [0; 16].into() })
}

fn offer() -> OfferRequest {
    OfferRequest::Offer(vec![ItemId::new([5; 32])])
}

/// Two members that keep to the protocol, and one that does not.
async fn scene() -> (Vec<Host>, Hostile, Names) {
    let net = Net { timeouts: Timeouts { request: Duration::from_secs(2), ..Timeouts::default() }, ..Net::new() };
    let names = Names::new(&CHAIN);
    let view = net.view(5, &MEMBERS, &[(SWARM, &MEMBERS)]);
    // The first is no producer here.
    let config = NetworkConfig { role: Role::Node, producer: net.peer(9), ..net.config(0) };
    let other = NetworkConfig { producer: net.peer(9), ..net.config(2) };
    let mut hosts = vec![net.host_with(config, view.clone()).with_blocks(2), net.host_with(other, view)];
    until(&mut hosts, "the members are connected", |hosts| hosts[0].is_connected(2) && hosts[1].is_connected(0)).await;
    let accepts = vec![names.repair(), names.offer(), names.chain(), names.chain_gossip(), names.swarm_gossip()];
    let hostile = Hostile::connect(3, (node_of(0), net.address(0)), accepts, None);
    until(&mut hosts, "the hostile member is connected", |_| hostile.see(|seen| seen.connected)).await;
    (hosts, hostile, names)
}

async fn honest_member_is_served(hosts: &mut [Host]) {
    for request in [Request::Repair(summary()), Request::Offer(offer())] {
        let id = hosts[1].network.request(node_of(0), request).unwrap();
        until(hosts, "the honest member is served", |hosts| hosts[1].responses.contains_key(&id)).await;
        let answer = &hosts[1].responses[&id].1;
        assert!(matches!(
            answer,
            Ok(Response::Repair(RepairResponse::Taken) | Response::Offer(OfferResponse::Durable(_)))
        ));
    }
}

/// What was said to it, without its length.
fn repair_error(answer: io::Result<Vec<u8>>) -> Error {
    match RepairResponse::decode(&answer.unwrap()[4..]).unwrap() {
        RepairResponse::Error(error) => error,
        other => panic!("{other:?}"),
    }
}

fn offer_error(answer: io::Result<Vec<u8>>) -> Error {
    match OfferResponse::decode(&answer.unwrap()[4..]).unwrap() {
        OfferResponse::Error(error) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_members_cannot_understand_is_answered_as_malformed() {
    let (mut hosts, hostile, names) = scene().await;
    // An unknown field, a wrong type, a bad tag, nothing, a request of another protocol, a field that is a byte short.
    let store = SwarmRequest::Store { record: vec![1; 99], publish_order: PublishOrder::First };
    let short = |mut request: Vec<u8>| {
        request.truncate(request.len() - 1);
        request[1] -= 1;
        request[3] -= 1;
        request
    };
    let common = [vec![0x7a, 2, 1, 2], vec![0x08, 1], vec![0xff; 40], Vec::new(), store.encode().unwrap()];
    let cases = |more: Vec<u8>| common.iter().cloned().chain([more]).map(|b| (framed(&b), true)).collect::<Vec<_>>();
    for answer in answers(&mut hosts, &hostile, &names.repair(), cases(short(summary().encode().unwrap()))).await {
        assert_eq!(repair_error(answer), Error::Malformed);
    }
    for answer in answers(&mut hosts, &hostile, &names.offer(), cases(short(offer().encode().unwrap()))).await {
        assert_eq!(offer_error(answer), Error::Malformed);
    }
    honest_member_is_served(&mut hosts).await;
    assert!(hosts[0].metric("sotto_network_requests_refused_total{reason=\"malformed\"}") >= 12);
}

#[tokio::test]
async fn a_length_of_a_member_above_the_bound_is_refused_without_being_read() {
    let (mut hosts, hostile, names) = scene().await;
    let cases = |limit: usize| {
        let above = u32::try_from(limit + 1).unwrap().to_be_bytes();
        vec![(above.to_vec(), false), (u32::MAX.to_be_bytes().to_vec(), false)]
    };
    for answer in answers(&mut hosts, &hostile, &names.repair(), cases(RepairRequest::MAX_BYTES)).await {
        assert_eq!(repair_error(answer), Error::TooLarge);
    }
    for answer in answers(&mut hosts, &hostile, &names.offer(), cases(OfferRequest::MAX_BYTES)).await {
        assert_eq!(offer_error(answer), Error::TooLarge);
    }
    honest_member_is_served(&mut hosts).await;
}

#[tokio::test]
async fn a_truncated_request_of_a_member_ends_the_stream_and_nothing_else() {
    let (mut hosts, hostile, names) = scene().await;
    let give = RepairRequest::Give { scope: scope(), items: vec![Item::Record(vec![7; 600])] };
    let hand = OfferRequest::Hand(vec![Item::Record(vec![7; 600])]);
    for (protocol, whole) in
        [(names.repair(), framed(&give.encode().unwrap())), (names.offer(), framed(&hand.encode().unwrap()))]
    {
        let cases = [0, 1, 3, 4, 5, whole.len() / 2, whole.len() - 1].map(|cut| (whole[..cut].to_vec(), true)).to_vec();
        for answer in answers(&mut hosts, &hostile, &protocol, cases).await {
            assert!(answer.unwrap_or_default().is_empty());
        }
    }
    honest_member_is_served(&mut hosts).await;
    assert_eq!(hostile.see(|seen| seen.connections), 1, "its connection lives");
}

#[tokio::test]
async fn random_bytes_of_a_member_never_harm_the_host() {
    let (mut hosts, hostile, names) = scene().await;
    let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), seed);
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    for (protocol, good) in [(names.repair(), summary().encode().unwrap()), (names.offer(), offer().encode().unwrap())]
    {
        let cases: Vec<_> = (0..60)
            .map(|index| {
                let bytes = bytes.new_tree(&mut runner).unwrap().current();
                // Without a length, with one, and a good request that goes on otherwise.
                let bytes = match index % 3 {
                    0 => bytes,
                    1 => framed(&bytes),
                    _ => framed(&[&good[..good.len() / 2], &bytes].concat()),
                };
                (bytes, true)
            })
            .collect();
        answers(&mut hosts, &hostile, &protocol, cases).await;
    }
    honest_member_is_served(&mut hosts).await;
    assert_eq!(hostile.see(|seen| seen.connections), 1);
}

#[tokio::test]
async fn a_block_that_is_gossiped_a_hundred_times_is_taken_once() {
    let (mut hosts, hostile, names) = scene().await;
    let topic = names.chain_topic().to_string();
    let again = |height| rpc::publish(&topic, &block(height)).repeat(100);
    hostile.send(node_of(0), &names.chain_gossip(), again(5), false);
    until(&mut hosts, "it came", |hosts| !hosts[0].gossiped_blocks.is_empty()).await;
    // By another member, too, and by the same on a new stream.
    hosts[1].network.publish_block(block(5));
    hostile.send(node_of(0), &names.chain_gossip(), again(5), false);
    drive_for(&mut hosts, Duration::from_millis(500)).await;
    assert_eq!(hosts[0].gossiped_blocks, [block(5)]);
    hostile.send(node_of(0), &names.chain_gossip(), again(6), false);
    until(&mut hosts, "the next one came", |hosts| hosts[0].gossiped_blocks.len() > 1).await;
    drive_for(&mut hosts, Duration::from_millis(500)).await;
    assert_eq!(hosts[0].gossiped_blocks, [block(5), block(6)]);
    assert!(hosts[1].gossiped_blocks.iter().filter(|taken| **taken == block(6)).count() <= 1, "nor is it passed on");
}
