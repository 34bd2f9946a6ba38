//! `sotto-testnet up` and `down`.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::console::Console;
use super::location::{Location, shown};
use super::{Globals, banner, signals};
use crate::binaries::Binaries;
use crate::control::{self, Request, Server, WAITING_REQUESTS, Waiting};
use crate::failure::{Context, Exit, Failure};
use crate::figures;
use crate::files;
use crate::lock::{Lock, LockError};
use crate::logs;
use crate::manifest::Manifest;
use crate::plan::{Plan, Settings};
use crate::ports;
use crate::progress::{Display, Outcome, Progress};
use crate::supervisor::{Report, Supervisor, remove_data};

/// How long a testnet may take to become ready, unless `--timeout` says otherwise.
const READY_DEADLINE: Duration = Duration::from_secs(120);
/// How often a launcher looks at the supervisor it put into the background.
const BACKGROUND_POLL: Duration = Duration::from_millis(100);
/// How long the end of a testnet may take.
const DOWN_DEADLINE: Duration = Duration::from_secs(30);

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

/// Where ports begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PortBase {
    Auto,
    At(u16),
}

impl std::str::FromStr for PortBase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            number => number.parse().map(Self::At).map_err(|_| format!("{number:?}: want a port or \"auto\"")),
        }
    }
}

