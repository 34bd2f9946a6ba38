//! What messages cost on a testnet of fifty processes: two accounts in this process, everything else real.
//!
//! `cargo bench -p sotto-testnet --bench messages` starts a testnet of its own; with `TESTNET_DIR` set it takes the one
//! that runs there. Medians of five runs. Percentiles are over all messages or questions of a run. `-- paths`,
//! `-- questions` and `-- messages` measure one part only.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs, reason = "a bench fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rand_core::Rng as _;
use sotto_client::messenger::{Continue, Followed, Messenger, Progress};
use sotto_client::network::lookups::Lookup;
use sotto_client::network::paths::{Purpose, hop};
use sotto_client::store::{Accounts, NewMessage, Passphrase};
use sotto_proto::address::Address;
use sotto_proto::chain::GenesisFile;
use sotto_proto::content::{Body, Content, MessageId, Text};
use sotto_proto::envelope::Ttl;
use sotto_proto::time::UnixMillis;
use sotto_testnet::manifest::Manifest;
use sotto_testnet::procfs;
use zeroize::Zeroizing;

const RUNS: usize = 5;
const BUILDS: usize = 100;
const TUNNELS: usize = 100;
const QUESTIONS: usize = 1000;
const MESSAGES: usize = 60;
/// With its header the text fits the smallest envelope, which is one cell.
const TEXT_BYTES: usize = 1024;
const PATIENCE: Duration = Duration::from_secs(20);

fn main() {
    let part = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let measures = |name: &str| part.as_ref().is_none_or(|part| part == name);
    let testnet = Testnet::find_or_start();
    let mut figures = Figures::default();
    let (shown, arrivals) = mpsc::sync_channel(MESSAGES);
    let bob = testnet.user("bench-bob");
    let recipient = bob.address;
    std::thread::spawn(move || follow(&bob, &shown));
    arrivals.recv_timeout(PATIENCE).unwrap(); // subscribed
    let alice = testnet.user("bench-alice");
    runtime().block_on(async {
        let mut messenger = alice.open().await;
        for _ in 0..RUNS {
            if measures("paths") {
                paths(&mut messenger, &mut figures).await;
            }
            if measures("questions") {
                questions(&mut messenger, &testnet, &mut figures).await;
            }
            if measures("messages") {
                messages(&mut messenger, recipient, &arrivals, &testnet, &mut figures).await;
            }
        }
    });
    let mut memory: Vec<_> = testnet
        .pids()
        .into_iter()
        .filter_map(procfs::resident_bytes)
        .map(|bytes| bytes as f64 / f64::from(1 << 20))
        .collect();
    figures.print();
    let middle = percentile(&mut memory, 50);
    println!("{:<58} {middle:>9.1}   largest {:.1}", "memory of a node afterwards, MiB", memory.last().unwrap());
}

/// Every build has a guard connection that is up; the links between nodes are.
async fn paths(messenger: &mut Messenger, figures: &mut Figures) {
    let mut times = Vec::new();
    messenger.path(Purpose::Other).await.unwrap();
    for _ in 0..BUILDS {
        messenger.rotate(Purpose::Other);
        let began = Instant::now();
        messenger.path(Purpose::Other).await.unwrap();
        times.push(millis(began.elapsed()));
    }
    figures.percentiles("1 path build", times);
}

async fn questions(messenger: &mut Messenger, testnet: &Testnet, figures: &mut Figures) {
    // An exit may open so many tunnels at a node within a second, and no more.
    messenger.rotate(Purpose::Other);
    let path = messenger.path(Purpose::Other).await.unwrap();
    let hops = path.hops().map(|hop| hop.node);
    let nodes = messenger.directory().nodes();
    let target = nodes.values().find(|record| !hops.contains(&record.node) && record.swarm.is_some()).unwrap();
    let target = hop(nodes, &target.node).unwrap();
    let clock = messenger.clock().clone();
    let mut times = Vec::new();
    for _ in 0..TUNNELS {
        let began = Instant::now();
        Lookup::connect(&path, target, &clock).await.unwrap();
        times.push(millis(began.elapsed()));
    }
    figures.percentiles("2 new tunnel with a question and its answer", times);
    let (mut lookup, _) = Lookup::connect(&path, target, &clock).await.unwrap();
    let (mut times, before) = (Vec::new(), testnet.processor_time());
    for _ in 0..QUESTIONS {
        let began = Instant::now();
        lookup.info().await.unwrap();
        times.push(millis(began.elapsed()));
    }
    let spent = testnet.processor_time().saturating_sub(before);
    figures.percentiles("3 question in an open tunnel, a cell each way", times);
    figures.note("3 question, CPU of all nodes, ms", millis(spent) / QUESTIONS as f64);
}

async fn messages(
    messenger: &mut Messenger,
    recipient: Address,
    arrivals: &mpsc::Receiver<(MessageId, Instant)>,
    testnet: &Testnet,
    figures: &mut Figures,
) {
    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let before = testnet.processor_time();
    for _ in 0..MESSAGES {
        let id = queue(messenger, recipient);
        let began = Instant::now();
        let mut work_done = began;
        let mut work = Duration::ZERO;
        let mut receipts = BTreeMap::new();
        let sent = messenger.send(&id, |step| match step {
            Progress::Worked { took } => (work, work_done) = (took, Instant::now()),
            Progress::Stored { receipts: count, .. } => drop(receipts.insert(count, Instant::now())),
            _ => {}
        });
        let sent = sent.await.unwrap();
        assert_eq!(sent.members.len(), 3);
        let (arrived, at) = arrivals.recv_timeout(PATIENCE).unwrap();
        assert_eq!(arrived, id);
        for (name, at) in [
            ("4 stored: two receipts, from the call, without work", receipts[&2]),
            ("5 third receipt, from the call, without work", receipts[&3]),
            ("6 shown to a follower, from the call, without work", at),
        ] {
            times.entry(name).or_default().push(millis((at - began).saturating_sub(work)));
        }
        times
            .entry("7 stored: two receipts, from the end of the work")
            .or_default()
            .push(millis(receipts[&2] - work_done));
    }
    let spent = testnet.processor_time().saturating_sub(before);
    for (name, times) in times {
        figures.percentiles(name, times);
    }
    figures.note("8 a message, CPU of all nodes, ms", millis(spent) / MESSAGES as f64);
}

