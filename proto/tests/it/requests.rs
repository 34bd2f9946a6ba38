//! Requests between hosts: what encodes, decodes and is refused, and what is signed in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use prost::Message as _;
use sotto_proto::address::{Address, AddressKind};
use sotto_proto::chain::{Header, NodeState, SignedHeader};
use sotto_proto::domain::{self, Domain};
use sotto_proto::hash::hash;
use sotto_proto::id::{ChainId, Height, NodeId, PublicKey, RecordId, SwarmId};
use sotto_proto::limits::budget::store_request_bytes;
use sotto_proto::limits::{
    CHAIN_ANSWER_BLOCKS, CHAIN_ANSWER_BYTES, DELETE_IDS, ENVELOPE_DATA_SIZES, LIST_ANSWER_BYTES, MAX_BLOCK_BYTES,
    MAX_TX_BYTES, RECORD_MAX, SIGNED_DELETE_MAX,
};
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
fn the_golden_retrieve_signature_holds() {
    let (key, read) = (account_key(), golden_read());
    assert_eq!(key.public().to_string(), "4cb76fdc6d32278e3f83dbf608360ecc6b65727934b85d2fb86862ff98c46ab7");
    assert_eq!(read.node.to_string(), "4ce2d1eaf5734b0b3ca79f0983b7991f5ba71ab5fa7117a34cf610505d79ec80");
    assert_eq!(read.to_bytes().len(), Read::LEN);
    let signed = SignedRead::<Retrieve>::sign(read, &key, &chain());
    assert_eq!(
        hex::encode(signed.authorization().unwrap().signature),
        "271f7d4d954e3032debb411e1a2eb480b611c9ed02d29ac7687981a17cb8399d\
         a4be17639d863babca7f753e28433b74632140367f43c08cdb4ccabe9b91e609"
    );
    assert!(signed.verify(&chain(), &Ed25519));
}

#[test]
fn a_signature_to_retrieve_does_not_subscribe() {
    let (key, read) = (account_key(), golden_read());
    let retrieve = SignedRead::<Retrieve>::sign(read, &key, &chain());
    let subscribe = SignedRead::<Subscribe>::sign(read, &key, &chain());
    assert!(subscribe.verify(&chain(), &Ed25519));
    assert_ne!(retrieve.authorization(), subscribe.authorization());

    let wire = wire::SwarmRequest::from(SwarmRequest::Retrieve(retrieve));
    let Some(wire::swarm_request::Kind::Retrieve(taken)) = wire.kind else { panic!("not a retrieve") };
    let forged = wire::SubscribeRequest { request: taken.request, key: taken.key, signature: taken.signature };
    let forged = wire::SwarmRequest { kind: Some(wire::swarm_request::Kind::Subscribe(forged)) };
    let Ok(SwarmRequest::Subscribe(forged)) = SwarmRequest::try_from(forged) else { panic!("not a subscribe") };
    assert!(!forged.verify(&chain(), &Ed25519));
}

#[test]
fn a_stranger_reads_nothing_and_deletes_nothing() {
    let stranger = SigningKey::from_seed(&[9; 32]);
    for address in [ACCOUNT.parse().unwrap(), Address::mailbox(&mailbox_key().public())] {
        let read = Read { address, ..golden_read() };
        assert!(!SignedRead::<Retrieve>::sign(read, &stranger, &chain()).verify(&chain(), &Ed25519));
        let delete = Delete::new(address, UnixSeconds(1), deleted(1, 600)).unwrap();
        assert!(!SignedDelete::sign(delete, &stranger, &chain()).verify(&chain(), &Ed25519));
    }
}

#[test]
fn anybody_reads_a_public_record_and_nothing_else() {
    let public = Read { address: Address::new(AddressKind::PublicRecord, [1; 32]), ..golden_read() };
    let unsigned = SignedRead::<Retrieve>::public(public).unwrap();
    assert!(unsigned.verify(&chain(), &Ed25519));
    assert_eq!(SignedRead::<Retrieve>::sign(public, &mailbox_key(), &chain()), unsigned);
    assert!(SignedRead::<Retrieve>::public(golden_read()).is_err());
    round_trip(SwarmRequest::Retrieve(unsigned));

    let stripped = wire::RetrieveRequest { request: golden_read().to_bytes(), key: vec![], signature: vec![] };
    let stripped = wire::SwarmRequest { kind: Some(wire::swarm_request::Kind::Retrieve(stripped)) };
    assert!(SwarmRequest::try_from(stripped).is_err());
}

