//! `sotto-node status`: one word, one sentence, what to do, then the details.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use sotto_behaviours::clock;
use sotto_proto::chain::Block;
use sotto_proto::id::Height;
use sotto_proto::time::UnixMillis;

use super::{ANSWER, CliError, Context, Exit, running};
use crate::admin::client::{self, AskError};
use crate::keys::{KeyDirectory, Slot};
use crate::lock;
use crate::run::DATABASE;
use crate::service_node::rfc3339;
use crate::status::{NodeStatus, Phase};
use crate::store;

/// Between two pictures of `--watch`.
const WATCH: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sotto-node status
  sotto-node status --watch
  sotto-node status --json | jq .summary

Exit codes: 0 OK · 1 PROBLEM, or no node there · 3 STOPPED · 8 STARTING")]
pub(super) struct StatusVerb {
    /// Show it again every second
    #[arg(short, long)]
    watch: bool,
}

impl StatusVerb {
    pub(super) fn run(self, context: &mut Context) -> Result<Exit, CliError> {
        loop {
            let picture = Picture::take(&context.datadir, context.timeout.unwrap_or(ANSWER))?;
            if self.watch {
                context.out.clear()?;
            }
            context.out.result(&picture.document, &picture.text(context.out.color))?;
            if !self.watch {
                return Ok(picture.exit);
            }
            std::thread::sleep(WATCH);
        }
    }
}

/// Asks the running node how it is.
pub(super) fn fetch(datadir: &Path, timeout: Duration) -> Result<NodeStatus, CliError> {
    running::fetch(datadir, "/status", timeout)
}

/// What `status` shows: of a running node, of a stopped one, of a directory without one.
struct Picture {
    exit: Exit,
    document: serde_json::Value,
    /// First word of the text.
    word: &'static str,
    /// The rest of it.
    rest: String,
}

impl Picture {
    fn take(datadir: &Path, timeout: Duration) -> Result<Self, CliError> {
        if !KeyDirectory::of(datadir).path(Slot::Node).exists() {
            return Ok(not_set_up(datadir));
        }
        let answer = client::ask(datadir, "GET", "/status", "", timeout);
        match answer {
            Ok(_) => answering(&fetch(datadir, timeout)?),
            Err(AskError::NotRunning | AskError::Timeout(_)) => match lock::holder(datadir) {
                Ok(Some(pid)) => Ok(silent(datadir, pid)),
                _ => stopped(datadir),
            },
            Err(error) => Err(error.into()),
        }
    }

    fn text(&self, color: bool) -> String {
        let code = match self.exit {
            Exit::Done => "1;32",
            Exit::Failed => "1;31",
            _ => "1;33",
        };
        let word = if color { format!("\x1b[{code}m{}\x1b[0m", self.word) } else { self.word.to_owned() };
        format!("{word}{}", self.rest)
    }
}

fn answering(status: &NodeStatus) -> Result<Picture, CliError> {
    let (exit, word) = match status.phase {
        Phase::Ok => (Exit::Done, "OK"),
        Phase::Starting => (Exit::NotReady, "STARTING"),
        Phase::Problem => (Exit::Failed, "PROBLEM"),
    };
    let document = serde_json::to_value(status)
        .map_err(|error| CliError::new(Exit::Defect, "json", format!("cannot show the status: {error}")))?;
    Ok(Picture { exit, document, word, rest: render(status, clock::wall()) })
}

/// Everything after the first word.
#[must_use]
pub fn render(status: &NodeStatus, now: UnixMillis) -> String {
    let mut text = match status.phase {
        Phase::Problem => format!(": {}\n", status.summary),
        Phase::Ok | Phase::Starting => format!("  {}\n", status.summary),
    };
    for (index, problem) in status.problems.iter().enumerate() {
        if index > 0 {
            text.push_str(&format!("         {}\n", problem.text));
        }
        text.push_str(&format!("  → {}\n", problem.advice));
    }
    text.push('\n');
    for (name, value) in details(status, now) {
        text.push_str(&format!("  {name:<11} {value}\n"));
    }
    text
}

