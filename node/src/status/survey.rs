//! How peers see the node, as `sotto-node doctor --ask-peers N --json` shows it.

use serde::{Deserialize, Serialize};

use super::peers::PeerDirection;

/// A node in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedStatus {
    /// `active`, `decommissioned` or `exiting`.
    pub state: String,
    /// Where it can be reached.
    pub addresses: Vec<String>,
}

/// What a peer answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAnswerStatus {
    /// Its key.
    pub peer: String,
    /// Who dialled: if it was the peer, it can reach the node.
    pub direction: Option<PeerDirection>,
    /// How long its first answer took; `null`, like what follows, if there was none.
    pub round_trip_ms: Option<u64>,
    /// Its final height.
    pub height: Option<u64>,
    /// How much its clock is ahead, give or take half the round trip.
    pub clock_ahead_ms: Option<i64>,
    /// Its software's version.
    pub version: Option<String>,
    /// Whether it has shown what its list has of the node.
    pub shown_record: bool,
    /// What that is; `null` if the node is not in there.
    pub listed: Option<ListedStatus>,
    /// Why there is no more.
    pub failure: Option<String>,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SurveyStatus {
    /// Version of this document.
    pub v: u32,
    /// `node.survey`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The key of the node that asked.
    pub node: String,
    /// Its final height.
    pub height: u64,
    /// What its own list has of it.
    pub own: Option<ListedStatus>,
    /// What those that were asked answered, in no order.
    pub answers: Vec<PeerAnswerStatus>,
}

impl SurveyStatus {
    /// Version of the document.
    pub const VERSION: u32 = 1;
    /// Its type.
    pub const TYPE: &'static str = "node.survey";
}
