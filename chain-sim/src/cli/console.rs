//! What people and programs see: data on standard output, all else on standard error.

use std::env;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use serde::Serialize;

use super::failure::{Exit, Failure};
use super::{Color, Globals};

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console {
    json: bool,
    quiet: bool,
    color: bool,
    yes: bool,
    no_input: bool,
}

/// Colours that mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
}

impl Console {
    pub(crate) fn new(globals: &Globals) -> Self {
        let plain = env::var_os("NO_COLOR").is_some() || env::var_os("TERM").is_some_and(|term| term == "dumb");
        let color = match globals.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => !plain && io::stdout().is_terminal(),
        };
        Self {
            json: globals.json(),
            quiet: globals.quiet,
            color: color && !globals.json(),
            yes: globals.yes,
            no_input: globals.no_input,
        }
    }

    /// Prints the result: text for people, or the document.
    pub(crate) fn result(&self, text: &str, document: &impl Serialize) -> Result<(), Failure> {
        let line = if self.json {
            serde_json::to_string(document)
                .map_err(|error| Failure::new(Exit::Internal, "internal", error.to_string()))?
        } else {
            text.trim_end().to_owned()
        };
        match writeln!(io::stdout().lock(), "{line}") {
            // Whoever read the beginning and closed the pipe has what they wanted.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|error| Failure::new(Exit::Io, "io", format!("cannot print: {error}"))),
        }
    }

    /// Says something on standard error.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet && !self.json {
            eprintln!("{text}");
        }
    }

    /// Says why the command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        if failure.is_told() {
            return;
        }
        if self.json { eprintln!("{}", failure.document()) } else { eprintln!("{}", failure.text()) }
    }

    /// A word in the colour of its meaning.
    pub(crate) fn paint(&self, tone: Tone, word: &str) -> String {
        let code = match tone {
            Tone::Good => 32,
            Tone::Bad => 31,
        };
        if self.color { format!("\x1b[1;{code}m{word}\x1b[0m") } else { word.to_owned() }
    }

    /// Asks before something that cannot be taken back.
    pub(crate) fn confirm(&self, question: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let refused = || Failure::new(Exit::Failed, "not_confirmed", format!("not done: {question}")).hint("add --yes");
        if self.no_input || self.json || !io::stdin().is_terminal() {
            return Err(refused());
        }
        eprint!("{question} [y/N] ");
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(|_| refused())?;
        if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(refused()) }
    }
}
