//! `sotto-testnet bench`, short and slow: figures of everything, and members that hold what was stored; and a member that
//! begins with nothing.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::Value;

use crate::harness::Figure;
use crate::testnet::Testnet;

const LINE: &str = "bench --clients 4 --rate 5 --seconds 5 --warm-up 1 --recipients 6 --followers 1 --catch-up 20 \
                    --idle-clients 30 --out reports --progress never";
/// Messages of such a bench.
const MESSAGES: u64 = 25;

pub(super) fn short(testnet: &Testnet) -> Figure {
    let report = testnet.json(LINE);
    assert_eq!(report["type"], "testnet.bench");
    let load = &report["load"];
    assert_eq!((load["due"].as_u64(), load["stored"].as_u64()), (Some(MESSAGES), Some(MESSAGES)), "{load}");
    assert!(load["to_followers"].as_u64().unwrap() > 0 && load["delivered"] == load["to_followers"], "{load}");
    assert_eq!(report["catch_up"]["received"], 20);
    let idle = &report["idle_clients"];
    assert_eq!((idle["clients"].as_u64(), idle["still_up"].as_u64()), (Some(30), Some(30)), "{idle}");
    let latencies = report["latency"].as_object().unwrap();
    for (name, latency) in latencies {
        assert!(
            latency["count"].as_u64().unwrap() > 0 && latency["p50_ms"].as_f64().unwrap() > 0.0,
            "{name}: {latency}"
        );
    }
    assert_eq!(latencies["stored"]["count"], MESSAGES);
    assert!(report["costs"]["cpu_ms_per_message"].as_f64().unwrap() > 0.0, "{}", report["costs"]);
    held(&report);
    let [json, page] = files(testnet);
    let compared = testnet.json(&format!("bench --compare {0} {0}", json.display()));
    assert!(compared["figures"].as_array().unwrap().iter().all(|figure| figure["verdict"] == "same"), "{compared}");
    testnet.run(&format!("bench --compare {} {}", json.display(), page.display())).failed_with(2);
    testnet.run(&format!("bench --compare {} nothing.json", json.display())).failed_with(7);
    let stored = &latencies["stored"];
    Figure(format!("stored after {} ms (median), {} ms (p99)", stored["p50_ms"], stored["p99_ms"]))
}

/// Records that a new member has to get, and bytes of the text in each.
const RECORDS: u64 = 200;
const TEXT: u64 = 2048;

pub(super) fn recovery(testnet: &Testnet) -> Figure {
    let finished = testnet.run(&format!(
        "bench --recovery --records {RECORDS} --missed 0 --no-split --rate 100 --size {TEXT} --out recoveries \
         --progress never --json"
    ));
    // Its goals are for a machine that does nothing else, and with few records what nodes say anyway is most of the bytes.
    assert!(matches!(finished.code, Some(0 | 1)), "{finished:#?}");
    let report = finished.json();
    assert_eq!(report["type"], "testnet.recovery");
    assert_eq!((report["filled"]["stored"].as_u64(), report["filled"]["failed"].as_u64()), (Some(RECORDS), Some(0)));
    let new = &report["hand_over"];
    let bytes = new["record_bytes"].as_u64().unwrap();
    assert!(new["records"].as_u64().unwrap() >= RECORDS && bytes > RECORDS * TEXT, "{new}");
    assert!(new["took_s"].as_f64().unwrap() > 0.0, "{new}");
    assert!(report["restart"].is_null() && report["split"].is_null(), "{report}");
    let kinds: BTreeSet<OsString> = std::fs::read_dir(testnet.dir.path().join("recoveries"))
        .unwrap()
        .map(|entry| entry.unwrap().path().extension().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, BTreeSet::from(["html".into(), "json".into()]));
    let links = new["link_bytes"].as_u64().map_or_else(String::new, |links| format!(", {} KiB on links", links / 1024));
    Figure(format!(
        "{} records, {} KiB, after {:.1} s{links}",
        new["records"],
        bytes / 1024,
        new["took_s"].as_f64().unwrap()
    ))
}

/// Every member of every swarm has what was stored, by its digest or read back: other checks have stored there, too.
fn held(report: &Value) {
    for swarm in report["swarms"].as_array().unwrap() {
        assert_eq!(swarm["alike"], true, "{swarm}");
        let read = &swarm["read_back"];
        let nothing_wrong = ["missing", "strange", "silent"].iter().all(|count| read[count] == 0);
        assert!(nothing_wrong || (swarm["comparable"] == true && swarm["equal"] == true), "{swarm}");
    }
}

/// The report's two files.
fn files(testnet: &Testnet) -> [PathBuf; 2] {
    let reports = testnet.dir.path().join("reports");
    let mut files: Vec<PathBuf> = std::fs::read_dir(reports).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort_by_key(|file| file.extension().is_some_and(|kind| kind == "html"));
    files.try_into().unwrap_or_else(|files| panic!("{files:?}"))
}