/// Brings a testnet up.
pub(super) async fn run(globals: &Globals, arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let location = Location::with_default(globals, if arguments.exit { "exit" } else { "dev" })?;
    fs::create_dir_all(&location.dir).context("create", location.dir.display())?;
    let lock = Lock::take(&location.dir).map_err(|error| in_use(&error))?;
    if arguments.fresh || arguments.exit {
        remove_data(&location.dir)?;
    }
    let plan = plan(&location, arguments)?;
    if arguments.detach && !arguments.background {
        drop(lock);
        return detach(globals, &plan, console).await;
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
    let result = supervise(globals, plan, arguments, console, &stop).await;
    drop(lock);
    // Only when a refused start left it empty.
    let _holds_data: Result<_, _> = fs::remove_dir(&location.dir);
    let signal = *signalled.borrow();
    match (result, signal) {
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

/// The plan of the testnet in the directory, else a new one; options that contradict what is there are refused.
fn plan(location: &Location, arguments: &Arguments) -> Result<Plan, Failure> {
    // Without a genesis an earlier start was refused, and nothing was made yet.
    let made = if location.dir.join(files::GENESIS).exists() { location.settings()? } else { None };
    let settings = match made {
        Some(settings) => unchanged(settings, location, arguments)?,
        None => new_settings(location, arguments)?,
    };
    Ok(Plan::new(settings, location.dir.clone()))
}

fn unchanged(settings: Settings, location: &Location, arguments: &Arguments) -> Result<Settings, Failure> {
    let block_time = Duration::from_millis(settings.block_time_ms);
    let differs = [
        ("--nodes", arguments.nodes.is_some_and(|nodes| nodes != settings.nodes), settings.nodes.to_string()),
        ("--seed", arguments.seed.is_some_and(|seed| seed != settings.seed), settings.seed.to_string()),
        (
            "--block-time",
            arguments.block_time.is_some_and(|time| time != block_time),
            humantime::format_duration(block_time).to_string(),
        ),
        (
            "--port-base",
            matches!(arguments.port_base, Some(PortBase::At(base)) if base != settings.port_base),
            settings.port_base.to_string(),
        ),
    ];
    match differs.into_iter().find(|(_, differs, _)| *differs) {
        None => Ok(settings),
        Some((option, _, there)) => {
            let message = format!("the testnet in {} was made with {option} {there}", shown(&location.dir));
            Err(Failure::new(Exit::Conflict, message)
                .hint("--fresh removes its data first; --name NAME starts another one"))
        }
    }
}

fn new_settings(location: &Location, arguments: &Arguments) -> Result<Settings, Failure> {
    let nodes = arguments.nodes.unwrap_or(50);
    let seed = arguments.seed.unwrap_or(42);
    let block_time = arguments.block_time.unwrap_or(Duration::from_secs(1));
    let settings = |base: u16| {
        Settings::new(&location.name, seed, nodes, block_time, base)
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()))
    };
    match arguments.port_base.unwrap_or(PortBase::At(27_000)) {
        PortBase::At(base) => settings(base),
        PortBase::Auto => {
            for base in (20_000..32_000).step_by(2_000) {
                let candidate = settings(base)?;
                if ports::all_free(&Plan::new(candidate.clone(), location.dir.clone()).sockets()).is_ok() {
                    return Ok(candidate);
                }
            }
            Err(Failure::new(Exit::InUse, "no free range of ports from 20000 to 32000"))
        }
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
    let started = tokio::select! {
        started = Supervisor::start(plan.clone(), binaries, deadline, &report) => Some(started),
        () = stop.cancelled() => None,
    };
    let result = match started {
        None => Ok(Ended::Early),
        Some(Err(failure)) => {
            report.outcome(Outcome::from(&failure));
            Err(failure)
        }
        Some(Ok(mut supervisor)) => {
            report.outcome(Outcome::Ready);
            finish(display).await;
            let result = up(&mut supervisor, &plan, arguments, console, &mut requests, stop).await;
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
async fn finish(task: tokio::task::JoinHandle<()>) {
    let _panicked: Result<_, _> = task.await;
}

/// Shows progress until its end.
async fn show(mut progress: watch::Receiver<Progress>, mut display: Display) {
    loop {
        let seen = progress.borrow_and_update().clone();
        display.show(&seen);
        if seen.outcome.is_some() || progress.changed().await.is_err() {
            return;
        }
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
    console.print(&banner::banner(plan), manifest)
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

/// Starts the supervisor as a process of its own and shows its progress until the testnet is up.
async fn detach(globals: &Globals, plan: &Plan, console: &Console) -> Result<(), Failure> {
    let log = plan.dir.join(files::SUPERVISOR_LOG);
    let output = fs::File::create(&log).context("create", log.display())?;
    let errors = output.try_clone().context("open", log.display())?;
    let program = std::env::current_exe().context("tell", "where this program lies")?;
    let mut child = tokio::process::Command::new(program)
        .args(std::env::args_os().skip(1).filter(|argument| argument != "--fresh"))
        .args(["--background", "--progress", "never"])
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .context("start", "the supervisor")?;
    let stop = CancellationToken::new();
    let signalled = signals::watch_signals(&stop)?;
    let mut display = Display::new(globals.progress_style());
    loop {
        tokio::select! {
            ended = child.wait() => {
                let reason = logs::last_line(&log).unwrap_or_default();
                let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                return Err(Failure::new(Exit::Failed, format!("the supervisor ended ({how}): {reason}"))
                    .hint(format!("see {}", log.display())));
            }
            () = stop.cancelled() => {
                end(plan, DOWN_DEADLINE).await?;
                return Err(Failure::new(signalled.borrow().unwrap_or(Exit::Interrupted), "stopped"));
            }
            () = tokio::time::sleep(BACKGROUND_POLL) => {}
        }
        // The socket appears a moment after the process.
        let Ok(progress) = control::ask::<Progress>(&plan.dir, &Request::Progress).await else { continue };
        display.show(&progress);
        if let Some(outcome) = progress.outcome {
            drop(display);
            outcome.into_result()?;
            return announce(plan, &Manifest::read(&plan.dir).context("read", "the manifest")?, console);
        }
    }
}

/// Ends a running testnet.
pub(super) async fn down(globals: &Globals, console: &Console) -> Result<(), Failure> {
    let location = Location::new(globals)?;
    let plan = location.plan()?;
    let document =
        |was_running: bool| serde_json::json!({ "v": 1, "type": "testnet.down", "was_running": was_running });
    if Lock::holder(&plan.dir).is_none() {
        return console.print(&format!("not running: {}", shown(&plan.dir)), &document(false));
    }
    end(&plan, globals.timeout.unwrap_or(DOWN_DEADLINE)).await?;
    console.print(
        &format!("stopped: {} (its data stay; sotto-testnet clean removes them)", shown(&plan.dir)),
        &document(true),
    )
}

/// Asks the supervisor to end and waits until it has let go of the directory.
async fn end(plan: &Plan, deadline: Duration) -> Result<(), Failure> {
    control::ask::<()>(&plan.dir, &Request::Down).await?;
    let gone = async {
        while Lock::holder(&plan.dir).is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(deadline, gone)
        .await
        .map_err(|_| Failure::new(Exit::Timeout, format!("the testnet did not end within {deadline:?}")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Verb};
    use super::*;
    use crate::supervisor::write_settings;

    fn arguments(line: &str) -> Arguments {
        match Cli::parse_from(line.split(' ')).verb {
            Verb::Up(arguments) => arguments,
            other => panic!("{other:?}"),
        }
    }

    fn location(dir: &tempfile::TempDir) -> Location {
        Location { dir: dir.path().to_owned(), name: "lab".to_owned() }
    }

    /// What is there after a start.
    fn made(dir: &tempfile::TempDir, line: &str) -> Plan {
        let plan = plan(&location(dir), &arguments(line)).unwrap();
        write_settings(&plan.settings, dir.path()).unwrap();
        fs::write(plan.genesis(), "{}").unwrap();
        plan
    }

    #[test]
    fn a_second_start_takes_the_settings_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let first = made(&dir, "sotto-testnet up -n 7 --seed 9 --port-base 30000");
        let again = plan(&location(&dir), &arguments("sotto-testnet up")).unwrap();
        assert_eq!(first, again);
        assert_eq!((again.settings.nodes, again.settings.seed, again.settings.port_base), (7, 9, 30_000));
    }

    #[test]
    fn options_that_contradict_the_data_are_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        made(&dir, "sotto-testnet up -n 7");
        let failure = plan(&location(&dir), &arguments("sotto-testnet up -n 7 --seed 43")).unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict);
        assert!(failure.message.contains("--seed 42"), "{failure}");
    }

    #[test]
    fn impossible_settings_are_usage_errors() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(plan(&location(&dir), &arguments("sotto-testnet up -n 3")).unwrap_err().exit, Exit::Usage);
    }
}
