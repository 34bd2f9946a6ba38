//! Where a command's results go, and how they look.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::str::FromStr;
use std::sync::mpsc::SyncSender;
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

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Never => "never",
            Self::Json => "json",
        })
    }
}

/// Where a command's words go.
#[derive(Clone, Debug)]
enum Sink {
    /// This process's own streams.
    Process,
    /// Whoever called it from another process.
    Caller(SyncSender<Said>),
}

/// Something that a command said to somebody who called it from another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A line of data.
    Data(String),
    /// A line said about it.
    Note(String),
}

/// Standard output for data, standard error for everything said about it.
#[derive(Clone, Debug)]
pub(super) struct Output {
    /// Whether data is JSON.
    pub(super) json: bool,
    quiet: bool,
    /// Whether to use colours.
    pub(super) color: bool,
    progress: Progress,
    sink: Sink,
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
        // Whether somebody looks is decided here, for those who run the command elsewhere.
        let progress = match progress {
            Progress::Auto if !io::stderr().is_terminal() => Progress::Never,
            progress => progress,
        };
        Self { json, quiet, color: color && !json, progress, sink: Sink::Process }
    }

    /// Says everything to somebody in another process.
    pub(super) const fn to_caller(json: bool, quiet: bool, progress: Progress, caller: SyncSender<Said>) -> Self {
        Self { json, quiet, color: false, progress, sink: Sink::Caller(caller) }
    }

    /// Whether steps are shown, for whoever runs the command elsewhere.
    pub(super) const fn progress_shown(&self) -> Progress {
        self.progress
    }

    /// Whether nothing but data is wanted.
    pub(super) const fn quiet(&self) -> bool {
        self.quiet
    }

    /// A result, or one of several that follow each other: `document` as a line of JSON, or `text`.
    pub(super) fn result(&self, document: &Value, text: impl fmt::Display) -> Result<(), CliError> {
        if self.json { self.data(document.to_string()) } else { self.data(text.to_string()) }
    }

    /// A line of data as it is.
    pub(super) fn data(&self, line: String) -> Result<(), CliError> {
        match &self.sink {
            Sink::Process => write(&format!("{}\n", line.trim_end())),
            Sink::Caller(caller) => caller
                .send(Said::Data(line.trim_end().to_owned()))
                .map_err(|_| CliError::new(Exit::Failed, "caller_gone", "whoever asked for this has gone away")),
        }
    }

    /// Something said on the way. Not with `--json` or `--quiet`.
    pub(super) fn say(&self, text: impl fmt::Display) {
        if !self.quiet && !self.json {
            self.note(text.to_string());
        }
    }

    /// A step of something that takes long.
    pub(super) fn progress(&self, document: &Value, text: impl fmt::Display) {
        match self.progress {
            Progress::Auto => self.say(text),
            Progress::Json => self.note(document.to_string()),
            Progress::Never => {}
        }
    }

    /// A line said about the data, as it is.
    pub(super) fn note(&self, line: String) {
        match &self.sink {
            Sink::Process => {
                let _ = writeln!(io::stderr(), "{line}"); // nobody reads it
            }
            Sink::Caller(caller) => {
                let _ = caller.send(Said::Note(line)); // nobody reads it
            }
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
