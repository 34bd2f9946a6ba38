//! `sotto message`: what can be done with a message that was said.

use std::str::FromStr;

use clap::{Args, Subcommand};
use rand_chacha::ChaCha20Rng;
use serde_json::json;
use sotto_proto::address::Address;
use sotto_proto::content::{Emoji, MessageId, Text};

use super::context::{Context, Unlocked, clock, random};
use super::conversation_error::cli_error;
use super::details::short;
use super::history::Entry;
use super::recipient::{Recipient, called};
use super::sending::{Queued, send_queued};
use super::{CliError, Exit};
use crate::conversation::{self, Error, Me, delete, delete_here, edit, react};
use crate::store::Transaction;
use crate::text::quoted;

/// Digits of an id that name a message at the least.
const DIGITS: usize = 4;
/// The word for the message that was said last.
const LAST: &str = "last";

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show a message and what became of it
    Show(One),
    React(React),
    Edit(Edit),
    Delete(Delete),
}

/// A message.
#[derive(Debug, Args)]
pub(super) struct One {
    /// The name of a contact, or an account id
    #[arg(value_name = "CONTACT")]
    which: Recipient,
    /// The first digits of its id, four or more (see: sotto history CONTACT --ids), or "last"
    #[arg(value_name = "ID")]
    id: MessageRef,
}

/// Put a sign beside a message
#[derive(Debug, Args)]
pub(super) struct React {
    #[command(flatten)]
    one: One,
    /// An emoji, or a short word
    #[arg(value_name = "EMOJI", required_unless_present = "remove", conflicts_with = "remove")]
    emoji: Option<String>,
    /// Take the sign back
    #[arg(long)]
    remove: bool,
}

/// Say something else in the place of a text of yours, at both ends
#[derive(Debug, Args)]
pub(super) struct Edit {
    #[command(flatten)]
    one: One,
    /// What it says now
    #[arg(short, long, value_name = "TEXT")]
    message: String,
}

/// Erase a message here
#[derive(Debug, Args)]
pub(super) struct Delete {
    #[command(flatten)]
    one: One,
    /// Erase a message of yours at the other end as well
    #[arg(long)]
    everyone: bool,
}

/// Which message is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageRef {
    /// The one that was said last.
    Last,
    /// One whose id begins so: the least and the greatest of these.
    Between(MessageId, MessageId),
}

impl FromStr for MessageRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == LAST {
            return Ok(Self::Last);
        }
        let is_id = text.len() >= DIGITS && text.len() <= 2 * MessageId::LEN && text.is_ascii();
        let filled = |digit: char| {
            let mut all = text.to_ascii_lowercase();
            all.extend(std::iter::repeat_n(digit, (2 * MessageId::LEN).saturating_sub(text.len())));
            all.parse::<MessageId>().ok()
        };
        match (filled('0'), filled('f')) {
            (Some(least), Some(most)) if is_id => Ok(Self::Between(least, most)),
            _ => Err(format!("neither {DIGITS} hex digits or more nor \"{LAST}\"")),
        }
    }
}

impl MessageRef {
    /// The message. `side`: of which side the last one is meant, if that counts.
    pub(super) fn find(
        self,
        tx: &Transaction<'_>,
        account: &Address,
        side: Option<bool>,
    ) -> Result<MessageId, CliError> {
        let hint = |name: &str| format!("sotto history {} --ids", quoted(name));
        let name = called(tx, account)?;
        let none = |message: String| CliError::new(Exit::NotFound, "not_found", message).hint(hint(&name));
        match self {
            Self::Last => {
                tx.last_text(account, side)?.ok_or_else(|| none("nothing was said in this conversation yet".to_owned()))
            }
            Self::Between(least, most) => {
                let mut found: Vec<_> =
                    tx.ids_between(account, (&least, &most), 3)?.into_iter().map(|(id, _)| id).collect();
                found.dedup();
                match found.as_slice() {
                    [id] => Ok(*id),
                    [] => Err(none("no message of this conversation has an id that begins so".to_owned())),
                    _ => Err(CliError::new(Exit::Conflict, "ambiguous", "several messages have ids that begin so")
                        .hint("give more of its digits")),
                }
            }
        }
    }
}

impl Verb {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::Show(one) => one.show(context),
            Self::React(verb) => {
                let emoji = verb.emoji.map(Emoji::new).transpose().map_err(|error| {
                    CliError::new(Exit::Failed, "emoji", error.to_string()).hint("one emoji, or a short word")
                })?;
                say(context, &verb.one, Some(false), |tx, me, at, rng| react(tx, me, at, emoji, rng))
            }
            Self::Edit(verb) => {
                let text = Text::new(verb.message).map_err(|error| {
                    CliError::new(Exit::Failed, "text", error.to_string()).hint("to take it back: sotto message delete")
                })?;
                say(context, &verb.one, Some(true), |tx, me, at, rng| edit(tx, me, at, text, rng))
            }
            Self::Delete(Delete { one, everyone: true }) => {
                say(context, &one, Some(true), |tx, me, at, rng| delete(tx, me, at, rng))
            }
            Self::Delete(Delete { one, everyone: false }) => one.delete(context),
        }
    }
}