#[test]
fn a_key_comes_along_only_where_the_address_does_not_hold_it() {
    let fields = |address, key: &SigningKey| {
        let read = Read { address, ..golden_read() };
        let request = SwarmRequest::Retrieve(SignedRead::sign(read, key, &chain()));
        round_trip(request.clone());
        match wire::SwarmRequest::from(request).kind {
            Some(wire::swarm_request::Kind::Retrieve(wire)) => wire,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fields(ACCOUNT.parse().unwrap(), &account_key()).key, account_key().public().as_bytes());
    let mut mailbox = fields(Address::mailbox(&mailbox_key().public()), &mailbox_key());
    assert!(mailbox.key.is_empty());
    // Two encodings of one request must not exist.
    mailbox.key = mailbox_key().public().as_bytes().to_vec();
    let wire = wire::SwarmRequest { kind: Some(wire::swarm_request::Kind::Retrieve(mailbox)) };
    assert!(SwarmRequest::try_from(wire).is_err());
}

#[test]
fn a_delete_holds_for_its_bytes_key_and_chain() {
    for (address, key) in
        [(ACCOUNT.parse().unwrap(), account_key()), (Address::mailbox(&mailbox_key().public()), mailbox_key())]
    {
        let delete = Delete::new(address, UnixSeconds(1_790_000_000), deleted(3, 86_400)).unwrap();
        assert_eq!(delete.to_bytes().len(), 33 + 8 + 2 + 3 * 44);
        let signed = SignedDelete::sign(delete, &key, &chain());
        assert!(signed.verify(&chain(), &Ed25519));
        assert!(!signed.verify(&ChainId::new([0; 32]), &Ed25519));
        let bytes = signed.encode();
        assert_eq!(SignedDelete::decode(&bytes), Ok(signed.clone()));
        round_trip(SwarmRequest::Delete(signed));
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            let holds = SignedDelete::decode(&changed).is_ok_and(|delete| delete.verify(&chain(), &Ed25519));
            assert!(!holds, "byte {index}");
        }
    }
}

#[test]
fn a_delete_of_what_cannot_be_deleted_is_refused() {
    let address = Address::mailbox(&mailbox_key().public());
    let new = |address, records| Delete::new(address, UnixSeconds(1), records);
    assert!(new(address, deleted(DELETE_IDS, 600)).is_ok());
    assert!(new(address, deleted(DELETE_IDS + 1, 600)).is_err());
    assert!(new(address, deleted(1, 9)).is_err());
    assert!(new(address, deleted(1, 345_601)).is_err());
    assert!(new(Address::group_epoch(&mailbox_key().public()), deleted(1, 600)).is_err());
    assert!(new(Address::new(AddressKind::PublicRecord, [1; 32]), deleted(1, 600)).is_err());
    let longest = SignedDelete::sign(new(address, deleted(DELETE_IDS, 600)).unwrap(), &mailbox_key(), &chain());
    assert_eq!(longest.encode().len(), SIGNED_DELETE_MAX);
    assert_eq!(longest.delete().records()[0].expiry(), UnixSeconds(1_790_000_600));
}

