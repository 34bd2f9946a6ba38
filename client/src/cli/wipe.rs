//! `sotto wipe`: accounts are erased from this device for good. No passphrase is needed, for whoever has forgotten it,
//! or must not be made to type it.

use clap::Args;
use serde_json::json;

use super::context::{Context, random};
use super::output::Output;
use super::settings::Origin;
use super::{CliError, Exit};
use crate::store::{self, Wiped};

/// What no program can do.
const LIMITS: &str = "\
Not reached: copies and backups made before; what an SSD, a snapshot or swap still holds of the overwritten keys.
There the account is as safe as its passphrase. Settings and logs are not touched.";

/// Erase an account, or all, from this device for good; no passphrase is needed
#[derive(Debug, Args)]
pub(super) struct Wipe {
    /// All accounts of all networks, and what is known of these
    #[arg(long)]
    all: bool,
    /// Only say what would be erased
    #[arg(long)]
    dry_run: bool,
}

impl Wipe {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let (wipe, what) = self.hold(context)?;
        let folders: Vec<_> = wipe.folders().map(|folder| folder.to_string()).collect();
        let document = json!({ "v": 1, "type": "wiped", "accounts": folders, "dry_run": self.dry_run });
        if self.dry_run {
            context.out.result(&document, format!("would erase {what}: {}", folders.join(", ")))?;
            return Ok(Exit::Done);
        }
        context.confirm(
            &format!("This erases {what} from this device: keys first, then files. Messages cannot be brought back.\n{LIMITS}"),
            "WIPE",
        )?;
        wipe.run(&mut random()?, |wiped| tell(&context.out, wiped))?;
        context.out.result(&document, format!("✓ {what} erased: the keys are overwritten, the files removed"))?;
        if context.assume_yes {
            context.out.say(LIMITS);
        }
        Ok(Exit::Done)
    }

    fn hold(&self, context: &Context) -> Result<(store::Wipe, String), CliError> {
        if !self.all {
            let accounts = context.accounts(&context.genesis()?);
            let folder = context.choose(&accounts)?;
            let called =
                context.settings.value("account").map_or_else(|| folder.to_string(), |named| named.text.clone());
            return Ok((accounts.wipe(folder)?, format!("account {called}")));
        }
        let named = context.settings.value("account");
        if named.is_some_and(|named| matches!(named.origin, Origin::Flag(_))) {
            return Err(CliError::new(Exit::Usage, "usage", "one account is named, and all are to be erased")
                .hint("--account NAME or --all"));
        }
        let wipe = store::Wipe::of_all(&context.datadir())?;
        let what = match wipe.folders().count() {
            1 => "1 account".to_owned(),
            count => format!("{count} accounts"),
        };
        Ok((wipe, what))
    }
}

fn tell(out: &Output, wiped: Wiped) {
    let (phase, folder, text) = match wiped {
        Wiped::Keys(folder) => ("keys", folder, "the keys are overwritten"),
        Wiped::Files(folder) => ("files", folder, "the files are removed"),
    };
    let document = json!({ "v": 1, "type": "progress", "phase": phase, "account": folder.to_string() });
    out.progress(&document, format!("{folder}: {text}"));
}
