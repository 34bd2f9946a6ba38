//! How a command ends.

use std::path::Path;
use std::process::ExitCode;

use sotto_proto::id::ChainId;

use crate::admin::client::AskError;
use crate::config::ConfigError;
use crate::keys::KeyError;
use crate::lock::LockError;
use crate::run::RunError;
use crate::store::StoreError;

/// Exit codes, the same for every Sotto program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Failed; whoever asked can mend it.
    Failed,
    /// The network, or the node it should talk to, does not answer.
    Network,
    /// Not found.
    NotFound,
    /// Too late, or not ready yet.
    NotReady,
    /// Done already, not enough coins, another chain.
    Conflict,
    /// Not allowed.
    Permission,
    /// Another process has the data directory.
    InUse,
    /// A defect of this program.
    Defect,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Network => 3,
            Self::NotFound => 7,
            Self::NotReady => 8,
            Self::Conflict => 10,
            Self::Permission => 11,
            Self::InUse => 12,
            Self::Defect => 70,
        }
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
    /// What to do, if that is known.
    pub hint: Option<String>,
}

impl CliError {
    pub(super) fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self { exit, code, message: message.into(), hint: None }
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn not_set_up(datadir: &Path) -> Self {
        Self::new(Exit::Failed, "not_set_up", format!("{} holds no node", datadir.display()))
            .hint(format!("sotto-node init --datadir {} --genesis FILE", datadir.display()))
    }

    pub(super) fn no_such_file(what: &str, path: &Path) -> Self {
        Self::new(Exit::NotFound, "no_such_file", format!("there is no {what} file {}", path.display()))
    }

    pub(super) fn other_chain(given: &ChainId, own: &ChainId, datadir: &Path) -> Self {
        let message = format!(
            "the genesis file is of chain {}, but {} was set up for chain {}",
            given.short(),
            datadir.display(),
            own.short()
        );
        Self::new(Exit::Conflict, "other_chain", message).hint("give each chain a data directory of its own: --datadir")
    }

    pub(super) fn io(what: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::new(Exit::Failed, "io", format!("cannot {what} {}: {error}", path.display()))
    }

    /// One line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::json!({
            "v": 1, "type": "error", "code": self.code, "exit": self.exit.code(),
            "message": self.message, "hint": self.hint,
        })
        .to_string()
    }

    /// One or two lines for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        match &self.hint {
            Some(hint) => format!("error: {}\n  try: {hint}", self.message),
            None => format!("error: {}", self.message),
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Failed, "config", error.to_string())
    }
}

impl From<KeyError> for CliError {
    fn from(error: KeyError) -> Self {
        let (exit, code) = match &error {
            KeyError::Missing(_) => (Exit::NotFound, "key_missing"),
            KeyError::Exists(_) => (Exit::Conflict, "key_exists"),
            KeyError::Open { .. } => (Exit::Permission, "key_open"),
            KeyError::NotAKey(_) => (Exit::Failed, "key_format"),
            KeyError::Io { .. } => (Exit::Failed, "io"),
        };
        Self::new(exit, code, error.to_string())
    }
}

impl From<LockError> for CliError {
    fn from(error: LockError) -> Self {
        match &error {
            LockError::Held { .. } => Self::new(Exit::InUse, "in_use", error.to_string()),
            LockError::Io { .. } => Self::new(Exit::Failed, "io", error.to_string()),
        }
    }
}

impl From<AskError> for CliError {
    fn from(error: AskError) -> Self {
        let code = match &error {
            AskError::NotRunning => "not_running",
            AskError::Timeout(_) => "timeout",
            AskError::NotUnderstood | AskError::Io(_) => "io",
        };
        let hint = matches!(error, AskError::NotRunning).then(|| "sotto-node run".to_owned());
        Self { hint, ..Self::new(Exit::Network, code, error.to_string()) }
    }
}

impl From<RunError> for CliError {
    fn from(error: RunError) -> Self {
        let message = error.to_string();
        match error {
            RunError::Lock(error) => error.into(),
            RunError::Keys(error) => error.into(),
            RunError::NoHopKey => Self::new(Exit::Failed, "keys", message),
            RunError::Store(StoreError::Version { .. }) => Self::new(Exit::Conflict, "schema_version", message),
            RunError::Store(StoreError::Damaged(_)) => Self::new(Exit::Failed, "database", message)
                .hint("sotto-node run: it copies what can be read, and fetches the rest from other nodes"),
            RunError::Store(_) | RunError::Restore(_) => Self::new(Exit::Failed, "database", message),
            RunError::Network(_) => Self::new(Exit::Network, "listen", message).hint("another address: --listen"),
            RunError::Http { .. } => Self::new(Exit::Network, "http", message).hint("another port: --http"),
            RunError::Admin { .. } => Self::new(Exit::Failed, "admin_socket", message),
            RunError::Metrics(_) => Self::new(Exit::Defect, "metrics", message),
            RunError::Randomness(_) | RunError::System(_) => Self::new(Exit::Failed, "system", message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_well_and_parse_well() {
        let error = CliError::not_set_up(Path::new("/srv/node"));
        assert_eq!(
            error.to_text(),
            "error: /srv/node holds no node\n  try: sotto-node init --datadir /srv/node --genesis FILE"
        );
        let json: serde_json::Value = serde_json::from_str(&error.to_json()).unwrap();
        assert_eq!((json["type"].as_str(), json["exit"].as_u64()), (Some("error"), Some(1)));
        assert!(!error.to_json().contains('\n'));
    }
}
