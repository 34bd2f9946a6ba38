//! `sotto account set`: what an account tells others.

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::{CliError, Exit};
use crate::store::Switch;

/// Change what the account tells others about you; without options, show it
#[derive(Debug, Args)]
pub(in crate::cli) struct Set {
    /// Tell contacts what came and what was read: whoever writes to you learns when you are there
    #[arg(long, value_name = "on|off")]
    receipts: Option<OnOff>,
    /// Tell contacts when you are writing, and show when they are
    #[arg(long, value_name = "on|off")]
    typing: Option<OnOff>,
    /// Public presence: while you follow or a daemon runs, everybody who knows the account's id can see that you are online
    #[arg(long, value_name = "on|off")]
    presence: Option<OnOff>,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnOff {
    On,
    Off,
}

impl Set {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let mut unlocked = context.unlock()?;
        let switches = [
            (Switch::Receipts, "receipts", self.receipts),
            (Switch::Typing, "typing", self.typing),
            (Switch::PublicPresence, "presence", self.presence),
        ];
        let settings = unlocked.account.change(|tx, _| {
            if self.receipts == Some(OnOff::Off) {
                tx.forget_owed()?;
            }
            let now = switches.map(|(switch, name, wanted)| {
                if let Some(wanted) = wanted {
                    tx.turn(switch, wanted == OnOff::On)?;
                }
                Ok::<_, CliError>((name, tx.is_on(switch)?))
            });
            now.into_iter().collect::<Result<Vec<_>, _>>()
        })?;
        let about = [("v".to_owned(), json!(1)), ("type".to_owned(), json!("account.settings"))];
        let document = about.into_iter().chain(settings.iter().map(|(name, is_on)| ((*name).to_owned(), json!(is_on))));
        let lines = settings.iter().map(|(name, is_on)| format!("{name:<8}  {}", if *is_on { "on" } else { "off" }));
        context.out.result(&document.collect(), lines.collect::<Vec<_>>().join("\n"))?;
        Ok(Exit::Done)
    }
}
