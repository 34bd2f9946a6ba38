//! `sotto-testnet ls`, `logs` and `env`.

use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use clap::Args;
use serde::Serialize;

use super::Globals;
use super::console::Console;
use super::location::{DATA, Location, shown};
use crate::failure::{Context, Exit, Failure};
use crate::files;
use crate::lock::Lock;
use crate::logs::Follower;
use crate::plan::Plan;
use crate::target::{Selection, Target};

/// How often a followed log is looked at.
const FOLLOW_POLL: Duration = Duration::from_millis(200);

/// Options of `logs`.
#[derive(Clone, Debug, Args)]
pub(super) struct LogsArguments {
    /// A node's number, "chain" for the block producer, or "supervisor"
    #[arg(value_name = "PROCESS")]
    process: String,
    /// Go on with what is printed from now on
    #[arg(short, long)]
    follow: bool,
}

/// Options of `env`.
#[derive(Clone, Debug, Args)]
pub(super) struct EnvArguments {
    /// Whose syntax
    #[arg(value_enum, default_value = "sh")]
    shell: Shell,
}

/// A family of shells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Shell {
    /// sh, bash, zsh and their like.
    #[value(alias = "bash", alias = "zsh")]
    Sh,
    /// fish.
    Fish,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    dir: PathBuf,
    running: bool,
    pid: Option<u32>,
    nodes: u16,
    seed: u64,
    port_base: u16,
}

/// The testnets below the data directory, and the one that options point to.
pub(super) async fn list(globals: &Globals, console: &Console) -> Result<(), Failure> {
    let mut dirs: Vec<PathBuf> = match fs::read_dir(DATA) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).context("read", DATA),
    };
    dirs.sort();
    let current = std::env::current_dir().context("tell", "the current directory")?;
    let mut dirs: Vec<PathBuf> = dirs.into_iter().map(|dir| current.join(dir)).collect();
    let chosen = Location::new(globals)?.dir;
    if !dirs.contains(&chosen) {
        dirs.push(chosen);
    }
    let listed: Vec<Listed> = dirs.into_iter().filter_map(describe).collect();
    let lines: Vec<String> = listed.iter().map(line).collect();
    let text =
        if lines.is_empty() { "no testnets here; ./testnet/up.sh starts one".to_owned() } else { lines.join("\n") };
    console.print(&text, &serde_json::json!({ "v": 1, "type": "testnet.list", "testnets": listed }))
}

/// What lies in `dir`, if it is a testnet.
fn describe(dir: PathBuf) -> Option<Listed> {
    let settings = Location { dir: dir.clone(), name: String::new() }.settings().ok()??;
    let pid = Lock::holder(&dir);
    Some(Listed {
        name: settings.name,
        running: pid.is_some(),
        pid,
        nodes: settings.nodes,
        seed: settings.seed,
        port_base: settings.port_base,
        dir,
    })
}

fn line(listed: &Listed) -> String {
    let state = listed.pid.map_or_else(|| "down".to_owned(), |pid| format!("up (pid {pid})"));
    format!(
        "{:<12} {state:<16} {:>3} nodes  seed {}  ports from {}  {}",
        listed.name,
        listed.nodes,
        listed.seed,
        listed.port_base,
        shown(&listed.dir)
    )
}

/// Prints what a process printed.
pub(super) async fn logs(globals: &Globals, arguments: &LogsArguments, console: &Console) -> Result<(), Failure> {
    let plan = Location::new(globals)?.plan()?;
    let log = log_of(&plan, &arguments.process)?;
    console.detail(&format!("{}:", log.display()));
    let mut follower = Follower::open(&log).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(Exit::NotFound, format!("nothing printed yet: no {}", shown(&log))),
        _ => Failure::new(Exit::Failed, format!("cannot read {}: {error}", log.display())),
    })?;
    loop {
        match follower.copy_new(&mut io::stdout().lock()) {
            // `| head` has what it wanted.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.context("copy", log.display())?,
        };
        if !arguments.follow {
            return Ok(());
        }
        tokio::time::sleep(FOLLOW_POLL).await;
    }
}

fn log_of(plan: &Plan, process: &str) -> Result<PathBuf, Failure> {
    if process == "supervisor" {
        return Ok(plan.dir.join(files::SUPERVISOR_LOG));
    }
    let selection: Selection =
        process.parse().map_err(|error: crate::target::SelectionError| Failure::new(Exit::Usage, error.to_string()))?;
    let targets = selection
        .resolve(plan.settings.nodes)
        .map_err(|missing| Failure::new(Exit::NotFound, format!("there is no {missing}")))?;
    match targets.as_slice() {
        [Target::Chain] => Ok(plan.producer().log),
        [Target::Node(index)] => Ok(plan.node(*index).log),
        _ => Err(Failure::new(Exit::Usage, "one process at a time")),
    }
}

/// Prints shell commands that make this testnet and its programs the default.
pub(super) fn env(globals: &Globals, arguments: &EnvArguments, console: &Console) -> Result<(), Failure> {
    let dir = Location::new(globals)?.plan()?.dir;
    let beside = std::env::current_exe().context("tell", "where this program lies")?;
    let programs = beside.parent().map(PathBuf::from).unwrap_or_default();
    let (programs, dir) = (programs.display().to_string(), dir.display().to_string());
    let text = match arguments.shell {
        Shell::Sh => format!("export PATH={}:\"$PATH\"\nexport SOTTO_TESTNET={}", word(&programs), word(&dir)),
        Shell::Fish => format!("fish_add_path --path {}\nset -gx SOTTO_TESTNET {}", word(&programs), word(&dir)),
    };
    console.print(&text, &serde_json::json!({ "v": 1, "type": "testnet.env", "path": programs, "testnet": dir }))
}

/// One word of a shell, whatever is in it; absolute, because the user may go elsewhere.
fn word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
