//! `sotto contact timer`: after what time what is said in a conversation disappears, at both ends.

use clap::Args;
use sotto_proto::content::{Expiry, ExpiryStart};

use crate::cli::context::{Context, Unlocked, clock, random};
use crate::cli::conversation_error::cli_error;
use crate::cli::details::timer_words;
use crate::cli::recipient::{Recipient, called};
use crate::cli::sending::{Queued, send_queued};
use crate::cli::{CliError, Exit};
use crate::conversation::{Me, set_timer};

/// Have what both say disappear after a time
#[derive(Debug, Args)]
pub(in crate::cli) struct Timer {
    /// Its name or account id
    #[arg(value_name = "CONTACT")]
    which: Recipient,
    /// How long messages stay, such as 1h or 7d; "off": they stay
    #[arg(value_name = "DURATION|off", value_parser = after)]
    after: After,
    /// The time begins when a message is read, at each end
    #[arg(long)]
    after_reading: bool,
}

/// A time, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct After(Option<u32>);

fn after(text: &str) -> Result<After, String> {
    if text == "off" {
        return Ok(After(None));
    }
    expiry_seconds(text).map(|seconds| After(Some(seconds)))
}

/// A time after which a message may disappear.
pub(in crate::cli) fn expiry_seconds(text: &str) -> Result<u32, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let seconds = u32::try_from(duration.as_secs()).ok();
    seconds
        .filter(|seconds| Expiry::new(ExpiryStart::Sent, *seconds).is_ok())
        .ok_or_else(|| "between 1s and 28d".into())
}

/// What somebody at a terminal means by a time.
pub(in crate::cli) fn expiry(seconds: u32, after_reading: bool) -> Option<Expiry> {
    Expiry::new(if after_reading { ExpiryStart::Read } else { ExpiryStart::Sent }, seconds).ok()
}

impl Timer {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let Unlocked { genesis, mut account } = context.unlock()?;
        let wanted = self.after.0.and_then(|seconds| expiry(seconds, self.after_reading));
        let chain = *account.chain();
        let (now, mut rng) = (clock(), random()?);
        let queued = account.change(|tx, own| {
            let me = Me { chain: &chain, account: own.account, name: own.name, now };
            let contact = self.which.contact(tx)?;
            let id = set_timer(tx, &me, &contact.account, wanted, &mut rng).map_err(|error| cli_error(&error))?;
            Ok::<_, CliError>(Queued { id, account: contact.account, name: called(tx, &contact.account)? })
        })?;
        context.out.say(format!("what you and {} say disappears: {}", queued.name, timer_words(wanted)));
        send_queued(context, Unlocked { genesis, account }, &[queued])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_off_or_a_second_to_four_weeks() {
        assert_eq!(after("off"), Ok(After(None)));
        assert_eq!(after("1h"), Ok(After(Some(3600))));
        assert_eq!(after("28d"), Ok(After(Some(28 * 86_400))));
        for bad in ["0s", "29d", "soon", ""] {
            assert!(after(bad).is_err(), "{bad}");
        }
    }
}
