//! `sotto-testnet node …`: the supervisor acts, this side waits for the effect and tells it.

use std::time::{Duration, Instant};

use serde_json::json;

use super::console::Console;
use super::location::Location;
use super::overview::Overview;
use super::wait::{self, Condition};
use super::{Globals, NodeVerb};
use crate::control::{self, Action, Added, Done, Request};
use crate::failure::{Exit, Failure};
use crate::plan::Plan;
use crate::progress::seconds;
use crate::status;
use crate::target::{Selection, Target};

/// How long an effect may take, unless `--timeout` says otherwise.
const DEADLINE: Duration = Duration::from_secs(60);
/// How often a restarted node is asked; short, because the time is reported.
const POLL: Duration = Duration::from_millis(20);

/// Does what the verb says.
pub(super) async fn run(globals: &Globals, verb: NodeVerb, console: &Console) -> Result<(), Failure> {
    let location = Location::new(globals)?;
    let deadline = globals.timeout.unwrap_or(DEADLINE);
    match verb {
        NodeVerb::Add { count } => add(&location, count, deadline, console).await,
        NodeVerb::Kill(selection) => signal(&location, Action::Kill, "killed", &selection.nodes, console).await,
        NodeVerb::Pause(selection) => signal(&location, Action::Pause, "paused", &selection.nodes, console).await,
        NodeVerb::Resume(selection) => signal(&location, Action::Resume, "resumed", &selection.nodes, console).await,
        NodeVerb::Restart(selection) => restart(&location, &selection.nodes, deadline, console).await,
    }
}

async fn add(location: &Location, count: u16, deadline: Duration, console: &Console) -> Result<(), Failure> {
    let started = Instant::now();
    let before = Overview::look(location).await?.swarms().len();
    let added: Added = control::ask(&location.dir, &Request::Add { count }).await?;
    console.note(&format!("{} started, staking …", names(added.indices.iter().map(|index| Target::Node(*index)))));
    let (overview, agreed) = wait::until(location, Condition::Ready, deadline).await?;
    control::ask::<()>(&location.dir, &Request::Manifest).await?;
    let elapsed = started.elapsed();
    let born = overview.swarms().len().saturating_sub(before);
    let news = match born {
        0 => String::new(),
        1 => "; a swarm was born".to_owned(),
        more => format!("; {more} swarms were born"),
    };
    let text = format!(
        "{} active after {}{news}: {} nodes in {} agree at height {}",
        names(added.indices.iter().map(|index| Target::Node(*index))),
        seconds(elapsed),
        added.nodes,
        overview.swarms_text(),
        agreed.height
    );
    let document = json!({ "v": 1, "type": "testnet.node_added", "indices": added.indices, "nodes": added.nodes,
        "elapsed_ms": elapsed.as_millis(), "swarms_born": born, "swarms": overview.swarms(), "agreed": agreed });
    console.print(&text, &document)
}

async fn act(location: &Location, action: Action, selection: &Selection) -> Result<(Plan, Vec<Target>, Done), Failure> {
    let plan = location.plan()?;
    let targets = selection.resolve(plan.settings.nodes).map_err(|missing| {
        Failure::new(Exit::NotFound, format!("there is no {missing}: {} nodes", plan.settings.nodes))
    })?;
    let done: Done = control::ask(&location.dir, &Request::Act { action, targets: targets.clone() }).await?;
    Ok((plan, targets, done))
}

async fn signal(
    location: &Location,
    action: Action,
    word: &str,
    selection: &Selection,
    console: &Console,
) -> Result<(), Failure> {
    let (_, targets, _) = act(location, action, selection).await?;
    let document = json!({ "v": 1, "type": "testnet.node_action", "action": action, "targets": targets });
    console.print(&format!("{} {word}", names(targets.into_iter())), &document)
}

/// Restarts, then waits until every restarted process says it is ready.
pub(super) async fn restart(
    location: &Location,
    selection: &Selection,
    deadline: Duration,
    console: &Console,
) -> Result<(), Failure> {
    let (plan, targets, done) = act(location, Action::Restart, selection).await?;
    let started = Instant::now();
    let mut waiting = targets.clone();
    while !waiting.is_empty() {
        let mut still = Vec::new();
        for target in waiting {
            if !is_back(&plan, target).await {
                still.push(target);
            }
        }
        waiting = still;
        if waiting.is_empty() {
            break;
        }
        if started.elapsed() >= deadline {
            let message = format!("{} not ready within {}", names(waiting.into_iter()), seconds(deadline));
            return Err(Failure::new(Exit::Timeout, message));
        }
        tokio::time::sleep(POLL).await;
    }
    let elapsed = started.elapsed();
    let text = format!(
        "{} ready {:.2} s after the start (ending took {:.2} s)",
        names(targets.iter().copied()),
        elapsed.as_secs_f64(),
        Duration::from_millis(done.stopped_ms).as_secs_f64()
    );
    let document = json!({ "v": 1, "type": "testnet.node_restarted", "targets": targets, "ready_ms": elapsed.as_millis(),
        "stopped_ms": done.stopped_ms });
    console.print(&text, &document)
}

/// A node is back when it has caught up with the chain, the producer when it answers.
async fn is_back(plan: &Plan, target: Target) -> bool {
    match target {
        Target::Chain => status::producer_tip(plan.producer().http).await.is_ok(),
        Target::Node(index) => status::ask(plan.node(index).http)
            .await
            .is_ok_and(|status| status.synced && !status.halted && status.tip > 0),
    }
}

/// `node03, node05`, or `50 processes` when they are many.
fn names(targets: impl ExactSizeIterator<Item = Target>) -> String {
    if targets.len() > 8 {
        return format!("{} processes", targets.len());
    }
    let names: Vec<String> = targets.map(|target| target.to_string()).collect();
    names.join(", ")
}
