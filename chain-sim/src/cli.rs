//! The command line. One file per verb; each asks the running producer over its admin socket, except `genesis` and
//! `run`.

mod client;
mod console;
mod failure;
mod faucet;
mod fault;
mod genesis;
mod keys;
mod logging;
mod produce;
mod run;
mod stake;
mod status;
mod transfer;
mod wait;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

use self::client::Client;
use self::console::Console;
use self::failure::{Exit, Failure};

/// The Sotto chain: found it, produce its blocks, look at stakes, move coins
#[derive(Debug, Parser)]
#[command(
    name = "sotto-chain",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
struct Arguments {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

/// Options of every verb; they may stand before or after it.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
struct Globals {
    /// The producer's data directory [default: $XDG_DATA_HOME/sotto-chain]
    #[arg(long, global = true, value_name = "DIR", env = "SOTTO_CHAIN_DATADIR")]
    datadir: Option<PathBuf>,
    /// One JSON document on standard output, errors as one JSON line on standard error
    #[arg(long, global = true)]
    json: bool,
    /// The same as --json, or plain text
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", env = "SOTTO_CHAIN_OUTPUT")]
    output: Option<Output>,
    /// Log more; repeat for still more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Print nothing but data and errors
    #[arg(short, long, global = true)]
    quiet: bool,
    /// When to use colours
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    color: Color,
    /// How log lines look
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "text",
        env = "SOTTO_CHAIN_LOG_FORMAT"
    )]
    log_format: LogFormat,
    /// Log to this file, which is rotated by size, instead of standard error
    #[arg(long, global = true, value_name = "FILE", env = "SOTTO_CHAIN_LOG_FILE")]
    log_file: Option<PathBuf>,
    /// Give up after this long, such as 30s
    #[arg(long, global = true, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Answer every question with yes
    #[arg(short, long, global = true)]
    yes: bool,
    /// Fail instead of asking
    #[arg(long, global = true)]
    no_input: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
    Logfmt,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Found a chain, or look at a genesis file
    Genesis(Box<genesis::Arguments>),
    /// Produce blocks until told to stop
    Run(run::Arguments),
    /// How the running producer is doing
    Status,
    /// Who has staked what
    Stake(stake::Arguments),
    /// Move coins from one account to another
    Transfer(transfer::Arguments),
    /// Make blocks at once
    Produce(produce::Arguments),
    /// Make the producer misbehave, or behave again (testnets only)
    #[command(subcommand)]
    Fault(fault::Verb),
    /// Get coins for nothing (testnets only)
    Faucet(faucet::Arguments),
}

impl Globals {
    const fn json(&self) -> bool {
        self.json || matches!(self.output, Some(Output::Json))
    }

    /// The data directory: as given, else where the user's data lie.
    fn datadir(&self) -> Result<PathBuf, Failure> {
        if let Some(dir) = &self.datadir {
            return Ok(dir.clone());
        }
        let data = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
        let data = data.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")));
        data.map(|dir| dir.join("sotto-chain")).ok_or_else(|| {
            Failure::new(Exit::Failed, "no_datadir", "no data directory: neither --datadir nor $HOME is set")
        })
    }

    fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(self.datadir()?, self.timeout))
    }
}

/// Parses the command line, does what it says, and turns a failure into an exit code.
pub(crate) fn main() -> ExitCode {
    let Arguments { globals, verb } = Arguments::parse();
    let console = Console::new(&globals);
    match dispatch(&globals, verb, &console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console.failure(&failure);
            ExitCode::from(failure.exit.code())
        }
    }
}

fn dispatch(globals: &Globals, verb: Verb, console: &Console) -> Result<(), Failure> {
    match verb {
        Verb::Genesis(arguments) => genesis::run(globals, *arguments, console),
        Verb::Run(arguments) => run::run(globals, arguments, console),
        Verb::Status => status::run(globals, console),
        Verb::Stake(arguments) => stake::run(globals, &arguments, console),
        Verb::Transfer(arguments) => transfer::run(globals, &arguments, console),
        Verb::Produce(arguments) => produce::run(globals, &arguments, console),
        Verb::Fault(verb) => fault::run(globals, &verb, console),
        Verb::Faucet(arguments) => faucet::run(globals, &arguments, console),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn global_options_may_stand_before_and_after_the_verb() {
        for line in [["sotto-chain", "--json", "status"], ["sotto-chain", "status", "--json"]] {
            assert!(Arguments::try_parse_from(line).unwrap().globals.json());
        }
        assert!(Arguments::try_parse_from(["sotto-chain", "-o", "json", "status"]).unwrap().globals.json());
    }
}
