//! Round trips of every message, and bytes that are none.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

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
