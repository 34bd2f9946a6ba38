use std::os::unix::fs::PermissionsExt as _;

use sotto_proto::content::{Content, MessageId, Text};

use super::*;
use crate::store::Store;

fn account() -> Address {
    format!("05{}", "cd".repeat(32)).parse().unwrap()
}

/// Said at that second, with that number.
fn said(outgoing: bool, second: u64, sequence: u64, text: &str) -> Said {
    let body = Body::Text(Text::new(text.to_owned()).unwrap());
    let mut id = [0; MessageId::LEN];
    id[..8].copy_from_slice(&second.to_be_bytes());
    let sent = UnixMillis(second * 1000);
    let content = Content { sequence, ..Content::new(MessageId::new(id), sent, body) };
    Said { account: account(), outgoing, device: 0, arrived: sent, content }
}

fn history(arguments: &[&str]) -> History {
    use clap::Parser;
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        history: History,
    }
    let id = account().to_string();
    let line = ["history", id.as_str()].into_iter().chain(arguments.iter().copied());
    Line::parse_from(line).history
}

/// The texts that are shown, and what is missing before each.
fn shown(store: &mut Store, arguments: &[&str]) -> Vec<(String, u64)> {
    let entries = history(arguments).entries(&store.transaction().unwrap(), &account()).unwrap();
    entries.iter().map(|entry| (entry.text().unwrap().to_owned(), entry.missing)).collect()
}

fn store(all: &[Said]) -> Store {
    let mut store = Store::in_memory();
    let tx = store.transaction().unwrap();
    for said in all {
        assert!(tx.add_to_history(said).unwrap());
    }
    tx.commit().unwrap();
    store
}

fn texts(texts: &[&str]) -> Vec<(String, u64)> {
    texts.iter().map(|text| ((*text).to_owned(), 0)).collect()
}

#[test]
fn it_is_told_in_the_order_of_the_senders_times_and_ends_with_the_last() {
    let mut store = store(&[said(false, 3, 2, "three"), said(true, 2, 1, "two"), said(false, 1, 1, "one")]);
    assert_eq!(shown(&mut store, &[]), texts(&["one", "two", "three"]));
    assert_eq!(shown(&mut store, &["--limit", "2"]), texts(&["two", "three"]));
    assert_eq!(shown(&mut store, &["--limit", "0"]), []);
}

#[test]
fn pages_follow_each_other_without_holes() {
    let number = u64::try_from(2 * ROWS + 50).unwrap();
    let all: Vec<_> = (1..=number).map(|number| said(false, number / 3, number, &number.to_string())).collect();
    let all: Vec<_> = all
        .into_iter()
        .map(|mut said| {
            let mut id = [1; MessageId::LEN];
            id[..8].copy_from_slice(&said.content.sequence.to_be_bytes());
            said.content.id = MessageId::new(id);
            said
        })
        .collect();
    let mut store = store(&all);
    let mut read = Vec::new();
    let mut before = None;
    loop {
        let arguments =
            before.iter().flat_map(|before: &String| ["--before", before.as_str()]).chain(["--limit", "100"]);
        let page = history(&arguments.collect::<Vec<_>>()).entries(&store.transaction().unwrap(), &account()).unwrap();
        let Some(first) = page.first() else { break };
        before = Some(first.document()["cursor"].as_str().unwrap().to_owned());
        read.splice(0..0, page.iter().map(|entry| entry.said.content.sequence).collect::<Vec<_>>());
    }
    assert_eq!(read, (1..=number).collect::<Vec<_>>());
    assert_eq!(shown(&mut store, &["--limit", "1000"]).len(), read.len());
    assert_eq!(shown(&mut store, &[]).len(), SHOWN);
    assert_eq!(shown(&mut store, &["--export", "somewhere"]).len(), read.len());
}

#[test]
fn words_are_found_in_whatever_case_however_long_ago() {
    let mut all: Vec<_> = (1..=600).map(|second| said(true, second, second, "chaff")).collect();
    all.extend([said(false, 0, 0, "Grüße vom Hafen"), said(false, 601, 5, "hafen again")]);
    let mut store = store(&all);
    assert_eq!(shown(&mut store, &["--search", "HAFEN"]), texts(&["Grüße vom Hafen", "hafen again"]));
    assert_eq!(shown(&mut store, &["--search", "GRUSSE haf"]), texts(&["Grüße vom Hafen"]));
    assert_eq!(shown(&mut store, &["--search", "harbour"]), []);
    assert_eq!(
        shown(&mut store, &["--search", "hafen", "--before", "1970-01-01T00:05:00Z"]),
        texts(&["Grüße vom Hafen"])
    );
    let error = history(&["--search", "…"]).entries(&store.transaction().unwrap(), &account()).err().unwrap();
    assert_eq!(error.exit, Exit::Usage);
    assert_eq!(shown(&mut store, &["--search", "hafen", "--limit", "1"]), texts(&["hafen again"]));
}

