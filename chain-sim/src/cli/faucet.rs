//! `sotto-chain faucet`.

use serde_json::json;
use sotto_proto::id::{Amount, PublicKey};

use super::console::Console;
use super::failure::Failure;
use super::{Globals, wait};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Which account gets the coins
    #[arg(long, value_name = "KEY")]
    to: PublicKey,
    /// How many coins
    #[arg(long, value_name = "COINS", default_value = "1000")]
    amount: Amount,
    /// Do not wait until they are in a block
    #[arg(long)]
    no_wait: bool,
}

pub(super) fn run(globals: &Globals, arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let client = globals.client()?;
    let &Arguments { to, amount, no_wait } = arguments;
    let submitted = client.post("/faucet", &json!({ "to": to.to_string(), "amount": amount.to_string() }))?;
    wait::report(&client, console, &submitted, &format!("{amount} coins to {}", to.short()), !no_wait)
}
