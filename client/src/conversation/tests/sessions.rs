//! Sessions: repeated, lost, replaced, restored.

use super::*;

#[test]
fn an_initial_message_that_is_repeated_begins_one_session_and_is_shown_once() {
    let (mut alice, mut bob) = (Party::new(1, "alice"), Party::new(2, "bob"));
    alice.ask(bob.id()).unwrap();
    bob.hear_all(&alice.outgoing());
    bob.accept();
    let id = bob.say(alice.id(), "once").unwrap();
    bob.outgoing();
    for _ in 0..200 {
        let again = bob.seal(&id);
        alice.hear(&again);
        alice.store = alice.store.copy();
    }
    assert_eq!((alice.texts(), alice.live(bob.id())), (vec!["once".to_owned()], 1));
}

#[test]
fn a_slot_that_served_refuses_another_session_also_after_a_restart() {
    let (mut alice, mut bob) = (Party::new(1, "alice"), Party::new(2, "bob"));
    alice.ask(bob.id()).unwrap();
    bob.hear_all(&alice.outgoing());
    // Another device of bob with the same number, or a copy of his profile.
    let mut copy = Party { store: bob.store.copy(), rng: ChaCha20Rng::from_seed([77; 32]), ..Party::new(2, "bob") };
    bob.accept();
    copy.accept();
    alice.hear_all(&bob.outgoing());
    alice.store = alice.store.copy();
    let before = alice.shown.len();
    alice.hear_all(&copy.outgoing());
    assert_eq!((alice.shown.len(), alice.live(bob.id())), (before, 1));
}

#[test]
fn messages_in_any_order_are_shown_once_each() {
    let (mut alice, mut bob) = friends();
    for n in 0..30 {
        alice.say(bob.id(), &n.to_string()).unwrap();
    }
    let mut envelopes = alice.outgoing();
    envelopes.reverse();
    envelopes.extend(envelopes.clone());
    bob.hear_all(&envelopes);
    let mut texts = bob.texts();
    texts.sort_by_key(|text| text.parse::<u32>().unwrap());
    assert_eq!(texts, (0..30).map(|n| n.to_string()).collect::<Vec<_>>());
    // The history is in the order of what was written, and numbers show that nothing is missing.
    let history = bob.store.transaction().unwrap().history(&alice.id(), None, 100).unwrap();
    let numbers: Vec<_> = history.iter().map(|(_, said)| said.content.sequence).collect();
    assert_eq!(numbers.len(), 30);
    assert!(numbers.iter().all(|number| *number > 0));
}

#[test]
fn a_copy_under_another_time_does_not_open() {
    let (mut alice, mut bob) = friends();
    alice.say(bob.id(), "hi").unwrap();
    let envelopes = alice.outgoing();
    let [good] = envelopes.as_slice() else { panic!() };
    let later = sotto_proto::time::UnixSeconds(good.timestamp().0 + 1);
    let dated = Envelope::new(good.address(), later, good.ttl(), Height(30), good.data().to_vec()).unwrap();
    assert_eq!(bob.hear(&dated), None);
    assert!(bob.hear(good).is_some());
}

#[test]
fn who_restores_from_the_phrase_asks_anew_and_gets_what_was_sent_of_late() {
    let (mut alice, mut bob) = friends();
    alice.say(bob.id(), "before").unwrap();
    settle(&mut alice, &mut bob);
    // Bob's device is gone; what alice says now opens nowhere.
    alice.now = UnixMillis(BEGIN + DAY);
    alice.say(bob.id(), "into the void").unwrap();
    alice.outgoing();
    let mut bob = Party { rng: ChaCha20Rng::from_seed([99; 32]), now: alice.now, ..Party::new(2, "bob") };
    bob.ask(alice.id()).unwrap();
    let wish = bob.outgoing();
    alice.hear_all(&wish);
    assert!(matches!(alice.shown.last().unwrap().1.body, Body::Request(_)), "it is shown");
    settle(&mut alice, &mut bob);
    assert_eq!(bob.texts(), ["before", "into the void"]);
    bob.say(alice.id(), "I am back").unwrap();
    settle(&mut alice, &mut bob);
    assert_eq!(alice.texts(), ["I am back"]);
    assert_eq!((alice.live(bob.id()), bob.live(alice.id())), (1, 1));
}

