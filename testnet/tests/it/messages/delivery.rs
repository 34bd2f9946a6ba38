//! Messages to offline accounts, through a network of which parts are dead or silent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::steps::{bodies, median_and_worst, recv, same_records, send, send_to_swarm, sotto, swarms, user};
use crate::draws::Draws;
use crate::harness::{Figure, nothing};
use crate::testnet::{Testnet, eventually, finish, list};

pub(super) fn verify(testnet: &Testnet) -> Figure {
    let document = testnet.json("verify --messages 12");
    assert_eq!(document["wrong"].as_array().map(Vec::len), Some(0), "{document}");
    Figure(format!("a whole sotto send {} ms", document["stored_median_ms"]))
}

pub(super) fn twenty(testnet: &Testnet) -> Figure {
    let names = ["dora", "emil", "fred", "gina"];
    for name in names {
        user(testnet, name);
    }
    let mut sent: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut owners = BTreeSet::new();
    for number in 0..20 {
        let (to, text) = (names[number % names.len()], format!("message {number}"));
        owners.insert(send_to_swarm(testnet, "alice", to, &text));
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

/// The outbox survives: with too few members alive nothing is stored, and nothing is lost.
pub(super) fn outbox(testnet: &Testnet) -> Figure {
    let members = swarms(testnet)[&send_to_swarm(testnet, "alice", "bob", "first")].clone();
    same_records(testnet, &members);
    assert_eq!(recv(testnet, "bob").len(), 1);
    let bob = user(testnet, "bob");
    let dead = list(&members[1..]);
    testnet.run(&format!("node kill {dead}")).ok();
    let mut waiting = sotto(testnet, "alice");
    waiting.args(["send", &bob, "-m", "patience", "--json"]);
    finish(waiting).failed_with(3);
    testnet.run(&format!("node restart {dead} --timeout 60s")).ok();
    testnet.run("wait --until ready --timeout 60s").ok();
    eventually("the message goes with the next occasion", Duration::from_secs(60), || {
        recv(testnet, "alice");
        bodies(&recv(testnet, "bob")).contains(&"patience".to_owned())
    });
    assert_eq!(recv(testnet, "bob").len(), 0);
    nothing()
}

/// Nodes that may be hops are silent, a fifth of them: connections are taken, nothing is answered.
pub(super) fn silent_hops(testnet: &Testnet) -> Figure {
    const MESSAGES: usize = 20;
    user(testnet, "hugo");
    user(testnet, "ines");
    let ends = [send_to_swarm(testnet, "ines", "hugo", "first"), send_to_swarm(testnet, "hugo", "ines", "first")];
    let swarms = swarms(testnet);
    let outside: Vec<u64> =
        swarms.iter().filter(|(id, _)| !ends.contains(id)).flat_map(|(_, nodes)| nodes.iter().copied()).collect();
    let silent = Draws(std::process::id().into()).nodes(&outside, outside.len().div_ceil(5));
    testnet.run(&format!("node pause {}", list(&silent))).ok();
    let mut ended = Vec::new();
    let mut times = Vec::new();
    for number in 0..MESSAGES {
        let began = Instant::now();
        ended.push(send(testnet, "hugo", "ines", &format!("past the silent {number}")));
        times.push(began.elapsed());
    }
    testnet.run(&format!("node resume {}", list(&silent))).ok();
    for send in ended {
        send.ok();
    }
    same_records(testnet, &swarms[&ends[1]]);
    let mut received = bodies(&recv(testnet, "ines"));
    received.retain(|text| text != "first");
    assert_eq!(received.len(), MESSAGES, "{received:?}");
    assert_eq!(received.iter().collect::<BTreeSet<_>>().len(), MESSAGES, "{received:?}");
    assert_eq!(recv(testnet, "ines").len(), 0);
    let (median, worst) = median_and_worst(&times);
    Figure(format!(
        "{} of {} possible hops silent: a whole send {} ms, at worst {} ms",
        silent.len(),
        outside.len(),
        median.as_millis(),
        worst.as_millis()
    ))
}

pub(super) fn pasted(testnet: &Testnet) -> Figure {
    let pasted = testnet.paste(|command| ["send", "recv", "verify"].iter().any(|verb| command.contains(verb)));
    assert_eq!(pasted, 3, "{}", testnet.banner);
    nothing()
}
