//! Requests and answers of every protocol. The first byte says which of the two the rest is.

use std::fmt::Debug;
use std::time::Duration;

use sotto_proto::chain::{Buckets, NodeState};
use sotto_proto::content::ListeningTag;
use sotto_proto::id::{BlockHash, Height, ItemId, RecordId, SwarmId};
use sotto_proto::limits::{ENVELOPE_DATA_SIZES, OFFER_ITEMS, PAGE_BYTES, PAGE_ITEMS};
use sotto_proto::network::NodeList;
use sotto_proto::request::{
    ChainRequest, ChainResponse, Error, Fingerprint, Info, Item, Line, ListRequest, ListResponse, ListenTags, Message,
    OfferRequest, OfferResponse, PublishOrder, Push, PushData, Records, RepairRequest, RepairResponse, Retrieve,
    SignedRead, StatusRequest, StatusResponse, StoredRecord, Subscribe, Summary, SwarmRequest, SwarmResponse, Wanted,
};
use sotto_proto::sign::{Ed25519, Signature};
use sotto_proto::time::{UnixMillis, UnixSeconds};

use crate::check::{message, whole};
use crate::fixtures::{CHAIN, account, deletes, header, key, node_record, records};
use crate::records::{read, receipt, scope};

fn either<Q, A>(input: &[u8]) -> (Option<Q>, Option<A>)
where
    Q: Message + Clone + PartialEq + Debug,
    A: Message + Clone + PartialEq + Debug,
{
    match input.split_first() {
        None => (None, None),
        Some((choice, bytes)) if choice % 2 == 0 => (message(bytes), None),
        Some((_, bytes)) => (None, message(bytes)),
    }
}

fn seeds<Q: Message, A: Message>(
    requests: impl IntoIterator<Item = Q>,
    answers: impl IntoIterator<Item = A>,
) -> Vec<Vec<u8>> {
    let requests = requests.into_iter().map(|request| whole(0, &request.encode().expect("a request")));
    requests.chain(answers.into_iter().map(|answer| whole(1, &answer.encode().expect("an answer")))).collect()
}

