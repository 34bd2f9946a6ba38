//! Logs: to standard error, or to a file that is rotated by size so that it never fills a disk.

use sotto_chain::process::log::{self, Format, LogConfig, LogError, Rotation};

use super::failure::{Exit, Failure};
use super::{Color, Globals, LogFormat};

/// When a file is put aside, and how many are kept.
const ROTATION: Rotation = Rotation { max_bytes: 10 << 20, keep: 4 };

/// Starts logging. `RUST_LOG` wins over `-v` and `-q`.
pub(super) fn start(globals: &Globals) -> Result<(), Failure> {
    let level = match (globals.quiet, globals.verbose) {
        (true, _) => "warn",
        (false, 0) => "info",
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    let color =
        globals.color == Color::Always || (globals.color == Color::Auto && std::env::var_os("NO_COLOR").is_none());
    let config = LogConfig {
        format: match globals.log_format {
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
            LogFormat::Logfmt => Format::Logfmt,
        },
        filter: std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty()).unwrap_or_else(|| level.to_owned()),
        file: globals.log_file.clone(),
        rotation: ROTATION,
    };
    log::init(&config, color).map_err(|error| match error {
        LogError::Filter(filter) => {
            Failure::new(Exit::Failed, "log_filter", format!("RUST_LOG={filter:?} is no filter"))
        }
        LogError::Open { .. } => Failure::new(Exit::Io, "io", error.to_string()),
        LogError::Twice => Failure::new(Exit::Internal, "internal", error.to_string()),
    })
}
