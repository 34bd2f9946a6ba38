//! What the node stores, as `sotto-node store stats --json` shows it. Nothing here says whose it is.

use serde::{Deserialize, Serialize};

/// What there is, and what has become of things since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Version of this document.
    pub v: u32,
    /// `node.store`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether all that is on disk is known; until then the numbers below still grow.
    pub loaded: bool,
    /// Records.
    pub records: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Records that clients are refused above.
    pub records_limit: usize,
    /// Bytes that clients are refused above.
    pub bytes_limit: u64,
    /// Whether senders are turned away for lack of room.
    pub full: bool,
    /// What is left of deleted records until those would have expired.
    pub tombstones: usize,
    /// Records and tombstones that other swarms own and have not confirmed yet.
    pub to_hand_over: usize,
    /// Records that clients stored since the start.
    pub from_clients: u64,
    /// Records that came by gossip since then.
    pub from_gossip: u64,
    /// Records that other members handed over since then.
    pub from_repair: u64,
    /// Records that expired since then.
    pub expired: u64,
    /// Records that were deleted since then.
    pub deleted: u64,
    /// Records and tombstones that went since then because the swarm that owns them has them.
    pub handed_over: u64,
    /// Records and rows that were found damaged since then.
    pub damaged: u64,
}

impl StoreStatus {
    /// Version of the document.
    pub const VERSION: u32 = 1;
    /// Its type.
    pub const TYPE: &'static str = "node.store";
}
