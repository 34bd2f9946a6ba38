//! `sotto-chain transfer`.

use std::path::PathBuf;

use serde_json::json;
use sotto_chain::producer::report::AccountReport;
use sotto_proto::chain::{Payload, Transaction, TxBody};
use sotto_proto::id::{Amount, ChainId, PublicKey};

use super::Globals;
use super::console::Console;
use super::failure::{Exit, Failure};
use super::{keys, wait};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Seed file of the key whose coins move (mode 0600)
    #[arg(long, value_name = "FILE")]
    from_key: PathBuf,
    /// To which account
    #[arg(long, value_name = "KEY")]
    to: PublicKey,
    /// How many coins, such as 12.5
    #[arg(long, value_name = "COINS")]
    amount: Amount,
    /// What is burnt to be taken sooner
    #[arg(long, value_name = "COINS", default_value = "0")]
    fee: Amount,
    /// Do not wait until the transfer is in a block
    #[arg(long)]
    no_wait: bool,
}

pub(super) fn run(globals: &Globals, arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let key = keys::read(&arguments.from_key)?;
    let client = globals.client()?;
    let account: AccountReport = client.get(&format!("/account/{}", key.public()))?;
    let chain: ChainId = account
        .chain
        .parse()
        .map_err(|error| Failure::new(Exit::Io, "unreadable", format!("the producer's chain id: {error}")))?;
    let &Arguments { to, amount, fee, .. } = arguments;
    let body =
        TxBody { signer: key.public(), nonce: account.next_nonce, fee, payload: Payload::Transfer { to, amount } };
    let transaction = Transaction::sign(body, &key, None, &chain);
    let submitted = client.post("/tx", &json!({ "tx": hex::encode(transaction.encode()) }))?;
    wait::report(&client, console, &submitted, &format!("{amount} coins to {}", to.short()), !arguments.no_wait)
}
