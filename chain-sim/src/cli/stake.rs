//! `sotto-chain stake`: who has staked what.

use std::fmt::Write as _;

use sotto_chain::producer::report::{Stake, Stakes};
use sotto_proto::id::NodeId;

use super::Globals;
use super::console::Console;
use super::failure::Failure;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only this node, with everything about it
    #[arg(long, value_name = "NODE")]
    node: Option<NodeId>,
}

pub(super) fn run(globals: &Globals, arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let client = globals.client()?;
    let stakes: Stakes = match arguments.node {
        Some(node) => client.get(&format!("/stakes/{node}"))?,
        None => client.get("/stakes")?,
    };
    let text = if arguments.node.is_some() { details(&stakes) } else { table(&stakes) };
    console.result(&text, &stakes)
}

/// Keys are cut: `--json` and `--node` give them whole.
fn short(key: &str) -> &str {
    key.get(..8).unwrap_or(key)
}

fn table(stakes: &Stakes) -> String {
    let mut text = format!(
        "{:<9} {:<9} {:<15} {:<19} {:>8} {:>7} {:>8}\n",
        "NODE", "OPERATOR", "STATE", "SWARM", "STAKE", "CREDIT", "REWARDS"
    );
    for node in &stakes.nodes {
        let swarm = node.swarm.as_deref().unwrap_or("-");
        let _ = writeln!(
            text,
            "{:<9} {:<9} {:<15} {swarm:<19} {:>8} {:>7} {:>8}",
            short(&node.node),
            short(&node.operator),
            node.state,
            node.stake,
            node.credit,
            node.rewards
        );
    }
    for lock in &stakes.locked {
        let state = format!("locked to {}", lock.until);
        let _ = writeln!(
            text,
            "{:<9} {:<9} {state:<15} {:<19} {:>8} {:>7} {:>8}",
            short(&lock.node),
            short(&lock.operator),
            "-",
            lock.stake,
            "-",
            "-"
        );
    }
    let _ = writeln!(
        text,
        "\n{} nodes, {} locked stakes at block {}",
        stakes.nodes.len(),
        stakes.locked.len(),
        stakes.height
    );
    let _ = writeln!(text, "\nOPERATOR  BALANCE");
    for (operator, balance) in &stakes.operators {
        let _ = writeln!(text, "{:<9} {balance}", short(operator));
    }
    text
}

fn details(stakes: &Stakes) -> String {
    let balance = |operator: &str| stakes.operators.get(operator).map_or("0", String::as_str).to_owned();
    let of_node = |node: &Stake| {
        format!(
            "node       {}\noperator   {} (balance {})\nstate      {} since block {}\nswarm      {}\nstake      {}\n\
             credit     {} blocks\nrewards    {}\nproved     epoch {}\nregion     {}\naddresses  {}\n",
            node.node,
            node.operator,
            balance(&node.operator),
            node.state,
            node.since,
            node.swarm.as_deref().unwrap_or("none"),
            node.stake,
            node.credit,
            node.rewards,
            node.proved_epoch,
            if node.region.is_empty() { "-" } else { &node.region },
            node.addresses.join(" "),
        )
    };
    let mut text: String = stakes.nodes.iter().map(of_node).collect();
    for lock in &stakes.locked {
        let _ = writeln!(
            text,
            "node       {}\noperator   {} (balance {})\nstate      deregistered, stake locked until block {}\nstake      {}",
            lock.node,
            lock.operator,
            balance(&lock.operator),
            lock.until,
            lock.stake
        );
    }
    text
}
