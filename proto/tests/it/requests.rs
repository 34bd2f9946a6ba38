//! Requests between hosts: what encodes, decodes and is refused, and what is signed in them.

mod listening;
mod members;
mod properties;
mod signed;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use prost::Message as _;
use sotto_proto::address::{Address, AddressKind};
use sotto_proto::chain::{Buckets, Header, NodeState, SignedHeader, list_root_of};
use sotto_proto::domain::{self, Domain};
use sotto_proto::hash::hash;
use sotto_proto::id::{ChainId, Hash, Height, ItemId, NodeId, RecordId, SwarmId};
use sotto_proto::limits::budget::store_request_bytes;
use sotto_proto::limits::{
    CHAIN_ANSWER_BLOCKS, CHAIN_ANSWER_BYTES, DELETE_IDS, ENVELOPE_DATA_SIZES, LIST_ANSWER_BYTES, MAX_BLOCK_BYTES,
    MAX_TX_BYTES, RECORD_MAX,
};
use sotto_proto::network::NodeList;
use sotto_proto::request::{
    ChainRequest, ChainResponse, Cursor, Delete, DeletedRecord, Error, ErrorKind, Info, Line, ListRequest,
    ListResponse, Message, MessageError, PublishOrder, Read, Receipt, Retrieve, SignedDelete, SignedRead,
    StatusRequest, StatusResponse, Subscribe, SwarmRequest,
};
use sotto_proto::sign::{Ed25519, SigningKey};
use sotto_proto::time::{UnixMillis, UnixSeconds};
use sotto_proto::wire;

const ACCOUNT: &str = "05d2ad010eeb72d72e561d9de7bd7b6989af77dcabffa03a5111a6c859ae5c3a72";

fn chain() -> ChainId {
    ChainId::new(*hash(domain::GENESIS, b"test vector genesis").as_bytes())
}

/// The account of the specification's examples: entropy `0123456789abcdef` twice, then sixteen zeros.
fn account_key() -> SigningKey {
    let mut seed = [0; 32];
    hex::decode_to_slice("0123456789abcdef0123456789abcdef", &mut seed[..16]).unwrap();
    SigningKey::from_seed(&seed)
}

fn golden_read() -> Read {
    Read {
        node: NodeId::new(*hash(Domain::new("node"), 1u32.to_be_bytes()).as_bytes()),
        address: ACCOUNT.parse().unwrap(),
        time: UnixSeconds(1_790_000_000),
        cursor: Cursor { epoch: 7, seq: 99 },
        max_bytes: 1_048_576,
    }
}

fn mailbox_key() -> SigningKey {
    SigningKey::from_seed(&[6; 32])
}

fn deleted(count: usize, ttl: u32) -> Vec<DeletedRecord> {
    let record = |i| DeletedRecord { id: RecordId::new([i; 32]), timestamp: UnixSeconds(1_790_000_000), ttl };
    (0..count).map(|i| record(u8::try_from(i % 256).unwrap())).collect()
}

fn header(height: u64) -> SignedHeader {
    let header = Header {
        height: Height(height),
        previous: [1; 32].into(),
        time: UnixMillis(1_790_000_000_000 + height),
        tx_root: [2; 32].into(),
        state_root: [3; 32].into(),
        list_root: [4; 32].into(),
    };
    header.sign(&account_key(), &chain())
}

fn round_trip<M: Message + Clone + PartialEq + Debug>(message: M) {
    let bytes = message.clone().encode().unwrap();
    assert!(bytes.len() <= M::MAX_BYTES);
    assert_eq!(M::decode(&bytes), Ok(message));
}

fn decode_wire<M: Message + Debug>(wire: M::Wire) -> Result<M, MessageError> {
    M::decode(&wire.encode_to_vec())
}

#[test]
fn a_store_request_is_as_long_as_the_budget_of_a_cell_says() {
    for data in ENVELOPE_DATA_SIZES {
        let record = vec![1; RECORD_MAX - ENVELOPE_DATA_SIZES[5] + data];
        let store = SwarmRequest::Store { record, publish_order: PublishOrder::Third };
        assert_eq!(store.encode().unwrap().len(), store_request_bytes(data));
    }
}

#[test]
fn members_publish_at_once_after_a_second_and_after_two() {
    let orders = [PublishOrder::First, PublishOrder::Second, PublishOrder::Third];
    for (order, number) in orders.into_iter().zip(0u32..) {
        assert_eq!((u32::from(order), PublishOrder::try_from(number)), (number, Ok(order)));
        assert_eq!(order.delay(), Duration::from_secs(number.into()));
    }
    assert!(PublishOrder::try_from(3).is_err());
}

