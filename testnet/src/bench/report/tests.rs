use std::time::Duration;

use super::super::costs::{Costs, LinkCosts, ProcessCosts, RoleCosts};
use super::super::digests::ReadBack;
use super::super::machine::Machine;
use super::super::options::tests::usual;
use super::*;

/// A report with something in every field.
pub(in super::super) fn example() -> Report {
    let latency = |ms: u64| Latency::of((1..=500).map(|n| Duration::from_micros(ms * 10 * n)));
    Report {
        head: Head {
            commit: Some("0123456789ab".to_owned()),
            machine: Machine {
                cpu: "Some <CPU> & more".to_owned(),
                cores: 2,
                memory_bytes: 24 << 30,
                kernel: "6.1.0".to_owned(),
                system: "Debian \"12\"".to_owned(),
            },
            ..Head::example(TYPE, VERSION)
        },
        testnet: Testnet { name: "dev".to_owned(), seed: 42, nodes: 50, swarms: 5, block_time_ms: 1000 },
        options: usual(),
        notes: vec!["work is done before the clock starts".to_owned()],
        work: Work { messages: 1500, difficulty: 1, took_s: 1.5 },
        load: Load {
            due: 1500,
            stored: 1500,
            third: 1499,
            failed: 0,
            failures: BTreeMap::new(),
            took_s: 30.01,
            stored_per_s: 49.98,
            to_followers: 187,
            delivered: 187,
            delivered_twice: 0,
            interruptions: 0,
            probes_failed: 0,
        },
        latency: Latencies {
            path_build_idle: latency(1),
            path_build: latency(2),
            echo_idle: latency(1),
            echo: latency(1),
            begun: latency(1),
            stored: latency(4),
            third: latency(5),
            delivered: latency(6),
        },
        catch_up: Some(CatchUp { messages: 1000, received: 1000, open_ms: 20.0, took_ms: 900.0, polls: 1 }),
        idle_clients: Some(IdleClients { clients: 10_000, processes: 4, took_s: 60.0, lost: 3, still_up: 10_000 }),
        seconds: (0..30).map(|second| Second { second, due: 50, stored: 50, p50_ms: 7.0, p99_ms: 15.0 }).collect(),
        costs: costs(),
        swarms: vec![swarm()],
        replicated_after_s: 11.0,
    }
}

fn costs() -> Costs {
    let role = |role, processes| RoleCosts {
        role,
        processes,
        cpu_percent: 80.0,
        idle_cpu_percent: 10.0,
        cpu_percent_median: 1.6,
        cpu_percent_max: 3.0,
        rss_bytes: 1 << 30,
        rss_bytes_median: 22 << 20,
        rss_bytes_max: 25 << 20,
    };
    Costs {
        window_s: 33.0,
        idle_window_s: 5.0,
        cpu_ms_per_message: 11.5,
        generator_cpu_ms_per_message: 2.5,
        machine_busy_percent: Some(70.0),
        machine_stolen_percent: Some(1.0),
        links: Some(LinkCosts { bytes: 100_000_000, idle_bytes_per_s: 10_000.0, bytes_per_message: 60_000.0 }),
        roles: vec![role(Role::Node, 50), role(Role::Producer, 1), role(Role::Launcher, 1), role(Role::Generator, 1)],
        processes: vec![ProcessCosts {
            name: "node00".to_owned(),
            role: Role::Node,
            cpu_percent: 1.6,
            idle_cpu_percent: 0.2,
            rss_bytes_before: 21 << 20,
            rss_bytes: 22 << 20,
        }],
    }
}

fn swarm() -> SwarmCheck {
    SwarmCheck {
        swarm: "0x0000000000000000".to_owned(),
        members: 10,
        alike: true,
        items: 300,
        digest: "ab".repeat(16),
        stored: 300,
        generator_digest: "ab".repeat(16),
        comparable: true,
        equal: true,
        read_back: None,
    }
}

#[test]
fn a_report_reads_back_as_written() {
    let report = example();
    let back = Report::parse(&report.to_json().unwrap()).unwrap();
    assert_eq!(back, report);
    let value: serde_json::Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
    assert_eq!((&value["type"], &value["v"]), (&"testnet.bench".into(), &1.into()));
    assert_eq!((&value["commit"], &value["machine"]["cores"]), (&"0123456789ab".into(), &2.into()));
    assert!(value["head"].is_null(), "its fields are the report's own");
    assert_eq!(value["latency"]["stored"]["count"], 500);
    assert_eq!(value["costs"]["roles"][0]["role"], "node");
}

#[test]
fn a_file_that_is_no_report_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    assert_eq!(Report::read(&path).unwrap_err().exit, Exit::NotFound);
    for (text, part) in [
        ("", "not a document of ours"),
        ("[]", "not a document of ours"),
        ("{\"v\":1,\"type\":\"testnet.status\"}", "testnet.status"),
        ("{\"v\":2,\"type\":\"testnet.bench\"}", "version 2"),
        ("{\"v\":1,\"type\":\"testnet.bench\"}", "missing field"),
    ] {
        fs::write(&path, text).unwrap();
        let failure = Report::read(&path).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{text}");
        assert!(failure.message.contains(part) && failure.message.contains("a.json"), "{text}: {failure}");
        assert!(failure.hint.is_some());
    }
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(Report::read(&path).unwrap_err().message.contains("not text"));
}

#[test]
fn the_verdict_names_everything_that_is_wrong() {
    assert_eq!(example().verdict(), Ok(()));
    let mut overloaded = example();
    overloaded.load.failed = 3;
    assert_eq!(overloaded.verdict().unwrap_err().exit, Exit::Partial);
    let mut wrong = example();
    wrong.load.failed = 3;
    wrong.load.delivered = 180;
    wrong.load.delivered_twice = 1;
    wrong.catch_up = Some(CatchUp { messages: 1000, received: 999, ..CatchUp::default() });
    wrong.swarms[0].equal = false;
    wrong.swarms[0].read_back = Some(ReadBack { members: 10, missing: 1, ..ReadBack::default() });
    let failure = wrong.verdict().unwrap_err();
    assert_eq!(failure.exit, Exit::Failed);
    for part in ["3 of 1500", "7 stored messages", "shown twice", "999 of 1000", "0x0000000000000000"] {
        assert!(failure.message.contains(part), "{failure}");
    }
}

#[test]
fn every_latency_has_a_name_of_its_own() {
    let report = example();
    let names: std::collections::BTreeSet<_> = report.latency.named().iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), report.latency.named().len());
}