#[test]
fn a_session_that_is_begun_anew_loses_and_doubles_nothing_under_way() {
    let (mut alice, mut bob) = friends();
    alice.say(bob.id(), "one").unwrap();
    bob.say(alice.id(), "two").unwrap();
    let (from_alice, from_bob) = (alice.outgoing(), bob.outgoing());
    bob.renew(alice.id());
    let wish = bob.outgoing();
    alice.hear_all(&wish);
    bob.hear_all(&from_alice);
    alice.hear_all(&from_bob);
    settle(&mut alice, &mut bob);
    assert_eq!((alice.texts(), bob.texts()), (vec!["two".to_owned()], vec!["one".to_owned()]));
    assert_eq!((alice.live(bob.id()), bob.live(alice.id())), (1, 1));
}

#[test]
fn what_a_blocked_contact_says_is_neither_shown_nor_kept() {
    let (mut alice, mut bob) = friends();
    bob.change(|tx, _, _| {
        let contact = tx.contact(&alice.account.address())?.unwrap();
        Ok(tx.put_contact(&Contact { state: crate::store::ContactState::Blocked, ..contact })?)
    })
    .unwrap();
    let before = bob.shown.len();
    alice.say(bob.id(), "hello?").unwrap();
    bob.hear_all(&alice.outgoing());
    assert_eq!((bob.shown.len(), bob.outgoing()), (before, vec![]));
    assert!(matches!(bob.say(alice.id(), "x"), Err(Error::Blocked(_))));
}

#[test]
fn prekeys_follow_each_other_every_week_and_whoever_was_away_is_still_heard() {
    let (mut alice, mut bob) = friends();
    // Bob writes what he has before each rotation of alice; it is read after it.
    for week in 1..=8 {
        bob.say(alice.id(), &week.to_string()).unwrap();
        let late = bob.outgoing();
        for party in [&mut alice, &mut bob] {
            party.now = UnixMillis(BEGIN + week * 7 * DAY + 1000);
            party.tidy();
        }
        alice.hear_all(&late);
        settle(&mut alice, &mut bob);
        let prekeys = alice.store.transaction().unwrap().prekeys().unwrap();
        assert!((2..=5).contains(&prekeys.len()), "week {week}: {}", prekeys.len());
    }
    assert_eq!(alice.texts(), (1..=8).map(|week| week.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_stranger_causes_nothing_to_be_sent() {
    let (_, mut bob) = friends();
    let mut eve = Party::new(3, "eve");
    eve.ask(bob.id()).unwrap();
    bob.hear_all(&eve.outgoing());
    assert_eq!(bob.outgoing(), []);
    // A session message of nobody, sealed to bob's mailbox.
    let (mailbox, prekey) = {
        let tx = bob.store.transaction().unwrap();
        (tx.mailboxes().unwrap()[0].address, tx.prekeys().unwrap()[0].secret.public())
    };
    let context = SealContext { chain: &CHAIN, address: mailbox, timestamp: bob.now.seconds(), ttl: speaking::TTL };
    let body = crate::crypto::SessionBody { tag: [1; 16].into(), message: vec![7; 200] };
    let data = seal_session(&context, &prekey, &Inside::Session(body), &mut eve.rng).unwrap();
    let envelope = Envelope::new(mailbox, bob.now.seconds(), speaking::TTL, Height(30), data).unwrap();
    assert_eq!(bob.hear(&envelope), None);
    assert_eq!(bob.outgoing(), []);
}

#[test]
fn keys_of_overtaken_messages_are_written_when_they_change_and_only_then() {
    let (mut alice, mut bob) = friends();
    let skipped = |party: &mut Party, with: Address| {
        let session = party.store.transaction().unwrap().sessions_of(&with).unwrap().remove(0);
        session.skipped.as_ref().map(|skipped| skipped.len())
    };
    for _ in 0..5 {
        alice.say(bob.id(), "a").unwrap();
        bob.say(alice.id(), "b").unwrap();
        settle(&mut alice, &mut bob);
    }
    assert_eq!((skipped(&mut alice, bob.id()), skipped(&mut bob, alice.id())), (None, None));
    for _ in 0..3 {
        alice.say(bob.id(), "c").unwrap();
    }
    let envelopes = alice.outgoing();
    let mut lengths = Vec::new();
    for envelope in envelopes.iter().rev() {
        bob.hear(envelope);
        lengths.push(skipped(&mut bob, alice.id()));
    }
    let one = 2 + 32 + 8 + 2 + 36;
    assert_eq!(lengths, [Some(one + 36), Some(one), Some(2)]);
}
