//! The command line: what can be said, and which file does it.

mod attack;
mod banner;
mod bench;
mod chain;
mod chaos;
mod clean;
mod console;
mod inspect;
mod location;
mod node;
mod overview;
mod signals;
mod status;
mod up;
mod user;
mod wait;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::failure::{Exit, Failure};
use crate::progress::Style;
use crate::target::Selection;
use console::Console;

/// Fifty Sotto nodes on one machine, each its own process.
#[derive(Debug, Parser)]
#[command(name = "sotto-testnet", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
struct Globals {
    /// Which testnet: a name below ./testnet/data, or a directory (with a slash)
    #[arg(long, global = true, env = "SOTTO_TESTNET", value_name = "NAME")]
    name: Option<String>,
    /// The testnet's directory; default: ./testnet/data/NAME
    #[arg(long, global = true, env = "TESTNET_DIR", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// One JSON document on stdout, errors as one JSON line on stderr
    #[arg(long, global = true)]
    json: bool,
    /// The same as --json when it is "json"
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "text",
        hide_default_value = true
    )]
    output: Format,
    /// Only what was asked for
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say more; twice for still more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Colours
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto", env = "TESTNET_COLOR")]
    color: Color,
    /// How progress is shown on stderr
    #[arg(long, global = true, value_enum, value_name = "HOW", default_value = "auto")]
    progress: Style,
    /// How long to wait before giving up, such as 90s
    #[arg(long, global = true, value_parser = humantime::parse_duration, value_name = "DURATION", env = "TESTNET_TIMEOUT")]
    timeout: Option<Duration>,
    /// Answer every question with yes
    #[arg(short, long, global = true)]
    yes: bool,
    /// Fail instead of asking
    #[arg(long, global = true)]
    no_input: bool,
}

impl Globals {
    /// How progress is shown: never when little is wanted, as JSON when everything is.
    fn progress_style(&self) -> Style {
        if self.quiet { Style::Never } else { self.progress }
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start a testnet, or go on with the one in the directory; Ctrl-C ends it
    Up(up::Arguments),
    /// End a running testnet; its data stay
    Down,
    /// Is everything well? A table of all nodes
    Status,
    /// Wait for something to be the case
    Wait(wait::Arguments),
    /// The testnets below ./testnet/data
    Ls,
    /// What a process printed
    Logs(inspect::LogsArguments),
    /// Shell commands that make this testnet the default; use as: eval "$(sotto-testnet env)"
    Env(inspect::EnvArguments),
    /// Remove the data of a testnet that does not run
    Clean(clean::Arguments),
    /// Add, kill, pause, resume or restart nodes
    #[command(subcommand)]
    Node(NodeVerb),
    /// Accounts to try things out with
    #[command(subcommand)]
    User(user::Verb),
    /// Send a message from one user to another
    Send(user::SendArguments),
    /// Send messages between a few users; does each arrive exactly once?
    Verify(user::VerifyArguments),
    /// Send messages at a rate for a while, and measure latencies and costs; or how soon members and swarms recover; or
    /// compare two measurements
    Bench(bench::Arguments),
    /// A process of idle clients, which `bench` starts
    #[command(hide = true)]
    IdleClients(bench::IdleArguments),
    /// Attack a node of the running testnet, and measure what honest users feel of it
    Attack(attack::Arguments),
    /// The process of an attack's attackers, which `attack` starts
    #[command(hide = true)]
    Attackers(attack::AttackersArguments),
    /// Faults while users write and read: run scenarios and check every message, or apply and clear faults by hand
    #[command(subcommand)]
    Chaos(chaos::Verb),
    /// The block producer: its height, and faults
    #[command(subcommand)]
    Chain(chain::Verb),
}

/// What can be done to nodes.
#[derive(Debug, Subcommand)]
enum NodeVerb {
    /// Start new nodes, which stake themselves, and wait until all agree
    Add {
        /// How many
        #[arg(default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
        count: u16,
    },
    /// Kill nodes without warning (SIGKILL)
    Kill(NodeSelection),
    /// Freeze nodes: they keep their connections and answer nobody (SIGSTOP)
    Pause(NodeSelection),
    /// Let frozen nodes go on (SIGCONT)
    Resume(NodeSelection),
    /// End nodes in order if they run, start them, and wait until they have caught up
    Restart(NodeSelection),
}

#[derive(Clone, Debug, Args)]
struct NodeSelection {
    /// A node's number, several as 3,5 or 10-14, "all", or "chain" for the block producer
    #[arg(value_name = "NODES")]
    nodes: Selection,
}

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let console = Console::new(&cli.globals);
    // The clients of a bench or an attack would wait for each other on one thread; everything else has little to do.
    let mut builder = match cli.verb {
        Verb::Bench(_) | Verb::Attack(_) | Verb::Chaos(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = builder.enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(cli, &console)),
        Err(error) => Err(Failure::new(Exit::Internal, format!("cannot start: {error}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console.failure(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}

async fn run(cli: Cli, console: &Console) -> Result<(), Failure> {
    let globals = &cli.globals;
    match cli.verb {
        Verb::Up(arguments) => up::run(globals, &arguments, console).await,
        Verb::Down => up::down(globals, console).await,
        Verb::Status => status::run(globals, console).await,
        Verb::Wait(arguments) => wait::run(globals, &arguments, console).await,
        Verb::Ls => inspect::list(globals, console).await,
        Verb::Logs(arguments) => inspect::logs(globals, &arguments, console).await,
        Verb::Env(arguments) => inspect::env(globals, &arguments, console),
        Verb::Clean(arguments) => clean::run(globals, &arguments, console).await,
        Verb::Node(verb) => node::run(globals, verb, console).await,
        Verb::User(verb) => user::run(globals, verb, console).await,
        Verb::Send(arguments) => user::send(globals, &arguments, console).await,
        Verb::Verify(arguments) => user::verify(globals, &arguments, console).await,
        Verb::Bench(arguments) => bench::run(globals, &arguments, console).await,
        Verb::IdleClients(arguments) => bench::idle_clients(globals, &arguments).await,
        Verb::Attack(arguments) => attack::run(globals, &arguments, console).await,
        Verb::Attackers(arguments) => attack::attackers(globals, &arguments).await,
        Verb::Chaos(verb) => chaos::run(globals, verb, console).await,
        Verb::Chain(verb) => chain::run(globals, verb, console).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_are_taken_before_and_after_the_command() {
        for line in [
            "sotto-testnet --json status",
            "sotto-testnet status --json",
            "sotto-testnet node restart 3,5-7 -o json --timeout 10s",
            "sotto-testnet up -n 50 --seed 42 --block-time 1s --port-base auto --exit --detach --yes",
            "sotto-testnet wait --until blocks=5",
            "sotto-testnet chain fault reorg 3",
            "sotto-testnet user env bob",
            "sotto-testnet verify --messages 4",
            "sotto-testnet bench --rate 250 --seconds 60 --out reports",
            "sotto-testnet attack --seconds 5 --only yamux streams --frames 100000 --json",
        ] {
            let parsed = Cli::try_parse_from(line.split(' '));
            assert!(parsed.is_ok() || line.contains("--exit --detach"), "{line}: {parsed:?}");
        }
    }
}
