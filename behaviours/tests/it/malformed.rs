//! Bytes that are no requests: a typed failure for who sent them, nothing for anybody else.

mod members;

use std::io;
use std::time::Duration;

use libp2p::StreamProtocol;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use sotto_behaviours::names::Names;
use sotto_behaviours::network::{NetworkConfig, Request, Response, Role, Timeouts};
use sotto_proto::request::{ChainRequest, ChainResponse, Error, ListRequest, ListResponse, Message, StatusRequest};
use sotto_proto::time::UnixMillis;

use crate::support::{Host, Hostile, Net, node_of, until};
use crate::test_support::CHAIN;

fn framed(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// A node with an honest client and a hostile peer, which is registered, so that it may use `status` too.
async fn scene() -> (Vec<Host>, Hostile, Names) {
    let net = Net { timeouts: Timeouts { request: Duration::from_secs(2), ..Timeouts::default() }, ..Net::new() };
    let names = Names::new(&CHAIN);
    let view = net.view(1, &[1, 3], &[]);
    let mut hosts = vec![net.host(0, view).with_blocks(2), net.client(2)];
    let hostile = Hostile::connect(3, (node_of(0), net.address(0)), Vec::new(), None);
    until(&mut hosts, "the hostile peer is connected", |_| hostile.see(|seen| seen.connected)).await;
    (hosts, hostile, names)
}

/// What it gets for each of these byte strings.
async fn answers(
    hosts: &mut [Host],
    hostile: &Hostile,
    protocol: &StreamProtocol,
    all: Vec<(Vec<u8>, bool)>,
) -> Vec<io::Result<Vec<u8>>> {
    let before = hostile.see(|seen| seen.answers.len());
    for (ended, (bytes, finish)) in (before..).zip(all) {
        hostile.send(node_of(0), protocol, bytes, finish);
        // One after the other, so that none is refused for being one too many.
        until(hosts, "the stream ended", |_| hostile.see(|seen| seen.answers.len() > ended)).await;
    }
    let mut seen = hostile.seen.lock().unwrap();
    seen.answers.drain(before..).map(|(_, answer)| answer).collect()
}

async fn honest_client_is_served(hosts: &mut [Host]) {
    let id = hosts[1].network.request(node_of(0), Request::Chain(ChainRequest::Tip)).unwrap();
    until(hosts, "the honest client is served", |hosts| hosts[1].responses.contains_key(&id)).await;
    assert!(matches!(&hosts[1].responses[&id].1, Ok(Response::Chain(ChainResponse::Tip { .. }))));
}

#[tokio::test]
async fn what_cannot_be_understood_is_answered_as_malformed() {
    let (mut hosts, hostile, names) = scene().await;
    let unknown_field = vec![0x7a, 2, 1, 2];
    let wrong_type = vec![0x08, 1];
    let bad_tag = vec![0xff; 40];
    let nothing = Vec::new();
    let cases: Vec<_> = [unknown_field, wrong_type, bad_tag, nothing].iter().map(|b| (framed(b), true)).collect();
    for answer in answers(&mut hosts, &hostile, &names.chain(), cases.clone()).await {
        assert_eq!(ChainResponse::decode(&answer.unwrap()[4..]), Ok(ChainResponse::Error(Error::Malformed)));
    }
    for answer in answers(&mut hosts, &hostile, &names.list(), cases.clone()).await {
        assert_eq!(ListResponse::decode(&answer.unwrap()[4..]), Ok(ListResponse::Error(Error::Malformed)));
    }
    // `status` has no typed errors; all its fields may be zero, so that an empty message is one.
    let broken = vec![(framed(&[0xff; 40]), true), (framed(&[0x0a, 1, 1]), true)];
    for answer in answers(&mut hosts, &hostile, &names.status(), broken).await {
        assert!(answer.unwrap_or_default().is_empty());
    }
    honest_client_is_served(&mut hosts).await;
    assert!(hosts[0].metric("sotto_network_requests_refused_total{reason=\"malformed\"}") >= 8);
}

#[tokio::test]
async fn a_length_above_the_bound_is_refused_without_being_read() {
    let (mut hosts, hostile, names) = scene().await;
    for (protocol, limit) in [
        (names.chain(), ChainRequest::MAX_BYTES),
        (names.list(), ListRequest::MAX_BYTES),
        (names.status(), StatusRequest::MAX_BYTES),
    ] {
        let above = u32::try_from(limit + 1).unwrap().to_be_bytes();
        let cases = vec![(above.to_vec(), false), (u32::MAX.to_be_bytes().to_vec(), false)];
        for answer in answers(&mut hosts, &hostile, &protocol, cases).await {
            let answer = answer.unwrap_or_default();
            if protocol == names.chain() {
                assert_eq!(ChainResponse::decode(&answer[4..]), Ok(ChainResponse::Error(Error::TooLarge)));
            } else if protocol == names.list() {
                assert_eq!(ListResponse::decode(&answer[4..]), Ok(ListResponse::Error(Error::TooLarge)));
            } else {
                assert!(answer.is_empty());
            }
        }
    }
    honest_client_is_served(&mut hosts).await;
}

#[tokio::test]
async fn a_truncated_request_ends_the_stream_and_nothing_else() {
    let (mut hosts, hostile, names) = scene().await;
    let whole = framed(&ChainRequest::SubmitTransaction(vec![7; 600]).encode().unwrap());
    for protocol in [names.chain(), names.list(), names.status()] {
        let cases = [0, 1, 3, 4, 5, whole.len() / 2, whole.len() - 1].map(|cut| (whole[..cut].to_vec(), true)).to_vec();
        for answer in answers(&mut hosts, &hostile, &protocol, cases).await {
            let answer = answer.unwrap_or_default();
            // `list` and `status` already refuse the length.
            assert!(
                answer.is_empty()
                    || answer == framed(&ListResponse::Error(Error::TooLarge).encode().unwrap())
                    || protocol == names.list()
            );
        }
    }
    honest_client_is_served(&mut hosts).await;
    assert!(hosts[0].transactions.is_empty());
    assert_eq!(hostile.see(|seen| seen.connections), 1, "its connection lives");
}

#[tokio::test]
async fn a_request_that_trickles_in_is_given_up_after_its_deadline() {
    let (mut hosts, hostile, names) = scene().await;
    let started = tokio::time::Instant::now();
    // Two bytes of the length, and no end.
    let all = answers(&mut hosts, &hostile, &names.chain(), vec![(vec![0, 0], false)]).await;
    assert!(all[0].as_ref().map_or(true, Vec::is_empty));
    // The phase has half of the request's two seconds.
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    honest_client_is_served(&mut hosts).await;
}

#[tokio::test]
async fn random_bytes_never_harm_the_host() {
    let (mut hosts, hostile, names) = scene().await;
    let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), seed);
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    for protocol in [names.chain(), names.list(), names.status()] {
        let cases: Vec<_> = (0..40)
            .map(|index| {
                let bytes = bytes.new_tree(&mut runner).unwrap().current();
                (if index % 2 == 0 { bytes } else { framed(&bytes) }, true)
            })
            .collect();
        answers(&mut hosts, &hostile, &protocol, cases).await;
    }
    honest_client_is_served(&mut hosts).await;
    assert_eq!(hostile.see(|seen| seen.connections), 1);
}

