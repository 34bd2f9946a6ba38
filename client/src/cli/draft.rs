//! `sotto contact draft`: what is begun and not sent. It is kept encrypted with everything else, and sending does not
//! touch it.

use clap::{Args, ValueEnum};
use serde_json::json;
use sotto_proto::address::Address;
use sotto_proto::content::Text;

use super::context::Context;
use super::recipient::{Recipient, called};
use super::{CliError, Exit};
use crate::store::Transaction;
use crate::text::printable;

/// What you have begun to write to a contact
#[derive(Debug, Args)]
pub(super) struct Draft {
    /// Its name or account id
    #[arg(value_name = "CONTACT")]
    which: Recipient,
    /// What to do with it
    #[arg(value_name = "ACTION", value_enum, default_value = "show")]
    action: Action,
    /// The text that is kept in the place of what was begun before
    #[arg(value_name = "TEXT", required_if_eq("action", "set"), allow_hyphen_values = true)]
    text: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Action {
    /// Show it
    Show,
    /// Keep a text
    Set,
    /// Forget it
    Clear,
}

impl Draft {
    pub(super) fn run(self, context: &Context, tx: &Transaction<'_>) -> Result<Exit, CliError> {
        let account = self.which.contact(tx)?.account;
        match self.action {
            Action::Show => {}
            Action::Set => {
                let text = Text::new(self.text.unwrap_or_default()).map_err(|error| {
                    CliError::new(Exit::Usage, "text", error.to_string()).hint("sotto contact draft CONTACT clear")
                })?;
                tx.set_draft(&account, Some(&text))?;
            }
            Action::Clear => tx.set_draft(&account, None)?,
        }
        show(context, tx, &account)
    }
}

fn show(context: &Context, tx: &Transaction<'_>, account: &Address) -> Result<Exit, CliError> {
    let draft = tx.draft(account)?;
    let text = draft.as_ref().map(Text::as_str);
    let document = json!({ "v": 1, "type": "draft", "account": account.to_string(), "text": text });
    if text.is_none() {
        context.out.say(format!("nothing is begun to {}", called(tx, account)?));
        if !context.out.json {
            return Ok(Exit::Done);
        }
    }
    context.out.result(&document, text.map(printable).unwrap_or_default())?;
    Ok(Exit::Done)
}
