//! A short run of scenarios: what users wrote while nodes died, stood still, lost their databases, were cut off, and the
//! chain was reorganised.

use std::time::Duration;

use crate::harness::Figure;
use crate::testnet::{Testnet, finish};

/// How long the faults of each last, in seconds.
const SECONDS: &str = "15";
/// Messages a second.
const RATE: &str = "30";

pub(super) fn slice(testnet: &Testnet) -> Figure {
    let listed = testnet.json("chaos list");
    let is_possible = !listed["links_cut"].is_null();
    let mut names = vec!["f1", "f3", "f8", "f12", "f14", "f30"];
    if is_possible {
        names.push("f6");
    } else {
        // The last of them cuts links, too.
        names.retain(|name| *name != "f30");
    }
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
    let skipped = if is_possible { "" } else { "; 2 skipped: need root and nft" };
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
    let faults = testnet.json("chaos list")["faults"].as_array().unwrap().len();
    assert_eq!(faults, 2);
    let refused = testnet.run("chaos apply pause chain").failed_with(2);
    assert!(refused.contains("chain --help"), "{refused}");
    let cleared = testnet.json("chaos clear");
    assert_eq!((cleared["resumed"].as_u64(), cleared["started"].as_u64()), (Some(1), Some(1)));
    testnet.run("wait --until ready --timeout 60s").ok();
    assert_eq!(testnet.json("chaos list")["faults"].as_array().unwrap().len(), 0);
    Figure::from(())
}
