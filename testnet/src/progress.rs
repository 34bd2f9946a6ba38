//! What is done so far, as a value: the supervisor writes it, a terminal shows it, and a launcher that put the
//! supervisor into the background reads it over the socket and shows it the same way.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure};

/// Everything there is to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is finished, in order.
    pub steps: Vec<Step>,
    /// What is under way.
    pub current: Option<Current>,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

/// A finished step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// One word.
    pub label: String,
    /// What was done.
    pub text: String,
    /// When, since the start.
    pub at_ms: u64,
}

/// A step under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Current {
    /// One word.
    pub label: String,
    /// So many …
    pub done: u64,
    /// … of so many.
    pub total: u64,
    /// What is counted.
    pub text: String,
}

/// The end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Outcome {
    /// The testnet is up.
    Ready,
    /// It could not be brought up.
    Failed {
        /// The exit code.
        exit: u8,
        /// One sentence.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
}

impl From<&Failure> for Outcome {
    fn from(failure: &Failure) -> Self {
        Self::Failed { exit: failure.exit as u8, message: failure.message.clone(), hint: failure.hint.clone() }
    }
}

impl Outcome {
    /// The outcome as a result.
    ///
    /// # Errors
    /// The failure, when it is one.
    pub fn into_result(self) -> Result<(), Failure> {
        match self {
            Self::Ready => Ok(()),
            Self::Failed { exit, message, hint } => Err(Failure { exit: Exit::from_number(exit), message, hint }),
        }
    }
}

/// How progress is shown on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// A bar on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// Not at all.
    Never,
    /// One JSON line for every change.
    Json,
}

/// Shows progress on stderr.
#[derive(Debug)]
pub struct Display {
    style: Style,
    bar: ProgressBar,
    steps_shown: usize,
}

impl Display {
    /// A display that has shown nothing yet.
    #[must_use]
    pub fn new(style: Style) -> Self {
        let visible = style == Style::Auto && std::io::stderr().is_terminal();
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(1), target);
        if let Ok(template) = ProgressStyle::with_template(" {prefix:9} [{bar:30}] {pos}/{len} {msg:<24} {elapsed:>4}")
        {
            bar.set_style(template.progress_chars("██░"));
        }
        Self { style, bar, steps_shown: 0 }
    }

    /// Shows what is new in `progress`.
    pub fn show(&mut self, progress: &Progress) {
        match self.style {
            Style::Never => {}
            Style::Json => eprintln!("{}", json_line(progress)),
            Style::Auto => {
                for step in progress.steps.iter().skip(self.steps_shown) {
                    self.print(&line(step));
                }
                self.steps_shown = progress.steps.len();
                self.show_bar(progress.current.as_ref());
            }
        }
    }

    fn print(&self, line: &str) {
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    fn show_bar(&self, current: Option<&Current>) {
        let Some(current) = current else {
            self.bar.finish_and_clear();
            return;
        };
        if self.bar.is_finished() || self.bar.prefix() != current.label {
            self.bar.reset();
            self.bar.set_prefix(current.label.clone());
        }
        self.bar.set_length(current.total);
        self.bar.set_message(current.text.clone());
        self.bar.set_position(current.done);
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn line(step: &Step) -> String {
    format!(" {:9} {:<72} {:>6}", step.label, step.text, seconds(Duration::from_millis(step.at_ms)))
}

fn json_line(progress: &Progress) -> String {
    serde_json::json!({ "v": 1, "type": "testnet.progress", "steps": progress.steps, "current": progress.current,
        "outcome": progress.outcome })
    .to_string()
}

/// A duration as people read it: `7.3 s`.
#[must_use]
pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_survives_the_way_over_the_socket() {
        let failure = Failure::new(Exit::Timeout, "not ready").hint("sotto-testnet logs 3");
        let progress = Progress {
            steps: vec![Step { label: "chain".to_owned(), text: "genesis".to_owned(), at_ms: 120 }],
            current: Some(Current { label: "nodes".to_owned(), done: 3, total: 50, text: "active".to_owned() }),
            outcome: Some(Outcome::from(&failure)),
        };
        let json = serde_json::to_string(&progress).unwrap();
        let back: Progress = serde_json::from_str(&json).unwrap();
        assert_eq!(back, progress);
        assert_eq!(back.outcome.unwrap().into_result(), Err(failure));
    }

    #[test]
    fn a_step_is_one_aligned_line() {
        let step = Step { label: "ready".to_owned(), text: "50/50 agree".to_owned(), at_ms: 7_940 };
        assert_eq!(line(&step).len(), 1 + 9 + 1 + 72 + 1 + 6);
        assert!(line(&step).ends_with(" 7.9 s"));
    }
}
