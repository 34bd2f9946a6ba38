//! Settings, and where each came from.
//!
//! Five layers, each winning over the one before: built-in defaults, `/etc/sotto/config.toml`, the user's own file
//! (`$XDG_CONFIG_HOME/sotto/config.toml`, or the file of `--config`), environment, flags. [`SETTINGS`] is the one
//! table of all of them; flags, environment variables, file keys, help and `config show --origin` are made from it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, ValueHint};

use super::{CliError, Exit};

/// The machine-wide file.
const SYSTEM_FILE: &str = "/etc/sotto/config.toml";
/// Longest file that is read.
const FILE_BYTES: u64 = 64 << 10;

/// One setting.
#[derive(Debug)]
pub(super) struct Setting {
    /// Its name: flag and file key.
    pub(super) name: &'static str,
    short: Option<char>,
    environment: &'static str,
    default: &'static str,
    placeholder: &'static str,
    help: &'static str,
    hint: ValueHint,
}

const fn setting(
    name: &'static str,
    environment: &'static str,
    default: &'static str,
    placeholder: &'static str,
    help: &'static str,
) -> Setting {
    Setting { name, short: None, environment, default, placeholder, help, hint: ValueHint::Other }
}

impl Setting {
    const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    const fn file(mut self) -> Self {
        self.hint = ValueHint::FilePath;
        self
    }
}

/// All of them, in the order in which they are shown.
pub(super) static SETTINGS: &[Setting] = &[
    setting("account", "SOTTO_ACCOUNT", "", "NAME", "Which account; not needed where there is only one").short('a'),
    setting(
        "testnet",
        "SOTTO_TESTNET",
        "",
        "NAME",
        "A local testnet: a name below ./testnet/data, or a directory (with a slash)",
    ),
    setting("genesis", "SOTTO_GENESIS", "", "FILE", "The network's genesis file, instead of --testnet").file(),
    setting("datadir", "SOTTO_DATADIR", "", "DIR", "Where accounts are kept; default: $XDG_DATA_HOME/sotto").file(),
    setting(
        "passphrase-file",
        "SOTTO_PASSPHRASE_FILE",
        "",
        "FILE",
        "The account's passphrase is in this file; - is standard input",
    )
    .file(),
    setting("timeout", "SOTTO_TIMEOUT", "10s", "DURATION", "How long to wait for an answer, such as 30s or 2m"),
    setting(
        "trust",
        "SOTTO_TRUST",
        "on-first-use",
        "WHOM",
        "Who may be written to: on-first-use and always anybody, since an id is its key; never, who is not verified",
    ),
    setting("color", "SOTTO_COLOR", "auto", "WHEN", "When to use colours: auto, always, never; NO_COLOR is honoured"),
    setting("log-format", "SOTTO_LOG_FORMAT", "text", "FORMAT", "How log lines look: text, json, logfmt"),
    setting("log-file", "SOTTO_LOG_FILE", "", "FILE", "Log to this file instead of standard error").file(),
    setting("progress", "SOTTO_PROGRESS", "auto", "HOW", "How progress is shown on standard error: auto, never, json"),
];

/// The setting of a name.
pub(super) fn find(name: &str) -> Result<&'static Setting, CliError> {
    SETTINGS.iter().find(|setting| setting.name == name).ok_or_else(|| {
        let names: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        CliError::new(Exit::NotFound, "no_such_setting", format!("there is no setting {name:?}"))
            .hint(format!("there are: {}", names.join(", ")))
    })
}

/// Adds a flag for each setting to every command.
pub(super) fn add_flags(command: Command) -> Command {
    command.args(SETTINGS.iter().map(|setting| {
        let arg = Arg::new(setting.name)
            .long(setting.name)
            .env(setting.environment)
            .value_name(setting.placeholder)
            .value_hint(setting.hint)
            .help(setting.help)
            .help_heading("General")
            .global(true);
        match setting.short {
            Some(short) => arg.short(short),
            None => arg,
        }
    }))
}

