//! Logs: to standard error, or to a file that is rotated by size so that it never fills a disk.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

use super::failure::{Exit, Failure};
use super::{Color, Globals, LogFormat};

/// A file is put aside when it is larger.
const MAX_BYTES: u64 = 10 << 20;
/// Files put aside that are kept.
const KEPT: u32 = 4;
/// What libp2p says at finer levels would drown all else.
const QUIET: &str = "libp2p_gossipsub=warn,libp2p_swarm=warn,libp2p_core=warn,yamux=warn,multistream_select=warn";

/// Starts logging. `RUST_LOG` wins over `-v` and `-q`.
pub(super) fn start(globals: &Globals) -> Result<(), Failure> {
    let level = match (globals.quiet, globals.verbose) {
        (true, _) => "warn",
        (false, 0) => "info",
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("{level},{QUIET}")));
    let ansi = match globals.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            globals.log_file.is_none() && std::env::var_os("NO_COLOR").is_none() && io::stderr().is_terminal()
        }
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi);
    let result = match (&globals.log_file, globals.log_format) {
        (None, LogFormat::Text) => builder.with_writer(io::stderr).try_init(),
        (None, LogFormat::Json) => builder.with_writer(io::stderr).json().try_init(),
        (Some(path), LogFormat::Text) => builder.with_writer(Mutex::new(open(path)?)).try_init(),
        (Some(path), LogFormat::Json) => builder.with_writer(Mutex::new(open(path)?)).json().try_init(),
    };
    result.map_err(|error| Failure::new(Exit::Internal, "internal", format!("logging: {error}")))
}

fn open(path: &Path) -> Result<Rotating, Failure> {
    Rotating::open(path.to_owned(), MAX_BYTES)
        .map_err(|error| Failure::new(Exit::Io, "io", format!("log file {}: {error}", path.display())))
}

/// A file that is put aside as `NAME.1`, `NAME.2` … when it is full.
#[derive(Debug)]
struct Rotating {
    path: PathBuf,
    file: File,
    bytes: u64,
    max: u64,
}

impl Rotating {
    fn open(path: PathBuf, max: u64) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, file, bytes, max })
    }

    fn aside(&self, number: u32) -> PathBuf {
        let mut name = self.path.file_name().map(OsString::from).unwrap_or_default();
        name.push(format!(".{number}"));
        self.path.with_file_name(name)
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..KEPT).rev() {
            match fs::rename(self.aside(number), self.aside(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.aside(1))?;
        *self = Self::open(self.path.clone(), self.max)?;
        Ok(())
    }
}

impl Write for Rotating {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.max {
            self.rotate()?;
        }
        let count = self.file.write(line)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_fills_a_bounded_number_of_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Rotating::open(dir.path().join("log"), 1000).unwrap();
        for _ in 0..1000 {
            log.write_all(&[b'x'; 100]).unwrap();
        }
        let sizes: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).collect();
        assert_eq!(sizes.len(), 1 + KEPT as usize);
        assert!(sizes.iter().all(|size| *size <= 1000));
    }
}
