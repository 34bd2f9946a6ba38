//! What an operator asks a node, running and stopped.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use sotto_node::status::drain::DrainStatus;
use sotto_node::status::peers::{BannedStatus, PeerClass, PeerDirection, PeerStatus, PeersStatus};
use sotto_node::status::store::StoreStatus;
use sotto_node::status::survey::{PeerAnswerStatus, SurveyStatus};
use sotto_node::status::swarm::{MemberStatus, SwarmStatus};

use crate::chain::node;
use crate::support::{Place, sotto_node, text, wait_for};

/// A swarm of one.
pub(crate) fn swarm() -> SwarmStatus {
    let member = MemberStatus {
        node: "5d".repeat(32),
        own: true,
        addresses: vec!["/ip4/203.0.113.7/tcp/22020".into()],
        connected: false,
        compared_ms_ago: None,
        agrees: None,
    };
    SwarmStatus {
        v: SwarmStatus::VERSION,
        kind: SwarmStatus::TYPE.to_owned(),
        node: "5d".repeat(32),
        swarm: Some("0x3fffffffffffffff".into()),
        height: 809,
        members: vec![member],
        records: 1290,
        bytes: 5 << 20,
        to_hand_over: 0,
        syncing: false,
        items: 1204,
        digest: "c4f2a91b".repeat(4),
    }
}

/// One client.
pub(crate) fn peers() -> PeersStatus {
    let peer = PeerStatus {
        peer: "1a".repeat(32),
        class: PeerClass::Client,
        direction: Some(PeerDirection::In),
        registered_addresses: Vec::new(),
        connected_ms: Some(1000),
    };
    let banned = vec![BannedStatus { peer: "2b".repeat(32), until_ms: 1_790_000_300_000 }];
    PeersStatus { v: PeersStatus::VERSION, kind: PeersStatus::TYPE.to_owned(), count: 1, peers: vec![peer], banned }
}

/// A node that drains.
pub(crate) fn drain() -> DrainStatus {
    DrainStatus {
        v: DrainStatus::VERSION,
        kind: DrainStatus::TYPE.to_owned(),
        node: "5d".repeat(32),
        state: "active".into(),
        swarm: Some("0x3fffffffffffffff".into()),
        draining: true,
        done: false,
        left: Some(14),
        to_hand_over: 0,
        records: 1290,
        members: 6,
        needed: 2,
    }
}

/// One peer that has not answered.
pub(crate) fn survey() -> SurveyStatus {
    let answer = PeerAnswerStatus {
        peer: "1a".repeat(32),
        direction: Some(PeerDirection::Out),
        round_trip_ms: None,
        height: None,
        clock_ahead_ms: None,
        version: None,
        shown_record: false,
        listed: None,
        failure: Some("no answer in time".into()),
    };
    SurveyStatus {
        v: SurveyStatus::VERSION,
        kind: SurveyStatus::TYPE.to_owned(),
        node: "5d".repeat(32),
        height: 809,
        own: None,
        answers: vec![answer],
    }
}

/// A store with something in it.
pub(crate) fn store() -> StoreStatus {
    StoreStatus {
        v: StoreStatus::VERSION,
        kind: StoreStatus::TYPE.to_owned(),
        loaded: true,
        records: 1290,
        bytes: 5 << 20,
        records_limit: 100_000,
        bytes_limit: 2 << 30,
        full: false,
        tombstones: 14,
        to_hand_over: 0,
        from_clients: 1,
        from_gossip: 2,
        from_repair: 3,
        expired: 4,
        deleted: 5,
        handed_over: 6,
        damaged: 0,
    }
}

