//! What peers may ask, and the answers. Everything comes from the view, from the tip, or from stored blocks.

use std::collections::{BTreeMap, BTreeSet};

use sotto_behaviours::network::{Request, Response};
use sotto_proto::id::{Height, NodeId};
use sotto_proto::limits::{CHAIN_ANSWER_BLOCKS, CHAIN_ANSWER_BYTES, LIST_ANSWER_BYTES};
use sotto_proto::network::{NetworkView, Snapshot};
use sotto_proto::request::{
    ChainRequest, ChainResponse, Error, Info, Line, ListRequest, ListResponse, OfferResponse, RepairResponse,
    StatusResponse,
};
use sotto_proto::time::UnixMillis;

use super::message::{ChainUpdate, Outgoing, Part, ReplyId};
use crate::store::Limit;

/// The software's version, as peers see it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The answer to a request, or where to read it.
pub(super) fn answer(
    me: &NodeId,
    chain: Option<&ChainUpdate>,
    reply: ReplyId,
    request: Request,
    now: UnixMillis,
) -> Outgoing {
    let respond = |response| Outgoing::Response { reply, response };
    let Some(chain) = chain else { return respond(busy(&request)) };
    let tip = chain.tip.height();
    match request {
        Request::Chain(ChainRequest::Blocks { from, max_bytes }) => {
            // Block 0 has no bytes: everybody has the genesis.
            let from = from.max(Height(1));
            let bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX).min(CHAIN_ANSWER_BYTES);
            if from > tip {
                return respond(Response::Chain(ChainResponse::Blocks { blocks: Vec::new(), tip }));
            }
            let limit = Limit { bytes, count: CHAIN_ANSWER_BLOCKS };
            Outgoing::Stored { reply, part: Part::Blocks, from, limit, tip }
        }
        Request::Chain(ChainRequest::Tip) => {
            respond(Response::Chain(ChainResponse::Tip { height: tip, hash: chain.tip.tip_hash() }))
        }
        // Transactions never come up at a node: they are passed on to the producer below this machine.
        Request::Chain(ChainRequest::SubmitTransaction(_)) => {
            respond(Response::Chain(ChainResponse::Error(Error::Busy)))
        }
        Request::List(ListRequest::Info) => respond(Response::List(ListResponse::Info(info(me, &chain.view, now)))),
        Request::List(ListRequest::Headers { from, count }) => {
            let limit = Limit { bytes: CHAIN_ANSWER_BYTES, count: count.into() };
            Outgoing::Stored { reply, part: Part::Headers, from: from.max(Height(1)), limit, tip }
        }
        Request::List(ListRequest::Buckets { height, buckets }) => {
            respond(Response::List(at(&chain.view, height, |state| self::buckets(state, buckets))))
        }
        Request::List(ListRequest::Hashes { height }) => respond(Response::List(at(&chain.view, height, hashes))),
        Request::Status(_) => {
            respond(Response::Status(StatusResponse { time: now, final_height: chain.view.current().height }))
        }
        // Answered by the mail; they do not come here.
        Request::Repair(_) | Request::Offer(_) => respond(busy(&request)),
    }
}

/// Until the chain is known nothing can be said.
pub(super) const fn busy(request: &Request) -> Response {
    match request {
        Request::List(_) => Response::List(ListResponse::Error(Error::Busy)),
        Request::Repair(_) => Response::Repair(RepairResponse::Error(Error::Busy)),
        Request::Offer(_) => Response::Offer(OfferResponse::Error(Error::Busy)),
        Request::Chain(_) | Request::Status(_) => Response::Chain(ChainResponse::Error(Error::Busy)),
    }
}

fn info(me: &NodeId, view: &NetworkView, now: UnixMillis) -> Info {
    let current = view.current();
    Info {
        final_height: current.height,
        time: now,
        version: Line::new(VERSION),
        state: current.nodes.get(me).map(|record| record.state),
    }
}

/// The answer from one of the recent final states.
fn at(view: &NetworkView, height: Height, answer: impl FnOnce(&Snapshot) -> ListResponse) -> ListResponse {
    match view.recent().find(|snapshot| snapshot.height == height) {
        Some(snapshot) => answer(snapshot),
        None => {
            let lowest = view.recent().last().map_or(Height::ZERO, |snapshot| snapshot.height);
            ListResponse::Error(Error::Unavailable { lowest })
        }
    }
}

/// What tells which buckets of a list have changed. The chain keeps the hashes, so nothing is hashed for a stranger.
fn hashes(snapshot: &Snapshot) -> ListResponse {
    ListResponse::Hashes { height: snapshot.height, hashes: snapshot.buckets.clone() }
}

/// The asked buckets of a list, as many as fit.
fn buckets(snapshot: &Snapshot, wanted: BTreeSet<u8>) -> ListResponse {
    let mut room = LIST_ANSWER_BYTES;
    let mut buckets = BTreeMap::new();
    for bucket in wanted {
        let (mut first, mut last) = ([0; 32], [0xff; 32]);
        (first[0], last[0]) = (bucket, bucket);
        let range = snapshot.nodes.range(NodeId::new(first)..=NodeId::new(last));
        let records: Vec<u8> = range.flat_map(|(_, record)| record.encode()).collect();
        let Some(left) = room.checked_sub(records.len()) else { break };
        room = left;
        buckets.insert(bucket, records);
    }
    ListResponse::Buckets { height: snapshot.height, buckets }
}
