//! What members of swarms answer clients, and what they ask each other.

use sotto_proto::limits::{
    ANSWER_RECORDS, OFFER_ITEMS, PAGE_BYTES, PAGE_ITEMS, RECONCILE_FRAME, RESPONSE_MAX, SIGNED_DELETE_MAX, answer_bytes,
};
use sotto_proto::request::{
    Fingerprint, Item, OfferRequest, OfferResponse, Records, RepairRequest, RepairResponse, Scope, StoredRecord,
    Summary, SwarmResponse, Wanted,
};

use super::*;

pub(super) fn scope() -> Scope {
    Scope {
        height: Height(4),
        swarm: SwarmId(0x3fff_ffff_ffff_ffff),
        until: UnixSeconds(1_790_000_000),
        cutoff: UnixSeconds(1_790_000_130),
    }
}

fn receipt() -> Receipt {
    Receipt {
        node: golden_read().node,
        address: golden_read().address,
        id: [3; 32].into(),
        expiry: UnixSeconds(1_790_345_600),
        height: Height(77),
    }
}

fn stored(seq: u64, length: usize) -> StoredRecord {
    StoredRecord { seq, record: vec![1; length] }
}

/// The largest numbers, so that nothing is longer than this.
fn answer(records: Vec<StoredRecord>) -> Records {
    Records { epoch: u64::MAX, records, next_seq: u64::MAX, more: true, syncing: true }
}

#[test]
fn a_receipt_and_a_page_with_one_small_record_take_one_cell() {
    let stored = SwarmResponse::Stored { receipt: receipt(), signature: receipt().sign(&account_key(), &chain()) };
    assert_eq!(stored.clone().encode().unwrap().len(), 3 + (2 + 113) + (2 + 64));
    round_trip(stored);

    let smallest = RECORD_MAX - ENVELOPE_DATA_SIZES[5] + ENVELOPE_DATA_SIZES[0];
    let page = SwarmResponse::Records(answer(vec![self::stored(u64::MAX, smallest)]));
    assert!(page.clone().encode().unwrap().len() <= answer_bytes(1));
    round_trip(page);
}

#[test]
fn the_bytes_a_node_counts_while_it_fills_a_page_are_never_too_few_and_at_most_a_few_too_many() {
    for length in [1, 127, 128, 1731, 16_383, 16_384, RECORD_MAX] {
        for count in 0..5 {
            let last = u64::MAX - count;
            let records = answer((last..u64::MAX).map(|seq| stored(seq, length)).collect());
            let (counted, count) = (records.encoded_bytes(), records.records.len());
            let actual = SwarmResponse::Records(records).encode().unwrap().len();
            assert!(actual <= counted, "{count} × {length}: {actual} > {counted}");
            assert!(counted <= actual + 3 + 2 * count, "{count} × {length}: {actual} ≪ {counted}");
        }
    }
}

#[test]
fn a_page_filled_by_that_count_is_sent_and_read() {
    let mut page = answer(Vec::new());
    let length = 1731;
    let mut bytes = Records::EMPTY_BYTES;
    while bytes + StoredRecord::encoded_bytes(length) <= RESPONSE_MAX {
        bytes += StoredRecord::encoded_bytes(length);
        page.records.push(stored(page.records.len() as u64 + 1, length));
    }
    assert!(page.records.len() <= ANSWER_RECORDS);
    assert!(page.records.len() > 570, "{}", page.records.len());
    round_trip(SwarmResponse::Records(page));
}

#[test]
fn records_come_in_the_order_of_their_numbers_and_within_bounds() {
    let read = |records| {
        let bytes = SwarmResponse::Records(records).encode().unwrap();
        SwarmResponse::decode(&bytes)
    };
    assert!(read(answer(vec![stored(1, 9), stored(2, 9)])).is_ok());
    assert!(read(answer(vec![stored(2, 9), stored(2, 9)])).is_err());
    assert!(read(answer(vec![stored(3, 9), stored(2, 9)])).is_err());
    assert!(read(answer(vec![stored(0, 9)])).is_err());
    assert!(read(answer(vec![stored(1, 0)])).is_err());
    assert!(read(answer(vec![stored(1, RECORD_MAX + 1)])).is_err());
    assert!(read(Records { next_seq: 4, ..answer(vec![stored(5, 9)]) }).is_err());
    assert!(read(answer((1..=ANSWER_RECORDS as u64).map(|seq| stored(seq, 1)).collect())).is_ok());
    assert!(read(answer((0..=ANSWER_RECORDS as u64).map(|seq| stored(seq + 1, 1)).collect())).is_err());
    assert!(matches!(
        SwarmResponse::Records(answer((1..20).map(|seq| stored(seq, RECORD_MAX)).collect())).encode(),
        Err(MessageError::TooLarge { limit: RESPONSE_MAX, .. })
    ));
}

