//! `sotto-chain fault`: misbehaviour on request.

use std::time::Duration;

use clap::Subcommand;
use serde_json::Value;
use sotto_chain::producer::http::FaultRequest;

use super::Globals;
use super::console::Console;
use super::failure::{Exit, Failure};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make no more blocks
    Stall {
        /// For this long [default: until `fault clear`]
        #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
        lasting: Option<Duration>,
    },
    /// Make blocks more slowly
    Slow {
        /// This many times slower
        #[arg(long, value_name = "K", required_unless_present = "every", conflicts_with = "every")]
        factor: Option<u32>,
        /// With this much time between blocks
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        every: Option<Duration>,
        /// For this long [default: until `fault clear`]
        #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
        lasting: Option<Duration>,
    },
    /// Undo the last blocks and make others
    Reorg {
        /// How many: up to 3, which nodes follow
        depth: u64,
        /// Allow up to 15: nodes will halt, and stay halted
        #[arg(long)]
        deep: bool,
    },
    /// Show one branch to half of the connected nodes and another to the others, then go on with the first
    TwoHeads {
        /// Blocks in each branch, up to 3
        #[arg(long, value_name = "N", default_value_t = 1)]
        blocks: u64,
    },
    /// Sign two blocks of one height and show both to everybody: clients stop trusting the chain
    Equivocate,
    /// Make blocks as usual
    Clear,
}

impl Verb {
    fn request(&self) -> FaultRequest {
        let millis = |time: &Option<Duration>| time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        match self {
            Self::Stall { lasting } => FaultRequest::Stall { for_ms: millis(lasting) },
            Self::Slow { factor, every, lasting } => {
                FaultRequest::Slow { factor: *factor, every_ms: millis(every), for_ms: millis(lasting) }
            }
            Self::Reorg { depth, deep } => FaultRequest::Reorg { depth: *depth, deep: *deep },
            Self::TwoHeads { blocks } => FaultRequest::TwoHeads { blocks: *blocks },
            Self::Equivocate => FaultRequest::Equivocate,
            Self::Clear => FaultRequest::Clear,
        }
    }

    fn done(&self) -> String {
        let until = |lasting: &Option<Duration>| match lasting {
            Some(time) => format!("for {}", humantime::format_duration(*time)),
            None => "until: sotto-chain fault clear".to_owned(),
        };
        match self {
            Self::Stall { lasting } => format!("no blocks {}", until(lasting)),
            Self::Slow { lasting, .. } => format!("slower blocks {}", until(lasting)),
            Self::Reorg { depth, .. } => format!("the last {depth} blocks are undone and replaced by {}", depth + 1),
            Self::TwoHeads { blocks } => {
                format!("two branches of {blocks} blocks, one for each half of the nodes; then one goes on")
            }
            Self::Equivocate => "two blocks of one height signed and shown".to_owned(),
            Self::Clear => "blocks as usual".to_owned(),
        }
    }
}

pub(super) fn run(globals: &Globals, verb: &Verb, console: &Console) -> Result<(), Failure> {
    let body: Value = serde_json::to_value(verb.request())
        .map_err(|error| Failure::new(Exit::Internal, "internal", error.to_string()))?;
    let answer = globals.client()?.post("/fault", &body)?;
    console.result(&verb.done(), &answer)
}
