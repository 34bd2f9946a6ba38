//! `sotto-testnet up` and `down`.

mod background;
mod clear;
mod settings;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub(super) use self::background::down;
pub(super) use self::clear::clear_before;
use self::clear::clear_kernel;
use self::settings::PortBase;
use super::console::Console;
use super::location::{Location, shown};
use super::{Globals, banner, signals};
use crate::binaries::Binaries;
use crate::chaos;
use crate::control::{Server, WAITING_REQUESTS, Waiting};
use crate::demo;
use crate::failure::{Context, Exit, Failure, both};
use crate::figures;
use crate::files;
use crate::lock::{Lock, LockError};
use crate::manifest::Manifest;
use crate::plan::Plan;
use crate::progress::{Display, Outcome, Progress};
use crate::supervisor::{Report, Supervisor, remove_data};
use crate::users::Users;

/// How long a testnet may take to become ready, unless `--timeout` says otherwise.
const READY_DEADLINE: Duration = Duration::from_secs(120);

/// Options of `up`.
#[derive(Clone, Debug, Args)]
pub(super) struct Arguments {
    /// Nodes at the start [default: 50]
    #[arg(short = 'n', long, value_name = "N", env = "TESTNET_NODES")]
    nodes: Option<u16>,
    /// All keys follow from it [default: 42]
    #[arg(long, env = "TESTNET_SEED")]
    seed: Option<u64>,
    /// Time between blocks [default: 1s]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION", env = "TESTNET_BLOCK_TIME")]
    block_time: Option<Duration>,
    /// The lowest port, or "auto" for the first free range [default: 27000]
    #[arg(long, value_name = "PORT|auto", env = "TESTNET_PORT_BASE")]
    port_base: Option<PortBase>,
    /// Remove the data of an earlier run first
    #[arg(long)]
    fresh: bool,
    /// Start from nothing, print the figures, stop; the default name is then "exit"
    #[arg(long, conflicts_with = "detach")]
    exit: bool,
    /// Return when the testnet is up and leave it running in the background
    #[arg(long)]
    detach: bool,
    /// No accounts and no first messages
    #[arg(long)]
    no_demo: bool,
    /// Write the manifest here too
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Stop when stdin ends, for scripts and tests
    #[arg(long)]
    exit_on_stdin_eof: bool,
    /// This is the process in the background
    #[arg(long, hide = true)]
    background: bool,
}

/// Brings a testnet up.
pub(super) async fn run(globals: &Globals, arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let location = Location::with_default(globals, if arguments.exit { "exit" } else { "dev" })?;
    fs::create_dir_all(&location.dir).context("create", location.dir.display())?;
    let lock = Lock::take(&location.dir).map_err(|error| in_use(&error))?;
    // Processes and faults of a testnet that was killed.
    if let Err(failure) = clear_before(&location, console).await {
        // Whoever may not end them can have a testnet all the same.
        console.note(&failure.to_string());
    }
    if arguments.fresh || arguments.exit {
        chaos::discard_all(&location.dir)?;
        remove_data(&location.dir)?;
    } else {
        chaos::give_all_back(&location.dir)?;
    }
    let plan = settings::plan(&location, arguments)?;
    if arguments.detach && !arguments.background {
        drop(lock);
        return background::detach(globals, &plan, console).await;
    }
    if arguments.background {
        // Out of the terminal's session: its end must not be ours.
        rustix::process::setsid().map_err(std::io::Error::from).context("leave", "the terminal")?;
    }
    let stop = CancellationToken::new();
    let signalled = signals::watch_signals(&stop)?;
    if arguments.exit_on_stdin_eof {
        signals::stop_at_stdin_eof(&stop);
    }
    let result = supervise(globals, plan.clone(), arguments, console, &stop).await;
    // Whoever has begun a fault and not ended it: nothing must stay mounted, and no rule in the kernel.
    let given_back = chaos::give_all_back(&location.dir);
    let left = both(given_back, clear_kernel(&plan, console).await);
    drop(lock);
    // Only when a refused start left it empty.
    let _holds_data: Result<_, _> = fs::remove_dir(&location.dir);
    let signal = *signalled.borrow();
    match (result.and_then(|ended| left.map(|()| ended)), signal) {
        // Stopping was what the user wanted; a testnet that was up has ended well.
        (Ok(Ended::Up), Some(Exit::Interrupted)) | (Ok(_), None) => Ok(()),
        (Ok(_), Some(exit)) => Err(Failure::new(exit, "stopped")),
        (Err(failure), _) => Err(failure),
    }
}

fn in_use(error: &LockError) -> Failure {
    match error {
        LockError::Held { .. } => Failure::new(Exit::InUse, error.to_string())
            .hint("sotto-testnet status    # or: sotto-testnet down, or another one: --name NAME --port-base auto"),
        LockError::Io { .. } => Failure::new(Exit::Failed, error.to_string()),
    }
}

