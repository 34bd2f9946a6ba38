//! `sotto path`: the way messages take, and what each hop knows.

use std::time::Instant;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use sotto_proto::id::NodeId;

use super::context::Context;
use super::network_error::cli_error;
use super::output::millis;
use super::{CliError, Exit};
use crate::messenger::Messenger;
use crate::network::lookups::Lookup;
use crate::network::paths::{Purpose, hop};

/// The way messages take
#[derive(Debug, Subcommand)]
pub(super) enum PathVerb {
    /// Build a path and show its hops and what each of them knows
    Show {
        /// What it is for
        #[arg(long = "for", value_enum, default_value = "send", value_name = "PURPOSE")]
        purpose: PurposeName,
    },
    /// Build one path after the other: guards stay, the other hops change
    Rotate {
        /// How many
        #[arg(default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
        count: u16,
    },
    /// Build paths and time them: the build, a first question in a new tunnel, one in an open tunnel
    Test {
        /// How many questions in the open tunnel
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        count: u32,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum PurposeName {
    Send,
    Receive,
    Other,
}

impl From<PurposeName> for Purpose {
    fn from(name: PurposeName) -> Self {
        match name {
            PurposeName::Send => Self::Send,
            PurposeName::Receive => Self::Receive,
            PurposeName::Other => Self::Other,
        }
    }
}

impl PathVerb {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let unlocked = context.unlock()?;
        let out = &context.out;
        Context::runtime()?.block_on(async {
            let opening = Messenger::open(unlocked.genesis, unlocked.account, context.timeout, |step| {
                out.progress(&json!({"v": 1, "type": "progress", "phase": "network"}), super::network::describe(step));
            });
            let mut messenger = opening.await.map_err(|error| cli_error(&error))?;
            match self {
                Self::Show { purpose } => show(&mut messenger, context, purpose.into()).await,
                Self::Rotate { count } => {
                    for _ in 0..count {
                        messenger.rotate(Purpose::Send);
                        show(&mut messenger, context, Purpose::Send).await?;
                    }
                    Ok(Exit::Done)
                }
                Self::Test { count } => test(&mut messenger, context, count).await,
            }
        })
    }
}

async fn show(messenger: &mut Messenger, context: &Context, purpose: Purpose) -> Result<Exit, CliError> {
    let began = Instant::now();
    let path = messenger.path(purpose).await.map_err(|error| cli_error(&error))?;
    let (took, hops) = (began.elapsed(), path.hops().map(|hop| hop.node));
    let [guard, middle, exit] = hops.map(|hop| hop.short());
    let text = format!(
        "you ── {guard} ── {middle} ── {exit} ── swarm\n  {guard:<12} guard    your address, not what you do\n  \
         {middle:<12} middle   only its neighbours\n  {exit:<12} exit     the destination, not you\n  built in {:.1} ms, \
         serves “{}” for ten minutes",
        millis(took),
        purpose.name()
    );
    context.out.result(
        &json!({"v": 1, "type": "path", "purpose": purpose.name(), "hops": hops.map(|hop| describe(messenger, &hop)),
                "build_ms": millis(took)}),
        text,
    )?;
    Ok(Exit::Done)
}

fn describe(messenger: &Messenger, node: &NodeId) -> Value {
    let record = messenger.directory().nodes().get(node);
    json!({
        "node": node.to_string(),
        "region": record.map(|record| record.region.as_str().to_owned()),
        "operator": record.map(|record| record.operator.to_string()),
        "swarm": record.and_then(|record| record.swarm).map(|swarm| format!("0x{swarm}")),
    })
}

async fn test(messenger: &mut Messenger, context: &Context, count: u32) -> Result<Exit, CliError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        CliError::new(Exit::Network, "path_test", format!("{what}: {error}"))
            .hint("try again; if it stays so: sotto doctor")
    };
    // The first path connects with the guard and finds its links cold; the second is what later ones are like.
    let began = Instant::now();
    messenger.path(Purpose::Other).await.map_err(|error| cli_error(&error))?;
    let cold = began.elapsed();
    messenger.rotate(Purpose::Other);
    let began = Instant::now();
    let path = messenger.path(Purpose::Other).await.map_err(|error| cli_error(&error))?;
    let warm = began.elapsed();
    let hops = path.hops().map(|hop| hop.node);
    let nodes = messenger.directory().nodes();
    let target = nodes.values().find(|record| !hops.contains(&record.node) && record.swarm.is_some());
    let target = target.and_then(|record| hop(nodes, &record.node));
    let Some(target) = target else { return Err(failed("test", &"there is no node beside the hops")) };
    let clock = messenger.clock().clone();
    let began = Instant::now();
    let (mut lookup, info) =
        Lookup::connect(&path, target, &clock).await.map_err(|error| failed("the first question", &error))?;
    let first = began.elapsed();
    let mut times = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        lookup.info().await.map_err(|error| failed("a question", &error))?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let at = |part: usize| {
        times.get((times.len() * part / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    let (p50, p99) = (at(50), at(99));
    let text = format!(
        "path        {}\nfirst build {:.2} ms, with the connection to the guard\nbuild       {:.2} ms\nnew tunnel  {:.2} ms \
         with a question and its answer\nquestion    {:.2} ms median, {:.2} ms p99 of {count}, in the open tunnel\nnode        {} \
         at final block {}",
        hops.map(|hop| hop.short()).join(" → "),
        millis(cold),
        millis(warm),
        millis(first),
        millis(p50),
        millis(p99),
        target.node.short(),
        info.final_height
    );
    context.out.result(
        &json!({"v": 1, "type": "path.test", "hops": hops.map(|hop| hop.to_string()), "first_build_ms": millis(cold),
                "build_ms": millis(warm), "tunnel_ms": millis(first), "question_p50_ms": millis(p50),
                "question_p99_ms": millis(p99), "count": count}),
        text,
    )?;
    Ok(Exit::Done)
}