fn errors() -> Vec<Error> {
    vec![
        Error::WrongSwarm { swarm: SwarmId(1 << 62), height: Height(4) },
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

pub(crate) fn chain(input: &[u8]) {
    either::<ChainRequest, ChainResponse>(input);
}

pub(crate) fn chain_seeds() -> Vec<Vec<u8>> {
    let requests = [
        ChainRequest::Tip,
        ChainRequest::Blocks { from: Height(7), max_bytes: 1 << 20 },
        ChainRequest::SubmitTransaction(vec![1; 60]),
    ];
    let answers = [
        ChainResponse::Submitted,
        ChainResponse::Blocks { blocks: vec![vec![1; 9], vec![2; 3]], tip: Height(9) },
        ChainResponse::Tip { height: Height(3), hash: BlockHash::new([3; 32]) },
    ];
    seeds(requests, answers.into_iter().chain(errors().into_iter().map(ChainResponse::Error)))
}

pub(crate) fn list(input: &[u8]) {
    let (_, answer) = either::<ListRequest, ListResponse>(input);
    if let Some(ListResponse::Headers(headers)) = answer {
        assert!(headers.iter().zip(headers.iter().skip(1)).all(|(a, b)| a.header.height.next() == b.header.height));
    }
}

pub(crate) fn list_requests() -> Vec<ListRequest> {
    vec![
        ListRequest::Info,
        ListRequest::Headers { from: Height(3), count: 8 },
        ListRequest::Buckets { height: Height(5), buckets: [0, 7, 255].into() },
        ListRequest::Hashes { height: Height(5) },
    ]
}

pub(crate) fn list_seeds() -> Vec<Vec<u8>> {
    let info = Info {
        final_height: Height(9),
        time: UnixMillis(1),
        version: Line::new("0.1.0"),
        state: Some(NodeState::Decommissioned),
    };
    let buckets = [(0, node_record(1).encode()), (9, Vec::new()), (255, vec![1, 2, 3])].into();
    let answers = [
        ListResponse::Info(info),
        ListResponse::Headers((5..8).map(header).collect()),
        ListResponse::Buckets { height: Height(5), buckets },
        ListResponse::Hashes { height: Height(5), hashes: Buckets::new(&CHAIN, &NodeList::new()) },
        ListResponse::Error(Error::Busy),
    ];
    seeds(list_requests(), answers)
}

pub(crate) fn status(input: &[u8]) {
    either::<StatusRequest, StatusResponse>(input);
}

pub(crate) fn status_seeds() -> Vec<Vec<u8>> {
    let (time, final_height) = (UnixMillis(1_790_000_000_000), Height(77));
    seeds([StatusRequest { time, final_height }], [StatusResponse { time, final_height }])
}

pub(crate) fn repair(input: &[u8]) {
    let (request, answer) = either::<RepairRequest, RepairResponse>(input);
    if let Some(RepairRequest::Fetch { ids, .. }) = &request {
        assert!((1..=PAGE_ITEMS).contains(&ids.len()));
    }
    let items = match (request, answer) {
        (Some(RepairRequest::Give { items, .. }), _) | (_, Some(RepairResponse::Items { items, .. })) => items,
        _ => return,
    };
    assert!(items.len() <= PAGE_ITEMS && items.iter().map(Item::len).sum::<usize>() <= PAGE_BYTES);
    assert!(!items.iter().any(Item::is_empty));
}

fn items() -> Vec<Item> {
    let record = records().remove(1).encode();
    vec![Item::Record(record), Item::Delete(deletes().remove(0).encode())]
}

pub(crate) fn repair_seeds() -> Vec<Vec<u8>> {
    let scope = scope();
    let requests = [
        RepairRequest::Summary(Summary { scope, count: 4, fingerprint: Fingerprint::from([1; 16]) }),
        RepairRequest::Reconcile { scope, message: vec![0x61, 0, 0, 0] },
        RepairRequest::Fetch { scope, ids: vec![ItemId::new([1; 32]), ItemId::new([2; 32])], max_bytes: 1 << 19 },
        RepairRequest::Give { scope, items: items() },
    ];
    let answers = [
        RepairResponse::Summary { equal: true },
        RepairResponse::Summary { equal: false },
        RepairResponse::Reconcile { message: vec![0x61] },
        RepairResponse::Items { items: items(), more: true },
        RepairResponse::Taken,
        RepairResponse::Error(Error::Malformed),
    ];
    seeds(requests, answers)
}

pub(crate) fn offer(input: &[u8]) {
    let (request, answer) = either::<OfferRequest, OfferResponse>(input);
    if let Some(OfferRequest::Offer(ids)) = request {
        assert!((1..=OFFER_ITEMS).contains(&ids.len()));
    }
    if let Some(OfferResponse::Wanted(wanted)) = answer {
        for ids in [0, 1, 7, 8, 9, OFFER_ITEMS] {
            assert!(wanted.of(ids).is_none_or(|wanted| wanted.count() == ids));
        }
    }
}

pub(crate) fn offer_seeds() -> Vec<Vec<u8>> {
    let ids = vec![ItemId::new([1; 32]), ItemId::new([2; 32])];
    let answers = [
        OfferResponse::Wanted(Wanted::new([true, false, true])),
        OfferResponse::Durable(ids.clone()),
        OfferResponse::Error(Error::Busy),
    ];
    seeds([OfferRequest::Offer(ids), OfferRequest::Hand(items())], answers)
}

pub(crate) fn swarm(input: &[u8]) {
    let (request, answer) = either::<SwarmRequest, SwarmResponse>(input);
    match request {
        Some(SwarmRequest::Retrieve(read)) => drop(read.verify(&CHAIN, &Ed25519)),
        Some(SwarmRequest::Subscribe(read)) => drop(read.verify(&CHAIN, &Ed25519)),
        Some(SwarmRequest::Delete(delete)) => {
            let genuine = deletes().contains(&delete);
            assert!(genuine || !delete.verify(&CHAIN, &Ed25519), "a forged delete");
        }
        _ => {}
    }
    if let Some(SwarmResponse::Records(records)) = answer {
        assert!(records.records.iter().zip(records.records.iter().skip(1)).all(|(a, b)| a.seq < b.seq));
        let bound = records.encoded_bytes();
        let bytes = SwarmResponse::Records(records).encode().expect("what was read can be sent");
        assert!(bytes.len() <= bound, "{} bytes, {bound} were reckoned with", bytes.len());
    }
}

pub(crate) fn swarm_requests() -> Vec<SwarmRequest> {
    let account = account(1);
    let read = read(account.address());
    let mut requests = vec![
        SwarmRequest::Store { record: records().remove(0).encode(), publish_order: PublishOrder::Second },
        SwarmRequest::Retrieve(SignedRead::<Retrieve>::sign(read, account.signing_key(), &CHAIN)),
        SwarmRequest::Subscribe(SignedRead::<Subscribe>::sign(read, account.signing_key(), &CHAIN)),
    ];
    requests.extend(deletes().into_iter().map(SwarmRequest::Delete));
    requests.extend(list_requests().into_iter().map(SwarmRequest::List));
    let tags = vec![ListeningTag::new([1; 16]), ListeningTag::new([2; 16])];
    requests.push(SwarmRequest::Listen(ListenTags::new(tags).expect("two tags")));
    requests.push(SwarmRequest::Push(push()));
    requests
}

/// The shortest.
fn push() -> Push {
    let data = PushData::new(vec![7; ENVELOPE_DATA_SIZES[0]]).expect("one of the lengths");
    Push { tag: ListeningTag::new([1; 16]), data }
}

pub(crate) fn swarm_seeds() -> Vec<Vec<u8>> {
    let receipt = receipt(account(1).address());
    let signature: Signature = receipt.sign(&key("node", 1), &CHAIN);
    let stored = |seq| StoredRecord { seq, record: vec![1; 40] };
    let page = Records { epoch: 1, records: vec![stored(3), stored(9)], next_seq: 9, more: true, syncing: true };
    let answers = [
        SwarmResponse::Stored { receipt, signature },
        SwarmResponse::Records(page),
        SwarmResponse::Records(Records::default()),
        SwarmResponse::Deleted { unknown: vec![RecordId::new([1; 32])] },
        SwarmResponse::List(ListResponse::Error(Error::Busy)),
        SwarmResponse::Listening,
        SwarmResponse::Pushed(push()),
        SwarmResponse::Delivered,
        SwarmResponse::NoListener,
        SwarmResponse::Error(Error::Expired),
    ];
    seeds(swarm_requests(), answers)
}
