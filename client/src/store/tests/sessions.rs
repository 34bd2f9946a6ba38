//! Mailboxes, prekeys, bundles, and the sessions that begin by them.

use sotto_behaviours::noise::Secret;
use sotto_proto::sign::SigningKey;

use super::*;
use crate::crypto::SessionTag;

fn secret(byte: u8) -> Secret {
    Secret::take(&mut [byte; 32])
}

fn tag(byte: u8) -> SessionTag {
    SessionTag::new([byte; 16])
}

fn bundle(epoch: u32, expires: u64) -> StoredBundle {
    StoredBundle {
        epoch,
        recipient: address(2),
        prekey: PrekeyNumber(1),
        secrets: Zeroizing::new(vec![7; 264]),
        created: UnixSeconds(10),
        expires: UnixSeconds(expires),
    }
}

fn session(name: u8, with: u8, created: u64) -> Session {
    Session {
        tag: tag(name),
        account: address(with),
        device: 1,
        own_device: 2,
        initiator: true,
        ratchet: Zeroizing::new(vec![1; 200]),
        skipped: None,
        initial: Some(vec![3; 70]),
        mailbox: Address::mailbox(&SigningKey::from_seed(&[4; 32]).public()),
        seal_key: X25519Key::new([5; 32]),
        peer_epoch: 6,
        expires: UnixSeconds(50),
        epoch: 7,
        created: UnixSeconds(created),
        received: None,
        retired: None,
    }
}

/// A session has no `Debug`, so it is compared here.
fn assert_is(found: Option<&Session>, expected: &Session) {
    assert!(found == Some(expected), "another session than {:?}", expected.tag);
}

#[test]
fn the_newest_mailbox_comes_first_and_its_key_signs_for_it() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    for (seed, created) in [(1, 10), (2, 30), (3, 20)] {
        let key = SigningKey::from_seed(&[seed; 32]);
        let mailbox = OwnMailbox { address: Address::mailbox(&key.public()), key };
        tx.add_mailbox(&mailbox, UnixSeconds(created)).unwrap();
        assert!(tx.add_mailbox(&mailbox, UnixSeconds(99)).is_err(), "an address is there once");
    }
    tx.commit().unwrap();
    let mailboxes = store.mailboxes().unwrap();
    assert_eq!(mailboxes.iter().map(|mailbox| mailbox.key.seed()[0]).collect::<Vec<_>>(), [2, 3, 1]);
    assert!(mailboxes.iter().all(|mailbox| mailbox.address == Address::mailbox(&mailbox.key.public())));
}

#[test]
fn a_prekey_is_followed_by_the_next_and_forgotten_some_time_after_that() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    assert!(tx.prekeys().unwrap().is_empty());
    let numbers =
        [(1, 10), (2, 20), (3, 30)].map(|(byte, at)| tx.add_prekey(secret(byte), UnixSeconds(at)).unwrap().number);
    assert!(numbers.is_sorted() && numbers[0] < numbers[1] && numbers[1] < numbers[2]);
    let newest = tx.prekeys().unwrap();
    assert_eq!(newest.iter().map(|prekey| prekey.number).collect::<Vec<_>>(), [numbers[2], numbers[1], numbers[0]]);
    assert_eq!(newest[0].secret.public(), secret(3).public());
    assert_eq!(newest[2].created, UnixSeconds(10));
    // The first was retired at 20, the second at 30; the third is in use, however old.
    tx.drop_prekeys(UnixSeconds(30), UnixSeconds(0)).unwrap();
    assert_eq!(tx.prekeys().unwrap().len(), 2);
    tx.drop_prekeys(UnixSeconds(u64::MAX >> 1), UnixSeconds(0)).unwrap();
    assert_eq!(tx.prekeys().unwrap().len(), 1);
    let next = tx.add_prekey(secret(4), UnixSeconds(40)).unwrap().number;
    assert!(next > numbers[2], "no number is given out again");
}

