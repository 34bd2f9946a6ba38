//! The command line of `sotto`.
//!
//! Standard output is data, standard error is everything said about it. With `--json` both are JSON: a document (or one
//! a line) on standard output, one line for an error on standard error. Secrets come from files, standard input or the
//! terminal only, and leave only where they were asked for.
//!
//! | file | what it does |
//! | --- | --- |
//! | `account`, `contact`, `message`, `request`, `verify`, `passphrase`, `config`, `completions`, `network`, `path` | one noun each |
//! | `send`, `recv`, `listen`, `history`, `search`, `status`, `doctor`, `wipe` | one verb each |
//! | `daemon`, `hook` | one process that serves all others; events to programs |
//! | `chat`, `tui` | conversations at a terminal, through the daemon |
//! | `recipient`, `sending`, `received`, `noticed` | who is meant; what was queued, on its way; how what came, and what changed, is shown |
//! | `details` | how what became of a message is shown |
//! | `draft` | what `contact draft` keeps |
//! | `conversation_error` | what the rules of conversations mean to somebody at a terminal |
//! | `network_error` | what the network's errors mean to somebody at a terminal |
//! | `settings` | flags, environment and files, in one table |
//! | `context` | the network, the account and the output that commands work with |
//! | `input`, `output`, `exit` | secrets and answers; results; how a command ends |
//! | `log` | what is logged, and where to |

mod account;
mod chat;
mod completions;
mod config;
mod contact;
mod context;
mod conversation_error;
mod daemon;
mod details;
mod doctor;
mod draft;
mod exit;
mod history;
mod hook;
mod input;
mod listen;
mod log;
mod message;
mod network;
mod network_error;
mod noticed;
mod output;
mod passphrase;
mod path;
mod received;
mod recipient;
mod recv;
mod request;
mod search;
mod send;
mod sending;
mod settings;
mod status;
mod tui;
mod verify;
mod wipe;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use self::context::{Caller, Context};
use self::daemon::link::Link;
pub use self::exit::{CliError, Exit};
use self::output::Output;
use self::settings::Settings;

/// Sotto: a private messenger without servers
#[derive(Debug, Parser)]
#[command(name = "sotto", version, propagate_version = true, max_term_width = 110)]
#[command(after_help = "\
Examples:
  sotto --testnet dev account create --name carol
  sotto --testnet dev --account carol account show
  sotto send 05… -m \"hello\"
  sotto recv --follow
  sotto network show --genesis ./genesis.json

Exit codes: 0 done · 1 failed · 2 usage · 3 network · 4 identity · 5 rate limited · 6 locked · 7 not found ·
8 not ready yet · 9 partly done · 10 conflict · 11 not allowed · 12 in use by another process · 70 defect of sotto")]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    noun: Noun,
}

/// Options of every command, besides the settings.
#[derive(Debug, Args)]
#[command(next_help_heading = "General")]
struct Globals {
    /// File of settings, instead of your own
    #[arg(long, global = true, value_name = "FILE", env = "SOTTO_CONFIG")]
    config: Option<PathBuf>,
    /// Answer in JSON; errors as one JSON line on standard error
    #[arg(long, global = true)]
    json: bool,
    /// How to answer; "json" is the same as --json
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
    /// Nothing but the answer
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Log to standard error, or to the file of --log-file; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Answer yes to every question
    #[arg(short, long, global = true)]
    yes: bool,
    /// Fail instead of asking
    #[arg(long, global = true)]
    no_input: bool,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
enum Noun {
    Send(send::Send),
    Recv(recv::Recv),
    History(history::History),
    Search(search::Search),
    Chat(chat::Chat),
    Tui(tui::Tui),
    /// Do something with a message that was said
    #[command(subcommand)]
    Message(message::Verb),
    /// Ask somebody to talk, and answer those who ask
    #[command(subcommand)]
    Request(request::Verb),
    /// Those you talk with
    #[command(subcommand)]
    Contact(contact::Verb),
    /// Make sure that nobody stands between you and a contact
    #[command(subcommand)]
    Verify(verify::Verb),
    Status(status::Status),
    Doctor(doctor::Doctor),
    /// The way messages take, and what each hop knows
    #[command(subcommand)]
    Path(path::PathVerb),
    /// Create, restore and look after accounts
    #[command(subcommand)]
    Account(account::Verb),
    /// An account's passphrase
    #[command(subcommand)]
    Passphrase(passphrase::Verb),
    Wipe(wipe::Wipe),
    /// What the network looks like, checked against its genesis
    #[command(subcommand)]
    Network(network::Verb),
    /// One process that holds the account, receives all the time, and serves all other commands and programs
    #[command(subcommand)]
    Daemon(daemon::Verb),
    /// Have the daemon forget the account's keys, until `sotto unlock`
    Lock,
    /// Give the daemon the account's keys again
    Unlock,
    /// JSON-RPC 2.0 on standard input and output, a line each
    Rpc,
    /// The OpenRPC document of all methods
    Openrpc,
    Listen(listen::Listen),
    /// Events to a program that listens on HTTP
    #[command(subcommand)]
    Hook(hook::Verb),
    /// Settings, and where they come from
    #[command(subcommand)]
    Config(config::Verb),
    /// Completions for a shell
    Completions(completions::Completions),
}

/// Runs the command line `args` (the first is the program's name) and says with which code to end.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    prepare_process();
    let args: Vec<OsString> = args.into_iter().collect();
    let parsed =
        command().try_get_matches_from(&args).and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return usage(&error, &args),
    };
    let json = cli.globals.json || cli.globals.output == Format::Json;
    let result = context(&cli.globals, &matches, json).and_then(|context| match cli.noun.daemon(&context) {
        Some(mut link) => through(&cli.noun, &context, &mut link, &args),
        None => dispatch(cli.noun, &context),
    });
    match result {
        Ok(exit) => exit.into(),
        Err(error) => fail(&error, json),
    }
}

