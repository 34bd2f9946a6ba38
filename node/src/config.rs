//! Settings, and where each came from.
//!
//! Five layers, each winning over the one before: built-in defaults, `/etc/sotto/node.toml`, the data directory's
//! `node.toml` (or the file of `--config`), environment, flags. [`setting`] is the one table of all of them; flags,
//! environment variables, file keys, help and `config show --origin` are made from it.

pub mod setting;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sotto_proto::chain::Region;
use sotto_proto::id::{Amount, NodeId};
use sotto_proto::limits::ADDRESSES_PER_NODE;
use sotto_proto::net_addr::NodeAddr;

pub use self::setting::{SETTINGS, Setting};
use crate::log::{LogConfig, Rotation};
use crate::service_node::MailLimits;

/// The machine-wide file.
pub const SYSTEM_FILE: &str = "/etc/sotto/node.toml";
/// The data directory's file, written by `init`.
pub const FILE: &str = "node.toml";
/// The data directory's copy of the genesis file.
pub const GENESIS_FILE: &str = "genesis.json";
/// Longest configuration file that is read.
const FILE_BYTES: u64 = 64 << 10;
/// Characters of a moniker.
const MONIKER_MAX: usize = 32;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A file.
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
            Self::File(path) => path.display().fmt(f),
            Self::Environment(name) => write!(f, "${name}"),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// Why settings are no good. Names the setting, what it is and where it was set.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file is too long to be one of settings.
    #[error("{} has more than {FILE_BYTES} bytes", .0.display())]
    TooLarge(PathBuf),
    /// A file is not TOML.
    #[error("{}: {message}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
    /// A file has a key that means nothing.
    #[error("{}: there is no setting {key:?}; there are: {}", path.display(), setting::names())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// A value is none that its setting takes.
    #[error("{name} = {value:?} (from {origin}): {reason}")]
    Value {
        /// The setting.
        name: &'static str,
        /// The value.
        value: String,
        /// Where it was set.
        origin: Origin,
        /// What is wrong with it.
        reason: String,
    },
}

/// The value of one setting as text, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Valued {
    /// The text; empty where there is no value.
    pub text: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Every setting's value after all layers, still as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings(BTreeMap<&'static str, Valued>);

impl Default for Settings {
    fn default() -> Self {
        let default = |setting: &Setting| Valued { text: setting.default.to_owned(), origin: Origin::Default };
        Self(SETTINGS.iter().map(|setting| (setting.name, default(setting))).collect())
    }
}

/// Ports from one instance to the next.
const INSTANCE_PORTS: u16 = 10;

impl Settings {
    /// The defaults of one of several nodes on a machine; 0 is the only or the first one.
    #[must_use]
    pub fn of_instance(instance: u8) -> Self {
        let mut settings = Self::default();
        for setting in ["listen", "http"].into_iter().filter_map(setting::find).filter(|_| instance > 0) {
            if let Ok(mut address) = setting.default.parse::<SocketAddr>() {
                address.set_port(address.port().saturating_add(INSTANCE_PORTS * u16::from(instance)));
                settings.set(setting, address.to_string(), Origin::Flag("instance"));
            }
        }
        settings
    }

    /// Sets a value; later ones win.
    pub fn set(&mut self, setting: &'static Setting, text: String, origin: Origin) {
        self.0.insert(setting.name, Valued { text, origin });
    }

    /// Lays a file over what is set so far; one that does not exist says nothing.
    ///
    /// # Errors
    /// [`ConfigError`] when it cannot be read or has anything in it that is no setting.
    pub fn lay_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let Some(text) = read_file(path)? else { return Ok(()) };
        let toml_error = |message: String| ConfigError::Toml { path: path.to_owned(), message };
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| toml_error(error.to_string()))?;
        for (key, value) in table {
            let setting = setting::find(&key)
                .ok_or_else(|| ConfigError::Unknown { path: path.to_owned(), key: key.chars().take(80).collect() })?;
            let text = plain(&value)
                .ok_or_else(|| toml_error(format!("{key} must be a string, number, boolean or list of strings")))?;
            self.set(setting, text, Origin::File(path.to_owned()));
        }
        Ok(())
    }

    /// All of them, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Setting, &Valued)> {
        SETTINGS.iter().filter_map(|setting| Some((setting, self.0.get(setting.name)?)))
    }

    fn valued(&self, name: &'static str) -> Valued {
        // Every name of the table has a value since `default()`.
        self.0.get(name).cloned().unwrap_or(Valued { text: String::new(), origin: Origin::Default })
    }

    fn parse_with<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let Valued { text, origin } = self.valued(name);
        parse(&text).map_err(|reason| ConfigError::Value { name, value: text, origin, reason })
    }

    fn parse<T: FromStr<Err: fmt::Display>>(&self, name: &'static str) -> Result<T, ConfigError> {
        self.parse_with(name, |text| text.parse().map_err(|error: T::Err| error.to_string()))
    }

    fn parse_list<T: FromStr<Err: fmt::Display>>(&self, name: &'static str) -> Result<Vec<T>, ConfigError> {
        self.parse_with(name, |text| {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            items.map(|item| item.parse().map_err(|error: T::Err| error.to_string())).collect()
        })
    }
}

