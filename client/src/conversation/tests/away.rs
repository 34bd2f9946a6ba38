//! Contacts that are away for long.

use super::*;

#[test]
fn an_accepter_that_was_away_is_heard_after_its_keys_are_over() {
    let (mut alice, mut bob) = (Party::new(1, "alice"), Party::new(2, "bob"));
    alice.ask(bob.id()).unwrap();
    bob.hear_all(&alice.outgoing());
    bob.accept();
    alice.hear_all(&bob.outgoing());
    // What alice answers is gone before bob reads it.
    for _ in 0..19 {
        pass(1, [&mut alice]);
        alice.tidy();
        alice.outgoing();
    }
    bob.now = UnixMillis(BEGIN + 13 * DAY);
    let id = bob.say(alice.id(), "back").unwrap();
    let last = bob.seal(&id);
    alice.hear(&last);
    assert_eq!(alice.texts(), ["back"], "the session is there, if its bundle is not");
}

#[test]
fn a_contact_that_was_away_for_weeks_is_told_the_keys_of_today_and_heard() {
    for weeks in [1, 3, 5, 9] {
        let (mut alice, mut bob) = friends();
        let mut kept: Vec<Envelope> = Vec::new();
        for _ in 0..weeks * 7 {
            alice.now = UnixMillis(alice.now.0 + DAY);
            alice.tidy();
            kept.extend(alice.outgoing());
            kept.retain(|envelope| envelope.expiry() > alice.now.seconds());
        }
        assert!(!kept.is_empty(), "{weeks} weeks: something is always there");
        bob.now = alice.now;
        bob.tidy();
        bob.hear_all(&kept);
        bob.say(alice.id(), "I was away").unwrap();
        settle(&mut alice, &mut bob);
        assert_eq!(alice.texts(), ["I was away"], "{weeks} weeks");
        still_talk(&mut alice, &mut bob);
    }
}

#[test]
fn a_session_that_nobody_answered_in_its_time_says_so_and_can_be_begun_anew() {
    let (mut alice, mut bob) = (Party::new(1, "alice"), Party::new(2, "bob"));
    alice.ask(bob.id()).unwrap();
    bob.hear_all(&alice.outgoing());
    bob.accept();
    bob.outgoing();
    assert!(matches!(bob.ask(alice.id()), Err(Error::Already(_))));
    pass(14, [&mut alice, &mut bob]);
    bob.tidy();
    assert!(matches!(bob.say(alice.id(), "anybody?"), Err(Error::Expired(_))));
    bob.outgoing();
    bob.ask(alice.id()).unwrap();
    settle(&mut alice, &mut bob);
    still_talk(&mut alice, &mut bob);
}

#[test]
fn a_first_message_that_was_not_read_in_time_is_repeated_while_it_may_be() {
    let (mut alice, mut bob) = (Party::new(1, "alice"), Party::new(2, "bob"));
    alice.ask(bob.id()).unwrap();
    bob.hear_all(&alice.outgoing());
    bob.accept();
    bob.outgoing();
    for _ in 0..5 {
        pass(1, [&mut alice, &mut bob]);
        bob.tidy();
    }
    settle(&mut alice, &mut bob);
    still_talk(&mut alice, &mut bob);
}

#[test]
fn contacts_are_told_of_a_prekey_that_a_request_made_necessary() {
    let (mut alice, mut bob) = friends();
    let before = alice.store.transaction().unwrap().prekeys().unwrap()[0].number;
    pass(8, [&mut alice, &mut bob]);
    alice.ask(Party::new(3, "carol").id()).unwrap();
    assert!(alice.store.transaction().unwrap().prekeys().unwrap()[0].number > before);
    let envelopes = alice.outgoing();
    assert_eq!(envelopes.len(), 2, "the request, and what bob is told");
    bob.hear_all(&envelopes[..1]);
    let session = bob.store.transaction().unwrap().sessions_of(&alice.id()).unwrap().remove(0);
    assert!(session.peer_epoch > before.0);
}

#[test]
fn the_key_that_a_contact_knows_is_kept_while_each_is_away_in_turn() {
    for (mut alice, mut bob) in both_ways() {
        befriend(&mut alice, &mut bob);
        let day_of = |days: u64| UnixMillis(BEGIN + days * DAY);
        for day in 1..=50 {
            alice.now = day_of(day);
            alice.tidy();
            alice.outgoing();
        }
        // What alice told is gone when bob comes back, and alice is away then.
        bob.now = day_of(80);
        bob.tidy();
        bob.say(alice.id(), "where were you?").unwrap();
        let kept = bob.outgoing();
        alice.now = day_of(82);
        alice.tidy();
        alice.hear_all(&kept);
        assert_eq!(alice.texts(), ["where were you?"]);
        bob.now = alice.now;
        settle(&mut alice, &mut bob);
        still_talk(&mut alice, &mut bob);
        let prekeys = alice.store.transaction().unwrap().prekeys().unwrap().len();
        assert!((1..=4).contains(&prekeys), "{prekeys}: bob knows the newest now");
    }
}

#[test]
fn keys_for_a_contact_that_never_comes_back_are_kept_for_a_time_and_no_longer() {
    let (mut alice, _) = friends();
    let mut most = 0;
    for _ in 0..200 {
        pass(1, [&mut alice]);
        alice.tidy();
        alice.outgoing();
        most = most.max(alice.store.transaction().unwrap().prekeys().unwrap().len());
    }
    assert!((5..hearing::TRIED).contains(&most), "{most}: all that are there are tried");
}

#[test]
fn a_contact_that_cannot_be_told_a_key_keeps_it_from_nobody_else() {
    let (mut alice, bob) = friends();
    let mut carol = Party::new(3, "carol");
    befriend(&mut alice, &mut carol);
    // A session by which nothing has come yet: nothing can be encrypted by it.
    let mut empty = vec![1];
    empty.extend([7; 64]);
    empty.extend([0; 7]);
    empty.extend([7; 64]);
    let broken = alice.serving(bob.id()).unwrap();
    alice.change(|tx, _, _| Ok(tx.set_ratchet(&broken, &empty, None)?)).unwrap();
    assert!(matches!(alice.say(bob.id(), "x"), Err(Error::Encrypt(_))));
    pass(8, [&mut alice, &mut carol]);
    alice.tidy();
    let told = alice.outgoing();
    assert_eq!(told.len(), 1);
    carol.hear_all(&told);
    let newest = alice.store.transaction().unwrap().prekeys().unwrap()[0].number;
    let session = carol.store.transaction().unwrap().sessions_of(&alice.id()).unwrap().remove(0);
    assert_eq!(session.peer_epoch, newest.0);
}