fn run(place: &Place, arguments: &[&str]) -> Output {
    sotto_node(&place.datadir()).args(arguments).output().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_node_alone_shows_no_swarm_no_peers_and_an_empty_store() {
    let place = Place::new();
    place.init();
    let running = place.run();
    running.status(&place.datadir());
    let swarm = run(&place, &["swarm", "show", "--json"]);
    assert_eq!(swarm.status.code(), Some(7), "{}", text(&swarm.stderr));
    assert_eq!((json(&swarm)["node"].as_str(), json(&swarm)["swarm"].as_str()), (Some(&*node(0).to_string()), None));
    let peers = run(&place, &["peers", "--json"]);
    assert_eq!((peers.status.code(), json(&peers)["count"].as_u64()), (Some(0), Some(0)), "{}", text(&peers.stderr));
    let stats = run(&place, &["store", "stats", "--json"]);
    assert_eq!((stats.status.code(), json(&stats)["records"].as_u64()), (Some(0), Some(0)), "{}", text(&stats.stderr));
    #[cfg(feature = "rocksdb")]
    assert!(json(&stats)["disk_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
}

#[cfg(feature = "rocksdb")]
#[test]
fn what_is_on_disk_is_checked_while_the_node_stands_still_and_not_while_it_runs() {
    let place = Place::new();
    place.init();
    let before = run(&place, &["store", "verify"]);
    assert_eq!(before.status.code(), Some(7), "{}", text(&before.stderr));
    let mut running = place.run();
    running.status(&place.datadir());
    let during = run(&place, &["store", "verify"]);
    assert_eq!(during.status.code(), Some(12), "{}", text(&during.stderr));
    let expected = format!("is in use by process {}", running.pid());
    assert!(text(&during.stderr).contains(&expected), "{}", text(&during.stderr));
    drop(running.child.stdin.take());
    running.wait();
    let after = run(&place, &["store", "verify", "--json"]);
    assert_eq!(after.status.code(), Some(0), "{}", text(&after.stderr));
    assert_eq!((json(&after)["ok"].as_bool(), json(&after)["bad"].as_u64()), (Some(true), Some(0)));
}

#[test]
fn a_directory_without_node_has_nothing_to_check() {
    let place = Place::new();
    let output = run(&place, &["store", "verify"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("holds no node"), "{}", text(&output.stderr));
}

#[test]
fn a_node_without_mail_has_drained_at_once_and_says_so_until_that_is_ended() {
    let place = Place::new();
    place.init();
    let early = run(&place, &["drain"]);
    assert_eq!(early.status.code(), Some(3), "{}", text(&early.stderr));
    let running = place.run();
    running.status(&place.datadir());
    let cancelled = run(&place, &["drain", "--cancel"]);
    assert_eq!(cancelled.status.code(), Some(10), "{}", text(&cancelled.stderr));
    let drained = wait_for("the node's disk to be read", || {
        let output = run(&place, &["drain", "--json", "--timeout", "10s"]);
        output.status.success().then_some(output)
    });
    let document = json(&drained);
    assert_eq!((document["type"].as_str(), document["done"].as_bool()), (Some("node.drain"), Some(true)));
    assert_eq!((document["left"].as_u64(), document["to_hand_over"].as_u64()), (Some(0), Some(0)));
    let codes = |status: &serde_json::Value| {
        let problems = status["problems"].as_array().unwrap().iter();
        problems.map(|problem| problem["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let status = running.status(&place.datadir());
    assert!(codes(&status).contains(&"draining".to_owned()), "{status}");
    let cancelled = run(&place, &["drain", "--cancel", "--json"]);
    assert_eq!((cancelled.status.code(), json(&cancelled)["draining"].as_bool()), (Some(0), Some(false)));
    let status = running.status(&place.datadir());
    assert!(!codes(&status).contains(&"draining".to_owned()), "{status}");
}

/// The verdicts of `doctor --json` by check.
fn verdicts(output: &Output) -> BTreeMap<String, String> {
    let document = json(output);
    assert_eq!(document["type"], "node.doctor");
    let text = |check: &serde_json::Value, key: &str| check[key].as_str().unwrap().to_owned();
    let checks = document["checks"].as_array().unwrap().iter();
    checks.map(|check| (text(check, "check"), text(check, "verdict"))).collect()
}

#[test]
fn the_doctor_looks_at_a_node_that_runs_and_at_one_that_does_not() {
    let place = Place::new();
    let absent = run(&place, &["doctor"]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(text(&absent.stderr).contains("holds no node"), "{}", text(&absent.stderr));
    place.init();
    let mut running = place.run();
    running.status(&place.datadir());
    let output = run(&place, &["doctor", "--json", "--ask-peers", "3"]);
    let found = verdicts(&output);
    for (check, expected) in
        [("settings", "ok"), ("keys", "ok"), ("ports", "ok"), ("registration", "warn"), ("peers", "warn")]
    {
        assert_eq!(found[check], expected, "{check}: {}", text(&output.stdout));
    }
    for check in ["node", "open-files", "disk", "database", "clock", "chain", "swarm", "records", "reachable"] {
        assert!(found.contains_key(check), "{check}: {found:?}");
    }

    let key = place.datadir().join("keys/x25519.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = run(&place, &["doctor"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    let advice = format!("chmod go-rwx {}", key.display());
    assert!(text(&output.stdout).contains(&advice), "{}", text(&output.stdout));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();

    drop(running.child.stdin.take());
    running.wait();
    let output = run(&place, &["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    let found = verdicts(&output);
    assert_eq!((found["node"].as_str(), found["keys"].as_str(), found["database"].as_str()), ("fail", "ok", "ok"));
}