/// What a node runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The genesis file; `None`: the copy in the data directory.
    pub genesis: Option<PathBuf>,
    /// Where to listen for peers.
    pub listen: NodeAddr,
    /// Addresses to register instead of the one listened on.
    pub announce: Vec<NodeAddr>,
    /// Where to answer HTTP; `None`: nowhere.
    pub http: Option<SocketAddr>,
    /// What people call the node.
    pub moniker: String,
    /// Where the node says it stands.
    pub region: Region,
    /// Whether an unregistered node registers itself.
    pub register: bool,
    /// How much it stakes then; `None`: what the chain asks for.
    pub stake: Option<Amount>,
    /// Nodes to start from, besides those of the genesis file.
    pub bootstrap: Vec<Bootstrap>,
    /// Worker threads of the network; 1 is a runtime on the main thread.
    pub threads: NonZeroUsize,
    /// How much mail to take from clients.
    pub mail: MailLimits,
    /// The shell command to be run for events; `None`: none.
    pub on_event: Option<String>,
    /// Logging.
    pub log: LogConfig,
}

impl Config {
    /// Parses every setting.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first that is no good.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let optional = |text: String| (!text.is_empty()).then_some(text);
        Ok(Self {
            genesis: optional(settings.valued("genesis").text).map(PathBuf::from),
            listen: settings.parse("listen")?,
            announce: announced(settings)?,
            http: settings.parse_with("http", |text| match text {
                "off" => Ok(None),
                text => {
                    text.parse().map(Some).map_err(|_| "expected an address such as 127.0.0.1:22021, or off".into())
                }
            })?,
            moniker: settings.parse_with("moniker", moniker)?,
            region: settings.parse("region")?,
            register: settings
                .parse_with("register", |text| text.parse().map_err(|_| "expected true or false".into()))?,
            stake: settings.parse_with("stake", |text| match text {
                "" => Ok(None),
                text => text.parse().map(Some).map_err(|error: sotto_proto::id::ParseAmountError| error.to_string()),
            })?,
            bootstrap: settings.parse_list("bootstrap")?,
            threads: settings.parse_with("threads", |text| {
                let threads = text.parse().ok().filter(|threads: &NonZeroUsize| threads.get() <= 64);
                threads.ok_or_else(|| "expected a number from 1 to 64".into())
            })?,
            mail: MailLimits {
                records: settings.parse("mail-records")?,
                bytes: settings.parse_with("mail-size", parse_size)?,
            },
            on_event: settings.parse_with("on-event", command)?,
            log: LogConfig {
                format: settings.parse("log-format")?,
                filter: settings.valued("log-level").text,
                file: optional(settings.valued("log-file").text).map(PathBuf::from),
                rotation: Rotation {
                    max_bytes: settings.parse_with("log-max-size", parse_size)?,
                    keep: settings.parse("log-keep")?,
                },
            },
        })
    }
}

fn announced(settings: &Settings) -> Result<Vec<NodeAddr>, ConfigError> {
    let addresses: Vec<NodeAddr> = settings.parse_list("announce")?;
    settings.parse_with("announce", |_| {
        if addresses.len() > *ADDRESSES_PER_NODE.end() {
            return Err(format!("a node registers at most {} addresses", ADDRESSES_PER_NODE.end()));
        }
        Ok(addresses)
    })
}

fn moniker(text: &str) -> Result<String, String> {
    if text.chars().count() > MONIKER_MAX || text.chars().any(char::is_control) {
        return Err(format!("a moniker has at most {MONIKER_MAX} printable characters"));
    }
    Ok(text.to_owned())
}

fn command(text: &str) -> Result<Option<String>, String> {
    if text.contains('\0') {
        return Err("expected a shell command".into());
    }
    Ok((!text.trim().is_empty()).then(|| text.to_owned()))
}

/// A node to start from: `<node key>@<address>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Its key.
    pub node: NodeId,
    /// Where it listens.
    pub address: NodeAddr,
}

impl FromStr for Bootstrap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (node, address) = text.split_once('@').ok_or("expected <node key>@<address>")?;
        let node = node.parse().map_err(|error: sotto_proto::id::ParseIdError| error.to_string())?;
        let address = address.parse().map_err(|error: sotto_proto::net_addr::ParseNodeAddrError| error.to_string())?;
        Ok(Self { node, address })
    }
}

/// Bytes of `10M`, `512K`, `1G` or a bare number.
fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let size = digits.parse::<u64>().ok().and_then(|size| size.checked_mul(1 << shift));
    size.filter(|size| *size >= 4096).ok_or_else(|| "expected a size such as 10M, at least 4K".into())
}

