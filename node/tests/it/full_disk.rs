//! The program on a disk that is full.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::newcomer::Neighbourhood;
use crate::support::{Running, text};

/// Blocks of a chain that takes more than the limit below.
const BLOCKS: u64 = 1500;
/// The longest a file may get, 128 KiB in the units of POSIX, until somebody raises it; a write beyond it is an error then,
/// and no signal.
const LIMITED: &str = "ulimit -S -f 256; trap '' XFSZ; exec \"$0\" \"$@\"";

/// The program, whose files may not grow.
fn limited(datadir: &Path) -> Running {
    let child = Command::new("/bin/sh")
        .args(["-c", LIMITED, env!("CARGO_BIN_EXE_sotto-node")])
        .arg("--datadir")
        .arg(datadir)
        .args(["run", "--listen", "127.0.0.1:0", "--http", "off", "--exit-on-stdin-eof"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Running { child }
}

#[test]
fn a_node_whose_disk_is_full_names_it_and_follows_the_chain_again_when_there_is_room() {
    let others = Neighbourhood::with_blocks(BLOCKS);
    let datadir = others.place.datadir();
    let limited = limited(&datadir);
    let status = others.status("the full disk", |status| status["problems"][0]["code"] == "storage");
    let problem = &status["problems"][0];
    assert!(problem["text"].as_str().unwrap().contains("File too large"), "{problem}");
    assert!(problem["advice"].as_str().unwrap().contains("whether the disk is full"), "{problem}");
    assert_eq!((status["phase"].as_str(), status["ready"].as_bool()), (Some("problem"), Some(false)));
    let shown = crate::support::sotto_node(&datadir).arg("status").output().unwrap();
    assert!(text(&shown.stdout).starts_with("PROBLEM: the database takes no more writes"), "{}", text(&shown.stdout));
    drop(limited);

    let _running = others.run(&[]);
    let status = others.status("the whole chain", |status| status["synced"] == true && status["tip"] == BLOCKS + 3);
    let problems = status["problems"].as_array().unwrap();
    assert!(problems.iter().all(|problem| problem["code"] != "storage"), "{status}");
}

#[test]
fn a_running_node_opens_its_database_again_by_itself_when_there_is_room() {
    let others = Neighbourhood::with_blocks(BLOCKS);
    let node = limited(&others.place.datadir());
    let full = others.status("the full disk", |status| status["problems"][0]["code"] == "storage");
    let none = Rlimit { current: None, maximum: None };
    let pid = Pid::from_raw(i32::try_from(node.pid()).unwrap());
    prlimit(pid, Resource::Fsize, none).unwrap();
    // It goes on in memory meanwhile.
    let status = others.status("the whole chain on disk", |status| {
        let is_well = |problems: &Vec<serde_json::Value>| problems.iter().all(|problem| problem["code"] != "storage");
        status["problems"].as_array().is_some_and(is_well) && status["synced"] == true && status["tip"] == BLOCKS + 3
    });
    assert_eq!(status["pid"], full["pid"], "it is the same process");
    assert!(status["damage"].is_null(), "a full disk damages nothing");
    // And what it has taken since then is on disk.
    drop(node);
    let _running = others.run(&[]);
    others.status("the chain from disk", |status| status["tip"] == BLOCKS + 3);
}
