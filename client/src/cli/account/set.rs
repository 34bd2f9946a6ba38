//! `sotto account set`: what an account tells its contacts.

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::{CliError, Exit};
use crate::store::Switch;

/// Change what the account tells its contacts; without options, show it
#[derive(Debug, Args)]
pub(in crate::cli) struct Set {
    /// Tell contacts what came and what was read: whoever writes to you learns when you are there
    #[arg(long, value_name = "on|off")]
    receipts: Option<OnOff>,
    /// Tell contacts when you are writing, and show when they are
    #[arg(long, value_name = "on|off")]
    typing: Option<OnOff>,
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
        let (receipts, typing) = unlocked.account.change(|tx, _| {
            for (switch, wanted) in [(Switch::Receipts, self.receipts), (Switch::Typing, self.typing)] {
                if let Some(wanted) = wanted {
                    tx.turn(switch, wanted == OnOff::On)?;
                }
            }
            if self.receipts == Some(OnOff::Off) {
                tx.forget_owed()?;
            }
            Ok::<_, CliError>((tx.is_on(Switch::Receipts)?, tx.is_on(Switch::Typing)?))
        })?;
        let word = |on: bool| if on { "on" } else { "off" };
        let document = json!({ "v": 1, "type": "account.settings", "receipts": receipts, "typing": typing });
        context.out.result(&document, format!("receipts  {}\ntyping    {}", word(receipts), word(typing)))?;
        Ok(Exit::Done)
    }
}
