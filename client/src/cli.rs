//! The command line of `sotto`.

mod network;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Exit codes: 1 the user can mend it, 3 the network, 8 not in time. (2 is clap's.)
mod exit {
    pub(super) const FAILED: u8 = 1;
    pub(super) const NETWORK: u8 = 3;
    pub(super) const TIMEOUT: u8 = 8;
}

/// Sotto: a private messenger without servers.
#[derive(Debug, Parser)]
#[command(name = "sotto", version, about, max_term_width = 100)]
#[command(after_help = "Examples:\n  sotto network show --genesis ./genesis.json\n  sotto network nodes --json")]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Debug, Args)]
struct Global {
    /// The network's genesis file.
    #[arg(long, global = true, env = "SOTTO_GENESIS", value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// How long one node may take to answer, in seconds.
    #[arg(long, global = true, env = "SOTTO_TIMEOUT", value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
    /// One JSON document on standard output.
    #[arg(long, global = true)]
    json: bool,
    /// Nothing but the answer.
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Noun {
    /// What the network looks like, checked against its genesis.
    #[command(subcommand)]
    Network(network::Verb),
}

/// A failure with the exit code and what to do next.
#[derive(Debug)]
struct Failure {
    code: &'static str,
    exit: u8,
    message: String,
    hint: &'static str,
}

impl Failure {
    fn report(&self, json: bool) {
        if json {
            let line = serde_json::json!({
                "v": 1, "type": "error", "code": self.code, "exit": self.exit, "message": self.message,
                "hint": self.hint, "retry_after_ms": null,
            });
            eprintln!("{line}");
        } else {
            eprintln!("sotto: {}\n  {}", self.message, self.hint);
        }
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.noun {
        Noun::Network(verb) => network::run(verb, &cli.global),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(cli.global.json);
            ExitCode::from(failure.exit)
        }
    }
}

impl Global {
    fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout.max(1))
    }
}