#[test]
fn the_largest_list_answer_fits_a_tunnel() {
    let buckets = (0..=255).map(|index| (index, vec![7; LIST_ANSWER_BYTES / 256])).collect();
    round_trip(SwarmResponse::List(ListResponse::Buckets { height: Height(u64::MAX), buckets }));
    round_trip(SwarmRequest::List(ListRequest::Buckets { height: Height(u64::MAX), buckets: (0..=255).collect() }));
}

#[test]
fn deleted_ids_that_are_no_ids_are_refused() {
    let read = |unknown| {
        let kind = Some(wire::swarm_response::Kind::Delete(wire::DeleteResponse { unknown }));
        decode_wire::<SwarmResponse>(wire::SwarmResponse { kind })
    };
    assert_eq!(read(vec![]), Ok(SwarmResponse::Deleted { unknown: vec![] }));
    assert!(read(vec![1; 32 * DELETE_IDS]).is_ok());
    assert!(read(vec![1; 32 * DELETE_IDS + 32]).is_err());
    assert!(read(vec![1; 33]).is_err());
}

#[test]
fn a_summary_is_the_56_bytes_of_the_specification() {
    let summary = Summary { scope: scope(), count: 3, fingerprint: Fingerprint::from([0xab; 16]) };
    let bytes = summary.to_bytes();
    assert_eq!(
        hex::encode(bytes),
        "00000000000000043fffffffffffffff000000006ab13b80000000006ab13c020000000000000003\
         abababababababababababababababab"
    );
    assert_eq!(Summary::decode(&bytes), Ok(summary));
    assert_eq!(Scope::decode(&bytes[..32]), Ok(scope()));
    assert!(Summary::decode(&bytes[..55]).is_err() && Scope::decode(&bytes[..33]).is_err());
    assert_eq!(RepairRequest::Summary(summary).encode().unwrap().len(), 56 + 4);
}

#[test]
fn a_tombstone_is_another_item_than_its_record_and_than_one_at_another_address() {
    let (record, inbox) = (RecordId::new([5; 32]), golden_read().address);
    let mailbox = Address::mailbox(&mailbox_key().public());
    let items = BTreeSet::from([
        ItemId::from(record),
        ItemId::tombstone(&inbox, &record),
        ItemId::tombstone(&mailbox, &record),
        ItemId::tombstone(&inbox, &RecordId::new([6; 32])),
    ]);
    assert_eq!(items.len(), 4);
    let expected = hash(domain::TOMBSTONE, [inbox.to_bytes().as_slice(), record.as_ref()].concat());
    assert_eq!(ItemId::tombstone(&inbox, &record).as_bytes(), expected.as_bytes());
}

fn record(length: usize) -> Item {
    Item::Record(vec![1; length])
}

#[test]
fn what_members_ask_each_other_is_bounded() {
    let give = |items| RepairRequest::Give { scope: scope(), items };
    let reads = |request: RepairRequest| match request.encode() {
        Ok(bytes) => RepairRequest::decode(&bytes).is_ok(),
        Err(_) => false,
    };
    assert!(reads(give(vec![record(PAGE_BYTES / PAGE_ITEMS); PAGE_ITEMS])));
    assert!(!reads(give(vec![record(1); PAGE_ITEMS + 1])));
    assert!(!reads(give(vec![])) && !reads(give(vec![record(0)])));
    assert!(reads(give(vec![record(RECORD_MAX)])) && !reads(give(vec![record(RECORD_MAX + 1)])));
    let delete = |length| give(vec![Item::Delete(vec![1; length])]);
    assert!(reads(delete(SIGNED_DELETE_MAX)) && !reads(delete(SIGNED_DELETE_MAX + 1)));
    let above_a_page = vec![record(RECORD_MAX); PAGE_BYTES / RECORD_MAX + 1];
    assert!(!reads(give(above_a_page)));

    let fetch = |count| RepairRequest::Fetch { scope: scope(), ids: vec![[1; 32].into(); count], max_bytes: 1 };
    assert!(reads(fetch(1)) && reads(fetch(PAGE_ITEMS)));
    assert!(!reads(fetch(0)) && !reads(fetch(PAGE_ITEMS + 1)));
    let round = |length| RepairRequest::Reconcile { scope: scope(), message: vec![0x61; length] };
    assert!(reads(round(RECONCILE_FRAME)) && !reads(round(RECONCILE_FRAME + 1)) && !reads(round(0)));
}

