//! Owns the processes of a testnet from their start to their end.
//!
//! ```text
//!  sotto-testnet node kill 3 ─▶ socket ─▶ control::Server ─▶ Request (bound 16) ─▶ Supervisor ─▶ keepers ─▶ children
//!  Ctrl-C, `down`, SIGTERM ──────────────▶ CancellationToken ──────────────────────▶ shutdown
//! ```
//! [`start`](Supervisor::start) brings everything up, [`serve`](Supervisor::serve) obeys until it is told to stop,
//! [`shutdown`](Supervisor::shutdown) leaves no process behind.

mod prepare;
mod readiness;
mod serve;
mod start;

pub use prepare::remove_data;
pub use serve::write_settings;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::binaries::Binaries;
use crate::guise::Guise;
use crate::plan::Plan;
use crate::process::{Exit, Process, State};
use crate::progress::{Current, Outcome, Progress, Step};
use crate::status::NodeStatus;

/// Ends of children that may wait to be noticed.
const WAITING_EXITS: usize = 256;
/// How long a child may take to end in order.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// Tells everybody how far the start is.
#[derive(Debug)]
pub struct Report {
    started: Instant,
    progress: watch::Sender<Progress>,
}

impl Default for Report {
    fn default() -> Self {
        Self { started: Instant::now(), progress: watch::Sender::new(Progress::default()) }
    }
}

impl Report {
    /// Where the progress can be watched.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// A step is finished.
    pub fn step(&self, label: &str, text: impl Into<String>) {
        let at_ms = u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX);
        let step = Step { label: label.to_owned(), text: text.into(), at_ms };
        self.progress.send_modify(|progress| {
            progress.steps.push(step);
            progress.current = None;
        });
    }

    /// A step is under way.
    pub fn current(&self, label: &str, done: usize, total: usize, text: &str) {
        let current = Current {
            label: label.to_owned(),
            done: u64::try_from(done).unwrap_or(u64::MAX),
            total: u64::try_from(total).unwrap_or(u64::MAX),
            text: text.to_owned(),
        };
        self.progress.send_if_modified(|progress| {
            let changed = progress.current.as_ref() != Some(&current);
            progress.current = Some(current);
            changed
        });
    }

    /// It is over, in one way or the other.
    pub fn outcome(&self, outcome: Outcome) {
        self.progress.send_modify(|progress| {
            progress.current = None;
            progress.outcome = Some(outcome);
        });
    }
}

/// A running testnet.
#[derive(Debug)]
pub struct Supervisor {
    plan: Plan,
    binaries: Binaries,
    producer: Process,
    nodes: Vec<Process>,
    /// Of the nodes that are not started as they are.
    guises: BTreeMap<u16, Guise>,
    exits: mpsc::Receiver<Exit>,
    exit_sender: mpsc::Sender<Exit>,
    ready: Duration,
    height: u64,
}

impl Supervisor {
    /// From start to ready.
    #[must_use]
    pub const fn ready(&self) -> Duration {
        self.ready
    }

    /// Process ids of the producer and of the nodes.
    #[must_use]
    pub fn pids(&self) -> (u32, Vec<u32>) {
        (self.producer.pid(), self.nodes.iter().map(Process::pid).collect())
    }

    /// The first child that ended although nobody asked it to.
    pub fn failed(&mut self) -> Option<Exit> {
        self.exits.try_recv().ok()
    }

    /// Ends all children in order, the stubborn ones by force. Returns when the last is gone.
    pub async fn shutdown(self) {
        let (_, pids) = self.pids();
        let mut children = self.nodes;
        children.push(self.producer);
        stop_all(children).await;
        for (node, pid) in (0..).zip(pids) {
            self.guises.get(&node).unwrap_or(&Guise::Plain).clean_up(pid);
        }
    }

    async fn ask_all(&self) -> Vec<Option<NodeStatus>> {
        crate::status::ask_all(self.plan.nodes().map(|place| place.http)).await
    }
}

/// Ends all of these at once.
async fn stop_all(children: Vec<Process>) {
    let mut tasks = JoinSet::new();
    for child in children {
        tasks.spawn(async move { child.stop(GRACE).await });
    }
    tasks.join_all().await;
}

/// How a process is, in a word.
fn describe(state: State) -> String {
    match state {
        State::Running => "running".to_owned(),
        State::Paused => "paused".to_owned(),
        State::Exited(how) => how,
    }
}
