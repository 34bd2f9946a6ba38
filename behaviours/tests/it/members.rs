//! Repair and hand-over: who may ask, and who negotiates in vain.

use std::time::Duration;

use sotto_behaviours::names::Names;
use sotto_behaviours::network::{NetworkConfig, Request, RequestError, RequestId, Response, Role};
use sotto_proto::id::{Height, ItemId, SwarmId};
use sotto_proto::limits::{PAGE_BYTES, PAGE_ITEMS};
use sotto_proto::request::{
    Item, Message as _, OfferRequest, OfferResponse, RepairRequest, RepairResponse, Scope, Summary,
};
use sotto_proto::time::UnixSeconds;

use crate::support::{Host, Hostile, Net, drive_for, node_of, until};
use crate::test_support::CHAIN;

const OURS: [u8; 5] = [1, 2, 11, 12, 13];
const THEIRS: [u8; 5] = [3, 21, 22, 23, 24];

fn view(net: &Net) -> std::sync::Arc<sotto_proto::network::NetworkView> {
    let listed = [OURS, THEIRS].concat();
    net.view(5, &listed, &[(7, &OURS), (9, &THEIRS)])
}

fn scope() -> Scope {
    Scope { height: Height(5), swarm: SwarmId(7), until: UnixSeconds(1), cutoff: UnixSeconds(2) }
}

fn repair() -> RepairRequest {
    RepairRequest::Summary(Summary { scope: scope(), count: 0, fingerprint: [0; 16].into() })
}

fn offer() -> OfferRequest {
    OfferRequest::Offer(vec![ItemId::new([5; 32])])
}

/// Asks, and waits for what comes of it.
async fn ask(hosts: &mut [Host], asker: usize, of: u8, request: Request) -> Result<Response, RequestError> {
    let id: RequestId = hosts[asker].network.request(node_of(of), request).unwrap();
    until(hosts, "concluded", |hosts| hosts[asker].responses.contains_key(&id)).await;
    hosts[asker].responses[&id].1.clone()
}

#[tokio::test]
async fn members_repair_and_hand_over_among_themselves_in_whole_pages() {
    let net = Net::new();
    let mut hosts: Vec<_> = [1, 2].map(|seed| net.host(seed, view(&net))).into();
    until(&mut hosts, "connected", |hosts| hosts[0].is_connected(2)).await;
    let taken = ask(&mut hosts, 0, 2, Request::Repair(repair())).await;
    assert_eq!(taken, Ok(Response::Repair(RepairResponse::Taken)));
    let durable = ask(&mut hosts, 0, 2, Request::Offer(offer())).await;
    assert_eq!(durable, Ok(Response::Offer(OfferResponse::Durable(vec![ItemId::new([5; 32])]))));
    let page = vec![Item::Record(vec![7; PAGE_BYTES / PAGE_ITEMS]); PAGE_ITEMS];
    for _ in 0..60 {
        let give = RepairRequest::Give { scope: scope(), items: page.clone() };
        let taken = ask(&mut hosts, 1, 1, Request::Repair(give)).await;
        if let Ok(Response::Repair(RepairResponse::Error(error))) = taken {
            assert_eq!(error.label(), "rate_limited");
            return;
        }
        assert_eq!(taken, Ok(Response::Repair(RepairResponse::Taken)));
    }
    panic!("30 MiB were taken at once");
}

