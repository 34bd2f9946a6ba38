//! Requests: sent, accepted, declined, crossing, forged.

use sotto_proto::content::Request as RequestBody;

use super::*;
use crate::crypto::Bundle;
use crate::store::ContactState;

#[test]
fn a_request_that_is_accepted_becomes_a_conversation() {
    let (mut alice, mut bob) = (Party::new(1, "alice"), Party::new(2, "bob"));
    alice.ask(bob.id()).unwrap();
    assert!(matches!(alice.ask(bob.id()), Err(Error::Waiting(_))));
    assert!(matches!(alice.say(bob.id(), "too early"), Err(Error::NotAccepted(_))));
    let request = alice.outgoing();
    let shown = bob.hear(&request[0]).unwrap();
    let Body::Request(body) = &shown.body else { panic!("{shown:?}") };
    assert_eq!((body.name(), body.introduction()), ("alice", "hello"));
    assert_eq!(bob.outgoing(), [], "a stranger causes nothing");
    let contact = bob.accept();
    assert_eq!((contact.name.as_str(), contact.state), ("alice", ContactState::Accepted));
    // The first thing that alice sees is that she was accepted; what bob says meanwhile comes by the same session.
    bob.say(alice.id(), "hi").unwrap();
    settle(&mut alice, &mut bob);
    assert!(matches!(alice.shown[0].1.body, Body::Announce(_)));
    assert_eq!(alice.texts(), ["hi"]);
    alice.say(bob.id(), "hello bob").unwrap();
    settle(&mut alice, &mut bob);
    assert_eq!(bob.texts(), ["hello bob"]);
    assert_eq!((alice.live(bob.id()), bob.live(alice.id())), (1, 1));
    assert!(matches!(alice.ask(bob.id()), Err(Error::Already(_))));
}

#[test]
fn after_first_contact_nothing_goes_to_an_inbox() {
    let (mut alice, mut bob) = friends();
    for turn in 0..3 {
        alice.say(bob.id(), "a").unwrap();
        bob.say(alice.id(), "b").unwrap();
        for envelope in alice.outgoing().iter().chain(&bob.outgoing()) {
            let address = envelope.address();
            assert!(address != alice.id() && address != bob.id(), "turn {turn}");
        }
    }
}

#[test]
fn a_first_text_that_overtakes_the_announcement_begins_the_session() {
    let (mut alice, mut bob) = (Party::new(1, "alice"), Party::new(2, "bob"));
    alice.ask(bob.id()).unwrap();
    bob.hear_all(&alice.outgoing());
    bob.accept();
    bob.say(alice.id(), "first").unwrap();
    let mut envelopes = bob.outgoing();
    envelopes.reverse();
    alice.hear_all(&envelopes);
    assert_eq!(alice.texts(), ["first"]);
    settle(&mut alice, &mut bob);
    alice.say(bob.id(), "back").unwrap();
    settle(&mut alice, &mut bob);
    assert_eq!((bob.texts(), alice.live(bob.id())), (vec!["back".to_owned()], 1));
}

#[test]
fn a_request_that_is_declined_or_blocked_stays_without_an_answer() {
    let (mut alice, mut bob) = (Party::new(1, "alice"), Party::new(2, "bob"));
    alice.ask(bob.id()).unwrap();
    let request = alice.outgoing();
    bob.hear_all(&request);
    let [id] = bob.waiting()[..] else { panic!() };
    bob.change(|tx, me, _| decline(tx, me, &id, true)).unwrap();
    bob.hear_all(&request);
    alice.now = UnixMillis(alice.now.0 + 20 * DAY);
    bob.now = alice.now;
    alice.ask(bob.id()).unwrap();
    bob.hear_all(&alice.outgoing());
    assert_eq!((bob.waiting(), bob.outgoing()), (vec![], vec![]));
    assert_eq!(bob.shown.len(), 1, "the request that was declined, and nothing after it");
    assert!(matches!(bob.ask(alice.id()), Err(Error::Blocked(_))));
}

#[test]
fn crossing_requests_end_in_one_session_in_every_order() {
    for order in 0..4 {
        let (mut alice, mut bob) = (Party::new(1, "alice"), Party::new(2, "bob"));
        alice.ask(bob.id()).unwrap();
        bob.ask(alice.id()).unwrap();
        let (from_alice, from_bob) = (alice.outgoing(), bob.outgoing());
        if order % 2 == 0 {
            bob.hear_all(&from_alice);
            alice.hear_all(&from_bob);
        } else {
            alice.hear_all(&from_bob);
            let more = alice.outgoing();
            if order == 3 {
                bob.hear_all(&from_alice);
            }
            bob.hear_all(&more);
            bob.hear_all(&from_alice);
        }
        settle(&mut alice, &mut bob);
        alice.say(bob.id(), "a").unwrap();
        bob.say(alice.id(), "b").unwrap();
        settle(&mut alice, &mut bob);
        assert_eq!((alice.texts(), bob.texts()), (vec!["b".to_owned()], vec!["a".to_owned()]), "order {order}");
        assert_eq!((alice.live(bob.id()), bob.live(alice.id())), (1, 1), "order {order}");
        assert_eq!((alice.waiting(), bob.waiting()), (vec![], vec![]));
    }
}

