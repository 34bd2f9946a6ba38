//! `sotto network`: the node list as a client sees it.

use clap::Subcommand;
use serde_json::{Value, json};
use sotto_proto::chain::{GenesisFile, NodeState};

use super::context::Context;
use super::{CliError, Exit};
use crate::network::{FirstListError, NetworkList, Step, fetch};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// How many nodes and swarms there are
    Show,
    /// Every registered node
    Nodes,
}

impl Verb {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let genesis = context.genesis()?;
        let list = Context::runtime()?
            .block_on(fetch(&genesis, context.timeout, |step| context.out.progress(&step_json(step), describe(step))))
            .map_err(|error| failure(&error))?;
        match self {
            Self::Show => context.out.result(&summary_json(&genesis, &list), summary(&genesis, &list))?,
            Self::Nodes => print_nodes(context, &list)?,
        }
        Ok(Exit::Done)
    }
}

pub(super) fn failure(error: &FirstListError) -> CliError {
    let (code, exit, hint) = match error {
        FirstListError::Timeout(_) => {
            ("timeout", Exit::NotReady, "is the network up? try again, or with a longer --timeout")
        }
        FirstListError::NobodyToAsk => {
            ("genesis", Exit::Failed, "take a genesis file with the addresses of bootstrap nodes")
        }
        FirstListError::OtherGenesis { .. } => {
            ("other_genesis", Exit::Failed, "is this the genesis file of the network you mean?")
        }
        FirstListError::Time { .. } => {
            ("clock", Exit::Failed, "check the date of this machine; if it is right, the network stands still")
        }
        FirstListError::Forged { .. } | FirstListError::Incomplete { .. } | FirstListError::Record { .. } => {
            ("untrusted", Exit::Failed, "this bootstrap node lies or is broken: use another one")
        }
        _ => ("network", Exit::Network, "is the network up, and this machine connected?"),
    };
    CliError::new(exit, code, error.to_string()).hint(hint)
}

pub(super) fn describe(step: Step) -> String {
    match step {
        Step::Asking(node) => format!("asking     node {}", node.short()),
        Step::Header(height) => format!("header     of final block {height}"),
        Step::Buckets(have) => format!("node list  {have}/256 buckets"),
    }
}

fn step_json(step: Step) -> Value {
    let (name, number) = match step {
        Step::Asking(_) => ("asking", None),
        Step::Header(height) => ("header", Some(height.0)),
        Step::Buckets(have) => ("buckets", Some(have as u64)),
    };
    json!({ "v": 1, "type": "progress", "step": name, "number": number })
}

fn count(list: &NetworkList, state: NodeState) -> usize {
    list.nodes.values().filter(|record| record.state == state).count()
}

fn summary(genesis: &GenesisFile, list: &NetworkList) -> String {
    let header = &list.header.header;
    let mut text = format!(
        "OK         list of block {} checked against the genesis\nchain      {} ({})\n\
         nodes      {} registered: {} active, {} decommissioned, {} exiting\n",
        header.height,
        genesis.genesis.chain_id().short(),
        genesis.genesis.preset.name(),
        list.nodes.len(),
        count(list, NodeState::Active),
        count(list, NodeState::Decommissioned),
        count(list, NodeState::Exiting)
    );
    for (swarm, members) in list.swarms() {
        text.push_str(&format!("swarm      0x{swarm} {members} members\n"));
    }
    text + &format!("list root  {}", list.root())
}

fn summary_json(genesis: &GenesisFile, list: &NetworkList) -> Value {
    let swarms: serde_json::Map<_, _> =
        list.swarms().into_iter().map(|(swarm, members)| (format!("0x{swarm}"), members.into())).collect();
    json!({
        "v": 1, "type": "network", "chain": genesis.genesis.chain_id().to_string(),
        "preset": genesis.genesis.preset.name(), "height": list.header.header.height.0,
        "list_root": list.root().to_string(), "source": list.source.to_string(),
        "nodes": { "active": count(list, NodeState::Active), "decommissioned": count(list, NodeState::Decommissioned),
                   "exiting": count(list, NodeState::Exiting) },
        "swarms": swarms,
    })
}

fn print_nodes(context: &Context, list: &NetworkList) -> Result<(), CliError> {
    for record in list.nodes.values() {
        let addresses: Vec<_> = record.addresses.iter().map(ToString::to_string).collect();
        let swarm = record.swarm.map(|swarm| format!("0x{swarm}"));
        let document = json!({
            "v": 1, "type": "network.node", "id": record.node.to_string(), "state": record.state.name(),
            "swarm": swarm, "region": record.region.as_str(), "addresses": addresses,
        });
        let swarm = swarm.as_deref().unwrap_or("-");
        let text = format!("{}  {:<14} {swarm:<18} {}", record.node, record.state, addresses.join(" "));
        context.out.result(&document, text)?;
    }
    Ok(())
}
