//! Requests of peers from the moment they are read to their answer: how many may wait, and what they may cost.
//!
//! | what | bound |
//! | --- | --- |
//! | requests without an answer | [`REQUESTS`] |
//! | those of strangers among them | [`OF_STRANGERS`], so that nodes always have places left |
//! | those charged to one address | [`OF_ADDRESS`] |
//! | those of one protocol and peer | [`REQUESTS_PER_PEER`] |
//! | bytes of answers to strangers, from when they are asked for until they are read | [`BYTES_OF_STRANGERS`] |
//! | those charged to one of them | [`BYTES_OF_STRANGER`], so that one who does not read leaves room for others |
//! | payers remembered | [`NODES`] and [`STRANGERS`] |

use std::collections::BTreeMap;
use std::net::IpAddr;

use libp2p::request_response::InboundRequestId;
use sotto_proto::chain::{Buckets, SignedHeader};
use sotto_proto::id::NodeId;
use sotto_proto::limits::{ANSWERS_IN_FLIGHT, CHAIN_ANSWER_BYTES, LIST_ANSWER_BYTES, REQUESTS_PER_PEER};
use sotto_proto::request::{ChainRequest, Error, Item, ListRequest, MessageError, OfferRequest, RepairRequest};
use sotto_proto::time::Monotonic;

use super::outbox::Protocol;
use crate::chain_sync::allowance::{Allowances, Bucket, Payer, RECONCILIATION, REQUEST, TRANSACTION};

/// Requests of all peers that wait for their answers.
const REQUESTS: usize = 256;
/// Those of peers that are no nodes.
const OF_STRANGERS: usize = 192;
/// Those charged to one address.
const OF_ADDRESS: usize = 32;
/// Bytes of answers to peers that are no nodes, until they are sent: whoever does not read holds that much, and once more in
/// the streams.
const BYTES_OF_STRANGERS: usize = ANSWERS_IN_FLIGHT;
/// Those charged to one of them: two of the largest answers. Ours ask for one after the other.
const BYTES_OF_STRANGER: usize = BYTES_OF_STRANGERS / 4;
/// Nodes whose allowances are kept: more than are connected at once.
const NODES: usize = 4096;
/// Other payers whose allowances are kept.
const STRANGERS: usize = 4096;
/// What a stranger's transaction takes of what this node passes on for all of them together: at the producer one node
/// has the allowance of one, and half of it is for its own.
const RELAYED: usize = 2 * TRANSACTION;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) node: NodeId,
    pub(super) payer: Payer,
}

impl Asker {
    /// `address`: where its connection comes from, if addresses are told apart.
    pub(super) fn new(node: NodeId, is_node: bool, address: Option<IpAddr>) -> Self {
        let payer = match (is_node, address) {
            (true, _) => Payer::Node(node),
            (false, Some(address)) => Payer::Address(address),
            (false, None) => Payer::Peer(node),
        };
        Self { node, payer }
    }
}

/// A request without an answer.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    asker: Asker,
    /// Taken for the answer.
    taken: usize,
    /// Bytes of the answer: at most so many, and once it is there exactly.
    held: usize,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Inbox {
    waiting: BTreeMap<(Protocol, InboundRequestId), Waiting>,
    nodes: Allowances,
    strangers: Allowances,
    relayed: Bucket,
}

impl Inbox {
    pub(super) fn new(now: Monotonic) -> Self {
        Self {
            waiting: BTreeMap::new(),
            nodes: Allowances::new(NODES),
            strangers: Allowances::new(STRANGERS),
            relayed: Bucket::new(now),
        }
    }

    /// Books a request that is going to be served.
    ///
    /// # Errors
    /// The answer to one that is not.
    pub(super) fn admit<Q: Priced>(
        &mut self,
        asker: Asker,
        protocol: Protocol,
        id: InboundRequestId,
        request: Result<Q, MessageError>,
        now: Monotonic,
    ) -> Result<Q, Error> {
        let request = request.map_err(|error| match error {
            MessageError::TooLarge { .. } => Error::TooLarge,
            MessageError::Protobuf(_) | MessageError::Missing(_) | MessageError::Field(_) => Error::Malformed,
        })?;
        let taken = request.answer();
        if !self.has_room(&asker, protocol, taken) {
            return Err(Error::Busy);
        }
        self.allowances(&asker.payer)
            .take(asker.payer, request.price() + taken, now)
            .map_err(|retry_after| Error::RateLimited { retry_after })?;
        self.waiting.insert((protocol, id), Waiting { asker, taken, held: taken });
        Ok(request)
    }

