//! Members of a swarm that were away: they catch up, and nobody waits for them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::steps::{
    bodies, median_and_worst, node_status, recv, same_older_records, same_records, send, send_to_swarm, swarms, user,
};
use crate::harness::Figure;
use crate::testnet::{Testnet, list};

pub(super) fn missed(testnet: &Testnet) -> Figure {
    let members = swarms(testnet)[&send_to_swarm(testnet, "alice", "bob", "before")].clone();
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

pub(super) fn wiped(testnet: &Testnet) -> Figure {
    let members = swarms(testnet)[&send_to_swarm(testnet, "alice", "bob", "kept by the others")].clone();
    let wiped = members[1];
    testnet.run(&format!("node kill {wiped}")).ok();
    std::fs::remove_dir_all(testnet.path().join(format!("node{wiped:02}/db"))).unwrap();
    testnet.run(&format!("node restart {wiped} --timeout 60s")).ok();
    let took = same_older_records(testnet, &members);
    let items = node_status(testnet, wiped).unwrap()["swarm_items"].as_u64().unwrap();
    assert_eq!(recv(testnet, "bob").len(), 1);
    Figure(format!("{items} records {:.1} s after it was back", took.as_secs_f64()))
}

/// Sends that are timed with nobody, with one and with three members frozen.
const TIMED: usize = 15;
/// How much longer a send may take with a member frozen.
const FACTOR: f64 = 1.2;
/// What two medians of the same may differ by on a busy machine.
const NOISE: Duration = Duration::from_millis(10);

pub(super) fn frozen(testnet: &Testnet) -> Figure {
    user(testnet, "olga");
    let members = swarms(testnet)[&send_to_swarm(testnet, "alice", "olga", "first")].clone();
    let mut sent = vec!["first".to_owned()];
    let mut times = [0, 1, 3].map(|count| (count, Vec::new()));
    for round in 0..TIMED {
        // In turns, so that a machine that grows slower does so for all; other members each time, as some are asked for
        // more than others.
        for (count, times) in &mut times {
            let frozen: Vec<u64> = members.iter().cycle().skip(round).take(*count).copied().collect();
            let text = format!("in a hurry {round} {count}");
            let document = while_paused(testnet, &frozen, || send(testnet, "alice", "olga", &text)).ok().json();
            sent.push(text);
            let message = &document["message"];
            times.push(Duration::from_secs_f64(message["stored_ms"].as_f64().unwrap() / 1000.0));
        }
    }
    // A member that was frozen may answer before it has caught up.
    same_records(testnet, &members);
    let received = bodies(&recv(testnet, "olga"));
    assert_eq!(received.len(), sent.len(), "{received:?}");
    assert_eq!(received.into_iter().collect::<BTreeSet<_>>(), sent.into_iter().collect());
    let [none, one, three] = times.map(|(_, times)| median_and_worst(&times));
    let allowed = none.0.mul_f64(FACTOR) + NOISE;
    assert!(one.0 <= allowed, "stored after {:?} with a member frozen, {:?} without", one, none);
    let text = |(median, worst): (Duration, Duration)| {
        format!("{:.1} (worst {:.1})", median.as_secs_f64() * 1e3, worst.as_secs_f64() * 1e3)
    };
    Figure(format!("stored after {} ms, one member frozen {} ms, three {} ms", text(none), text(one), text(three)))
}

/// After all that was done to them.
pub(super) fn alike(testnet: &Testnet) -> Figure {
    let swarms = swarms(testnet);
    for members in swarms.values() {
        same_records(testnet, members);
    }
    let records = swarms.values().map(|members| node_status(testnet, members[0]).unwrap()["records"].to_string());
    Figure(format!("{} records", records.collect::<Vec<_>>().join(", ")))
}

/// Does something while these nodes are frozen.
fn while_paused<T>(testnet: &Testnet, nodes: &[u64], act: impl FnOnce() -> T) -> T {
    if nodes.is_empty() {
        return act();
    }
    testnet.run(&format!("node pause {}", list(nodes))).ok();
    let done = act();
    testnet.run(&format!("node resume {}", list(nodes))).ok();
    done
}