#[test]
fn it_ends_before_a_time_or_a_message() {
    let mut store = store(&[said(false, 1, 1, "one"), said(false, 2, 2, "two"), said(false, 3, 3, "three")]);
    assert_eq!(shown(&mut store, &["--before", "1970-01-01T00:00:02Z"]), texts(&["one"]));
    assert_eq!(shown(&mut store, &["--before", "3"]), texts(&["one", "two"]));
    let error = history(&["--before", "9"]).entries(&store.transaction().unwrap(), &account()).err().unwrap();
    assert_eq!(error.exit, Exit::NotFound);
    assert!("yesterday".parse::<Before>().is_err() && "-1".parse::<Before>().is_err());
}

#[test]
fn what_the_other_side_numbered_and_did_not_come_is_said() {
    let mut all = vec![
        said(false, 2, 2, "two"),
        said(true, 3, 7, "own"),
        said(false, 4, 3, "three"),
        // Before there was a session.
        said(false, 5, 0, "plain"),
        said(false, 6, 6, "six"),
    ];
    let mut store = store(&all);
    let expected = [("two", 1), ("own", 0), ("three", 0), ("plain", 0), ("six", 2)];
    let told: Vec<_> = expected.iter().map(|(text, missing)| ((*text).to_owned(), *missing)).collect();
    assert_eq!(shown(&mut store, &[]), told);
    assert_eq!(shown(&mut store, &["--limit", "1"]), told[4..], "what is on an earlier page is not missing");
    assert_eq!(shown(&mut store, &["--search", "six"]), texts(&["six"]));
    // What came late is no gap, although its sender's clock was behind.
    all.extend([said(false, 7, 5, "five"), said(false, 8, 4, "four"), said(false, 9, 1, "one")]);
    let mut store = self::store(&all);
    assert!(shown(&mut store, &[]).iter().all(|(_, missing)| *missing == 0));
    // Another device has its own numbers.
    let other = Said { device: 1, ..said(false, 10, 1, "elsewhere") };
    store = self::store(&[all, vec![other]].concat());
    assert!(shown(&mut store, &[]).iter().all(|(_, missing)| *missing == 0));
}

#[test]
fn lines_and_documents_are_as_people_and_programs_expect() {
    let entry = |said, missing| Entry {
        place: Place { sent: UnixMillis(1000), number: 4 },
        said,
        missing,
        name: "carol".to_owned(),
        own: account(),
        details: Details::default(),
    };
    let at = "1970-01-01T00:00:01.000Z";
    assert_eq!(entry(said(true, 1, 1, "a\nb"), 0).lines(), format!("{at}  you  a\n    b"));
    assert_eq!(entry(said(false, 1, 2, "a"), 1).lines(), format!("… 1 message missing …\n{at}  carol  a"));
    assert_eq!(entry(said(false, 1, 9, "a"), 7).lines(), format!("… 7 messages missing …\n{at}  carol  a"));
    let expected = json!({
        "v": 1, "type": "message", "conversation": account().to_string(), "cursor": "4", "outgoing": false, "device": 0,
        "id": format!("{:016x}{}", 1, "0".repeat(16)), "sent": at, "arrived": at, "sequence": 9, "missing_before": 7,
        "kind": "text", "body": "a", "reply_to": null, "edited": false, "deleted": false, "reactions": [],
        "expires_at": null,
    });
    assert_eq!(entry(said(false, 1, 9, "a"), 7).document(), expected);
}

#[test]
fn an_export_is_its_owners_alone_and_overwrites_nothing() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("history.txt");
    write_new(&path, b"one\n").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let error = write_new(&path, b"two\n").unwrap_err();
    assert_eq!((error.exit, error.code), (Exit::Conflict, "exists"));
    assert_eq!(fs::read(&path).unwrap(), b"one\n");
}
