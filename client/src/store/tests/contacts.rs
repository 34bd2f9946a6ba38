//! Contacts, and requests in either direction.

use super::*;

fn contact(byte: u8, called: &str) -> Contact {
    Contact {
        account: address(byte),
        name: called.to_owned(),
        said_name: None,
        state: ContactState::Requested,
        created: UnixMillis(u64::from(byte)),
    }
}

fn request(id: u8, from: u8, outgoing: bool) -> Request {
    Request {
        id: MessageId::new([id; 16]),
        account: address(from),
        outgoing,
        name: "Bob".into(),
        introduction: "we met".into(),
        renewal: false,
        bundles: vec![1, 2, 3],
        state: RequestState::Waiting,
        created: UnixMillis(u64::from(id)),
        expires: UnixSeconds(100 + u64::from(id)),
    }
}

#[test]
fn a_contact_is_found_by_its_account_and_by_its_name_in_any_case() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    let bob = contact(2, "Bob");
    tx.put_contact(&bob).unwrap();
    assert_eq!(tx.contact(&address(2)).unwrap().as_ref(), Some(&bob));
    assert_eq!(tx.contact_named("bOB").unwrap().as_ref(), Some(&bob));
    assert_eq!((tx.contact(&address(3)).unwrap(), tx.contact_named("Bo").unwrap()), (None, None));
    let changed = Contact { said_name: Some("Robert".into()), state: ContactState::Blocked, ..bob };
    tx.put_contact(&changed).unwrap();
    assert_eq!(tx.contacts().unwrap(), [changed]);
}

#[test]
fn no_two_contacts_are_called_the_same() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    tx.put_contact(&contact(2, "Bob")).unwrap();
    let other = tx.put_contact(&contact(3, "BOB"));
    assert!(matches!(other, Err(StoreError::Exists(_))), "{other:?}");
    assert_eq!(tx.contact(&address(3)).unwrap(), None);
    // Its own name in another case is free, and so is one that was given up.
    tx.put_contact(&contact(2, "bob")).unwrap();
    tx.put_contact(&contact(2, "Robert")).unwrap();
    tx.put_contact(&contact(3, "BOB")).unwrap();
}

#[test]
fn contacts_are_listed_by_name_whatever_their_case() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    for (byte, called) in [(2, "carol"), (3, "Alice"), (4, "bob"), (5, "Dave")] {
        tx.put_contact(&contact(byte, called)).unwrap();
    }
    let names: Vec<_> = tx.contacts().unwrap().into_iter().map(|contact| contact.name).collect();
    assert_eq!(names, ["Alice", "bob", "carol", "Dave"]);
}

#[test]
fn what_is_said_to_a_contact_is_numbered_without_gaps() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    assert!(matches!(tx.next_sequence(&address(2)), Err(StoreError::NotFound(_))));
    tx.put_contact(&contact(2, "Bob")).unwrap();
    tx.put_contact(&contact(3, "Carol")).unwrap();
    assert_eq!([2, 2, 3].map(|byte| tx.next_sequence(&address(byte)).unwrap()), [1, 2, 1]);
    tx.commit().unwrap();
    // A number that was drawn and not used is drawn again.
    assert_eq!(store.transaction().unwrap().next_sequence(&address(2)).unwrap(), 3);
    let tx = store.transaction().unwrap();
    tx.put_contact(&Contact { state: ContactState::Accepted, ..contact(2, "Bobby") }).unwrap();
    assert_eq!(tx.next_sequence(&address(2)).unwrap(), 3, "a change of the contact keeps its numbers");
}

#[test]
fn a_verification_stays_with_its_account_and_goes_with_it() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    assert!(matches!(tx.set_verified(&address(2), UnixMillis(9)), Err(StoreError::NotFound(_))));
    tx.put_contact(&contact(2, "Bob")).unwrap();
    assert_eq!(tx.verified(&address(2)).unwrap(), None);
    tx.set_verified(&address(2), UnixMillis(9)).unwrap();
    tx.put_contact(&contact(2, "Robert")).unwrap();
    tx.put_contact(&contact(3, "Bob")).unwrap();
    let verified = [2, 3].map(|byte| tx.verified(&address(byte)).unwrap());
    assert_eq!(verified, [Some(UnixMillis(9)), None], "whoever is called so later is not verified by that");
    tx.remove_contact(&address(2)).unwrap();
    tx.put_contact(&contact(2, "Robert")).unwrap();
    assert_eq!(tx.verified(&address(2)).unwrap(), None);
}

#[test]
fn a_request_is_taken_once_and_kept_until_it_expires() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    let (first, second, own) = (request(1, 2, false), request(2, 2, false), request(3, 2, true));
    for request in [&first, &second, &own] {
        assert!(tx.add_request(request).unwrap());
    }
    assert!(!tx.add_request(&Request { introduction: "again".into(), ..first.clone() }).unwrap());
    assert_eq!(tx.request(&first.id).unwrap().as_ref(), Some(&first));
    assert_eq!(tx.requests().unwrap(), [first.clone(), second.clone(), own.clone()]);
    assert_eq!(tx.requests_of(&address(2), false).unwrap(), [second.clone(), first.clone()]);
    assert_eq!(tx.requests_of(&address(2), true).unwrap(), std::slice::from_ref(&own));
    assert_eq!(tx.requests_of(&address(9), false).unwrap(), []);
    assert_eq!(tx.waiting_requests().unwrap(), 2, "the own one waits elsewhere");
    tx.set_request_state(&first.id, RequestState::Declined).unwrap();
    assert_eq!(tx.waiting_requests().unwrap(), 1);
    assert_eq!(tx.request(&first.id).unwrap().unwrap().state, RequestState::Declined);
    tx.forget_requests(UnixSeconds(102)).unwrap();
    assert_eq!(tx.requests().unwrap(), [second, own]);
}

#[test]
fn what_a_stranger_wrote_is_not_in_the_debug_of_its_request() {
    let shown = format!("{:?}", request(1, 2, false));
    assert!(!shown.contains("we met") && !shown.contains("Bob") && !shown.contains("[1, 2, 3]"), "{shown}");
    assert!(shown.contains("Waiting"), "{shown}");
}
