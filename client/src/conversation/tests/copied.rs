//! A device whose data was put back to an earlier state.

use super::*;
use crate::store::ContactState;

/// By which sessions what waits to be sent is encrypted.
fn tags(store: &Store) -> Vec<SessionTag> {
    let pending = store.pending(usize::MAX).unwrap();
    pending.into_iter().filter_map(|message| message.encrypted).map(|encrypted| encrypted.session).collect()
}

#[test]
fn a_copy_begins_anew_with_all_by_itself_and_no_earlier_session_serves_again() {
    for (mut alice, mut bob) in both_ways() {
        befriend(&mut alice, &mut bob);
        alice.say(bob.id(), "one").unwrap();
        settle(&mut alice, &mut bob);
        // Something waits in the state that is kept.
        let waited = alice.say(bob.id(), "waited").unwrap();
        let backup = alice.store.copy();
        let earlier = alice.serving(bob.id()).unwrap();
        settle(&mut alice, &mut bob);
        alice.say(bob.id(), "two").unwrap();
        bob.say(alice.id(), "three").unwrap();
        settle(&mut alice, &mut bob);

        alice.store = backup;
        alice.change(|tx, _, _| Ok(tx.begin_anew()?)).unwrap();
        assert_eq!(alice.serving(bob.id()), None);
        assert!(
            matches!(alice.say(bob.id(), "x"), Err(Error::NotAccepted(_))),
            "nothing goes by a key that has served"
        );
        assert!(alice.try_seal(&waited).is_err());
        // What Bob says meanwhile is not read, and comes again.
        bob.say(alice.id(), "four").unwrap();
        let lost = bob.outgoing();
        alice.hear_all(&lost);
        pass(1, [&mut alice, &mut bob]);
        alice.tidy();
        alice.tidy();
        let asked = alice.store.pending(9).unwrap();
        let requests = asked.iter().filter(|message| matches!(message.content.body, Body::Request(_)));
        assert_eq!(requests.count(), 1, "asked once");
        let request = asked.iter().find(|message| message.encrypted.is_none()).unwrap().content.id;
        let request = alice.seal(&request);
        bob.hear(&request);
        let answer = bob.outgoing();
        alice.hear_all(&answer);
        settle(&mut alice, &mut bob);
        assert_ne!(alice.serving(bob.id()).unwrap(), earlier);
        alice.say(bob.id(), "five").unwrap();
        assert!(!tags(&alice.store).contains(&earlier));
        settle(&mut alice, &mut bob);
        let texts = alice.texts();
        assert!(texts.contains(&"three".to_owned()) && texts.contains(&"four".to_owned()), "{texts:?}");
        let heard = bob.texts();
        for text in ["one", "waited", "two", "five"] {
            assert_eq!(heard.iter().filter(|heard| *heard == text).count(), 1, "{text}: {heard:?}");
        }
        still_talk(&mut alice, &mut bob);
    }
}

#[test]
fn not_all_contacts_are_asked_at_once() {
    let mut alice = Party::new(1, "alice");
    alice
        .change(|tx, _, _| {
            for number in 10..60 {
                let account = Account::new(&Entropy::take(&mut [number; 16])).address();
                let (name, state, created) = (format!("contact {number}"), ContactState::Accepted, UnixMillis(1));
                tx.put_contact(&Contact { account, name, said_name: None, state, created })?;
            }
            Ok(tx.begin_anew()?)
        })
        .unwrap();
    for asked in [20, 40, 50, 50] {
        alice.tidy();
        assert_eq!(alice.store.pending(99).unwrap().len(), asked);
    }
}
