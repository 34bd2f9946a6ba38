//! `sotto-node init`: a data directory with keys, settings and a copy of the genesis file.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use sotto_behaviours::clock;
use sotto_behaviours::onion::prepare_replays;
use sotto_proto::account::test_seed;
use sotto_proto::chain::{GenesisFile, Preset};

use super::keys_verb::{self, Backup};
use super::{CliError, Context, Exit, NodeSettings};
use crate::config::{self, Config, Settings};
use crate::keys::{KeyDirectory, Seed, Slot};
use crate::lock::Lock;
use crate::run::REPLAYS;

/// Longest genesis file that is read: 65,535 accounts fit.
const GENESIS_BYTES: u64 = 16 << 20;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sotto-node init --genesis genesis.json --announce /ip4/203.0.113.7/tcp/22020 --moniker gandalf --region eu
  sotto-node init --genesis genesis.json --restore node-keys.json --datadir /srv/sotto

The settings given here are kept in node.toml of the data directory. The operator key is made beside the node's; it
holds the stake and the rewards, so make a backup (sotto-node keys backup FILE), or move it to another machine.")]
pub(super) struct Init {
    /// File with the seed of the node key, 64 hex digits, instead of a random one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["restore", "test_seed"])]
    seed_file: Option<PathBuf>,
    /// Take the keys from a backup made with `keys backup`
    #[arg(long, value_name = "FILE", conflicts_with = "test_seed")]
    restore: Option<PathBuf>,
    /// Derive all keys from a public number: for testnets, anybody can compute them
    #[arg(long, value_name = "N", requires = "test_index")]
    test_seed: Option<u64>,
    /// Which of the nodes of that test seed this is
    #[arg(long, value_name = "N", requires = "test_seed")]
    test_index: Option<u32>,
    #[command(flatten)]
    settings: NodeSettings,
}

/// The keys of a new node.
struct NewKeys {
    node: Seed,
    operator: Option<Seed>,
    x25519: Seed,
}

impl Init {
    pub(super) fn run(self, context: &mut Context) -> Result<Exit, CliError> {
        let mut settings = Settings::default();
        self.settings.lay(&mut settings);
        let config = Config::from_settings(&settings)?;
        let Some(genesis_path) = &config.genesis else {
            return Err(CliError::new(
                Exit::Failed,
                "no_genesis",
                "which chain? name its genesis file: --genesis FILE",
            ));
        };
        let genesis = read_genesis(genesis_path)?;
        let datadir = context.datadir.clone();
        let keys = KeyDirectory::of(&datadir);
        if keys.path(Slot::Node).exists() {
            let message = format!("{} holds a node already", datadir.display());
            return Err(CliError::new(Exit::Conflict, "set_up", message).hint("another directory: --datadir DIR"));
        }
        let new = self.keys(&genesis)?;
        make_directory(&datadir)?;
        let _lock = Lock::acquire(&datadir)?;
        keys.create()?;
        keys.check()?;
        write(&datadir.join(config::GENESIS_FILE), &genesis.to_json())?;
        write(&datadir.join(config::FILE), &self.toml())?;
        // The node key comes last: with it, the directory counts as set up.
        let others = [(Slot::X25519, Some(&new.x25519)), (Slot::Operator, new.operator.as_ref())];
        for (slot, seed) in others.into_iter().filter_map(|(slot, seed)| Some((slot, seed?))) {
            keys.destroy(slot)?; // of an init that was cut short
            keys.write_new(slot, seed)?;
        }
        if self.restore.is_none() {
            // Nobody knows the key yet; one from a backup may have been in use.
            let (replays, key) = (datadir.join(REPLAYS), new.x25519.x25519().public());
            prepare_replays(&replays, &key, clock::wall().seconds()).map_err(|source| {
                CliError::new(Exit::Failed, "replays", format!("cannot write {}: {source}", replays.display()))
            })?;
        }
        keys.write_new(Slot::Node, &new.node)?;
        report(context, &genesis, &new, &datadir)
    }

