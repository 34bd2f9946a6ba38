//! What the producer says about itself and the chain, as JSON documents. The command line reads the same types.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sotto_behaviours::network::Counts;
use sotto_proto::chain::{NodeState, ServiceNode};
use sotto_proto::id::{NodeId, PublicKey, TxId};
use sotto_proto::time::UnixMillis;

use crate::State;
use crate::process::report::FinalStatus;
use crate::process::resident_bytes;
use crate::producer::machine::{Fate, Machine};
use crate::producer::schedule::Pace;
use crate::producer::serve::VERSION;

/// The answer to `GET /status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of this document.
    pub v: u32,
    /// `chain.status`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether blocks are produced as the genesis says.
    pub ok: bool,
    /// One sentence for people.
    pub summary: String,
    /// The chain's id.
    pub chain: String,
    /// `mainnet` or `testnet`.
    pub preset: String,
    /// The newest block.
    pub tip: u64,
    /// The final height F.
    pub height: u64,
    /// The newest block's hash.
    pub block_hash: String,
    /// Its time, RFC 3339.
    pub time: String,
    /// Milliseconds between blocks by the genesis.
    pub block_time_ms: u64,
    /// `normal`, `stalled`, `slow` or `halted`.
    pub pace: String,
    /// Milliseconds between blocks now; `null` when none come.
    pub block_every_ms: Option<u64>,
    /// Registered nodes by state.
    pub nodes: BTreeMap<String, usize>,
    /// How many swarms there are.
    pub swarms: usize,
    /// Transactions that wait for a block.
    pub waiting_transactions: usize,
    /// Their bytes.
    pub waiting_bytes: usize,
    /// The faucet's account, if there is one.
    pub faucet: Option<String>,
    /// Connected registered nodes.
    pub connections: usize,
    /// Other connected peers.
    pub clients: usize,
    /// Milliseconds since the process started.
    pub uptime_ms: u64,
    /// Bytes of memory in RAM.
    pub rss_bytes: Option<u64>,
    /// The process.
    pub pid: u32,
    /// Its software's version.
    pub version: String,
    /// The recent final states, newest first.
    pub finals: Vec<FinalStatus>,
}

/// The answer to `GET /account/KEY`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountReport {
    /// Version of this document.
    pub v: u32,
    /// `chain.account`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The key.
    pub account: String,
    /// Coins after the newest block.
    pub balance: String,
    /// Nonce after the newest block.
    pub nonce: u64,
    /// The nonce of the next transaction, after those that wait.
    pub next_nonce: u64,
    /// The chain to sign for.
    pub chain: String,
}

/// The answer to `GET /tx/ID`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionReport {
    /// Version of this document.
    pub v: u32,
    /// `chain.tx`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The transaction.
    pub id: String,
    /// `waiting`, `included` or `dropped`.
    pub state: String,
    /// The block it is in.
    pub height: Option<u64>,
    /// Why it was dropped.
    pub reason: Option<String>,
}

/// The answer to `GET /stakes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stakes {
    /// Version of this document.
    pub v: u32,
    /// `chain.stakes`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The newest block.
    pub height: u64,
    /// Registered nodes.
    pub nodes: Vec<Stake>,
    /// Stakes of deregistered nodes that are still locked.
    pub locked: Vec<Locked>,
    /// Balances of all operators of the above.
    pub operators: BTreeMap<String, String>,
}

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stake {
    /// The node.
    pub node: String,
    /// Its operator.
    pub operator: String,
    /// `active`, `decommissioned` or `exiting`.
    pub state: String,
    /// Since which block.
    pub since: u64,
    /// The swarm, as `0x` and sixteen hex digits.
    pub swarm: Option<String>,
    /// Coins locked.
    pub stake: String,
    /// Blocks of credit.
    pub credit: u64,
    /// Coins earned.
    pub rewards: String,
    /// The last epoch it proved to be up in.
    pub proved_epoch: u64,
    /// Where it listens.
    pub addresses: Vec<String>,
    /// Where it says it stands.
    pub region: String,
}

/// A locked stake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locked {
    /// The node that was deregistered.
    pub node: String,
    /// Whose stake it is.
    pub operator: String,
    /// Coins locked.
    pub stake: String,
    /// The block that frees it.
    pub until: u64,
}

/// What the machine does not know about its process.
#[derive(Clone, Copy, Debug)]
pub struct Vitals {
    /// Connections by kind.
    pub counts: Counts,
    /// Since the process started.
    pub uptime: Duration,
}

