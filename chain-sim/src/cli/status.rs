//! `sotto-chain status`.

use std::time::Duration;

use sotto_chain::producer::report::Status;

use super::Globals;
use super::console::{Console, Tone};
use super::failure::{Exit, Failure};

pub(super) fn run(globals: &Globals, console: &Console) -> Result<(), Failure> {
    let status: Status = globals.client()?.get("/status")?;
    console.result(&text(&status, console), &status)?;
    if status.ok { Ok(()) } else { Err(Failure::told(Exit::Failed)) }
}

fn text(status: &Status, console: &Console) -> String {
    let word = if status.ok { console.paint(Tone::Good, "OK") } else { console.paint(Tone::Bad, "PROBLEM") };
    let nodes: Vec<String> = status.nodes.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let pace = match status.block_every_ms {
        Some(millis) => format!("{} (a block every {})", status.pace, duration(millis)),
        None => status.pace.clone(),
    };
    let megabytes = status.rss_bytes.map_or(String::new(), |bytes| format!(", {} MiB", bytes >> 20));
    format!(
        "{word}  {}\n\nchain        {} ({})\ntip          {} at {}, hash {}\nfinal        {}\npace         {pace}\n\
         nodes        {} in {} swarms\nwaiting      {} transactions, {} bytes\nconnections  {} nodes, {} others\n\
         faucet       {}\nprocess      {}, up {}{megabytes}, version {}",
        status.summary,
        status.chain,
        status.preset,
        status.tip,
        status.time,
        status.block_hash.get(..8).unwrap_or_default(),
        status.height,
        nodes.join(", "),
        status.swarms,
        status.waiting_transactions,
        status.waiting_bytes,
        status.connections,
        status.clients,
        status.faucet.as_deref().unwrap_or("none"),
        status.pid,
        duration(status.uptime_ms / 1000 * 1000),
        status.version,
    )
}

fn duration(millis: u64) -> String {
    humantime::format_duration(Duration::from_millis(millis)).to_string()
}
