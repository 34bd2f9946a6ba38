//! `sotto doctor`: everything that can be wrong, looked at one after the other.

use std::fmt::Display;

use clap::Args;
use serde_json::{Value, json};

use super::context::Context;
use super::network_error::cli_error;
use super::output::Output;
use super::status::ago;
use super::{CliError, Exit};
use crate::messenger::Messenger;
use crate::network::paths::Purpose;

/// A clock this far from the network's is a problem, in milliseconds.
const CLOCK_OFF_MS: u64 = 60_000;

/// What is said of an account that was copied.
pub(super) const COPIED: &str = "\
this account's data was copied or put back from elsewhere: no key of it serves again, sessions are renewed
if the account is used where it came from as well, the two take each other's mail: erase one (sotto wipe)";

/// Look for what is wrong, and say what helps
#[derive(Debug, Args)]
pub(super) struct Doctor {}

struct Findings<'a> {
    out: &'a Output,
    all: Vec<Value>,
    lines: Vec<String>,
    bad: usize,
}

impl Findings<'_> {
    fn good(&mut self, name: &str, text: impl Display) {
        self.add(name, "ok", "✓", text, None);
    }

    fn note(&mut self, name: &str, text: impl Display) {
        self.add(name, "note", "!", text, None);
    }

    fn bad(&mut self, name: &str, text: impl Display, hint: Option<&str>) {
        self.bad += 1;
        self.add(name, "problem", "✗", text, hint);
    }

    fn add(&mut self, name: &str, state: &str, mark: &str, text: impl Display, hint: Option<&str>) {
        self.out.progress(&json!({"v": 1, "type": "progress", "phase": name}), format!("{name} …"));
        self.all.push(json!({"name": name, "state": state, "message": text.to_string(), "hint": hint}));
        let hint = hint.map(|hint| format!("\n  → {hint}")).unwrap_or_default();
        self.lines.push(format!("{mark} {name:<9} {text}{hint}"));
    }
}

impl Doctor {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let mut unlocked = context.unlock()?;
        let mut findings = Findings { out: &context.out, all: Vec::new(), lines: Vec::new(), bad: 0 };
        if unlocked.account.kdf().is_insecure() {
            findings.note("store", "encrypted, with a key derivation for testnets only");
        } else {
            findings.good("store", "encrypted (SQLCipher under Argon2id)");
        }
        match unlocked.account.change(|tx, _| tx.renewals(usize::MAX))?.len() {
            0 if unlocked.account.is_copy() => findings.note("place", COPIED),
            0 => findings.good("place", "where it was; not a copy, as far as files tell"),
            left => {
                findings.note("place", format!("a copy from elsewhere: {left} contacts are yet to be asked to renew"))
            }
        }
        let waiting = unlocked.account.store.pending(1)?;
        if let Some(oldest) = waiting.first() {
            let reason = oldest.failure.clone().unwrap_or_else(|| "not tried yet".into());
            findings.note("outbox", format!("a message waits since {}: {reason}", ago(oldest.created)));
        } else {
            findings.good("outbox", "nothing waits");
        }
        let evidence = unlocked.account.store.evidence()?;
        if !unlocked.account.store.has_equivocation()? {
            match evidence.first() {
                Some(newest) => findings.note("chain", format!("since {}: {}", ago(newest.found), newest.kind)),
                None => findings.good("chain", "no contradiction seen"),
            }
        } else {
            findings.bad(
                "chain",
                "the chain's authority signed two blocks of one height; the node list is not renewed any more",
                Some("ask whoever runs the network what happened"),
            );
        }
        Context::runtime()?.block_on(network(context, unlocked, &mut findings));
        let (bad, lines) = (findings.bad, findings.lines.join("\n"));
        context.out.result(&json!({"v": 1, "type": "doctor", "ok": bad == 0, "checks": findings.all}), lines)?;
        if bad == 0 {
            return Ok(Exit::Done);
        }
        Err(CliError::new(Exit::Failed, "problems", format!("{bad} problems")).hint("see above"))
    }
}

async fn network(context: &Context, unlocked: super::context::Unlocked, findings: &mut Findings<'_>) {
    let opened = Messenger::open(unlocked.genesis, unlocked.account, context.timeout, |_| ()).await;
    let mut messenger = match opened {
        Ok(messenger) => messenger,
        Err(error) => return problem(findings, "network", &error),
    };
    match messenger.refresh().await {
        Ok(()) => {
            let header = &messenger.directory().header().header;
            findings.good("list", format!("three nodes agree on block {}, made {}", header.height, ago(header.time)));
        }
        Err(error) => problem(findings, "list", &error),
    }
    match messenger.clock().own_ahead() {
        Some(ahead) if ahead.unsigned_abs() <= CLOCK_OFF_MS => {
            findings.good("clock", format!("{ahead:+} ms against the network"))
        }
        Some(ahead) => findings.bad(
            "clock",
            format!("{ahead:+} ms against the network; messages use the network's time"),
            Some("set the date of this machine"),
        ),
        None => findings.note("clock", "fewer than three nodes have answered"),
    }
    for purpose in Purpose::ALL {
        match messenger.path(purpose).await {
            Ok(path) => {
                let hops = path.hops().map(|hop| hop.node.short()).join(" → ");
                findings.good("path", format!("“{}”: {hops}", purpose.name()));
            }
            Err(error) => problem(findings, "path", &error),
        }
    }
    match messenger.receive().await {
        Ok(received) if received.caught_up => {
            findings.good("mail", format!("{} of {} nodes asked answered", received.answered, received.asked));
        }
        Ok(received) => findings.note(
            "mail",
            format!("{} of {} nodes asked told all they have; there may be more", received.answered, received.asked),
        ),
        Err(error) => problem(findings, "mail", &error),
    }
}

fn problem(findings: &mut Findings<'_>, name: &str, error: &crate::messenger::Error) {
    let failure = cli_error(error);
    findings.bad(name, &failure.message, failure.hint.as_deref());
}
