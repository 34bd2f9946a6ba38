//! Requests and sessions, as people type them.

use serde_json::Value;

use super::steps::{sotto, user};
use crate::harness::{Figure, nothing};
use crate::testnet::{Finished, Testnet, finish};

/// Messages in each direction.
const MESSAGES: usize = 20;

/// A command of a user.
fn run(testnet: &Testnet, name: &str, arguments: &[&str]) -> Finished {
    let mut command = sotto(testnet, name);
    command.args(arguments);
    finish(command)
}

/// The lines of its answer.
fn lines(testnet: &Testnet, name: &str, arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let finished = run(testnet, name, &arguments).ok();
    finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What came: kind and text.
fn recv(testnet: &Testnet, name: &str) -> Vec<(String, Value)> {
    let came = lines(testnet, name, &["recv"]);
    came.into_iter().map(|line| (line["data"]["kind"].as_str().unwrap().to_owned(), line)).collect()
}

fn kinds(came: &[(String, Value)]) -> Vec<&str> {
    came.iter().map(|(kind, _)| kind.as_str()).collect()
}

pub(super) fn talk(testnet: &Testnet) -> Figure {
    let (_, olga) = (user(testnet, "nora"), user(testnet, "olga"));
    run(testnet, "nora", &["request", "send", &olga, "-m", "from the harbour", "--as", "captain"]).ok();
    run(testnet, "nora", &["send", "captain", "-m", "too early"]).failed_with(8);
    let came = recv(testnet, "olga");
    assert_eq!(kinds(&came), ["request"], "{came:?}");
    let waiting = lines(testnet, "olga", &["request", "list"]);
    let [request] = waiting.as_slice() else { panic!("{waiting:?}") };
    assert_eq!((request["name"].as_str(), request["introduction"].as_str()), (Some("nora"), Some("from the harbour")));
    run(testnet, "olga", &["request", "accept", &request["id"].as_str().unwrap()[..8]]).ok();
    assert_eq!(kinds(&recv(testnet, "nora")), ["accepted"]);
    // Each reads after the other wrote; some are written before anything is read.
    for number in 0..MESSAGES {
        run(testnet, "nora", &["send", "CAPTAIN", "-m", &format!("out {number}")]).ok();
        if number % 3 == 0 {
            recv(testnet, "olga");
        }
        run(testnet, "olga", &["send", "nora", "-m", &format!("back {number}")]).ok();
    }
    run(testnet, "nora", &["send", "captain", "nobody", "-m", "to both or to none"]).failed_with(7);
    recv(testnet, "olga");
    let came = recv(testnet, "nora");
    let (_, last) = came.last().unwrap();
    assert_eq!((&last["data"]["name"], &last["data"]["session"]), (&"captain".into(), &true.into()), "{last}");
    for (name, other, own, theirs) in [("nora", "captain", "out", "back"), ("olga", "nora", "back", "out")] {
        assert_eq!(recv(testnet, name).len(), 0, "each is shown once");
        let history = lines(testnet, name, &["history", other, "--limit", "100"]);
        for (outgoing, word) in [(true, own), (false, theirs)] {
            let said: Vec<_> = history.iter().filter(|line| line["outgoing"] == outgoing).collect();
            let texts: Vec<_> = said.iter().map(|line| line["body"].as_str().unwrap().to_owned()).collect();
            assert_eq!(texts, (0..MESSAGES).map(|number| format!("{word} {number}")).collect::<Vec<_>>(), "{name}");
        }
        assert!(history.iter().all(|line| line["missing_before"] == 0), "{name}: {history:?}");
        let found = lines(testnet, name, &["history", other, "--search", &format!("{} 7", theirs.to_uppercase())]);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        let cursor = found[0]["cursor"].as_str().unwrap();
        let earlier = lines(testnet, name, &["history", other, "--before", cursor, "--limit", "1"]);
        assert_ne!(earlier[0]["id"], found[0]["id"], "{name}");
    }
    verified(testnet);
    Figure(format!("{} messages in sessions, each shown once", 2 * MESSAGES))
}

/// Both see the same number; whoever trusts nobody unseen compares it first.
fn verified(testnet: &Testnet) {
    let digits =
        |name, other| lines(testnet, name, &["verify", "show", other])[0]["digits"].as_str().unwrap().to_owned();
    let number = digits("nora", "captain");
    assert_eq!(number, digits("olga", "nora"));
    let refused = run(testnet, "nora", &["send", "captain", "-m", "x", "--trust", "never"]).failed_with(4);
    assert!(refused.contains("sotto verify show captain"), "{refused}");
    let other: String = number.chars().rev().collect();
    run(testnet, "nora", &["verify", "compare", "captain", &other]).failed_with(4);
    run(testnet, "nora", &["verify", "compare", "captain", &number]).ok();
    assert_eq!(lines(testnet, "nora", &["contact", "show", "captain"])[0]["verified"], true);
    run(testnet, "nora", &["send", "captain", "-m", "x", "--trust", "never"]).ok();
    let code = lines(testnet, "nora", &["verify", "qr", "captain"])[0]["code"].as_str().unwrap().to_owned();
    run(testnet, "nora", &["verify", "scan", "captain", &code]).failed_with(1);
    run(testnet, "olga", &["verify", "scan", "nora", &code]).ok();
    assert_eq!(lines(testnet, "olga", &["verify", "list"])[0]["verified"], true);
}

pub(super) fn crossing(testnet: &Testnet) -> Figure {
    let (pia, quentin) = (user(testnet, "pia"), user(testnet, "quentin"));
    run(testnet, "pia", &["request", "send", &quentin, "--as", "q"]).ok();
    run(testnet, "quentin", &["request", "send", &pia, "--as", "p"]).ok();
    // Whoever has the smaller id begins; each reads twice, in turn.
    for name in ["pia", "quentin", "pia", "quentin"] {
        recv(testnet, name);
        assert_eq!(lines(testnet, name, &["request", "list", "--in"]).len(), 0, "nothing is to be accepted by hand");
    }
    run(testnet, "pia", &["send", "q", "-m", "one"]).ok();
    run(testnet, "quentin", &["send", "p", "-m", "two"]).ok();
    let text = |came: Vec<(String, Value)>| came.last().map(|(_, line)| line["data"]["body"].clone());
    assert_eq!(text(recv(testnet, "quentin")), Some("one".into()));
    assert_eq!(text(recv(testnet, "pia")), Some("two".into()));
    nothing()
}

pub(super) fn refused(testnet: &Testnet) -> Figure {
    let (rosa, sven) = (user(testnet, "rosa"), user(testnet, "sven"));
    run(testnet, "rosa", &["request", "send", &sven]).ok();
    recv(testnet, "sven");
    run(testnet, "sven", &["request", "decline", &rosa, "--block"]).ok();
    let contacts = lines(testnet, "sven", &["contact", "list"]);
    assert_eq!(contacts[0]["state"], "blocked");
    let refused = run(testnet, "sven", &["send", "rosa", "-m", "x"]).failed_with(1);
    assert!(refused.contains("contact unblock"), "{refused}");
    run(testnet, "sven", &["contact", "rename", "rosa", "rosa b"]).ok();
    run(testnet, "sven", &["contact", "show", "ROSA B"]).ok();
    run(testnet, "sven", &["contact", "delete", "rosa b", "--yes"]).ok();
    run(testnet, "sven", &["contact", "show", "rosa b"]).failed_with(7);
    run(testnet, "sven", &["request", "accept", "abcdef"]).failed_with(7);
    // Somebody who was blocked and never asked is a stranger again: its request waits.
    run(testnet, "sven", &["contact", "block", &rosa]).ok();
    run(testnet, "sven", &["contact", "unblock", &rosa]).ok();
    run(testnet, "sven", &["contact", "show", &rosa]).failed_with(7);
    nothing()
}
