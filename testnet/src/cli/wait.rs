//! `sotto-testnet wait`: return when something is the case, instead of sleeping and hoping.

use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::Globals;
use super::console::Console;
use super::location::Location;
use super::overview::Overview;
use crate::agreement::{self, Agreed};
use crate::failure::{Exit, Failure};
use crate::progress::seconds;

/// How often the nodes are asked.
const POLL: Duration = Duration::from_millis(250);
/// How long to wait, unless `--timeout` says otherwise.
const DEADLINE: Duration = Duration::from_secs(60);

/// Options of `wait`.
#[derive(Clone, Debug, Args)]
pub(super) struct Arguments {
    /// "ready": all nodes are active and agree; "blocks=N": N more blocks are final and all agree on them; "swarms=N":
    /// all agree, and there are N swarms
    #[arg(long, value_name = "CONDITION", default_value = "ready")]
    until: Condition,
}

/// What is waited for. Each includes that all nodes have caught up and agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Ready,
    Blocks(u64),
    Swarms(usize),
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?}: want ready, blocks=N or swarms=N");
        match text.split_once('=') {
            None if text == "ready" => Ok(Self::Ready),
            Some(("blocks", number)) => number.parse().map(Self::Blocks).map_err(|_| wrong()),
            Some(("swarms", number)) => number.parse().map(Self::Swarms).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

/// Waits, and prints what came of it.
pub(super) async fn run(globals: &Globals, arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let location = Location::new(globals)?;
    let started = Instant::now();
    let (overview, agreed) = until(&location, arguments.until, globals.timeout.unwrap_or(DEADLINE)).await?;
    let (_, summary) = overview.summary();
    let elapsed = started.elapsed();
    let document = json!({ "v": 1, "type": "testnet.wait", "ok": true, "summary": summary, "agreed": agreed,
        "swarms": overview.swarms(), "waited_ms": elapsed.as_millis() });
    console.print(&format!("{summary} (after {})", seconds(elapsed)), &document)
}

/// Looks again and again until `condition` holds.
pub(super) async fn until(
    location: &Location,
    condition: Condition,
    deadline: Duration,
) -> Result<(Overview, Agreed), Failure> {
    let started = Instant::now();
    let mut first_final = None;
    loop {
        let overview = Overview::look(location).await?;
        if overview.processes.is_none() {
            return Err(Failure::new(Exit::Network, format!("testnet {} is not running", location.name)));
        }
        let from = *first_final.get_or_insert_with(|| agreement::newest_final(&overview.answers));
        match overview.agreed() {
            Ok(agreed) if holds(condition, &overview, &agreed, from) => return Ok((overview, agreed)),
            _ if started.elapsed() >= deadline => return Err(timed_out(&overview, condition, deadline)),
            _ => tokio::time::sleep(POLL).await,
        }
    }
}

fn holds(condition: Condition, overview: &Overview, agreed: &Agreed, from: u64) -> bool {
    match condition {
        Condition::Ready => overview.active() == overview.answers.len(),
        Condition::Blocks(count) => agreed.height >= from.saturating_add(count),
        Condition::Swarms(count) => overview.swarms().len() == count,
    }
}

fn timed_out(overview: &Overview, condition: Condition, deadline: Duration) -> Failure {
    let wanted = match condition {
        Condition::Ready => "ready".to_owned(),
        Condition::Blocks(count) => format!("{count} blocks on"),
        Condition::Swarms(count) => format!("in {count} swarms"),
    };
    let (_, summary) = overview.summary();
    let mut unwell = overview.unwell();
    unwell.push("sotto-testnet status    # shows every node".to_owned());
    Failure::new(Exit::Timeout, format!("not {wanted} within {}: {summary}", seconds(deadline)))
        .hint(unwell.join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_understood_and_nonsense_is_refused() {
        assert_eq!("ready".parse(), Ok(Condition::Ready));
        assert_eq!("blocks=5".parse(), Ok(Condition::Blocks(5)));
        assert_eq!("swarms=6".parse(), Ok(Condition::Swarms(6)));
        for text in ["", "blocks", "blocks=", "blocks=x", "ready=1", "swarms=-1"] {
            assert!(text.parse::<Condition>().is_err(), "{text}");
        }
    }
}
