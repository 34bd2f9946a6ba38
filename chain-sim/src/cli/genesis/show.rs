//! `sotto-chain genesis show`.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use sotto_chain::producer::report::rfc3339;
use sotto_proto::chain::{GenesisFile, Params};
use sotto_proto::id::Amount;

use crate::cli::console::Console;
use crate::cli::failure::Failure;

/// Accounts listed one by one.
const LISTED: usize = 10;

pub(super) fn run(path: &Path, console: &Console) -> Result<(), Failure> {
    let file = super::load(path)?;
    console.result(&text(&file), &document(&file))
}

fn text(file: &GenesisFile) -> String {
    let genesis = &file.genesis;
    let mut text = format!(
        "chain      {}\npreset     {}\nfounded    {}\nauthority  {}\nproducer   {}\n",
        genesis.chain_id(),
        genesis.preset.name(),
        rfc3339(genesis.time),
        genesis.authority,
        genesis.producer,
    );
    for address in &file.producer_addresses {
        let _ = writeln!(text, "           {address}");
    }
    for (node, address) in &file.bootstrap {
        let _ = writeln!(text, "bootstrap  {node} {address}");
    }
    let preset = Params::preset(genesis.preset).values();
    text += "\nparameters (* differs from the preset)\n";
    for ((name, value), usual) in Params::NAMES.iter().zip(genesis.params.values()).zip(preset) {
        let mark = if value == usual { ' ' } else { '*' };
        let _ = writeln!(text, " {mark} {name:<24} {}", number(value));
    }
    let sum = genesis.balances.values().fold(Amount(0), |sum, balance| sum.checked_add(*balance).unwrap_or(sum));
    let _ = writeln!(text, "\n{} accounts with {sum} coins", genesis.balances.len());
    for (key, balance) in genesis.balances.iter().take(LISTED) {
        let _ = writeln!(text, "   {key}  {balance}");
    }
    if let Some(more) = genesis.balances.len().checked_sub(LISTED + 1) {
        let _ = writeln!(text, "   … and {} more (--json lists all)", more + 1);
    }
    text
}

fn number(value: u64) -> String {
    if value == u64::MAX { "never".to_owned() } else { value.to_string() }
}

fn document(file: &GenesisFile) -> serde_json::Value {
    let genesis = &file.genesis;
    let params: serde_json::Map<_, _> = Params::NAMES
        .iter()
        .zip(genesis.params.values())
        .map(|(name, value)| ((*name).to_owned(), value.into()))
        .collect();
    let balances: serde_json::Map<_, _> =
        genesis.balances.iter().map(|(key, balance)| (key.to_string(), balance.to_string().into())).collect();
    let bootstrap: Vec<_> = file
        .bootstrap
        .iter()
        .map(|(node, address)| json!({ "node": node.to_string(), "address": address.to_string() }))
        .collect();
    json!({
        "v": 1, "type": "chain.genesis", "chain": genesis.chain_id().to_string(), "preset": genesis.preset.name(),
        "time": rfc3339(genesis.time), "authority": genesis.authority.to_string(),
        "producer": genesis.producer.to_string(),
        "producer_addresses": file.producer_addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "bootstrap": bootstrap, "params": params, "balances": balances,
    })
}
