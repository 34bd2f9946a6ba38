//! `sotto-chain genesis export`: the same chain with other addresses beside it, for machines elsewhere.

use std::path::PathBuf;

use serde_json::Value;
use sotto_proto::chain::GenesisFile;

use super::Addresses;
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The genesis file
    file: PathBuf,
    /// Write here instead of to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    addresses: Addresses,
}

pub(super) fn run(arguments: Arguments, console: &Console) -> Result<(), Failure> {
    let Arguments { file, out, addresses } = arguments;
    let mut exported: GenesisFile = super::load(&file)?;
    if !addresses.producer.is_empty() {
        exported.producer_addresses = addresses.producer;
    }
    if !addresses.bootstrap.is_empty() {
        exported.bootstrap = addresses.bootstrap;
    }
    let text = exported.to_json();
    let document: Value =
        serde_json::from_str(&text).map_err(|error| Failure::new(Exit::Internal, "internal", error.to_string()))?;
    match out {
        None => console.result(&text, &document),
        Some(out) => {
            if out.exists() {
                console.confirm(&format!("{} exists: replace it?", out.display()))?;
            }
            super::write(&out, &exported)?;
            console.result(&format!("chain {} written to {}", exported.genesis.chain_id(), out.display()), &document)
        }
    }
}
