//! Sending what was queued, for every command that queues something.

use serde_json::{Value, json};
use sotto_proto::address::Address;
use sotto_proto::content::{Body, MessageId};

use super::context::{Context, Unlocked};
use super::daemon::Engine;
use super::network_error::cli_error;
use super::output::{Output, millis};
use super::{CliError, Exit};
use crate::messenger::{Error, Messenger, Mode, Progress, Pushed, Went};
use crate::network::storing::WANTED;
use crate::store::OutboxMessage;

/// Messages that still wait from earlier are sent along, at most so many.
pub(super) const OLDER: usize = 64;

/// Something queued, and to whom.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    pub(super) id: MessageId,
    pub(super) account: Address,
    /// What the recipient is called.
    pub(super) name: String,
}

/// Sends what was queued, says what became of each, and then what waited from earlier.
pub(super) fn send_queued(context: &Context, unlocked: Unlocked, queued: &[Queued]) -> Result<Exit, CliError> {
    send_queued_by(context, unlocked, queued, Mode::Offline)
}

/// The same by one way or the other.
pub(super) fn send_queued_by(
    context: &Context,
    unlocked: Unlocked,
    queued: &[Queued],
    mode: Mode,
) -> Result<Exit, CliError> {
    let out = &context.out;
    if let Some(caller) = &context.caller {
        caller.engine.give_back(unlocked.account);
        return send_through(&caller.engine, out, queued, mode);
    }
    Context::runtime()?.block_on(async {
        let opening = Messenger::open(unlocked.genesis, unlocked.account, context.timeout, |step| {
            out.progress(&json!({"v": 1, "type": "progress", "phase": "network"}), super::network::describe(step));
        });
        let mut messenger = opening.await.map_err(|error| kept(cli_error(&error)))?;
        let mut results = Vec::new();
        for queued in queued {
            let sent = messenger.send_by(&queued.id, mode, |step| show(out, &step)).await;
            report(out, queued, &sent, mode)?;
            results.push(sent);
        }
        // What waited from earlier goes along, now that a path is up.
        let (older, _) = messenger.send_pending(OLDER).await.map_err(|error| cli_error(&error))?;
        if older > 0 {
            out.say(format!("{older} older messages are stored, too"));
        }
        outcome(results)
    })
}

/// Has the daemon send what was queued.
fn send_through(engine: &Engine, out: &Output, queued: &[Queued], mode: Mode) -> Result<Exit, CliError> {
    let sending: Vec<_> = queued.iter().map(|queued| engine.send(queued.clone(), mode)).collect();
    let mut results = Vec::new();
    for (queued, sending) in queued.iter().zip(sending) {
        let sent = sending
            .wait(|step| show(out, &step))
            .ok_or_else(|| kept(CliError::new(Exit::Network, "daemon_stopped", "the daemon is about to stop")))?;
        report(out, queued, &sent, mode)?;
        results.push(sent);
    }
    outcome(results)
}

/// Sends a step of a verification that was queued for a contact, and what else waits.
pub(super) fn send_queued_about(
    context: &Context,
    unlocked: Unlocked,
    (account, name): &(Address, String),
) -> Result<Exit, CliError> {
    let is_step =
        |message: &OutboxMessage| message.recipient == *account && matches!(message.content.body, Body::Question(_));
    let pending = unlocked.account.store.pending(OLDER)?.into_iter().filter(is_step);
    let queued = pending.map(|message| Queued { id: message.id, account: *account, name: name.clone() });
    let queued: Vec<_> = queued.collect();
    send_queued(context, unlocked, &queued)
}

/// The message is not lost, whatever went wrong after it was queued.
fn kept(error: CliError) -> CliError {
    if error.code == "not_online" {
        return error;
    }
    let hint = error.hint.clone().unwrap_or_default();
    error.hint(
        format!("{hint}; the message is kept and goes with the next: sotto send, or sotto recv")
            .trim_start_matches("; "),
    )
}

fn show(out: &Output, step: &Progress) {
    let (document, text) = told(step);
    out.progress(&document, text);
}

