//! `sotto send`: a message into the outbox, and from there to the recipient's swarm.

use std::io::Read as _;

use clap::Args;
use serde_json::json;
use sotto_proto::address::{Address, AddressKind};
use sotto_proto::content::{Body, Content, MessageId, Text};
use sotto_proto::envelope::Ttl;
use sotto_proto::limits::TEXT_MAX;
use sotto_proto::time::UnixMillis;

use super::context::{Context, clock, random};
use super::network_error::cli_error;
use super::output::{Output, millis};
use super::{CliError, Exit};
use crate::messenger::{Error, Messenger, Progress, Sent};
use crate::network::storing::WANTED;
use crate::store::NewMessage;

/// Messages that still wait from earlier are sent along, at most so many.
const OLDER: usize = 64;

/// Send a message
#[derive(Debug, Args)]
pub(super) struct Send {
    /// Account ids (66 hex digits, beginning with 05), with or without "sotto:" before them
    #[arg(required = true, value_name = "RECIPIENT", value_parser = recipient)]
    recipients: Vec<Address>,
    /// The text; "-" reads it from standard input
    #[arg(short, long, value_name = "TEXT")]
    message: String,
    /// How long nodes keep it: 60s, 10m, 1d or 4d hide among the others
    #[arg(long, value_name = "DURATION", default_value = "4d", value_parser = ttl)]
    ttl: Ttl,
}

fn recipient(text: &str) -> Result<Address, String> {
    let text = text.trim().to_ascii_lowercase();
    // As `account show --qr` shows it.
    let address: Address = text.strip_prefix("sotto:").unwrap_or(&text).parse().map_err(|error| format!("{error}"))?;
    if address.kind() == AddressKind::AccountInbox { Ok(address) } else { Err("an account id begins with 05".into()) }
}

fn ttl(text: &str) -> Result<Ttl, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let seconds = u32::try_from(duration.as_secs()).ok().and_then(Ttl::new);
    seconds.ok_or_else(|| "between 10s and 4d".into())
}

impl Send {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let text = self.text()?;
        let mut unlocked = context.unlock()?;
        let mut queued = Vec::new();
        for recipient in &self.recipients {
            let id = self.queue(&mut unlocked.account.store, *recipient, &text)?;
            queued.push((*recipient, id));
        }
        let out = &context.out;
        Context::runtime()?.block_on(async {
            let opening = Messenger::open(unlocked.genesis, unlocked.account, context.timeout, |step| {
                out.progress(&json!({"v": 1, "type": "progress", "phase": "network"}), super::network::describe(step));
            });
            let mut messenger = opening.await.map_err(|error| kept(cli_error(&error)))?;
            let mut results = Vec::new();
            for (recipient, id) in &queued {
                let sent = messenger.send(id, |step| show(out, &step)).await;
                report(out, recipient, id, &sent)?;
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

    fn text(&self) -> Result<Text, CliError> {
        let bad = |message: String| {
            CliError::new(Exit::Failed, "text", message).hint(format!("a message has 1 to {TEXT_MAX} bytes of text"))
        };
        let mut text = self.message.clone();
        if text == "-" {
            text.clear();
            let mut input = std::io::stdin().take(TEXT_MAX as u64 + 2);
            input.read_to_string(&mut text).map_err(|error| CliError::io("read", "standard input", &error))?;
            if text.ends_with('\n') {
                text.pop();
            }
        }
        Text::new(text).map_err(|error| bad(error.to_string()))
    }

    fn queue(&self, store: &mut crate::store::Store, recipient: Address, text: &Text) -> Result<MessageId, CliError> {
        use rand_core::Rng as _;
        let mut id = [0; 16];
        random()?.fill_bytes(&mut id);
        let (id, now) = (MessageId::new(id), clock());
        let content = Content { id, sent: now, body: Body::Text(text.clone()) };
        store.enqueue(&NewMessage { recipient, content, ttl: self.ttl, created: UnixMillis(now.0) })?;
        Ok(id)
    }
}

/// The message is not lost, whatever went wrong after it was queued.
fn kept(error: CliError) -> CliError {
    let hint = error.hint.clone().unwrap_or_default();
    error.hint(
        format!("{hint}; the message is kept and goes with the next: sotto send, or sotto recv")
            .trim_start_matches("; "),
    )
}

fn show(out: &Output, step: &Progress) {
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
    out.progress(&line, text);
}

fn report(out: &Output, recipient: &Address, id: &MessageId, sent: &Result<Sent, Error>) -> Result<(), CliError> {
    let to = recipient.to_string();
    match sent {
        Ok(sent) => {
            let (stored, ms) = (sent.members.len(), u64::try_from(sent.work.as_millis()).unwrap_or(u64::MAX));
            let document = json!({
                "v": 1, "type": "send.result", "id": id.to_string(), "state": "stored", "mode": "offline", "pow_ms": ms,
                "hops": sent.hops.len(), "stored": stored, "wanted": WANTED,
                "stored_ms": millis(sent.stored), "swarm": format!("0x{}", sent.swarm),
                "record": sent.record.to_string(), "recipients": [{"to": to, "ok": true}],
            });
            let path: Vec<_> = sent.hops.iter().map(|hop| hop.short()).collect();
            out.result(
                &document,
                format!(
                    "✓ {id}  stored {stored}/{WANTED} in swarm 0x{} in {} ms · path {} · work {ms} ms",
                    sent.swarm,
                    millis(sent.stored),
                    path.join(" → ")
                ),
            )
        }
        Err(error) => {
            let failure = cli_error(error);
            let document = json!({
                "v": 1, "type": "send.result", "id": id.to_string(), "state": "queued", "mode": "offline", "stored": 0,
                "wanted": WANTED, "recipients": [{"to": to, "ok": false, "error": failure.message}],
            });
            out.result(&document, format!("✗ {id}  not stored yet: {}", failure.message))
        }
    }
}

fn outcome(results: Vec<Result<Sent, Error>>) -> Result<Exit, CliError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_are_account_ids_in_either_case() {
        let id = format!("05{}", "ab".repeat(32));
        assert!(recipient(&id).is_ok() && recipient(&id.to_uppercase()).is_ok());
        assert!(recipient(&format!("06{}", "ab".repeat(32))).is_err());
        assert!(recipient("alice").is_err());
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