/// Queues something about a message, and sends it.
fn say(
    context: &Context,
    one: &One,
    side: Option<bool>,
    say: impl FnOnce(&Transaction<'_>, &Me<'_>, (&Address, &MessageId), &mut ChaCha20Rng) -> Result<MessageId, Error>,
) -> Result<Exit, CliError> {
    let Unlocked { genesis, mut account } = context.unlock()?;
    let chain = *account.chain();
    let (now, mut rng) = (clock(), random()?);
    let queued = account.change(|tx, own| {
        let me = Me { chain: &chain, account: own.account, name: own.name, now };
        let contact = one.which.contact(tx)?;
        let target = one.id.find(tx, &contact.account, side)?;
        let id = say(tx, &me, (&contact.account, &target), &mut rng).map_err(|error| cli_error(&error))?;
        Ok::<_, CliError>(Queued { id, account: contact.account, name: called(tx, &contact.account)? })
    })?;
    account.store.settle_erased()?;
    send_queued(context, Unlocked { genesis, account }, &[queued])
}

impl One {
    fn show(&self, context: &Context) -> Result<Exit, CliError> {
        let mut unlocked = context.unlock()?;
        unlocked.account.change(|tx, own| {
            let (account, _) = self.which.find(tx)?;
            let id = self.id.find(tx, &account, None)?;
            let own = own.account.address();
            for entry in Entry::of(tx, &own, &account, &id)? {
                context.out.result(&entry.document(), format!("id {id}\n{}", entry.lines()))?;
            }
            Ok(Exit::Done)
        })
    }

    fn delete(&self, context: &Context) -> Result<Exit, CliError> {
        let mut unlocked = context.unlock()?;
        let (account, id) = unlocked.account.change(|tx, _| {
            let (account, _) = self.which.find(tx)?;
            let id = self.id.find(tx, &account, None)?;
            delete_here(tx, &account, &id).map_err(|error| cli_error(&error))?;
            Ok::<_, CliError>((account, id))
        })?;
        unlocked.account.store.settle_erased()?;
        let document = json!({
            "v": 1, "type": "message.deleted", "conversation": account.to_string(), "id": id.to_string(),
            "everyone": false,
        });
        context.out.result(&document, format!("message {} is erased here; the other side keeps it", short(&id)))?;
        Ok(Exit::Done)
    }
}

/// What an account has seen disappear since it was open last goes before anything is shown.
pub(super) fn vanish(unlocked: &mut Unlocked) -> Result<(), CliError> {
    let gone = unlocked.account.change(|tx, _| conversation::vanish(tx, clock()))?;
    if !gone.is_empty() {
        unlocked.account.store.settle_erased()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sotto_proto::content::{Body, Content};
    use sotto_proto::time::UnixMillis;

    use super::*;
    use crate::store::{Said, Store};

    #[test]
    fn a_message_is_named_by_some_digits_or_as_the_last() {
        assert_eq!("last".parse(), Ok(MessageRef::Last));
        let id = |byte: u8, rest: u8| MessageId::new(std::array::from_fn(|i| if i < 2 { byte } else { rest }));
        assert_eq!("ABab".parse(), Ok(MessageRef::Between(id(0xab, 0), id(0xab, 0xff))));
        let whole = "ab".repeat(16);
        assert_eq!(whole.parse(), Ok(MessageRef::Between(id(0xab, 0xab), id(0xab, 0xab))));
        for bad in ["", "abc", "wxyz", "äöü1", &"a".repeat(33)] {
            assert!(bad.parse::<MessageRef>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_id_that_several_have_is_not_guessed() {
        let mut store = Store::in_memory();
        let tx = store.transaction().unwrap();
        let account: Address = format!("05{}", "cd".repeat(32)).parse().unwrap();
        for (n, outgoing) in [(1_u8, true), (2, false), (3, true)] {
            let mut id = [0xaa; 16];
            id[15] = n;
            let body = Body::Text(Text::new("x".to_owned()).unwrap());
            let content = Content::new(MessageId::new(id), UnixMillis(n.into()), body);
            tx.add_to_history(&Said { account, outgoing, device: 0, arrived: UnixMillis(9), content }).unwrap();
        }
        let find = |text: &str, side| text.parse::<MessageRef>().unwrap().find(&tx, &account, side);
        assert_eq!(find("aaaa", None).unwrap_err().code, "ambiguous");
        assert_eq!(find("bbbb", None).unwrap_err().exit, Exit::NotFound);
        let last = |side| find("last", side).unwrap().as_bytes()[15];
        assert_eq!((last(None), last(Some(true)), last(Some(false))), (3, 3, 2));
        assert_eq!(find(&find("last", Some(false)).unwrap().to_string(), None).unwrap().as_bytes()[15], 2);
    }
}