fn errors() -> Vec<Error> {
    vec![
        Error::WrongSwarm { swarm: SwarmId(0x3fff_ffff_ffff_ffff), height: Height(4) },
        Error::InsufficientWork { difficulty: 600 },
        Error::TooLarge,
        Error::Expired,
        Error::ClockSkew { now: UnixSeconds(1_790_000_000) },
        Error::Unauthorized,
        Error::CursorUnknown,
        Error::RateLimited { retry_after: Duration::from_millis(1500) },
        Error::Busy,
        Error::Malformed,
        Error::Rejected { reason: Line::new("the fee is too small") },
        Error::Unavailable { lowest: Height(1001) },
    ]
}

#[test]
fn every_error_arrives_as_it_was_sent_and_says_what_helps() {
    let mut labels = BTreeSet::new();
    for error in errors() {
        round_trip(ChainResponse::Error(error.clone()));
        round_trip(ListResponse::Error(error.clone()));
        assert!(labels.insert(error.label()));
        assert!(!error.to_string().is_empty());
    }
    assert_eq!(Error::Busy.kind(), ErrorKind::Later);
    assert_eq!(Error::Unavailable { lowest: Height(1) }.kind(), ErrorKind::Elsewhere);
    assert_eq!(Error::Unauthorized.kind(), ErrorKind::Change);
}

#[test]
fn an_error_of_a_later_version_counts_as_busy() {
    // Field 14 of `Error`, which no version has yet, in field 15 of the answer.
    let bytes = [0x7a, 2, 0x72, 0];
    assert_eq!(ChainResponse::decode(&bytes), Ok(ChainResponse::Error(Error::Busy)));
}

#[test]
fn a_request_of_a_later_version_is_malformed_and_an_added_field_is_skipped() {
    let unknown_kind = [0x72, 0];
    assert_eq!(ChainRequest::decode(&unknown_kind), Err(MessageError::Missing("chain request")));
    let mut bytes = ChainRequest::Tip.encode().unwrap();
    bytes.extend_from_slice(&[0x78, 1]);
    assert_eq!(ChainRequest::decode(&bytes), Ok(ChainRequest::Tip));
}

#[test]
fn text_from_a_stranger_cannot_drive_a_terminal() {
    let reject = |reason: &str| {
        let error =
            wire::Error { kind: Some(wire::error::Kind::Rejected(wire::Rejected { reason: reason.to_owned() })) };
        Error::try_from(error)
    };
    assert!(reject("fee too small: 5 < 10 – größer").is_ok());
    for bad in ["\x1b[2J", "two\nlines", "\u{202e}txet", "\u{9b}31m", &"x".repeat(257)] {
        assert!(reject(bad).is_err(), "{bad:?}");
    }
    assert_eq!(Line::<8>::new("a\nb\x1b[0m and more").as_str(), "a b [0m ");
    assert_eq!(Line::<3>::new("ää").as_str(), "ä");
    assert_eq!(format!("{:>4}|", Line::<3>::new("x")), "   x|");
}

#[test]
fn answers_with_too_much_in_them_are_refused() {
    let blocks = |blocks| {
        decode_wire::<ChainResponse>(wire::ChainResponse {
            kind: Some(wire::chain_response::Kind::Blocks(wire::BlocksResponse { blocks, tip_height: 1 })),
        })
    };
    assert!(blocks(vec![vec![1; MAX_BLOCK_BYTES]]).is_ok());
    assert!(blocks(vec![vec![1; MAX_BLOCK_BYTES + 1]]).is_err());
    assert!(blocks(vec![vec![1; CHAIN_ANSWER_BYTES / 2 + 1]; 2]).is_err());
    assert!(blocks(vec![vec![1]; CHAIN_ANSWER_BLOCKS]).is_ok());
    assert!(blocks(vec![vec![1]; CHAIN_ANSWER_BLOCKS + 1]).is_err());
    assert!(blocks(vec![vec![]]).is_err());
    assert!(matches!(blocks(vec![vec![1; 2 * MAX_BLOCK_BYTES]]), Err(MessageError::TooLarge { .. })));

    let buckets = |buckets| {
        decode_wire::<ListResponse>(wire::ListResponse {
            kind: Some(wire::list_response::Kind::Buckets(wire::BucketsResponse { height: 1, buckets })),
        })
    };
    let bucket = |index, length| wire::Bucket { index, records: vec![0; length] };
    assert!(buckets(vec![bucket(0, 1), bucket(255, LIST_ANSWER_BYTES - 1)]).is_ok());
    assert!(buckets(vec![bucket(0, 2), bucket(255, LIST_ANSWER_BYTES - 1)]).is_err());
    assert!(buckets(vec![bucket(256, 1)]).is_err());
    assert!(buckets(vec![bucket(3, 1), bucket(3, 1)]).is_err());
    assert!(buckets(vec![bucket(4, 1), bucket(3, 1)]).is_err());
}

