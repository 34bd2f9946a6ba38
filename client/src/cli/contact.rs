//! `sotto contact`: those who are written to, or blocked.

mod presence;
mod timer;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sotto_proto::content::Expiry;
use sotto_proto::time::UnixMillis;

pub(super) use self::timer::{expiry, expiry_seconds};
use super::context::{Context, clock};
use super::conversation_error::cli_error;
use super::details::{timer_document, timer_words};
use super::draft::Draft;
use super::recipient::Recipient;
use super::status::rfc3339;
use super::{CliError, Exit};
use crate::conversation::{self, Error, check_name};
use crate::store::{Contact, ContactState, OpenAccount, Transaction, VerifiedBy};
use crate::text::{printable_line, quoted};

/// Messages that are forgotten in one transaction, which takes a third of a second.
const FORGOTTEN_AT_ONCE: usize = 500;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List contacts
    List,
    /// Show a contact
    Show(One),
    Rename(Rename),
    Timer(timer::Timer),
    Presence(presence::Presence),
    /// Show and keep nothing of a contact any more
    Block(One),
    /// Hear a contact again
    Unblock(One),
    /// Forget a contact: its sessions, and everything that was said
    Delete(One),
    Draft(Draft),
}

/// A contact.
#[derive(Debug, Args)]
pub(super) struct One {
    /// Its name or account id
    #[arg(value_name = "CONTACT")]
    which: Recipient,
}

/// Call a contact something else
#[derive(Debug, Args)]
pub(super) struct Rename {
    /// Its name or account id
    #[arg(value_name = "CONTACT")]
    which: Recipient,
    /// What it is to be called
    #[arg(value_name = "NAME")]
    name: String,
}

impl Verb {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let verb = match self {
            Self::Timer(timer) => return timer.run(context),
            Self::Presence(presence) => return presence.run(context),
            verb => verb,
        };
        let mut unlocked = context.unlock()?;
        let account = &mut unlocked.account;
        match verb {
            Self::Timer(_) | Self::Presence(_) => Ok(Exit::Done),
            Self::List => list(context, account),
            Self::Show(one) => account.change(|tx, _| {
                let known = Known::look_up(tx, one.which.contact(tx)?)?;
                context.out.result(&known.document(), known.lines())?;
                Ok(Exit::Done)
            }),
            Self::Rename(rename) => account.change(|tx, _| rename.run(context, tx)),
            Self::Block(one) => account.change(|tx, _| block(context, tx, &one)),
            Self::Unblock(one) => account.change(|tx, _| unblock(context, tx, &one)),
            Self::Delete(one) => delete(context, account, &one),
            Self::Draft(draft) => account.change(|tx, _| draft.run(context, tx)),
        }
    }
}

fn list(context: &Context, account: &mut OpenAccount) -> Result<Exit, CliError> {
    account.change(|tx, _| {
        for contact in tx.contacts()? {
            let known = Known::look_up(tx, contact)?;
            context.out.result(&known.document(), known.line())?;
        }
        Ok(Exit::Done)
    })
}

impl Rename {
    fn run(self, context: &Context, tx: &Transaction<'_>) -> Result<Exit, CliError> {
        check_name(&self.name).map_err(|error| cli_error(&Error::Name(error)))?;
        let contact = Contact { name: self.name, ..self.which.contact(tx)? };
        let taken = tx.contact_named(&contact.name)?.is_some_and(|other| other.account != contact.account);
        if taken {
            return Err(cli_error(&Error::NameTaken(contact.name)));
        }
        tx.put_contact(&contact)?;
        let known = Known::look_up(tx, contact)?;
        context.out.result(&known.document(), format!("✓ called {} now", printable_line(&known.contact.name)))?;
        Ok(Exit::Done)
    }
}

fn block(context: &Context, tx: &Transaction<'_>, one: &One) -> Result<Exit, CliError> {
    let contact = match (one.which.find(tx)?, &one.which) {
        ((_, Some(contact)), _) => Contact { state: ContactState::Blocked, ..contact },
        // Somebody who never became a contact can be blocked as well.
        ((account, None), Recipient::Id(_)) => {
            Contact { account, name: account.short(), said_name: None, state: ContactState::Blocked, created: clock() }
        }
        _ => one.which.contact(tx)?,
    };
    conversation::block(tx, &contact)?;
    say(context, tx, contact)
}

fn unblock(context: &Context, tx: &Transaction<'_>, one: &One) -> Result<Exit, CliError> {
    let contact = one.which.contact(tx)?;
    if contact.state != ContactState::Blocked {
        return say(context, tx, contact);
    }
    let state = if !tx.sessions_of(&contact.account)?.is_empty() {
        ContactState::Accepted
    } else if !tx.requests_of(&contact.account, true)?.is_empty() {
        ContactState::Requested
    } else {
        // Not somebody who was asked: its request would be taken for an answer, and accepted.
        tx.drop_contact(&contact.account)?;
        let (name, id) = (printable_line(&contact.name), contact.account);
        let document = json!({ "v": 1, "type": "contact.removed", "account": id.to_string(), "name": contact.name });
        let text = format!("{name} is blocked no more, and no contact; to ask it: sotto request send {id}");
        context.out.result(&document, text)?;
        return Ok(Exit::Done);
    };
    let contact = Contact { state, ..contact };
    tx.put_contact(&contact)?;
    say(context, tx, contact)
}

