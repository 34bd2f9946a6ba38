//! What `sotto-node status` says, as people see it.

use sotto_node::cli::status::render;
use sotto_node::status::{EvidenceStatus, NodeStatus, Phase, Problem};
use sotto_proto::time::UnixMillis;

/// The status of a node that is well.
pub(crate) fn healthy() -> NodeStatus {
    NodeStatus {
        v: NodeStatus::VERSION,
        kind: NodeStatus::TYPE.to_owned(),
        ok: true,
        ready: true,
        phase: Phase::Ok,
        summary: "active in swarm 3fffffffffffffff, 9/9 members connected, block 812 (final 809)".into(),
        problems: Vec::new(),
        moniker: "gandalf".into(),
        node: "5d".repeat(32),
        operator: Some("9b".repeat(32)),
        chain: "49d2b4591bf30f2b81c012c612c13045109052d6073edd064af3b018540dc89a".into(),
        state: "active".into(),
        swarm: Some("0x3fffffffffffffff".into()),
        tip: 812,
        height: 809,
        behind: None,
        halted: false,
        synced: true,
        silent_since_ms: None,
        connections: 15,
        clients: 2,
        swarm_connected: "9/9".into(),
        clock_offset_ms: Some(-12),
        credit: 312,
        uptime_due_in_blocks: Some(147),
        rewards: "120".into(),
        stake: "100".into(),
        addresses: vec!["/ip4/203.0.113.7/tcp/22020".into()],
        listen: Some("/ip4/0.0.0.0/tcp/22020".into()),
        records: 1290,
        stored_bytes: 5 << 20,
        mail_full: false,
        mail_syncing: false,
        swarm_items: 1204,
        swarm_digest: "c4f2a91b".repeat(4),
        key_rotation_ms: Some(1_790_000_840_000),
        rss_bytes: 21 << 20,
        pid: 4711,
        uptime_ms: 11_520_000,
        version: "0.1.0".into(),
        damage: None,
        evidence: Vec::new(),
        finals: Vec::new(),
    }
}

fn shown(status: &NodeStatus) -> String {
    format!("{}{}", status.phase, render(status, UnixMillis(1_790_000_000_000)))
}

#[test]
fn a_healthy_node_reads_ok() {
    let expected = "\
OK  active in swarm 3fffffffffffffff, 9/9 members connected, block 812 (final 809)

  node        5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d  “gandalf”
  operator    9b9b9b9b9b9b9b9b9b9b9b9b9b9b9b9b9b9b9b9b9b9b9b9b9b9b9b9b9b9b9b9b
  chain       49d2b459, block 812, final 809
  standing    active in swarm 0x3fffffffffffffff
  network     15 nodes (9/9 of its swarm), 2 clients, clock -12 ms
  address     /ip4/203.0.113.7/tcp/22020, listening on /ip4/0.0.0.0/tcp/22020
  mail        1290 records, 5 MiB, 1204 of its swarm (digest c4f2a91b)
  uptime      next proof within 147 blocks, credit 312 blocks
  coins       staked 100, earned 120
  key         changes in 14m
  process     4711, up 3h 12m, 21 MiB, version 0.1.0
";
    assert_eq!(shown(&healthy()), expected);
}

#[test]
fn a_node_with_problems_names_the_worst_first_and_what_to_do() {
    let problem =
        |code: &str, text: &str, advice: &str| Problem { code: code.into(), text: text.into(), advice: advice.into() };
    let status = NodeStatus {
        ok: false,
        ready: false,
        phase: Phase::Problem,
        summary: "the clock is 75 s ahead of the other nodes'".into(),
        problems: vec![
            problem("clock", "the clock is 75 s ahead of the other nodes'", "set it"),
            problem("swarm-links", "only 3 of 9 members of its swarm are connected", "check the firewall"),
        ],
        ..healthy()
    };
    let text = shown(&status);
    let head: Vec<_> = text.lines().take(5).collect();
    assert_eq!(
        head,
        [
            "PROBLEM: the clock is 75 s ahead of the other nodes'",
            "  → set it",
            "         only 3 of 9 members of its swarm are connected",
            "  → check the firewall",
            "",
        ]
    );
}

#[test]
fn a_node_that_catches_up_says_how_far_it_is() {
    let status = NodeStatus {
        ready: false,
        phase: Phase::Starting,
        summary: "catching up: block 120 of 812 (14 %)".into(),
        state: "unregistered".into(),
        swarm: None,
        synced: false,
        uptime_due_in_blocks: None,
        key_rotation_ms: None,
        clock_offset_ms: None,
        addresses: Vec::new(),
        moniker: String::new(),
        ..healthy()
    };
    let text = shown(&status);
    assert!(text.starts_with("STARTING  catching up: block 120 of 812 (14 %)\n\n  node "), "{text}");
    assert!(text.contains("  standing    unregistered\n"), "{text}");
    assert!(text.contains("clock not known yet"), "{text}");
    assert!(text.contains("  address     /ip4/0.0.0.0/tcp/22020\n"), "{text}");
    assert!(!text.contains("coins"), "{text}");
}

#[test]
fn evidence_against_the_producer_is_shown() {
    let pair = |height| EvidenceStatus { height, first: "1a".repeat(32), second: "2b".repeat(32) };
    let row = |evidence| {
        let text = shown(&NodeStatus { evidence, ..healthy() });
        text.lines().find(|line| line.starts_with("  evidence ")).map(str::to_owned)
    };
    assert_eq!(row(Vec::new()), None);
    let one = "  evidence    the producer signed two blocks of height 812: 1a1a1a1a and 2b2b2b2b";
    assert_eq!(row(vec![pair(812)]).as_deref(), Some(one));
    let three = row(vec![pair(812), pair(811), pair(3)]);
    assert_eq!(three, Some(format!("{one}; 2 older cases: status --json")));
}

#[test]
fn the_document_round_trips_and_holds_what_scripts_rely_on() {
    let json = serde_json::to_value(healthy()).unwrap();
    for field in [
        "v",
        "type",
        "ok",
        "ready",
        "summary",
        "moniker",
        "node",
        "state",
        "swarm",
        "tip",
        "height",
        "halted",
        "synced",
        "connections",
        "swarm_connected",
        "clock_offset_ms",
        "credit",
        "uptime_due_in_blocks",
        "rss_bytes",
        "pid",
        "version",
        "finals",
        "evidence",
        "rewards",
    ] {
        assert!(json.get(field).is_some(), "{field}");
    }
    assert_eq!(json["type"], "node.status");
    assert_eq!(serde_json::from_value::<NodeStatus>(json).unwrap(), healthy());
}
