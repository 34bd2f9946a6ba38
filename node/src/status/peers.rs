//! Who is connected, as `sotto-node peers --json` shows it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a peer is to the node. In the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerClass {
    /// A member of its swarm.
    Member,
    /// Another registered node, or one it was told to start from.
    Node,
    /// The producer of blocks.
    Chain,
    /// Anybody else.
    Client,
}

impl fmt::Display for PeerClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Member => "member",
            Self::Node => "node",
            Self::Chain => "chain",
            Self::Client => "client",
        })
    }
}

/// Who dialled. A connection that the peer made shows that others can reach the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerDirection {
    /// The peer.
    In,
    /// The node.
    Out,
    /// Both at once: there are two connections.
    Both,
}

impl fmt::Display for PeerDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Both => "both",
        })
    }
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its key.
    pub peer: String,
    /// What it is.
    pub class: PeerClass,
    /// Who dialled; `null` if the connection has just ended.
    #[serde(default)]
    pub direction: Option<PeerDirection>,
    /// Addresses the chain has of it; none for whoever is not registered.
    pub registered_addresses: Vec<String>,
    /// How long it has been connected.
    pub connected_ms: Option<u64>,
}

/// A peer that is kept out for a while because it gossiped what is provably invalid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BannedStatus {
    /// Its key.
    pub peer: String,
    /// Unix milliseconds until when.
    pub until_ms: u64,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeersStatus {
    /// Version of this document.
    pub v: u32,
    /// `node.peers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How many there are.
    pub count: usize,
    /// They, by class and key; as many as connections are allowed, or fewer if fewer were asked for.
    pub peers: Vec<PeerStatus>,
    /// Whoever is kept out, by key; forgotten when the node restarts.
    #[serde(default)]
    pub banned: Vec<BannedStatus>,
}

impl PeersStatus {
    /// Version of the document.
    pub const VERSION: u32 = 1;
    /// Its type.
    pub const TYPE: &'static str = "node.peers";
}
