//! A long conversation: two users and a bot, while clients, a daemon and nodes are killed.
//!
//! Messages go straight or into the mailbox, as it comes. One user types commands, the other has a daemon, the bot answers in
//! Python. Whatever dies in between: in the end both histories are equal, nothing is lost and nothing is there twice.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::conversations::{lines, recv, run};
use super::daemon::{Running, contacts, start};
use super::steps::sotto;
use crate::draws::Draws;
use crate::harness::Figure;
use crate::testnet::{Testnet, eventually, programs, repository};

/// Messages in each direction, unless the environment says more.
const MESSAGES: usize = 60;
const VARIABLE: &str = "SOTTO_SESSION_MESSAGES";
/// One in so many commands is killed, one in so many messages a daemon, one in so many a node.
const COMMAND: u64 = 8;
const DAEMON: u64 = 15;
const NODE: u64 = 12;
/// One in so many messages goes to the bot, and comes back from it.
const BOT: usize = 5;
const SOON: Duration = Duration::from_secs(60);

/// What was killed.
#[derive(Default)]
struct Killed {
    commands: usize,
    daemons: usize,
    nodes: usize,
}

pub(crate) fn long(testnet: &Testnet) -> Figure {
    let messages = std::env::var(VARIABLE).map_or(MESSAGES, |text| text.parse().unwrap());
    let (mut draws, mut killed) = (Draws(11), Killed::default());
    contacts(testnet, "uma", "vera");
    contacts(testnet, "uma", "parrot");
    let mut daemon = Some(start(testnet, "vera", &[]));
    let bot = Running::start(parrot(testnet));
    let mut down = None;
    for number in 0..messages {
        say(testnet, "uma", "vera", &format!("u {number}"), &mut draws, &mut killed);
        say(testnet, "vera", "uma", &format!("v {number}"), &mut draws, &mut killed);
        if number % BOT == 0 {
            say(testnet, "uma", "parrot", &format!("p {number}"), &mut draws, &mut killed);
        }
        if draws.below(3) == 0 {
            read(testnet, "uma", &mut draws, &mut killed);
        }
        if draws.below(DAEMON) == 0 {
            drop(daemon.take());
            killed.daemons += 1;
            // What is typed meanwhile is done without it.
            say(testnet, "vera", "uma", &format!("w {number}"), &mut draws, &mut killed);
            daemon = Some(start(testnet, "vera", &[]));
        }
        if draws.below(NODE) == 0 {
            if let Some(node) = down.take() {
                testnet.run(&format!("node restart {node}")).ok();
            }
            let node = draws.below(50);
            testnet.run(&format!("node kill {node}")).ok();
            killed.nodes += 1;
            down = Some(node);
        }
    }
    if let Some(node) = down {
        testnet.run(&format!("node restart {node}")).ok();
    }
    // What the bot has sent back, uma has; what each of the others said, the other one has.
    eventually("all has come", SOON, || {
        recv(testnet, "uma");
        recv(testnet, "vera");
        [("uma", "vera"), ("vera", "uma"), ("parrot", "uma")].iter().all(|(from, to)| {
            let sent = if *from == "parrot" { ("uma", "parrot") } else { (*from, *to) };
            said(testnet, to, from, false).len() >= said(testnet, sent.0, sent.1, true).len()
        })
    });
    drop(bot);
    let (u, v) = (said(testnet, "uma", "vera", true), said(testnet, "vera", "uma", true));
    assert_eq!(said(testnet, "vera", "uma", false), u, "what uma said");
    assert_eq!(said(testnet, "uma", "vera", false), v, "what vera said");
    let to_bot = said(testnet, "uma", "parrot", true);
    // The bot answers as it hears; what a killed command had begun to send goes on later.
    let in_any_order = |mut all: Vec<String>| {
        all.sort();
        all
    };
    let back = in_any_order(said(testnet, "uma", "parrot", false));
    assert_eq!(back, in_any_order(to_bot.clone()), "what the bot said back");
    for (who, all) in [("uma", &u), ("vera", &v), ("parrot", &to_bot)] {
        let unique: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(unique.len(), all.len(), "{who}: twice");
    }
    assert_eq!(u.iter().filter(|text| text.starts_with("u ")).count(), messages);
    assert_eq!(v.iter().filter(|text| text.starts_with("v ")).count(), messages);
    run(testnet, "vera", &["daemon", "stop"]).ok();
    Figure(format!(
        "{} and {} messages, {} to a bot and back; killed: {} commands, {} daemons, {} nodes",
        u.len(),
        v.len(),
        to_bot.len(),
        killed.commands,
        killed.daemons,
        killed.nodes
    ))
}

fn parrot(testnet: &Testnet) -> Command {
    let options = sotto(testnet, "parrot");
    let mut bot = Command::new("python3");
    bot.arg(repository().join("client/python/sotto.py")).args(options.get_args());
    bot.env("PATH", format!("{}:{}", programs().display(), std::env::var("PATH").unwrap()));
    bot.env("PYTHONDONTWRITEBYTECODE", "1").stdout(Stdio::null());
    bot
}

/// Says something, once: a command that was killed is given again unless what it should say was taken.
fn say(testnet: &Testnet, from: &str, to: &str, text: &str, draws: &mut Draws, killed: &mut Killed) {
    let mode = ["auto", "offline"][usize::from(draws.below(2) == 0)];
    if draws.below(COMMAND) == 0 {
        let mut command = sotto(testnet, from);
        command.args(["send", to, "-m", text, "--mode", mode]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut sending = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(draws.below(120)));
        sending.kill().unwrap();
        sending.wait().unwrap();
        killed.commands += 1;
        // A daemon may still be at what it was asked.
        std::thread::sleep(Duration::from_millis(300));
        if said(testnet, from, to, true).iter().any(|said| said == text) {
            return;
        }
    }
    // Stored or kept for later: it is said.
    let finished = run(testnet, from, &["send", to, "-m", text, "--mode", mode]);
    assert!(matches!(finished.code, Some(0 | 3 | 8)), "{finished:?}");
}

/// Reads what came, or dies over it.
fn read(testnet: &Testnet, who: &str, draws: &mut Draws, killed: &mut Killed) {
    let mut command = sotto(testnet, who);
    command.arg("recv").stdout(Stdio::null()).stderr(Stdio::null());
    let mut reading = command.spawn().unwrap();
    if draws.below(COMMAND) == 0 {
        std::thread::sleep(Duration::from_millis(draws.below(120)));
        reading.kill().unwrap();
        killed.commands += 1;
    }
    reading.wait().unwrap();
}

/// The texts of one side in the history, in its order.
fn said(testnet: &Testnet, who: &str, with: &str, outgoing: bool) -> Vec<String> {
    let history = lines(testnet, who, &["history", with, "--limit", "10000"]);
    let of_side = history.iter().filter(|line| line["outgoing"] == outgoing && line["kind"] == "text");
    of_side.map(|line| line["body"].as_str().unwrap().to_owned()).collect()
}
