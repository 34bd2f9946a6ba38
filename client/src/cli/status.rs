//! `sotto status`: the account and the network in a few lines.

use clap::Args;
use serde_json::json;
use sotto_proto::time::UnixMillis;

use super::context::{Context, clock};
use super::network_error::cli_error;
use super::{CliError, Exit};
use crate::messenger::Messenger;
use crate::network::paths::Purpose;

/// Outbox rows that are counted.
const COUNTED: usize = 10_000;

/// Is everything well? The account, the network, what waits
#[derive(Debug, Args)]
pub(super) struct Status {
    /// Only what is stored here; do not ask the network
    #[arg(long)]
    offline: bool,
}

impl Status {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let unlocked = context.unlock()?;
        let out = &context.out;
        let store = &unlocked.account.store;
        let waiting = store.pending(COUNTED)?.len();
        let unshown = store.unshown(COUNTED)?.len();
        let id = unlocked.account.account().address().to_string();
        let mut document = json!({
            "v": 1, "type": "status", "account": id, "waiting": waiting, "unshown": unshown, "ok": true,
        });
        let mut lines = vec![format!("account   {id}")];
        lines.push(format!(
            "outbox    {waiting} waiting{}",
            if waiting > 0 { ", sent with the next: sotto recv" } else { "" }
        ));
        lines.push(format!("inbox     {unshown} not shown yet"));
        if self.offline {
            let text = format!("OK        not asked: the network\n{}", lines.join("\n"));
            out.result(&document, text)?;
            return Ok(Exit::Done);
        }
        let network: Result<_, crate::messenger::Error> = Context::runtime()?.block_on(async {
            let mut messenger = Messenger::open(unlocked.genesis, unlocked.account, context.timeout, |_| ()).await?;
            messenger.refresh_if_needed().await?;
            let path = messenger.path(Purpose::Send).await?;
            let (directory, clock) = (messenger.directory(), messenger.clock());
            let hops = path.hops().map(|hop| hop.node.short()).join(" → ");
            let swarm = directory.owner(&messenger.address());
            Ok((directory.header().header.height, directory.nodes().len(), swarm, hops, clock.own_ahead()))
        });
        match network {
            Ok((height, nodes, swarm, hops, ahead)) => {
                let swarm = swarm.map(|swarm| format!("0x{swarm}"));
                if let Some(document) = document.as_object_mut() {
                    document.insert(
                        "network".into(),
                        json!({
                            "height": height.0, "nodes": nodes, "swarm": swarm, "path": hops, "clock_ahead_ms": ahead,
                        }),
                    );
                }
                lines.push(format!("network   {nodes} nodes, checked at block {height}"));
                lines.push(format!("swarm     {} keeps this account's mail", swarm.as_deref().unwrap_or("none")));
                lines.push(format!("path      you → {hops} → swarm"));
                if let Some(ahead) = ahead {
                    lines.push(format!("clock     {ahead:+} ms against the network"));
                }
                out.result(&document, format!("OK        messages can be sent and received\n{}", lines.join("\n")))?;
                Ok(Exit::Done)
            }
            Err(error) => {
                let failure = cli_error(&error);
                if let Some(document) = document.as_object_mut() {
                    document.insert("ok".into(), false.into());
                    document.insert("problem".into(), failure.message.clone().into());
                }
                out.result(&document, format!("PROBLEM   {}\n{}", failure.message, lines.join("\n")))?;
                Err(failure)
            }
        }
    }
}

/// A time as RFC 3339, UTC, with milliseconds.
pub(super) fn rfc3339(time: UnixMillis) -> String {
    let since = std::time::Duration::from_millis(time.0.min(MAX_SHOWN_MS));
    humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + since).to_string()
}

/// The end of the year 9999, the last that the format can show: a stranger's time may be anything.
const MAX_SHOWN_MS: u64 = 253_402_300_799_999;

/// How long ago a time was, for people.
pub(super) fn ago(time: UnixMillis) -> String {
    let seconds = clock().0.saturating_sub(time.0) / 1000;
    match seconds {
        0..=119 => format!("{seconds} s ago"),
        120..=7199 => format!("{} min ago", seconds / 60),
        7200..=172_799 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_a_stranger_may_claim_can_be_shown() {
        assert_eq!(rfc3339(UnixMillis(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(UnixMillis(1_790_000_000_123)), "2026-09-21T14:13:20.123Z");
        assert_eq!(rfc3339(UnixMillis(u64::MAX)), "9999-12-31T23:59:59.999Z");
    }
}
