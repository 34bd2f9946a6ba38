//! Messages on a real network of thirty nodes in three swarms or more: they arrive exactly once, whoever dies.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Figure, Harness, nothing};
use crate::testnet::{Finished, Testnet, eventually, finish, program};

const PORTS: u16 = 24_000;
const NODES: u16 = 30;

type Check = (&'static str, fn(&Testnet) -> Figure);

/// In this order, on one testnet.
const CHECKS: &[Check] = &[
    ("messages between users arrive exactly once", verify),
    ("a follower has a message at once", follow),
    ("twenty messages to offline accounts survive the death of two members of each swarm", twenty),
    ("a node that was down has what it missed", missed),
    ("a node that lost its database has all records of its swarm again", wiped),
    ("a frozen member costs a sender nothing", frozen),
    ("a message that cannot be stored waits and is sent later", outbox),
    ("a path can be shown and tested", path),
    ("the commands about messages in the banner work when pasted", pasted),
];

pub(crate) fn run(harness: &mut Harness) {
    const UP: &str = "up shows three messages arrive, one of them past two dead nodes";
    let mut names: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
    names.push(UP);
    if !harness.wants(&names) {
        return;
    }
    let testnet = harness.setup(UP, || {
        let dir = tempfile::tempdir().unwrap();
        let options = ["-n", &NODES.to_string(), "--port-base", &PORTS.to_string()];
        let testnet = Testnet::start_in(dir, &options);
        let users = testnet.json("user list")["users"].as_array().unwrap().len();
        assert_eq!(users, 2, "the demo's");
        let figure = Figure(format!("after {:.1} s", testnet.ready.as_secs_f64()));
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
}

/// A `sotto` command as a user of the testnet.
fn sotto(testnet: &Testnet, user: &str) -> Command {
    let place = testnet.path().join("users").join(user);
    let mut command = program("sotto");
    command.arg("--datadir").arg(place.join("data")).arg("--genesis").arg(testnet.path().join("genesis.json"));
    command.arg("--passphrase-file").arg(place.join("passphrase")).args(["--account", user, "--no-input"]);
    command
}

fn recv(testnet: &Testnet, user: &str) -> Vec<Value> {
    let mut command = sotto(testnet, user);
    command.args(["recv", "--json"]);
    let lines = finish(command).ok().stdout;
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn bodies(messages: &[Value]) -> Vec<String> {
    messages.iter().map(|message| message["data"]["body"].as_str().unwrap().to_owned()).collect()
}

fn user(testnet: &Testnet, name: &str) -> String {
    testnet.json(&format!("user add {name}"))["id"].as_str().unwrap().to_owned()
}

fn send(testnet: &Testnet, from: &str, to: &str, text: &str) -> Finished {
    let mut command = testnet.command(&format!("send {from} {to}"));
    command.arg(text).arg("--json");
    finish(command)
}

/// Numbers of the nodes of each swarm.
fn swarms(testnet: &Testnet) -> BTreeMap<String, Vec<u64>> {
    let manifest = testnet.manifest();
    let numbers = |swarm: &Value| swarm["nodes"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    let swarms = manifest["swarms"].as_array().unwrap();
    swarms.iter().map(|swarm| (swarm["id"].as_str().unwrap().to_owned(), numbers(swarm))).collect()
}

fn list(nodes: &[u64]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn node_status(testnet: &Testnet, index: u64) -> Option<Value> {
    let dir = testnet.path().join(format!("node{index:02}"));
    let mut status = program("sotto-node");
    status.args(["status", "--json", "--datadir"]).arg(dir);
    serde_json::from_str(&finish(status).stdout).ok()
}

/// Waits until all these members have the same records.
fn same_records(testnet: &Testnet, members: &[u64]) -> Duration {
    eventually("all members of the swarm have the same records", Duration::from_secs(60), || {
        let seen: BTreeSet<_> = members
            .iter()
            .map(|index| {
                node_status(testnet, *index)
                    .map(|status| (status["swarm_items"].clone().to_string(), status["swarm_digest"].to_string()))
            })
            .collect();
        seen.len() == 1 && seen.iter().all(|digest| digest.as_ref().is_some_and(|(items, _)| items != "0"))
    })
}

fn verify(testnet: &Testnet) -> Figure {
    let document = testnet.json("verify --messages 12");
    assert_eq!(document["wrong"].as_array().map(Vec::len), Some(0), "{document}");
    Figure(format!("a whole sotto send {} ms", document["stored_median_ms"]))
}

/// Ends with the test.
struct Follower(Child);

impl Drop for Follower {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn follow(testnet: &Testnet) -> Figure {
    user(testnet, "carol");
    let mut command = sotto(testnet, "carol");
    command.args(["recv", "--follow"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut follower = Follower(command.spawn().unwrap());
    let mut said = BufReader::new(follower.0.stderr.take().unwrap()).lines();
    while !said.next().unwrap().unwrap().contains("following at") {}
    let mut shown = BufReader::new(follower.0.stdout.take().unwrap()).lines();
    let mut times = Vec::new();
    for number in 0..5 {
        let text = format!("now {number}");
        let began = Instant::now();
        send(testnet, "alice", "carol", &text).ok();
        let line = shown.next().unwrap().unwrap();
        assert!(line.ends_with(&text), "{line}");
        times.push(began.elapsed());
    }
    times.sort_unstable();
    // Ended in order: a kill between showing and marking would show the last one again.
    let interrupted = Command::new("kill").args(["-s", "INT", &follower.0.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let _ended = follower.0.wait().unwrap();
    assert_eq!(recv(testnet, "carol").len(), 0, "each was shown once");
    Figure(format!("{} ms from typing to showing, two processes and work included", times[2].as_millis()))
}

fn twenty(testnet: &Testnet) -> Figure {
    let names = ["dora", "emil", "fred", "gina"];
    for name in names {
        user(testnet, name);
    }
    let mut sent: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut owners = BTreeSet::new();
    for number in 0..20 {
        let (to, text) = (names[number % names.len()], format!("message {number}"));
        let document = send(testnet, "alice", to, &text).ok().json();
        owners.insert(document["message"]["swarm"].as_str().unwrap().to_owned());
        sent.entry(to).or_default().insert(text);
    }
    let swarms = swarms(testnet);
    let dead: Vec<u64> = owners.iter().flat_map(|swarm| swarms[swarm].iter().take(2).copied()).collect();
    testnet.run(&format!("node kill {}", list(&dead))).ok();
    let received: Vec<_> = names.iter().map(|name| (name, recv(testnet, name), recv(testnet, name))).collect();
    testnet.run(&format!("node restart {} --timeout 60s", list(&dead))).ok();
    for (name, first, again) in received {
        let received = bodies(&first);
        assert_eq!(received.len(), sent[name].len(), "{name}: {received:?}");
        assert_eq!(received.into_iter().collect::<BTreeSet<_>>(), sent[name]);
        assert_eq!(again.len(), 0, "exactly once");
    }
    Figure(format!("{} nodes of {} swarms killed", dead.len(), owners.len()))
}

fn missed(testnet: &Testnet) -> Figure {
    let document = send(testnet, "alice", "bob", "before").ok().json();
    let swarm = document["message"]["swarm"].as_str().unwrap().to_owned();
    let members = swarms(testnet)[&swarm].clone();
    let down = members[0];
    testnet.run(&format!("node kill {down}")).ok();
    for number in 0..5 {
        send(testnet, "alice", "bob", &format!("missed {number}")).ok();
    }
    testnet.run(&format!("node restart {down}")).ok();
    let took = same_records(testnet, &members);
    assert_eq!(recv(testnet, "bob").len(), 6);
    Figure(format!("{:.1} s after it was back", took.as_secs_f64()))
}

fn wiped(testnet: &Testnet) -> Figure {
    let document = send(testnet, "alice", "bob", "kept by the others").ok().json();
    let swarm = document["message"]["swarm"].as_str().unwrap().to_owned();
    let members = swarms(testnet)[&swarm].clone();
    let wiped = members[1];
    testnet.run(&format!("node kill {wiped}")).ok();
    std::fs::remove_dir_all(testnet.path().join(format!("node{wiped:02}/db"))).unwrap();
    testnet.run(&format!("node restart {wiped} --timeout 60s")).ok();
    let took = same_records(testnet, &members);
    let items = node_status(testnet, wiped).unwrap()["swarm_items"].as_u64().unwrap();
    assert_eq!(recv(testnet, "bob").len(), 1);
    Figure(format!("{items} records {:.1} s after it was back", took.as_secs_f64()))
}

fn frozen(testnet: &Testnet) -> Figure {
    let time = || {
        let began = Instant::now();
        let document = send(testnet, "alice", "bob", "in a hurry").ok().json();
        (began.elapsed(), document["message"]["swarm"].as_str().unwrap().to_owned())
    };
    let mut before: Vec<_> = (0..7).map(|_| time()).collect();
    before.sort();
    let frozen = swarms(testnet)[&before[0].1][..3].to_vec();
    testnet.run(&format!("node pause {}", list(&frozen))).ok();
    let mut after: Vec<_> = (0..7).map(|_| time()).collect();
    testnet.run(&format!("node resume {}", list(&frozen))).ok();
    after.sort();
    assert_eq!(recv(testnet, "bob").len(), 14);
    Figure(format!(
        "a whole send {} ms, with three of the swarm frozen {} ms",
        before[3].0.as_millis(),
        after[3].0.as_millis()
    ))
}

/// The outbox survives: with too few members alive nothing is stored, and nothing is lost.
fn outbox(testnet: &Testnet) -> Figure {
    let document = send(testnet, "alice", "bob", "first").ok().json();
    let members = swarms(testnet)[document["message"]["swarm"].as_str().unwrap()].clone();
    let bob = user(testnet, "bob");
    let dead = list(&members[1..]);
    testnet.run(&format!("node kill {dead}")).ok();
    let mut waiting = sotto(testnet, "alice");
    waiting.args(["send", &bob, "-m", "patience", "--json"]);
    finish(waiting).failed_with(3);
    testnet.run(&format!("node restart {dead} --timeout 60s")).ok();
    testnet.run("wait --until ready --timeout 60s").ok();
    eventually("the message goes with the next occasion", Duration::from_secs(60), || {
        let mut status = sotto(testnet, "alice");
        status.args(["recv", "--json"]);
        finish(status).ok();
        bodies(&recv(testnet, "bob")).contains(&"patience".to_owned())
    });
    assert_eq!(recv(testnet, "bob").len(), 0);
    nothing()
}

fn path(testnet: &Testnet) -> Figure {
    let mut show = sotto(testnet, "alice");
    show.args(["path", "show", "--json"]);
    let shown = finish(show).ok().json();
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

fn pasted(testnet: &Testnet) -> Figure {
    let commands: Vec<String> = testnet
        .banner
        .lines()
        .filter_map(|line| line.strip_prefix("   "))
        .map(|line| line.split("  (").next().unwrap().trim().to_owned())
        .collect();
    let export = &commands[0];
    let ours: Vec<_> = commands
        .iter()
        .filter(|command| ["send", "recv", "verify"].iter().any(|verb| command.contains(verb)))
        .collect();
    assert_eq!(ours.len(), 3, "{}", testnet.banner);
    for command in ours {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{export}\n{command}")).current_dir(testnet.dir.path()).env_remove("SOTTO_BIN_DIR");
        finish(shell).ok();
    }
    nothing()
}
