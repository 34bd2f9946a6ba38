//! What a node says of itself, as `/status` and `sotto-node status --json` show it.

pub mod drain;
pub mod peers;
pub mod store;
pub mod survey;
pub mod swarm;

use std::fmt;

use serde::{Deserialize, Serialize};
pub use sotto_chain::process::report::FinalStatus;

/// How the node is, in one word. The first word of `sotto-node status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It does what it should.
    Ok,
    /// It is on its way there and needs nobody.
    Starting,
    /// Somebody must look.
    Problem,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Starting => "STARTING",
            Self::Problem => "PROBLEM",
        })
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A fixed name for programs.
    pub code: String,
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub advice: String,
}

/// Two blocks of one height that the producer signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceStatus {
    /// The height.
    pub height: u64,
    /// Hash of the block that was on the chain when the other came.
    pub first: String,
    /// Hash of the other.
    pub second: String,
}

/// A database that was damaged when the node started, so that another one was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageStatus {
    /// Its name in the data directory now.
    pub aside: String,
    /// Records that could be copied from it; the others are fetched from members.
    pub records: u64,
}

/// A node's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Version of this document.
    pub v: u32,
    /// `node.status`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether nothing is wrong.
    pub ok: bool,
    /// Whether the node does everything it should.
    pub ready: bool,
    /// The same in one word.
    pub phase: Phase,
    /// The same in one sentence.
    pub summary: String,
    /// Everything that is wrong, worst first.
    pub problems: Vec<Problem>,
    /// What its operator calls it.
    pub moniker: String,
    /// Its key.
    pub node: String,
    /// Its operator's key, if known.
    pub operator: Option<String>,
    /// The chain.
    pub chain: String,
    /// `active`, `decommissioned`, `exiting`, `joining` or `unregistered`.
    pub state: String,
    /// Its swarm.
    pub swarm: Option<String>,
    /// Height of the newest block.
    pub tip: u64,
    /// Height of the newest final block.
    pub height: u64,
    /// Height that its peers have, if it is behind them.
    pub behind: Option<u64>,
    /// A fork below the final block was seen; swarms no longer change.
    pub halted: bool,
    /// Whether it has all blocks that its peers have.
    pub synced: bool,
    /// Time of the newest block, Unix milliseconds, if no block has come for suspiciously long.
    pub silent_since_ms: Option<u64>,
    /// Connected nodes.
    pub connections: usize,
    /// Connected peers that are not nodes.
    pub clients: usize,
    /// Connected members of the own swarm, of how many.
    pub swarm_connected: String,
    /// Median distance of the peers' clocks; `null` before three answered.
    pub clock_offset_ms: Option<i64>,
    /// Blocks the node may be decommissioned before it is deregistered.
    pub credit: u64,
    /// Blocks until a missing uptime proof counts against it.
    pub uptime_due_in_blocks: Option<u64>,
    /// What it has earned, in coins.
    pub rewards: String,
    /// What its operator has locked for it, in coins.
    pub stake: String,
    /// Addresses the chain has of it.
    pub addresses: Vec<String>,
    /// Where it listens.
    pub listen: Option<String>,
    /// Records it keeps for its swarm.
    #[serde(default)]
    pub records: usize,
    /// Their bytes.
    #[serde(default)]
    pub stored_bytes: u64,
    /// Whether it turns senders away for lack of room.
    #[serde(default)]
    pub mail_full: bool,
    /// Whether it is still taking over records from other members.
    #[serde(default)]
    pub mail_syncing: bool,
    /// Records and tombstones of its own swarm, but for those of the last seconds and of the next minutes.
    #[serde(default)]
    pub swarm_items: u64,
    /// Their fingerprint in hex, the same at every member that has the same.
    #[serde(default)]
    pub swarm_digest: String,
    /// Unix milliseconds of the next change of its X25519 key.
    pub key_rotation_ms: Option<u64>,
    /// Memory in RAM.
    pub rss_bytes: u64,
    /// Process id.
    pub pid: u32,
    /// How long it has been running.
    pub uptime_ms: u64,
    /// Its software's version.
    pub version: String,
    /// What became of a damaged database at the last start.
    #[serde(default)]
    pub damage: Option<DamageStatus>,
    /// What is known against the producer, newest first; the last 16, also from before a restart.
    #[serde(default)]
    pub evidence: Vec<EvidenceStatus>,
    /// The last final blocks, newest first.
    pub finals: Vec<FinalStatus>,
}

impl NodeStatus {
    /// Version of the document.
    pub const VERSION: u32 = 1;
    /// Its type.
    pub const TYPE: &'static str = "node.status";
}
