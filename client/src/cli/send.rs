//! `sotto send`: a message into the outbox, and from there to the recipient's swarm.

use std::str::FromStr;

use clap::Args;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;
use sotto_proto::address::Address;
use sotto_proto::content::{Body, Content, MessageId, Text};
use sotto_proto::envelope::Ttl;
use sotto_proto::limits::TEXT_MAX;

use super::contact::{expiry, expiry_seconds};
use super::context::{Context, clock, random};
use super::message::MessageRef;
use super::recipient::{Recipient, called};
use super::sending::{Queued, send_queued_by};
use super::{CliError, Exit, conversation_error, verify};
use crate::conversation::{Me, Saying, say, say_for};
use crate::messenger::{Mode, held_from};
use crate::store::{NewMessage, OpenAccount, Transaction};

/// Send a message
#[derive(Debug, Args)]
pub(super) struct Send {
    /// Names of contacts, or account ids (66 hex digits, beginning with 05), with or without "sotto:" before them. Whoever
    /// is no contact gets a message without a session; see: sotto request send --help
    #[arg(required = true, value_name = "RECIPIENT")]
    recipients: Vec<Recipient>,
    /// The text; "-" reads it from standard input
    #[arg(short, long, value_name = "TEXT")]
    message: String,
    /// How long nodes keep it: 60s, 10m, 1d or 4d hide among the others
    #[arg(long, value_name = "DURATION", default_value = "4d", value_parser = ttl)]
    ttl: Ttl,
    /// The message that it answers: the first digits of its id (see: sotto history CONTACT --ids), or "last"
    #[arg(long, value_name = "ID")]
    reply_to: Option<MessageRef>,
    /// It disappears at both ends after so long, such as 1h
    #[arg(long, value_name = "DURATION", value_parser = expiry_seconds)]
    expire: Option<u32>,
    /// The time of --expire begins when it is read, at each end
    #[arg(long, requires = "expire")]
    expire_after_reading: bool,
    /// auto: straight to the recipient's device where it is known to be online, otherwise into its mailbox; online: straight
    /// or not now; offline: into its mailbox
    #[arg(long, value_name = "MODE", default_value = "offline")]
    mode: Mode,
}

/// Who may be written to before it is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// Anybody. An account's key cannot change, because it is its id: the first use is no other than the next.
    Anybody,
    /// Nobody.
    Never,
}

impl FromStr for Trust {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "on-first-use" | "always" => Ok(Self::Anybody),
            "never" => Ok(Self::Never),
            _ => Err("expected on-first-use, always or never"),
        }
    }
}

fn ttl(text: &str) -> Result<Ttl, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let seconds = u32::try_from(duration.as_secs()).ok().and_then(Ttl::new);
    seconds.ok_or_else(|| "between 10s and 4d".into())
}

impl Send {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let text = self.text(context)?;
        if self.reply_to.is_some() && self.recipients.len() > 1 {
            let message = "an answer goes to one conversation";
            return Err(CliError::new(Exit::Usage, "usage", message).hint("name one recipient"));
        }
        let mut unlocked = context.unlock_to_say()?;
        let trust = context.settings.parse("trust", str::parse)?;
        let queued = self.queue(&mut unlocked.account, &text, trust)?;
        if queued.iter().any(|queued| queued.name == queued.account.to_string()) {
            context.out.say(
                "no contact of yours: it goes to the inbox, without a session; who knows you as a contact is not shown it. \
                 To talk: sotto request send ID",
            );
        }
        send_queued_by(context, unlocked, &queued, self.mode)
    }

    fn text(&self, context: &Context) -> Result<Text, CliError> {
        let bad = |message: String| {
            CliError::new(Exit::Failed, "text", message).hint(format!("a message has 1 to {TEXT_MAX} bytes of text"))
        };
        let mut text = self.message.clone();
        if text == "-"
            && let Some(input) = context.standard_input(TEXT_MAX as u64 + 2)?
        {
            text = input.strip_suffix('\n').map_or_else(|| input.clone(), str::to_owned);
        }
        Text::new(text).map_err(|error| bad(error.to_string()))
    }

    /// For all recipients or for none: whoever corrects one of them does not write to the others twice.
    fn queue(&self, account: &mut OpenAccount, text: &Text, trust: Trust) -> Result<Vec<Queued>, CliError> {
        let chain = *account.chain();
        let (now, mut rng) = (clock(), random()?);
        account.change(|tx, own| {
            let me = Me { chain: &chain, account: own.account, name: own.name, now };
            let mut queued: Vec<Queued> = Vec::new();
            for recipient in &self.recipients {
                let (account, contact) = recipient.find(tx)?;
                if trust == Trust::Never {
                    verify::check(tx, &account)?;
                }
                // Whoever is named twice, by name and by id, is written to once.
                if queued.iter().all(|other| other.account != account) {
                    let id = self.queue_for(tx, &me, (account, contact.is_some()), text, &mut rng)?;
                    // Whoever finds it waiting would send it the other way.
                    if self.mode != Mode::Offline {
                        tx.hold(&id, held_from(now))?;
                    }
                    queued.push(Queued { id, account, name: called(tx, &account)? });
                }
            }
            Ok(queued)
        })
    }

    /// To a contact by its session; in plain to whoever is none.
    fn queue_for(
        &self,
        tx: &Transaction<'_>,
        me: &Me<'_>,
        (account, is_contact): (Address, bool),
        text: &Text,
        rng: &mut ChaCha20Rng,
    ) -> Result<MessageId, CliError> {
        let mut text = text.clone();
        if let Some(reply_to) = self.reply_to {
            text = text.in_reply_to(reply_to.find(tx, &account, Some(false))?);
        }
        let (body, ttl) = (Body::Text(text), self.ttl);
        let expires = self.expire.and_then(|seconds| expiry(seconds, self.expire_after_reading));
        if is_contact {
            let saying = Saying { account, body, ttl };
            let said = match expires {
                Some(_) => say_for(tx, me, saying, expires, rng),
                None => say(tx, me, saying, rng),
            };
            return said.map_err(|error| conversation_error::cli_error(&error));
        }
        let mut id = [0; MessageId::LEN];
        rng.fill_bytes(&mut id);
        let id = MessageId::new(id);
        let content = Content { expiry: expires, ..Content::new(id, me.now, body) };
        tx.enqueue(&NewMessage::plain(account, content, ttl, me.now))?;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_one_of_three_words() {
        assert_eq!(("on-first-use".parse(), "always".parse()), (Ok(Trust::Anybody), Ok(Trust::Anybody)));
        assert_eq!("never".parse(), Ok(Trust::Never));
        assert!("sometimes".parse::<Trust>().is_err());
    }

    #[test]
    fn times_to_live_are_within_the_protocols_limits() {
        assert_eq!(ttl("4d").map(Ttl::seconds), Ok(345_600));
        assert_eq!(ttl("60s").map(Ttl::seconds), Ok(60));
        for bad in ["5s", "5d", "soon", ""] {
            assert!(ttl(bad).is_err(), "{bad}");
        }
    }
}