/// Where a value came from. A later one wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// Built in.
    Default,
    /// The machine-wide file.
    System,
    /// The user's file.
    File(PathBuf),
    /// An environment variable.
    Environment(&'static str),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::System => f.write_str(SYSTEM_FILE),
            Self::File(path) => path.display().fmt(f),
            Self::Environment(name) => write!(f, "${name}"),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// The value of one setting as text, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Valued {
    /// The text; empty where there is no value.
    pub(super) text: String,
    /// Where it came from.
    pub(super) origin: Origin,
}

/// Every setting's value after all layers, still as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    values: BTreeMap<&'static str, Valued>,
    /// The user's file.
    pub(super) file: PathBuf,
}

impl Settings {
    /// Lays all layers over each other. `config` is the file of `--config`, which must exist.
    pub(super) fn gather(matches: &ArgMatches, config: Option<&Path>) -> Result<Self, CliError> {
        let file = config.map_or_else(default_file, Path::to_owned);
        let defaults =
            SETTINGS.iter().map(|s| (s.name, Valued { text: s.default.to_owned(), origin: Origin::Default }));
        let mut settings = Self { values: defaults.collect(), file };
        settings.lay_file(Path::new(SYSTEM_FILE), Origin::System)?;
        let user = settings.file.clone();
        if config.is_some() && !user.exists() {
            return Err(CliError::new(Exit::NotFound, "no_such_file", format!("there is no file {}", user.display())));
        }
        settings.lay_file(&user, Origin::File(user.clone()))?;
        settings.lay_matches(matches);
        Ok(settings)
    }

    fn lay_file(&mut self, path: &Path, origin: Origin) -> Result<(), CliError> {
        for (name, text) in read_file(path)? {
            self.values.insert(name, Valued { text, origin: origin.clone() });
        }
        Ok(())
    }

    fn lay_matches(&mut self, matches: &ArgMatches) {
        for setting in SETTINGS {
            let origin = match matches.value_source(setting.name) {
                Some(ValueSource::CommandLine) => Origin::Flag(setting.name),
                Some(ValueSource::EnvVariable) => Origin::Environment(setting.environment),
                _ => continue,
            };
            let text = matches.get_one::<String>(setting.name).cloned().unwrap_or_default();
            // An empty variable says as much as one that is not set.
            if !text.is_empty() {
                self.values.insert(setting.name, Valued { text, origin });
            }
        }
    }

    /// Lays over them what somebody in another process has.
    pub(super) fn lay_given(&mut self, given: &[(String, String)]) {
        for (name, text) in given {
            if let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) {
                let valued = Valued { text: text.clone(), origin: Origin::Flag(setting.name) };
                self.values.insert(setting.name, valued);
            }
        }
    }

    /// All of them, in the order of the table.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static Setting, &Valued)> {
        SETTINGS.iter().filter_map(|setting| Some((setting, self.values.get(setting.name)?)))
    }

    /// The value of a setting, if it has one.
    pub(super) fn value(&self, name: &str) -> Option<&Valued> {
        self.values.get(name).filter(|valued| !valued.text.is_empty())
    }

    /// The value as a path, `~/` being the home directory.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        let text = &self.value(name)?.text;
        match (text.strip_prefix("~/"), home()) {
            (Some(rest), Some(home)) => Some(home.join(rest)),
            _ => Some(PathBuf::from(text)),
        }
    }

    /// Parses the value of a setting that has a default.
    pub(super) fn parse<T, E: fmt::Display>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, CliError> {
        let valued = self.values.get(name);
        let text = valued.map_or("", |valued| valued.text.as_str());
        parse(text).map_err(|reason| {
            let origin = valued.map_or(Origin::Default, |valued| valued.origin.clone());
            let exit = if matches!(origin, Origin::Flag(_)) { Exit::Usage } else { Exit::Failed };
            CliError::new(exit, "setting", format!("{name} = {text:?} (from {origin}): {reason}"))
        })
    }
}

/// The settings in a file; none if there is no such file.
fn read_file(path: &Path) -> Result<Vec<(&'static str, String)>, CliError> {
    let Some(table) = read_table(path)? else { return Ok(Vec::new()) };
    let wrong = |message: String| CliError::new(Exit::Failed, "config", format!("{}: {message}", path.display()));
    table
        .into_iter()
        .map(|(key, value)| {
            let setting = find(&key).map_err(|error| CliError {
                message: format!("{}: {}", path.display(), error.message),
                exit: Exit::Failed,
                ..error
            })?;
            let text = plain(&value).ok_or_else(|| wrong(format!("{key} must be a string, number or boolean")))?;
            Ok((setting.name, text))
        })
        .collect()
}

