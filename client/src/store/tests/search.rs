//! What was said is found, and what was erased is not.

use super::*;

fn said(account: u8, at: u8, text: &str) -> Said {
    let mut content = content(at, text);
    content.sent = UnixMillis(at.into());
    Said { account: address(account), outgoing: at.is_multiple_of(2), device: 0, arrived: UnixMillis(999), content }
}

fn found(tx: &Transaction<'_>, typed: &str, account: Option<u8>) -> Vec<u64> {
    let words = SearchWords::new(typed).unwrap();
    let account = account.map(address);
    let found = tx.search(&words, account.as_ref(), None, 999).unwrap();
    for (_, said) in &found {
        let Body::Text(text) = &said.content.body else { panic!("no text") };
        assert!(!words.marks(text.as_str()).is_empty(), "{}", text.as_str());
    }
    found.into_iter().map(|(place, _)| place.sent.0).collect()
}

fn store(all: &[Said]) -> Store {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    assert!(all.iter().all(|said| tx.add_to_history(said).unwrap()));
    tx.commit().unwrap();
    store
}

#[test]
fn words_are_found_in_both_directions_with_one_and_with_all_the_newest_first() {
    let mut store = store(&[
        said(1, 1, "viele Grüße vom Hafen"),
        said(1, 2, "the HARBOUR, then"),
        said(2, 3, "Hafen again"),
        said(2, 4, "你好，世界"),
        said(2, 5, "unhafen"),
    ]);
    let tx = store.transaction().unwrap();
    assert_eq!(found(&tx, "hafen", None), [3, 1]);
    assert_eq!(found(&tx, "HAF", Some(1)), [1]);
    assert_eq!(found(&tx, "hafen gruss", None), [1]);
    assert_eq!(found(&tx, "世界", None), [4]);
    assert_eq!(found(&tx, "界世", None), [0; 0]);
    for typed in ["a\" OR words:*", "NOT hafen", "-hafen NEAR/2", "{words}: hafen", "search"] {
        assert_eq!(found(&tx, typed, None), [0; 0], "{typed}");
    }
    for typed in ["^hafen", "hafen*) --", "\"hafen"] {
        assert_eq!(found(&tx, typed, None), [3, 1], "{typed}");
    }
}

#[test]
fn pages_of_what_was_found_put_together_are_all_of_it() {
    let all: Vec<_> = (1..=50).map(|at| said(at % 3, at, "chaff")).collect();
    let mut store = store(&all);
    let tx = store.transaction().unwrap();
    let (words, mut before, mut read) = (SearchWords::new("cha").unwrap(), None, Vec::new());
    loop {
        let page = tx.search(&words, None, before, 7).unwrap();
        let Some((last, _)) = page.last() else { break };
        assert_eq!(tx.place_of_number(last.number).unwrap(), Some(*last));
        before = Some(*last);
        read.extend(page.into_iter().map(|(place, _)| place.sent.0));
    }
    assert_eq!(read, (1..=50).rev().collect::<Vec<u64>>());
    assert_eq!(tx.place_of_number(99).unwrap(), None);
}

/// Everything that the index consists of.
fn index(store: &Store) -> Vec<u8> {
    let mut bytes = Vec::new();
    for sql in [
        "SELECT block FROM search_data",
        "SELECT CAST(c0 AS BLOB) FROM search_content",
        "SELECT CAST(term AS BLOB) FROM search_idx",
    ] {
        let connection = store.connection();
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
        bytes.extend(rows.flat_map(|row| row.unwrap()));
    }
    bytes
}

fn holds(store: &Store, word: &str) -> bool {
    index(store).windows(word.len()).any(|window| window == word.as_bytes())
}

#[test]
fn what_is_erased_or_said_otherwise_leaves_no_word_in_the_index() {
    let chaff = |at: u8| said(1, at, &format!("q{at} chaff{} and wheat", at.wrapping_mul(37)));
    let all: Vec<_> = (1..=200).map(chaff).chain([said(2, 250, "zqerased"), said(1, 251, "zqedited")]).collect();
    let mut store = store(&all);
    assert!(holds(&store, "zqerased") && holds(&store, "zqedited"));
    let number = |store: &Store, at: u8| -> u64 {
        let sql = "SELECT number FROM message WHERE sent = ?";
        store.connection().query_row(sql, [at], |row| row.get::<_, i64>(0)).unwrap().try_into().unwrap()
    };
    let edited = number(&store, 251);
    let tx = store.transaction().unwrap();
    tx.index_text(edited, "something zqelse").unwrap();
    tx.remove_contact(&address(2)).unwrap();
    tx.commit().unwrap();
    assert!(!holds(&store, "zqerased") && !holds(&store, "zqedited") && holds(&store, "zqelse"));
    let first = number(&store, 1);
    let tx = store.transaction().unwrap();
    assert_eq!((found(&tx, "zqerased", None), found(&tx, "q77", None)), (vec![], vec![77]));
    tx.unindex(edited).unwrap();
    tx.unindex(edited).unwrap();
    assert_eq!((found(&tx, "zqelse", None), found(&tx, "q1", Some(1)).contains(&1)), (vec![], true));
    tx.unindex(first).unwrap();
    tx.commit().unwrap();
    assert!(!holds(&store, "zqelse"));
    // And in the end nothing at all, bit by bit, the oldest first.
    let tx = store.transaction().unwrap();
    assert_eq!(tx.forget_some(&address(1), 100).unwrap(), 100);
    tx.commit().unwrap();
    assert!(!holds(&store, "q77") && holds(&store, "q177") && holds(&store, "wheat"));
    let tx = store.transaction().unwrap();
    assert_eq!([900, 100].map(|limit| tx.forget_some(&address(1), limit).unwrap()), [101, 0]);
    tx.remove_contact(&address(1)).unwrap();
    tx.commit().unwrap();
    for word in ["chaff", "wheat", "q77"] {
        assert!(!holds(&store, word), "{word}");
    }
}

#[test]
fn a_change_that_is_given_up_is_not_found_either() {
    let mut store = store(&[said(1, 1, "one")]);
    let tx = store.transaction().unwrap();
    assert!(tx.add_to_history(&said(1, 2, "two")).unwrap());
    tx.unindex(1).unwrap();
    drop(tx);
    let tx = store.transaction().unwrap();
    assert_eq!((found(&tx, "two", None), found(&tx, "one", None)), (vec![], vec![1]));
    // What comes twice is found once.
    assert!(!tx.add_to_history(&said(1, 1, "other")).unwrap());
    assert_eq!((found(&tx, "other", None), found(&tx, "one", None)), (vec![], vec![1]));
}

#[test]
fn what_is_begun_is_kept_for_each_conversation_and_goes_with_it() {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    let text = |text: &str| Text::new(text.to_owned()).unwrap();
    assert_eq!(tx.draft(&address(1)).unwrap(), None);
    tx.set_draft(&address(1), Some(&text("a"))).unwrap();
    tx.set_draft(&address(1), Some(&text("ab"))).unwrap();
    tx.set_draft(&address(2), Some(&text("x"))).unwrap();
    assert_eq!((tx.draft(&address(1)).unwrap(), tx.draft(&address(2)).unwrap()), (Some(text("ab")), Some(text("x"))));
    tx.set_draft(&address(1), None).unwrap();
    tx.remove_contact(&address(2)).unwrap();
    assert_eq!((tx.draft(&address(1)).unwrap(), tx.draft(&address(2)).unwrap()), (None, None));
}
