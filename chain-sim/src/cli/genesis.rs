//! `sotto-chain genesis`: founds a chain; `show` and `export` look at and pass on its file.

mod export;
mod show;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use serde_json::json;
use sotto_behaviours::clock;
use sotto_chain::producer::datadir;
use sotto_proto::account::test_seed;
use sotto_proto::chain::{Genesis, GenesisFile, Params, Preset};
use sotto_proto::id::{Amount, NodeId, PublicKey};
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::sign::SigningKey;
use sotto_proto::time::UnixMillis;

use super::Globals;
use super::console::Console;
use super::failure::{Exit, Failure};
use super::keys::{KeyArguments, Role};

/// Coins of the faucet of a new testnet.
const FAUCET_COINS: Amount = Amount::coins(10_000_000);
/// Stakes that each operator of a test has coins for.
const STAKES_PER_OPERATOR: u64 = 10;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    found: Found,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// What a genesis file says, for people
    Show {
        /// The genesis file
        file: PathBuf,
    },
    /// The file for other machines, with the addresses they can reach
    Export(export::Arguments),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PresetName {
    Mainnet,
    Testnet,
}

#[derive(Debug, clap::Args)]
struct Found {
    /// The numbers the chain runs on
    #[arg(long, value_enum, value_name = "PRESET", required = true)]
    preset: Option<PresetName>,
    /// Where the genesis file goes
    #[arg(long, value_name = "FILE", required = true)]
    out: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyArguments,
    /// Fund this many operators of the test seed, so that they can stake
    #[arg(long, value_name = "N", requires = "test_seed", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=60_000))]
    operators: u32,
    /// Time between blocks, such as 500ms
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    block_time: Option<Duration>,
    /// Another value for a parameter (names: genesis show)
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = pair::<String, u64>)]
    params: Vec<(String, u64)>,
    /// Coins for an account from the beginning
    #[arg(long = "fund", value_name = "KEY=COINS", value_parser = pair::<PublicKey, Amount>)]
    funds: Vec<(PublicKey, Amount)>,
    #[command(flatten)]
    addresses: Addresses,
    /// When the chain begins, RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339_weak)]
    time: Option<std::time::SystemTime>,
}

/// What a genesis file carries beside the genesis.
#[derive(Clone, Debug, clap::Args)]
struct Addresses {
    /// Where nodes reach the producer; may be repeated
    #[arg(long = "producer-address", value_name = "ADDRESS")]
    producer: Vec<NodeAddr>,
    /// A node that newcomers may ask first; may be repeated
    #[arg(long, value_name = "NODE@ADDRESS", value_parser = bootstrap)]
    bootstrap: Vec<(NodeId, NodeAddr)>,
}

/// `A=B`.
fn pair<A: FromStr, B: FromStr>(text: &str) -> Result<(A, B), String>
where
    A::Err: ToString,
    B::Err: ToString,
{
    let (a, b) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((a.parse().map_err(|error: A::Err| error.to_string())?, b.parse().map_err(|error: B::Err| error.to_string())?))
}

/// `NODE@ADDRESS`.
fn bootstrap(text: &str) -> Result<(NodeId, NodeAddr), String> {
    let (node, address) = text.split_once('@').ok_or("expected NODE@ADDRESS")?;
    let node = node.parse().map_err(|error| format!("node: {error}"))?;
    Ok((node, address.parse().map_err(|error| format!("{error}"))?))
}

pub(super) fn run(globals: &Globals, arguments: Arguments, console: &Console) -> Result<(), Failure> {
    let found = arguments.found;
    match (arguments.verb, found.preset, found.out.clone()) {
        (Some(Verb::Show { file }), ..) => show::run(&file, console),
        (Some(Verb::Export(arguments)), ..) => export::run(arguments, console),
        (None, Some(preset), Some(out)) => create(globals, preset, &out, found, console),
        // clap asks for both before it comes to this; they are optional only beside `show` and `export`.
        (None, ..) => Err(Failure::new(Exit::Failed, "usage", "--preset and --out are needed")),
    }
}

