//! Parts of status documents that all programs show alike, so that they can be compared.

use serde::{Deserialize, Serialize};
use sotto_proto::network::Snapshot;

/// A final block and what follows from it. Whoever agrees shows the same for the same height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalStatus {
    /// The block's height.
    pub height: u64,
    /// The block's hash.
    pub block_hash: String,
    /// Root of the state tree after it.
    pub state_root: String,
    /// Root of the node list after it.
    pub list_root: String,
    /// Digest of the swarm map after it.
    pub swarm_map: String,
}

impl From<&Snapshot> for FinalStatus {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            height: snapshot.height.0,
            block_hash: snapshot.block_hash.to_string(),
            state_root: snapshot.state_root.to_string(),
            list_root: snapshot.list_root.to_string(),
            swarm_map: snapshot.swarms.digest().to_string(),
        }
    }
}
