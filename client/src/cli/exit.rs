//! How a command ends.

use std::process::ExitCode;
use std::time::Duration;

use crate::store::{StoreError, StoreErrorKind};

/// Exit codes, the same for every Sotto program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed; whoever asked can mend it.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The network or the daemon does not answer.
    Network = 3,
    /// Somebody's identity changed, or is not verified where it must be.
    Identity = 4,
    /// Too many requests, or more work is asked for than wanted.
    RateLimited = 5,
    /// The passphrase is missing or wrong.
    Locked = 6,
    /// Not found.
    NotFound = 7,
    /// Too late, or not ready yet.
    NotReady = 8,
    /// Some recipients failed.
    Partial = 9,
    /// It contradicts what is there already.
    Conflict = 10,
    /// Not allowed.
    Permission = 11,
    /// Another process has the store.
    InUse = 12,
    /// A defect of this program.
    Internal = 70,
    /// Ended by Ctrl-C.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The exit of this code, if there is one.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        const ALL: [Exit; 16] = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Network,
            Exit::Identity,
            Exit::RateLimited,
            Exit::Locked,
            Exit::NotFound,
            Exit::NotReady,
            Exit::Partial,
            Exit::Conflict,
            Exit::Permission,
            Exit::InUse,
            Exit::Internal,
            Exit::Interrupted,
            Exit::Terminated,
        ];
        ALL.into_iter().find(|exit| u64::from(exit.code()) == code)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command failed, for people and for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliError {
    /// How the process ends.
    pub exit: Exit,
    /// A fixed name.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do next, if that is known.
    pub hint: Option<String>,
    /// When to try again, if that is known.
    pub retry_after: Option<Duration>,
}

impl CliError {
    /// An error without a hint.
    pub fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self { exit, code, message: message.into(), hint: None, retry_after: None }
    }

    /// The same with what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with when to try again.
    #[must_use]
    pub const fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// Something on the disk could not be read or written.
    pub(super) fn io(action: &str, what: impl std::fmt::Display, error: &std::io::Error) -> Self {
        Self::new(Exit::Failed, "io", format!("cannot {action} {what}: {error}"))
    }

    /// One line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let retry_after = self.retry_after.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        serde_json::json!({
            "v": 1, "type": "error", "code": self.code, "exit": self.exit.code(), "message": self.message,
            "hint": self.hint, "retry_after_ms": retry_after,
        })
        .to_string()
    }

    /// One or two lines for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        match &self.hint {
            Some(hint) => format!("sotto: {}\n  {hint}", self.message),
            None => format!("sotto: {}", self.message),
        }
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

impl From<&StoreError> for CliError {
    fn from(error: &StoreError) -> Self {
        let (exit, code, hint) = match error.kind() {
            StoreErrorKind::InUse => {
                (Exit::InUse, "in_use", Some("wait until it is done, or end it; each account serves one process"))
            }
            StoreErrorKind::Locked => {
                (Exit::Locked, "locked", Some("is it the right account? see: sotto account list"))
            }
            StoreErrorKind::NotFound => (Exit::NotFound, "not_found", Some("see: sotto account list")),
            StoreErrorKind::Exists => (Exit::Conflict, "exists", Some("choose another name")),
            StoreErrorKind::Conflict => (Exit::Conflict, "conflict", None),
            StoreErrorKind::Damaged => {
                (Exit::Failed, "damaged", Some("the account can be restored from its phrase: sotto account restore"))
            }
            StoreErrorKind::Full => {
                (Exit::Failed, "disk_full", Some("make room on the disk of the data directory, and try again"))
            }
            StoreErrorKind::Io => (Exit::Failed, "io", Some("does the disk work, and is the directory yours?")),
        };
        Self { hint: hint.map(str::to_owned), ..Self::new(exit, code, error.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_well_and_parse_well() {
        let error = CliError::from(StoreError::InUse { pid: Some(17) });
        assert_eq!(
            error.to_text(),
            "sotto: the account is in use by process 17\n  wait until it is done, or end it; each account serves one process"
        );
        let json: serde_json::Value = serde_json::from_str(&error.to_json()).unwrap();
        assert_eq!((json["type"].as_str(), json["exit"].as_u64()), (Some("error"), Some(12)));
        let limited = CliError::new(Exit::RateLimited, "busy", "a\nb").retry_after(Duration::from_secs(2)).to_json();
        assert!(!limited.contains('\n') && limited.contains("\"retry_after_ms\":2000"), "{limited}");
    }
}
