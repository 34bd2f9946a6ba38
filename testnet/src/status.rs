//! What a node says about itself on `/status`, and asking many of them at once.

use std::net::SocketAddrV4;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::http::{self, HttpError};

/// A node's answer, as far as the launcher needs it; other fields are left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Whether the node finds itself well.
    pub ok: bool,
    /// The same as a sentence.
    pub summary: String,
    /// Its public key in hex.
    pub node: String,
    /// `active`, `decommissioned`, `exiting`, `unregistered` or `joining`.
    pub state: String,
    /// Its swarm, `0x` and 16 digits.
    pub swarm: Option<String>,
    /// Height of its newest block.
    pub tip: u64,
    /// Height of its newest final block.
    pub height: u64,
    /// Whether it gave up following the chain, after a reorganisation deeper than finality.
    pub halted: bool,
    /// Whether it has caught up.
    pub synced: bool,
    /// Its peer-to-peer connections.
    pub connections: u64,
    /// Members of its swarm it is connected to, such as `9/9`.
    pub swarm_connected: String,
    /// Records it keeps.
    pub records: u64,
    /// Whether it is still taking over records from other members of its swarm.
    pub mail_syncing: bool,
    /// Records of its own swarm, but for those of the last seconds.
    pub swarm_items: u64,
    /// Their fingerprint in hex, the same at every member that has the same.
    pub swarm_digest: String,
    /// Its process.
    pub pid: u32,
    /// Its last final states, newest first.
    pub finals: Vec<Final>,
}

/// What a node derived at one final height.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Final {
    /// The height.
    pub height: u64,
    /// Hash of the block.
    pub block_hash: String,
    /// Root of the whole state.
    pub state_root: String,
    /// Root of the node list.
    pub list_root: String,
    /// Digest of the swarm map.
    pub swarm_map: String,
}

impl NodeStatus {
    /// Caught up, active and in a swarm.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.synced && !self.halted && self.state == "active" && self.swarm.is_some()
    }
}

/// Asks the process at `address` how it is.
///
/// # Errors
/// [`HttpError`] when it does not answer with JSON of the expected shape.
pub async fn ask(address: SocketAddrV4) -> Result<NodeStatus, HttpError> {
    let answer = http::get(address, "/status").await?;
    serde_json::from_value(answer).map_err(|_| HttpError::Unreadable("not a node's status"))
}

/// Asks the block producer for its newest height.
///
/// # Errors
/// [`HttpError`] when it does not answer, or without a height.
pub async fn producer_tip(address: SocketAddrV4) -> Result<u64, HttpError> {
    let answer = http::get(address, "/status").await?;
    ["tip", "height"]
        .into_iter()
        .find_map(|field| answer.get(field).and_then(Value::as_u64))
        .ok_or(HttpError::Unreadable("not a producer's status"))
}

/// Asks the block producer how many nodes are decommissioned.
///
/// # Errors
/// [`HttpError`] when it does not answer, or without that number.
pub async fn decommissioned(address: SocketAddrV4) -> Result<u64, HttpError> {
    let answer = http::get(address, "/status").await?;
    let number = answer.get("nodes").and_then(|nodes| nodes.get("decommissioned")).and_then(Value::as_u64);
    number.ok_or(HttpError::Unreadable("not a producer's status"))
}

/// Asks all at once; the answers come in the order of the addresses, `None` from those who gave none.
pub async fn ask_all(addresses: impl IntoIterator<Item = SocketAddrV4>) -> Vec<Option<NodeStatus>> {
    let mut tasks: JoinSet<(usize, Option<NodeStatus>)> = JoinSet::new();
    for (index, address) in addresses.into_iter().enumerate() {
        tasks.spawn(async move { (index, ask(address).await.ok()) });
    }
    let mut answers = tasks.join_all().await;
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, status)| status).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_missing_fields_are_tolerated() {
        let json = r#"{"v":1,"type":"node.status","ok":true,"state":"active","swarm":"0x0000000000000000","synced":true,
            "height":5,"finals":[{"height":5,"block_hash":"aa","state_root":"bb","list_root":"cc","swarm_map":"dd"}],
            "credit":300,"something_new":{}}"#;
        let status: NodeStatus = serde_json::from_str(json).unwrap();
        assert!(status.is_active());
        assert_eq!(status.finals[0].swarm_map, "dd");
    }

    #[test]
    fn a_node_without_swarm_or_behind_is_not_active() {
        let active = NodeStatus {
            synced: true,
            state: "active".to_owned(),
            swarm: Some("0x0000000000000000".to_owned()),
            ..NodeStatus::default()
        };
        assert!(active.is_active());
        assert!(!NodeStatus { swarm: None, ..active.clone() }.is_active());
        assert!(!NodeStatus { synced: false, ..active.clone() }.is_active());
        assert!(!NodeStatus { halted: true, ..active }.is_active());
    }
}
