//! What is erased is in no page of the database.

use sotto_proto::content::{Edit, Emoji, Expiry, ExpiryStart, Reaction};

use super::*;
use crate::crypto::SessionTag;

const WORDS: &str = "words that are to be found nowhere";

/// Every byte of the database, free pages too.
fn pages(store: &Store) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.db");
    let mut copy = Connection::open(&path).unwrap();
    rusqlite::backup::Backup::new(&store.connection(), &mut copy).unwrap().step(-1).unwrap();
    copy.close().unwrap();
    fs::read(path).unwrap()
}

fn count(store: &Store) -> usize {
    let (pages, words) = (pages(store), WORDS.as_bytes());
    pages.windows(words.len()).filter(|window| *window == words).count()
}

fn said(outgoing: bool, content: Content) -> Said {
    Said { account: address(2), outgoing, device: 0, arrived: UnixMillis(100), content }
}

fn edit(id: u8, of: u8) -> Content {
    let text = Text::new(WORDS.to_owned()).unwrap();
    Content { body: Body::Edit(Edit { of: MessageId::new([of; 16]), text }), ..content(id, "x") }
}

#[test]
fn the_words_of_an_erased_message_are_in_no_page() {
    for (outgoing, gone) in
        [(false, Gone::Deleted), (true, Gone::Deleted), (false, Gone::Disappeared), (true, Gone::Disappeared)]
    {
        let mut store = Store::in_memory();
        store.connection().pragma_update(None, "secure_delete", true).unwrap();
        let tx = store.transaction().unwrap();
        // Long enough for pages of its own.
        let long = content(1, &format!("{WORDS}{}", "x".repeat(9000)));
        tx.add_to_history(&said(outgoing, long.clone())).unwrap();
        tx.add_to_history(&said(outgoing, edit(2, 1))).unwrap();
        let (recipient, ttl, created) = (address(2), ttl(), UnixMillis(100));
        for (byte, content) in [(1, long), (2, edit(2, 1))] {
            if outgoing {
                let encrypted = Some(Encrypted { session: SessionTag::new([1; 16]), message: vec![7; 50] });
                tx.enqueue(&NewMessage { recipient, content, ttl, created, encrypted }).unwrap();
            } else {
                let letter = Letter::Message { sender: address(2), device: 0, session: None, content };
                tx.take(arrival(byte, Some(letter)), UnixMillis(100)).unwrap();
            }
        }
        tx.commit().unwrap();
        assert!(count(&store) >= 4, "{}", count(&store));
        let tx = store.transaction().unwrap();
        tx.erase(&address(2), outgoing, &MessageId::new([1; 16]), gone).unwrap();
        tx.commit().unwrap();
        assert_eq!(count(&store), 0, "{outgoing} {gone:?}");
        let tx = store.transaction().unwrap();
        let shown = tx.history(&address(2), None, 9).unwrap();
        assert_eq!(shown.iter().filter(|(_, said)| said.is_deleted()).count(), usize::from(gone == Gone::Deleted));
        assert_eq!(shown.len(), usize::from(gone == Gone::Deleted));
        // It is not taken in again.
        assert!(!tx.add_to_history(&said(outgoing, content(1, WORDS))).unwrap());
        drop(tx);
        assert_eq!(store.unshown(9).unwrap(), []);
        // What waits goes without its words, under its id.
        let pending = store.pending(9).unwrap();
        assert_eq!(pending.len(), if outgoing { 2 } else { 0 });
        let is_wordless = |body: &Body| matches!(body, Body::Delete(_) | Body::Reaction(Reaction { emoji: None, .. }));
        assert!(pending.iter().all(|message| is_wordless(&message.content.body)));
        assert!(pending.iter().all(|message| message.encrypted.as_ref().unwrap().message.is_empty()));
    }
}

#[test]
fn a_copied_id_does_not_have_the_other_sides_message_erased() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    for outgoing in [false, true] {
        tx.add_to_history(&said(outgoing, content(1, "x"))).unwrap();
    }
    tx.erase(&address(2), false, &MessageId::new([1; 16]), Gone::Deleted).unwrap();
    let shown = tx.history(&address(2), None, 9).unwrap();
    assert_eq!(
        shown.iter().map(|(_, said)| (said.outgoing, said.is_deleted())).collect::<Vec<_>>(),
        [(false, true), (true, false)]
    );
}

