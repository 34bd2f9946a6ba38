//! The process dies before a change is committed.

use super::*;

/// What would have been done, and was not.
fn die(party: &mut Party, change: impl FnOnce(&Transaction<'_>, &Me<'_>, &mut ChaCha20Rng)) {
    let me = Me { chain: &CHAIN, account: &party.account, name: party.name, now: party.now };
    let transaction = party.store.transaction().unwrap();
    change(&transaction, &me, &mut party.rng);
    drop(transaction);
    party.store = party.store.copy();
}

fn text(text: &str) -> Body {
    Body::Text(Text::new(text.to_owned()).unwrap())
}

#[test]
fn a_message_that_was_not_taken_in_is_taken_in_the_next_time() {
    let (mut alice, mut bob) = (Party::new(1, "alice"), Party::new(2, "bob"));
    alice.ask(bob.id()).unwrap();
    let request = alice.outgoing();
    let heard = |party: &mut Party, envelope: &Envelope| {
        die(party, |tx, me, rng| assert!(hear(tx, me, envelope, rng).unwrap().letter.is_some()));
    };
    heard(&mut bob, &request[0]);
    assert_eq!(bob.waiting(), []);
    bob.hear_all(&request);
    let [id] = bob.waiting()[..] else { panic!() };
    die(&mut bob, |tx, me, rng| drop(accept(tx, me, &id, None, rng).unwrap()));
    assert_eq!((bob.waiting(), bob.live(alice.id()), bob.outgoing()), (vec![id], 0, vec![]));
    bob.accept();
    bob.say(alice.id(), "hi").unwrap();
    for envelope in bob.outgoing() {
        let queued = alice.store.pending(usize::MAX).unwrap();
        heard(&mut alice, &envelope);
        assert_eq!(alice.store.pending(usize::MAX).unwrap(), queued);
        assert!(alice.hear(&envelope).is_some());
    }
    assert_eq!((alice.texts(), alice.live(bob.id())), (vec!["hi".to_owned()], 1));
    settle(&mut alice, &mut bob);
    still_talk(&mut alice, &mut bob);
}

#[test]
fn what_was_said_and_not_committed_never_leaves_and_its_key_serves_the_next_message() {
    let (mut alice, mut bob) = friends();
    for n in 0..20 {
        die(&mut alice, |tx, me, rng| {
            let saying = Saying { account: bob.account.address(), body: text("never"), ttl: speaking::TTL };
            say(tx, me, saying, rng).unwrap();
        });
        assert_eq!(alice.outgoing(), []);
        alice.say(bob.id(), &n.to_string()).unwrap();
        bob.hear_all(&alice.outgoing());
    }
    assert_eq!(bob.texts(), (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    let transaction = bob.store.transaction().unwrap();
    let numbers: Vec<_> = transaction.numbers_of(&alice.id()).unwrap().into_iter().map(|(_, number)| number).collect();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>(), "no gap: nothing that was said is missing");
}

#[test]
fn a_message_that_is_sealed_again_after_a_death_is_shown_once() {
    let (mut alice, mut bob) = friends();
    let id = alice.say(bob.id(), "once").unwrap();
    let first = alice.seal(&id);
    alice.store = alice.store.copy();
    let again = alice.seal(&id);
    assert_ne!(first.data(), again.data());
    bob.hear_all(&[again, first]);
    assert_eq!(bob.texts(), ["once"]);
}
