//! `sotto contact draft`: what is begun and not sent. It is kept encrypted with everything else, and sending does not
//! touch it.

use clap::{Args, Subcommand};
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
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show it
    Show,
    /// Keep a text in the place of what was begun before
    Set {
        /// The text
        #[arg(value_name = "TEXT", allow_hyphen_values = true)]
        text: String,
    },
    /// Forget it
    Clear,
}

impl Draft {
    pub(super) fn run(self, context: &Context, tx: &Transaction<'_>) -> Result<Exit, CliError> {
        let account = self.which.contact(tx)?.account;
        match self.verb.unwrap_or(Verb::Show) {
            Verb::Show => {}
            Verb::Set { text } => {
                let text = Text::new(text).map_err(|error| {
                    CliError::new(Exit::Usage, "text", error.to_string()).hint("sotto contact draft CONTACT clear")
                })?;
                tx.set_draft(&account, Some(&text))?;
            }
            Verb::Clear => tx.set_draft(&account, None)?,
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