#[test]
fn the_time_after_reading_begins_when_it_is_shown() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    let expiry = Some(Expiry::new(ExpiryStart::Read, 10).unwrap());
    let content = Content { expiry, ..content(1, "x") };
    tx.add_to_history(&said(false, content.clone())).unwrap();
    let letter = Letter::Message { sender: address(2), device: 0, session: None, content };
    let number = tx.take(arrival(1, Some(letter)), UnixMillis(100)).unwrap().unwrap().number;
    assert_eq!((tx.begin_reading(UnixMillis(5000)).unwrap(), tx.next_expiry().unwrap()), (0, None));
    tx.commit().unwrap();
    store.mark_shown(&[number]).unwrap();
    let tx = store.transaction().unwrap();
    assert_eq!(tx.begin_reading(UnixMillis(7000)).unwrap(), 1);
    assert_eq!(tx.next_expiry().unwrap(), Some(UnixMillis(17_000)));
    assert_eq!(tx.begin_reading(UnixMillis(9000)).unwrap(), 0, "it begins once");
    assert_eq!(tx.expired(UnixMillis(16_999), 9).unwrap(), []);
    assert_eq!(tx.expired(UnixMillis(17_000), 9).unwrap(), [(address(2), false, MessageId::new([1; 16]))]);
}

#[test]
fn a_person_has_one_sign_beside_a_message_the_latest() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    let to = MessageId::new([1; 16]);
    let sign = |id: u8, sent: u64, emoji: Option<&str>| {
        let emoji = emoji.map(|emoji| Emoji::new(emoji.to_owned()).unwrap());
        Content::new(MessageId::new([id; 16]), UnixMillis(sent), Body::Reaction(Reaction { to, emoji }))
    };
    for (outgoing, content) in [
        (false, sign(2, 5, Some("a"))),
        (false, sign(3, 3, Some("b"))),
        (true, sign(4, 1, Some("c"))),
        (true, sign(5, 2, None)),
    ] {
        tx.add_to_history(&said(outgoing, content)).unwrap();
    }
    assert_eq!(tx.reactions(&address(2), &to).unwrap(), [(false, Emoji::new("a".to_owned()).unwrap())]);
}

#[test]
fn a_sender_does_not_put_a_message_behind_its_arrival() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    let late = Content { sent: UnixMillis(u64::MAX), ..content(1, "of a time to come") };
    tx.add_to_history(&said(false, late)).unwrap();
    tx.add_to_history(&Said {
        arrived: UnixMillis(200),
        ..said(false, Content { sent: UnixMillis(150), ..content(2, "x") })
    })
    .unwrap();
    let shown = tx.history(&address(2), None, 9).unwrap();
    assert_eq!(shown.iter().map(|(_, said)| said.content.id.as_bytes()[0]).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn what_its_recipient_says_of_a_message_counts_once_and_for_its_own_only() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    let id = MessageId::new([1; 16]);
    tx.enqueue(&NewMessage::plain(address(2), content(1, "x"), ttl(), UnixMillis(1))).unwrap();
    assert!(!tx.set_delivery(&address(3), &id, OutboxState::Read).unwrap(), "somebody else's");
    assert!(!tx.set_delivery(&address(2), &id, OutboxState::Stored).unwrap(), "that is for nodes to say");
    assert!(tx.set_delivery(&address(2), &id, OutboxState::Delivered).unwrap());
    assert!(tx.set_delivery(&address(2), &id, OutboxState::Read).unwrap());
    assert!(!tx.set_delivery(&address(2), &id, OutboxState::Delivered).unwrap(), "it does not go back");
    assert_eq!(tx.delivery_of(&id).unwrap(), Some((OutboxState::Read, 0)));
    tx.commit().unwrap();
    // Whoever is sending it just then is not disturbed, and does not take it back.
    let (record_id, record) = record(5);
    store.set_worked(&id, &record_id, &record).unwrap();
    store.note_attempt(&id, UnixMillis(9), "no path").unwrap();
    store.add_receipts(&id, &[receipt(1, record_id), receipt(2, record_id)]).unwrap();
    assert_eq!(store.outbox_message(&id).unwrap().unwrap().state, OutboxState::Read);
}