fn read_table(path: &Path) -> Result<Option<toml::Table>, CliError> {
    let wrong = |message: String| CliError::new(Exit::Failed, "config", format!("{}: {message}", path.display()));
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CliError::io("read", path.display(), &error)),
        Ok(metadata) if metadata.len() > FILE_BYTES => return Err(wrong(format!("more than {FILE_BYTES} bytes"))),
        Ok(_) => {}
    }
    let text = fs::read_to_string(path).map_err(|error| CliError::io("read", path.display(), &error))?;
    text.parse().map(Some).map_err(|error: toml::de::Error| wrong(error.to_string()))
}

fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// Writes a setting into the user's file, whole or not at all; an empty value takes it out.
pub(super) fn set_in_file(file: &Path, setting: &Setting, value: &str) -> Result<(), CliError> {
    let mut table = read_table(file)?.unwrap_or_default();
    if value.is_empty() {
        table.remove(setting.name);
    } else {
        table.insert(setting.name.to_owned(), toml::Value::String(value.to_owned()));
    }
    let fresh = file.with_extension("toml.new");
    let write = || -> io::Result<()> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&fresh, table.to_string())?;
        fs::File::open(&fresh)?.sync_all()?;
        fs::rename(&fresh, file)
    };
    write().map_err(|error| CliError::io("write", file.display(), &error))
}

/// `$XDG_CONFIG_HOME/sotto/config.toml`, else `~/.config/sotto/config.toml`.
fn default_file() -> PathBuf {
    let folder = variable("XDG_CONFIG_HOME").or_else(|| home().map(|home| home.join(".config")));
    folder.unwrap_or_default().join("sotto/config.toml")
}

/// `$XDG_DATA_HOME/sotto`, else `~/.local/share/sotto`.
pub(super) fn default_datadir() -> PathBuf {
    let folder = variable("XDG_DATA_HOME").or_else(|| home().map(|home| home.join(".local/share")));
    folder.unwrap_or_default().join("sotto")
}

fn home() -> Option<PathBuf> {
    variable("HOME")
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(file: &str, args: &[&str]) -> Result<Settings, CliError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        fs::write(&path, file).unwrap();
        let matches = add_flags(Command::new("sotto")).get_matches_from([&["sotto"], args].concat());
        Settings::gather(&matches, Some(&path))
    }

    #[test]
    fn environment_variables_follow_from_names_and_names_are_unique() {
        for setting in SETTINGS {
            assert_eq!(setting.environment, format!("SOTTO_{}", setting.name.to_uppercase().replace('-', "_")));
            assert!(std::ptr::eq(find(setting.name).unwrap(), setting), "{}", setting.name);
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let settings = gather("timeout = '3s'\ncolor = 'never'\n", &["--color", "always"]).unwrap();
        let origin = |name: &str| settings.value(name).unwrap().origin.to_string();
        assert!(origin("timeout").ends_with("config.toml"), "{}", origin("timeout"));
        assert_eq!((origin("color"), origin("progress")), ("--color".to_owned(), "default".to_owned()));
        assert_eq!(settings.value("account"), None);
        assert_eq!(settings.parse("timeout", str::parse::<String>).unwrap(), "3s");
    }

    #[test]
    fn a_file_with_unknown_keys_or_no_toml_is_refused_by_name() {
        for file in ["acount = 'x'\n", "account = [1]\n", "not toml"] {
            let error = gather(file, &[]).unwrap_err();
            assert!(error.message.contains("config.toml"), "{}", error.message);
            assert_eq!(error.exit, Exit::Failed);
        }
    }

    #[test]
    fn a_value_is_written_beside_the_others_and_an_empty_one_taken_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/config.toml");
        set_in_file(&file, find("timeout").unwrap(), "3s").unwrap();
        set_in_file(&file, find("account").unwrap(), "a \"b\"").unwrap();
        set_in_file(&file, find("timeout").unwrap(), "").unwrap();
        assert_eq!(read_file(&file).unwrap(), [("account", "a \"b\"".to_owned())]);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }
}
