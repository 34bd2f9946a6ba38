//! The first node of a path: another stands in for it while it is away, and no longer.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::steps::{send, send_to_swarm, sotto, user};
use crate::harness::Figure;
use crate::testnet::{Testnet, eventually, finish};

/// How long a send may take whose first guard is away.
const WITHOUT_GUARD: Duration = Duration::from_secs(15);
/// How long after its return the guard may be left aside.
const AGAIN: Duration = Duration::from_secs(60);

pub(super) fn path(testnet: &Testnet) -> Figure {
    let shown = path_of(testnet, "alice");
    let hops = shown["hops"].as_array().unwrap();
    let operators: BTreeSet<_> = hops.iter().map(|hop| hop["operator"].to_string()).collect();
    assert_eq!((hops.len(), operators.len()), (3, 3), "{shown}");
    let mut test = sotto(testnet, "alice");
    test.args(["path", "test", "--count", "200", "--json"]);
    let document = finish(test).ok().json();
    Figure(format!(
        "build {} ms, new tunnel {} ms, question in an open one {} ms, p99 {} ms",
        document["build_ms"], document["tunnel_ms"], document["question_p50_ms"], document["question_p99_ms"]
    ))
}

fn path_of(testnet: &Testnet, user: &str) -> Value {
    let mut show = sotto(testnet, user);
    show.args(["path", "show", "--json"]);
    finish(show).ok().json()
}

fn guard_of(testnet: &Testnet, user: &str) -> Value {
    path_of(testnet, user)["hops"][0].clone()
}

/// Connections to it are refused.
pub(super) fn dead(testnet: &Testnet) -> Figure {
    stood_in_for(testnet, "sven", "kill", "restart")
}

/// Connections to it are taken, and nothing is answered.
pub(super) fn silent(testnet: &Testnet) -> Figure {
    stood_in_for(testnet, "tina", "pause", "resume")
}

fn stood_in_for(testnet: &Testnet, name: &str, away: &str, back: &str) -> Figure {
    user(testnet, name);
    let first = guard_of(testnet, name);
    let to = elsewhere(testnet, name, first["swarm"].as_str().unwrap());
    let number = number_of(testnet, first["node"].as_str().unwrap());
    testnet.run(&format!("node {away} {number}")).ok();
    let began = Instant::now();
    let sent = send(testnet, name, &to, "by another way");
    let took = began.elapsed();
    let second = std::panic::catch_unwind(|| guard_of(testnet, name));
    // Whatever came of it: the checks after this one want all nodes.
    testnet.run(&format!("node {back} {number}")).ok();
    sent.ok();
    assert!(took < WITHOUT_GUARD, "{took:?}");
    assert_ne!(second.unwrap()["node"], first["node"]);
    let again = eventually("the first guard is used again", AGAIN, || guard_of(testnet, name)["node"] == first["node"]);
    Figure(format!(
        "a whole send {} ms; the first guard was used again {:.1} s after its return",
        took.as_millis(),
        again.as_secs_f64()
    ))
}

/// A user whose mail is kept by another swarm: the guard would not begin a path to its own.
fn elsewhere(testnet: &Testnet, from: &str, swarm: &str) -> String {
    let others = (0..10).map(|number| format!("far{number}"));
    let mut elsewhere = others.inspect(|other| drop(user(testnet, other)));
    elsewhere.find(|other| send_to_swarm(testnet, from, other, "where are you?") != swarm).unwrap()
}

pub(super) fn number_of(testnet: &Testnet, node: &str) -> u64 {
    let manifest = testnet.manifest();
    let nodes = manifest["nodes"].as_array().unwrap();
    nodes.iter().find(|entry| entry["id"] == node).unwrap()["i"].as_u64().unwrap()
}