/// How a supervised testnet came to its end.
enum Ended {
    /// Before it was ready.
    Early,
    /// After it had been up.
    Up,
}

/// Start, ready, serve, stop.
async fn supervise(
    globals: &Globals,
    plan: Plan,
    arguments: &Arguments,
    console: &Console,
    stop: &CancellationToken,
) -> Result<Ended, Failure> {
    let binaries = Binaries::locate()?;
    let report = Report::default();
    let (sender, mut requests) = mpsc::channel::<Waiting>(WAITING_REQUESTS);
    let server = tokio::spawn(Server::bind(&plan.dir)?.serve(report.watch(), sender, stop.clone()));
    let display = tokio::spawn(show(report.watch(), Display::new(globals.progress_style())));
    console.detail(&format!("data in {}", plan.dir.display()));
    let deadline = globals.timeout.unwrap_or(READY_DEADLINE);
    let result = match Supervisor::start(plan.clone(), binaries.clone(), deadline, &report, stop).await {
        Err(failure) => {
            report.outcome(Outcome::from(&failure));
            finish(display).await;
            if stop.is_cancelled() { Ok(Ended::Early) } else { Err(failure) }
        }
        Ok(mut supervisor) => {
            let first = first_messages(&mut supervisor, &plan, &binaries, arguments, &report, stop).await;
            report.outcome(first.as_ref().map_or_else(Outcome::from, |_| Outcome::Ready));
            finish(display).await;
            let result = match first {
                Ok(()) => up(&mut supervisor, &plan, arguments, console, &mut requests, stop).await,
                Err(failure) => Err(failure),
            };
            console.note(" stopping …");
            supervisor.shutdown().await;
            result.map(|()| Ended::Up)
        }
    };
    drop(requests);
    stop.cancel();
    finish(server).await;
    result
}

/// A task that panicked has printed why; there is nothing to add.
pub(super) async fn finish(task: tokio::task::JoinHandle<()>) {
    let _panicked: Result<_, _> = task.await;
}

/// Shows progress until its end.
pub(super) async fn show(mut progress: watch::Receiver<Progress>, mut display: Display) {
    loop {
        let seen = progress.borrow_and_update().clone();
        display.show(&seen);
        if seen.outcome.is_some() || progress.changed().await.is_err() {
            return;
        }
    }
}

/// Shows messages arrive, where there are swarms enough for paths.
async fn first_messages(
    supervisor: &mut Supervisor,
    plan: &Plan,
    binaries: &Binaries,
    arguments: &Arguments,
    report: &Report,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let manifest = Manifest::read(&plan.dir).context("read", "the manifest")?;
    if arguments.no_demo {
        return Ok(());
    }
    if manifest.swarms.len() < demo::SWARMS {
        report.step("demo", format!("none: paths need {} swarms, so about 21 nodes", demo::SWARMS));
        return Ok(());
    }
    let users = Users::new(plan, binaries);
    tokio::select! {
        shown = demo::run(supervisor, &users, &manifest, |step| report.step("demo", step)) => shown,
        () = stop.cancelled() => Ok(()),
    }
}

/// The testnet is up: say so, then measure and end, or obey until the end.
async fn up(
    supervisor: &mut Supervisor,
    plan: &Plan,
    arguments: &Arguments,
    console: &Console,
    requests: &mut mpsc::Receiver<Waiting>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let manifest = Manifest::read(&plan.dir).context("read", "the manifest")?;
    if let Some(path) = &arguments.manifest {
        manifest.write(path).context("write", path.display())?;
    }
    if arguments.exit {
        return measure(supervisor, console, stop).await;
    }
    announce(plan, &manifest, console)?;
    supervisor.serve(requests, stop, |event| console.note(&format!(" {event}"))).await;
    Ok(())
}

fn announce(plan: &Plan, manifest: &Manifest, console: &Console) -> Result<(), Failure> {
    if console.quiet {
        return console.line(&shown(&plan.dir.join(files::MANIFEST)));
    }
    let users = plan.dir.join(files::USERS).is_dir();
    console.print(&banner::banner(plan, users), manifest)
}

async fn measure(supervisor: &mut Supervisor, console: &Console, stop: &CancellationToken) -> Result<(), Failure> {
    console.note(&format!(" idle      watching the idle testnet for {:?} …", figures::SETTLE + figures::WINDOW));
    let (producer, nodes) = supervisor.pids();
    let figures = tokio::select! {
        figures = figures::measure(producer, &nodes, supervisor.ready()) => figures,
        () = stop.cancelled() => return Ok(()),
    };
    if let Some(exit) = supervisor.failed() {
        return Err(Failure::new(Exit::Failed, format!("{} ended ({})", exit.label, exit.how)));
    }
    let figures = figures.ok_or_else(|| Failure::new(Exit::Failed, "a process ended during the measurement"))?;
    console.print(&figures.to_text(), &figures)
}
