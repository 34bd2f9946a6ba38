//! Clients that do nothing, in processes of their own: each has a connection with a guard and the path that it would
//! receive by. They are there while everything else is measured.
//!
//! ```text
//!  bench ── starts ──▶ sotto-testnet idle-clients ── paths that are up, whenever others are ──▶ bench
//!  bench ── ends its input ──▶                    ── once more ──▶ bench
//! ```

use std::collections::VecDeque;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sotto_behaviours::onion::client::Path;
use sotto_proto::id::SwarmId;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::client::LightClient;
use super::costs::{Role, Watched};
use super::draws::seeded;
use super::network::Network;
use crate::failure::{Context as _, Exit, Failure};
use crate::open_files;
use crate::plan::Plan;
use crate::supervisor::Report as Steps;

/// Clients of one process: few enough for the open files that most systems allow.
const PER_PROCESS: usize = 2500;
/// Clients of one process that connect at a time.
const AT_ONCE: usize = 8;
/// How long a client tries, and how long it waits in between.
const PATIENCE: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(1100);
/// How often a process looks at its paths.
const LOOK: Duration = Duration::from_millis(250);
/// How long a process may say nothing while its clients connect.
const SILENT: Duration = Duration::from_secs(90);

/// What became of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IdleClients {
    /// Clients, each with a path.
    pub clients: u64,
    /// Processes that they were in.
    pub processes: u64,
    /// How long it took until all of them had one.
    pub took_s: f64,
    /// Paths that ended meanwhile; their clients built others.
    pub lost: u64,
    /// Clients with a path at the end.
    pub still_up: u64,
}

/// What a process of them says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    /// Paths that are up.
    paths: usize,
    /// Paths that were and are not.
    lost: usize,
}

/// The processes of a bench; they end when dropped.
pub(super) struct Crowd {
    parts: Vec<Part>,
    clients: usize,
    took: Duration,
}

struct Part {
    child: Child,
    /// Its end is the sign to end.
    input: Option<ChildStdin>,
    said: Lines<BufReader<ChildStdout>>,
    clients: usize,
}

impl Crowd {
    /// Starts `clients` clients and waits until each has a path.
    pub(super) async fn begin(plan: &Plan, clients: usize, seed: u64, steps: &Steps) -> Result<Self, Failure> {
        let began = Instant::now();
        let mut crowd = Self { parts: Vec::new(), clients, took: Duration::ZERO };
        for first in (0..clients).step_by(PER_PROCESS) {
            crowd.parts.push(Part::start(plan, first, PER_PROCESS.min(clients - first), seed)?);
        }
        let mut up = 0;
        for part in &mut crowd.parts {
            let mut paths = 0;
            while paths < part.clients {
                paths = part.next().await?;
                steps.current("idle clients", up + paths, clients, "with a path");
            }
            up += paths;
        }
        crowd.took = began.elapsed();
        let (took, processes) = (crowd.took.as_secs_f64(), crowd.parts.len());
        steps.step("idle clients", format!("{clients} with a path each, in {processes} processes, after {took:.1} s"));
        Ok(crowd)
    }

    /// The processes, to be watched.
    pub(super) fn watched(&self) -> impl Iterator<Item = Watched> {
        let pids = self.parts.iter().filter_map(|part| part.child.id()).enumerate();
        pids.map(|(index, pid)| Watched { name: format!("idle clients {index}"), role: Role::IdleClients, pid })
    }

    /// Asks how many paths are left, and ends them.
    pub(super) async fn end(mut self) -> Result<IdleClients, Failure> {
        let (mut still_up, mut lost) = (0, 0);
        for part in &mut self.parts {
            part.input = None;
            let mut last = Said { paths: 0, lost: 0 };
            while let Some(said) = part.said().await? {
                last = said;
            }
            still_up += last.paths as u64;
            lost += last.lost as u64;
        }
        Ok(IdleClients {
            clients: self.clients as u64,
            processes: self.parts.len() as u64,
            took_s: self.took.as_secs_f64(),
            lost,
            still_up,
        })
    }
}

