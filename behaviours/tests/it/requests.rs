//! Limits of requests between hosts that keep to the protocol.

use std::time::Duration;

use sotto_behaviours::network::{Request, RequestError, Response, SendError, Timeouts};
use sotto_proto::id::Height;
use sotto_proto::limits::{MAX_TX_BYTES, REQUESTS_PER_PEER};
use sotto_proto::request::{ChainRequest, ChainResponse, Error, ListRequest, ListResponse};

use crate::support::{Net, node_of, until};

#[tokio::test]
async fn whoever_asks_for_more_than_his_share_is_told_to_wait() {
    let net = Net::new();
    let mut hosts = vec![net.host(0, net.view(1, &[], &[])), net.client(2)];
    for height in 1..=40 {
        hosts[0].chain.insert(height, vec![0x11; 100_000]);
    }
    let ask = || Request::Chain(ChainRequest::Blocks { from: Height(1), max_bytes: 1_000_000 });
    let mut served = 0;
    let refusal = loop {
        let id = hosts[1].network.request(node_of(0), ask()).unwrap();
        until(&mut hosts, "answered", |hosts| hosts[1].responses.contains_key(&id)).await;
        match &hosts[1].responses[&id].1 {
            Ok(Response::Chain(ChainResponse::Blocks { blocks, .. })) => {
                served += blocks.iter().map(Vec::len).sum::<usize>()
            }
            Ok(Response::Chain(ChainResponse::Error(error))) => break error.clone(),
            other => panic!("{other:?}"),
        }
        assert!(served <= 4 * 1024 * 1024, "{served} bytes at once");
    };
    assert!(matches!(refusal, Error::RateLimited { retry_after } if retry_after > Duration::ZERO), "{refusal:?}");
    assert!(hosts[0].metric("sotto_network_served_bytes_total") >= 1_000_000);
    // Others are not concerned.
    let mut other = net.client(4);
    let id = other.network.request(node_of(0), ask()).unwrap();
    hosts.push(other);
    until(&mut hosts, "answered", |hosts| hosts[2].responses.contains_key(&id)).await;
    assert!(matches!(&hosts[2].responses[&id].1, Ok(Response::Chain(ChainResponse::Blocks { .. }))));
}

#[tokio::test]
async fn at_most_eight_requests_of_a_protocol_wait_for_one_peer() {
    let net = Net::new();
    let mut hosts = vec![net.host(0, net.view(1, &[], &[])), net.client(2)];
    hosts[0].silent = true;
    let ask = || Request::List(ListRequest::Info);
    for _ in 0..REQUESTS_PER_PEER {
        hosts[1].network.request(node_of(0), ask()).unwrap();
    }
    assert_eq!(hosts[1].network.request(node_of(0), ask()), Err(SendError::Busy));
    until(&mut hosts, "all have come", |hosts| hosts[0].unanswered.len() == REQUESTS_PER_PEER).await;
    // Another protocol has room of its own.
    let tip = hosts[1].network.request(node_of(0), Request::Chain(ChainRequest::Tip)).unwrap();
    hosts[0].silent = false;
    until(&mut hosts, "answered", |hosts| hosts[1].responses.contains_key(&tip)).await;
}

#[tokio::test]
async fn a_request_that_is_never_answered_fails_in_time_and_one_dropped_at_once() {
    let net = Net { timeouts: Timeouts { request: Duration::from_secs(2), ..Timeouts::default() }, ..Net::new() };
    let mut hosts = vec![net.host(0, net.view(1, &[], &[])), net.client(2)];
    hosts[0].silent = true;
    let held = hosts[1].network.request(node_of(0), Request::List(ListRequest::Info)).unwrap();
    let started = tokio::time::Instant::now();
    until(&mut hosts, "given up", |hosts| hosts[1].responses.contains_key(&held)).await;
    assert!(matches!(&hosts[1].responses[&held].1, Err(RequestError::Timeout | RequestError::Io(_))));
    assert!(started.elapsed() < Duration::from_secs(5));

    let dropped = hosts[1].network.request(node_of(0), Request::List(ListRequest::Info)).unwrap();
    until(&mut hosts, "taken", |hosts| hosts[0].unanswered.len() == 2).await;
    hosts[0].unanswered.clear();
    until(&mut hosts, "failed", |hosts| hosts[1].responses.contains_key(&dropped)).await;
    assert!(matches!(&hosts[1].responses[&dropped].1, Err(RequestError::Io(_))));
}

#[tokio::test]
async fn a_transaction_that_is_too_long_is_not_even_sent() {
    let net = Net::new();
    let mut hosts = [net.host(1, net.view(1, &[], &[]))];
    let refused = hosts[0].network.submit_transaction(vec![0; MAX_TX_BYTES + 1]);
    assert_eq!(refused, Err(SendError::TooLarge { limit: MAX_TX_BYTES, actual: MAX_TX_BYTES + 1 }));
}

#[tokio::test]
async fn the_list_protocol_is_answered_to_anybody() {
    let net = Net::new();
    let mut hosts = vec![net.host(0, net.view(1, &[], &[])).with_blocks(4), net.client(2)];
    let id = hosts[1].network.request(node_of(0), Request::List(ListRequest::Info)).unwrap();
    until(&mut hosts, "answered", |hosts| hosts[1].responses.contains_key(&id)).await;
    assert!(matches!(
        &hosts[1].responses[&id].1,
        Ok(Response::List(ListResponse::Info(info))) if info.final_height == Height(4)
    ));
}
