//! Exactly once.

use super::*;
use crate::store::inbox::take_in;

const CURSOR: Cursor = Cursor { epoch: u64::MAX, seq: 17 };

fn texts(messages: &[InboxMessage]) -> Vec<String> {
    let text = |message: &InboxMessage| match &message.letter {
        Letter::Message { content: Content { body: Body::Text(text), .. }, .. } => text.as_str().to_owned(),
        letter => format!("{letter:?}"),
    };
    messages.iter().map(text).collect()
}

#[test]
fn a_message_is_taken_in_once_however_often_its_record_comes() {
    let (_dir, _, mut alice) = alice();
    let arrivals = vec![arrival(1, letter(2, 1, "one")), arrival(2, letter(2, 2, "two"))];
    let fresh = alice.store.take_in(&page(Some(CURSOR), arrivals.clone())).unwrap();
    assert_eq!(texts(&fresh), ["one", "two"]);
    assert!(alice.store.transaction().unwrap().has_seen(&RecordId::new([1; 32])).unwrap());
    assert!(!alice.store.transaction().unwrap().has_seen(&RecordId::new([9; 32])).unwrap());
    // From another member, or from the same one under another cursor.
    assert_eq!(alice.store.take_in(&page(None, arrivals)).unwrap(), []);
    assert_eq!(texts(&alice.store.unshown(10).unwrap()), ["one", "two"]);
}

#[test]
fn a_message_that_was_sealed_and_stored_again_is_taken_in_once() {
    let (_dir, _, mut alice) = alice();
    let arrivals = vec![
        arrival(1, letter(2, 1, "hello")),
        arrival(2, letter(2, 1, "hello")),
        // Another sender may draw the same id.
        arrival(3, letter(4, 1, "from another")),
    ];
    assert_eq!(texts(&alice.store.take_in(&page(None, arrivals)).unwrap()), ["hello", "from another"]);
}

#[test]
fn cover_and_noise_are_remembered_and_not_shown_and_newer_kinds_are_kept() {
    let (_dir, _, mut alice) = alice();
    let newer = Letter::Newer { kind: 9, body: b"later".to_vec() };
    let arrivals = vec![arrival(1, None), arrival(2, Some(newer.clone()))];
    let fresh = alice.store.take_in(&page(None, arrivals)).unwrap();
    assert_eq!(fresh.into_iter().map(|message| message.letter).collect::<Vec<_>>(), std::slice::from_ref(&newer));
    assert!(alice.store.transaction().unwrap().has_seen(&RecordId::new([1; 32])).unwrap());
    assert_eq!(alice.store.unshown(10).unwrap()[0].letter, newer);
}

#[test]
fn what_a_later_version_wrote_is_taken_in_once_under_whatever_record() {
    let (_dir, _, mut alice) = alice();
    let newer = |kind, body: &[u8]| Some(Letter::Newer { kind, body: body.to_vec() });
    let same: Vec<_> = (1..=5).map(|record| arrival(record, newer(9, b"later"))).collect();
    assert_eq!(alice.store.take_in(&page(None, same)).unwrap().len(), 1);
    let others = vec![arrival(6, newer(9, b"other")), arrival(7, newer(8, b"later")), arrival(8, newer(9, b"later"))];
    assert_eq!(alice.store.take_in(&page(None, others)).unwrap().len(), 2, "another body, or another kind");
    assert_eq!(alice.store.unshown(10).unwrap().len(), 3);
}

#[test]
fn what_was_shown_is_not_shown_again_and_can_still_be_read() {
    let (dir, _, mut alice) = alice();
    let arrivals = (1..=5).map(|i| arrival(i, letter(2, i, &i.to_string()))).collect();
    let numbers: Vec<_> =
        alice.store.take_in(&page(None, arrivals)).unwrap().iter().map(|message| message.number).collect();
    assert_eq!(numbers, (1..=5).map(InboxNumber).collect::<Vec<_>>());
    alice.store.mark_shown(&numbers[..3]).unwrap();
    assert_eq!(texts(&alice.store.unshown(10).unwrap()), ["4", "5"]);
    assert_eq!(texts(&alice.store.unshown(1).unwrap()), ["4"]);
    assert_eq!(texts(&alice.store.inbox_after(InboxNumber(1), 3).unwrap()), ["2", "3", "4"]);
    let (_copy, alice) = after_crash(dir.path());
    assert_eq!(texts(&alice.store.unshown(10).unwrap()), ["4", "5"]);
}

#[test]
fn a_crash_before_the_commit_leaves_neither_message_nor_cursor_and_one_after_it_both() {
    let (dir, _, mut alice) = alice();
    let page = page(Some(CURSOR), vec![arrival(1, letter(2, 1, "one")), arrival(2, None)]);
    let transaction = alice.store.transaction().unwrap();
    take_in(&transaction, &page).unwrap();
    let (_copy, mut found) = after_crash(dir.path());
    drop(transaction);
    for store in [&mut found.store, &mut alice.store] {
        assert_eq!(store.unshown(10).unwrap(), []);
        assert_eq!(store.cursor(&page.address, &page.node).unwrap(), None);
        assert!(!store.transaction().unwrap().has_seen(&RecordId::new([2; 32])).unwrap());
    }
    // Fetched again after the crash.
    assert_eq!(texts(&alice.store.take_in(&page).unwrap()), ["one"]);
    let (_copy, found) = after_crash(dir.path());
    assert_eq!(texts(&found.store.unshown(10).unwrap()), ["one"]);
    assert_eq!(found.store.cursor(&page.address, &page.node).unwrap(), Some(CURSOR));
}

#[test]
fn cursors_are_kept_for_each_node_and_address() {
    let (_dir, _, mut alice) = alice();
    let at = |node: u8, seq| Page {
        node: NodeId::new([node; 32]),
        ..page(Some(Cursor { epoch: 1 << 63, seq }), Vec::new())
    };
    alice.store.take_in(&at(1, 5)).unwrap();
    alice.store.take_in(&at(2, 6)).unwrap();
    alice.store.take_in(&at(1, 7)).unwrap();
    let cursors = |store: &Store| -> Vec<u64> {
        store.cursors(&address(1)).unwrap().into_iter().map(|(_, cursor)| cursor.seq).collect()
    };
    assert_eq!(cursors(&alice.store), [7, 6]);
    assert_eq!(alice.store.cursors(&address(9)).unwrap(), []);
    alice.store.drop_cursor(&address(1), &NodeId::new([1; 32])).unwrap();
    assert_eq!(cursors(&alice.store), [6]);
}

#[test]
fn expired_records_are_forgotten_an_hour_later_and_their_messages_are_not_doubled() {
    let (_dir, _, mut alice) = alice();
    let far = Arrival { expiry: UnixSeconds(u64::MAX), ..arrival(3, None) };
    let arrivals = vec![arrival(1, letter(2, 1, "one")), arrival(2, None), far];
    alice.store.take_in(&page(None, arrivals.clone())).unwrap();
    assert_eq!(alice.store.forget_seen(UnixSeconds(1000 + 3600)).unwrap(), 0);
    assert_eq!(alice.store.forget_seen(UnixSeconds(1001 + 3600)).unwrap(), 2);
    assert_eq!(alice.store.take_in(&page(None, arrivals)).unwrap(), []);
}
