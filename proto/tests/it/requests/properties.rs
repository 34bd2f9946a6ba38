//! Round trips of every message, and bytes that are none.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use sotto_proto::content::ListeningTag;
use sotto_proto::request::{
    Item, ListenTags, OfferRequest, OfferResponse, Push, PushData, Records, RepairRequest, RepairResponse, Scope,
    StoredRecord, Summary, SwarmResponse, Wanted,
};

use super::*;

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
        any::<u64>().prop_map(|height| ListRequest::Hashes { height: Height(height) }),
    ]
}

fn list_response() -> impl Strategy<Value = ListResponse> {
    prop_oneof![
        info().prop_map(ListResponse::Info),
        (0..1000u64, 0..9u64)
            .prop_map(|(from, count)| ListResponse::Headers((from..from + count).map(header).collect())),
        (any::<u64>(), btree_map(any::<u8>(), vec(any::<u8>(), 0..500), 0..30))
            .prop_map(|(height, buckets)| ListResponse::Buckets { height: Height(height), buckets }),
        (any::<u64>(), vec(any::<[u8; 32]>(), 256)).prop_map(|(height, hashes)| {
            let hashes: [[u8; 32]; 256] = hashes.try_into().unwrap();
            ListResponse::Hashes { height: Height(height), hashes: hashes.map(Hash::new).into() }
        }),
        proptest::sample::select(errors()).prop_map(ListResponse::Error),
    ]
}

fn push() -> impl Strategy<Value = Push> {
    let size = proptest::sample::select(ENVELOPE_DATA_SIZES.to_vec());
    (any::<[u8; 16]>(), size, any::<u8>()).prop_map(|(tag, size, byte)| Push {
        tag: ListeningTag::new(tag),
        data: PushData::new(vec![byte; size]).unwrap(),
    })
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
        list_request().prop_map(SwarmRequest::List),
        btree_set(any::<[u8; 16]>(), 1..=64).prop_map(|tags| {
            SwarmRequest::Listen(ListenTags::new(tags.into_iter().map(ListeningTag::new).collect()).unwrap())
        }),
        push().prop_map(SwarmRequest::Push),
    ]
}

fn swarm_response() -> impl Strategy<Value = SwarmResponse> {
    let receipt =
        (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<(u64, u64)>()).prop_map(|(node, id, (expiry, height))| {
            let receipt = Receipt {
                node: node.into(),
                address: ACCOUNT.parse().unwrap(),
                id: id.into(),
                expiry: UnixSeconds(expiry),
                height: Height(height),
            };
            SwarmResponse::Stored { receipt, signature: receipt.sign(&mailbox_key(), &chain()) }
        });
    let numbered = btree_map(1..u64::MAX, vec(any::<u8>(), 1..300), 0..9);
    let records = (numbered, any::<(u64, u64, bool, bool)>()).prop_map(|(records, (epoch, next, more, syncing))| {
        let last = records.last_key_value().map_or(0, |(seq, _)| *seq);
        let records = records.into_iter().map(|(seq, record)| StoredRecord { seq, record }).collect();
        SwarmResponse::Records(Records { epoch, records, next_seq: last.max(next), more, syncing })
    });
    prop_oneof![
        receipt,
        records,
        vec(any::<[u8; 32]>(), 0..9)
            .prop_map(|unknown| SwarmResponse::Deleted { unknown: unknown.into_iter().map(RecordId::new).collect() }),
        list_response().prop_map(SwarmResponse::List),
        push().prop_map(SwarmResponse::Pushed),
        proptest::sample::select(vec![SwarmResponse::Listening, SwarmResponse::Delivered, SwarmResponse::NoListener,]),
        proptest::sample::select(errors()).prop_map(SwarmResponse::Error),
    ]
}

fn scope() -> impl Strategy<Value = Scope> {
    any::<(u64, u64, u64, u64)>().prop_map(|(height, swarm, until, cutoff)| Scope {
        height: Height(height),
        swarm: SwarmId(swarm),
        until: UnixSeconds(until),
        cutoff: UnixSeconds(cutoff),
    })
}

