//! All of it or nothing.

use super::*;
use crate::crypto::SessionTag;

fn bob() -> Contact {
    Contact {
        account: address(2),
        name: "Bob".into(),
        said_name: None,
        state: ContactState::Accepted,
        created: UnixMillis(1),
    }
}

fn encrypted(byte: u8) -> Encrypted {
    Encrypted { session: SessionTag::new([byte; 16]), message: vec![byte; 100] }
}

fn new(id: u8) -> NewMessage {
    NewMessage {
        encrypted: Some(encrypted(1)),
        ..NewMessage::plain(address(2), content(id, "hi"), ttl(), UnixMillis(10))
    }
}

/// Something of each kind that one message changes.
fn change(tx: &Transaction<'_>) {
    tx.put_contact(&bob()).unwrap();
    assert_eq!(tx.next_sequence(&address(2)).unwrap(), 1);
    tx.enqueue(&new(1)).unwrap();
    let said =
        Said { account: address(2), outgoing: true, device: 0, arrived: UnixMillis(1), content: content(1, "hi") };
    assert!(tx.add_to_history(&said).unwrap());
    assert!(tx.take(arrival(1, letter(2, 2, "hello")), UnixMillis(7)).unwrap().is_some());
    tx.set_cursor(&address(1), &NodeId::new([3; 32]), Cursor { epoch: 1, seq: 2 }).unwrap();
}

/// How many of these are there.
fn there(store: &mut Store) -> [usize; 5] {
    let (pending, unshown) = (store.pending(9).unwrap().len(), store.unshown(9).unwrap().len());
    let cursors = store.cursors(&address(1)).unwrap().len();
    let tx = store.transaction().unwrap();
    [pending, unshown, cursors, tx.contacts().unwrap().len(), tx.history(&address(2), None, 9).unwrap().len()]
}

#[test]
fn what_was_not_committed_was_never_there() {
    let (dir, _, mut alice) = alice();
    let tx = alice.store.transaction().unwrap();
    change(&tx);
    let (_copy, mut found) = after_crash(dir.path());
    assert_eq!(there(&mut found.store), [0; 5], "a crash in the middle");
    drop(tx);
    assert_eq!(there(&mut alice.store), [0; 5], "given up");
    let tx = alice.store.transaction().unwrap();
    change(&tx);
    tx.commit().unwrap();
    let (_copy, mut found) = after_crash(dir.path());
    assert_eq!((there(&mut found.store), there(&mut alice.store)), ([1; 5], [1; 5]));
}

#[test]
fn a_failed_attempt_takes_back_its_own_changes_only() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    tx.put_contact(&bob()).unwrap();
    let failed: Result<(), StoreError> = tx.attempt(|| {
        tx.put_contact(&Contact { account: address(3), name: "Carol".into(), ..bob() })?;
        // One inside the other.
        tx.attempt(|| tx.put_contact(&Contact { account: address(4), name: "Dave".into(), ..bob() }))?;
        tx.put_contact(&Contact { account: address(5), ..bob() })
    });
    assert!(matches!(failed, Err(StoreError::Exists(_))));
    tx.attempt(|| tx.put_contact(&Contact { account: address(6), name: "Eve".into(), ..bob() })).unwrap();
    tx.commit().unwrap();
    let contacts = store.transaction().unwrap().contacts().unwrap();
    assert_eq!(contacts.into_iter().map(|contact| contact.name).collect::<Vec<_>>(), ["Bob", "Eve"]);
}

#[test]
fn what_a_session_made_of_a_message_waits_with_it_and_can_be_made_again() {
    let mut store = Store::in_memory();
    store.enqueue(&new(1)).unwrap();
    store.enqueue(&NewMessage::plain(address(2), content(2, "hi"), ttl(), UnixMillis(11))).unwrap();
    let of = |store: &Store| store.pending(9).unwrap().into_iter().map(|message| message.encrypted).collect::<Vec<_>>();
    assert_eq!(of(&store), [Some(encrypted(1)), None]);
    let id = MessageId::new([1; 16]);
    let (record_id, record) = record(1);
    store.set_worked(&id, &record_id, &record).unwrap();
    store.add_receipts(&id, &[receipt(1, record_id), receipt(2, record_id)]).unwrap();
    let tx = store.transaction().unwrap();
    tx.encrypt_again(&id, &encrypted(2)).unwrap();
    assert!(matches!(tx.encrypt_again(&MessageId::new([9; 16]), &encrypted(2)), Err(StoreError::NotFound(_))));
    tx.commit().unwrap();
    let again = store.outbox_message(&id).unwrap().unwrap();
    assert_eq!((again.state, again.record, again.receipts), (OutboxState::Queued, None, vec![]));
    assert_eq!((again.encrypted, again.content), (Some(encrypted(2)), content(1, "hi")));
}

#[test]
fn of_what_a_session_encrypted_the_oldest_is_sent_again_first() {
    let mut store = Store::in_memory();
    let at = |id: u8, created: u64| NewMessage { created: UnixMillis(created), ..new(id) };
    for (id, created) in [(1, 10), (2, 20), (3, 30), (4, 40)] {
        store.enqueue(&at(id, created)).unwrap();
    }
    store.enqueue(&NewMessage { recipient: address(3), ..at(5, 30) }).unwrap();
    store.enqueue(&NewMessage { encrypted: None, ..at(6, 30) }).unwrap();
    store.set_failed(&MessageId::new([4; 16]), "expired").unwrap();
    let tx = store.transaction().unwrap();
    let since = |since: u64, limit| tx.encrypted_since(&address(2), UnixMillis(since), limit).unwrap();
    assert_eq!(since(20, 9), [2, 3].map(|id| MessageId::new([id; 16])));
    assert_eq!(since(0, 2), [2, 3].map(|id| MessageId::new([id; 16])), "the last two");
}

#[test]
fn a_forgotten_contact_leaves_nothing_and_nobody_else_loses_anything() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    change(&tx);
    tx.put_contact(&Contact { account: address(3), name: "Carol".into(), ..bob() }).unwrap();
    tx.enqueue(&NewMessage { recipient: address(3), ..new(5) }).unwrap();
    assert!(tx.take(arrival(5, letter(3, 5, "hello")), UnixMillis(7)).unwrap().is_some());
    tx.remove_contact(&address(2)).unwrap();
    assert_eq!(tx.history(&address(2), None, 9).unwrap(), []);
    tx.commit().unwrap();
    assert_eq!(there(&mut store), [1, 1, 1, 1, 0]);
    assert_eq!(store.pending(9).unwrap()[0].recipient, address(3));
}
