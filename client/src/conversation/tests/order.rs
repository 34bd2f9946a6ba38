//! Sessions that both sides began, or one side twice: whatever came first, both end with the same one.

use super::*;

#[test]
fn a_crossing_request_that_comes_after_the_session_changes_nothing() {
    // The mailbox was read before the inbox.
    for (mut alice, mut bob) in both_ways() {
        alice.ask(bob.id()).unwrap();
        bob.ask(alice.id()).unwrap();
        let (from_alice, from_bob) = (alice.outgoing(), bob.outgoing());
        alice.hear_all(&from_bob);
        let more = alice.outgoing();
        bob.hear_all(&more);
        bob.hear_all(&from_alice);
        settle(&mut alice, &mut bob);
        still_talk(&mut alice, &mut bob);
    }
}

#[test]
fn both_that_begin_anew_at_once_end_with_one_session() {
    for seconds in [0, 1, 100] {
        for (mut alice, mut bob) in both_ways() {
            befriend(&mut alice, &mut bob);
            pass(1, [&mut alice, &mut bob]);
            alice.renew(bob.id());
            bob.now = UnixMillis(bob.now.0 + seconds * 1000);
            alice.now = bob.now;
            bob.renew(alice.id());
            let (from_alice, from_bob) = (alice.outgoing(), bob.outgoing());
            bob.hear_all(&from_alice);
            alice.hear_all(&from_bob);
            settle(&mut alice, &mut bob);
            still_talk(&mut alice, &mut bob);
        }
    }
}

#[test]
fn of_two_renewals_the_later_serves_in_every_order_of_requests_and_sessions() {
    for order in 0..4 {
        for (mut alice, mut bob) in both_ways() {
            befriend(&mut alice, &mut bob);
            pass(1, [&mut alice, &mut bob]);
            alice.renew(bob.id());
            let mut requests = alice.outgoing();
            pass(1, [&mut alice, &mut bob]);
            alice.renew(bob.id());
            requests.extend(alice.outgoing());
            if order & 1 != 0 {
                requests.reverse();
            }
            let mut sessions = Vec::new();
            for request in &requests {
                bob.hear(request);
                sessions.push(bob.outgoing());
            }
            if order & 2 != 0 {
                sessions.reverse();
            }
            sessions.iter().for_each(|envelopes| alice.hear_all(envelopes));
            settle(&mut alice, &mut bob);
            still_talk(&mut alice, &mut bob);
        }
    }
}

#[test]
fn a_session_from_before_a_renewal_that_comes_after_it_does_not_take_its_place() {
    for (mut alice, mut bob) in both_ways() {
        // Bob asks and is away; alice accepts on the third day, and begins anew when nothing came.
        bob.ask(alice.id()).unwrap();
        alice.hear_all(&bob.outgoing());
        pass(3, [&mut alice, &mut bob]);
        alice.accept();
        let first = alice.outgoing();
        pass(2, [&mut alice, &mut bob]);
        alice.renew(bob.id());
        let wish = alice.outgoing();
        bob.hear_all(&wish);
        let answer = bob.outgoing();
        bob.hear_all(&first);
        alice.hear_all(&answer);
        settle(&mut alice, &mut bob);
        still_talk(&mut alice, &mut bob);
    }
}

#[test]
fn a_session_by_which_the_other_side_still_writes_is_not_dropped() {
    let (mut alice, mut bob) = friends();
    pass(1, [&mut alice, &mut bob]);
    alice.renew(bob.id());
    bob.hear_all(&alice.outgoing());
    // Nothing of the new session comes; alice goes on by the one that she has.
    bob.outgoing();
    for day in 0..10 {
        pass(1, [&mut alice, &mut bob]);
        bob.tidy();
        alice.say(bob.id(), &format!("day {day}")).unwrap();
        let envelopes = alice.outgoing();
        bob.hear_all(&envelopes);
        bob.outgoing();
    }
    assert_eq!(bob.texts().len(), 10);
    // It comes with the next message, whichever that is.
    bob.say(alice.id(), "and by the new one").unwrap();
    settle(&mut alice, &mut bob);
    assert_eq!(alice.texts(), ["and by the new one"]);
    still_talk(&mut alice, &mut bob);
}

#[test]
fn who_waits_for_the_other_to_begin_does_so_itself_once_that_cannot_come() {
    for (mut alice, mut bob) in both_ways() {
        alice.ask(bob.id()).unwrap();
        bob.ask(alice.id()).unwrap();
        // Alice's request is stored, and bob does not read it in its time.
        alice.outgoing();
        alice.hear_all(&bob.outgoing());
        settle(&mut alice, &mut bob);
        pass(4, [&mut alice, &mut bob]);
        alice.tidy();
        bob.tidy();
        settle(&mut alice, &mut bob);
        still_talk(&mut alice, &mut bob);
    }
}

#[test]
fn who_declined_and_asks_later_is_answered() {
    for (mut alice, mut bob) in both_ways() {
        alice.ask(bob.id()).unwrap();
        bob.hear_all(&alice.outgoing());
        let [id] = bob.waiting()[..] else { panic!() };
        bob.change(|tx, me, _| decline(tx, me, &id, false)).unwrap();
        bob.ask(alice.id()).unwrap();
        alice.hear_all(&bob.outgoing());
        pass(4, [&mut alice, &mut bob]);
        alice.tidy();
        settle(&mut alice, &mut bob);
        still_talk(&mut alice, &mut bob);
    }
}
