//! What whoever keeps the mail sees: after the first contact no long-term key.

use super::*;

/// What of an account could be recognised: its id, and each of its long-term keys.
fn long_term(party: &Party) -> Vec<Vec<u8>> {
    let account = &party.account;
    let id = account.address();
    vec![id.to_bytes().to_vec(), id.key().to_vec(), account.public_key().as_bytes().to_vec()]
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn after_the_first_contact_no_node_sees_a_long_term_key() {
    let (mut alice, mut bob) = (Party::new(1, "alice"), Party::new(2, "bob"));
    let known: Vec<Vec<u8>> = [&alice, &bob].into_iter().flat_map(long_term).collect();
    let sees = |envelope: &Envelope| known.iter().any(|key| holds(&envelope.encode(), key));
    alice.ask(bob.id()).unwrap();
    let request = alice.outgoing();
    // Of the request itself its address is seen: that the tap would find one is shown by it.
    assert!(request.iter().all(sees));
    bob.hear_all(&request);
    bob.accept();
    let mut tapped = Vec::new();
    for round in 0..30_u64 {
        for bob_speaks in [true, false] {
            let (one, other) = if bob_speaks { (&mut bob, &mut alice) } else { (&mut alice, &mut bob) };
            // Keys are renewed meanwhile, too.
            one.now = UnixMillis(BEGIN + round * DAY);
            one.tidy();
            let to = other.id();
            // Nobody can be written to before its acceptance has come.
            let _ = one.say(to, "a few words");
            let envelopes = one.outgoing();
            other.now = one.now;
            other.hear_all(&envelopes);
            tapped.extend(envelopes);
        }
    }
    assert!(tapped.len() > 60, "{}", tapped.len());
    assert_eq!(tapped.iter().filter(|envelope| sees(envelope)).count(), 0);
    let known: Vec<Address> = vec![alice.id(), bob.id()];
    assert!(tapped.iter().all(|envelope| !known.contains(&envelope.address())));
    let mut keys = Vec::new();
    for party in [&mut alice, &mut bob] {
        assert!(party.texts().len() >= 29, "{:?}", party.texts().len());
        keys.extend(party.store.mailboxes().unwrap().into_iter().map(|mailbox| mailbox.address));
    }
    // Each writes to the other's mailbox, whose key has nothing to do with the account's.
    assert!(tapped.iter().all(|envelope| keys.contains(&envelope.address())));
}