#[tokio::test]
async fn the_same_request_again_is_simply_answered_again() {
    let (mut hosts, hostile, names) = scene().await;
    let status = StatusRequest { time: UnixMillis(1), final_height: sotto_proto::id::Height(1) };
    for (protocol, bytes) in [
        (names.chain(), ChainRequest::Tip.encode().unwrap()),
        (names.list(), ListRequest::Info.encode().unwrap()),
        (names.status(), status.encode().unwrap()),
    ] {
        let all = answers(&mut hosts, &hostile, &protocol, vec![(framed(&bytes), true); 3]).await;
        assert!(all.iter().all(|answer| answer.as_ref().is_ok_and(|bytes| bytes.len() > 4)), "{all:?}");
    }
}

#[tokio::test]
async fn a_stranger_cannot_ask_for_status() {
    let net = Net::new();
    let names = Names::new(&CHAIN);
    let mut hosts = vec![net.host(0, net.view(1, &[1], &[]))];
    let stranger = Hostile::connect(4, (node_of(0), net.address(0)), Vec::new(), None);
    until(&mut hosts, "connected", |_| stranger.see(|seen| seen.connected)).await;
    stranger.send(node_of(0), &names.status(), framed(&[]), true);
    until(&mut hosts, "refused", |_| stranger.see(|seen| seen.answers.len() == 1)).await;
    assert!(stranger.see(|seen| seen.answers[0].1.is_err()));
}
