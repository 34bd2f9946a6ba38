//! The command line.
//!
//! Standard output is data, standard error is everything said about it. With `--json` both are JSON: a document on
//! standard output, one line for an error on standard error. Secrets come from files only.

mod config_verb;
mod doctor;
mod drain;
mod error;
mod init;
mod keys_verb;
mod output;
mod peers;
mod register;
mod rewards;
mod run_verb;
mod running;
mod setting_args;
pub mod status;
mod store_verb;
mod swarm;
mod wait;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use sotto_proto::chain::GenesisFile;

pub use self::error::{CliError, Exit};
use self::output::{ColorWhen, Format, Output};
use self::setting_args::{GlobalSettings, NodeSettings};
use crate::config::{self, Config, Settings};
use crate::run::MakeOutlet;

/// The highest instance.
const INSTANCES: i64 = 200;
/// Longest wait for a running node's answer where `--timeout` says nothing.
const ANSWER: Duration = Duration::from_secs(5);

/// Runs and looks after a Sotto service node.
#[derive(Debug, Parser)]
#[command(name = "sotto-node", version, propagate_version = true, max_term_width = 110)]
#[command(after_help = "\
Set up and start a node:
  sotto-node init --genesis genesis.json --announce /ip4/203.0.113.7/tcp/22020
  sotto-node run --register
  sotto-node status

Exit codes: 0 done · 1 failed · 2 usage · 3 node not running or network · 7 not found · 8 not ready yet ·
10 conflict · 12 data directory in use · 70 defect in this program")]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args)]
struct Globals {
    /// Directory with the node's keys, settings and database
    #[arg(long, global = true, value_name = "DIR", env = "SOTTO_NODE_DATADIR", help_heading = "General")]
    datadir: Option<PathBuf>,
    /// Which of several nodes on this machine: each has its own default data directory, and default ports ten apart
    #[arg(
        long,
        global = true,
        value_name = "N",
        env = "SOTTO_NODE_INSTANCE",
        default_value_t = 0,
        help_heading = "General"
    )]
    #[arg(value_parser = clap::value_parser!(u8).range(..=INSTANCES))]
    instance: u8,
    /// File of settings, instead of node.toml in the data directory
    #[arg(long, global = true, value_name = "FILE", env = "SOTTO_NODE_CONFIG", help_heading = "General")]
    config: Option<PathBuf>,
    /// Same as --output json
    #[arg(long, global = true, help_heading = "General")]
    json: bool,
    /// How to answer
    #[arg(short, long, global = true, value_name = "text|json", default_value = "text", help_heading = "General")]
    output: Format,
    /// When to use colours; NO_COLOR is honoured
    #[arg(long, global = true, value_name = "auto|always|never", default_value = "auto", help_heading = "General")]
    color: ColorWhen,
    /// Log more: once debug, twice trace
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "General")]
    verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true, help_heading = "General")]
    quiet: bool,
    /// How long to wait, such as 30s or 2m
    #[arg(long, global = true, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "General")]
    timeout: Option<Duration>,
    /// Answer yes to every question
    #[arg(short, long, global = true, help_heading = "General")]
    yes: bool,
    /// Fail instead of asking
    #[arg(long, global = true, help_heading = "General")]
    no_input: bool,
    #[command(flatten)]
    logging: GlobalSettings,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Set up a node: keys, settings, a copy of the genesis file
    Init(init::Init),
    /// Run the node until it is told to stop
    Run(run_verb::Run),
    /// Say how the node is; the first word is OK, STARTING, PROBLEM or STOPPED
    Status(status::StatusVerb),
    /// Check everything that can be wrong, one line each, and ask peers how they see the node
    Doctor(doctor::Doctor),
    /// Wait until the node is ready
    Wait(wait::Wait),
    /// Show the node's swarm: its members, and whether they have the same records
    Swarm(swarm::Swarm),
    /// Show who is connected, who dialled, and who is kept out
    Peers(peers::Peers),
    /// Show what is stored, or check it
    Store(store_verb::StoreVerb),
    /// Stake coins and register the node on the chain
    Register(register::Register),
    /// Take no new messages, and wait until others have what only this node has: before it is stopped or leaves
    Drain(drain::Drain),
    /// Leave the network; the stake is free after the lock-up
    Exit(register::ExitVerb),
    /// Show what the node has earned and what its operator has
    Rewards(rewards::Rewards),
    /// Show, change or back up the node's keys
    Keys(keys_verb::Keys),
    /// Show or check the settings
    Config(config_verb::ConfigVerb),
}

