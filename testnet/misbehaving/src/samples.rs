//! Outputs as a machine says them, one of every kind, for the tests of all modes.

use std::collections::BTreeMap;
use std::time::Duration;

use sotto_behaviours::network::{Request, Response, Verdict};
use sotto_node::service_node::{CommandId, Gossip, Outgoing, Output, Part, ReplyId, Sync, Tag, To, Token, Tunnel};
use sotto_node::store::mail::Lookup;
use sotto_node::store::records::{Arrival, DeleteName, RecordEntry, RecordKey, Source, Tombstone};
use sotto_node::store::writer::Job;
use sotto_node::store::{Batch, Limit, MetaKey, Write};
use sotto_proto::address::{Address, AddressKind};
use sotto_proto::chain::NodeState;
use sotto_proto::envelope::{Envelope, Record, Ttl};
use sotto_proto::id::{BlockHash, ChainId, Hash, Height, NodeId, RecordId, SwarmId};
use sotto_proto::pow::Nonce;
use sotto_proto::request::{
    ChainRequest, ChainResponse, Error, Fingerprint, Info, Item, Line, ListResponse, OfferResponse, Receipt, Records,
    RepairRequest, RepairResponse, Scope, StoredRecord, Summary, SwarmResponse, Wanted,
};
use sotto_proto::sign::{Signature, SigningKey};
use sotto_proto::time::{Monotonic, UnixMillis, UnixSeconds};

use crate::mode::Signer;

/// The chain.
pub(crate) const CHAIN: ChainId = ChainId::new([9; 32]);
/// When records were made.
const MADE: UnixSeconds = UnixSeconds(1_790_000_000);

/// The misbehaving node's key.
pub(crate) fn signer() -> Signer {
    Signer { key: SigningKey::from_seed(&[7; 32]), chain: CHAIN }
}

/// The key that signs blocks.
pub(crate) fn authority() -> SigningKey {
    SigningKey::from_seed(&[8; 32])
}

/// Some other node.
pub(crate) fn node(number: u8) -> NodeId {
    NodeId::new([number; 32])
}

/// Somebody's mailbox.
pub(crate) fn mailbox(owner: u8) -> Address {
    Address::new(AddressKind::Mailbox, [owner; 32])
}

fn record(to: Address, number: u64) -> Record {
    let data = vec![u8::try_from(number % 251).unwrap(); sotto_proto::limits::ENVELOPE_DATA_SIZES[0]];
    let envelope = Envelope::new(to, MADE, Ttl::new(600).unwrap(), Height(60), data).unwrap();
    Record::new(envelope, Nonce(number), None).unwrap()
}

/// So many records of an address, as a reader gets them.
pub(crate) fn records(of: Address, count: u64) -> Records {
    let records = (1..=count).map(|seq| StoredRecord { seq, record: record(of, seq).encode() }).collect();
    Records { epoch: 77, records, next_seq: count, more: false, syncing: false }
}

/// A receipt as the node gives it.
pub(crate) fn receipt(number: u64) -> (Receipt, Signature) {
    let (signer, record) = (signer(), record(mailbox(1), number));
    let receipt = Receipt {
        node: signer.key.node_id(),
        address: mailbox(1),
        id: record.envelope().id(&CHAIN),
        expiry: record.envelope().expiry(),
        height: Height(5000),
    };
    (receipt, receipt.sign(&signer.key, &CHAIN))
}

/// How the node stands.
pub(crate) fn info(height: u64) -> Info {
    let time = UnixMillis(MADE.0 * 1000);
    Info { final_height: Height(height), time, version: Line::new("1"), state: Some(NodeState::Active) }
}

/// What the node's set is.
pub(crate) fn summary(number: u8) -> Summary {
    let scope = Scope { height: Height(5000), swarm: SwarmId(5), until: MADE, cutoff: MADE };
    Summary { scope, count: 3, fingerprint: Fingerprint::from([number; 16]) }
}

/// An answer to a client.
pub(crate) fn to_client(tunnel: u64, response: SwarmResponse) -> Output {
    Output::TunnelAnswer { tunnel: Tunnel(tunnel), response, more: false }
}

/// An answer to a peer.
pub(crate) fn to_peer(number: u8, response: Response) -> Output {
    Output::Send { to: To::Node(node(number)), message: Outgoing::Response { reply: ReplyId(1), response } }
}

/// An answer to a peer that is still to be read.
pub(crate) fn stored(part: Part, from: Height, count: usize) -> Output {
    let limit = Limit { bytes: 1 << 20, count };
    let message = Outgoing::Stored { reply: ReplyId(2), part, from, limit, tip: Height(5000) };
    Output::Send { to: To::Node(node(1)), message }
}

/// An answer to a client for each kind; another number makes others of the same kinds.
fn client_answers(number: u8) -> Vec<SwarmResponse> {
    let (receipt, signature) = receipt(number.into());
    vec![
        SwarmResponse::Stored { receipt, signature },
        SwarmResponse::Records(records(mailbox(number), 3)),
        SwarmResponse::Deleted { unknown: vec![RecordId::new([number; 32])] },
        SwarmResponse::Error(Error::Busy),
    ]
}

