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
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
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
    if arguments.dry_run {
        return would_move(&transaction, &account, arguments, console);
    }
    let submitted = client.post("/tx", &json!({ "tx": hex::encode(transaction.encode()) }))?;
    wait::report(&client, console, &submitted, &format!("{amount} coins to {}", to.short()), !arguments.no_wait)
}

/// Says what would be done. Only the balance is checked: whether the chain takes the rest shows when it is sent.
fn would_move(
    transaction: &Transaction,
    account: &AccountReport,
    &Arguments { to, amount, fee, .. }: &Arguments,
    console: &Console,
) -> Result<(), Failure> {
    let balance: Amount = account
        .balance
        .parse()
        .map_err(|error| Failure::new(Exit::Io, "unreadable", format!("the producer's balance: {error}")))?;
    let left =
        amount.checked_add(fee).and_then(|spent| balance.0.checked_sub(spent.0)).map(Amount).ok_or_else(|| {
            let message = format!("{amount} coins and a fee of {fee} are more than the {balance} there are");
            Failure::new(Exit::Failed, "balance", message)
        })?;
    let (from, nonce) = (&account.account, transaction.body.nonce);
    let text = format!(
        "would move {amount} coins to {to}\nfrom         {from}\nfee          {fee}\nbalance      {balance} → {left}\n\
         nonce        {nonce}\nnothing was sent"
    );
    let document = json!({
        "v": 1, "type": "chain.transfer", "dry_run": true, "from": from, "to": to.to_string(),
        "amount": amount.to_string(), "fee": fee.to_string(), "nonce": nonce, "balance": account.balance,
        "balance_after": left.to_string(), "bytes": transaction.encode().len(),
    });
    console.result(&text, &document)
}