#[test]
fn a_prekey_that_a_contact_may_know_as_the_newest_is_kept_for_longer() {
    for state in [ContactState::Accepted, ContactState::Blocked] {
        let mut store = Store::in_memory();
        let tx = store.transaction().unwrap();
        let [first, second, third] =
            [(1, 10), (2, 20), (3, 30)].map(|(byte, at)| tx.add_prekey(secret(byte), UnixSeconds(at)).unwrap().number);
        let (account, name, created) = (address(2), "bob".to_owned(), UnixMillis(1));
        tx.put_contact(&Contact { account, name, said_name: None, state, created }).unwrap();
        tx.add_session(&session(1, 2, 10)).unwrap();
        // It may have read the first word of a key, and not the second.
        tx.set_told(&tag(1), first, UnixSeconds(10)).unwrap();
        tx.set_told(&tag(1), third, UnixSeconds(30)).unwrap();
        let left_at = |latest| {
            tx.drop_prekeys(UnixSeconds(1000), UnixSeconds(latest)).unwrap();
            tx.prekeys().unwrap().iter().map(|prekey| prekey.number).collect::<Vec<_>>()
        };
        if state == ContactState::Blocked {
            assert_eq!(left_at(0), [third], "nobody waits for what it says");
            continue;
        }
        assert_eq!(left_at(20), [third, second, first]);
        tx.set_known(&tag(1), second).unwrap();
        tx.set_known(&tag(1), first).unwrap();
        assert_eq!(left_at(20), [third, second], "what was sealed earlier came later");
        assert_eq!(left_at(31), [third], "not for ever");
    }
}

#[test]
fn a_bundles_number_is_never_given_out_again() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    assert_eq!(tx.next_bundle_epoch().unwrap(), 1);
    tx.put_bundle(&bundle(1, 100)).unwrap();
    tx.put_bundle(&bundle(2, 200)).unwrap();
    assert_eq!(tx.next_bundle_epoch().unwrap(), 3);
    tx.drop_bundles(UnixSeconds(1000)).unwrap();
    assert!(tx.bundle(1).unwrap().is_none() && tx.bundle(2).unwrap().is_none());
    assert_eq!(tx.next_bundle_epoch().unwrap(), 3, "although nothing is left");
}

#[test]
fn of_a_bundle_only_the_secrets_change() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    tx.put_bundle(&bundle(1, 100)).unwrap();
    assert!(tx.bundle(1).unwrap() == Some(bundle(1, 100)));
    let used = StoredBundle { secrets: Zeroizing::new(vec![8; 4]), ..bundle(1, 100) };
    tx.put_bundle(&StoredBundle { recipient: address(9), expires: UnixSeconds(999), ..used.clone() }).unwrap();
    assert!(tx.bundle(1).unwrap() == Some(used), "it was given to somebody, until some time");
}

#[test]
fn a_one_time_key_serves_once_and_is_remembered_as_long_as_its_bundle() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    for (epoch, expires) in [(1, 100), (2, 200)] {
        tx.put_bundle(&bundle(epoch, expires)).unwrap();
        tx.use_slot(epoch, 0, &X25519Key::new([1; 32]), &tag(1)).unwrap();
    }
    assert!(tx.use_slot(1, 0, &X25519Key::new([2; 32]), &tag(2)).is_err());
    assert_eq!(tx.used_slot(1, 0).unwrap(), Some((X25519Key::new([1; 32]), tag(1))), "the first one");
    assert_eq!(tx.used_slot(1, 1).unwrap(), None);
    tx.drop_bundles(UnixSeconds(150)).unwrap();
    assert_eq!(tx.used_slot(1, 0).unwrap(), None);
    assert!(tx.used_slot(2, 0).unwrap().is_some() && tx.bundle(2).unwrap().is_some());
}

