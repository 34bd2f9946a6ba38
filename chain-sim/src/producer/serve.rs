//! Answers to what peers ask for, from the state and from disk.

use std::collections::{BTreeMap, BTreeSet};

use sotto_proto::chain::SignedHeader;
use sotto_proto::id::{Height, NodeId};
use sotto_proto::limits::{CHAIN_ANSWER_BYTES, LIST_ANSWER_BYTES, REASON_MAX};
use sotto_proto::network::{NetworkView, Snapshot};
use sotto_proto::request::{ChainResponse, Error, Info, Line, ListResponse};
use sotto_proto::time::UnixMillis;

use crate::producer::block_log::ReadError;
use crate::producer::machine::Refusal;

/// This software's version, as others are told.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How the producer sees itself: it is no service node, so it has no standing.
#[must_use]
pub fn info(view: &NetworkView, time: UnixMillis) -> ListResponse {
    ListResponse::Info(Info { final_height: view.current().height, time, version: Line::new(VERSION), state: None })
}

/// Buckets of the node list of one of the recent final states: as many as fit into an answer.
#[must_use]
pub fn buckets(view: &NetworkView, height: Height, wanted: &BTreeSet<u8>) -> ListResponse {
    let Some(snapshot) = view.recent().find(|snapshot| snapshot.height == height) else {
        return ListResponse::Error(unavailable(view));
    };
    let mut buckets = BTreeMap::new();
    let mut bytes = 0;
    for bucket in wanted {
        let records = bucket_bytes(snapshot, *bucket);
        bytes += records.len();
        if bytes > LIST_ANSWER_BYTES {
            break;
        }
        buckets.insert(*bucket, records);
    }
    if buckets.is_empty() { ListResponse::Error(Error::TooLarge) } else { ListResponse::Buckets { height, buckets } }
}

/// The hashes of all buckets of the node list of one of the recent final states.
#[must_use]
pub fn hashes(view: &NetworkView, height: Height) -> ListResponse {
    match view.recent().find(|snapshot| snapshot.height == height) {
        Some(snapshot) => ListResponse::Hashes { height, hashes: snapshot.buckets.clone() },
        None => ListResponse::Error(unavailable(view)),
    }
}

fn bucket_bytes(snapshot: &Snapshot, bucket: u8) -> Vec<u8> {
    let (mut first, mut last) = ([0; 32], [0xff; 32]);
    (first[0], last[0]) = (bucket, bucket);
    let records = snapshot.nodes.range(NodeId::new(first)..=NodeId::new(last));
    records.flat_map(|(_, record)| record.encode()).collect()
}

/// The lowest of the final heights whose list can be had.
fn unavailable(view: &NetworkView) -> Error {
    let lowest = view.recent().map(|snapshot| snapshot.height).min().unwrap_or_default();
    Error::Unavailable { lowest }
}

/// How many headers from `from` on may be shown: final ones only.
#[must_use]
pub fn headers_shown(view: &NetworkView, from: Height, count: u8) -> usize {
    let last = view.current().height;
    let left = usize::try_from(last.next().since(from)).unwrap_or(usize::MAX);
    if from == Height::ZERO { 0 } else { usize::from(count).min(left) }
}

/// The answer once headers were read.
#[must_use]
pub fn headers(read: Result<Vec<SignedHeader>, ReadError>) -> ListResponse {
    match read {
        Ok(headers) => ListResponse::Headers(headers),
        Err(error) => ListResponse::Error(read_error(&error)),
    }
}

/// The answer once blocks were read.
#[must_use]
pub fn blocks(read: Result<(Vec<Vec<u8>>, Height), ReadError>) -> ChainResponse {
    match read {
        Ok((blocks, tip)) => ChainResponse::Blocks { blocks, tip },
        Err(error) => ChainResponse::Error(read_error(&error)),
    }
}

/// As many blocks as an answer of `max_bytes` holds; one at least, if there is one.
#[must_use]
pub fn fitting(blocks: impl Iterator<Item = Vec<u8>>, max_bytes: usize) -> Vec<Vec<u8>> {
    let mut bytes = 0_usize;
    let fits = |(index, block): &(usize, Vec<u8>)| {
        bytes = bytes.saturating_add(block.len());
        *index == 0 || bytes <= max_bytes.min(CHAIN_ANSWER_BYTES)
    };
    blocks.enumerate().take_while(fits).map(|(_, block)| block).collect()
}

/// What a peer is told of a failed read. That our disk is bad is nothing it can act on but by asking others.
fn read_error(error: &ReadError) -> Error {
    match error {
        ReadError::Pruned(lowest) => Error::Unavailable { lowest: *lowest },
        ReadError::Io { height, .. } | ReadError::Damaged(height) => Error::Unavailable { lowest: height.next() },
    }
}

/// What a peer is told when its transaction is refused.
#[must_use]
pub fn refused(refusal: &Refusal) -> Error {
    match refusal {
        Refusal::Malformed(_) => Error::Malformed,
        Refusal::Full(_) | Refusal::Busy | Refusal::Halted(_) => Error::Busy,
        other => Error::Rejected { reason: Line::<REASON_MAX>::new(&other.to_string()) },
    }
}
