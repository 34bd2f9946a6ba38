//! Answers from stored blocks: read on the storage thread, sent by the loop.

use sotto_behaviours::network::Response;
use sotto_proto::chain::SignedHeader;
use sotto_proto::id::Height;
use sotto_proto::request::{ChainResponse, Error, ListResponse};

use super::{EventLoop, READS, Stored};
use crate::metrics;
use crate::service_node::{Part, ReplyId};
use crate::store::{Limit, Store, StoreError, StoredBlock};

/// An answer that was read.
pub(super) struct Served {
    pub(super) reply: ReplyId,
    pub(super) response: Response,
}

impl EventLoop {
    /// Has an answer read, unless too many are being read already.
    pub(super) fn read(&mut self, reply: ReplyId, part: Part, from: Height, limit: Limit, tip: Height) {
        let sender = self.stored_sender.clone();
        let read = Box::new(move |store: &dyn Store| {
            let response = stored_answer(store, part, from, limit, tip).unwrap_or_else(|error| {
                tracing::warn!(%error, "stored blocks cannot be read");
                refusal(part, Error::Busy)
            });
            // The loop has ended: nobody waits any more.
            let _ = sender.blocking_send(Stored::Read(Box::new(Served { reply, response })));
        });
        if self.reads < READS && self.parts.store.try_read(read).is_ok() {
            self.reads += 1;
        } else {
            self.respond(reply, refusal(part, Error::Busy));
        }
    }

    pub(super) fn respond(&mut self, reply: ReplyId, response: Response) {
        if let Some(reply) = self.replies.remove(&reply) {
            let (protocol, outcome) = label(&response);
            metrics::request(protocol, outcome);
            self.parts.network.respond(reply, response);
        }
    }
}

fn stored_answer(
    store: &dyn Store,
    part: Part,
    from: Height,
    limit: Limit,
    tip: Height,
) -> Result<Response, StoreError> {
    let blocks = store.blocks(from, limit)?;
    if let Some(range) = store.block_range()?.filter(|range| blocks.is_empty() && from < *range.start()) {
        return Ok(refusal(part, Error::Unavailable { lowest: *range.start() }));
    }
    Ok(match part {
        Part::Blocks => {
            let blocks = blocks.into_iter().map(|block| block.bytes).collect();
            Response::Chain(ChainResponse::Blocks { blocks, tip })
        }
        Part::Headers => Response::List(ListResponse::Headers(blocks.iter().map(header).collect::<Result<_, _>>()?)),
    })
}

fn header(block: &StoredBlock) -> Result<SignedHeader, StoreError> {
    let damaged = StoreError::Damaged("a block");
    let bytes = block.bytes.get(..SignedHeader::LEN).ok_or_else(|| damaged.clone())?;
    SignedHeader::decode(bytes).map_err(|_| damaged)
}

const fn refusal(part: Part, error: Error) -> Response {
    match part {
        Part::Blocks => Response::Chain(ChainResponse::Error(error)),
        Part::Headers => Response::List(ListResponse::Error(error)),
    }
}

const fn label(response: &Response) -> (&'static str, &'static str) {
    match response {
        Response::Chain(ChainResponse::Error(error)) => ("chain", error.label()),
        Response::Chain(_) => ("chain", "ok"),
        Response::List(ListResponse::Error(error)) => ("list", error.label()),
        Response::List(_) => ("list", "ok"),
        Response::Status(_) => ("status", "ok"),
    }
}

#[cfg(test)]
mod tests {
    use sotto_proto::id::BlockHash;

    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::{Batch, Write};

    const LIMIT: Limit = Limit { bytes: 1 << 20, count: 100 };

    fn store(heights: std::ops::RangeInclusive<u64>) -> MemoryStore {
        let mut store = MemoryStore::default();
        let put = |height| Write::PutBlock {
            height: Height(height),
            hash: BlockHash::new([1; 32]),
            bytes: vec![1; SignedHeader::LEN],
        };
        store.write(&Batch { writes: heights.map(put).collect() }).unwrap();
        store
    }

    fn answer(store: &MemoryStore, part: Part, from: u64) -> Response {
        stored_answer(store, part, Height(from), LIMIT, Height(20)).unwrap()
    }

    #[test]
    fn blocks_that_were_pruned_are_told_apart_from_blocks_not_there_yet() {
        let store = store(10..=19);
        let pruned = Error::Unavailable { lowest: Height(10) };
        assert_eq!(answer(&store, Part::Blocks, 9), Response::Chain(ChainResponse::Error(pruned.clone())));
        assert_eq!(answer(&store, Part::Headers, 9), Response::List(ListResponse::Error(pruned)));
        let empty = ChainResponse::Blocks { blocks: Vec::new(), tip: Height(20) };
        assert_eq!(answer(&store, Part::Blocks, 20), Response::Chain(empty));
        let Response::Chain(ChainResponse::Blocks { blocks, .. }) = answer(&store, Part::Blocks, 15) else { panic!() };
        assert_eq!(blocks.len(), 5);
    }

    #[test]
    fn headers_are_cut_from_blocks() {
        let store = store(10..=19);
        let Response::List(ListResponse::Headers(_)) = answer(&store, Part::Headers, 18) else { panic!() };
    }
}
