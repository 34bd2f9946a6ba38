//! How far draining is, as `sotto-node drain --json` shows it.

use serde::{Deserialize, Serialize};

/// What a node would take with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainStatus {
    /// Version of this document.
    pub v: u32,
    /// `node.drain`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The key of the node that answers.
    pub node: String,
    /// Its state, as in its status.
    pub state: String,
    /// Its swarm; `null` if it is in none.
    pub swarm: Option<String>,
    /// Whether it drains: it turns new messages away.
    pub draining: bool,
    /// Whether it drains and nothing is left, so that it can be stopped.
    pub done: bool,
    /// Records and tombstones of its swarm that were here when it began and that fewer than `needed` other members are
    /// known to have on disk; `null` if it does not drain or has not counted yet.
    pub left: Option<usize>,
    /// Records and tombstones that other swarms own and have not confirmed yet.
    pub to_hand_over: usize,
    /// Records the node keeps.
    pub records: usize,
    /// Other members of its swarm.
    pub members: usize,
    /// How many of them must have what is here: two, or all if there are fewer, and never none.
    pub needed: usize,
}

impl DrainStatus {
    /// Version of the document.
    pub const VERSION: u32 = 1;
    /// Its type.
    pub const TYPE: &'static str = "node.drain";
}