#[test]
fn a_session_is_read_as_it_was_written_and_there_once() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    let full = Session {
        skipped: Some(Zeroizing::new(vec![9; 3000])),
        received: Some(UnixSeconds(11)),
        retired: Some(UnixSeconds(12)),
        initiator: false,
        ..session(2, 2, 10)
    };
    for session in [&session(1, 2, 20), &full] {
        tx.add_session(session).unwrap();
        assert_is(tx.session(&session.tag).unwrap().as_ref(), session);
    }
    assert!(tx.add_session(&session(1, 3, 1)).is_err());
    assert!(tx.session(&tag(3)).unwrap().is_none());
    let tags = |byte| tx.sessions_of(&address(byte)).unwrap().iter().map(|session| session.tag).collect::<Vec<_>>();
    assert_eq!((tags(2), tags(3)), (vec![tag(2), tag(1)], vec![]), "the oldest first");
}

#[test]
fn the_keys_of_overtaken_messages_stay_where_none_came_or_went() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    let mut expected = session(1, 2, 10);
    tx.add_session(&expected).unwrap();
    tx.add_session(&session(2, 2, 10)).unwrap();
    tx.set_ratchet(&tag(1), &[2; 210], Some(&[4; 900])).unwrap();
    tx.set_ratchet(&tag(1), &[3; 220], None).unwrap();
    (expected.ratchet, expected.skipped) = (Zeroizing::new(vec![3; 220]), Some(Zeroizing::new(vec![4; 900])));
    assert_is(tx.session(&tag(1)).unwrap().as_ref(), &expected);
    tx.set_ratchet(&tag(1), &[3; 220], Some(&[])).unwrap();
    expected.skipped = Some(Zeroizing::new(Vec::new()));
    assert_is(tx.session(&tag(1)).unwrap().as_ref(), &expected);
    assert_is(tx.session(&tag(2)).unwrap().as_ref(), &session(2, 2, 10));
}

#[test]
fn what_a_session_learns_is_written_and_the_initial_message_goes_with_the_first_answer() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    tx.add_session(&session(1, 2, 10)).unwrap();
    tx.set_received(&tag(1), UnixSeconds(15)).unwrap();
    tx.set_peer(&tag(1), &address(8), &X25519Key::new([9; 32]), 7).unwrap();
    tx.retire_session(&tag(1), UnixSeconds(20)).unwrap();
    tx.retire_session(&tag(1), UnixSeconds(99)).unwrap();
    let expected = Session {
        initial: None,
        received: Some(UnixSeconds(15)),
        mailbox: address(8),
        seal_key: X25519Key::new([9; 32]),
        peer_epoch: 7,
        retired: Some(UnixSeconds(20)),
        ..session(1, 2, 10)
    };
    assert_is(tx.session(&tag(1)).unwrap().as_ref(), &expected);
}

#[test]
fn a_session_is_forgotten_only_after_another_took_its_place() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    for name in 1..=3 {
        tx.add_session(&session(name, 2, 10)).unwrap();
    }
    tx.retire_session(&tag(1), UnixSeconds(20)).unwrap();
    tx.retire_session(&tag(2), UnixSeconds(30)).unwrap();
    let left_at = |before| {
        tx.drop_sessions(UnixSeconds(before)).unwrap();
        tx.sessions_of(&address(2)).unwrap().iter().map(|session| session.tag).collect::<Vec<_>>()
    };
    // Nothing ever came by any of them, and then something by the first.
    assert_eq!(left_at(30), [tag(1), tag(2), tag(3)]);
    tx.set_received(&tag(1), UnixSeconds(25)).unwrap();
    assert_eq!(left_at(31), [tag(1), tag(3)], "the other side may know of the first only");
    tx.set_received(&tag(3), UnixSeconds(25)).unwrap();
    assert_eq!(left_at(20), [tag(1), tag(3)], "not yet");
    assert_eq!(left_at(21), [tag(3)]);
    assert_eq!(left_at(1000), [tag(3)]);
}
