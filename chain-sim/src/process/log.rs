//! Logging: to the terminal, or to a file that is rotated by size.
//!
//! What is logged: short ids, heights, reasons. Never: keys, contents, addresses of clients. A flood of log lines fills
//! at most [`Rotation::keep`] + 1 files.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{FmtSpan, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What libp2p says at other levels would drown everything else: gossipsub formats whole messages at `debug`. What it
/// warns of is what peers do, a line for each frame or for each of hundreds of entries in one: anybody could write our log
/// for us. All of that is counted in the metrics.
const QUIET: &str = "libp2p_gossipsub=off,libp2p_request_response=error,libp2p_swarm=warn,libp2p_core=warn,\
                     libp2p_yamux=error,yamux=off,multistream_select=error";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document a line.
    Json,
    /// `name=value` pairs.
    Logfmt,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "logfmt" => Ok(Self::Logfmt),
            _ => Err(format!("{text:?} is no log format (text, json, logfmt)")),
        }
    }
}

/// When a log file is put aside, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes after which a new file begins.
    pub max_bytes: u64,
    /// Old files kept beside the present one.
    pub keep: u32,
}

/// Everything about logging.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// How lines look.
    pub format: Format,
    /// What is logged, in the syntax of `RUST_LOG`; a bare level such as `info` is the usual value.
    pub filter: String,
    /// Where to; the terminal's stderr if `None`.
    pub file: Option<PathBuf>,
    /// For the file.
    pub rotation: Rotation,
}

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not understood.
    #[error("log-level {0:?} is not understood: use error, warn, info, debug, trace or the syntax of RUST_LOG")]
    Filter(String),
    /// The file cannot be opened.
    #[error("cannot log to {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Logging has begun already.
    #[error("logging is set up twice")]
    Twice,
}

/// Sends everything logged in this process from now on where `config` says.
///
/// # Errors
/// [`LogError`] when the filter or the file is no good.
pub fn init(config: &LogConfig, color: bool) -> Result<(), LogError> {
    // Levels by target and no more: filters by field would bring regular expressions into every node's memory.
    let filter: Targets = format!("{QUIET},{}", config.filter)
        .parse()
        .map_err(|_| LogError::Filter(config.filter.chars().take(80).collect()))?;
    let writer = match &config.file {
        None => BoxMakeWriter::new(io::stderr),
        Some(path) => BoxMakeWriter::new(open(path, config.rotation)?),
    };
    let ansi = color && config.file.is_none() && io::stderr().is_terminal();
    // yamux speaks through the `log` crate, several lines a frame; what is above the highest level ends there.
    let highest = filter.iter().map(|(_, level)| level).chain(filter.default_level()).max();
    let builder = tracing_subscriber::fmt()
        .with_max_level(highest.unwrap_or(LevelFilter::OFF))
        .with_span_events(FmtSpan::NONE)
        .with_ansi(ansi)
        .with_writer(writer);
    let done = match config.format {
        Format::Text => builder.finish().with(filter).try_init(),
        Format::Json => builder.json().flatten_event(true).finish().with(filter).try_init(),
        Format::Logfmt => builder.event_format(Logfmt).finish().with(filter).try_init(),
    };
    done.map_err(|_| LogError::Twice)
}

fn open(path: &Path, rotation: Rotation) -> Result<Mutex<RotatingFile>, LogError> {
    RotatingFile::open(path, rotation)
        .map(Mutex::new)
        .map_err(|source| LogError::Open { path: path.to_owned(), source })
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
        let name = match field.name() {
            "message" => "msg",
            name => name.trim_start_matches("r#"),
        };
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

/// A file that begins anew when it is full: `x.log` becomes `x.log.1`, that `x.log.2`, and so on.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    written: u64,
}

impl RotatingFile {
    /// Appends to the file at `path`, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
        let written = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), rotation, file, written })
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.rotation.keep).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.rotation.keep > 0 {
            fs::rename(&self.path, self.numbered(1))?;
        } else {
            fs::remove_file(&self.path)?;
        }
        *self = Self::open(&self.path, self.rotation)?;
        Ok(())
    }
}

impl Write for RotatingFile {
    /// Takes a whole line at a time, as `tracing` hands it over, so that no line is cut in two.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.written > 0 && self.written.saturating_add(length) > self.rotation.max_bytes {
            self.rotate()?;
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
    use super::*;

    fn files(directory: &Path) -> Vec<(String, String)> {
        let mut files: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap().replace('\n', ""))
            })
            .collect();
        files.sort();
        files
    }

    fn own(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn what_libraries_say_of_peers_is_not_logged_whatever_the_level() {
        let filter: Targets = format!("{QUIET},trace").parse().unwrap();
        for target in ["libp2p_gossipsub::behaviour", "libp2p_request_response::handler", "yamux::connection"] {
            assert!(!filter.would_enable(target, &tracing::Level::WARN), "{target}");
        }
        assert!(filter.would_enable("sotto_node::run", &tracing::Level::TRACE));
    }

    #[test]
    fn full_files_move_on_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        let mut log = RotatingFile::open(&path, Rotation { max_bytes: 4, keep: 2 }).unwrap();
        for line in ["a\n", "b\n", "c\n", "d\n", "e\n", "f\n", "g\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(files(directory.path()), own(&[("x.log", "g"), ("x.log.1", "ef"), ("x.log.2", "cd")]));
    }

    #[test]
    fn a_line_longer_than_a_file_is_kept_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        let mut log = RotatingFile::open(&path, Rotation { max_bytes: 4, keep: 0 }).unwrap();
        log.write_all(b"0123456789\n").unwrap();
        assert_eq!(files(directory.path()), own(&[("x.log", "0123456789")]));
        log.write_all(b"x\n").unwrap();
        assert_eq!(files(directory.path()), own(&[("x.log", "x")]));
    }

    #[test]
    fn a_restart_goes_on_in_the_same_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        let rotation = Rotation { max_bytes: 4, keep: 1 };
        RotatingFile::open(&path, rotation).unwrap().write_all(b"abc\n").unwrap();
        RotatingFile::open(&path, rotation).unwrap().write_all(b"d\n").unwrap();
        assert_eq!(files(directory.path()), own(&[("x.log", "d"), ("x.log.1", "abc")]));
    }

    #[test]
    fn formats_are_parsed() {
        assert_eq!("json".parse(), Ok(Format::Json));
        assert_eq!("logfmt".parse(), Ok(Format::Logfmt));
        assert!("xml".parse::<Format>().unwrap_err().contains("text, json, logfmt"));
    }

    /// What was written, for whoever holds a copy.
    #[derive(Clone, Default)]
    struct Shared(std::sync::Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn logfmt_quotes_what_has_to_be_quoted() {
        let written = Shared::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .event_format(Logfmt)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(height = 7, node = "0a1b", reason = "a \"b\"\nc=d", empty = "", "two words");
        });
        let line = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.starts_with("ts=20") && time.ends_with('Z'), "{time}");
        let (place, pairs) = rest.split_once(" msg=").unwrap();
        assert_eq!(place, format!("level=warn target={}", module_path!()));
        assert_eq!(pairs, "\"two words\" height=7 node=0a1b reason=\"a \\\"b\\\"\\nc=d\" empty=\"\"\n");
    }
}
