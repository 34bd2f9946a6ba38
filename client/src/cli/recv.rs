//! `sotto recv`: what came, once each.
//!
//! A message is in the store before it is shown, and marked as shown for good after it was written out: a process that
//! dies in between shows it again the next time rather than never. On a full disk nothing is shown that cannot be marked.

use clap::Args;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

use super::context::Context;
use super::daemon::link::Link;
use super::network_error::cli_error;
use super::noticed;
use super::output::Output;
use super::received::{Known, document, line};
use super::recipient::called;
use super::sending::OLDER;
use super::{CliError, Exit};
use crate::conversation::Notice;
use crate::messenger::{Continue, Followed, Messenger, Mode};
use crate::store::{InboxMessage, InboxNumber, Store};
use sotto_proto::address::Address;

/// Rows that are read from the store at once.
const ROWS: usize = 256;
/// How long the daemon is asked to wait for mail at once.
const FOLLOW_WAIT: Duration = Duration::from_secs(30);
/// Between two looks whether the daemon has connected.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Receive messages
#[derive(Debug, Args)]
pub(super) struct Recv {
    /// Go on and show new messages as they arrive; Ctrl-C ends it
    #[arg(short, long)]
    follow: bool,
    /// Show everything after this number again, too
    #[arg(long, value_name = "NUMBER")]
    since: Option<u64>,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max: Option<u64>,
    /// With --follow, auto or online: also be online for contacts, who are told so; offline: only read the mailboxes
    #[arg(long, value_name = "MODE", default_value = "auto")]
    mode: Mode,
}

impl Recv {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let unlocked = context.unlock()?;
        let out = &context.out;
        let own = unlocked.account.account().address();
        let mut left = self.max.unwrap_or(u64::MAX);
        Context::runtime()?.block_on(async {
            let opening = Messenger::open(unlocked.genesis, unlocked.account, context.timeout, |step| {
                out.progress(&json!({"v": 1, "type": "progress", "phase": "network"}), super::network::describe(step));
            });
            let mut messenger = opening.await.map_err(|error| cli_error(&error))?;
            if let Some(since) = self.since {
                show_since(out, &own, &mut messenger.account_mut().store, InboxNumber(since), &mut left)?;
            }
            // What an earlier process took in and did not come to show.
            show_unshown(out, &own, &mut messenger.account_mut().store, &mut left)?;
            if left == 0 {
                return Ok(Exit::Done);
            }
            if self.follow {
                if self.mode != Mode::Offline {
                    messenger.listen_while_following();
                }
                return follow(&mut messenger, out, &own, &mut left).await;
            }
            let received = messenger.receive().await.map_err(|error| cli_error(&error))?;
            show_unshown(out, &own, &mut messenger.account_mut().store, &mut left)?;
            messenger.tend().map_err(|error| cli_error(&error))?;
            for notice in messenger.notices() {
                noticed(out, &own, &mut messenger.account_mut().store, &notice)?;
            }
            messenger.send_pending(OLDER).await.map_err(|error| cli_error(&error))?;
            let (answered, asked) = (received.answered, received.asked);
            // A member that is away is no failure: what it has, the others have as well, unless they withhold it.
            out.say(if received.caught_up {
                format!("up to date: {answered} of {asked} nodes asked answered")
            } else if received.syncing && answered == asked {
                format!(
                    "{answered} of {asked} nodes asked told all they have; they are still fetching what others have"
                )
            } else {
                format!(
                    "{answered} of {asked} nodes asked told all they have; the others are asked again with the next: \
                     sotto recv"
                )
            });
            Ok(Exit::Done)
        })
    }
}