    fn keys(&self, genesis: &GenesisFile) -> Result<NewKeys, CliError> {
        if let (Some(seed), Some(index)) = (self.test_seed, self.test_index) {
            if genesis.genesis.preset != Preset::Testnet {
                let message = "keys that anybody can compute are for testnets, and this genesis is none";
                return Err(CliError::new(Exit::Conflict, "test_seed", message));
            }
            let derive = |role| Seed::take(&mut test_seed(seed, role, index));
            return Ok(NewKeys { node: derive("node"), operator: Some(derive("operator")), x25519: derive("x25519") });
        }
        if let Some(path) = &self.restore {
            let Backup { node, operator, x25519 } = keys_verb::read_backup(path)?;
            let x25519 = x25519.map_or_else(random, Ok)?;
            return Ok(NewKeys { node, operator, x25519 });
        }
        let node = match &self.seed_file {
            Some(path) => read_seed(path)?,
            None => random()?,
        };
        Ok(NewKeys { node, operator: Some(random()?), x25519: random()? })
    }

    /// The flags given, as a file.
    fn toml(&self) -> String {
        let table: toml::Table = self
            .settings
            .iter()
            .filter(|(setting, text)| !["genesis", "register"].contains(&setting.name) && !text.is_empty())
            .map(|(setting, text)| (setting.name.to_owned(), toml::Value::String(text.to_owned())))
            .collect();
        format!("# Settings of this node; all there are: sotto-node config show\n{table}")
    }
}

fn report(context: &Context, genesis: &GenesisFile, new: &NewKeys, datadir: &Path) -> Result<Exit, CliError> {
    let node = new.node.signing_key().node_id();
    let operator = new.operator.as_ref().map(|seed| seed.signing_key().public());
    let chain = genesis.genesis.chain_id();
    let document = serde_json::json!({
        "v": 1, "type": "node.init", "node": node.to_string(), "operator": operator.map(|key| key.to_string()),
        "chain": chain.to_string(), "preset": genesis.genesis.preset.name(), "datadir": datadir,
    });
    let operator = operator.map_or("on another machine".into(), |key| key.to_string());
    let text = format!(
        "A node is set up in {dir}\n\n  node      {node}\n  operator  {operator}\n  chain     {chain} ({preset})\n\n\
         Keep the keys safe:  sotto-node keys backup FILE --datadir {dir}\n\
         Start it:            sotto-node run --datadir {dir}\n",
        dir = datadir.display(),
        preset = genesis.genesis.preset.name(),
    );
    context.out.result(&document, &text)?;
    Ok(Exit::Done)
}

/// Reads and checks a genesis file.
pub(super) fn read_genesis(path: &Path) -> Result<GenesisFile, CliError> {
    let text = read_bounded(path, GENESIS_BYTES, "genesis")?;
    GenesisFile::from_json(&text)
        .map_err(|error| CliError::new(Exit::Failed, "genesis", format!("{}: {error}", path.display())))
}

/// Reads a text file of at most `limit` bytes.
pub(super) fn read_bounded(path: &Path, limit: u64, what: &str) -> Result<String, CliError> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(CliError::no_such_file(what, path)),
        Err(error) => return Err(CliError::io("read", path, &error)),
    };
    let mut text = String::new();
    let read = file.take(limit + 1).read_to_string(&mut text).map_err(|error| CliError::io("read", path, &error))?;
    if read as u64 > limit {
        let message = format!("{} is too large for a {what} file", path.display());
        return Err(CliError::new(Exit::Failed, "too_large", message));
    }
    Ok(text)
}

fn read_seed(path: &Path) -> Result<Seed, CliError> {
    let text = zeroize::Zeroizing::new(read_bounded(path, 128, "seed")?);
    Seed::from_hex(text.as_bytes()).ok_or_else(|| {
        let message = format!("{} is no seed: 64 hex digits are expected", path.display());
        CliError::new(Exit::Failed, "seed", message)
    })
}

fn random() -> Result<Seed, CliError> {
    Seed::random().map_err(|error| CliError::new(Exit::Failed, "randomness", format!("no randomness: {error}")))
}

fn make_directory(path: &Path) -> Result<(), CliError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| CliError::io("make", path, &error))
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    fs::write(path, text).map_err(|error| CliError::io("write", path, &error))
}
