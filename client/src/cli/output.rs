//! Where a command's results go, and how they look.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

use super::{CliError, Exit};

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColorWhen {
    Auto,
    Always,
    Never,
}

impl FromStr for ColorWhen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err("expected auto, always or never"),
        }
    }
}

/// How progress is shown, on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// As text, unless standard error is no terminal or `--json` or `--quiet` is given.
    Auto,
    /// Not at all.
    Never,
    /// A line of JSON for each step.
    Json,
}

impl FromStr for Progress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "never" => Ok(Self::Never),
            "json" => Ok(Self::Json),
            _ => Err("expected auto, never or json"),
        }
    }
}

/// Standard output for data, standard error for everything said about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    /// Whether data is JSON.
    pub(super) json: bool,
    quiet: bool,
    /// Whether to use colours.
    #[expect(dead_code, reason = "for pictures that use them")]
    pub(super) color: bool,
    progress: Progress,
}

impl Output {
    pub(super) fn new(json: bool, quiet: bool, when: ColorWhen, progress: Progress) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let color = match when {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => !plain && io::stdout().is_terminal(),
        };
        Self { json, quiet, color: color && !json, progress }
    }

    /// A result, or one of several that follow each other: `document` as a line of JSON, or `text`.
    pub(super) fn result(&self, document: &Value, text: impl fmt::Display) -> Result<(), CliError> {
        if self.json { write(&format!("{document}\n")) } else { write(&format!("{}\n", text.to_string().trim_end())) }
    }

    /// Something said on the way. Not with `--json` or `--quiet`.
    pub(super) fn say(&self, text: impl fmt::Display) {
        if !self.quiet && !self.json {
            let _ = writeln!(io::stderr(), "{text}"); // nobody reads it
        }
    }

    /// A step of something that takes long.
    pub(super) fn progress(&self, document: &Value, text: impl fmt::Display) {
        match self.progress {
            Progress::Auto if io::stderr().is_terminal() => self.say(text),
            Progress::Json => {
                let _ = writeln!(io::stderr(), "{document}"); // nobody reads it
            }
            Progress::Auto | Progress::Never => {}
        }
    }
}

/// Writes to standard output. A reader that has gone away, as in `| head`, ends the command quietly.
fn write(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(Exit::Done.code().into()),
        Err(error) => Err(CliError::io("write", "the result", &error)),
        Ok(()) => Ok(()),
    }
}
/// Milliseconds, to the hundredth.
pub(super) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 100.0
}
