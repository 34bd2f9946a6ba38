//! `sotto` killed without warning at every step: nothing is lost, and nothing comes twice that was not in hand.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::steps::{bodies, parsed, recv, send, sotto, user};
use crate::harness::Figure;
use crate::testnet::{Testnet, eventually};

/// Steps that a send has at most.
const STEPS: usize = 20;
/// How long after a step the process is killed: at once, and in the midst of what follows.
const DELAYS: [Duration; 2] = [Duration::ZERO, Duration::from_millis(4)];

pub(super) fn sending(testnet: &Testnet) -> Figure {
    user(testnet, "jack");
    let kate = user(testnet, "kate");
    let mut sent = BTreeSet::new();
    for delay in DELAYS {
        for number in 1..=STEPS {
            let text = format!("killed {} ms after step {number}", delay.as_millis());
            let step = kill_send(testnet, &kate, &text, number, delay);
            sent.insert(text);
            if step["stored"] == step["wanted"] && step["phase"] == "stored" {
                break;
            }
        }
    }
    let mut received = Vec::new();
    eventually("what waited is sent with the next occasion", Duration::from_secs(60), || {
        recv(testnet, "jack");
        received.extend(bodies(&recv(testnet, "kate")));
        received.len() >= sent.len()
    });
    recv(testnet, "jack");
    received.extend(bodies(&recv(testnet, "kate")));
    assert_eq!(received.len(), sent.len(), "{received:?}");
    assert_eq!(received.into_iter().collect::<BTreeSet<_>>(), sent);
    Figure(format!("{} kills", sent.len()))
}

/// Sends and kills the process after so many steps; returns the last step it told.
fn kill_send(testnet: &Testnet, to: &str, text: &str, steps: usize, delay: Duration) -> Value {
    let mut command = sotto(testnet, "jack");
    command.args(["send", to, "-m", text, "--json", "--progress", "json"]);
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let told = BufReader::new(process.stderr.take().unwrap()).lines().take(steps).last().unwrap().unwrap();
    std::thread::sleep(delay);
    process.kill().unwrap();
    process.wait().unwrap();
    serde_json::from_str(&told).unwrap()
}

pub(super) fn receiving(testnet: &Testnet) -> Figure {
    const MESSAGES: usize = 8;
    /// After so many lines each process is killed.
    const KILLS: [usize; 5] = [1, 1, 2, 1, 2];
    user(testnet, "lena");
    for number in 0..MESSAGES {
        send(testnet, "alice", "lena", &format!("letter {number}")).ok();
    }
    let mut runs: Vec<_> = KILLS.iter().map(|lines| kill_recv(testnet, *lines)).collect();
    runs.push(recv(testnet, "lena"));
    assert_eq!(recv(testnet, "lena").len(), 0);
    let mut copies: BTreeMap<String, usize> = BTreeMap::new();
    for message in runs.iter().flatten() {
        *copies.entry(message["data"]["id"].to_string()).or_default() += 1;
    }
    assert_eq!(copies.len(), MESSAGES, "nothing is missing: {runs:#?}");
    // Marked as shown after it was written out: only the last line of a killed process may come again, in the next.
    let repeated = runs.windows(2).filter(|two| two[0].last().is_some_and(|last| two[1].first() == Some(last))).count();
    assert_eq!(copies.values().sum::<usize>(), MESSAGES + repeated, "{runs:#?}");
    let written: Vec<_> = runs.iter().map(Vec::len).collect();
    Figure(format!("lines written before each kill and in the end {written:?}, {repeated} of them again"))
}

/// Receives and kills the process after so many lines; returns all that it wrote.
fn kill_recv(testnet: &Testnet, lines: usize) -> Vec<Value> {
    let mut command = sotto(testnet, "lena");
    command.args(["recv", "--json"]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let mut written = String::new();
    for _ in 0..lines {
        output.read_line(&mut written).unwrap();
    }
    process.kill().unwrap();
    process.wait().unwrap();
    output.read_to_string(&mut written).unwrap();
    parsed(&written)
}