fn read_file(path: &Path) -> Result<Option<String>, ConfigError> {
    let read_error = |source| ConfigError::Read { path: path.to_owned(), source };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > FILE_BYTES => Err(ConfigError::TooLarge(path.to_owned())),
        Ok(_) => std::fs::read_to_string(path).map(Some).map_err(read_error),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(read_error(error)),
    }
}

/// The text of a scalar or of a list of scalars; `None` for anything deeper.
fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(yes) => Some(yes.to_string()),
        toml::Value::Array(items) if items.iter().all(toml::Value::is_str) => {
            Some(items.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(","))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(settings: &mut Settings, name: &str, text: &str) {
        let setting = setting::find(name).unwrap();
        settings.set(setting, text.to_owned(), Origin::Flag(setting.name));
    }

    fn config(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let mut settings = Settings::default();
        pairs.iter().for_each(|(name, text)| set(&mut settings, name, text));
        Config::from_settings(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_a_configuration() {
        let config = config(&[]).unwrap();
        assert_eq!(config.threads.get(), 1);
        assert!(config.http.unwrap().ip().is_loopback());
        assert!(!config.register);
        assert_eq!(config.mail, MailLimits::default());
    }

    #[test]
    fn instances_have_ports_of_their_own_unless_they_are_set() {
        let ports = |settings: &Settings| {
            let config = Config::from_settings(settings).unwrap();
            (config.listen.port, config.http.unwrap().port())
        };
        assert_eq!(Settings::of_instance(0), Settings::default());
        assert_eq!(ports(&Settings::of_instance(0)), (22020, 22021));
        assert_eq!(ports(&Settings::of_instance(200)), (24020, 24021));
        let mut settings = Settings::of_instance(3);
        assert_eq!(settings.valued("listen").origin, Origin::Flag("instance"));
        set(&mut settings, "listen", "127.0.0.1:5000");
        assert_eq!(ports(&settings), (5000, 22051));
    }

    #[test]
    fn later_layers_win_and_say_where_they_come_from() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        std::fs::write(
            &path,
            "moniker = \"file\"\nthreads = 2\nannounce = [\"1.2.3.4:5000\", \"/ip4/1.2.3.5/tcp/5000\"]\n",
        )
        .unwrap();
        let mut settings = Settings::default();
        settings.lay_file(&path).unwrap();
        settings.lay_file(&directory.path().join("absent.toml")).unwrap();
        set(&mut settings, "moniker", "flag");
        assert_eq!(settings.valued("moniker").origin, Origin::Flag("moniker"));
        assert_eq!(settings.valued("threads").origin, Origin::File(path));
        assert_eq!(settings.valued("region").origin, Origin::Default);
        let config = Config::from_settings(&settings).unwrap();
        assert_eq!((config.moniker.as_str(), config.threads.get(), config.announce.len()), ("flag", 2, 2));
    }

    #[test]
    fn a_bad_value_is_named_with_its_origin() {
        let cases = [
            ("listen", "nowhere", "listen = \"nowhere\" (from --listen)"),
            ("http", "80", "127.0.0.1:22021"),
            ("threads", "0", "1 to 64"),
            ("register", "maybe", "true or false"),
            ("stake", "-1", "amount of coins"),
            ("region", "EU", "lower-case"),
            ("moniker", "a\u{7}", "printable"),
            ("on-event", "mail\0", "a shell command"),
            ("log-max-size", "12 parsecs", "10M"),
            ("log-format", "xml", "text, json"),
            ("bootstrap", "abc", "<node key>@<address>"),
            ("announce", "1.1.1.1:2000,1.1.1.1:2001,1.1.1.1:2002,1.1.1.1:2003,1.1.1.1:2004", "at most 4"),
        ];
        for (name, text, expected) in cases {
            let message = config(&[(name, text)]).unwrap_err();
            assert!(message.contains(expected) && message.contains(name), "{message}");
        }
    }

    #[test]
    fn unknown_keys_and_deep_values_are_refused_with_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        for (text, expected) in [
            ("monicker = \"x\"", "there is no setting \"monicker\"; there are: genesis, listen"),
            ("moniker = {a = 1}", "must be a string"),
            ("moniker = ", "node.toml"),
        ] {
            std::fs::write(&path, text).unwrap();
            let message = Settings::default().lay_file(&path).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        std::fs::write(&path, "#".repeat(70_000)).unwrap();
        assert!(matches!(Settings::default().lay_file(&path), Err(ConfigError::TooLarge(_))));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_any_setting_panic(index in 0..SETTINGS.len(), text: String) {
            let mut settings = Settings::default();
            settings.set(&SETTINGS[index], text, Origin::Default);
            let _ = Config::from_settings(&settings);
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("10M"), Ok(10 << 20));
        assert_eq!(parse_size("8192"), Ok(8192));
        assert!(["", "M", "1", "99999999999G", "1.5M"].iter().all(|text| parse_size(text).is_err()));
    }
}
