//! Fifty nodes: they agree, and agree again after everything that is done to them.
//!
//! Figures are printed, not judged: a loaded machine is not a defect. The bounds below are those of promises that hold
//! on any machine, or are far above what was measured.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use sotto_testnet::{figures, http};

use crate::draws::Draws;
use crate::harness::{Figure, Harness, nothing};
use crate::messages::session;
use crate::testnet::{Testnet, eventually, finish, list, program};

const PORTS: u16 = 23_000;
const NODES: u16 = 50;
/// How long nodes are killed and restarted.
const CHURN: Duration = Duration::from_secs(120);
/// Nodes down at a time: ten in a hundred.
const DOWN_AT_ONCE: usize = 5;

type Check = (&'static str, fn(&Testnet) -> Figure);

/// In this order, on one testnet.
const CHECKS: &[Check] = &[
    ("an idle testnet leaves the machine cool", idle),
    ("the fifty-first node gives birth to a sixth swarm and all agree", sixth_swarm),
    ("all agree after a reorganisation of three blocks", reorganisation),
    ("all agree after the producer was killed and restarted", producer_killed),
    ("a stalled producer stops nobody and all agree when it goes on", producer_stalled),
    ("all follow a slow producer", producer_slow),
    ("all agree after two heads", two_heads),
    ("all agree after an equivocation", equivocation),
    ("blocks asked for at once are followed by all", produced_at_once),
    ("one restarted node is back at once", one_restart),
    ("a frozen node catches up", frozen_node),
    ("all agree within ten seconds after two minutes of killing and restarting a tenth of the nodes", churn),
    ("two users and a bot talk while clients, a daemon and nodes are killed: equal histories", session::long),
    ("all fifty restart and agree", all_restart),
];

pub(crate) fn run(harness: &mut Harness) {
    const UP: &str = "fifty nodes form five swarms of ten and agree on every root";
    const DOWN: &str = "fifty nodes end with ctrl-c";
    let mut names: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
    names.extend([UP, DOWN]);
    if !harness.wants(&names) {
        return;
    }
    let testnet = harness.setup(UP, || {
        let testnet = Testnet::start(NODES, PORTS);
        five_by_ten(&testnet);
        let figure = Figure(format!("ready after {:.1} s", testnet.ready.as_secs_f64()));
        (testnet, figure)
    });
    let Some(testnet) = testnet else {
        for name in names.iter().filter(|name| **name != UP) {
            harness.skip_as_failed(name, "no testnet");
        }
        return;
    };
    for (name, check) in CHECKS {
        harness.check(name, || check(&testnet));
    }
    harness.check(DOWN, || {
        let started = Instant::now();
        let (_dir, code) = testnet.end_with("INT");
        assert_eq!(code, Some(0));
        Figure(format!("{:.1} s", started.elapsed().as_secs_f64()))
    });
}

/// Sizes of the swarms, ascending.
fn sizes(document: &Value) -> Vec<usize> {
    let swarms = document["swarms"].as_array().unwrap();
    let mut sizes: Vec<usize> = swarms.iter().map(|swarm| swarm["nodes"].as_array().unwrap().len()).collect();
    sizes.sort_unstable();
    sizes
}

fn five_by_ten(testnet: &Testnet) {
    let ready = testnet.json("wait --until ready --timeout 20s");
    assert_eq!(sizes(&ready), [10, 10, 10, 10, 10]);
    for root in ["block_hash", "state_root", "list_root", "swarm_map"] {
        assert_eq!(ready["agreed"][root].as_str().unwrap().len(), 64, "{ready}");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn idle(testnet: &Testnet) -> Figure {
    let manifest = testnet.manifest();
    let pid = |process: &Value| u32::try_from(process["pid"].as_u64().unwrap()).unwrap();
    let nodes: Vec<u32> = manifest["nodes"].as_array().unwrap().iter().map(pid).collect();
    let measured = runtime().block_on(figures::measure(pid(&manifest["producer"]), &nodes, testnet.ready)).unwrap();
    // A node that spins takes a whole core; a leak at the start is far above.
    assert!(measured.idle_cpu_percent < 100.0, "{measured:?}");
    assert!(measured.rss_max < 64 << 20, "{measured:?}");
    Figure(measured.to_text().split_whitespace().collect::<Vec<_>>().join(" "))
}

fn sixth_swarm(testnet: &Testnet) -> Figure {
    let added = testnet.json("node add");
    assert_eq!(added["indices"], serde_json::json!([50]));
    assert_eq!(sizes(&added).len(), 6, "{added}");
    assert_eq!(sizes(&added).iter().sum::<usize>(), 51, "{added}");
    Figure(format!("{} ms", added["elapsed_ms"]))
}

fn reorganisation(testnet: &Testnet) -> Figure {
    let before = producer_status(testnet);
    testnet.run("chain fault reorg 3").ok();
    testnet.agree_on(4, 30);
    let tip = before["tip"].as_u64().unwrap();
    let kept = final_hash(&before, before["height"].as_u64().unwrap());
    let after = producer_status(testnet);
    assert_ne!(final_hash(&after, tip), before["block_hash"], "no block was replaced");
    assert_eq!(final_hash(&after, before["height"].as_u64().unwrap()), kept, "a final block was replaced");
    assert_eq!(final_hash(&node_status(testnet, 0), tip), final_hash(&after, tip));
    let refused = testnet.run("chain fault reorg 4");
    refused.failed_with(10);
    nothing()
}

fn producer_status(testnet: &Testnet) -> Value {
    let address = testnet.manifest()["producer"]["http"].as_str().unwrap().parse().unwrap();
    runtime().block_on(http::get(address, "/status")).unwrap()
}

/// The hash of a final block by a producer's or a node's status.
fn final_hash(status: &Value, height: u64) -> String {
    let finals = status["finals"].as_array().unwrap();
    let block = finals.iter().find(|block| block["height"] == height);
    block.unwrap_or_else(|| panic!("no final block {height}: {status}"))["block_hash"].as_str().unwrap().to_owned()
}

fn producer_killed(testnet: &Testnet) -> Figure {
    let before = testnet.tip();
    testnet.run("chain kill").ok();
    testnet.run("chain height").failed_with(3);
    let restarted = testnet.json("chain restart");
    assert!(testnet.tip() >= before, "a signed block was lost");
    testnet.agree_on(4, 30);
    Figure(format!("producer back after {} ms", restarted["ready_ms"]))
}

fn producer_stalled(testnet: &Testnet) -> Figure {
    testnet.run("chain stop").ok();
    let stalled = testnet.tip();
    let says_so = |node: &Value| {
        let summary = node["status"]["summary"].as_str();
        summary.is_some_and(|summary| summary.starts_with("the chain is silent since"))
    };
    let noticed = eventually("all nodes say that the chain is silent", Duration::from_secs(30), || {
        testnet.run("status --json").json()["nodes"].as_array().unwrap().iter().all(says_so)
    });
    assert!(testnet.tip() <= stalled + 1, "blocks went on");
    let silent = testnet.json("status");
    assert!(silent["agreed"]["height"].as_u64().is_some(), "nodes answer while the chain is silent: {silent}");
    testnet.run("chain resume").ok();
    testnet.agree_on(3, 30);
    Figure(format!("all noticed after {:.1} s", noticed.as_secs_f64()))
}

fn producer_slow(testnet: &Testnet) -> Figure {
    testnet.run("chain fault slow 3s").ok();
    let (started, before) = (Instant::now(), testnet.tip());
    testnet.agree_on(2, 30);
    let (blocks, seconds) = (testnet.tip() - before, started.elapsed().as_secs_f64());
    testnet.run("chain resume").ok();
    testnet.agree_on(2, 30);
    Figure(format!("{blocks} blocks in {seconds:.1} s"))
}

fn two_heads(testnet: &Testnet) -> Figure {
    testnet.run("chain fault two-heads 3").ok();
    testnet.agree_on(6, 30);
    // The first of two blocks of a height is the one that a node was on when it saw the other.
    let mut heads = BTreeMap::<u64, BTreeMap<String, usize>>::new();
    let manifest = testnet.manifest();
    for index in 0..manifest["nodes"].as_array().unwrap().len() {
        for evidence in node_status(testnet, index)["evidence"].as_array().unwrap() {
            let height = heads.entry(evidence["height"].as_u64().unwrap()).or_default();
            *height.entry(evidence["first"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    let split: Vec<_> = heads.values().filter(|heads| heads.len() == 2).map(|heads| heads.values()).collect();
    assert!(!split.is_empty(), "all nodes saw the same branch first: {heads:?}");
    Figure(format!("nodes on either branch, by height: {split:?}"))
}

fn node_status(testnet: &Testnet, index: usize) -> Value {
    let mut status = program("sotto-node");
    status.args(["status", "--json", "--datadir"]).arg(testnet.path().join(format!("node{index:02}")));
    finish(status).json()
}

fn equivocation(testnet: &Testnet) -> Figure {
    testnet.run("chain fault equivocate").ok();
    testnet.agree_on(4, 30);
    nothing()
}

fn produced_at_once(testnet: &Testnet) -> Figure {
    let before = testnet.tip();
    testnet.run("chain produce 20").ok();
    assert!(testnet.tip() >= before + 20);
    testnet.agree_on(3, 30);
    nothing()
}

fn one_restart(testnet: &Testnet) -> Figure {
    let mut times: Vec<u64> = ["7", "17", "27", "37", "47"]
        .map(|index| testnet.json(&format!("node restart {index}"))["ready_ms"].as_u64().unwrap())
        .to_vec();
    times.sort_unstable();
    assert!(times[2] < 5_000, "{times:?} ms");
    Figure(format!("{times:?} ms"))
}

fn frozen_node(testnet: &Testnet) -> Figure {
    testnet.run("node pause 11,22").ok();
    let before = testnet.tip();
    testnet.run("chain produce 10").ok();
    assert!(testnet.tip() >= before + 10, "frozen nodes hold nobody up");
    testnet.run("node resume 11,22").ok();
    testnet.agree_on(2, 30);
    nothing()
}

fn churn(testnet: &Testnet) -> Figure {
    let mut draws = Draws(42);
    let all: Vec<u64> = (0..u64::from(NODES)).collect();
    let started = Instant::now();
    let mut kills = 0;
    let mut restarted = started;
    while started.elapsed() < CHURN {
        let nodes = list(&draws.nodes(&all, DOWN_AT_ONCE));
        testnet.run(&format!("node kill {nodes}")).ok();
        kills += DOWN_AT_ONCE;
        // Long enough that the others go on without them, short enough for many rounds.
        std::thread::sleep(Duration::from_millis(1_000 + 500 * draws.below(4)));
        restarted = Instant::now();
        testnet.run(&format!("node restart {nodes}")).ok();
    }
    testnet.agree_on(1, 30);
    let took = restarted.elapsed();
    assert!(took <= Duration::from_secs(10), "all agreed only {took:?} after the last restart");
    testnet.run("wait --until ready --timeout 10s").ok();
    Figure(format!("{kills} kills; all agreed {:.1} s after the last restart", took.as_secs_f64()))
}

fn all_restart(testnet: &Testnet) -> Figure {
    let restarted = testnet.json("node restart all");
    let started = Instant::now();
    testnet.agree_on(1, 30);
    let ready = Duration::from_millis(restarted["ready_ms"].as_u64().unwrap());
    assert!(ready <= Duration::from_secs(10), "all were ready only after {ready:?}");
    Figure(format!(
        "ready after {:.1} s, a new block agreed on {:.1} s later",
        ready.as_secs_f64(),
        started.elapsed().as_secs_f64()
    ))
}