    fn has_room(&self, asker: &Asker, protocol: Protocol, bytes: usize) -> bool {
        let held = |of: &dyn Fn(&Asker) -> bool| {
            let waiting = self.waiting.values().filter(|waiting| of(&waiting.asker));
            waiting.map(|waiting| waiting.held).fold(bytes, usize::saturating_add)
        };
        let has_bytes = || {
            held(&|waiting| !waiting.payer.is_node()) <= BYTES_OF_STRANGERS
                && held(&|waiting| waiting.payer == asker.payer) <= BYTES_OF_STRANGER
        };
        let count = |of: &dyn Fn(Protocol, &Asker) -> bool| {
            self.waiting.iter().filter(|((protocol, _), waiting)| of(*protocol, &waiting.asker)).count()
        };
        let of_peer = count(&|other, waiting| other == protocol && waiting.node == asker.node);
        let of_strangers = || count(&|_, waiting| !waiting.payer.is_node());
        let of_address = || count(&|_, waiting| waiting.payer == asker.payer);
        self.waiting.len() < REQUESTS
            && of_peer < REQUESTS_PER_PEER
            && (asker.payer.is_node() || (of_strangers() < OF_STRANGERS && of_address() < OF_ADDRESS && has_bytes()))
    }

    /// The answer comes to so many bytes.
    pub(super) fn answered(&mut self, protocol: Protocol, id: InboundRequestId, bytes: usize, now: Monotonic) {
        // Its asker may have gone, and then pays for what it asked for.
        let Some(waiting) = self.waiting.get_mut(&(protocol, id)) else { return };
        let (payer, taken) = (waiting.asker.payer, std::mem::take(&mut waiting.taken));
        waiting.held = bytes;
        self.allowances(&payer).settle(&payer, taken, bytes, now);
    }

    /// The answer was sent, or cannot be any more.
    pub(super) fn done(&mut self, protocol: Protocol, id: InboundRequestId) {
        self.waiting.remove(&(protocol, id));
    }

    /// Takes the price of passing on a transaction. Nodes pay at the producer, with their own.
    ///
    /// # Errors
    /// The answer, if strangers have had enough passed on for now.
    pub(super) fn relay(&mut self, asker: &Asker, now: Monotonic) -> Result<(), Error> {
        if asker.payer.is_node() {
            return Ok(());
        }
        self.relayed.take(RELAYED, now).map_err(|retry_after| Error::RateLimited { retry_after })
    }

    /// Forgets payers that may begin anew.
    pub(super) fn forget(&mut self, now: Monotonic) {
        self.nodes.forget(now);
        self.strangers.forget(now);
    }

    const fn allowances(&mut self, payer: &Payer) -> &mut Allowances {
        if payer.is_node() { &mut self.nodes } else { &mut self.strangers }
    }
}

/// What a request costs.
pub(super) trait Priced {
    /// Whatever the answer is.
    fn price(&self) -> usize;

    /// Bytes that the answer may come to.
    fn answer(&self) -> usize;
}

impl Priced for ChainRequest {
    fn price(&self) -> usize {
        match self {
            Self::SubmitTransaction(_) => TRANSACTION,
            Self::Blocks { .. } | Self::Tip => REQUEST,
        }
    }

    fn answer(&self) -> usize {
        match self {
            Self::Blocks { max_bytes, .. } => usize::try_from(*max_bytes).unwrap_or(usize::MAX).min(CHAIN_ANSWER_BYTES),
            Self::SubmitTransaction(_) | Self::Tip => 0,
        }
    }
}

impl Priced for ListRequest {
    fn price(&self) -> usize {
        REQUEST
    }

    fn answer(&self) -> usize {
        match self {
            Self::Buckets { .. } => LIST_ANSWER_BYTES,
            Self::Hashes { .. } => Buckets::LEN,
            Self::Headers { count, .. } => usize::from(*count) * SignedHeader::LEN,
            Self::Info => 0,
        }
    }
}

impl Priced for sotto_proto::request::StatusRequest {
    fn price(&self) -> usize {
        REQUEST
    }

    fn answer(&self) -> usize {
        0
    }
}

/// Members may have all that is stored here as fast as they can take it; what is held is the work they make.
impl Priced for RepairRequest {
    fn price(&self) -> usize {
        match self {
            Self::Summary(_) | Self::Fetch { .. } => REQUEST,
            Self::Reconcile { .. } => RECONCILIATION,
            Self::Give { items, .. } => REQUEST + handed(items),
        }
    }

    fn answer(&self) -> usize {
        0
    }
}

impl Priced for OfferRequest {
    fn price(&self) -> usize {
        match self {
            Self::Offer(_) => REQUEST,
            Self::Hand(items) => REQUEST + handed(items),
        }
    }

    fn answer(&self) -> usize {
        0
    }
}

/// What is brought costs an eighth of what is fetched: 2 MiB a second, each item to be judged.
fn handed(items: &[Item]) -> usize {
    items.iter().map(Item::len).sum::<usize>() / 8
}