/// The producer's status.
#[must_use]
pub fn status(machine: &Machine, vitals: Vitals) -> Status {
    let tip = machine.tip();
    let view = machine.view();
    let every = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let normal = tip.params().block_time_ms;
    let (pace, block_every_ms) = match (machine.halted(), machine.pace()) {
        (Some(_), _) => ("halted", None),
        (None, Pace::Normal) => ("normal", Some(normal)),
        (None, Pace::Stalled) => ("stalled", None),
        (None, Pace::Slow(time)) => ("slow", Some(every(time))),
    };
    Status {
        v: 1,
        kind: "chain.status".to_owned(),
        ok: pace == "normal",
        summary: summary(machine),
        chain: tip.chain().to_string(),
        preset: tip.founding().preset.name().to_owned(),
        tip: tip.height().0,
        height: view.current().height.0,
        block_hash: tip.tip_hash().to_string(),
        time: rfc3339(tip.time()),
        block_time_ms: normal,
        pace: pace.to_owned(),
        block_every_ms,
        nodes: nodes_by_state(tip),
        swarms: tip.swarms().len(),
        waiting_transactions: machine.pool().len(),
        waiting_bytes: machine.pool().bytes(),
        faucet: machine.faucet_account().map(|key| key.to_string()),
        connections: vitals.counts.nodes,
        clients: vitals.counts.clients,
        uptime_ms: every(vitals.uptime),
        rss_bytes: resident_bytes(),
        pid: std::process::id(),
        version: VERSION.to_owned(),
        finals: view.recent().map(FinalStatus::from).collect(),
    }
}

fn summary(machine: &Machine) -> String {
    let tip = machine.tip();
    let so_far = format!("block {}, {} nodes in {} swarms", tip.height(), tip.nodes().len(), tip.swarms().len());
    match (machine.halted(), machine.pace()) {
        (Some(reason), _) => format!("halted: {reason}"),
        (None, Pace::Normal) => format!("producing: {so_far}"),
        (None, Pace::Stalled) => format!("stalled on request: {so_far}"),
        (None, Pace::Slow(every)) => format!("slow on request (a block every {every:?}): {so_far}"),
    }
}

fn nodes_by_state(state: &State) -> BTreeMap<String, usize> {
    let states = [NodeState::Active, NodeState::Decommissioned, NodeState::Exiting];
    let mut counts: BTreeMap<String, usize> = states.iter().map(|state| (state.name().to_owned(), 0)).collect();
    for record in state.nodes().values() {
        *counts.entry(record.state.name().to_owned()).or_default() += 1;
    }
    counts
}

/// An account.
#[must_use]
pub fn account(machine: &Machine, key: &PublicKey) -> AccountReport {
    let account = machine.account(key);
    AccountReport {
        v: 1,
        kind: "chain.account".to_owned(),
        account: key.to_string(),
        balance: account.balance.to_string(),
        nonce: account.nonce,
        next_nonce: account.next_nonce,
        chain: machine.tip().chain().to_string(),
    }
}

/// What became of a transaction, if that is remembered.
#[must_use]
pub fn transaction(machine: &Machine, id: &TxId) -> Option<TransactionReport> {
    let (state, height, reason) = match machine.fate(id)? {
        Fate::Waiting => ("waiting", None, None),
        Fate::Included(height) => ("included", Some(height.0), None),
        Fate::Dropped(reason) => ("dropped", None, Some(reason)),
    };
    let (kind, state) = ("chain.tx".to_owned(), state.to_owned());
    Some(TransactionReport { v: 1, kind, id: id.to_string(), state, height, reason })
}

/// All stakes, or that of one node.
#[must_use]
pub fn stakes(machine: &Machine, only: Option<&NodeId>) -> Stakes {
    let state = machine.tip();
    let wanted = |node: &NodeId| only.is_none_or(|only| only == node);
    let nodes: Vec<&ServiceNode> = state.service_nodes().filter(|node| wanted(&node.record.node)).collect();
    let locked: Vec<_> = state.locked_stakes().filter(|(node, _)| wanted(node)).collect();
    let operators = nodes.iter().map(|node| node.record.operator).chain(locked.iter().map(|(_, lock)| lock.operator));
    Stakes {
        v: 1,
        kind: "chain.stakes".to_owned(),
        height: state.height().0,
        operators: operators.map(|key| (key.to_string(), state.account(&key).balance.to_string())).collect(),
        nodes: nodes.into_iter().map(|node| stake(state, node)).collect(),
        locked: locked
            .into_iter()
            .map(|(node, lock)| Locked {
                node: node.to_string(),
                operator: lock.operator.to_string(),
                stake: lock.amount.to_string(),
                until: lock.until.0,
            })
            .collect(),
    }
}

fn stake(state: &State, node: &ServiceNode) -> Stake {
    let record = &node.record;
    Stake {
        node: record.node.to_string(),
        operator: record.operator.to_string(),
        state: record.state.name().to_owned(),
        since: node.since.0,
        swarm: record.swarm.map(|swarm| format!("0x{swarm}")),
        stake: node.stake.to_string(),
        credit: state.credit(node),
        rewards: node.rewards.to_string(),
        proved_epoch: node.proved_epoch,
        addresses: record.addresses.iter().map(ToString::to_string).collect(),
        region: record.region.as_str().to_owned(),
    }
}

/// A time for people and programs.
#[must_use]
pub fn rfc3339(time: UnixMillis) -> String {
    // Block times are the authority's; the largest that this can be written for is in the year 9999.
    let millis = time.0.min(253_402_300_799_999);
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + Duration::from_millis(millis)).to_string()
}
