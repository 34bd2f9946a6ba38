//! `sotto recv --follow`: shown at once, also after the network or this machine was away for a while.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::steps::{bodies, median_and_worst, recv, send, signal, sotto, user};
use crate::harness::Figure;
use crate::testnet::Testnet;

/// How long the network is gone, or this machine asleep: longer than connections and paths live without an answer.
const AWAY: Duration = Duration::from_secs(15);
/// How long after that a message may take until it is shown.
const SHOWN: Duration = Duration::from_secs(30);
/// Lines that may wait to be looked at.
const LINES: usize = 1024;
/// Lines of a follower's log that are told when it fails.
const TOLD: usize = 60;

/// A running `sotto recv --follow`; ends with the test.
pub(super) struct Follower {
    pub(super) process: Child,
    user: String,
    lines: Receiver<String>,
    shown: Vec<String>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

impl Follower {
    /// Starts it for a user, and waits until it follows.
    pub(super) fn start(testnet: &Testnet, user: &str) -> Self {
        let mut command = sotto(testnet, user);
        command.args(["-v", "-v", "recv", "--follow"]).env("NO_COLOR", "1");
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = each_line(process.stdout.take().unwrap());
        let said = each_line(process.stderr.take().unwrap());
        let log = Arc::<Mutex<Vec<String>>>::default();
        let follower = Self { process, user: user.to_owned(), lines, shown: Vec::new(), log: Arc::clone(&log) };
        let (follows, followed) = sync_channel(1);
        std::thread::spawn(move || {
            for line in said {
                if line.contains("following at") {
                    // Only the first is waited for.
                    let _gone = follows.try_send(());
                }
                log.lock().unwrap().push(line);
            }
        });
        if followed.recv_timeout(SHOWN).is_err() {
            panic!("it does not follow: {}", follower.told());
        }
        follower
    }

    /// Waits until a text is shown.
    pub(super) fn wait_for(&mut self, text: &str, deadline: Duration) {
        let until = Instant::now() + deadline;
        while !self.shown.iter().any(|line| line.ends_with(text)) {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.shown.push(line),
                Err(_) => panic!("“{text}” is not shown within {deadline:?}: {}", self.told()),
            }
        }
    }

    /// Ends it in order (a kill between showing and marking would show the last one again); each text was shown exactly
    /// once, and nothing is left to show. Returns its log.
    pub(super) fn end(mut self, testnet: &Testnet, texts: &[String]) -> Vec<String> {
        signal(&self.process, "INT");
        let _ended = self.process.wait().unwrap();
        self.shown.extend(self.lines.iter());
        for text in texts {
            let copies = self.shown.iter().filter(|line| line.ends_with(text.as_str())).count();
            assert_eq!(copies, 1, "“{text}” in {:?}: {}", self.shown, self.told());
        }
        assert_eq!(bodies(&recv(testnet, &self.user)), Vec::<String>::new(), "each was shown once");
        self.log.lock().unwrap().clone()
    }

    /// The end of its log, for a failure.
    fn told(&self) -> String {
        let log = self.log.lock().unwrap();
        log[log.len().saturating_sub(TOLD)..].join("\n")
    }
}

fn each_line(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = sync_channel(LINES);
    std::thread::spawn(move || {
        BufReader::new(from).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

pub(super) fn at_once(testnet: &Testnet) -> Figure {
    user(testnet, "carol");
    let mut follower = Follower::start(testnet, "carol");
    let mut times = Vec::new();
    let texts: Vec<_> = (0..5).map(|number| format!("now {number}")).collect();
    for text in &texts {
        let began = Instant::now();
        send(testnet, "alice", "carol", text).ok();
        follower.wait_for(text, SHOWN);
        times.push(began.elapsed());
    }
    follower.end(testnet, &texts);
    let (median, _) = median_and_worst(&times);
    Figure(format!("{} ms from typing to showing, two processes and work included", median.as_millis()))
}

/// No node answers for a while, then all do again.
pub(super) fn network_frozen(testnet: &Testnet) -> Figure {
    user(testnet, "nina");
    let follower = Follower::start(testnet, "nina");
    testnet.run("node pause all").ok();
    std::thread::sleep(AWAY);
    testnet.run("node resume all").ok();
    shown_after(testnet, follower, "after the silence")
}

/// Every connection ends, and with them all paths and subscriptions.
pub(super) fn network_restarted(testnet: &Testnet) -> Figure {
    user(testnet, "paul");
    let follower = Follower::start(testnet, "paul");
    testnet.run("node kill all").ok();
    testnet.run("node restart all --timeout 60s").ok();
    testnet.run("wait --until ready --timeout 60s").ok();
    shown_after(testnet, follower, "after the restart")
}

fn shown_after(testnet: &Testnet, mut follower: Follower, text: &str) -> Figure {
    let to = follower.user.clone();
    let began = Instant::now();
    send(testnet, "alice", &to, text).ok();
    let stored = began.elapsed();
    follower.wait_for(text, SHOWN);
    let took = began.elapsed();
    follower.end(testnet, &[text.to_owned()]);
    Figure(format!("stored after {:.1} s, shown after {:.1} s", stored.as_secs_f64(), took.as_secs_f64()))
}

/// The follower's process stands still, as on a machine that sleeps, while a message comes.
pub(super) fn asleep(testnet: &Testnet) -> Figure {
    user(testnet, "rosa");
    let mut follower = Follower::start(testnet, "rosa");
    signal(&follower.process, "STOP");
    let text = "while you slept";
    send(testnet, "alice", "rosa", text).ok();
    std::thread::sleep(AWAY);
    signal(&follower.process, "CONT");
    let began = Instant::now();
    follower.wait_for(text, SHOWN);
    let took = began.elapsed();
    follower.end(testnet, &[text.to_owned()]);
    Figure(format!("shown {:.1} s after waking", took.as_secs_f64()))
}