impl Part {
    fn start(plan: &Plan, first: usize, clients: usize, seed: u64) -> Result<Self, Failure> {
        let program = std::env::current_exe().context("find", "this program")?;
        let mut child = Command::new(&program)
            .arg("--dir")
            .arg(&plan.dir)
            .args(["idle-clients", "--first", &first.to_string()])
            .args(["--count", &clients.to_string(), "--seed", &seed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start", program.display())?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or_else(|| Failure::new(Exit::Internal, "a process without pipes"))?;
        Ok(Self { child, input: Some(input), said: BufReader::new(output).lines(), clients })
    }

    /// How many paths it has.
    async fn next(&mut self) -> Result<usize, Failure> {
        self.said().await?.map(|said| said.paths).ok_or_else(|| broke("ended"))
    }

    async fn said(&mut self) -> Result<Option<Said>, Failure> {
        let line = tokio::time::timeout(SILENT, self.said.next_line()).await.map_err(|_| broke("stand still"))?;
        let Some(line) = line.context("read", "idle clients")? else { return Ok(None) };
        serde_json::from_str(&line).map(Some).map_err(|error| broke(&error.to_string()))
    }
}

fn broke(what: &str) -> Failure {
    Failure::new(Exit::Network, format!("the idle clients: {what}")).hint("fewer of them, or: sotto-testnet status")
}

/// One process of them: clients `first` to `first + count`, until its input ends.
///
/// # Errors
/// [`Exit::Network`] when one gets no path.
pub async fn run_part(plan: &Plan, first: usize, count: NonZeroUsize, seed: u64) -> Result<(), Failure> {
    open_files::raise();
    let network = Arc::new(Network::fetch(plan).await?);
    let (mut up, mut lost) = (Vec::with_capacity(count.get()), 0);
    let mut waiting: VecDeque<Idle> =
        (first..first + count.get()).map(|index| Idle::new(&network, index, seed)).collect();
    let mut building = JoinSet::new();
    let mut last = None;
    let mut ticks = tokio::time::interval(LOOK);
    let mut end = end_of_input();
    loop {
        while building.len() < AT_ONCE
            && let Some(client) = waiting.pop_front()
        {
            building.spawn(client.connect());
        }
        tokio::select! {
            Some(built) = building.join_next() => {
                up.push(built.map_err(|error| Failure::new(Exit::Internal, error.to_string()))??);
            }
            _ = ticks.tick() => {
                let before = up.len();
                waiting.extend(up.extract_if(.., |client: &mut Idle| !client.has_path()));
                lost += before - up.len();
                let said = Said { paths: up.len(), lost };
                // The bench does not read while it measures: what is not news would fill the pipe.
                if last.replace(said) != Some(said) {
                    say(said)?;
                }
            }
            // The bench is over, or its process is gone.
            _ = &mut end => return say(Said { paths: up.iter().filter(|client| client.has_path()).count(), lost }),
        }
    }
}

/// Ends when standard input does.
fn end_of_input() -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    // A read of it cannot be ended: it waits on a thread of its own, which goes with the process.
    std::thread::spawn(move || {
        let _nothing_is_said = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ended_before = sender.send(());
    });
    receiver
}

/// One line for the bench.
fn say(said: Said) -> Result<(), Failure> {
    let line = serde_json::to_string(&said).map_err(|error| broke(&error.to_string()))?;
    writeln!(std::io::stdout(), "{line}").context("tell", "the bench")
}

/// A client with its path.
struct Idle {
    index: usize,
    /// Where its mail is: none of its hops is there.
    own: SwarmId,
    client: LightClient,
    path: Option<Path>,
}

impl Idle {
    fn new(network: &Arc<Network>, index: usize, seed: u64) -> Self {
        let swarms = network.swarms();
        let own = swarms.get(index % swarms.len().max(1)).copied().unwrap_or(SwarmId::NONE);
        let draws = ["idle paths", "idle"].map(|role| seeded(seed, role, index));
        Self { index, own, client: LightClient::new(network, own, draws), path: None }
    }

    fn has_path(&self) -> bool {
        self.path.as_ref().is_some_and(|path| path.end().is_none())
    }

    async fn connect(mut self) -> Result<Self, Failure> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.client.build(self.own).await {
                Ok(path) => {
                    self.path = Some(path);
                    return Ok(self);
                }
                Err(error) if Instant::now() >= until => {
                    let message = format!("client {} gets no path: {error}", self.index);
                    return Err(Failure::new(Exit::Network, message));
                }
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }
}
