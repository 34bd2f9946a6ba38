//! Requests and sessions, as people type them.

use serde_json::Value;

use super::steps::{sotto, user};
use crate::harness::{Figure, nothing};
use crate::testnet::{Finished, Testnet, finish};

/// Messages in each direction.
const MESSAGES: usize = 20;

/// A command of a user.
pub(super) fn run(testnet: &Testnet, name: &str, arguments: &[&str]) -> Finished {
    let mut command = sotto(testnet, name);
    command.args(arguments);
    finish(command)
}

/// The lines of its answer.
pub(super) fn lines(testnet: &Testnet, name: &str, arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let finished = run(testnet, name, &arguments).ok();
    finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What came: kind and text.
pub(super) fn recv(testnet: &Testnet, name: &str) -> Vec<(String, Value)> {
    let came = lines(testnet, name, &["recv"]);
    came.into_iter().map(|line| (line["data"]["kind"].as_str().unwrap().to_owned(), line)).collect()
}

fn kinds(came: &[(String, Value)]) -> Vec<&str> {
    came.iter().map(|(kind, _)| kind.as_str()).collect()
}

pub(super) fn talk(testnet: &Testnet) -> Figure {
    user(testnet, "xenia");
    let yves = user(testnet, "yves");
    run(testnet, "xenia", &["request", "send", &yves, "-m", "from the harbour", "--as", "captain"]).ok();
    run(testnet, "xenia", &["send", "captain", "-m", "too early"]).failed_with(8);
    let came = recv(testnet, "yves");
    assert_eq!(kinds(&came), ["request"], "{came:?}");
    let waiting = lines(testnet, "yves", &["request", "list"]);
    let [request] = waiting.as_slice() else { panic!("{waiting:?}") };
    assert_eq!((request["name"].as_str(), request["introduction"].as_str()), (Some("xenia"), Some("from the harbour")));
    run(testnet, "yves", &["request", "accept", &request["id"].as_str().unwrap()[..8]]).ok();
    assert_eq!(kinds(&recv(testnet, "xenia")), ["accepted"]);
    // Each reads after the other wrote; some are written before anything is read.
    for number in 0..MESSAGES {
        run(testnet, "xenia", &["send", "CAPTAIN", "-m", &format!("out {number}")]).ok();
        if number % 3 == 0 {
            recv(testnet, "yves");
        }
        run(testnet, "yves", &["send", "xenia", "-m", &format!("back {number}")]).ok();
    }
    run(testnet, "xenia", &["send", "captain", "nobody", "-m", "to both or to none"]).failed_with(7);
    recv(testnet, "yves");
    let came = recv(testnet, "xenia");
    let (_, last) = came.last().unwrap();
    assert_eq!((&last["data"]["name"], &last["data"]["session"]), (&"captain".into(), &true.into()), "{last}");
    for (name, other, own, theirs) in [("xenia", "captain", "out", "back"), ("yves", "xenia", "back", "out")] {
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
    let number = digits("xenia", "captain");
    assert_eq!(number, digits("yves", "xenia"));
    let refused = run(testnet, "xenia", &["send", "captain", "-m", "x", "--trust", "never"]).failed_with(4);
    assert!(refused.contains("sotto verify show captain"), "{refused}");
    let other: String = number.chars().rev().collect();
    run(testnet, "xenia", &["verify", "compare", "captain", &other]).failed_with(4);
    run(testnet, "xenia", &["verify", "compare", "captain", &number]).ok();
    assert_eq!(lines(testnet, "xenia", &["contact", "show", "captain"])[0]["verified"], true);
    run(testnet, "xenia", &["send", "captain", "-m", "x", "--trust", "never"]).ok();
    let code = lines(testnet, "xenia", &["verify", "qr", "captain"])[0]["code"].as_str().unwrap().to_owned();
    run(testnet, "xenia", &["verify", "scan", "captain", &code]).failed_with(1);
    run(testnet, "yves", &["verify", "scan", "xenia", &code]).ok();
    assert_eq!(lines(testnet, "yves", &["verify", "list"])[0]["verified"], true);
}

pub(super) fn crossing(testnet: &Testnet) -> Figure {
    let (zoe, zeno) = (user(testnet, "zoe"), user(testnet, "zeno"));
    run(testnet, "zoe", &["request", "send", &zeno, "--as", "q"]).ok();
    run(testnet, "zeno", &["request", "send", &zoe, "--as", "p"]).ok();
    // Whoever has the smaller id begins; each reads twice, in turn.
    for name in ["zoe", "zeno", "zoe", "zeno"] {
        recv(testnet, name);
        assert_eq!(lines(testnet, name, &["request", "list", "--in"]).len(), 0, "nothing is to be accepted by hand");
    }
    run(testnet, "zoe", &["send", "q", "-m", "one"]).ok();
    run(testnet, "zeno", &["send", "p", "-m", "two"]).ok();
    let text = |came: Vec<(String, Value)>| came.last().map(|(_, line)| line["data"]["body"].clone());
    assert_eq!(text(recv(testnet, "zeno")), Some("one".into()));
    assert_eq!(text(recv(testnet, "zoe")), Some("two".into()));
    nothing()
}

pub(super) fn refused(testnet: &Testnet) -> Figure {
    let (wanda, viggo) = (user(testnet, "wanda"), user(testnet, "viggo"));
    run(testnet, "wanda", &["request", "send", &viggo]).ok();
    recv(testnet, "viggo");
    run(testnet, "viggo", &["request", "decline", &wanda, "--block"]).ok();
    let contacts = lines(testnet, "viggo", &["contact", "list"]);
    assert_eq!(contacts[0]["state"], "blocked");
    let refused = run(testnet, "viggo", &["send", "wanda", "-m", "x"]).failed_with(1);
    assert!(refused.contains("contact unblock"), "{refused}");
    run(testnet, "viggo", &["contact", "rename", "wanda", "wanda b"]).ok();
    run(testnet, "viggo", &["contact", "show", "WANDA B"]).ok();
    run(testnet, "viggo", &["contact", "delete", "wanda b", "--yes"]).ok();
    run(testnet, "viggo", &["contact", "show", "wanda b"]).failed_with(7);
    run(testnet, "viggo", &["request", "accept", "abcdef"]).failed_with(7);
    // Somebody who was blocked and never asked is a stranger again: its request waits.
    run(testnet, "viggo", &["contact", "block", &wanda]).ok();
    run(testnet, "viggo", &["contact", "unblock", &wanda]).ok();
    run(testnet, "viggo", &["contact", "show", &wanda]).failed_with(7);
    nothing()
}
