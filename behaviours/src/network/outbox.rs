//! Own requests from the moment they are made to their answer.

use std::collections::BTreeMap;

use libp2p::request_response::OutboundRequestId;
use sotto_proto::id::NodeId;
use sotto_proto::limits::REQUESTS_PER_PEER;
use sotto_proto::time::Monotonic;

use super::{FetchId, Request, RequestId};

/// Requests of all purposes to all peers, waiting and sent. Sync and status need some dozens.
const REQUESTS: usize = 1024;

/// A protocol of requests and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Chain,
    List,
    Status,
    Repair,
    Offer,
}

impl Request {
    pub(super) const fn protocol(&self) -> Protocol {
        match self {
            Self::Chain(_) => Protocol::Chain,
            Self::List(_) => Protocol::List,
            Self::Status(_) => Protocol::Status,
            Self::Repair(_) => Protocol::Repair,
            Self::Offer(_) => Protocol::Offer,
        }
    }
}

/// Who is to hear of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The owner of the network.
    Caller(RequestId),
    /// Chain sync, about the peer's tip.
    Tip,
    /// Chain sync, about blocks.
    Fetch(FetchId),
    /// The clock comparison; asked then.
    Status(Monotonic),
    /// A transaction under way.
    Transaction(RequestId),
}

/// A request that waits for a connection.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) purpose: Purpose,
    pub(super) request: Request,
    until: Monotonic,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: BTreeMap<NodeId, Vec<Waiting>>,
    sent: BTreeMap<(Protocol, OutboundRequestId), (NodeId, Purpose)>,
}

impl Outbox {
    /// Whether there is room for one more to `node`.
    pub(super) fn has_room(&self, node: &NodeId, protocol: Protocol) -> bool {
        let waiting_all: usize = self.waiting.values().map(Vec::len).sum();
        let waiting =
            self.waiting.get(node).into_iter().flatten().filter(|waiting| waiting.request.protocol() == protocol);
        let sent = self.sent.iter().filter(|((other, _), (to, _))| *other == protocol && to == node);
        waiting_all + self.sent.len() < REQUESTS && waiting.count() + sent.count() < REQUESTS_PER_PEER
    }

    pub(super) fn wait(&mut self, node: NodeId, purpose: Purpose, request: Request, until: Monotonic) {
        self.waiting.entry(node).or_default().push(Waiting { purpose, request, until });
    }

    /// What waited for a connection with `node`.
    pub(super) fn take_waiting(&mut self, node: &NodeId) -> Vec<Waiting> {
        self.waiting.remove(node).unwrap_or_default()
    }

    /// What has waited for too long.
    pub(super) fn expired(&mut self, now: Monotonic) -> Vec<(NodeId, Purpose)> {
        let mut expired = Vec::new();
        self.waiting.retain(|node, waiting| {
            waiting.retain(|waiting| {
                if waiting.until <= now {
                    expired.push((*node, waiting.purpose));
                }
                waiting.until > now
            });
            !waiting.is_empty()
        });
        expired
    }

    pub(super) fn sent(&mut self, node: NodeId, purpose: Purpose, protocol: Protocol, id: OutboundRequestId) {
        self.sent.insert((protocol, id), (node, purpose));
    }

    pub(super) fn answered(&mut self, protocol: Protocol, id: OutboundRequestId) -> Option<(NodeId, Purpose)> {
        self.sent.remove(&(protocol, id))
    }
}
