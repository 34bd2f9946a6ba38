//! Fills an account's conversation with messages, to see what so many take.
//!
//! ```sh
//! cargo run --release --example fill -- DATADIR GENESIS ACCOUNT PASSPHRASE_FILE CONTACT 100000
//! sotto --account ACCOUNT daemon start
//! ```
//!
//! No daemon may have the account open. Nobody has said these messages; the account is good for nothing else afterwards.

use std::error::Error;
use std::path::Path;

use sotto_client::store::{AccountName, Accounts, Passphrase, Said};
use sotto_proto::chain::GenesisFile;
use sotto_proto::content::{Body, Content, MessageId, Text};
use sotto_proto::time::UnixMillis;

/// Messages of one transaction.
const BATCH: u64 = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [datadir, genesis, account, passphrase, contact, count] = arguments.as_slice() else {
        return Err("fill DATADIR GENESIS ACCOUNT PASSPHRASE_FILE CONTACT COUNT".into());
    };
    let genesis = GenesisFile::from_json(&std::fs::read_to_string(genesis)?)?;
    let passphrase = Passphrase::typed(std::fs::read_to_string(passphrase)?.trim().to_owned().into())?;
    let accounts = Accounts::new(Path::new(datadir), genesis.genesis.chain_id());
    let mut account = accounts.open(&account.parse::<AccountName>()?, &passphrase)?;
    let count = count.parse::<u64>()?;
    for from in (0..count).step_by(usize::try_from(BATCH)?) {
        account.change(|tx, _| {
            let with = tx.contact_named(contact)?.ok_or("no such contact")?.account;
            for number in from..count.min(from + BATCH) {
                let text = format!("This is what number {number} says, in some {} words.", number % 977);
                let mut id = [0; 16];
                id[..8].copy_from_slice(&number.to_be_bytes());
                let mut content =
                    Content::new(MessageId::new(id), UnixMillis(1 + number), Body::Text(Text::new(text)?));
                content.sequence = number + 1;
                let outgoing = number % 2 == 0;
                let arrived = UnixMillis(1 + number);
                tx.add_to_history(&Said { account: with, outgoing, device: 0, arrived, content })?;
            }
            Ok::<_, Box<dyn Error>>(())
        })?;
    }
    println!("{count} messages");
    Ok(())
}
