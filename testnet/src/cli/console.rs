//! What commands print: data on stdout, everything else on stderr; JSON when asked for.

use std::io::{self, BufRead, IsTerminal, Write};

use serde::Serialize;

use super::{Color, Format, Globals};
use crate::failure::{Context, Exit, Failure};

/// The terminal, pipe or file that a command talks to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Console {
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) verbose: u8,
    color: bool,
    yes: bool,
    no_input: bool,
}

impl Console {
    pub(super) fn new(globals: &Globals) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            json: globals.json || globals.output == Format::Json,
            quiet: globals.quiet,
            verbose: globals.verbose,
            color: match globals.color {
                Color::Auto => io::stdout().is_terminal() && !plain,
                Color::Always => true,
                Color::Never => false,
            },
            yes: globals.yes,
            no_input: globals.no_input,
        }
    }

    /// Prints data: text for people, or the document when JSON is wanted.
    pub(super) fn print<T: Serialize>(&self, text: &str, document: &T) -> Result<(), Failure> {
        if self.json {
            let json =
                serde_json::to_string(document).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
            write_line(&json)
        } else {
            write_line(text)
        }
    }

    /// Prints a line of data, whatever the format.
    pub(super) fn line(self, text: &str) -> Result<(), Failure> {
        write_line(text)
    }

    /// Tells something that is no data.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet && !self.json {
            eprintln!("{text}");
        }
    }

    /// Tells something that only the curious want to know.
    pub(super) fn detail(&self, text: &str) {
        if self.verbose > 0 {
            eprintln!("{text}");
        }
    }

    /// Tells why the command failed; nothing when that was printed already.
    pub(super) fn failure(&self, failure: &Failure) {
        if failure.message.is_empty() {
            return;
        }
        if self.json {
            eprintln!("{}", failure.to_json());
        } else {
            eprintln!("sotto-testnet: {failure}");
        }
    }

    /// `good` or `bad` in its colour.
    pub(super) fn verdict(&self, good: bool, text: &str) -> String {
        let code = if good { 32 } else { 31 };
        if self.color { format!("\x1b[1;{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Asks before something is destroyed.
    pub(super) fn confirm(&self, question: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if self.no_input || !io::stdin().is_terminal() {
            return Err(Failure::new(Exit::Failed, format!("{question} Not done: nobody to ask")).hint("add --yes"));
        }
        eprint!("{question} [y/N] ");
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).context("read", "the answer")?;
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(());
        }
        Err(Failure::new(Exit::Failed, "not done"))
    }
}

/// A reader that has gone away (`| head`) has what it wanted.
fn write_line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("write", "stdout"),
        _ => Ok(()),
    }
}
