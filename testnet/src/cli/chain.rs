//! `sotto-testnet chain …`: the block producer's height, and the faults it can be asked for.

use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::console::Console;
use super::location::Location;
use super::{Globals, node};
use crate::control::{self, Action, Done, Request};
use crate::failure::{Exit, Failure};
use crate::files;
use crate::http::{self, HttpError};
use crate::plan::Plan;
use crate::status;
use crate::target::{Selection, Target};

/// How long a restarted producer may take, unless `--timeout` says otherwise.
const DEADLINE: Duration = Duration::from_secs(30);

/// What can be done to the chain.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Verb {
    /// The newest height
    Height,
    /// Make no more blocks
    Stop {
        /// For how long; default: until "resume"
        #[arg(long = "for", value_parser = humantime::parse_duration, value_name = "DURATION")]
        lasting: Option<Duration>,
    },
    /// Make blocks again as usual, without any fault
    Resume,
    /// Make so many blocks at once
    Produce {
        /// How many
        #[arg(default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
        count: u32,
    },
    /// Misbehave once or from now on
    #[command(subcommand)]
    Fault(Fault),
    /// Kill the producer without warning (SIGKILL)
    Kill,
    /// End the producer if it runs, and start it
    Restart,
}

/// How a producer can misbehave.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Fault {
    /// Take back the newest blocks and make others
    Reorg {
        /// How many; up to 3 the nodes follow
        depth: u64,
        /// Allow more than 3: nodes then halt, as they should
        #[arg(long)]
        deep: bool,
    },
    /// Make blocks late
    Slow {
        /// Time between blocks, such as 3s
        #[arg(value_parser = humantime::parse_duration)]
        every: Duration,
        /// For how long; default: until "resume"
        #[arg(long = "for", value_parser = humantime::parse_duration, value_name = "DURATION")]
        lasting: Option<Duration>,
    },
    /// Make two branches and show each to half of the network
    TwoHeads {
        /// Blocks in each
        #[arg(default_value_t = 1)]
        blocks: u64,
    },
    /// Sign two different blocks of one height and show both to all
    Equivocate,
}

/// Does what the verb says.
pub(super) async fn run(globals: &Globals, verb: Verb, console: &Console) -> Result<(), Failure> {
    let location = Location::new(globals)?;
    let plan = location.plan()?;
    match verb {
        Verb::Height => height(&plan, console).await,
        Verb::Stop { lasting } => {
            let body = json!({ "kind": "stall", "for_ms": lasting.map(millis) });
            ask(&plan, "/fault", body, &format!("no blocks{}", until(lasting)), console).await
        }
        Verb::Resume => ask(&plan, "/fault", json!({ "kind": "clear" }), "blocks as usual", console).await,
        Verb::Produce { count } => {
            ask(&plan, "/produce", json!({ "count": count }), &format!("{count} blocks made"), console).await
        }
        Verb::Fault(fault) => {
            let (body, done) = describe(&fault);
            ask(&plan, "/fault", body, &done, console).await
        }
        Verb::Kill => {
            let request = Request::Act { action: Action::Kill, targets: vec![Target::Chain] };
            let _done: Done = control::ask(&plan.dir, &request).await?;
            console.print(
                "chain killed; sotto-testnet chain restart starts it again",
                &json!({ "v": 1, "type": "testnet.chain", "killed": true }),
            )
        }
        Verb::Restart => {
            let chain = Selection::Some([Target::Chain].into());
            node::restart(&location, &chain, globals.timeout.unwrap_or(DEADLINE), console).await
        }
    }
}

fn describe(fault: &Fault) -> (Value, String) {
    match fault {
        Fault::Reorg { depth, deep } => (
            json!({ "kind": "reorg", "depth": depth, "deep": deep }),
            format!("the newest {depth} blocks are replaced"),
        ),
        Fault::Slow { every, lasting } => (
            json!({ "kind": "slow", "every_ms": millis(*every), "for_ms": lasting.map(millis) }),
            format!("a block every {every:?}{}", until(*lasting)),
        ),
        Fault::TwoHeads { blocks } => (
            json!({ "kind": "two_heads", "blocks": blocks }),
            format!("two branches of {blocks} blocks, one for each half of the nodes"),
        ),
        Fault::Equivocate => (json!({ "kind": "equivocate" }), "two blocks of one height signed".to_owned()),
    }
}

fn until(lasting: Option<Duration>) -> String {
    lasting.map_or_else(|| " until: sotto-testnet chain resume".to_owned(), |time| format!(" for {time:?}"))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn height(plan: &Plan, console: &Console) -> Result<(), Failure> {
    let tip = status::producer_tip(plan.producer().http).await.map_err(|error| unreachable(&error))?;
    let finality = tip.saturating_sub(3);
    let document = json!({ "v": 1, "type": "testnet.height", "tip": tip, "final": finality });
    console.print(&format!("{tip} (final {finality})"), &document)
}

async fn ask(plan: &Plan, path: &str, body: Value, done: &str, console: &Console) -> Result<(), Failure> {
    let socket = plan.producer().datadir.join(files::ADMIN_SOCKET);
    let answer = http::post(&socket, path, &body).await.map_err(|error| unreachable(&error))?;
    console.print(done, &json!({ "v": 1, "type": "testnet.chain", "asked": body, "answer": answer }))
}

fn unreachable(error: &HttpError) -> Failure {
    match error {
        HttpError::Refused { reason, .. } => Failure::new(Exit::Conflict, format!("the producer refuses: {reason}")),
        _ => Failure::new(Exit::Network, format!("the block producer does not answer: {error}"))
            .hint("sotto-testnet chain restart    # or: sotto-testnet logs chain"),
    }
}
