//! `sotto request`: wishes to talk, sent and received.

mod meant;
mod shown;

use clap::{Args, Subcommand};
use serde_json::json;

use self::meant::meant;
pub(super) use self::shown::arrived;
use self::shown::{document, line};
use super::context::{Context, clock, random};
use super::conversation_error::cli_error;
use super::recipient::{Recipient, called};
use super::sending::{Queued, send_queued};
use super::{CliError, Exit};
use crate::conversation::{Ask, Error, Me, accept, ask, check_name, decline};
use crate::store::{Request, RequestState, Transaction};
use crate::text::{printable_line, quoted};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    Send(Send),
    List(List),
    Accept(Accept),
    Decline(Decline),
    AutoAccept(AutoAccept),
}

/// Accept strangers' requests by themselves, as a bot does; without an option, show what is
#[derive(Debug, Args)]
pub(super) struct AutoAccept {
    /// At most so many an hour; the others wait
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    max_per_hour: Option<u32>,
    /// Let all of them wait again
    #[arg(long, conflicts_with = "max_per_hour")]
    off: bool,
}

/// Ask somebody to talk: with a session, nobody between the two learns who writes to whom
#[derive(Debug, Args)]
pub(super) struct Send {
    /// An account id; with --renew also the name of a contact
    #[arg(value_name = "RECIPIENT")]
    recipient: Recipient,
    /// A few words about who you are
    #[arg(short, long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    message: String,
    /// What the contact is to be called here
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// What you call yourself, from now on; at first that is the account's name
    #[arg(long, value_name = "NAME")]
    my_name: Option<String>,
    /// Begin anew with a contact: after a restore, or when its messages no longer open
    #[arg(long)]
    renew: bool,
}

/// List requests that wait for an answer
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those that came
    #[arg(long = "in", conflicts_with = "outgoing")]
    incoming: bool,
    /// Only those that were sent
    #[arg(long = "out")]
    outgoing: bool,
    /// Those that were answered as well
    #[arg(long)]
    all: bool,
}

/// Accept a request
#[derive(Debug, Args)]
pub(super) struct Accept {
    /// The request's id or its beginning, or the sender's name or account id
    #[arg(value_name = "REQUEST")]
    which: String,
    /// What the contact is to be called here
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// What you call yourself, from now on; at first that is the account's name
    #[arg(long, value_name = "NAME")]
    my_name: Option<String>,
}

/// Decline a request; the other side is told nothing
#[derive(Debug, Args)]
pub(super) struct Decline {
    /// The request's id or its beginning, or the sender's name or account id
    #[arg(value_name = "REQUEST")]
    which: String,
    /// Show and keep nothing of the sender any more
    #[arg(long)]
    block: bool,
}

impl Verb {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::Send(send) => send.run(context),
            Self::List(list) => list.run(context),
            Self::Accept(accept) => accept.run(context),
            Self::Decline(decline) => decline.run(context),
            Self::AutoAccept(auto) => auto.run(context),
        }
    }
}

impl Send {
    fn run(self, context: &Context) -> Result<Exit, CliError> {
        let mut unlocked = context.unlock()?;
        let (chain, now, mut rng) = (*unlocked.account.chain(), clock(), random()?);
        let queued = unlocked.account.change(|tx, own| {
            let (account, _) = self.recipient.find(tx)?;
            let name = called_from_now_on(tx, self.my_name.as_deref(), own.name)?;
            let me = Me { chain: &chain, account: own.account, name, now };
            let wish = Ask { account, name: self.name.as_deref(), introduction: &self.message, renew: self.renew };
            let id = ask(tx, &me, &wish, &mut rng).map_err(|error| cli_error(&error))?;
            Ok::<_, CliError>(Queued { id, account, name: called(tx, &account)? })
        })?;
        context.out.say("the request is queued; it can be accepted for two weeks");
        send_queued(context, unlocked, &[queued])
    }
}

