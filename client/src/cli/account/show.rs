//! `sotto account show` and `list`.

use clap::Args;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::{Value, json};
use sotto_proto::address::Address;

use crate::cli::context::Context;
use crate::cli::{CliError, Exit};
use crate::store::{Accounts, FolderName, Passphrase, StoreError};

#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// Also draw the id as a QR code
    #[arg(long)]
    qr: bool,
}

impl Show {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let unlocked = context.unlock()?;
        let account = &unlocked.account;
        let (name, id, kdf) = (account.name(), account.account().address(), account.kdf());
        let (cipher, genesis) = (account.store.cipher_version()?, &unlocked.genesis.genesis);
        let created = humantime::format_rfc3339_millis(
            std::time::UNIX_EPOCH + std::time::Duration::from_millis(account.created().0),
        );
        let document = json!({
            "v": 1, "type": "account", "name": name.as_str(), "id": id.to_string(), "created": created.to_string(),
            "insecure": kdf.is_insecure(), "argon2_mib": kdf.mebibytes(), "sqlcipher": cipher,
            "chain": genesis.chain_id().to_string(), "preset": genesis.preset.name(), "uri": uri(id),
        });
        let mut text = format!(
            "name       {name}\nid         {id}\nnetwork    {} ({})\ncreated    {created}\nstore      SQLCipher {cipher}, Argon2id {} MiB\n",
            genesis.chain_id().short(),
            genesis.preset.name(),
            kdf.mebibytes(),
        );
        if kdf.is_insecure() {
            text.push_str(
                "INSECURE   a testnet's account: its passphrase is cheap to guess. Nothing real belongs here.\n",
            );
        }
        if self.qr {
            text.push('\n');
            text.push_str(&draw(id)?);
        }
        context.out.result(&document, text)?;
        Ok(Exit::Done)
    }
}

/// Upper case throughout: the small alphabet of QR codes.
fn uri(id: Address) -> String {
    format!("SOTTO:{id}").to_uppercase()
}

fn draw(id: Address) -> Result<String, CliError> {
    let code = QrCode::new(uri(id))
        .map_err(|error| CliError::new(Exit::Internal, "qr", format!("cannot draw the id: {error}")))?;
    Ok(code.render::<Dense1x2>().build())
}

/// What is known of an account.
struct Entry {
    folder: FolderName,
    state: State,
}

enum State {
    /// No passphrase, or not this one.
    Locked,
    InUse,
    Open {
        name: String,
        id: Address,
    },
}

/// All accounts; those that the given passphrase opens by name.
pub(super) fn list(context: &Context) -> Result<Exit, CliError> {
    let accounts = context.accounts(&context.genesis()?);
    let passphrase = context.settings.value("passphrase-file").map(|_| context.passphrase()).transpose()?;
    let entries = accounts
        .folders()?
        .into_iter()
        .map(|folder| Ok(Entry { folder, state: look(&accounts, folder, passphrase.as_ref())? }))
        .collect::<Result<Vec<_>, CliError>>()?;
    let document = json!({
        "v": 1, "type": "account.list", "accounts": entries.iter().map(Entry::document).collect::<Vec<_>>(),
    });
    let text: String = entries.iter().map(Entry::text).collect();
    if entries.is_empty() {
        context.out.say("no account on this network yet: sotto account create --name NAME");
    } else if entries.iter().any(|entry| matches!(entry.state, State::Locked)) {
        context.out.say("names are inside; --passphrase-file FILE shows those that it opens");
    }
    if context.out.json || !entries.is_empty() {
        context.out.result(&document, text)?;
    }
    Ok(Exit::Done)
}

fn look(accounts: &Accounts, folder: FolderName, passphrase: Option<&Passphrase>) -> Result<State, CliError> {
    let Some(passphrase) = passphrase else {
        return Ok(if accounts.is_in_use(folder) { State::InUse } else { State::Locked });
    };
    match accounts.open_folder(folder, passphrase) {
        Ok(account) => Ok(State::Open { name: account.name().to_string(), id: account.account().address() }),
        Err(StoreError::WrongPassphrase) => Ok(State::Locked),
        Err(StoreError::InUse { .. }) => Ok(State::InUse),
        Err(error) => Err(error.into()),
    }
}

impl Entry {
    fn document(&self) -> Value {
        let (state, name, id) = match &self.state {
            State::Locked => ("locked", None, None),
            State::InUse => ("in_use", None, None),
            State::Open { name, id } => ("open", Some(name), Some(id.to_string())),
        };
        json!({ "folder": self.folder.to_string(), "state": state, "name": name, "id": id })
    }

    fn text(&self) -> String {
        let folder = self.folder;
        match &self.state {
            State::Locked => format!("{folder}  locked\n"),
            State::InUse => format!("{folder}  in use\n"),
            State::Open { name, id } => format!("{folder}  {name:<16} {id}\n"),
        }
    }
}
