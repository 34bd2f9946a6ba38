//! How a node is started: as it is, with its clock off, or as a program that misbehaves.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Where libraries that are loaded before others lie, in a directory for each architecture.
const LIBRARIES: [&str; 3] = ["/usr/lib", "/usr/lib64", "/usr/local/lib"];
/// The one that tells a program another time, for programs with threads.
const FAKE_TIME: &str = "faketime/libfaketimeMT.so.1";
/// Where that one leaves two files for each process.
const SHARED_MEMORY: &str = "/dev/shm";

/// How a node is started. It lasts until the node is started again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Guise {
    /// As it is.
    #[default]
    Plain,
    /// With its wall clock off; other clocks are right.
    Clock {
        /// By so much; behind if it is negative.
        ahead_seconds: i32,
    },
    /// As `sotto-misbehaving`, in its data directory and under its keys.
    Misbehaving {
        /// What it does wrong.
        mode: Mode,
    },
}

impl Guise {
    /// Whether nothing is different.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        matches!(self, Self::Plain)
    }

    /// Removes what a process in this guise leaves behind, once it has ended.
    pub fn clean_up(&self, pid: u32) {
        if let Self::Clock { .. } = self {
            for name in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
                // None where the process ended before it made any.
                let _not_there: Result<_, _> = fs::remove_file(Path::new(SHARED_MEMORY).join(name));
            }
        }
    }
}

impl fmt::Display for Guise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("plain"),
            Self::Clock { ahead_seconds: seconds @ ..0 } => write!(f, "clock {} s behind", seconds.unsigned_abs()),
            Self::Clock { ahead_seconds } => write!(f, "clock {ahead_seconds} s ahead"),
            Self::Misbehaving { mode } => write!(f, "misbehaving: {mode}"),
        }
    }
}

/// What a misbehaving node does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Gives receipts for what it does not keep
    Drop,
    /// Keeps records and does not give them out
    Withhold,
    /// Changes what it gives out
    Tamper,
    /// Answers late
    Delay,
    /// Gives old answers again
    Replay,
    /// Sends clients to another swarm
    Redirect,
    /// Tells another node list, height or time
    Lie,
    /// Tells everybody something else
    Equivocate,
}

impl Mode {
    /// As it is written on a command line and in scenarios.
    #[must_use]
    pub const fn argument(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Withhold => "withhold",
            Self::Tamper => "tamper",
            Self::Delay => "delay",
            Self::Replay => "replay",
            Self::Redirect => "redirect",
            Self::Lie => "lie",
            Self::Equivocate => "equivocate",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.argument())
    }
}

/// The library that tells a program another time, if it is installed.
#[must_use]
pub fn fake_time() -> Option<PathBuf> {
    LIBRARIES.iter().find_map(|directory| fake_time_below(Path::new(directory)))
}

/// In `directory`, or in that of an architecture: `/usr/lib/x86_64-linux-gnu`.
fn fake_time_below(directory: &Path) -> Option<PathBuf> {
    let mut directories = vec![directory.to_owned()];
    directories.extend(fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()));
    directories.sort();
    directories.into_iter().map(|directory| directory.join(FAKE_TIME)).find(|library| library.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guises_read_back_as_written_and_modes_are_called_the_same_everywhere() {
        let clock = Guise::Clock { ahead_seconds: -60 };
        assert_eq!(clock.to_string(), "clock 60 s behind");
        for guise in [Guise::Plain, clock, Guise::Misbehaving { mode: Mode::Drop }] {
            let json = serde_json::to_string(&guise).unwrap();
            assert_eq!(serde_json::from_str::<Guise>(&json).unwrap(), guise);
        }
        for mode in Mode::value_variants() {
            assert_eq!(serde_json::to_string(mode).unwrap(), format!("\"{mode}\""));
            assert_eq!(mode.to_possible_value().unwrap().get_name(), mode.argument());
        }
    }

    #[test]
    fn the_library_is_found_in_the_directory_of_its_architecture() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(fake_time_below(dir.path()), None);
        let library = dir.path().join("riscv64-linux-gnu").join(FAKE_TIME);
        fs::create_dir_all(library.parent().unwrap()).unwrap();
        fs::write(&library, "").unwrap();
        assert_eq!(fake_time_below(dir.path()), Some(library));
    }
}