#[tokio::test]
async fn a_staked_node_of_another_swarm_may_offer_and_not_repair() {
    let net = Net::new();
    let mut hosts: Vec<_> = [1, 3].map(|seed| net.host(seed, view(&net))).into();
    let mut answered = Err(RequestError::ConnectionClosed);
    // Of crossed dials both connections are closed, with what was under way.
    for _ in 0..5 {
        until(&mut hosts, "connected", |hosts| hosts[0].is_connected(3) && hosts[1].is_connected(1)).await;
        answered = ask(&mut hosts, 1, 1, Request::Offer(offer())).await;
        // Which of both ends is noticed first, the stream's or the connection's, is chance.
        if !matches!(answered, Err(RequestError::ConnectionClosed | RequestError::Io(_))) {
            break;
        }
    }
    assert_eq!(answered, Ok(Response::Offer(OfferResponse::Durable(vec![ItemId::new([5; 32])]))));
    let refused = ask(&mut hosts, 1, 1, Request::Repair(repair())).await;
    assert_eq!(refused, Err(RequestError::Unsupported));
    assert!(hosts.iter().all(|host| host.foreign.is_empty()), "nobody is taken for a host of another network");
}

#[tokio::test]
async fn a_client_cannot_even_ask() {
    let net = Net::new();
    let config = NetworkConfig { role: Role::Client, listen: None, bootstrap: vec![net.peer(1)], ..net.config(5) };
    let mut hosts = vec![net.host(1, view(&net)), net.host_with(config, net.view(1, &[], &[]))];
    for request in [Request::Repair(repair()), Request::Offer(offer())] {
        assert_eq!(ask(&mut hosts, 1, 1, request).await, Err(RequestError::Unsupported));
    }
}

/// Node 1 with a hostile peer that sends both kinds of requests; what came back to it.
async fn besieged_by(seed: u8) -> (Vec<Host>, Hostile, Names) {
    let net = Net::new();
    let names = Names::new(&CHAIN);
    let mut hosts = vec![net.host(1, view(&net))];
    let accepts = vec![names.repair(), names.offer(), names.chain()];
    let hostile = Hostile::connect(seed, (node_of(1), net.address(1)), accepts, None);
    until(&mut hosts, "connected", |_| hostile.see(|seen| seen.connected)).await;
    let framed = |bytes: Vec<u8>| [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes.as_slice()].concat();
    let fetch = RepairRequest::Fetch { scope: scope(), ids: vec![ItemId::new([1; 32])], max_bytes: u32::MAX };
    let requests = [repair().encode().unwrap(), fetch.encode().unwrap()];
    for request in requests {
        hostile.send(node_of(1), &names.repair(), framed(request), true);
    }
    let hand = OfferRequest::Hand(vec![Item::Record(vec![1; 100])]);
    for request in [offer().encode().unwrap(), hand.encode().unwrap()] {
        hostile.send(node_of(1), &names.offer(), framed(request), true);
    }
    until(&mut hosts, "all have ended", |_| hostile.see(|seen| seen.answers.len() == 4)).await;
    drive_for(&mut hosts, Duration::from_millis(200)).await;
    (hosts, hostile, names)
}

#[tokio::test]
async fn a_hostile_stranger_gets_no_byte_of_either_protocol() {
    let (_hosts, stranger, names) = besieged_by(4).await;
    for name in [names.repair(), names.offer()] {
        assert_eq!(stranger.bytes_of(&name), 0, "{name}");
        assert_eq!(stranger.see(|seen| seen.opened.get(name.as_ref()).copied()), None);
    }
    assert!(stranger.see(|seen| seen.answers.iter().all(|(_, answer)| answer.is_err())));
}

#[tokio::test]
async fn a_hostile_node_of_another_swarm_gets_no_byte_of_repair() {
    let (_hosts, neighbour, names) = besieged_by(3).await;
    assert_eq!(neighbour.bytes_of(&names.repair()), 0);
    // It may offer, which shows that this test would have seen what it looks for.
    assert!(neighbour.bytes_of(&names.offer()) > 0);
}

#[tokio::test]
async fn a_member_that_sends_the_same_is_answered() {
    let (_hosts, member, names) = besieged_by(11).await;
    assert!(member.bytes_of(&names.repair()) > 0 && member.bytes_of(&names.offer()) > 0);
    assert!(member.see(|seen| seen.answers.iter().all(|(_, answer)| answer.is_ok())));
}
