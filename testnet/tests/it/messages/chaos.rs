//! A short run of scenarios: what users wrote while nodes died, stood still, lost their databases, were cut off,
//! misbehaved, and their disks were full or damaged.

use std::time::Duration;

use crate::harness::Figure;
use crate::testnet::{Testnet, finish};

/// How long the faults of each last, in seconds.
const SECONDS: &str = "15";
/// Messages a second.
const RATE: &str = "30";

pub(super) fn slice(testnet: &Testnet) -> Figure {
    let listed = testnet.json("chaos list");
    let mut names = vec!["f1", "f3", "f8", "f9", "f11", "f12", "f17", "f30", "f6"];
    let all = names.len();
    // Only root can do some of it; in continuous integration nothing is skipped.
    names.retain(|name| listed["missing"][name].is_null());
    let is_required = std::env::var("CI").is_ok_and(|ci| !matches!(ci.as_str(), "" | "0" | "false"));
    assert!(!is_required || names.len() == all, "skipped although CI is set: {:#}", listed["missing"]);
    let (mut stored, mut faults, mut slowest) = (0, 0, Duration::ZERO);
    for name in &names {
        let mut run = testnet.command("chaos run --json --seed 5");
        run.args(["--seconds", SECONDS, "--rate", RATE, name]);
        let document = finish(run).ok().json();
        let run = &document["runs"][0];
        stored += document["acked"].as_u64().unwrap();
        faults += run["faults"].as_u64().unwrap();
        slowest = slowest.max(Duration::from_millis(run["agreed_after_ms"].as_u64().unwrap()));
    }
    let skipped = match all - names.len() {
        0 => String::new(),
        skipped => format!("; {skipped} skipped: need root or a tool"),
    };
    Figure(format!(
        "{} runs, {faults} faults, {stored} messages stored, 0 lost; all agreed {:.1} s after the last fault at the \
         latest{skipped}",
        names.len(),
        slowest.as_secs_f64()
    ))
}

pub(super) fn cleared(testnet: &Testnet) -> Figure {
    testnet.run("chaos apply kill 3").ok();
    testnet.run("chaos apply pause 4").ok();
    testnet.run("chaos apply flip-bits 5").ok();
    testnet.run("chaos apply truncate 6").ok();
    testnet.run("chaos apply old-copy 7").ok();
    testnet.run("chaos apply few-files 8").ok();
    let (mut expected, mut others) = (6, 2);
    for (scenario, fault) in [("f10", "clock 9 --ahead-seconds 60"), ("f17", "misbehave 10 --mode withhold")] {
        // Where its library or program is.
        if testnet.json("chaos list")["missing"][scenario].is_null() {
            testnet.run(&format!("chaos apply {fault}")).ok();
            (expected, others) = (expected + 1, others + 1);
        }
    }
    let faults = testnet.json("chaos list")["faults"].clone();
    assert_eq!(faults.as_array().unwrap().len(), expected, "{faults:#}");
    let wrong = testnet.run("chaos apply kill 3 --ahead-seconds 5").failed_with(2);
    assert!(wrong.contains("belongs to"), "{wrong}");
    let refused = testnet.run("chaos apply pause chain").failed_with(2);
    assert!(refused.contains("chain --help"), "{refused}");
    let cleared = testnet.json("chaos clear");
    assert_eq!((cleared["resumed"].as_u64(), cleared["started"].as_u64()), (Some(1), Some(3)));
    assert_eq!(cleared["others"].as_u64(), Some(others));
    testnet.run("wait --until ready --timeout 60s").ok();
    assert_eq!(testnet.json("chaos list")["faults"].as_array().unwrap().len(), 0);
    Figure::from(())
}