#[test]
fn a_receipt_holds_for_the_node_it_names() {
    let node = SigningKey::from_seed(&[3; 32]);
    let receipt = Receipt {
        node: node.node_id(),
        address: ACCOUNT.parse().unwrap(),
        id: RecordId::new([5; 32]),
        expiry: UnixSeconds(1_790_000_600),
        height: Height(7),
    };
    assert_eq!(receipt.to_bytes().len(), Receipt::LEN);
    assert_eq!(Receipt::decode(&receipt.to_bytes()), Ok(receipt));
    let signature = receipt.sign(&node, &chain());
    assert!(receipt.verify(&chain(), &signature, &Ed25519));
    assert!(!Receipt { height: Height(8), ..receipt }.verify(&chain(), &signature, &Ed25519));
    assert!(!Receipt { node: account_key().node_id(), ..receipt }.verify(&chain(), &signature, &Ed25519));
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
fn a_state_of_a_later_version_is_not_taken_for_unregistered() {
    let info = wire::InfoResponse { final_height: 1, time_ms: 2, version: "0.1.0".into(), state: 4 };
    let answer = wire::ListResponse { kind: Some(wire::list_response::Kind::Info(info)) };
    assert!(ListResponse::try_from(answer).is_err());
}

fn info() -> impl Strategy<Value = Info> {
    let states = [None, Some(NodeState::Active), Some(NodeState::Decommissioned), Some(NodeState::Exiting)];
    (any::<u64>(), any::<u64>(), "[ -~]{0,32}", proptest::sample::select(states.to_vec())).prop_map(
        |(height, time, version, state)| Info {
            final_height: Height(height),
            time: UnixMillis(time),
            version: Line::new(&version),
            state,
        },
    )
}

fn chain_request() -> impl Strategy<Value = ChainRequest> {
    prop_oneof![
        (any::<u64>(), any::<u32>())
            .prop_map(|(from, max_bytes)| ChainRequest::Blocks { from: Height(from), max_bytes }),
        vec(any::<u8>(), 0..=MAX_TX_BYTES).prop_map(ChainRequest::SubmitTransaction),
        Just(ChainRequest::Tip),
    ]
}

fn chain_response() -> impl Strategy<Value = ChainResponse> {
    prop_oneof![
        (vec(vec(any::<u8>(), 1..300), 0..20), any::<u64>())
            .prop_map(|(blocks, tip)| ChainResponse::Blocks { blocks, tip: Height(tip) }),
        Just(ChainResponse::Submitted),
        (any::<u64>(), any::<[u8; 32]>())
            .prop_map(|(height, hash)| ChainResponse::Tip { height: Height(height), hash: hash.into() }),
        proptest::sample::select(errors()).prop_map(ChainResponse::Error),
    ]
}

fn list_request() -> impl Strategy<Value = ListRequest> {
    prop_oneof![
        Just(ListRequest::Info),
        (any::<u64>(), 1..=64u8).prop_map(|(from, count)| ListRequest::Headers { from: Height(from), count }),
        (any::<u64>(), btree_set(any::<u8>(), 1..=256))
            .prop_map(|(height, buckets)| ListRequest::Buckets { height: Height(height), buckets }),
    ]
}

fn list_response() -> impl Strategy<Value = ListResponse> {
    prop_oneof![
        info().prop_map(ListResponse::Info),
        (0..1000u64, 0..9u64)
            .prop_map(|(from, count)| ListResponse::Headers((from..from + count).map(header).collect())),
        (any::<u64>(), btree_map(any::<u8>(), vec(any::<u8>(), 0..500), 0..30))
            .prop_map(|(height, buckets)| ListResponse::Buckets { height: Height(height), buckets }),
        proptest::sample::select(errors()).prop_map(ListResponse::Error),
    ]
}

fn swarm_request() -> impl Strategy<Value = SwarmRequest> {
    let orders = [PublishOrder::First, PublishOrder::Second, PublishOrder::Third];
    let kinds = [AddressKind::GroupEpoch, AddressKind::AccountInbox, AddressKind::Mailbox, AddressKind::PublicRecord];
    let read = (any::<[u8; 32]>(), proptest::sample::select(kinds.to_vec()), any::<(u64, u64, u64, u32)>()).prop_map(
        |(bytes, kind, (time, epoch, seq, max_bytes))| Read {
            node: bytes.into(),
            address: match kind {
                AddressKind::AccountInbox => ACCOUNT.parse().unwrap(),
                AddressKind::PublicRecord => Address::new(kind, bytes),
                _ => Address::new(kind, *mailbox_key().public().as_bytes()),
            },
            time: UnixSeconds(time),
            cursor: Cursor { epoch, seq },
            max_bytes,
        },
    );
    let key =
        |read: &Read| if read.address.kind() == AddressKind::AccountInbox { account_key() } else { mailbox_key() };
    prop_oneof![
        (vec(any::<u8>(), 0..3000), proptest::sample::select(orders.to_vec()))
            .prop_map(|(record, publish_order)| SwarmRequest::Store { record, publish_order }),
        read.clone().prop_map(move |read| SwarmRequest::Retrieve(SignedRead::sign(read, &key(&read), &chain()))),
        read.prop_map(move |read| SwarmRequest::Subscribe(SignedRead::sign(read, &key(&read), &chain()))),
        (0..20usize, 10..=345_600u32).prop_map(|(count, ttl)| {
            let address = Address::mailbox(&mailbox_key().public());
            let delete = Delete::new(address, UnixSeconds(1), deleted(count, ttl)).unwrap();
            SwarmRequest::Delete(SignedDelete::sign(delete, &mailbox_key(), &chain()))
        }),
    ]
}

/// A valid message, cut, lengthened and with bytes changed: gets deeper than random bytes do.
fn damaged(message: Vec<u8>, changes: &[(usize, u8)], cut: usize) -> Vec<u8> {
    let mut bytes = message;
    for &(index, value) in changes {
        let length = bytes.len();
        if let Some(byte) = bytes.get_mut(index % length.max(1)) {
            *byte = value;
        }
    }
    bytes.truncate(bytes.len().saturating_sub(cut % 8));
    bytes
}

/// Decodes; what decodes must encode to something that decodes to the same.
fn survives<M: Message + Clone + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        round_trip(message);
    }
}

