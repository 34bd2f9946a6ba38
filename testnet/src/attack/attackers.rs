//! The attackers, in a process of their own: they bring machines of their own to a real network, so here they have what
//! the network and its users leave of this one.
//!
//! ```text
//!  attack ── starts ──▶ sotto-testnet attackers ── "ready" ──▶ attack
//!  attack ── a line ──▶ (they begin)
//!  attack ── ends their input ──▶ (they end)    ── what they did ──▶ attack
//! ```
//!
//! However the process of the attack ends, the input of its attackers ends with it, and so do they.

use std::fs;
use std::io::{self, BufRead as _, Write as _};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Attack, Counts, Options, Scene, Tally, Victim};
use crate::bench::Network;
use crate::control::{self, Processes, Request};
use crate::failure::{Context as _, Exit, Failure};
use crate::open_files;
use crate::plan::Plan;

/// How long an attack may take to end after it was told to.
const ENDING: Duration = Duration::from_secs(1);
/// How long its process may take to be ready, and to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Threads of an attack: on a small machine the victim and honest users need the others.
const THREADS: usize = 2;
/// The least priority there is, and where that of a session is written.
const LEAST: i32 = 19;
const SESSION: &str = "/proc/self/autogroup";

/// What the attackers say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Ready,
    Done(Done),
}

/// What the attackers did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// How much.
    pub counts: Counts,
    /// What was wrong with the attack itself.
    pub error: Option<String>,
}

/// The attackers of the moment, if there are any. Whoever gives up a run ends them.
#[derive(Debug, Default)]
pub struct Attackers(Mutex<Option<Party>>);

#[derive(Debug)]
struct Party {
    child: Child,
    /// A line in it is the sign to begin, its end the one to end.
    input: Option<ChildStdin>,
    said: Lines<BufReader<ChildStdout>>,
}

