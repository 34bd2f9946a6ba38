//! `sotto account`.

mod create;
mod set;
mod show;

use clap::Subcommand;
use serde_json::json;
use sotto_proto::account::phrase::Phrase;

use super::context::{Context, random};
use super::{CliError, Exit};
use crate::store::{AccountName, OpenAccount};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a new account
    Create(create::Create),
    /// Bring back an account from its phrase: 12 words, or Session's 13
    Restore(create::Restore),
    /// The accounts on this device
    List,
    /// An account's id and how it is kept
    Show(show::Show),
    /// Give an account another name; only this device knows it
    Rename {
        /// The new name
        name: AccountName,
    },
    Set(set::Set),
    /// Show the phrase that brings the account back
    ExportPhrase {
        /// As Session's 13 words
        #[arg(long)]
        session: bool,
    },
    /// Erase an account from this device
    Delete {
        /// Only say what would be erased
        #[arg(long)]
        dry_run: bool,
    },
}

impl Verb {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::Create(verb) => verb.run(context),
            Self::Restore(verb) => verb.run(context),
            Self::List => show::list(context),
            Self::Show(verb) => verb.run(context),
            Self::Rename { name } => rename(context, &name),
            Self::Set(verb) => verb.run(context),
            Self::ExportPhrase { session } => export_phrase(context, session),
            Self::Delete { dry_run } => delete(context, dry_run),
        }
    }
}

fn rename(context: &Context, name: &AccountName) -> Result<Exit, CliError> {
    let unlocked = context.unlock()?;
    let before = unlocked.account.name().clone();
    let account = context.accounts(&unlocked.genesis).rename(unlocked.account, name)?;
    let id = account.account().address();
    let document = json!({ "v": 1, "type": "account.renamed", "name": name.as_str(), "id": id.to_string() });
    context.out.result(&document, format!("{before} is now {name}"))?;
    Ok(Exit::Done)
}

fn export_phrase(context: &Context, session: bool) -> Result<Exit, CliError> {
    let unlocked = context.unlock()?;
    let phrase = phrase_of(&unlocked.account, session);
    context.out.say("Whoever has these words has the account.");
    context.out.result(&json!({ "v": 1, "type": "account.phrase", "phrase": phrase.expose() }), phrase.expose())?;
    Ok(Exit::Done)
}

fn phrase_of(account: &OpenAccount, session: bool) -> Phrase {
    if session { account.entropy().to_session_phrase() } else { account.entropy().to_phrase() }
}

fn delete(context: &Context, dry_run: bool) -> Result<Exit, CliError> {
    let accounts = context.accounts(&context.genesis()?);
    let folder = context.choose(&accounts)?;
    let called = context.settings.value("account").map_or_else(|| folder.to_string(), |valued| valued.text.clone());
    if !dry_run {
        let what = format!(
            "This erases account {called}: its keys, messages and settings on this device.\nOnly its phrase brings the account back; nothing brings back the messages."
        );
        context.confirm(&what, "ERASE")?;
        accounts.delete(folder, &mut random()?)?;
    }
    let document = json!({ "v": 1, "type": "account.deleted", "folder": folder.to_string(), "dry_run": dry_run });
    let path = accounts.folder().join(folder.to_string());
    let text = if dry_run { format!("would erase {}", path.display()) } else { format!("account {called} is erased") };
    context.out.result(&document, text)?;
    Ok(Exit::Done)
}