/// What every verb works with.
#[derive(Debug)]
struct Context {
    datadir: PathBuf,
    instance: u8,
    config_file: Option<PathBuf>,
    logging: GlobalSettings,
    verbose: u8,
    timeout: Option<Duration>,
    assume_yes: bool,
    no_input: bool,
    out: Output,
}

/// Runs the command line `args` (the first is the program's name) and says with which code to end.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    main_with(args, None)
}

/// The same, for a program whose node is to misbehave: all that the machine of a running node says goes through `outlet`.
pub fn main_with(args: impl IntoIterator<Item = OsString>, outlet: Option<MakeOutlet>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print(); // nobody is left to tell
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let globals = cli.globals;
    let json = globals.json || globals.output == Format::Json;
    let mut context = Context {
        datadir: globals.datadir.unwrap_or_else(|| default_datadir(globals.instance)),
        instance: globals.instance,
        config_file: globals.config,
        logging: globals.logging,
        verbose: globals.verbose,
        timeout: globals.timeout,
        assume_yes: globals.yes,
        no_input: globals.no_input,
        out: Output::new(json, globals.quiet, globals.color),
    };
    let result = match cli.verb {
        Verb::Init(verb) => verb.run(&mut context),
        Verb::Run(verb) => verb.run(&context, outlet),
        Verb::Status(verb) => verb.run(&mut context),
        Verb::Doctor(verb) => verb.run(&context),
        Verb::Wait(verb) => verb.run(&mut context),
        Verb::Swarm(verb) => verb.run(&context),
        Verb::Peers(verb) => verb.run(&context),
        Verb::Store(verb) => verb.run(&context),
        Verb::Register(verb) => verb.run(&mut context),
        Verb::Drain(verb) => verb.run(&context),
        Verb::Exit(verb) => verb.run(&mut context),
        Verb::Rewards(verb) => verb.run(&mut context),
        Verb::Keys(verb) => verb.run(&mut context),
        Verb::Config(verb) => verb.run(&mut context),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            let line = if json { error.to_json() } else { error.to_text() };
            let _ = writeln!(std::io::stderr(), "{line}"); // nobody is left to tell
            error.exit.into()
        }
    }
}

/// `$STATE_DIRECTORY` of systemd, else `$XDG_DATA_HOME/sotto-node`, else `~/.local/share/sotto-node`; of an instance but
/// the first the last two with its number.
fn default_datadir(instance: u8) -> PathBuf {
    let name = if instance == 0 { "sotto-node".to_owned() } else { format!("sotto-node-{instance}") };
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("STATE_DIRECTORY")
        .or_else(|| variable("XDG_DATA_HOME").map(|data| data.join(&name)))
        .or_else(|| variable("HOME").map(|home| home.join(".local/share").join(&name)))
        .unwrap_or_else(|| PathBuf::from(&name))
}

impl Context {
    /// All layers of settings, `node` being the flags of the verb.
    fn settings(&self, node: &NodeSettings) -> Result<Settings, CliError> {
        let mut settings = Settings::of_instance(self.instance);
        settings.lay_file(std::path::Path::new(config::SYSTEM_FILE))?;
        match &self.config_file {
            Some(path) if !path.exists() => return Err(CliError::no_such_file("settings", path)),
            Some(path) => settings.lay_file(path)?,
            None => settings.lay_file(&self.datadir.join(config::FILE))?,
        }
        self.logging.lay(&mut settings);
        node.lay(&mut settings);
        if self.verbose > 0 {
            let level = if self.verbose == 1 { "info,sotto_node=debug,sotto_behaviours=debug" } else { "trace" };
            let setting = config::setting::find("log-level");
            setting.into_iter().for_each(|s| settings.set(s, level.to_owned(), config::Origin::Flag("verbose")));
        }
        Ok(settings)
    }

    /// The settings, parsed.
    fn config(&self, node: &NodeSettings) -> Result<Config, CliError> {
        Ok(Config::from_settings(&self.settings(node)?)?)
    }

    /// The genesis: of `--genesis` if that is given, which must be the one the node was set up with; else the copy in
    /// the data directory.
    fn genesis(&self, config: &Config) -> Result<GenesisFile, CliError> {
        let copy = self.datadir.join(config::GENESIS_FILE);
        let own = if copy.exists() { Some(init::read_genesis(&copy)?) } else { None };
        let given = config.genesis.as_deref().map(init::read_genesis).transpose()?;
        match (given, own) {
            (Some(given), Some(own)) if given.genesis.chain_id() != own.genesis.chain_id() => {
                Err(CliError::other_chain(&given.genesis.chain_id(), &own.genesis.chain_id(), &self.datadir))
            }
            (Some(genesis), _) | (None, Some(genesis)) => Ok(genesis),
            (None, None) => Err(CliError::not_set_up(&self.datadir)),
        }
    }
}