impl Attackers {
    /// Starts them, and waits until they are ready.
    pub(super) async fn gather(
        &self,
        plan: &Plan,
        victim: &Victim,
        attack: &Attack,
        options: &Options,
    ) -> Result<(), Failure> {
        let program = std::env::current_exe().context("find", "this program")?;
        let mut command = Command::new(&program);
        command.arg("--dir").arg(&plan.dir).args(["attackers", "--node", &victim.index.to_string()]);
        command.args(["--only", attack.name, "--seed", &options.seed.to_string()]);
        command.args(["--seconds", &options.seconds.to_string()]);
        if let Some(frames) = options.frames {
            command.args(["--frames", &frames.to_string()]);
        }
        if let Some(pace) = options.pace {
            command.args(["--pace", &pace.to_string()]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("start", program.display())?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or_else(|| Failure::new(Exit::Internal, "a process without pipes"))?;
        let mut party = Party { child, input: Some(input), said: BufReader::new(output).lines() };
        if party.next().await? != Said::Ready {
            return Err(broke("do something before they are ready"));
        }
        *self.0.lock().await = Some(party);
        Ok(())
    }

    /// They begin.
    pub(super) async fn begin(&self) -> Result<(), Failure> {
        let mut party = self.0.lock().await;
        let input = party.as_mut().and_then(|party| party.input.as_mut()).ok_or_else(|| broke("are not there"))?;
        input.write_all(b"begin\n").await.context("tell", "the attackers")?;
        input.flush().await.context("tell", "the attackers")
    }

    /// Ends them, if there are any; what they did.
    ///
    /// # Errors
    /// [`Exit::Internal`] when they do not say it, or do not end.
    pub async fn end(&self) -> Result<Done, Failure> {
        let Some(mut party) = self.0.lock().await.take() else { return Ok(Done::default()) };
        party.input = None;
        let Said::Done(done) = party.next().await? else { return Err(broke("are ready twice")) };
        let ended = tokio::time::timeout(PATIENCE, party.child.wait()).await.map_err(|_| broke("do not end"))?;
        ended.context("end", "the attackers")?;
        Ok(done)
    }
}

impl Party {
    async fn next(&mut self) -> Result<Said, Failure> {
        let line = tokio::time::timeout(PATIENCE, self.said.next_line()).await.map_err(|_| broke("stand still"))?;
        let line = line.context("read", "the attackers")?.ok_or_else(|| broke("are gone"))?;
        serde_json::from_str(&line).map_err(|error| broke(&error.to_string()))
    }
}

fn broke(what: &str) -> Failure {
    Failure::new(Exit::Internal, format!("the attackers {what}"))
}

/// Their process: makes the one attack of `options` from the first line of its input until the end of it.
///
/// # Errors
/// [`Exit::Network`] when the testnet does not answer, [`Exit::Usage`] for options that name no attack.
pub async fn run_attackers(plan: &Plan, options: &Options) -> Result<(), Failure> {
    stand_back();
    open_files::raise();
    let attack = options.chosen()?.into_iter().next().ok_or_else(|| broke("have nothing to do"))?;
    let processes: Processes = control::ask(&plan.dir, &Request::Processes).await?;
    let network = Arc::new(Network::fetch(plan).await?);
    let victim = Victim::choose(plan, &network, &processes, options.node)?;
    let stop = CancellationToken::new();
    let scene = Scene {
        network,
        victim,
        seed: options.seed,
        stop: stop.clone(),
        lasting: options.lasting(),
        tally: Arc::new(Tally::new(options.frames, options.pace, stop.clone())),
        dir: plan.dir.clone(),
        plan: Arc::new(plan.clone()),
        paused: super::Paused::default(),
    };
    let (tally, paused) = (Arc::clone(&scene.tally), scene.paused.clone());
    let mut input = lines_of_input();
    say(&Said::Ready)?;
    let mut error = None;
    if input.recv().await.is_some() {
        let arena = Arena::begin(attack, scene)?;
        while input.recv().await.is_some() {}
        error = arena.end(&stop).await;
        paused.resume(&plan.dir).await?;
    }
    say(&Said::Done(Done { counts: tally.counts(), error }))
}

/// Linux shares the machine among sessions first, then among what runs in each.
fn stand_back() {
    let session = rustix::process::setsid().map_err(io::Error::from);
    let least = session.and_then(|_| match fs::write(SESSION, LEAST.to_string()) {
        // A kernel that does not share among sessions.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        written => written,
    });
    if let Err(error) = least.and(rustix::process::nice(LEAST).map_err(io::Error::from)) {
        eprintln!("sotto-testnet: the attackers take their share of this machine like everybody: {error}");
    }
}

/// A thing for each line of standard input, until it ends.
fn lines_of_input() -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel(1);
    // A read of it cannot be ended: it waits on a thread of its own, which goes with the process.
    std::thread::spawn(move || {
        for _ in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// One line for the attack.
fn say(said: &Said) -> Result<(), Failure> {
    let line = serde_json::to_string(said).map_err(|error| broke(&error.to_string()))?;
    writeln!(io::stdout(), "{line}").context("tell", "the attack")
}

/// Where an attack runs: on threads of its own, so that the end of the input is not waited for behind it.
struct Arena {
    /// There until it is dropped.
    runtime: Option<tokio::runtime::Runtime>,
    task: tokio::task::JoinHandle<Result<(), String>>,
}

impl Arena {
    fn begin(attack: &Attack, scene: Scene) -> Result<Self, Failure> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = THREADS.min(cores.div_ceil(2));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
        let runtime =
            runtime.map_err(|error| Failure::new(Exit::Internal, format!("no threads to attack: {error}")))?;
        let task = runtime.spawn((attack.start)(Arc::new(scene)));
        Ok(Self { runtime: Some(runtime), task })
    }

    /// Ends it; whatever it still holds is dropped.
    async fn end(mut self, stop: &CancellationToken) -> Option<String> {
        stop.cancel();
        match tokio::time::timeout(ENDING, &mut self.task).await {
            Ok(Ok(Ok(()))) | Err(_) => None,
            Ok(Ok(Err(reason))) => Some(reason),
            Ok(Err(error)) => Some(format!("the attack broke: {error}")),
        }
    }
}

impl Drop for Arena {
    /// Without waiting, which nobody may do here.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