fn details(status: &NodeStatus, now: UnixMillis) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    let moniker = if status.moniker.is_empty() { String::new() } else { format!("  “{}”", status.moniker) };
    rows.push(("node", format!("{}{moniker}", status.node)));
    if let Some(operator) = &status.operator {
        rows.push(("operator", operator.clone()));
    }
    rows.push(("chain", format!("{}, block {}, final {}", short(&status.chain), status.tip, status.height)));
    let swarm = status.swarm.as_deref().map_or(String::new(), |swarm| format!(" in swarm {swarm}"));
    rows.push(("standing", format!("{}{swarm}", status.state)));
    let clock = status.clock_offset_ms.map_or("not known yet".into(), |offset| format!("{offset:+} ms"));
    rows.push((
        "network",
        format!(
            "{} nodes ({} of its swarm), {} clients, clock {clock}",
            status.connections, status.swarm_connected, status.clients
        ),
    ));
    if let Some(listen) = &status.listen {
        let registered = status.addresses.join(" ");
        let differs = registered != *listen && !registered.is_empty();
        rows.push(("address", if differs { format!("{registered}, listening on {listen}") } else { listen.clone() }));
    }
    rows.push(("mail", mail(status)));
    if let Some(blocks) = status.uptime_due_in_blocks {
        rows.push(("uptime", format!("next proof within {blocks} blocks, credit {} blocks", status.credit)));
        rows.push(("coins", format!("staked {}, earned {}", status.stake, status.rewards)));
    }
    if let Some((newest, older)) = status.evidence.split_first() {
        let (first, second) = (short(&newest.first), short(&newest.second));
        let older = match older.len() {
            0 => String::new(),
            1 => "; 1 older case: status --json".to_owned(),
            count => format!("; {count} older cases: status --json"),
        };
        let height = newest.height;
        rows.push((
            "evidence",
            format!("the producer signed two blocks of height {height}: {first} and {second}{older}"),
        ));
    }
    if let Some(damage) = &status.damage {
        let records = damage.records;
        rows.push(("database", format!("was damaged; now in {}, {records} records could be copied", damage.aside)));
    }
    if let Some(at) = status.key_rotation_ms {
        rows.push(("key", format!("changes in {}", span(at.saturating_sub(now.0)))));
    }
    let mib = status.rss_bytes / (1 << 20);
    let up = span(status.uptime_ms);
    rows.push(("process", format!("{}, up {up}, {mib} MiB, version {}", status.pid, status.version)));
    rows
}

fn mail(status: &NodeStatus) -> String {
    let size = size(status.stored_bytes);
    let digest = status.swarm_digest.get(..8).filter(|_| status.swarm_items > 0);
    let digest =
        digest.map_or(String::new(), |digest| format!(", {} of its swarm (digest {digest})", status.swarm_items));
    let more = if status.mail_full { ", full" } else { "" };
    let syncing = if status.mail_syncing { ", still taking over" } else { "" };
    format!("{} records, {size}{digest}{more}{syncing}", status.records)
}

/// A number of bytes for people.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        ..1024 => format!("{bytes} bytes"),
        1024..0x10_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// The first eight digits of a key.
pub(super) fn short(hex: &str) -> &str {
    hex.get(..8).unwrap_or("not known")
}

/// A span of time in its two largest units: `3h 12m`.
pub(super) fn span(millis: u64) -> String {
    let text = humantime::format_duration(Duration::from_secs(millis / 1000)).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn not_set_up(datadir: &Path) -> Picture {
    let dir = datadir.display();
    let summary = format!("{dir} holds no node");
    Picture {
        exit: Exit::Failed,
        document: document("not_set_up", &summary, serde_json::json!({})),
        word: "NOT SET UP",
        rest: format!("  {summary}\n  → sotto-node init --datadir {dir} --genesis FILE\n"),
    }
}

fn silent(datadir: &Path, pid: Option<u32>) -> Picture {
    let who = pid.map_or("a process".to_owned(), |pid| format!("process {pid}"));
    let summary = format!("{who} has {} and does not answer", datadir.display());
    Picture {
        exit: Exit::Network,
        document: document("silent", &summary, serde_json::json!({ "pid": pid })),
        word: "PROBLEM",
        rest: format!(
            ": {summary}\n  → it may be starting or stopping; if this stays, look at its log, then restart it\n"
        ),
    }
}

fn stopped(datadir: &Path) -> Result<Picture, CliError> {
    let dir = datadir.display();
    let summary = format!("no node is running on {dir}");
    let node = KeyDirectory::of(datadir).read(Slot::Node)?.signing_key().node_id().to_string();
    let last = last_block(datadir);
    let mut rest = format!("  {summary}\n  → sotto-node run --datadir {dir}\n\n  {:<11} {node}\n", "node");
    if let Some((height, time)) = &last {
        let ago = span(clock::wall().0.saturating_sub(time.0));
        rest.push_str(&format!("  {:<11} {height}, made {} ({ago} ago)\n", "last block", rfc3339(*time)));
    }
    let extra = serde_json::json!({
        "node": node, "tip": last.map(|(height, _)| height.0), "tip_time_ms": last.map(|(_, time)| time.0),
    });
    Ok(Picture { exit: Exit::Network, document: document("stopped", &summary, extra), word: "STOPPED", rest })
}

fn document(phase: &str, summary: &str, extra: serde_json::Value) -> serde_json::Value {
    let mut document = serde_json::json!({
        "v": NodeStatus::VERSION, "type": NodeStatus::TYPE, "ok": false, "ready": false, "phase": phase, "summary": summary,
    });
    if let (Some(document), serde_json::Value::Object(extra)) = (document.as_object_mut(), extra) {
        document.extend(extra);
    }
    document
}

/// The newest block on disk; `None` where there is none or the database cannot be read, which `run` will explain.
pub(super) fn last_block(datadir: &Path) -> Option<(Height, UnixMillis)> {
    let store = store::open_read_only(&datadir.join(DATABASE)).ok()??;
    let tip = *store.block_range().ok()??.end();
    let block = Block::decode(&store.block(tip).ok()??.bytes).ok()?;
    Some((tip, block.header.header.time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        assert_eq!(span(0), "0s");
        assert_eq!(span(61_500), "1m 1s");
        assert_eq!(span(3 * 86_400_000 + 5 * 3_600_000 + 61_000), "3days 5h");
    }
}
