//! Where a command's results go, and how they look.

use std::io::{self, IsTerminal as _, Write as _};
use std::str::FromStr;

use serde::Serialize;

use super::{CliError, Exit};

/// How to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("expected text or json".into()),
        }
    }
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColorWhen {
    Auto,
    Always,
    Never,
}

impl FromStr for ColorWhen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err("expected auto, always or never".into()),
        }
    }
}

/// Standard output.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) json: bool,
    quiet: bool,
    /// Whether to use colours.
    pub(super) color: bool,
}

impl Output {
    pub(super) fn new(json: bool, quiet: bool, when: ColorWhen) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let color = match when {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => !plain && io::stdout().is_terminal(),
        };
        Self { json, quiet, color: color && !json }
    }

    /// The result: `document` as JSON, or `text`.
    pub(super) fn result(&self, document: &impl Serialize, text: &str) -> Result<(), CliError> {
        let line = if self.json {
            serde_json::to_string(document)
                .map_err(|error| CliError::new(Exit::Defect, "json", format!("cannot show the result: {error}")))?
        } else {
            text.trim_end().to_owned()
        };
        write(&format!("{line}\n"))
    }

    /// Something said on the way, on standard error.
    pub(super) fn say(&self, text: &str) {
        if !self.quiet && !self.json {
            let _ = writeln!(io::stderr(), "{text}"); // nobody reads it
        }
    }

    /// Clears the terminal, if it is one, for the next picture.
    pub(super) fn clear(&self) -> Result<(), CliError> {
        if !self.json && io::stdout().is_terminal() { write("\x1b[H\x1b[2J") } else { Ok(()) }
    }
}

/// Writes to standard output. A reader that has gone away, as in `| head`, ends the command quietly.
fn write(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(CliError::new(Exit::Failed, "io", format!("cannot write the result: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Rows in columns that line up, each indented by two spaces.
pub(super) fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(format!("  {}", cells.join("  ")).trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_without_spaces() {
        let row = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        assert_eq!(table(&[row("a", "ö"), row("long", "")]), "  a     ö\n  long\n");
        assert_eq!(table::<3>(&[]), "");
    }
}