/// Through the daemon, which receives all the time.
pub(super) fn through(recv: &Recv, context: &Context, link: &mut Link) -> Result<Exit, CliError> {
    let mut left = recv.max.unwrap_or(u64::MAX);
    let mut after = recv.since;
    let begun = Instant::now();
    while left > 0 {
        let wait = if recv.follow { FOLLOW_WAIT } else { Duration::ZERO };
        let wait = u64::try_from(if after.is_some() { Duration::ZERO } else { wait }.as_millis()).unwrap_or(u64::MAX);
        let params =
            json!({"after": after.map(|after| after.to_string()), "limit": left.min(ROWS as u64), "waitMs": wait});
        let taken = link.ask("inbox.take", &params)?;
        let messages = taken.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for message in messages {
            let text = message.get("text").and_then(Value::as_str).unwrap_or_default();
            context.out.result(message.get("document").unwrap_or(&Value::Null), text)?;
            let cursor = message.get("cursor").and_then(Value::as_str).unwrap_or_default();
            link.ask("events.ack", &json!({"cursor": cursor}))?;
            after = after.and(cursor.parse().ok());
            left -= 1;
        }
        if !messages.is_empty() {
            continue;
        }
        if after.take().is_some() || recv.follow {
            continue;
        }
        let connection = taken.get("connection").cloned().unwrap_or(Value::Null);
        match connection.get("state").and_then(Value::as_str) {
            Some("connected") => {
                context.out.say(format!("up to date: the daemon follows at {} nodes", connection["members"]));
                return Ok(Exit::Done);
            }
            Some("connecting") if begun.elapsed() < context.timeout => std::thread::sleep(LOOK_AGAIN),
            _ => {
                let reason = connection.get("reason").and_then(Value::as_str).unwrap_or("it is still connecting");
                let message = format!("the daemon is not connected: {reason}");
                return Err(CliError::new(Exit::Network, "not_connected", message).hint("sotto daemon status"));
            }
        }
    }
    Ok(Exit::Done)
}

async fn follow(messenger: &mut Messenger, out: &Output, own: &Address, left: &mut u64) -> Result<Exit, CliError> {
    let mut failure = None;
    let following = messenger.follow(|happened, store| {
        let result = match happened {
            Followed::Subscribed { members } => {
                out.say(format!("following at {members} nodes; Ctrl-C ends it"));
                Ok(())
            }
            Followed::Interrupted(error) => {
                out.say(format!("interrupted: {error}; trying again"));
                Ok(())
            }
            Followed::Messages(messages) => show(out, own, store, &messages, left),
            Followed::Noticed(notices) => notices.iter().try_for_each(|notice| noticed(out, own, store, notice)),
        };
        match result {
            Ok(()) if *left > 0 => Continue::Yes,
            Ok(()) => Continue::No,
            Err(error) => {
                failure = Some(error);
                Continue::No
            }
        }
    });
    let ended = tokio::select! {
        ended = following => ended,
        _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
    };
    match (failure, ended) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(cli_error(&error)),
        (None, Ok(())) => Ok(Exit::Done),
    }
}

/// Tells of what changed and is not shown as mail.
fn noticed(out: &Output, own: &Address, store: &mut Store, notice: &Notice) -> Result<(), CliError> {
    let name = called(&store.transaction()?, &notice.account)?;
    match noticed::line(&name, &notice.change) {
        None => Ok(()),
        Some(_) if out.json => out.result(&noticed::document(own, notice), ""),
        Some(line) => {
            out.say(line);
            Ok(())
        }
    }
}

fn show_unshown(out: &Output, own: &Address, store: &mut Store, left: &mut u64) -> Result<(), CliError> {
    loop {
        let messages = store.unshown(ROWS)?;
        if messages.is_empty() || *left == 0 {
            return Ok(());
        }
        show(out, own, store, &messages, left)?;
    }
}

/// Writes messages out, and marks each with that.
fn show(
    out: &Output,
    own: &Address,
    store: &mut Store,
    messages: &[InboxMessage],
    left: &mut u64,
) -> Result<(), CliError> {
    for message in messages {
        if *left == 0 {
            return Ok(());
        }
        let known = Known::look_up(&store.transaction()?, message)?;
        store.show(message.number, || out.result(&document(own, message, &known), line(message, &known)))?;
        *left -= 1;
    }
    Ok(())
}

fn show_since(
    out: &Output,
    own: &Address,
    store: &mut Store,
    mut after: InboxNumber,
    left: &mut u64,
) -> Result<(), CliError> {
    loop {
        let messages = store.inbox_after(after, ROWS)?;
        let Some(last) = messages.last() else { return Ok(()) };
        after = last.number;
        for message in messages.iter().filter(|message| message.shown) {
            if *left == 0 {
                return Ok(());
            }
            let known = Known::look_up(&store.transaction()?, message)?;
            out.result(&document(own, message, &known), line(message, &known))?;
            *left -= 1;
        }
    }
}
