//! How a command ends: the exit codes shared by all Sotto programs, and the one error that carries them.

use std::fmt;
use std::io;

use serde::Serialize;

/// What a process's exit status says. The numbers are the same in every Sotto program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It failed, and the user can do something about it.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// A network or a daemon did not answer.
    Network = 3,
    /// No such testnet, node or file.
    NotFound = 7,
    /// Not ready within the time given.
    Timeout = 8,
    /// Some of several parts failed.
    Partial = 9,
    /// It contradicts what is there already.
    Conflict = 10,
    /// Another process uses the directory or the port.
    InUse = 12,
    /// A defect of this program.
    Internal = 70,
    /// Ended by Ctrl-C.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// The same as a machine-readable word.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Network => "network",
            Self::NotFound => "not_found",
            Self::Timeout => "timeout",
            Self::Partial => "partial",
            Self::Conflict => "conflict",
            Self::InUse => "in_use",
            Self::Internal => "internal",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }

    /// The meaning of a number that another process handed over; unknown ones are [`Exit::Failed`].
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        [
            Self::Usage,
            Self::Network,
            Self::NotFound,
            Self::Timeout,
            Self::Partial,
            Self::Conflict,
            Self::InUse,
            Self::Internal,
            Self::Interrupted,
            Self::Terminated,
        ]
        .into_iter()
        .find(|exit| *exit as u8 == number)
        .unwrap_or(Self::Failed)
    }
}

/// Why a command failed: a sentence for people, a code for programs, and what to do next where that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How the process exits.
    pub exit: Exit,
    /// One sentence.
    pub message: String,
    /// A command to paste, or advice.
    pub hint: Option<String>,
}

/// A failure as one line of JSON on stderr.
#[derive(Serialize)]
struct FailureLine<'a> {
    v: u8,
    r#type: &'static str,
    code: &'static str,
    exit: u8,
    message: &'a str,
    hint: Option<&'a str>,
}

impl Failure {
    /// A failure without a hint.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The failure as one JSON line, without the line break.
    #[must_use]
    pub fn to_json(&self) -> String {
        let line = FailureLine {
            v: 1,
            r#type: "error",
            code: self.exit.code(),
            exit: self.exit as u8,
            message: &self.message,
            hint: self.hint.as_deref(),
        };
        serde_json::to_string(&line).unwrap_or_else(|_| String::from("{\"v\":1,\"type\":\"error\"}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// What two things came to that were both tried; fails with all that failed.
///
/// # Errors
/// The first failure, with what the other one says if both failed.
pub fn both(first: Result<(), Failure>, second: Result<(), Failure>) -> Result<(), Failure> {
    match (first, second) {
        (Err(first), Err(second)) => {
            let hints: Vec<String> = [first.hint, second.hint].into_iter().flatten().collect();
            let message = format!("{}; {}", first.message, second.message);
            Err(Failure { exit: first.exit, message, hint: (!hints.is_empty()).then(|| hints.join("\n  ")) })
        }
        (first, second) => first.and(second),
    }
}

/// Adds what was being done, on what, to an error of the operating system.
pub trait Context<T> {
    /// Turns the error into a [`Failure`] that says "cannot `action` `subject`: reason".
    ///
    /// # Errors
    /// The error it was called on, as a [`Failure`].
    fn context(self, action: &str, subject: impl fmt::Display) -> Result<T, Failure>;
}

impl<T> Context<T> for Result<T, io::Error> {
    fn context(self, action: &str, subject: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(Exit::Failed, format!("cannot {action} {subject}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_json_line_with_its_exit_code() {
        let failure = Failure::new(Exit::InUse, "a \"testnet\"\nruns here").hint("sotto-testnet down");
        let line = failure.to_json();
        assert!(!line.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["exit"], 12);
        assert_eq!(value["code"], "in_use");
        assert_eq!(value["hint"], "sotto-testnet down");
    }

    #[test]
    fn of_two_failures_none_is_lost() {
        let (one, two) = (Failure::new(Exit::Conflict, "no").hint("do"), Failure::new(Exit::Failed, "nor").hint("did"));
        assert_eq!(both(Ok(()), Ok(())), Ok(()));
        assert_eq!(both(Err(one.clone()), Ok(())), Err(one.clone()));
        assert_eq!(both(Ok(()), Err(two.clone())), Err(two.clone()));
        let failure = both(Err(one), Err(two)).unwrap_err();
        assert_eq!((failure.exit, failure.to_string().as_str()), (Exit::Conflict, "no; nor\n  do\n  did"));
    }

    #[test]
    fn exit_numbers_survive_the_way_through_another_process() {
        for exit in [Exit::Failed, Exit::Network, Exit::Timeout, Exit::InUse, Exit::Interrupted] {
            assert_eq!(Exit::from_number(exit as u8), exit);
        }
        assert_eq!(Exit::from_number(99), Exit::Failed);
    }
}
