//! `sotto contact presence`: whether somebody says publicly that it is online.

use clap::Args;
use serde_json::json;
use sotto_proto::time::UnixMillis;

use crate::cli::context::Context;
use crate::cli::network_error::cli_error;
use crate::cli::recipient::{Recipient, called};
use crate::cli::status::rfc3339;
use crate::cli::{CliError, Exit};
use crate::messenger::Messenger;

/// Look up whether somebody says publicly that it is online (sotto account set --presence on)
#[derive(Debug, Args)]
pub(in crate::cli) struct Presence {
    /// A contact's name, or anybody's account id
    #[arg(value_name = "WHO")]
    who: Recipient,
}

impl Presence {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let mut unlocked = context.unlock()?;
        let (account, name) = unlocked.account.change(|tx, _| {
            let (account, _) = self.who.find(tx)?;
            Ok::<_, CliError>((account, called(tx, &account)?))
        })?;
        let found = Context::runtime()?.block_on(async {
            let mut messenger = Messenger::open(unlocked.genesis, unlocked.account, context.timeout, |_| ()).await?;
            Box::pin(messenger.presence(&account)).await
        });
        let found = found.map_err(|error| cli_error(&error))?;
        let until = found.as_ref().map(|set| rfc3339(UnixMillis(set.expires().0.saturating_mul(1000))));
        let document = json!({
            "v": 1, "type": "contact.presence", "account": account.to_string(), "online": found.is_some(),
            "until": until, "places": found.as_ref().map_or(0, |set| set.places().len()),
        });
        let text = match until {
            Some(until) => format!("{name} is online, by its own word until {until}"),
            None => format!("{name} does not say that it is online"),
        };
        context.out.result(&document, text)?;
        Ok(Exit::Done)
    }
}