#[test]
fn what_members_answer_each_other_is_bounded() {
    let reads = |response: RepairResponse| match response.encode() {
        Ok(bytes) => RepairResponse::decode(&bytes).is_ok(),
        Err(_) => false,
    };
    let page = |items| RepairResponse::Items { items, more: true };
    assert!(reads(page(vec![])) && reads(page(vec![record(PAGE_BYTES / PAGE_ITEMS); PAGE_ITEMS])));
    assert!(!reads(page(vec![record(1); PAGE_ITEMS + 1])));
    assert!(!reads(page(vec![record(RECORD_MAX); PAGE_BYTES / RECORD_MAX + 1])));
    assert!(!reads(RepairResponse::Reconcile { message: vec![1; RECONCILE_FRAME + 1] }));
    let untyped = wire::ItemsResponse { items: vec![wire::Item { kind: None }], more: false };
    let untyped = wire::RepairResponse { kind: Some(wire::repair_response::Kind::Items(untyped)) };
    assert_eq!(RepairResponse::try_from(untyped), Err(MessageError::Missing("item")));
}

#[test]
fn an_offer_names_at_most_1024_items() {
    let reads = |request: OfferRequest| match request.encode() {
        Ok(bytes) => OfferRequest::decode(&bytes).is_ok(),
        Err(_) => false,
    };
    assert!(reads(OfferRequest::Offer(vec![[1; 32].into(); OFFER_ITEMS])));
    assert!(!reads(OfferRequest::Offer(vec![[1; 32].into(); OFFER_ITEMS + 1])));
    assert!(!reads(OfferRequest::Offer(vec![])) && !reads(OfferRequest::Hand(vec![])));
    assert!(reads(OfferRequest::Hand(vec![record(PAGE_BYTES / PAGE_ITEMS); PAGE_ITEMS])));
    assert!(!reads(OfferRequest::Hand(vec![record(1); PAGE_ITEMS + 1])));

    round_trip(OfferResponse::Durable(vec![[1; 32].into(); OFFER_ITEMS]));
    let bitmap = |bitmap| {
        let kind = Some(wire::offer_response::Kind::Wanted(wire::WantedItems { bitmap }));
        decode_wire::<OfferResponse>(wire::OfferResponse { kind })
    };
    assert!(bitmap(vec![0xff; OFFER_ITEMS / 8]).is_ok() && bitmap(vec![0; OFFER_ITEMS / 8 + 1]).is_err());
}

#[test]
fn what_is_wanted_is_said_for_each_item_and_for_no_other_number_of_items() {
    for count in [0, 1, 7, 8, 9, 1000, OFFER_ITEMS] {
        let every_third = || (0..count).map(|index| index.is_multiple_of(3));
        let answer = OfferResponse::Wanted(Wanted::new(every_third()));
        let Ok(OfferResponse::Wanted(read)) = OfferResponse::decode(&answer.encode().unwrap()) else { panic!() };
        assert!(read.of(count).unwrap().eq(every_third()), "{count}");
        assert!(read.of(count.next_multiple_of(8) + 1).is_none(), "{count}");
    }
    let third = wire::OfferResponse::from(OfferResponse::Wanted(Wanted::new([false, false, true])));
    let Some(wire::offer_response::Kind::Wanted(third)) = third.kind else { panic!("not a bitmap") };
    assert_eq!(third.bitmap, [0b100]);
}

#[test]
fn errors_reach_clients_and_members() {
    for error in errors() {
        round_trip(SwarmResponse::Error(error.clone()));
        round_trip(RepairResponse::Error(error.clone()));
        round_trip(OfferResponse::Error(error));
    }
}