fn item_ids() -> impl Strategy<Value = Vec<ItemId>> {
    vec(any::<[u8; 32]>(), 1..20).prop_map(|ids| ids.into_iter().map(ItemId::new).collect())
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let bytes = || vec(any::<u8>(), 1..300);
    vec(prop_oneof![bytes().prop_map(Item::Record), bytes().prop_map(Item::Delete)], 1..9)
}

fn repair_request() -> impl Strategy<Value = RepairRequest> {
    prop_oneof![
        (scope(), any::<u64>(), any::<[u8; 16]>()).prop_map(|(scope, count, fingerprint)| {
            RepairRequest::Summary(Summary { scope, count, fingerprint: fingerprint.into() })
        }),
        (scope(), vec(any::<u8>(), 1..300)).prop_map(|(scope, message)| RepairRequest::Reconcile { scope, message }),
        (scope(), item_ids(), any::<u32>()).prop_map(|(scope, ids, max_bytes)| RepairRequest::Fetch {
            scope,
            ids,
            max_bytes
        }),
        (scope(), items()).prop_map(|(scope, items)| RepairRequest::Give { scope, items }),
    ]
}

fn repair_response() -> impl Strategy<Value = RepairResponse> {
    prop_oneof![
        any::<bool>().prop_map(|equal| RepairResponse::Summary { equal }),
        vec(any::<u8>(), 1..300).prop_map(|message| RepairResponse::Reconcile { message }),
        (items(), any::<bool>()).prop_map(|(items, more)| RepairResponse::Items { items, more }),
        Just(RepairResponse::Taken),
        proptest::sample::select(errors()).prop_map(RepairResponse::Error),
    ]
}

fn offer_request() -> impl Strategy<Value = OfferRequest> {
    prop_oneof![item_ids().prop_map(OfferRequest::Offer), items().prop_map(OfferRequest::Hand)]
}

fn offer_response() -> impl Strategy<Value = OfferResponse> {
    prop_oneof![
        vec(any::<bool>(), 0..40).prop_map(|wanted| OfferResponse::Wanted(Wanted::new(wanted))),
        item_ids().prop_map(OfferResponse::Durable),
        proptest::sample::select(errors()).prop_map(OfferResponse::Error),
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
    survives::<SwarmResponse>(bytes);
    survives::<RepairRequest>(bytes);
    survives::<RepairResponse>(bytes);
    survives::<OfferRequest>(bytes);
    survives::<OfferResponse>(bytes);
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
    fn swarm_messages_round_trip(request in swarm_request(), response in swarm_response()) {
        round_trip(request);
        round_trip(response);
    }

    #[test]
    fn repair_messages_round_trip(request in repair_request(), response in repair_response()) {
        round_trip(request);
        round_trip(response);
    }

    #[test]
    fn offer_messages_round_trip(request in offer_request(), response in offer_response()) {
        round_trip(request);
        round_trip(response);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        survives_all(&bytes);
        let _ = Read::decode(&bytes);
        let _ = Delete::decode(&bytes);
        let _ = SignedDelete::decode(&bytes);
        let _ = Receipt::decode(&bytes);
        let _ = Summary::decode(&bytes);
    }

    #[test]
    fn damaged_messages_never_panic(
        chain in chain_response(), list in list_response(), swarm in swarm_request(), answer in swarm_response(),
        repair in repair_request(), repaired in repair_response(), offer in offer_request(),
        offered in offer_response(), changes in vec(any::<(usize, u8)>(), 0..4), cut in any::<usize>(),
    ) {
        let encoded = [
            chain.encode(), list.encode(), swarm.encode(), answer.encode(), repair.encode(), repaired.encode(),
            offer.encode(), offered.encode(),
        ];
        for message in encoded {
            survives_all(&damaged(message.unwrap(), &changes, cut));
        }
    }
}
