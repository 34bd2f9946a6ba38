use super::*;
use crate::cli::doctor::Verdict;

const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

fn status() -> NodeStatus {
    let document = serde_json::json!({
        "v": 1, "type": "node.status", "ok": true, "ready": true, "phase": "ok", "summary": "active in swarm 3fff",
        "problems": [], "moniker": "", "node": "5d".repeat(32), "operator": null, "chain": "49d2b459",
        "state": "active", "swarm": "0x3fffffffffffffff", "tip": 812, "height": 809, "behind": null, "halted": false,
        "synced": true, "silent_since_ms": null, "connections": 9, "clients": 0, "swarm_connected": "3/3",
        "clock_offset_ms": -12, "credit": 312, "uptime_due_in_blocks": 147, "rewards": "0", "stake": "100",
        "addresses": ["/ip4/203.0.113.7/tcp/22020"], "listen": "/ip4/0.0.0.0/tcp/22020", "key_rotation_ms": null,
        "rss_bytes": 0, "pid": 4711, "uptime_ms": 11_520_000, "version": "0.1.0", "finals": [],
    });
    serde_json::from_value(document).unwrap()
}

fn member(digits: &str, own: bool, connected: bool, agrees: Option<bool>) -> MemberStatus {
    MemberStatus {
        node: digits.repeat(32),
        own,
        addresses: Vec::new(),
        connected,
        compared_ms_ago: agrees.map(|_| 1000),
        agrees,
    }
}

fn swarm_of(members: Vec<MemberStatus>) -> SwarmStatus {
    SwarmStatus {
        v: SwarmStatus::VERSION,
        kind: SwarmStatus::TYPE.into(),
        node: "5d".repeat(32),
        swarm: Some("0x3fffffffffffffff".into()),
        height: 809,
        members,
        records: 7,
        bytes: 7,
        to_hand_over: 0,
        syncing: false,
        items: 7,
        digest: "c4f2a91b".repeat(4),
    }
}

fn equal() -> SwarmStatus {
    let others = ["1a", "2b", "3c"].map(|digits| member(digits, false, true, Some(true)));
    swarm_of(others.into_iter().chain([member("5d", true, false, None)]).collect())
}

#[test]
fn a_node_that_is_well_passes_everything() {
    let (status, all) = (status(), equal());
    let last = Some((Height(812), UnixMillis(NOW.0 - 2_000)));
    let found = [
        node(&status),
        clock(&status),
        chain(&status, last, NOW),
        registration(&status),
        swarm(&status, &all),
        records(&all),
    ];
    assert!(found.iter().all(|finding| finding.verdict == Verdict::Ok && finding.advice.is_none()), "{found:?}");
    let texts = found.map(|finding| finding.text);
    assert_eq!(texts[2], "block 812 (final 809), made 2s ago");
    assert_eq!(texts[4], "0x3fffffffffffffff: 3 of 3 other members linked");
    assert_eq!(texts[5], "7 records and tombstones of its swarm (digest c4f2a91b), the same at 3 of 3 other members");
}

#[test]
fn a_clock_warns_before_it_fails() {
    for (offset, verdict) in [
        (None, Verdict::Warn),
        (Some(5_000), Verdict::Ok),
        (Some(-5_001), Verdict::Warn),
        (Some(60_001), Verdict::Fail),
        (Some(i64::MIN), Verdict::Fail),
    ] {
        assert_eq!(clock(&NodeStatus { clock_offset_ms: offset, ..status() }).verdict, verdict, "{offset:?}");
    }
}

#[test]
fn a_chain_that_stands_still_fails_and_one_that_is_behind_warns() {
    let verdict = |status: NodeStatus| chain(&status, None, NOW).verdict;
    assert_eq!(verdict(NodeStatus { silent_since_ms: Some(NOW.0), ..status() }), Verdict::Fail);
    assert_eq!(verdict(NodeStatus { halted: true, ..status() }), Verdict::Fail);
    assert_eq!(verdict(NodeStatus { behind: Some(900), synced: false, ..status() }), Verdict::Warn);
    assert_eq!(verdict(NodeStatus { synced: false, ..status() }), Verdict::Warn);
}

#[test]
fn what_the_chain_has_of_the_node_is_judged_by_its_state() {
    for (state, verdict) in [
        ("active", Verdict::Ok),
        ("joining", Verdict::Warn),
        ("exiting", Verdict::Warn),
        ("unregistered", Verdict::Warn),
        ("decommissioned", Verdict::Fail),
    ] {
        assert_eq!(registration(&NodeStatus { state: state.into(), ..status() }).verdict, verdict, "{state}");
    }
}

#[test]
fn members_that_are_absent_or_differ_are_named() {
    let few = |linked: usize| {
        let others = ["1a", "2b", "3c"].iter().enumerate();
        swarm_of(others.map(|(place, digits)| member(digits, false, place < linked, None)).collect())
    };
    let two = swarm(&status(), &few(2));
    assert_eq!((two.verdict, two.text.ends_with("2 of 3 other members linked, not 3c3c3c3c")), (Verdict::Warn, true));
    assert_eq!(swarm(&status(), &few(1)).verdict, Verdict::Fail);
    assert_eq!(records(&few(3)).verdict, Verdict::Warn, "compared with nobody");

    let mut differing = equal();
    differing.members[1].agrees = Some(false);
    let finding = records(&differing);
    assert_eq!((finding.verdict, finding.text.contains("2b2b2b2b had others")), (Verdict::Warn, true), "{finding:?}");
    let outside = SwarmStatus { swarm: None, members: Vec::new(), ..equal() };
    assert_eq!(swarm(&status(), &outside).verdict, Verdict::Warn);
    let exiting = NodeStatus { state: "exiting".into(), ..status() };
    assert_eq!(swarm(&exiting, &outside).verdict, Verdict::Ok);
}

#[test]
fn one_node_that_has_dialled_shows_that_the_way_in_is_open() {
    let peer = |class, direction| PeerStatus {
        peer: "1a".repeat(32),
        class,
        direction: Some(direction),
        registered_addresses: Vec::new(),
        connected_ms: Some(1000),
    };
    let peers = |peers: Vec<PeerStatus>| PeersStatus {
        v: PeersStatus::VERSION,
        kind: PeersStatus::TYPE.into(),
        count: peers.len(),
        peers,
        banned: Vec::new(),
    };
    let out = || peer(PeerClass::Member, PeerDirection::Out);
    let came = reachable(&status(), &peers(vec![out(), peer(PeerClass::Node, PeerDirection::In)]));
    assert_eq!(came, Finding::ok("reachable", "1 of 2 connected nodes have dialled this one"));
    let client = peer(PeerClass::Client, PeerDirection::In);
    let finding = reachable(&status(), &peers(vec![out(), client]));
    assert_eq!(finding.verdict, Verdict::Warn, "a client tells nothing of other nodes");
    assert!(finding.advice.is_some_and(|advice| advice.contains("/ip4/203.0.113.7/tcp/22020")));
    let hidden = NodeStatus { addresses: Vec::new(), ..status() };
    assert_eq!(reachable(&hidden, &peers(vec![out()])).verdict, Verdict::Ok);
}