impl List {
    fn run(self, context: &Context) -> Result<Exit, CliError> {
        let mut unlocked = context.unlock()?;
        let now = clock().seconds();
        unlocked.account.change(|tx, _| {
            for request in tx.requests()? {
                let is_wanted = (!self.incoming || !request.outgoing) && (!self.outgoing || request.outgoing);
                let waits = request.state == RequestState::Waiting && request.expires > now;
                if is_wanted && (self.all || waits) {
                    let name = called(tx, &request.account)?;
                    context.out.result(&document(&request, now), line(&request, &name, now))?;
                }
            }
            Ok(Exit::Done)
        })
    }
}

impl Accept {
    fn run(self, context: &Context) -> Result<Exit, CliError> {
        let mut unlocked = context.unlock()?;
        let (chain, now, mut rng) = (*unlocked.account.chain(), clock(), random()?);
        let queued = unlocked.account.change(|tx, own| {
            let name = called_from_now_on(tx, self.my_name.as_deref(), own.name)?;
            let me = Me { chain: &chain, account: own.account, name, now };
            let request = find(tx, &self.which)?;
            let accepted = accept(tx, &me, &request.id, self.name.as_deref(), &mut rng);
            let contact = accepted.map_err(|error| cli_error(&error))?;
            let (account, name) = (contact.account, printable_line(&contact.name));
            let document = json!({
                "v": 1, "type": "request.accepted", "id": request.id.to_string(), "account": account.to_string(),
                "name": contact.name,
            });
            let hint = format!("sotto verify show {}", quoted(&contact.name));
            context.out.result(&document, format!("✓ {name} is a contact now (not verified)   verify: {hint}"))?;
            let waiting = tx.encrypted_since(&account, now, usize::MAX)?;
            Ok::<_, CliError>(
                waiting.into_iter().map(|id| Queued { id, account, name: name.clone() }).collect::<Vec<_>>(),
            )
        })?;
        send_queued(context, unlocked, &queued)
    }
}

impl Decline {
    fn run(self, context: &Context) -> Result<Exit, CliError> {
        let mut unlocked = context.unlock()?;
        let (chain, now) = (*unlocked.account.chain(), clock());
        unlocked.account.change(|tx, own| {
            let me = Me { chain: &chain, account: own.account, name: own.name, now };
            let request = find(tx, &self.which)?;
            let declined = decline(tx, &me, &request.id, self.block).map_err(|error| cli_error(&error))?;
            let document = json!({
                "v": 1, "type": "request.declined", "id": declined.id.to_string(),
                "account": declined.account.to_string(), "blocked": self.block,
            });
            let blocked = if self.block { ", and its sender is blocked" } else { "" };
            context.out.result(&document, format!("declined{blocked}; the other side is told nothing"))?;
            Ok(Exit::Done)
        })
    }
}

impl AutoAccept {
    fn run(self, context: &Context) -> Result<Exit, CliError> {
        let mut unlocked = context.unlock()?;
        let most = unlocked.account.change(|tx, _| {
            if let Some(most) = self.max_per_hour.or(self.off.then_some(0)) {
                tx.set_auto_accept(most)?;
            }
            tx.auto_accept()
        })?;
        let document = json!({"v": 1, "type": "request.auto_accept", "on": most > 0, "max_per_hour": most});
        let text = if most == 0 {
            "every request waits for you; sotto request auto-accept --max-per-hour N has them accepted".to_owned()
        } else {
            format!("requests are accepted by themselves, {most} an hour at most; the others wait")
        };
        context.out.result(&document, text)?;
        Ok(Exit::Done)
    }
}

/// What the account calls itself.
fn called_from_now_on<'a>(tx: &Transaction<'_>, said: Option<&'a str>, own: &'a str) -> Result<&'a str, CliError> {
    if let Some(name) = said {
        check_name(name).map_err(|error| cli_error(&Error::Name(error)))?;
        tx.set_display_name(name)?;
    }
    Ok(said.unwrap_or(own))
}

/// The request that is meant.
fn find(tx: &Transaction<'_>, which: &str) -> Result<Request, CliError> {
    let mut waiting = tx.requests()?;
    waiting.retain(|request| !request.outgoing && request.state == RequestState::Waiting);
    meant(&waiting, which).cloned()
}
