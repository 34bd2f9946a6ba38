//! Protocol `status`: what registered nodes tell their neighbours, so that a wrong clock and a node that is behind show.

use super::{Message, MessageError};
use crate::id::Height;
use crate::limits::STATUS_MAX;
use crate::time::UnixMillis;
use crate::wire;

/// The asker's clock and final height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRequest {
    /// Its clock.
    pub time: UnixMillis,
    /// Its final height.
    pub final_height: Height,
}

/// The same of the node that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusResponse {
    /// Its clock.
    pub time: UnixMillis,
    /// Its final height.
    pub final_height: Height,
}

impl Message for StatusRequest {
    type Wire = wire::StatusRequest;
    const MAX_BYTES: usize = STATUS_MAX;
}

impl Message for StatusResponse {
    type Wire = wire::StatusResponse;
    const MAX_BYTES: usize = STATUS_MAX;
}

impl From<StatusRequest> for wire::StatusRequest {
    fn from(status: StatusRequest) -> Self {
        Self { time_ms: status.time.0, final_height: status.final_height.0 }
    }
}

impl TryFrom<wire::StatusRequest> for StatusRequest {
    type Error = MessageError;

    fn try_from(status: wire::StatusRequest) -> Result<Self, MessageError> {
        Ok(Self { time: UnixMillis(status.time_ms), final_height: Height(status.final_height) })
    }
}

impl From<StatusResponse> for wire::StatusResponse {
    fn from(status: StatusResponse) -> Self {
        Self { time_ms: status.time.0, final_height: status.final_height.0 }
    }
}

impl TryFrom<wire::StatusResponse> for StatusResponse {
    type Error = MessageError;

    fn try_from(status: wire::StatusResponse) -> Result<Self, MessageError> {
        Ok(Self { time: UnixMillis(status.time_ms), final_height: Height(status.final_height) })
    }
}
