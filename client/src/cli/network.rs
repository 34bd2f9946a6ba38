//! `sotto network`: the node list as a client sees it.

use clap::Subcommand;
use sotto_proto::chain::{GenesisFile, MAX_GENESIS_FILE_BYTES, NodeState};

use super::{Failure, Global, exit};
use crate::network::{FirstListError, NetworkList, Step, fetch};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// How many nodes and swarms there are.
    Show,
    /// Every registered node.
    Nodes,
}

pub(super) fn run(verb: &Verb, global: &Global) -> Result<(), Failure> {
    let genesis = read_genesis(global)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| Failure {
        code: "runtime",
        exit: exit::FAILED,
        message: format!("cannot start: {error}"),
        hint: "is the limit of open files reached? see: ulimit -n",
    })?;
    let show = !global.quiet && !global.json;
    let list = runtime
        .block_on(fetch(&genesis, global.patience(), |step| {
            if show {
                eprintln!("{}", describe(step));
            }
        }))
        .map_err(failure)?;
    match (verb, global.json) {
        (Verb::Show, true) => println!("{}", summary_json(&genesis, &list)),
        (Verb::Show, false) => print_summary(&genesis, &list),
        (Verb::Nodes, json) => print_nodes(&list, json),
    }
    Ok(())
}

fn read_genesis(global: &Global) -> Result<GenesisFile, Failure> {
    let wrong = |message| Failure {
        code: "genesis",
        exit: exit::FAILED,
        message,
        hint: "a network's genesis file comes from whoever runs it; a local testnet has one at testnet/data/dev/genesis.json",
    };
    let path = global.genesis.as_ref().ok_or_else(|| wrong("which network? --genesis FILE says it".to_owned()))?;
    let bytes = std::fs::metadata(path).map_err(|error| wrong(format!("{}: {error}", path.display())))?.len();
    if bytes > MAX_GENESIS_FILE_BYTES as u64 {
        return Err(wrong(format!("{}: {bytes} bytes is too large for a genesis file", path.display())));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
    GenesisFile::from_json(&text).map_err(|error| wrong(format!("{}: {error}", path.display())))
}

fn failure(error: FirstListError) -> Failure {
    let (code, exit, hint) = match &error {
        FirstListError::Timeout(_) => {
            ("timeout", exit::TIMEOUT, "is the network up? try again, or with a longer --timeout")
        }
        FirstListError::NobodyToAsk => {
            ("genesis", exit::FAILED, "take a genesis file with the addresses of bootstrap nodes")
        }
        FirstListError::OtherGenesis { .. } => {
            ("other_genesis", exit::FAILED, "is this the genesis file of the network you mean?")
        }
        FirstListError::Time { .. } => {
            ("clock", exit::FAILED, "check the date of this machine; if it is right, the network stands still")
        }
        FirstListError::Forged { .. } | FirstListError::Incomplete { .. } | FirstListError::Record { .. } => {
            ("untrusted", exit::FAILED, "this bootstrap node lies or is broken: use another one")
        }
        _ => ("network", exit::NETWORK, "is the network up, and this machine connected?"),
    };
    Failure { code, exit, message: error.to_string(), hint }
}

fn describe(step: Step) -> String {
    match step {
        Step::Asking(node) => format!("asking     node {}", node.short()),
        Step::Header(height) => format!("header     of final block {height}"),
        Step::Buckets(have) => format!("node list  {have}/256 buckets"),
    }
}

fn count(list: &NetworkList, state: NodeState) -> usize {
    list.nodes.values().filter(|record| record.state == state).count()
}

fn print_summary(genesis: &GenesisFile, list: &NetworkList) {
    let header = &list.header.header;
    println!("OK         list of block {} checked against the genesis", header.height);
    println!("chain      {} ({})", genesis.genesis.chain_id().short(), genesis.genesis.preset.name());
    println!(
        "nodes      {} registered: {} active, {} decommissioned, {} exiting",
        list.nodes.len(),
        count(list, NodeState::Active),
        count(list, NodeState::Decommissioned),
        count(list, NodeState::Exiting)
    );
    for (swarm, members) in list.swarms() {
        println!("swarm      0x{swarm} {members} members");
    }
    println!("list root  {}", list.root());
}

fn summary_json(genesis: &GenesisFile, list: &NetworkList) -> serde_json::Value {
    let swarms: serde_json::Map<_, _> =
        list.swarms().into_iter().map(|(swarm, members)| (format!("0x{swarm}"), members.into())).collect();
    serde_json::json!({
        "v": 1, "type": "network", "chain": genesis.genesis.chain_id().to_string(),
        "preset": genesis.genesis.preset.name(), "height": list.header.header.height.0,
        "list_root": list.root().to_string(), "source": list.source.to_string(),
        "nodes": { "active": count(list, NodeState::Active), "decommissioned": count(list, NodeState::Decommissioned),
                   "exiting": count(list, NodeState::Exiting) },
        "swarms": swarms,
    })
}

fn print_nodes(list: &NetworkList, json: bool) {
    for record in list.nodes.values() {
        let addresses: Vec<_> = record.addresses.iter().map(ToString::to_string).collect();
        let swarm = record.swarm.map(|swarm| format!("0x{swarm}"));
        if json {
            let line = serde_json::json!({
                "v": 1, "type": "network.node", "id": record.node.to_string(), "state": record.state.name(),
                "swarm": swarm, "region": record.region.as_str(), "addresses": addresses,
            });
            println!("{line}");
        } else {
            let swarm = swarm.as_deref().unwrap_or("-");
            println!("{}  {:<14} {swarm:<18} {}", record.node, record.state, addresses.join(" "));
        }
    }
}
