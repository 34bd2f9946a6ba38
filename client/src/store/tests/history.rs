//! What was said, in its order and without holes.

use proptest::prelude::*;

use super::*;

/// `at` is the sender's time.
fn said(id: u8, at: u64, text: &str) -> Said {
    let content = Content { sent: UnixMillis(at), ..content(id, text) };
    Said { account: address(2), outgoing: false, device: 0, arrived: UnixMillis(100), content }
}

fn ids(found: &[(Place, Said)]) -> Vec<u8> {
    found.iter().map(|(_, said)| said.content.id.as_bytes()[0]).collect()
}

#[test]
fn a_message_is_in_the_history_once_for_each_side() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    let theirs = said(1, 5, "one");
    let own = Said { outgoing: true, device: 3, ..theirs.clone() };
    let elsewhere = Said { account: address(3), ..theirs.clone() };
    assert!([&theirs, &own, &elsewhere].iter().all(|said| tx.add_to_history(said).unwrap()));
    assert!(!tx.add_to_history(&Said { arrived: UnixMillis(999), ..theirs.clone() }).unwrap());
    let found = tx.history(&address(2), None, 9).unwrap();
    assert_eq!(found.iter().map(|(_, said)| said.clone()).collect::<Vec<_>>(), [theirs, own]);
    assert_eq!(tx.history(&address(3), None, 9).unwrap()[0].1, elsewhere);
}

#[test]
fn the_senders_time_decides_the_order_and_between_equals_the_arrival() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    for (id, at) in [(1, 30), (2, 10), (3, 30), (4, 20), (5, 30)] {
        tx.add_to_history(&said(id, at, "x")).unwrap();
    }
    let found = tx.history(&address(2), None, 9).unwrap();
    assert_eq!(ids(&found), [2, 4, 1, 3, 5]);
    // A page may end between messages of one time.
    let last = tx.history(&address(2), None, 2).unwrap();
    let before = tx.history(&address(2), Some(last[0].0), 2).unwrap();
    let first = tx.history(&address(2), Some(before[0].0), 2).unwrap();
    assert_eq!([ids(&first), ids(&before), ids(&last)], [vec![2], vec![4, 1], vec![3, 5]]);
    let place = tx.place_of(&address(2), found[3].0.number).unwrap();
    assert_eq!(place, Some(found[3].0));
    assert_eq!(tx.place_of(&address(3), found[3].0.number).unwrap(), None, "a message of somebody else");
}

#[test]
fn numbers_tell_what_has_not_come() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    let numbered = |id: u8, device: u8, sequence: u64| {
        let mut said = said(id, 5, "x");
        (said.device, said.content.sequence) = (device, sequence);
        said
    };
    for (id, device, sequence) in [(1, 0, 1), (2, 0, 4), (3, 1, 2), (4, 0, 0)] {
        tx.add_to_history(&numbered(id, device, sequence)).unwrap();
    }
    tx.add_to_history(&Said { outgoing: true, ..numbered(5, 0, 9) }).unwrap();
    tx.add_to_history(&Said { account: address(3), ..numbered(6, 0, 8) }).unwrap();
    let numbers = tx.numbers_of(&address(2)).unwrap();
    assert_eq!(numbers.into_iter().collect::<Vec<_>>(), [(0, 1), (0, 4), (1, 2)]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..Default::default() })]

    #[test]
    fn pages_of_any_size_put_together_are_the_whole_history(
        times in proptest::collection::vec(prop_oneof![0_u64..5, any::<u64>()], 0..40),
        size in 1_usize..9,
    ) {
        let mut store = Store::in_memory();
        let tx = store.transaction().unwrap();
        for (id, at) in (0_u8..).zip(&times) {
            prop_assert!(tx.add_to_history(&said(id, *at, "x")).unwrap());
        }
        let whole = tx.history(&address(2), None, usize::MAX).unwrap();
        prop_assert_eq!(whole.len(), times.len());
        let (mut paged, mut before) = (Vec::new(), None);
        loop {
            let page = tx.history(&address(2), before, size).unwrap();
            let Some((first, _)) = page.first() else { break };
            before = Some(*first);
            paged.splice(0..0, page);
        }
        prop_assert_eq!(&paged, &whole);
        let places: Vec<_> = whole.iter().map(|(place, _)| *place).collect();
        prop_assert!(places.is_sorted(), "{:?}", places);
    }
}