fn create(globals: &Globals, preset: PresetName, out: &Path, found: Found, console: &Console) -> Result<(), Failure> {
    if fs::exists(out).unwrap_or(false) {
        let out = out.display();
        console.confirm(&format!("{out} exists: replace it? Who runs with the old file is on another chain"))?;
    }
    let parent = out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Without a data directory the keys lie beside the genesis, where `run --genesis` finds them.
    let home = globals.datadir.clone().unwrap_or_else(|| parent.to_owned());
    let preset = match preset {
        PresetName::Mainnet => Preset::Mainnet,
        PresetName::Testnet => Preset::Testnet,
    };
    if preset == Preset::Mainnet && found.keys.test_seed.is_some() {
        let message = "keys that everybody can derive are for testnets only";
        return Err(Failure::new(Exit::Permission, "not_testnet", message).hint("--preset testnet"));
    }
    let params = params(preset, &found)?;
    let authority = found.keys.found(Role::Authority, &home)?;
    let producer = found.keys.found(Role::Producer, &home)?;
    let faucet = match preset {
        Preset::Testnet => Some(found.keys.found(Role::Faucet, &home)?),
        Preset::Mainnet => None,
    };
    let genesis = Genesis {
        preset,
        time: found.time.map_or_else(clock::wall, unix_millis),
        authority: authority.public(),
        producer: producer.node_id(),
        balances: balances(&found, &params, faucet.as_ref())?,
        params,
    };
    genesis.check().map_err(|error| Failure::new(Exit::Failed, "genesis", error.to_string()))?;
    let Addresses { producer: producer_addresses, bootstrap } = found.addresses;
    let file = GenesisFile { genesis, producer_addresses, bootstrap };
    write(out, &file)?;
    report(out, &home, &file, console)
}

fn unix_millis(time: std::time::SystemTime) -> UnixMillis {
    let since = time.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn params(preset: Preset, found: &Found) -> Result<Params, Failure> {
    let mut params = Params::preset(preset);
    if let Some(time) = found.block_time {
        params.block_time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    }
    for (name, value) in &found.params {
        params.set(name, *value).map_err(|error| Failure::new(Exit::Failed, "parameter", error.to_string()))?;
    }
    Ok(params)
}

fn balances(
    found: &Found,
    params: &Params,
    faucet: Option<&SigningKey>,
) -> Result<BTreeMap<PublicKey, Amount>, Failure> {
    let mut balances = BTreeMap::new();
    let mut add = |key: PublicKey, amount: Amount| match balances.insert(key, amount) {
        None => Ok(()),
        Some(_) => Err(Failure::new(Exit::Conflict, "funded_twice", format!("account {key} is funded twice"))),
    };
    if let Some(faucet) = faucet {
        add(faucet.public(), FAUCET_COINS)?;
    }
    let operator_coins = Amount(params.stake.saturating_mul(STAKES_PER_OPERATOR));
    for index in 0..found.operators {
        let seed = test_seed(found.keys.test_seed.unwrap_or_default(), "operator", index);
        add(SigningKey::from_seed(&seed).public(), operator_coins)?;
    }
    found.funds.iter().try_for_each(|(key, amount)| add(*key, *amount))?;
    Ok(balances)
}

fn write(path: &Path, file: &GenesisFile) -> Result<(), Failure> {
    let io = |error: std::io::Error| Failure::new(Exit::Io, "io", format!("{}: {error}", path.display()));
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        datadir::create(dir).map_err(|error| Failure::new(Exit::Io, "io", error.to_string()))?;
    }
    fs::write(path, file.to_json() + "\n").map_err(io)
}

/// Reads a genesis file.
pub(super) fn load(path: &Path) -> Result<GenesisFile, Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Io };
        Failure::new(exit, "genesis", format!("genesis file {}: {error}", path.display()))
            .hint("sotto-chain genesis --preset testnet --out FILE")
    })?;
    GenesisFile::from_json(&text)
        .map_err(|error| Failure::new(Exit::Failed, "genesis", format!("{}: {error}", path.display())))
}

fn report(out: &Path, home: &Path, file: &GenesisFile, console: &Console) -> Result<(), Failure> {
    let genesis = &file.genesis;
    let chain = genesis.chain_id();
    let (path, keys) = (out.display(), home.join("keys"));
    let mut text = format!(
        "chain    {chain}\npreset   {}\nfile     {path}\nkeys     {}\nfunded   {} accounts\n",
        genesis.preset.name(),
        keys.display(),
        genesis.balances.len()
    );
    let listen = file.producer_addresses.first().map_or("IP:PORT".to_owned(), ToString::to_string);
    text += &format!("\nnext     sotto-chain run --genesis {path} --datadir {} --listen {listen}\n", home.display());
    let document = json!({
        "v": 1, "type": "chain.genesis", "chain": chain.to_string(), "preset": genesis.preset.name(),
        "file": path.to_string(), "keys": keys.display().to_string(), "authority": genesis.authority.to_string(),
        "producer": genesis.producer.to_string(), "accounts": genesis.balances.len(),
    });
    console.result(&text, &document)
}
