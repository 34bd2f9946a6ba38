//! Deletes, from clients and members, in any order with what they delete.

use sotto_behaviours::replication::Entry;

use super::*;
use crate::store::mail::{signed_delete, tombstones};

fn deleted(response: SwarmResponse) -> Vec<RecordId> {
    match response {
        SwarmResponse::Deleted { unknown } => unknown,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_deleted_record_is_gone_for_good_and_its_delete_is_published() {
    let mut bench = Bench::new();
    bench.store(&record(1));
    bench.store(&record(2));
    bench.published();
    let delete = bench.signed_delete(&owner(), &[&record(1)]);
    bench.ask(1, SwarmRequest::Delete(delete.clone()));
    assert_eq!(deleted(bench.answer()), []);
    let bytes = delete.encode();
    let message = [vec![DELETE], (bytes.len() as u32).to_be_bytes().to_vec(), bytes].concat();
    assert_eq!(bench.published(), [message]);
    assert_eq!(bench.read_all(&owner()), [record(2).encode()]);
    // Storing it again is success, and stores nothing.
    assert!(is_stored(&bench.store(&record(1))));
    assert_eq!(bench.gossip_record(&record(1)), Verdict::Ignore);
    assert_eq!(bench.read_all(&owner()), [record(2).encode()]);
    let mut bench = bench.after_power_loss();
    assert!(is_stored(&bench.store(&record(1))));
    assert_eq!(bench.read_all(&owner()), [record(2).encode()]);
}

#[test]
fn record_and_tombstone_leave_the_tombstone_in_either_order() {
    let mut first = Bench::new();
    let delete = first.signed_delete(&owner(), &[&record(1)]);
    assert_eq!(first.gossip_record(&record(1)), Verdict::Accept);
    assert_eq!(first.gossip_delete(&delete), Verdict::Accept);
    let mut second = Bench::new();
    assert_eq!(second.gossip_delete(&delete), Verdict::Accept);
    assert_eq!(second.gossip_record(&record(1)), Verdict::Ignore);
    for bench in [&mut first, &mut second] {
        assert_eq!(bench.read_all(&owner()), [] as [Vec<u8>; 0]);
        let items: Vec<_> = bench.mail.index.sets().of(MINE).unwrap().iter().copied().collect();
        let (address, id) = (Address::mailbox(&owner().public()), id(bench, &record(1)));
        let tombstone = Entry {
            timestamp: record(1).envelope().timestamp(),
            id: ItemId::tombstone(&address, &id),
            expiry: record(1).envelope().expiry(),
        };
        assert_eq!(items, [tombstone]);
        assert_eq!(bench.gossip_delete(&delete), Verdict::Accept, "known");
    }
    assert_eq!(first.mail.index, second.mail.index.clone());
}

#[test]
fn a_client_deletes_only_what_is_here_as_it_is() {
    let mut bench = Bench::new();
    bench.store(&record(1));
    let unknown = record(2);
    assert_eq!(deleted(bench.delete(&owner(), &[&record(1), &unknown])), [id(&bench, &unknown)]);
    bench.published();
    assert_eq!(deleted(bench.delete(&owner(), &[&unknown])), [id(&bench, &unknown)]);
    assert!(bench.published().is_empty(), "nothing was deleted");
    assert_eq!(bench.mail.index.tombstone_count(), 1);
    // With another time or life than the record has, the tombstone would be another one elsewhere.
    bench.store(&record(3));
    let right = DeletedRecord { id: id(&bench, &record(3)), timestamp: START.seconds(), ttl: TTL };
    for wrong in [
        DeletedRecord { timestamp: UnixSeconds(right.timestamp.0 + 1), ..right },
        DeletedRecord { ttl: TTL + 1, ..right },
    ] {
        let delete = Delete::new(Address::mailbox(&owner().public()), bench.seconds(), vec![wrong]).unwrap();
        let signed = SignedDelete::sign(delete, &owner(), &bench.view.chain);
        bench.ask(1, SwarmRequest::Delete(signed));
        assert_eq!(deleted(bench.answer()), [right.id]);
    }
    assert_eq!(bench.read_all(&owner()).len(), 1);
}

#[test]
fn nobody_deletes_anothers_mail() {
    let mut bench = Bench::new();
    bench.store(&record(1));
    let (owner, other) = (owner(), owner_in(MINE, 1));
    // Another address names the record: nothing of it is at that address.
    assert_eq!(deleted(bench.delete(&other, &[&record(1)])), [id(&bench, &record(1))]);
    let foreign = bench.signed_delete(&other, &[&record(1)]);
    assert_eq!(bench.gossip_delete(&foreign), Verdict::Accept, "a tombstone of its own address, which means nothing");
    assert_eq!(bench.read_all(&owner), [record(1).encode()]);
    assert!(is_stored(&bench.store(&record(1))));
    // A signature by somebody else.
    let records = vec![DeletedRecord { id: id(&bench, &record(1)), timestamp: START.seconds(), ttl: TTL }];
    let delete = Delete::new(Address::mailbox(&owner.public()), bench.seconds(), records).unwrap();
    let forged = SignedDelete::sign(delete, &other, &bench.view.chain);
    bench.ask(1, SwarmRequest::Delete(forged.clone()));
    assert_eq!(error(bench.answer()), Error::Unauthorized);
    assert_eq!(bench.gossip_delete(&forged), Verdict::Reject);
    assert_eq!(bench.read_all(&owner), [record(1).encode()]);
}

#[test]
fn a_client_is_answered_when_the_tombstone_is_on_disk_and_not_before() {
    let mut bench = Bench::new();
    bench.store(&record(1));
    bench.published();
    bench.prompt = false;
    let delete = bench.signed_delete(&owner(), &[&record(1)]);
    bench.ask(1, SwarmRequest::Delete(delete.clone()));
    bench.ask(2, SwarmRequest::Delete(delete.clone()));
    assert!(bench.answers().is_empty() && bench.published().is_empty());
    bench.serve_disk();
    assert_eq!(bench.answers().len(), 2);
    assert_eq!(bench.published().len(), 1);
}

#[test]
fn a_delete_that_is_not_written_is_undone() {
    let mut bench = Bench::new();
    bench.store(&record(1));
    bench.published();
    let before = bench.mail.index.clone();
    bench.prompt = false;
    let delete = bench.signed_delete(&owner(), &[&record(1)]);
    bench.ask(1, SwarmRequest::Delete(delete));
    let (_, token, _) = bench.take_persists().remove(0);
    bench.fail(token);
    assert_eq!(error(bench.answer()), Error::Busy);
    assert_eq!(bench.mail.index, before);
    assert!(bench.published().is_empty());
}

#[test]
fn a_record_deleted_on_its_way_to_disk_is_neither_published_nor_pushed() {
    let mut bench = Bench::new();
    bench.subscribe(9, &owner(), Cursor::default());
    bench.answers();
    bench.act(|mail, env, out| mail.on_room(Tunnel(9), env, out));
    bench.prompt = false;
    bench.store_as(1, &record(1), PublishOrder::First);
    let delete = bench.signed_delete(&owner(), &[&record(1)]);
    assert_eq!(bench.gossip_delete(&delete), Verdict::Accept);
    bench.serve_disk();
    let answers = bench.answers();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers[0].0 == Tunnel(1) && is_stored(&answers[0].1));
    assert!(bench.published().is_empty());
    let mut bench = bench.after_power_loss();
    assert_eq!(bench.mail.records(), 0);
    assert_eq!(bench.read_all(&owner()), [] as [Vec<u8>; 0]);
}

#[test]
fn one_delete_is_kept_once_until_its_last_tombstone_expires() {
    let mut bench = Bench::new();
    let (short, long) = (Draft { ttl: 600, ..Draft::to(&owner()) }.record(1), record(2));
    bench.store(&short);
    bench.store(&long);
    let delete = bench.signed_delete(&owner(), &[&short, &long]);
    let name = crate::store::records::DeleteName::of(&delete.encode());
    bench.ask(1, SwarmRequest::Delete(delete.clone()));
    let stones = |bench: &Bench| {
        let first = ItemId::new([0; 32]);
        tombstones(&bench.disk.written, first, 99).unwrap().rows.len()
    };
    assert_eq!(stones(&bench), 2);
    assert_eq!(signed_delete(&bench.disk.written, &name).unwrap(), Some(delete.encode()));
    bench.pass(800_000);
    assert_eq!(stones(&bench), 1);
    assert!(signed_delete(&bench.disk.written, &name).unwrap().is_some());
    bench.pass(3_000_000);
    assert_eq!(stones(&bench), 0);
    assert_eq!(signed_delete(&bench.disk.written, &name).unwrap(), None);
    assert_eq!(bench.mail.index, Index::default());
}

#[test]
fn tombstones_of_an_address_are_bounded() {
    let mut bench = Bench::new();
    let address = Address::mailbox(&owner().public());
    let mut n = 0_u32;
    let mut next = |count: usize| {
        let records = (0..count).map(|_| {
            n += 1;
            let mut id = [0; 32];
            id[..4].copy_from_slice(&n.to_be_bytes());
            DeletedRecord { id: RecordId::new(id), timestamp: START.seconds(), ttl: TTL }
        });
        let delete = Delete::new(address, START.seconds(), records.collect()).unwrap();
        SignedDelete::sign(delete, &owner(), &TestChain::new().genesis.chain_id())
    };
    for _ in 0..16 {
        assert_eq!(bench.gossip_delete(&next(256)), Verdict::Accept);
    }
    assert_eq!(bench.mail.index.tombstone_count(), 4096);
    assert_eq!(bench.gossip_delete(&next(256)), Verdict::Ignore);
    assert_eq!(bench.mail.index.tombstone_count(), 4096);
    bench.store(&record(1));
    assert_eq!(error(bench.delete(&owner(), &[&record(1)])), Error::Busy);
}