fn queue(messenger: &mut Messenger, recipient: Address) -> MessageId {
    let mut id = [0; 16];
    seeded().fill_bytes(&mut id);
    let id = MessageId::new(id);
    let created = UnixMillis(messenger.clock().own().wall.0);
    let content = Content::new(id, created, Body::Text(Text::new("x".repeat(TEXT_BYTES)).unwrap()));
    let message = NewMessage::plain(recipient, content, Ttl::new(600).unwrap(), created);
    messenger.account_mut().store.enqueue(&message).unwrap();
    id
}

fn seeded() -> rand_chacha::ChaCha20Rng {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    rand_core::SeedableRng::from_seed(seed)
}

/// Tells when bob is subscribed, then when each message was shown to him.
fn follow(bob: &User, shown: &mpsc::SyncSender<(MessageId, Instant)>) {
    runtime().block_on(async {
        let mut messenger = bob.open().await;
        let following = messenger.follow(|happened, store| {
            match happened {
                Followed::Subscribed { .. } => shown.send((MessageId::new([0; 16]), Instant::now())).unwrap(),
                Followed::Messages(messages) => {
                    for message in messages {
                        let sotto_client::store::Letter::Message { content, .. } = &message.letter else { continue };
                        // Whoever waits for it is gone when the bench is over.
                        let _over = shown.send((content.id, Instant::now()));
                        store.mark_shown(&[message.number]).unwrap();
                    }
                }
                Followed::Noticed(_) => {}
                // The testnet is gone when the bench is over.
                Followed::Interrupted(_) => return Continue::No,
            }
            Continue::Yes
        });
        following.await.unwrap();
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

#[derive(Default)]
struct Figures(BTreeMap<String, Vec<f64>>);

impl Figures {
    fn note(&mut self, name: impl Into<String>, value: f64) {
        self.0.entry(name.into()).or_default().push(value);
    }

    fn percentiles(&mut self, name: &str, mut times: Vec<f64>) {
        for percent in [50, 99] {
            self.note(format!("{name}, ms, p{percent}"), percentile(&mut times, percent));
        }
    }

    fn print(&self) {
        for (name, runs) in &self.0 {
            let shown: Vec<_> = runs.iter().map(|run| (run * 100.0).round() / 100.0).collect();
            println!("{:<58} {:>9.2}   of {shown:?}", &name[2..], percentile(&mut runs.clone(), 50));
        }
    }
}

/// A testnet, ended with the bench if it was started for it.
struct Testnet {
    dir: PathBuf,
    started: Option<tempfile::TempDir>,
}

struct User {
    address: Address,
    place: PathBuf,
    name: String,
    genesis: GenesisFile,
}

impl Testnet {
    fn find_or_start() -> Self {
        if let Some(dir) = std::env::var_os("TESTNET_DIR") {
            return Self { dir: dir.into(), started: None };
        }
        let started = tempfile::tempdir().unwrap();
        let testnet = Self { dir: started.path().join("bench"), started: Some(started) };
        testnet.run(&["up", "--detach", "--no-demo", "--no-input"]);
        testnet
    }

    fn run(&self, arguments: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sotto-testnet"));
        let output = command.args(arguments).arg("--dir").arg(&self.dir).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn manifest(&self) -> Manifest {
        Manifest::read(&self.dir).unwrap()
    }

    fn pids(&self) -> Vec<u32> {
        self.manifest().nodes.iter().filter_map(|node| node.process.pid).collect()
    }

    /// Of all nodes.
    fn processor_time(&self) -> Duration {
        self.pids().into_iter().filter_map(procfs::processor_time).sum()
    }

    fn user(&self, name: &str) -> User {
        self.run(&["user", "add", name]);
        let place = self.dir.join("users").join(name);
        let genesis = GenesisFile::from_json(&std::fs::read_to_string(self.dir.join("genesis.json")).unwrap()).unwrap();
        let address = open(&place, name, &genesis).account().address();
        User { address, place, name: name.to_owned(), genesis }
    }
}

impl User {
    async fn open(&self) -> Messenger {
        let account = open(&self.place, &self.name, &self.genesis);
        Messenger::open(self.genesis.clone(), account, PATIENCE, |_| ()).await.unwrap()
    }
}

fn open(place: &FilePath, name: &str, genesis: &GenesisFile) -> sotto_client::store::OpenAccount {
    let passphrase = std::fs::read_to_string(place.join("passphrase")).unwrap();
    let accounts = Accounts::new(&place.join("data"), genesis.genesis.chain_id());
    let folder = accounts.find(&name.parse().unwrap()).unwrap();
    accounts.open_folder(folder, &Passphrase::typed(Zeroizing::new(passphrase.trim().to_owned())).unwrap()).unwrap()
}

impl Drop for Testnet {
    fn drop(&mut self) {
        if self.started.is_some() {
            self.run(&["down"]);
        }
    }
}
