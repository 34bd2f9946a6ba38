//! Failures with the exit codes that all programs of Sotto share.

use serde_json::{Value, json};

/// What a process ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The user can mend it.
    Failed,
    /// The producer cannot be reached, or files cannot be read.
    Io,
    /// Asked too often.
    RateLimited,
    /// There is no such thing.
    NotFound,
    /// Not ready, or not in time.
    Timeout,
    /// It conflicts with what is there.
    Conflict,
    /// Not allowed.
    Permission,
    /// Another process uses the data directory.
    InUse,
    /// A defect.
    Internal,
}

impl Exit {
    /// The code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Io => 3,
            Self::RateLimited => 5,
            Self::NotFound => 7,
            Self::Timeout => 8,
            Self::Conflict => 10,
            Self::Permission => 11,
            Self::InUse => 12,
            Self::Internal => 70,
        }
    }

    /// The exit of a code that a producer named.
    pub(crate) fn from_code(code: u64) -> Self {
        let all = [
            Self::Failed,
            Self::Io,
            Self::RateLimited,
            Self::NotFound,
            Self::Timeout,
            Self::Conflict,
            Self::Permission,
            Self::InUse,
            Self::Internal,
        ];
        all.into_iter().find(|exit| u64::from(exit.code()) == code).unwrap_or(Self::Failed)
    }
}

/// Why a command failed, and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    code: String,
    message: String,
    hint: Option<String>,
    retry_after_ms: Option<u64>,
}

impl Failure {
    /// `code` is a fixed name for programs, `message` is for people.
    pub(crate) fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        Self { exit, code: code.to_owned(), message: message.into(), hint: None, retry_after_ms: None }
    }

    /// Only the exit code says it: the result that was printed has told the rest.
    pub(crate) fn told(exit: Exit) -> Self {
        Self::new(exit, "", "")
    }

    /// Whether there is nothing left to print.
    pub(crate) const fn is_told(&self) -> bool {
        self.message.is_empty()
    }

    /// A command that helps.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The failure in an error document of the producer.
    pub(crate) fn of_document(document: &Value) -> Self {
        let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
        let exit = document.get("exit").and_then(Value::as_u64).map_or(Exit::Failed, Exit::from_code);
        let mut failure = Self::new(exit, text("code"), text("message"));
        failure.retry_after_ms = document.get("retry_after_ms").and_then(Value::as_u64);
        failure
    }

    /// As a line for people.
    pub(crate) fn text(&self) -> String {
        match &self.hint {
            Some(hint) => format!("error: {}\n  hint: {hint}", self.message),
            None => format!("error: {}", self.message),
        }
    }

    /// As a document for programs.
    pub(crate) fn document(&self) -> Value {
        json!({
            "v": 1, "type": "error", "code": self.code, "exit": self.exit.code(), "message": self.message,
            "hint": self.hint, "retry_after_ms": self.retry_after_ms,
        })
    }
}
