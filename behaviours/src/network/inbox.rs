//! Requests of peers from the moment they are read to their answer: how many may wait, and what they may cost.

use std::collections::BTreeMap;

use libp2p::request_response::InboundRequestId;
use sotto_proto::id::NodeId;
use sotto_proto::limits::REQUESTS_PER_PEER;
use sotto_proto::request::{ChainRequest, Error, MessageError};
use sotto_proto::time::Monotonic;

use super::outbox::Protocol;
use crate::chain_sync::allowance::{Allowances, REQUEST, TRANSACTION};

/// Requests of all peers that wait for their answers.
const REQUESTS: usize = 256;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: BTreeMap<(Protocol, InboundRequestId), NodeId>,
    allowances: Allowances,
}

impl Inbox {
    /// Books a request.
    ///
    /// # Errors
    /// The answer to one that is not served.
    pub(super) fn admit<Q: Priced>(
        &mut self,
        node: NodeId,
        protocol: Protocol,
        id: InboundRequestId,
        request: Result<Q, MessageError>,
        now: Monotonic,
    ) -> Result<Q, Error> {
        let of_peer = self.waiting.iter().filter(|((other, _), from)| *other == protocol && **from == node).count();
        let is_full = self.waiting.len() >= REQUESTS || of_peer >= REQUESTS_PER_PEER;
        self.waiting.insert((protocol, id), node);
        let request = request.map_err(|error| match error {
            MessageError::TooLarge { .. } => Error::TooLarge,
            MessageError::Protobuf(_) | MessageError::Missing(_) | MessageError::Field(_) => Error::Malformed,
        })?;
        if is_full {
            return Err(Error::Busy);
        }
        self.allowances.take(node, request.price(), now).map_err(|retry_after| Error::RateLimited { retry_after })?;
        Ok(request)
    }

    /// The answer was sent, or cannot be any more.
    pub(super) fn done(&mut self, protocol: Protocol, id: InboundRequestId) {
        self.waiting.remove(&(protocol, id));
    }

    /// An answer came to so many bytes.
    pub(super) fn charge(&mut self, node: NodeId, bytes: usize, now: Monotonic) {
        self.allowances.charge(node, bytes, now);
    }

    /// Forgets peers that may begin anew.
    pub(super) fn forget(&mut self, now: Monotonic) {
        self.allowances.forget(now);
    }
}

/// What a request costs before its answer is known.
pub(super) trait Priced {
    fn price(&self) -> usize;
}

impl Priced for ChainRequest {
    fn price(&self) -> usize {
        match self {
            Self::SubmitTransaction(_) => TRANSACTION,
            Self::Blocks { .. } | Self::Tip => REQUEST,
        }
    }
}

impl Priced for sotto_proto::request::ListRequest {
    fn price(&self) -> usize {
        REQUEST
    }
}

impl Priced for sotto_proto::request::StatusRequest {
    fn price(&self) -> usize {
        REQUEST
    }
}
