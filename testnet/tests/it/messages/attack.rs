//! `sotto-testnet attack`, each for a second: everything lives, and every attack did something.

use std::time::Instant;

use crate::harness::Figure;
use crate::testnet::Testnet;

const LINE: &str = "attack --seconds 1 --once --out attacks --json --progress never";
/// More memory that the victim may hold at any time of one attack.
const MEMORY: u64 = 32 << 20;
/// The same for the one attack that is known to miss it: answers that are made while others wait are not bounded yet.
const MISSED: (&str, u64) = ("unread-tunnels", 64 << 20);

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
        assert!(attack["counts"]["frames"].as_u64().unwrap() > 0, "{attack}");
        assert_eq!(process["same"], true, "{name}: {process}");
        let rss = |place: usize| process["rss_bytes"][place].as_u64().unwrap();
        let most = if *name == MISSED.0 { MISSED.1 } else { MEMORY };
        assert!(rss(1).saturating_sub(rss(0)) <= most, "{name}: {process}");
        frames += attack["counts"]["frames"].as_u64().unwrap();
    }
    let line = "attack --only connections --seconds 1 --frames 50 --out attacks --json --progress never";
    let stopped = testnet.run(line).json();
    assert!(stopped["attacks"][0]["counts"]["frames"].as_u64().unwrap() < 50 + 64, "{stopped}");
    testnet.run("attack --only nonsense").failed_with(2);
    Figure(format!("{} attacks, {frames} frames in {:.0} s", attacks.len(), took.as_secs_f64()))
}
