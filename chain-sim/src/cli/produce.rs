//! `sotto-chain produce`.

use serde_json::{Value, json};

use super::Globals;
use super::console::Console;
use super::failure::Failure;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How many blocks. Nodes that cannot prove to be up in time are decommissioned after two epochs.
    #[arg(default_value_t = 1)]
    count: u64,
}

pub(super) fn run(globals: &Globals, arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let made = globals.client()?.post("/produce", &json!({ "count": arguments.count }))?;
    let tip = made.get("tip").and_then(Value::as_u64).unwrap_or_default();
    console.result(&format!("{} blocks made, the chain is at block {tip}", arguments.count), &made)
}
