//! What was to be sent is sent, whatever happens in between.

use super::*;
use crate::store::outbox::{received, worked};

fn message(id: u8) -> NewMessage {
    NewMessage::plain(address(2), content(id, "hi"), ttl(), UnixMillis(10))
}

fn id(byte: u8) -> MessageId {
    MessageId::new([byte; 16])
}

fn state(store: &Store, byte: u8) -> (OutboxState, usize) {
    let message = store.outbox_message(&id(byte)).unwrap().unwrap();
    (message.state, message.receipts.len())
}

#[test]
fn a_message_goes_from_queued_to_stored_on_two_receipts() {
    let (_dir, _, mut alice) = alice();
    let store = &mut alice.store;
    store.enqueue(&message(1)).unwrap();
    assert!(matches!(store.enqueue(&message(1)), Err(StoreError::Exists(_))));
    assert_eq!(state(store, 1), (OutboxState::Queued, 0));
    let (record_id, record) = record(1);
    store.set_worked(&id(1), &record_id, &record).unwrap();
    assert_eq!(state(store, 1), (OutboxState::Working, 0));
    assert_eq!(store.add_receipts(&id(1), &[receipt(1, record_id)]).unwrap(), 1);
    assert_eq!(store.add_receipts(&id(1), &[receipt(1, record_id)]).unwrap(), 1, "a node counts once");
    assert_eq!(state(store, 1), (OutboxState::Working, 1));
    assert_eq!(store.pending(10).unwrap().len(), 1);
    assert_eq!(store.add_receipts(&id(1), &[receipt(2, record_id)]).unwrap(), 2);
    assert_eq!(state(store, 1), (OutboxState::Stored, 2));
    assert_eq!(store.pending(10).unwrap(), []);
    assert_eq!(store.add_receipts(&id(1), &[receipt(3, record_id)]).unwrap(), 3);
    let sent = store.outbox_message(&id(1)).unwrap().unwrap();
    assert_eq!((sent.record, sent.content, sent.recipient), (Some(record), content(1, "hi"), address(2)));
    assert_eq!(sent.receipts, [1, 2, 3].map(|node| receipt(node, record_id)));
}

#[test]
fn receipts_of_an_earlier_record_do_not_count() {
    let (_dir, _, mut alice) = alice();
    let store = &mut alice.store;
    store.enqueue(&message(1)).unwrap();
    let ((first, first_record), (second, second_record)) = (record(1), record(2));
    store.set_worked(&id(1), &first, &first_record).unwrap();
    store.add_receipts(&id(1), &[receipt(1, first)]).unwrap();
    // More work was asked for.
    store.set_worked(&id(1), &second, &second_record).unwrap();
    assert_eq!(store.add_receipts(&id(1), &[receipt(2, first)]).unwrap(), 0);
    assert_eq!(store.add_receipts(&id(1), &[receipt(1, second)]).unwrap(), 1);
    assert_eq!(state(store, 1), (OutboxState::Working, 1));
}

#[test]
fn the_outbox_survives_a_crash_at_every_step() {
    let (dir, _, mut alice) = alice();
    let (record_id, record) = record(1);
    alice.store.enqueue(&message(1)).unwrap();
    let (_copy, found) = after_crash(dir.path());
    assert_eq!(state(&found.store, 1), (OutboxState::Queued, 0));

    let transaction = alice.store.transaction().unwrap();
    worked(transaction.connection(), &id(1), &record_id, &record).unwrap();
    let (_copy, found) = after_crash(dir.path());
    assert_eq!(found.store.pending(10).unwrap()[0].record, None, "not committed");
    transaction.commit().unwrap();
    let (_copy, found) = after_crash(dir.path());
    assert_eq!(found.store.pending(10).unwrap()[0].record, Some(record));

    alice.store.add_receipts(&id(1), &[receipt(1, record_id)]).unwrap();
    let transaction = alice.store.transaction().unwrap();
    assert_eq!(received(transaction.connection(), &id(1), &[receipt(2, record_id)]).unwrap(), 2);
    let (_copy, found) = after_crash(dir.path());
    assert_eq!(state(&found.store, 1), (OutboxState::Working, 1), "not committed");
    transaction.commit().unwrap();
    let (_copy, found) = after_crash(dir.path());
    assert_eq!(state(&found.store, 1), (OutboxState::Stored, 2));
}

#[test]
fn attempts_are_counted_and_given_up_for_a_reason() {
    let (_dir, _, mut alice) = alice();
    let store = &mut alice.store;
    for byte in [1, 2] {
        store.enqueue(&message(byte)).unwrap();
    }
    store.note_attempt(&id(1), UnixMillis(500), "no path").unwrap();
    store.note_attempt(&id(1), UnixMillis(900), &"é".repeat(500)).unwrap();
    let waiting = store.pending(10).unwrap();
    assert_eq!(waiting.iter().map(|message| message.id).collect::<Vec<_>>(), [id(1), id(2)], "the oldest first");
    assert_eq!((waiting[0].attempts, waiting[0].retry_at), (2, UnixMillis(900)));
    assert_eq!(waiting[0].failure.as_ref().unwrap().chars().count(), 128, "cut at 256 bytes, between characters");
    store.set_failed(&id(1), "expired").unwrap();
    assert_eq!(state(store, 1).0, OutboxState::Failed);
    assert!(matches!(store.set_failed(&id(1), "again"), Err(StoreError::NotFound(_))));
    assert!(matches!(store.note_attempt(&id(9), UnixMillis(0), ""), Err(StoreError::NotFound(_))));
    assert_eq!(store.pending(1).unwrap()[0].id, id(2));
}