/// An answer to a peer for each kind; another number makes others of the same kinds.
pub(crate) fn peer_answers(number: u8) -> Vec<Response> {
    let height = Height(5000 + u64::from(number));
    let item = Item::Record(record(mailbox(number), 1).encode());
    vec![
        Response::List(ListResponse::Info(info(height.0))),
        Response::List(ListResponse::Buckets { height, buckets: BTreeMap::from([(number, vec![number; 40])]) }),
        Response::List(ListResponse::Hashes { height, hashes: [Hash::new([number; 32]); 256].into() }),
        Response::List(ListResponse::Error(Error::Unavailable { lowest: height })),
        Response::Chain(ChainResponse::Tip { height, hash: BlockHash::new([number; 32]) }),
        Response::Chain(ChainResponse::Blocks { blocks: Vec::new(), tip: height }),
        Response::Chain(ChainResponse::Error(Error::Busy)),
        Response::Repair(RepairResponse::Summary { equal: number.is_multiple_of(2) }),
        Response::Repair(RepairResponse::Reconcile { message: vec![number; 50] }),
        Response::Repair(RepairResponse::Items { items: vec![item], more: false }),
        Response::Repair(RepairResponse::Taken),
        Response::Offer(OfferResponse::Wanted(Wanted::new([true, false, true]))),
        Response::Offer(OfferResponse::Durable(vec![RecordId::new([number; 32]).into()])),
    ]
}

fn put(owner: u8, source: Source) -> Write {
    let (address, record) = (mailbox(owner), record(mailbox(owner), 1));
    let bytes = record.encode();
    let entry = RecordEntry {
        key: RecordKey { address, arrival: Arrival(u64::from(owner) + 1) },
        id: record.envelope().id(&CHAIN),
        timestamp: MADE,
        ttl: 600,
        length: u32::try_from(bytes.len()).unwrap(),
        source,
        received: MADE,
    };
    Write::PutRecord { entry, bytes }
}

fn persist(token: u64, writes: Vec<Write>) -> Output {
    let batch = Job { keys: Vec::new(), batch: Batch { writes } };
    Output::Persist { batch, token: Token(token), sync: Sync::Now }
}

/// Mail on its way to disk, by every way it can come, and what goes with it.
fn mail() -> Output {
    let (id, name) = (RecordId::new([5; 32]), DeleteName::of(b"a delete"));
    let tombstone = Tombstone { address: mailbox(4), id, timestamp: MADE, ttl: 600, delete: name };
    persist(
        1,
        vec![
            put(1, Source::Client),
            put(2, Source::Gossip),
            put(3, Source::Repair),
            Write::PutMeta(MetaKey::Arrivals, vec![0; 8]),
            Write::PutTombstone(tombstone),
            Write::PutSignedDelete { name, bytes: b"a delete".to_vec() },
        ],
    )
}

/// Gossip, out and in.
fn gossip() -> Vec<Output> {
    vec![Output::Publish(vec![1; 100]), Output::Judge { gossip: Gossip(1), verdict: Verdict::Accept }]
}

/// What is neither answer nor mail nor gossip that is passed on.
pub(crate) fn other_outputs() -> Vec<Output> {
    let send = |to, message| Output::Send { to, message };
    vec![
        send(To::Producer, Outgoing::Transaction { tag: Tag(1), bytes: vec![1; 50] }),
        send(To::Node(node(1)), Outgoing::Request { tag: Tag(2), request: Request::Chain(ChainRequest::Tip) }),
        persist(2, vec![Write::PutAnchor { height: Height(60), hash: BlockHash::new([1; 32]) }]),
        persist(3, vec![Write::DeleteTombstone(RecordId::new([1; 32]).into())]),
        Output::WakeAt(Monotonic(Duration::from_secs(5))),
        Output::Answer { id: CommandId(1), result: Ok(()) },
        Output::CloseTunnel(Tunnel(1)),
        Output::Judge { gossip: Gossip(2), verdict: Verdict::Reject },
        Output::LookUp { token: Token(3), lookup: Lookup::Settings },
    ]
}

/// One of everything; another number makes others of the same kinds.
pub(crate) fn every_output(number: u8) -> Vec<Output> {
    let tunnel = u64::from(number);
    let compare = Request::Repair(RepairRequest::Summary(summary(number)));
    let mut all: Vec<_> = client_answers(number).into_iter().map(|answer| to_client(tunnel, answer)).collect();
    all.extend(peer_answers(number).into_iter().map(|answer| to_peer(number, answer)));
    all.extend([Part::Blocks, Part::Headers].map(|part| stored(part, Height(7), 3)));
    all.push(Output::Send { to: To::Node(node(1)), message: Outgoing::Request { tag: Tag(3), request: compare } });
    all.push(mail());
    all.extend(gossip());
    all.extend(other_outputs());
    all
}

/// Whether both outputs are the same to the last byte.
pub(crate) fn same(one: &Output, other: &Output) -> bool {
    match (one, other) {
        (Output::Send { to, message }, Output::Send { to: other_to, message: other_message }) => {
            to == other_to && message == other_message
        }
        (
            Output::TunnelAnswer { tunnel, response, more },
            Output::TunnelAnswer { tunnel: other_tunnel, response: other_response, more: other_more },
        ) => (tunnel, response, more) == (other_tunnel, other_response, other_more),
        (
            Output::Persist { batch, token, sync },
            Output::Persist { batch: other, token: other_token, sync: other_sync },
        ) => (&batch.batch, token, sync) == (&other.batch, other_token, other_sync),
        _ => format!("{one:?}") == format!("{other:?}"),
    }
}
