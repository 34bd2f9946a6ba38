//! Requests whose answers nobody reads: they cost whoever asks, and leave places for others.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use sotto_behaviours::names::Names;
use sotto_behaviours::network::{ConnectionLimits, Request, Response, Timeouts};
use sotto_proto::id::Height;
use sotto_proto::limits::ANSWERS_IN_FLIGHT;
use sotto_proto::request::{ChainRequest, ChainResponse, Message as _};

use crate::support::{Host, Hostile, Net, node_of, until};
use crate::test_support::CHAIN;

const FLOODER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 66, 6, 7));
/// Connections that one address may have.
const CONNECTIONS: u8 = 32;

fn framed(request: ChainRequest) -> Vec<u8> {
    let bytes = request.encode().unwrap();
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], &bytes].concat()
}

fn refused(host: &Host, reason: &str) -> u64 {
    host.metric(&format!("sotto_network_requests_refused_total{{reason=\"{reason}\"}}"))
}

/// The producer, a client, and a registered node.
fn hosts(net: &Net) -> Vec<Host> {
    let view = net.view(1, &[1], &[]);
    vec![net.host(0, view.clone()), net.client(2), net.host(1, view)]
}

/// As many peers as one address may have, each of which asks eight times.
async fn flood(net: &Net, hosts: &mut [Host], request: &ChainRequest) -> Vec<Hostile> {
    let chain = Names::new(&CHAIN).chain();
    until(hosts, "listening", |hosts| hosts[0].network.local_address().is_some()).await;
    let connect = |seed| Hostile::connect(seed, (node_of(0), net.address(0)), Vec::new(), Some(FLOODER));
    let flood: Vec<_> = (50..50 + CONNECTIONS).map(connect).collect();
    until(hosts, "all are connected", |_| flood.iter().all(|one| one.see(|seen| seen.connected))).await;
    for one in &flood {
        for _ in 0..8 {
            one.send_unread(node_of(0), &chain, framed(request.clone()));
        }
    }
    flood
}

/// The same for a megabyte of blocks each, 256 in all.
async fn flood_for_blocks(net: &Net, hosts: &mut [Host]) -> Vec<Hostile> {
    for height in 1..=40 {
        hosts[0].chain.insert(height, vec![0x11; 100_000]);
    }
    flood(net, hosts, &ChainRequest::Blocks { from: Height(1), max_bytes: 1_000_000 }).await
}

fn refused_for_load(host: &Host) -> u64 {
    refused(host, "rate_limited") + refused(host, "busy")
}

/// Asks as host `by` and waits for the answer.
async fn is_served(hosts: &mut [Host], by: usize) {
    // A dial that came before the producer listened is made again in a moment.
    let mut id = None;
    until(hosts, "served", |hosts| {
        id = id.or_else(|| hosts[by].network.request(node_of(0), Request::Chain(ChainRequest::Tip)).ok());
        id.is_some_and(|id| hosts[by].responses.contains_key(&id))
    })
    .await;
    let answer = &hosts[by].responses[&id.unwrap()].1;
    assert!(matches!(answer, Ok(Response::Chain(ChainResponse::Tip { .. }))), "{answer:?}");
}

fn one_address_counts() -> Net {
    let limits = ConnectionLimits { per_address_enabled: true, ..ConnectionLimits::default() };
    Net { limits, timeouts: Timeouts { request: Duration::from_secs(60), ..Timeouts::default() }, ..Net::tcp() }
}

#[tokio::test]
async fn one_address_has_the_allowance_of_one_however_many_keys_it_uses() {
    let net = one_address_counts();
    let mut hosts = hosts(&net);
    let _flood = flood_for_blocks(&net, &mut hosts).await;
    // The few that were served are not even counted as answered: nobody has read them.
    until(&mut hosts, "all were dealt with", |hosts| refused_for_load(&hosts[0]) > 230).await;
    let served = hosts[0].metric("sotto_network_served_bytes_total");
    assert!((1_000_000..=ANSWERS_IN_FLIGHT as u64 / 4).contains(&served), "{served} of 256,000,000 bytes");
    is_served(&mut hosts, 1).await;
    is_served(&mut hosts, 2).await;
}

#[tokio::test]
async fn one_address_takes_an_eighth_of_the_places_for_requests() {
    let net = one_address_counts();
    let mut hosts = hosts(&net);
    hosts[0].silent = true;
    let _flood = flood(&net, &mut hosts, &ChainRequest::Tip).await;
    until(&mut hosts, "all were dealt with", |hosts| refused(&hosts[0], "busy") >= 256 - 32).await;
    assert_eq!(hosts[0].unanswered.len(), 32);
    hosts[0].silent = false;
    is_served(&mut hosts, 1).await;
    is_served(&mut hosts, 2).await;
}

#[tokio::test]
async fn strangers_together_leave_places_for_nodes() {
    let net = Net { timeouts: Timeouts { request: Duration::from_secs(60), ..Timeouts::default() }, ..Net::tcp() };
    let mut hosts = hosts(&net);
    hosts[0].silent = true;
    let _flood = flood(&net, &mut hosts, &ChainRequest::Tip).await;
    until(&mut hosts, "all were dealt with", |hosts| refused(&hosts[0], "busy") >= 256 - 192).await;
    assert_eq!(hosts[0].unanswered.len(), 192);
    hosts[0].silent = false;
    is_served(&mut hosts, 2).await;
    // Their requests end, and another stranger has its turn.
    hosts[0].unanswered.clear();
    is_served(&mut hosts, 1).await;
}

#[tokio::test]
async fn answers_that_strangers_do_not_read_are_held_up_to_so_many_bytes_whoever_they_are() {
    let net = Net { timeouts: Timeouts { request: Duration::from_secs(60), ..Timeouts::default() }, ..Net::tcp() };
    let mut hosts = hosts(&net);
    let _flood = flood_for_blocks(&net, &mut hosts).await;
    until(&mut hosts, "all were dealt with", |hosts| refused_for_load(&hosts[0]) >= 240).await;
    let served = hosts[0].metric("sotto_network_served_bytes_total");
    assert!((1_000_000..=ANSWERS_IN_FLIGHT as u64).contains(&served), "{served} of 256,000,000 bytes");
    is_served(&mut hosts, 1).await;
    is_served(&mut hosts, 2).await;
}
