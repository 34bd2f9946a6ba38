//! A bot: sends every text back to whoever wrote it.
//!
//! ```sh
//! ./testnet/up.sh --detach && export PATH="$PWD/testnet/bin:$PATH"
//! sotto-testnet user add echo
//! cargo run --release -p sotto-client --example echo -- testnet/data/dev echo
//! sotto-testnet send alice echo "is anybody there?"
//! ```
//!
//! What it shows: an account is unlocked, mail is taken in and marked as dealt with, answers go into the outbox before
//! they are sent, so none is lost or given twice when the bot dies in between, but for the one it was working on.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use sotto_client::messenger::Messenger;
use sotto_client::store::{Accounts, Letter, NewMessage, Passphrase};
use sotto_proto::chain::GenesisFile;
use sotto_proto::content::{Body, Content, MessageId, Text};
use sotto_proto::envelope::Ttl;
use zeroize::Zeroizing;

/// Messages that are dealt with at once.
const AT_ONCE: usize = 64;
/// Between two looks for new mail.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one node may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(testnet), Some(name)) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        return Err("usage: echo TESTNET_DIRECTORY USER".into());
    };
    let genesis = GenesisFile::from_json(&std::fs::read_to_string(testnet.join("genesis.json"))?)?;
    let place = testnet.join("users").join(&name);
    let passphrase = Zeroizing::new(std::fs::read_to_string(place.join("passphrase"))?);
    let passphrase = Passphrase::typed(Zeroizing::new(passphrase.trim_end().to_owned()))?;
    let accounts = Accounts::new(&place.join("data"), genesis.genesis.chain_id());
    let folder = accounts.find(&name.parse()?).ok_or("there is no such user: sotto-testnet user add")?;
    let account = accounts.open_folder(folder, &passphrase)?;
    let mut messenger = Messenger::open(genesis, account, PATIENCE, |_| ()).await?;
    loop {
        // Whatever fails on the network is tried again with the next round.
        if messenger.receive().await.is_ok() {
            answer(&mut messenger)?;
        }
        messenger.send_pending(AT_ONCE).await?;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Puts an answer to everything new into the outbox.
fn answer(messenger: &mut Messenger) -> Result<(), Box<dyn Error>> {
    let now = messenger.clock().own().wall;
    let ttl = Ttl::new(86_400).ok_or("a day is a time to live")?;
    let store = &mut messenger.account_mut().store;
    for message in store.unshown(AT_ONCE)? {
        if let Letter::Message { sender, content, .. } = &message.letter
            && let Body::Text(text) = &content.body
        {
            let mut id = [0; 16];
            getrandom::fill(&mut id)?;
            let body = Body::Text(Text::new(text.as_str().to_owned())?);
            let content = Content::new(MessageId::new(id), now, body);
            store.enqueue(&NewMessage::plain(*sender, content, ttl, now))?;
        }
        store.mark_shown(&[message.number])?;
    }
    Ok(())
}