fn delete(context: &Context, account: &mut OpenAccount, one: &One) -> Result<Exit, CliError> {
    let contact = account.change(|tx, _| one.which.contact(tx))?;
    let name = printable_line(&contact.name);
    context.confirm(&format!("{name}, its sessions and everything that was said are forgotten."), "forget")?;
    // Ended halfway, the contact is still there, and can be deleted again.
    while account.change(|tx, _| tx.forget_some(&contact.account, FORGOTTEN_AT_ONCE))? > 0 {}
    account.change(|tx, _| tx.remove_contact(&contact.account))?;
    let document = json!({
        "v": 1, "type": "contact.removed", "account": contact.account.to_string(), "name": contact.name,
    });
    context.out.result(&document, format!("{name} is forgotten"))?;
    Ok(Exit::Done)
}

const fn state(state: ContactState) -> &'static str {
    match state {
        ContactState::Requested => "asked",
        ContactState::Accepted => "contact",
        ContactState::Blocked => "blocked",
    }
}

/// By what a contact is verified, for programs.
pub(super) const fn by_name(by: VerifiedBy) -> &'static str {
    match by {
        VerifiedBy::Number => "number",
        VerifiedBy::Question => "question",
    }
}

/// How things stand now.
fn say(context: &Context, tx: &Transaction<'_>, contact: Contact) -> Result<Exit, CliError> {
    let known = Known::look_up(tx, contact)?;
    context.out.result(&known.document(), known.line())?;
    Ok(Exit::Done)
}

/// A contact, as it is shown.
struct Known {
    contact: Contact,
    verified: Option<UnixMillis>,
    by: Option<VerifiedBy>,
    timer: Option<Expiry>,
}

impl Known {
    fn look_up(tx: &Transaction<'_>, contact: Contact) -> Result<Self, CliError> {
        let (verified, by) = (tx.verified(&contact.account)?, tx.verified_by(&contact.account)?);
        let timer = tx.timer(&contact.account)?.and_then(|(timer, _)| timer);
        Ok(Self { contact, verified, by, timer })
    }

    fn document(&self) -> Value {
        let Self { contact, verified, by, timer } = self;
        json!({
            "v": 1, "type": "contact", "account": contact.account.to_string(), "name": contact.name,
            "said_name": contact.said_name, "state": state(contact.state), "since": rfc3339(contact.created),
            "verified": verified.is_some(), "verified_at": verified.map(rfc3339),
            "verified_by": by.map(by_name), "timer": timer_document(*timer),
        })
    }

    fn lines(&self) -> String {
        let Self { contact, verified, by, timer } = self;
        let name = printable_line(&contact.name);
        let said = contact.said_name.as_deref().map_or_else(|| "-".to_owned(), printable_line);
        let verified = match (verified, by) {
            (None, _) => format!("no; compare: sotto verify show {}", quoted(&contact.name)),
            (Some(at), Some(VerifiedBy::Question)) => format!("{} by question", rfc3339(*at)),
            (Some(at), _) => rfc3339(*at),
        };
        format!(
            "name          {name}\nid            {}\ncalls itself  {said}\nstate         {}\nsince         {}\n\
             verified      {verified}\ndisappears    {}",
            contact.account,
            state(contact.state),
            rfc3339(contact.created),
            timer_words(*timer)
        )
    }

    fn line(&self) -> String {
        let Self { contact, verified, .. } = self;
        let mark = if verified.is_some() { "✓" } else { " " };
        let (name, state) = (printable_line(&contact.name), state(contact.state));
        format!("{name:<20}  {state:<7}  {mark}  {}", contact.account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carol() -> Known {
        let contact = Contact {
            account: format!("05{}", "cd".repeat(32)).parse().unwrap(),
            name: "carol".to_owned(),
            said_name: Some("Caro\nl".to_owned()),
            state: ContactState::Requested,
            created: UnixMillis(0),
        };
        Known { contact, verified: None, by: None, timer: None }
    }

    #[test]
    fn a_contact_is_one_line_with_its_id() {
        let id = carol().contact.account;
        assert_eq!(carol().line(), format!("carol                 asked       {id}"));
        let verified = Known { verified: Some(UnixMillis(1)), ..carol() };
        assert_eq!(verified.line(), format!("carol                 asked    ✓  {id}"));
    }

    #[test]
    fn what_is_known_of_a_contact_is_a_line_each_whatever_it_calls_itself() {
        let (id, at) = (carol().contact.account, "1970-01-01T00:00:00.000Z");
        let expected = format!(
            "name          carol\nid            {id}\ncalls itself  Caro\u{fffd}l\nstate         asked\n\
             since         {at}\nverified      no; compare: sotto verify show carol\ndisappears    never"
        );
        assert_eq!(carol().lines(), expected);
        let verified = Known { verified: Some(UnixMillis(0)), ..carol() };
        assert!(verified.lines().contains(&format!("verified      {at}\n")), "{}", verified.lines());
        let document = verified.document();
        assert_eq!((&document["state"], &document["said_name"]), (&json!("asked"), &json!("Caro\nl")));
        assert_eq!((&document["verified"], &document["verified_at"]), (&json!(true), &json!(at)));
        assert_eq!(
            (&carol().document()["verified"], &carol().document()["verified_at"]),
            (&json!(false), &Value::Null)
        );
    }
}
