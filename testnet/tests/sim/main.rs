//! The simulator: whole networks of the machines of production, in virtual time, under faults drawn from a seed.
//!
//! ```text
//! ./testnet/simulate.sh                                     the seeds that every change is tested with
//! ./testnet/simulate.sh --seeds 5000 --from 1000 --nodes 50 others
//! ./testnet/simulate.sh --seed 17 --trace                   one of them, and all that happened in it
//! ./testnet/simulate.sh --bugs                              whether it finds mistakes that were made on purpose
//! ./testnet/simulate.sh --bug StaleMap --seed 1 --trace     how one of them shows
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `world` | time, network, links, faults, the order of everything |
//! | `node`, `disk` | a node's machine and its disk, driven by the rules of the event loop |
//! | `client` | senders, readers, owners who delete |
//! | `chain` | the producer |
//! | `faults` | what goes wrong when |
//! | `model` | what must be true all the same |
//! | `bugs` | mistakes on purpose |
//!
//! A failure prints its seed; the same seed happens in the same way again. Seeds that failed once are in [`KEPT`].

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed expectation is a failed test")]

mod bugs;
mod chain;
mod client;
mod dice;
mod disk;
mod faults;
mod model;
mod node;
mod world;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sotto_node::keys::{KeyDirectory, Seed, Slot};

use self::bugs::Bug;
use self::chain::Chain;
use self::faults::{Plan, SPARE};
use self::world::{Outcome, World, swarm_numbers};

/// Seeds that failed once; those beyond the usual ones are simulated as well. 211: a process that stood still while its
/// clock was set deleted by it. 291: a member whose clock was ahead, and whom nobody told so, passed over a record as over,
/// and its reader's cursor with it. The others found mistakes of the simulator itself: a receipt that was heard after a disk
/// was lost counted for the next one; a process started within half a second had no connections.
const KEPT: &[u64] = &[211, 291, 1030, 1346, 1599];
/// Nodes that are not registered at the beginning: for ten others, and for more so many that a swarm may be born.
const SPARES: usize = 4;
const SPARES_OF_MANY: usize = 12;
/// Simulations that are made twice, to see that the second one is the same.
const TWICE: u64 = 4;
/// Seeds after which a mistake counts as not found.
const BUG_SEEDS: u64 = 250;

/// What is simulated.
#[derive(Clone, Debug)]
struct Options {
    from: u64,
    seeds: u64,
    nodes: usize,
    clients: usize,
    seconds: u64,
    threads: usize,
    trace: bool,
    bugs: bool,
    bug: Option<Bug>,
    /// Nothing was asked for: what `test.sh` wants is done.
    all: bool,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut options = Self {
            from: 1,
            seeds: 1000,
            nodes: 10,
            clients: 4,
            seconds: 120,
            threads,
            trace: false,
            bugs: false,
            bug: None,
            all: true,
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            options.all = false;
            if argument == "--bug" {
                let name = arguments.next().unwrap_or_default();
                let bug = Bug::ALL.into_iter().chain(Bug::OF_MANY).find(|bug| format!("{bug:?}") == name);
                options.bug =
                    Some(bug.ok_or_else(|| format!("--bug {name}: one of {:?} {:?}", Bug::ALL, Bug::OF_MANY))?);
                continue;
            }
            let mut number = || {
                let value = arguments.next().ok_or_else(|| format!("{argument} needs a number"))?;
                value.parse::<u64>().map_err(|error| format!("{argument} {value}: {error}"))
            };
            match argument.as_str() {
                "--seed" => (options.from, options.seeds) = (number()?, 1),
                "--from" => options.from = number()?,
                "--seeds" => options.seeds = number()?,
                "--nodes" => options.nodes = number()? as usize,
                "--clients" => options.clients = number()? as usize,
                "--seconds" => options.seconds = number()?,
                "--threads" => options.threads = number()? as usize,
                "--trace" => options.trace = true,
                "--bugs" => options.bugs = true,
                other => return Err(format!("{other}: no such option")),
            }
        }
        if !(10..=60).contains(&options.nodes) || options.clients == 0 || options.seconds < 60 {
            return Err("10 to 60 nodes, at least one client and 60 seconds are simulated".into());
        }
        Ok(options)
    }
}