fn survives_all(bytes: &[u8]) {
    survives::<ChainRequest>(bytes);
    survives::<ChainResponse>(bytes);
    survives::<ListRequest>(bytes);
    survives::<ListResponse>(bytes);
    survives::<StatusRequest>(bytes);
    survives::<StatusResponse>(bytes);
    survives::<SwarmRequest>(bytes);
}

proptest! {
    #[test]
    fn chain_messages_round_trip(request in chain_request(), response in chain_response()) {
        round_trip(request);
        round_trip(response);
    }

    #[test]
    fn list_messages_round_trip(request in list_request(), response in list_response()) {
        round_trip(request);
        round_trip(response);
    }

    #[test]
    fn status_messages_round_trip(time in any::<u64>(), height in any::<u64>()) {
        round_trip(StatusRequest { time: UnixMillis(time), final_height: Height(height) });
        round_trip(StatusResponse { time: UnixMillis(time), final_height: Height(height) });
    }

    #[test]
    fn swarm_requests_round_trip(request in swarm_request()) {
        round_trip(request);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        survives_all(&bytes);
        let _ = Read::decode(&bytes);
        let _ = Delete::decode(&bytes);
        let _ = SignedDelete::decode(&bytes);
        let _ = Receipt::decode(&bytes);
    }

    #[test]
    fn damaged_messages_never_panic(
        chain in chain_response(), list in list_response(), swarm in swarm_request(),
        changes in vec(any::<(usize, u8)>(), 0..4), cut in any::<usize>(),
    ) {
        for message in [chain.encode(), list.encode(), swarm.encode()] {
            survives_all(&damaged(message.unwrap(), &changes, cut));
        }
    }
}

#[test]
fn a_bucket_map_keeps_its_order() {
    let buckets: BTreeMap<u8, Vec<u8>> = [(9, vec![1]), (1, vec![]), (255, vec![2])].into();
    let encoded = wire::ListResponse::from(ListResponse::Buckets { height: Height(3), buckets });
    let Some(wire::list_response::Kind::Buckets(buckets)) = encoded.kind else { panic!("not buckets") };
    assert_eq!(buckets.buckets.iter().map(|bucket| bucket.index).collect::<Vec<_>>(), [1, 9, 255]);
}

#[test]
fn either_key_of_an_account_signs_for_it() {
    // The same account under the other sign of its Ed25519 key: the address, not the key, is the identity.
    let address: Address = ACCOUNT.parse().unwrap();
    let mut other = *account_key().public().as_bytes();
    other[31] ^= 0x80;
    assert!(address.is_signed_by(&account_key().public()));
    assert!(address.is_signed_by(&PublicKey::new(other)));
}
