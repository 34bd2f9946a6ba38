//! `sotto-testnet attack`, each for a second: everything lives, and every attack did something.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::Figure;
use crate::testnet::{Testnet, eventually};

const LINE: &str = "attack --seconds 1 --once --out attacks --json --progress never";
/// More memory that the victim may hold at any time of one attack.
const MEMORY: u64 = 32 << 20;

/// What honest users feel is not looked at: a second is too short, and a machine of tests too busy.
pub(super) fn short(testnet: &Testnet) -> Figure {
    let before = testnet.pids();
    let began = Instant::now();
    let finished = testnet.run(LINE);
    let took = began.elapsed();
    let report = finished.json();
    assert_eq!(report["type"], "testnet.attack", "{finished:#?}");
    assert_eq!(testnet.pids(), before, "every process is the one that it was");
    let listed = testnet.json("attack --list");
    let attacks = report["attacks"].as_array().unwrap();
    assert_eq!(attacks.len(), listed["attacks"].as_array().unwrap().len());
    let mut frames = 0;
    for attack in attacks {
        let (name, process) = (&attack["name"], &attack["process"]);
        assert!(attack["error"].is_null(), "{attack}");
        assert_eq!(attack["counts"]["frames"].as_u64().unwrap() > 0, *name != "nobody", "{attack}");
        assert_eq!(process["same"], true, "{name}: {process}");
        let rss = |place: usize| process["rss_bytes"][place].as_u64().unwrap();
        assert!(rss(1).saturating_sub(rss(0)) <= MEMORY, "{name}: {process}");
        frames += attack["counts"]["frames"].as_u64().unwrap();
    }
    let line = "attack --only connections --seconds 1 --frames 50 --out attacks --json --progress never";
    let stopped = testnet.run(line).json();
    assert!(stopped["attacks"][0]["counts"]["frames"].as_u64().unwrap() < 50 + 64, "{stopped}");
    testnet.run("attack --only nonsense").failed_with(2);
    Figure(format!("{} attacks, {frames} frames in {:.0} s", attacks.len(), took.as_secs_f64()))
}

/// Members whose keys an attack has do not run meanwhile; they go on, however it ends.
pub(super) fn interrupted(testnet: &Testnet) -> Figure {
    let nodes = testnet.pids();
    let stopped = || nodes.iter().filter(|pid| state(**pid) == Some('T')).count();
    let attackers = || processes_of(&["attackers", testnet.path().to_str().unwrap()]);
    let line = "attack --only member-control --seconds 5 --once --out attacks --progress never";
    let mut attack = testnet.command(line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("a member is stopped", Duration::from_secs(40), || stopped() == 1);
    assert_eq!(attackers(), 1);
    let sent = Command::new("kill").args(["-s", "INT", &attack.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let ends = Instant::now();
    assert_eq!(attack.wait().unwrap().code(), Some(130));
    let ended = ends.elapsed();
    assert_eq!((stopped(), attackers()), (0, 0));
    Figure(format!("{:.1} s", ended.as_secs_f64()))
}

/// The state of a process, such as R, S or T.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// How many processes have all of these words on their command line.
fn processes_of(words: &[&str]) -> usize {
    let lines =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let all = |line: &Vec<u8>| {
        let said: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words.iter().all(|word| said.contains(&word.as_bytes()))
    };
    lines.filter(all).count()
}