/// What all simulations begin with.
struct Ground {
    options: Options,
    chain: Chain,
    swarms: Vec<usize>,
    keys: Arc<Vec<(usize, KeyDirectory)>>,
    _directory: tempfile::TempDir,
}

impl Ground {
    fn new(options: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (chain, mut numbers) = Chain::begin(options.nodes);
        let spare = numbers.iter().max().map_or(0, |last| last + 1).max(chain::TWO_SWARMS);
        let spares = if options.nodes < 2 * chain::TWO_SWARMS { SPARES } else { SPARES_OF_MANY };
        numbers.extend((spare..).take(spares));
        let swarms = swarm_numbers(&chain, &numbers);
        let key = |number: usize| {
            let keys = KeyDirectory::of(&directory.path().join(number.to_string()));
            keys.create().unwrap();
            keys.write_new(Slot::X25519, &Seed::take(&mut chain::seed("x25519", number))).unwrap();
            (number, keys)
        };
        let keys = Arc::new(numbers.into_iter().map(key).collect());
        Self { options, chain, swarms, keys, _directory: directory }
    }

    fn simulate(&self, seed: u64, bug: Option<Bug>) -> Outcome {
        let Options { clients, seconds, trace, .. } = self.options;
        let plan = Plan::draw(seed, clients, seconds, &self.swarms);
        World::new(seed, plan, self.chain.clone(), Arc::clone(&self.keys), bug, trace).run(seed)
    }

