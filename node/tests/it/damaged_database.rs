//! The program on a database that was damaged while it was stopped.

use crate::newcomer::Neighbourhood;
use crate::support::{sotto_node, text, wait_for};

const BLOCKS: u64 = 60;

#[test]
fn a_node_whose_database_does_not_open_goes_on_with_another_and_says_so() {
    let others = Neighbourhood::with_blocks(BLOCKS);
    let datadir = others.place.datadir();
    let whole = |status: &serde_json::Value| status["synced"] == true && status["tip"] == BLOCKS + 3;
    let running = others.run(&[]);
    let status = others.status("the whole chain", whole);
    assert!(status["damage"].is_null(), "{status}");
    drop(running);

    std::fs::write(datadir.join("db/CURRENT"), "nonsense").unwrap();
    let checked = sotto_node(&datadir).args(["store", "verify"]).output().unwrap();
    assert_eq!(checked.status.code(), Some(1));
    assert!(text(&checked.stderr).contains("copies what can be read"), "{}", text(&checked.stderr));

    let told = others.place.root.path().join("told");
    let running = others.run(&["--on-event", &format!("cat >> '{}'", told.display())]);
    let status = others.status("the whole chain again", whole);
    let aside = status["damage"]["aside"].as_str().unwrap();
    assert!(aside.starts_with("db.damaged-") && datadir.join(aside).is_dir(), "{status}");
    wait_for("the event", || std::fs::read_to_string(&told).ok().filter(|told| told.contains("database_damaged")));
    let shown = sotto_node(&datadir).arg("status").output().unwrap();
    assert!(text(&shown.stdout).contains("was damaged"), "{}", text(&shown.stdout));
    drop(running);

    let _running = others.run(&[]);
    let status = others.status("the chain from disk", |status| status["tip"] == BLOCKS + 3);
    assert!(status["damage"].is_null(), "it is good since then: {status}");
}