#[test]
fn what_is_too_large_to_be_read_is_not_sent() {
    let too_long = ChainRequest::SubmitTransaction(vec![0; 2 * MAX_TX_BYTES]);
    assert!(matches!(too_long.encode(), Err(MessageError::TooLarge { .. })));
    let inside = ChainRequest::SubmitTransaction(vec![1; MAX_TX_BYTES]);
    round_trip(inside);
    let above = ChainRequest::SubmitTransaction(vec![1; MAX_TX_BYTES + 1]).encode().unwrap();
    assert!(ChainRequest::decode(&above).is_err());
}

#[test]
fn questions_about_the_list_are_bounded() {
    let ask = |kind| decode_wire::<ListRequest>(wire::ListRequest { kind: Some(kind) });
    let headers = |count| ask(wire::list_request::Kind::Headers(wire::HeadersRequest { from_height: 1, count }));
    assert!(headers(1).is_ok() && headers(64).is_ok());
    assert!(headers(0).is_err() && headers(65).is_err() && headers(257).is_err());
    let buckets = |buckets| ask(wire::list_request::Kind::Buckets(wire::BucketsRequest { height: 1, buckets }));
    assert!(buckets((0..=255).collect()).is_ok());
    assert!(buckets(vec![]).is_err());
    assert!(buckets(vec![1, 1]).is_err() && buckets(vec![2, 1]).is_err());
}

#[test]
fn headers_come_one_after_the_other() {
    round_trip(ListResponse::Headers((5..69).map(header).collect()));
    let answer = |headers: &[SignedHeader]| ListResponse::Headers(headers.to_vec()).encode().unwrap();
    assert!(ListResponse::decode(&answer(&[header(5), header(7)])).is_err());
    assert!(ListResponse::decode(&answer(&[header(5), header(5)])).is_err());
    assert!(ListResponse::decode(&answer(&(0..65).map(header).collect::<Vec<_>>())).is_err());
}

#[test]
fn the_hashes_of_all_buckets_are_256_and_combine_to_the_list_root() {
    let nodes = NodeList::new();
    round_trip(ListResponse::Hashes { height: Height(3), hashes: Buckets::new(&chain(), &nodes) });
    let answer =
        wire::ListResponse::from(ListResponse::Hashes { height: Height(3), hashes: Buckets::new(&chain(), &nodes) });
    let Some(wire::list_response::Kind::Hashes(answer)) = answer.kind else { panic!("not hashes") };
    assert_eq!(answer.hashes.len(), Buckets::LEN);
    let read = |hashes| {
        let kind = Some(wire::list_response::Kind::Hashes(wire::HashesResponse { height: 3, hashes }));
        decode_wire::<ListResponse>(wire::ListResponse { kind })
    };
    let Ok(ListResponse::Hashes { hashes, .. }) = read(answer.hashes) else { panic!("not hashes") };
    assert_eq!(hashes.root(&chain()), list_root_of(&chain(), &nodes));
    for length in [0, 32, Buckets::LEN - 32, Buckets::LEN - 1, Buckets::LEN + 1, Buckets::LEN + 32] {
        assert!(read(vec![1; length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_state_of_a_later_version_is_not_taken_for_unregistered() {
    let info = wire::InfoResponse { final_height: 1, time_ms: 2, version: "0.1.0".into(), state: 4 };
    let answer = wire::ListResponse { kind: Some(wire::list_response::Kind::Info(info)) };
    assert!(ListResponse::try_from(answer).is_err());
}

#[test]
fn a_bucket_map_keeps_its_order() {
    let buckets: BTreeMap<u8, Vec<u8>> = [(9, vec![1]), (1, vec![]), (255, vec![2])].into();
    let encoded = wire::ListResponse::from(ListResponse::Buckets { height: Height(3), buckets });
    let Some(wire::list_response::Kind::Buckets(buckets)) = encoded.kind else { panic!("not buckets") };
    assert_eq!(buckets.buckets.iter().map(|bucket| bucket.index).collect::<Vec<_>>(), [1, 9, 255]);
}