    /// Simulates many seeds on all threads; `done` hears of each, in no order, and says whether to go on.
    fn simulate_all(&self, seeds: &[u64], bug: Option<Bug>, done: impl Fn(Outcome) -> bool + Sync) {
        let next = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..self.options.threads.max(1) {
                scope.spawn(|| {
                    while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                        if !done(self.simulate(*seed, bug)) {
                            next.store(u64::MAX / 2, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
    }
}

/// What many simulations came to.
#[derive(Default)]
struct Sum {
    seeds: u64,
    sent: u64,
    acknowledged: u64,
    deleted: u64,
    reads: u64,
    damaged: u64,
    events: u64,
    faults: u64,
    maps: u64,
    late: u64,
    failed: Vec<Outcome>,
}

impl Sum {
    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.sent += outcome.tally.sent;
        self.acknowledged += outcome.tally.acknowledged;
        self.deleted += outcome.tally.deleted;
        self.reads += outcome.tally.reads;
        self.damaged += outcome.tally.damaged;
        self.late += outcome.tally.late;
        self.events += outcome.events;
        self.faults += outcome.faults as u64;
        self.maps += outcome.tally.maps;
        if !outcome.violations.is_empty() {
            self.failed.push(outcome);
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        // Asked by test runners that would run every check in a process of its own.
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(arguments.into_iter()) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("sim: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ground = Ground::new(options);
    let mut harness = Harness::default();
    if ground.options.bugs {
        find_bugs(&ground, &mut harness);
    } else {
        run(&ground, &mut harness);
    }
    if ground.options.all {
        happen_twice(&ground, &mut harness);
        find_bugs(&ground, &mut harness);
    }
    harness.finish()
}

/// Counts what was checked, and prints it like the standard harness.
#[derive(Default)]
struct Harness {
    passed: usize,
    failed: usize,
}

impl Harness {
    fn check(&mut self, name: &str, failure: Option<String>) {
        match failure {
            None => {
                self.passed += 1;
                println!("test {name} ... ok");
            }
            Some(failure) => {
                self.failed += 1;
                println!("test {name} ... FAILED: {failure}");
            }
        }
    }

    fn finish(self) -> ExitCode {
        let verdict = if self.failed == 0 { "ok" } else { "FAILED" };
        println!("\ntest result: {verdict}. {} passed; {} failed", self.passed, self.failed);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn run(ground: &Ground, harness: &mut Harness) {
    let Options { from, seeds, nodes, clients, seconds, bug, .. } = ground.options.clone();
    let swarms = ground.swarms.iter().filter(|swarm| **swarm != SPARE).max().map_or(0, |last| last + 1);
    println!(
        "simulating {seeds} seeds from {from}: {nodes} nodes in {swarms} swarms, {clients} clients, {seconds} s each"
    );
    let mut all: Vec<u64> = (from..from + seeds).collect();
    if seeds > 1 {
        all.extend(KEPT.iter().filter(|kept| !(from..from + seeds).contains(kept)));
    }
    let (sum, began) = (Mutex::new((Sum::default(), Instant::now())), Instant::now());
    ground.simulate_all(&all, bug, |outcome| {
        let (sum, told) = &mut *sum.lock().unwrap();
        for violation in &outcome.violations {
            println!("seed {}: {}: {}", outcome.seed, violation.of, violation.what);
        }
        sum.add(outcome);
        if told.elapsed() > Duration::from_secs(10) {
            *told = Instant::now();
            println!("{} of {} seeds after {:.0} s", sum.seeds, all.len(), began.elapsed().as_secs_f64());
        }
        true
    });
    let (sum, _) = sum.into_inner().unwrap();
    let took = began.elapsed().as_secs_f64();
    println!(
        "{} seeds, {} faults, {} changes of swarms, {} events: {} messages sent, {} acknowledged, {} deleted, {} records read, {} damaged on disk",
        sum.seeds, sum.faults, sum.maps, sum.events, sum.sent, sum.acknowledged, sum.deleted, sum.reads, sum.damaged
    );
    println!(
        "{:.1} s, {:.0} times real time on {} threads; {} operations begun after all had healed",
        took,
        (sum.seeds * seconds) as f64 / took,
        ground.options.threads,
        sum.late
    );
    for outcome in &sum.failed {
        println!(
            "again: ./testnet/simulate.sh --nodes {nodes} --clients {clients} --seconds {seconds} --seed {} --trace",
            outcome.seed
        );
    }
    let failure = (!sum.failed.is_empty()).then(|| format!("{} of {} seeds", sum.failed.len(), sum.seeds));
    harness.check("nothing acknowledged is lost, whatever happens", failure);
}

/// A seed says everything.
fn happen_twice(ground: &Ground, harness: &mut Harness) {
    let from = ground.options.from;
    let differs = |seed: &u64| ground.simulate(*seed, None).trace != ground.simulate(*seed, None).trace;
    let differing: Vec<u64> = (from..from + TWICE).filter(differs).collect();
    let failure = (!differing.is_empty()).then(|| format!("not so with seeds {differing:?}"));
    harness.check("a seed happens in the same way twice", failure);
}

fn find_bugs(ground: &Ground, harness: &mut Harness) {
    let from = ground.options.from;
    let seeds: Vec<u64> = (from..from + BUG_SEEDS).collect();
    for bug in Bug::ALL {
        let first = Mutex::new(None);
        ground.simulate_all(&seeds, Some(bug), |outcome| {
            let first = &mut *first.lock().unwrap();
            if first.is_none() {
                *first = outcome.violations.first().cloned().map(|violation| (outcome.seed, violation));
            }
            first.is_none()
        });
        let found = first.into_inner().unwrap();
        if let Some((seed, violation)) = &found {
            println!("seed {seed}: {}: {}", violation.of, violation.what);
        }
        let failure = found.is_none().then(|| format!("{BUG_SEEDS} seeds do not see it"));
        harness.check(&format!("a mistake is found: {bug:?}"), failure);
    }
}