#[test]
fn crossing_requests_of_which_one_was_lost_still_end_in_a_session() {
    // Whichever has the smaller id: the other's request never came.
    for lost in [1, 2] {
        let (mut alice, mut bob) = (Party::new(1, "alice"), Party::new(2, "bob"));
        alice.ask(bob.id()).unwrap();
        bob.ask(alice.id()).unwrap();
        let (one, other) = if lost == 1 { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
        one.outgoing();
        let came = other.outgoing();
        // It may still come for four days.
        one.now = UnixMillis(one.now.0 + 5 * DAY);
        other.now = one.now;
        one.hear_all(&came);
        settle(&mut alice, &mut bob);
        assert_eq!((alice.live(bob.id()), bob.live(alice.id())), (1, 1), "{lost} was lost");
    }
}

#[test]
fn both_that_accept_each_other_end_with_one_session_and_lose_nothing() {
    // Each accepts by hand before it learns that the other does: both begin.
    let (mut alice, mut bob) = (Party::new(1, "alice"), Party::new(2, "bob"));
    alice.ask(bob.id()).unwrap();
    let from_alice = alice.outgoing();
    bob.hear_all(&from_alice);
    bob.accept();
    let first = bob.outgoing();
    // Alice lost the sending of it and asks again, this time after bob's own wish was made.
    bob.change(|tx, me, rng| {
        ask(tx, me, &Ask { account: alice.account.address(), name: None, introduction: "", renew: true }, rng)
    })
    .unwrap();
    let wish = bob.outgoing();
    alice.hear_all(&wish);
    let second = alice.outgoing();
    alice.hear_all(&first);
    bob.hear_all(&second);
    alice.say(bob.id(), "a").unwrap();
    bob.say(alice.id(), "b").unwrap();
    settle(&mut alice, &mut bob);
    assert_eq!((alice.texts(), bob.texts()), (vec!["b".to_owned()], vec!["a".to_owned()]));
    assert_eq!((alice.live(bob.id()), bob.live(alice.id())), (1, 1));
}

#[test]
fn a_bundle_of_somebody_else_and_one_that_is_over_are_no_request() {
    let (alice, mut bob, mut eve) = (Party::new(1, "alice"), Party::new(2, "bob"), Party::new(3, "eve"));
    let mailbox = Address::mailbox(&alice.account.public_key());
    let key = sotto_behaviours::noise::Secret::generate(&mut eve.rng).public();
    let mut request = |account: &Account, signer: &Account, created: u64| {
        let whose = (account.address(), DEVICE);
        let created = UnixMillis(created).seconds();
        let (bundle, _) = Bundle::create(whose, mailbox, 1, created, key, &mut eve.rng);
        let bundles = vec![bundle.sign(signer.signing_key(), &CHAIN)];
        RequestBody::new("eve".to_owned(), String::new(), bundles, false).unwrap()
    };
    let eves = Account::new(&Entropy::take(&mut [3; 16]));
    let bodies = [
        request(&alice.account, &alice.account, BEGIN),
        request(&alice.account, &eves, BEGIN),
        request(&eves, &eves, BEGIN - 14 * DAY),
    ];
    for body in bodies {
        let content = Content::new(MessageId::new([9; 16]), eve.now, Body::Request(body));
        let context =
            SealContext { chain: &CHAIN, address: bob.id(), timestamp: eve.now.seconds(), ttl: speaking::TTL };
        let data = seal(&context, &eve.account, content, &mut eve.rng).unwrap();
        let envelope = Envelope::new(bob.id(), eve.now.seconds(), speaking::TTL, Height(30), data).unwrap();
        assert_eq!(bob.hear(&envelope), None);
    }
    assert_eq!((bob.waiting(), bob.shown.len()), (vec![], 0));
}

#[test]
fn a_request_is_accepted_for_two_weeks_and_its_keys_serve_four_days_longer() {
    let (mut alice, mut bob) = (Party::new(1, "alice"), Party::new(2, "bob"));
    alice.ask(bob.id()).unwrap();
    bob.hear_all(&alice.outgoing());
    bob.now = UnixMillis(BEGIN + 14 * DAY);
    let [id] = bob.waiting()[..] else { panic!() };
    let late = bob.change(|tx, me, rng| accept(tx, me, &id, None, rng));
    assert!(matches!(late, Err(Error::Expired(_))));
    bob.now = UnixMillis(BEGIN + 14 * DAY - 2000);
    bob.accept();
    let first = bob.outgoing();
    // It lay in a swarm for nearly four days.
    alice.now = UnixMillis(BEGIN + 18 * DAY - 10_000);
    alice.tidy();
    alice.hear_all(&first);
    assert_eq!(alice.live(bob.id()), 1);
}

#[test]
fn requests_are_accepted_by_themselves_if_the_user_wants_that_and_only_so_many_an_hour() {
    let mut bot = Party::new(9, "bot");
    let mut others: Vec<Party> = (10..14).map(|byte| Party::new(byte, "someone")).collect();
    let hear_from = |other: &mut Party, bot: &mut Party| {
        other.ask(bot.id()).unwrap();
        let request = other.outgoing();
        bot.hear_all(&request);
        bot.waiting().len()
    };
    assert_eq!(hear_from(&mut others[0], &mut bot), 1, "nobody wanted it");
    bot.change(|tx, _, _| Ok(tx.set_auto_accept(2)?)).unwrap();
    assert_eq!(hear_from(&mut others[1], &mut bot), 1);
    settle(&mut bot, &mut others[1]);
    bot.say(others[1].id(), "welcome").unwrap();
    settle(&mut bot, &mut others[1]);
    assert_eq!(others[1].texts(), ["welcome"]);
    assert_eq!(hear_from(&mut others[2], &mut bot), 1);
    assert_eq!(hear_from(&mut others[3], &mut bot), 2, "the third of an hour waits");
    pass(1, [&mut bot]);
    let mut later = Party::new(20, "later");
    later.now = bot.now;
    assert_eq!(hear_from(&mut later, &mut bot), 2);
}
