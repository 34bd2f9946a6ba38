//! Logging: nowhere unless asked for; else to standard error or to a file.
//!
//! What is logged: short ids of nodes, heights, reasons. Never: keys, contents, accounts, contacts, how a path runs. A
//! file still says when this program ran, so it is readable by its owner only and bounded: one that is full becomes
//! `FILE.1`, and the one of that name goes.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::{CliError, Exit};

/// Bytes after which a log file is put aside.
const FILE_BYTES: u64 = 10 << 20;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// For people.
    Text,
    /// One JSON document a line.
    Json,
    /// `name=value` pairs.
    Logfmt,
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "logfmt" => Ok(Self::Logfmt),
            _ => Err("expected text, json or logfmt"),
        }
    }
}

/// Begins to log, if there is a file to log to or `verbose` says so.
///
/// # Errors
/// [`CliError`] when the file cannot be opened.
pub(super) fn init(verbose: u8, format: Format, file: Option<&Path>) -> Result<(), CliError> {
    let (others, client, behaviours) = match (verbose, file) {
        (0, None) => return Ok(()),
        (0 | 1, _) => (Level::WARN, Level::DEBUG, Level::INFO),
        _ => (Level::INFO, Level::TRACE, Level::DEBUG),
    };
    let levels = [("sotto_client", client), ("sotto_behaviours", behaviours)];
    let filter = Targets::new().with_default(others).with_targets(levels);
    let writer = match file {
        None => BoxMakeWriter::new(io::stderr),
        Some(path) => BoxMakeWriter::new(Mutex::new(
            BoundedFile::open(path, FILE_BYTES).map_err(|error| CliError::io("log to", path.display(), &error))?,
        )),
    };
    let ansi = file.is_none() && io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_max_level(others.max(client).max(behaviours))
        .with_ansi(ansi)
        .with_writer(writer);
    let begun = match format {
        Format::Text => builder.finish().with(filter).try_init(),
        Format::Json => builder.json().flatten_event(true).finish().with(filter).try_init(),
        Format::Logfmt => builder.event_format(Logfmt).finish().with(filter).try_init(),
    };
    begun.map_err(|error| CliError::new(Exit::Internal, "log", format!("cannot log: {error}")))
}

/// Events as `ts=… level=info target=… msg="…" name=value …`. Spans are left out.
struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let about = event.metadata();
        write!(writer, "ts=")?;
        SystemTime.format_time(&mut writer)?;
        write!(writer, " level={} target={}", about.level().as_str().to_lowercase(), about.target())?;
        let mut pairs = Pairs { writer, done: Ok(()) };
        event.record(&mut pairs);
        pairs.done?;
        writeln!(pairs.writer)
    }
}

/// Writes fields as pairs.
struct Pairs<'a> {
    writer: Writer<'a>,
    done: fmt::Result,
}

impl Pairs<'_> {
    fn put(&mut self, field: &Field, value: &str) {
        let name = if field.name() == "message" { "msg" } else { field.name() };
        let plain = !value.is_empty() && value.chars().all(|char| char.is_ascii_graphic() && !"\"=\\".contains(char));
        let put = if plain { write!(self.writer, " {name}={value}") } else { write!(self.writer, " {name}={value:?}") };
        self.done = self.done.and(put);
    }
}

impl Visit for Pairs<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format!("{value:?}"));
    }
}

/// A file that is put aside when it is full.
#[derive(Debug)]
struct BoundedFile {
    path: PathBuf,
    most: u64,
    file: File,
    written: u64,
}

impl BoundedFile {
    /// Appends to the file at `path`, which is made if it is not there.
    fn open(path: &Path, most: u64) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let written = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), most, file, written })
    }
}

impl Write for BoundedFile {
    /// Takes a whole line at a time, as `tracing` hands it over, so that no line is cut in two.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.written > 0 && self.written.saturating_add(length) > self.most {
            let mut aside = self.path.clone().into_os_string();
            aside.push(".1");
            fs::rename(&self.path, aside)?;
            *self = Self::open(&self.path, self.most)?;
        }
        self.file.write_all(line)?;
        self.written = self.written.saturating_add(length);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_full_file_is_put_aside_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, aside) = (folder.path().join("x.log"), folder.path().join("x.log.1"));
        let mut log = BoundedFile::open(&path, 4).unwrap();
        for line in ["a\n", "b\n", "c\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        drop(log);
        BoundedFile::open(&path, 4).unwrap().write_all(b"d\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "c\nd\n");
        assert_eq!(fs::read_to_string(&aside).unwrap(), "a\nb\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn formats_are_parsed() {
        assert_eq!(("json".parse(), "logfmt".parse()), (Ok(Format::Json), Ok(Format::Logfmt)));
        assert!("xml".parse::<Format>().is_err());
    }
}