/// A step of sending, for programs and for people.
pub(super) fn told(step: &Progress) -> (Value, String) {
    let (document, text) = match step {
        Progress::Path { hops } => {
            let hops: Vec<_> = hops.iter().map(|hop| hop.short()).collect();
            (json!({"phase": "path", "hops": hops}), format!("path    {}", hops.join(" → ")))
        }
        Progress::Work { difficulty, expected } => (
            json!({"phase": "pow", "difficulty": difficulty, "expected": expected}),
            format!("work    difficulty {difficulty}, about {expected} trials"),
        ),
        Progress::Working { attempts, expected } => (
            json!({"phase": "pow", "attempts": attempts, "expected": expected}),
            format!("work    {attempts} trials so far, about {expected} on average"),
        ),
        Progress::Worked { took } => {
            let ms = took.as_millis();
            (
                json!({"phase": "pow", "took_ms": u64::try_from(ms).unwrap_or(u64::MAX)}),
                format!("work    done in {ms} ms"),
            )
        }
        Progress::Stored { receipts, wanted } => {
            (json!({"phase": "stored", "stored": receipts, "wanted": wanted}), format!("stored  {receipts}/{wanted}"))
        }
    };
    let mut line = json!({"v": 1, "type": "progress"});
    if let (Some(line), Some(document)) = (line.as_object_mut(), document.as_object()) {
        line.extend(document.clone());
    }
    (line, text)
}

fn report(out: &Output, queued: &Queued, sent: &Result<Went, Error>, mode: Mode) -> Result<(), CliError> {
    let (document, text) = became(queued, sent, mode);
    out.result(&document, text)
}

/// What became of a message, for programs and for people.
pub(super) fn became(queued: &Queued, sent: &Result<Went, Error>, mode: Mode) -> (Value, String) {
    let (to, id, name) = (queued.account.to_string(), queued.id, &queued.name);
    match sent {
        Ok(Went::Online(Pushed { hops, took, .. })) => {
            let document = json!({
                "v": 1, "type": "send.result", "id": id.to_string(), "state": "delivered", "mode": "online",
                "hops": hops.len(), "delivered_ms": millis(*took), "recipients": [{"to": to, "name": name, "ok": true}],
            });
            let path: Vec<_> = hops.iter().map(|hop| hop.short()).collect();
            (document, format!("✓ {id}  delivered in {} ms · path {}", millis(*took), path.join(" → ")))
        }
        Ok(Went::Late(_)) => {
            let document = json!({
                "v": 1, "type": "send.result", "id": id.to_string(), "state": "delivered", "mode": "online",
                "recipients": [{"to": to, "name": name, "ok": true}],
            });
            (document, format!("✓ {id}  delivered"))
        }
        Ok(Went::Offline(sent)) => {
            let (stored, ms) = (sent.members.len(), u64::try_from(sent.work.as_millis()).unwrap_or(u64::MAX));
            let document = json!({
                "v": 1, "type": "send.result", "id": id.to_string(), "state": "stored", "mode": "offline", "pow_ms": ms,
                "hops": sent.hops.len(), "stored": stored, "wanted": WANTED,
                "stored_ms": millis(sent.stored), "swarm": format!("0x{}", sent.swarm),
                "record": sent.record.to_string(), "recipients": [{"to": to, "name": name, "ok": true}],
            });
            let path: Vec<_> = sent.hops.iter().map(|hop| hop.short()).collect();
            let text = format!(
                "✓ {id}  stored {stored}/{WANTED} in swarm 0x{} in {} ms · path {} · work {ms} ms",
                sent.swarm,
                millis(sent.stored),
                path.join(" → ")
            );
            (document, text)
        }
        Err(error) => {
            let failure = cli_error(error);
            let mode = if mode == Mode::Online { "online" } else { "offline" };
            let document = json!({
                "v": 1, "type": "send.result", "id": id.to_string(), "state": "queued", "mode": mode, "stored": 0,
                "wanted": WANTED, "recipients": [{"to": to, "name": name, "ok": false, "error": failure.message}],
            });
            (document, format!("✗ {id}  not stored yet: {}", failure.message))
        }
    }
}

fn outcome(results: Vec<Result<Went, Error>>) -> Result<Exit, CliError> {
    let all = results.len();
    let mut failures: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    match failures.pop() {
        None => Ok(Exit::Done),
        Some(last) if failures.len() + 1 == all => Err(kept(cli_error(&last))),
        Some(last) => Err(CliError::new(
            Exit::Partial,
            "partial",
            format!("{} of {all} messages are not stored; the last one: {last}", failures.len() + 1),
        )
        .hint("they are kept and go with the next: sotto send, or sotto recv")),
    }
}
