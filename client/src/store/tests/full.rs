//! A disk that takes no more: everything or nothing, and said plainly.

use super::*;

fn is_full<T: fmt::Debug>(result: Result<T, StoreError>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Full, "{error}");
}

/// More than the free pages of a new database hold.
fn long(id: u8) -> Option<Letter> {
    letter(2, id, &"much ".repeat(2000))
}

#[test]
fn a_page_that_finds_no_room_is_taken_in_later_as_if_it_had_never_come() {
    let (_dir, _, mut alice) = alice();
    let cursor = Cursor { epoch: 1, seq: 2 };
    let arrivals = vec![arrival(1, letter(2, 1, "one")), arrival(2, long(2))];
    alice.store.set_full(true);
    is_full(alice.store.take_in(&page(Some(cursor), arrivals.clone())));
    assert_eq!(alice.store.unshown(10).unwrap(), []);
    assert_eq!(alice.store.cursors(&address(1)).unwrap(), []);
    assert!(!alice.store.transaction().unwrap().has_seen(&RecordId::new([1; 32])).unwrap());
    alice.store.set_full(false);
    assert_eq!(alice.store.take_in(&page(Some(cursor), arrivals.clone())).unwrap().len(), 2);
    assert_eq!(alice.store.take_in(&page(Some(cursor), arrivals)).unwrap(), []);
}

#[test]
fn a_message_that_finds_no_room_is_not_half_in_the_outbox() {
    let (_dir, _, mut alice) = alice();
    let content = content(1, &"much ".repeat(2000));
    let new = NewMessage::plain(address(2), content, ttl(), UnixMillis(1));
    alice.store.set_full(true);
    is_full(alice.store.enqueue(&new));
    assert_eq!(alice.store.pending(10).unwrap(), []);
    alice.store.set_full(false);
    alice.store.enqueue(&new).unwrap();
    assert_eq!(alice.store.pending(10).unwrap().len(), 1);
}

#[test]
fn what_cannot_be_marked_is_not_shown_and_what_cannot_be_shown_is_not_marked() {
    let (_dir, _, mut alice) = alice();
    let fresh = alice.store.take_in(&page(None, vec![arrival(1, letter(2, 1, "one"))])).unwrap();
    let number = fresh[0].number;
    let mut shown = 0;
    alice.store.set_read_only(true);
    let failed = alice.store.show(number, || {
        shown += 1;
        Ok::<_, StoreError>(())
    });
    assert!(failed.is_err());
    assert_eq!(shown, 0);
    alice.store.set_read_only(false);
    let failed = alice.store.show(number, || Err(StoreError::Damaged("the terminal")));
    assert!(matches!(failed, Err(StoreError::Damaged("the terminal"))));
    assert_eq!(alice.store.unshown(10).unwrap().len(), 1);
    alice.store.show(number, || Ok::<_, StoreError>(())).unwrap();
    assert_eq!(alice.store.unshown(10).unwrap(), []);
    assert_eq!(alice.store.newest().unwrap(), number);
}
