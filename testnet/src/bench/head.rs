//! What every report begins with, and how it is told in one line.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sotto_proto::time::UnixMillis;

use super::figures::mib;
use super::machine::{Machine, commit};

/// The first fields of every report, which has them beside its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Version of the document.
    pub v: u8,
    /// Kind of the document.
    pub r#type: String,
    /// When it began.
    pub started: String,
    /// Version of the software.
    pub version: String,
    /// The commit, if it could be told.
    pub commit: Option<String>,
    /// What it ran on.
    pub machine: Machine,
}

impl Head {
    /// That of a document of this kind and version, about what began then on this machine.
    pub(crate) fn here(kind: &str, v: u8, began: UnixMillis) -> Self {
        Self {
            v,
            r#type: kind.to_owned(),
            started: time_of(began),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: commit(),
            machine: Machine::here(),
        }
    }

    /// Which code ran with which seed on which machine, in one line.
    pub(crate) fn origin(&self, seed: u64) -> String {
        let Machine { cpu, cores, system, kernel, memory_bytes } = &self.machine;
        let code = self.commit.as_ref().map_or_else(|| self.release(), |commit| format!("commit {commit}"));
        let gib = mib(*memory_bytes) / 1024.0;
        format!("{code} · seed {seed} · {cores} × {cpu} · {gib:.0} GiB · {system} · {kernel}")
    }

    /// The version in words.
    pub(super) fn release(&self) -> String {
        format!("version {}", self.version)
    }

    /// When it began, as a part of a file's name.
    pub(crate) fn stamp(&self) -> String {
        self.started.chars().filter(char::is_ascii_alphanumeric).collect()
    }

    /// One that says little.
    #[cfg(test)]
    pub(crate) fn example(kind: &str, v: u8) -> Self {
        Self {
            v,
            r#type: kind.to_owned(),
            started: "2026-01-01T00:00:00Z".to_owned(),
            version: "0.1.0".to_owned(),
            commit: None,
            machine: Machine::default(),
        }
    }
}

/// A time as people and programs read it.
fn time_of(time: UnixMillis) -> String {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(time.0)).unwrap_or(SystemTime::UNIX_EPOCH);
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_by_people_and_fit_into_file_names() {
        assert_eq!(time_of(UnixMillis(1_790_000_000_123)), "2026-09-21T14:13:20Z");
        assert_eq!(Head::example("testnet.bench", 1).stamp(), "20260101T000000Z");
    }

    #[test]
    fn a_document_says_what_it_is_before_anything_else() {
        let head = Head::here("testnet.bench", 1, UnixMillis(1_790_000_000_123));
        let json = serde_json::to_string(&head).unwrap();
        let start = "{\"v\":1,\"type\":\"testnet.bench\",\"started\":\"2026-09-21T14:13:20Z\",\"version\":";
        assert!(json.starts_with(start), "{json}");
    }

    #[test]
    fn what_ran_is_the_commit_or_else_the_version() {
        let head = Head::example("testnet.bench", 1);
        assert!(head.origin(7).starts_with("version 0.1.0 · seed 7 · 0 × "), "{}", head.origin(7));
        let head = Head { commit: Some("0123456789ab".to_owned()), ..head };
        assert!(head.origin(7).starts_with("commit 0123456789ab · seed 7"), "{}", head.origin(7));
    }
}
