//! The node's swarm as the node sees it, as `sotto-node swarm show --json` shows it.

use serde::{Deserialize, Serialize};

/// A member of the swarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its key.
    pub node: String,
    /// Whether it is the node that answers.
    pub own: bool,
    /// Addresses the chain has of it.
    pub addresses: Vec<String>,
    /// Whether the node is connected with it now.
    pub connected: bool,
    /// How long ago it last said whether it has the same records and tombstones; `null` if it has not, since the node
    /// started or came into the swarm.
    pub compared_ms_ago: Option<u64>,
    /// Whether it had the same then, but for those of the last seconds and of the next minutes.
    pub agrees: Option<bool>,
}

/// The swarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmStatus {
    /// Version of this document.
    pub v: u32,
    /// `node.swarm`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The key of the node that answers.
    pub node: String,
    /// Its swarm; `null` if it is in none.
    pub swarm: Option<String>,
    /// Height of the final block after which this is so.
    pub height: u64,
    /// Everybody in the swarm, in the order of their keys.
    pub members: Vec<MemberStatus>,
    /// Records the node keeps, those that other swarms own included.
    pub records: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Records and tombstones that other swarms own and have not confirmed yet.
    pub to_hand_over: usize,
    /// Whether the node is still taking over records from other members.
    pub syncing: bool,
    /// Records and tombstones of the own swarm, but for those of the last seconds and of the next minutes.
    pub items: u64,
    /// Their fingerprint in hex, the same at every member that has the same.
    pub digest: String,
}

impl SwarmStatus {
    /// Version of the document.
    pub const VERSION: u32 = 1;
    /// Its type.
    pub const TYPE: &'static str = "node.swarm";
}
