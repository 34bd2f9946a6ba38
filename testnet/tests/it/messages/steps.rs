//! What the checks are made of: commands as a user, and looking at swarms.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::Value;

use crate::testnet::{Finished, Testnet, eventually, finish, program};

/// A `sotto` command as a user of the testnet.
pub(super) fn sotto(testnet: &Testnet, user: &str) -> Command {
    let place = testnet.path().join("users").join(user);
    let mut command = program("sotto");
    command.arg("--datadir").arg(place.join("data")).arg("--genesis").arg(testnet.path().join("genesis.json"));
    command.arg("--passphrase-file").arg(place.join("passphrase")).args(["--account", user, "--no-input"]);
    command
}

/// Makes a user, or finds it; returns the account's id.
pub(super) fn user(testnet: &Testnet, name: &str) -> String {
    testnet.json(&format!("user add {name}"))["id"].as_str().unwrap().to_owned()
}

pub(super) fn send(testnet: &Testnet, from: &str, to: &str, text: &str) -> Finished {
    let mut command = testnet.command(&format!("send {from} {to}"));
    command.arg(text).arg("--json");
    finish(command)
}

/// Sends a message; returns the swarm that keeps it.
pub(super) fn send_to_swarm(testnet: &Testnet, from: &str, to: &str, text: &str) -> String {
    let document = send(testnet, from, to, text).ok().json();
    document["message"]["swarm"].as_str().unwrap().to_owned()
}

/// What waits for a user.
pub(super) fn recv(testnet: &Testnet, user: &str) -> Vec<Value> {
    let mut command = sotto(testnet, user);
    command.args(["recv", "--json"]);
    parsed(&finish(command).ok().stdout)
}

/// Documents, one in a line.
pub(super) fn parsed(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(super) fn bodies(messages: &[Value]) -> Vec<String> {
    messages.iter().map(|message| message["data"]["body"].as_str().unwrap().to_owned()).collect()
}

/// Numbers of the nodes of each swarm.
pub(super) fn swarms(testnet: &Testnet) -> BTreeMap<String, Vec<u64>> {
    let manifest = testnet.manifest();
    let numbers = |swarm: &Value| swarm["nodes"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    let swarms = manifest["swarms"].as_array().unwrap();
    swarms.iter().map(|swarm| (swarm["id"].as_str().unwrap().to_owned(), numbers(swarm))).collect()
}

pub(super) fn node_status(testnet: &Testnet, index: u64) -> Option<Value> {
    let dir = testnet.path().join(format!("node{index:02}"));
    let mut status = program("sotto-node");
    status.args(["status", "--json", "--datadir"]).arg(dir);
    serde_json::from_str(&finish(status).stdout).ok()
}

/// Waits until all these members have the same records.
pub(super) fn same_records(testnet: &Testnet, members: &[u64]) -> Duration {
    // Digests leave out what came in the last seconds; so that it counts as well, members must have equally many, too.
    same(testnet, members, |status| Some((status["records"].as_u64()?, digest(status)?)))
}

/// Waits until all these members have the same records but for those of the last seconds, which a member that was away
/// is told of with its next repair.
pub(super) fn same_older_records(testnet: &Testnet, members: &[u64]) -> Duration {
    same(testnet, members, |status| (status["swarm_items"].as_u64()? > 0).then(|| digest(status)).flatten())
}

fn digest(status: &Value) -> Option<String> {
    status["swarm_digest"].as_str().map(str::to_owned)
}

fn same<T: Ord>(testnet: &Testnet, members: &[u64], held: impl Fn(&Value) -> Option<T>) -> Duration {
    eventually("all members of the swarm have the same records", Duration::from_secs(60), || {
        let seen: BTreeSet<_> =
            members.iter().map(|index| node_status(testnet, *index).and_then(|status| held(&status))).collect();
        seen.len() == 1 && !seen.contains(&None)
    })
}

/// The middle and the largest of some times.
pub(super) fn median_and_worst(times: &[Duration]) -> (Duration, Duration) {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    (sorted[sorted.len() / 2], sorted[sorted.len() - 1])
}

/// Sends a process a signal.
pub(super) fn signal(process: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &process.id().to_string()]).status().unwrap();
    assert!(sent.success());
}