/// The whole command tree, with a flag for each setting.
fn command() -> clap::Command {
    settings::add_flags(Cli::command())
}

impl Noun {
    /// The daemon that has the account, if the command is for the account and not for something beside it.
    fn daemon(&self, context: &Context) -> Option<Link> {
        match self {
            Self::Send(_)
            | Self::Recv(_)
            | Self::History(_)
            | Self::Search(_)
            | Self::Message(_)
            | Self::Request(_)
            | Self::Contact(_)
            | Self::Verify(_)
            | Self::Status(_)
            | Self::Doctor(_)
            | Self::Path(_)
            | Self::Hook(_)
            | Self::Account(account::Verb::Show(_) | account::Verb::Set(_)) => context.daemon(),
            Self::Account(_)
            | Self::Passphrase(_)
            | Self::Network(_)
            | Self::Daemon(_)
            | Self::Lock
            | Self::Unlock
            | Self::Rpc
            | Self::Openrpc
            | Self::Listen(_)
            | Self::Chat(_)
            | Self::Tui(_)
            | Self::Wipe(_)
            | Self::Config(_)
            | Self::Completions(_) => None,
        }
    }
}

/// Has the daemon run a command.
fn through(noun: &Noun, context: &Context, link: &mut Link, args: &[OsString]) -> Result<Exit, CliError> {
    if let Noun::Recv(recv) = noun {
        return recv::through(recv, context, link);
    }
    let args = args.iter().skip(1).map(|arg| arg.clone().into_string());
    let args: Result<Vec<String>, _> = args.collect();
    let args = args.map_err(|_| CliError::new(Exit::Usage, "usage", "an argument is not UTF-8 text"))?;
    daemon::link::run(context, link, args)
}

/// Runs a command for somebody in another process, with that one's settings. What concerns the process itself, such as
/// where it logs, stays as it is.
fn run_for(caller: Caller, args: Vec<OsString>, given: &[(String, String)], out: Output) -> Result<Exit, CliError> {
    let args = std::iter::once(OsString::from("sotto")).chain(args);
    let usage = |error: clap::Error| {
        let text = error.render().to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        CliError::new(Exit::Usage, "usage", message).hint("sotto --help")
    };
    let matches = read_call(args).map_err(usage)?;
    let cli = Cli::from_arg_matches(&matches).map_err(usage)?;
    let mut settings = Settings::gather(&matches, cli.globals.config.as_deref())?;
    settings.lay_given(given);
    let context = Context {
        out,
        timeout: settings.parse("timeout", parse_duration)?,
        settings,
        assume_yes: cli.globals.yes,
        no_input: cli.globals.no_input,
        caller: Some(caller),
    };
    dispatch(cli.noun, &context)
}

/// Reads the command line of a call. Making a tree of commands takes longer than reading by it, so some are kept.
fn read_call(args: impl Iterator<Item = OsString>) -> Result<clap::ArgMatches, clap::Error> {
    const KEPT: usize = 4;
    static TREES: Mutex<Vec<clap::Command>> = Mutex::new(Vec::new());
    let trees = || TREES.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = trees().pop();
    let mut tree = kept.unwrap_or_else(command);
    let matches = tree.try_get_matches_from_mut(args);
    let mut trees = trees();
    if trees.len() < KEPT {
        trees.push(tree);
    }
    matches
}

fn openrpc(context: &Context) -> Result<Exit, CliError> {
    context.out.data(daemon::openrpc().to_string())?;
    Ok(Exit::Done)
}

fn dispatch(noun: Noun, context: &Context) -> Result<Exit, CliError> {
    match noun {
        Noun::Send(send) => send.run(context),
        Noun::Recv(recv) => recv.run(context),
        Noun::History(history) => history.run(context),
        Noun::Search(search) => search.run(context),
        Noun::Chat(chat) => chat.run(context),
        Noun::Tui(tui) => tui.run(context),
        Noun::Message(verb) => verb.run(context),
        Noun::Request(verb) => verb.run(context),
        Noun::Contact(verb) => verb.run(context),
        Noun::Verify(verb) => verb.run(context),
        Noun::Status(status) => status.run(context),
        Noun::Doctor(doctor) => doctor.run(context),
        Noun::Path(verb) => verb.run(context),
        Noun::Account(verb) => verb.run(context),
        Noun::Passphrase(verb) => verb.run(context),
        Noun::Wipe(wipe) => wipe.run(context),
        Noun::Network(verb) => verb.run(context),
        Noun::Daemon(verb) => verb.run(context),
        Noun::Lock => daemon::lock(context),
        Noun::Unlock => daemon::unlock(context),
        Noun::Rpc => daemon::rpc(context),
        Noun::Openrpc => openrpc(context),
        Noun::Listen(listen) => listen.run(context),
        Noun::Hook(verb) => verb.run(context),
        Noun::Config(verb) => verb.run(context),
        Noun::Completions(verb) => verb.run(),
    }
}

fn context(globals: &Globals, matches: &clap::ArgMatches, json: bool) -> Result<Context, CliError> {
    let settings = Settings::gather(matches, globals.config.as_deref())?;
    log::init(globals.verbose, settings.parse("log-format", str::parse)?, settings.path("log-file").as_deref())?;
    let (color, progress) = (settings.parse("color", str::parse)?, settings.parse("progress", str::parse)?);
    Ok(Context {
        out: Output::new(json, globals.quiet, color, progress),
        timeout: settings.parse("timeout", parse_duration)?,
        settings,
        assume_yes: globals.yes,
        no_input: globals.no_input,
        caller: None,
    })
}

/// A time such as `30s` or `2m`; a number alone is seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string())?,
    };
    if duration.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(duration) }
}

/// What clap says about a command line that makes no sense, or was asked to say.
fn usage(error: &clap::Error, args: &[OsString]) -> ExitCode {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let json = args.iter().any(|arg| arg == "--json" || arg == "-ojson" || arg == "--output=json");
    if json && !asked {
        let text = error.render().to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        return fail(&CliError::new(Exit::Usage, "usage", message).hint("sotto --help"), true);
    }
    let _ = error.print(); // nobody is left to tell
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage.code()))
}

fn fail(error: &CliError, json: bool) -> ExitCode {
    let line = if json { error.to_json() } else { error.to_text() };
    let _ = writeln!(std::io::stderr(), "{line}"); // nobody is left to tell
    error.exit.into()
}

/// Keeps keys out of core dumps and away from other processes of the same user, and makes a defect end the process
/// with its own exit code.
fn prepare_process() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    // Where the kernel refuses, keys are as safe as the machine is.
    let _refused: rustix::io::Result<()> = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    std::panic::set_hook(Box::new(|info| {
        // The message may quote what was being worked on; the place says enough.
        let place = info.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let _ = writeln!(std::io::stderr(), "sotto: a defect of this program, at {place}"); // nobody is left to tell
        std::process::exit(Exit::Internal.code().into());
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn globals_are_taken_before_and_after_the_verb() {
        for args in [
            ["sotto", "--json", "--account", "a", "account", "list"],
            ["sotto", "account", "list", "--json", "--account", "a"],
            ["sotto", "account", "--json", "--account", "a", "list"],
        ] {
            let matches = command().try_get_matches_from(args).unwrap();
            assert_eq!(matches.get_one::<String>("account").map(String::as_str), Some("a"), "{args:?}");
            assert!(Cli::from_arg_matches(&matches).unwrap().globals.json, "{args:?}");
        }
    }

    #[test]
    fn calls_that_one_tree_reads_in_turn_leave_nothing_to_each_other() {
        let read = |args: &[&str]| read_call(args.iter().map(Into::into));
        let yes = |args: &[&str]| Cli::from_arg_matches(&read(args).unwrap()).unwrap().globals.yes;
        for _ in 0..3 {
            assert!(yes(&["sotto", "contact", "delete", "--yes", "--", "bob"]));
            assert!(!yes(&["sotto", "contact", "delete", "--", "bob"]));
            assert!(read(&["sotto", "contact", "delete"]).is_err());
            let send = read(&["sotto", "send", "--message=x", "--mode=online", "--", "bob"]).unwrap();
            assert_eq!(send.subcommand_name(), Some("send"));
            let list = read(&["sotto", "contact", "list", "--account", "a"]).unwrap();
            assert_eq!(list.get_one::<String>("account").map(String::as_str), Some("a"));
            assert_eq!(read(&["sotto", "status"]).unwrap().get_one::<String>("account"), None);
        }
    }

    #[test]
    fn durations_are_read_with_and_without_a_unit() {
        assert_eq!(parse_duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_duration("0s").is_err() && parse_duration("soon").is_err());
    }
}
