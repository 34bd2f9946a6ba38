//! Answers from stored blocks: read on the storage thread, sent by the loop.

use sotto_behaviours::network::{ReplyTo, Response};
use sotto_behaviours::tunnel::TunnelId;
use sotto_proto::id::Height;
use sotto_proto::request::{ChainResponse, Error, ListResponse, OfferResponse, RepairResponse, SwarmResponse};

use super::{EventLoop, KillPoint, READS, READS_OF_STRANGERS, Stored};
use crate::metrics;
use crate::service_node::{Part, ReplyId};
use crate::store::{Limit, Store, StoreError};

/// Where an answer goes.
pub(super) enum Asker {
    /// A peer that asked over its connection.
    Peer {
        reply: ReplyTo,
        /// Whether the asker is a node.
        of_node: bool,
    },
    /// Somebody who asked through a tunnel: a stranger.
    Tunnel(TunnelId),
}

/// An answer that was read.
pub(super) struct Served {
    pub(super) reply: ReplyId,
    pub(super) of_node: bool,
    pub(super) response: Response,
}

/// Answers being read. Strangers can take most of the places and never all.
#[derive(Debug, Default)]
pub(super) struct Reads {
    all: usize,
    of_strangers: usize,
}

impl Reads {
    const fn have_room(&self, of_node: bool) -> bool {
        self.all < READS && (of_node || self.of_strangers < READS_OF_STRANGERS)
    }

    fn began(&mut self, of_node: bool) {
        self.all += 1;
        self.of_strangers += usize::from(!of_node);
    }

    pub(super) fn ended(&mut self, of_node: bool) {
        self.all -= 1;
        self.of_strangers -= usize::from(!of_node);
    }
}

impl EventLoop {
    /// Has an answer read, unless too many are being read already.
    pub(super) fn read(&mut self, reply: ReplyId, part: Part, from: Height, limit: Limit, tip: Height) {
        let sender = self.stored_sender.clone();
        let of_node = matches!(self.replies.get(&reply), Some(Asker::Peer { of_node: true, .. }));
        let read = Box::new(move |store: &dyn Store| {
            let response = stored_answer(store, part, from, limit, tip).unwrap_or_else(|error| {
                tracing::warn!(%error, "stored blocks cannot be read");
                refusal(part, Error::Busy)
            });
            // The loop has ended: nobody waits any more.
            let _ = sender.blocking_send(Stored::Read(Box::new(Served { reply, of_node, response })));
        });
        if self.reads.have_room(of_node) && self.parts.store.try_read(read).is_ok() {
            self.reads.began(of_node);
        } else {
            self.respond(reply, refusal(part, Error::Busy));
        }
    }

    pub(super) fn respond(&mut self, reply: ReplyId, response: Response) {
        if let Some(reply) = self.replies.remove(&reply) {
            let confirms = matches!(response, Response::Offer(OfferResponse::Durable(_)));
            let (protocol, outcome) = label(&response);
            metrics::request(protocol, outcome);
            match (reply, response) {
                (Asker::Peer { reply, .. }, response) => self.parts.network.respond(reply, response),
                (Asker::Tunnel(tunnel), Response::List(response)) => {
                    let _was_open = self.parts.network.tunnel_answer(tunnel, SwarmResponse::List(response), false);
                }
                // Nothing else is asked of the machine in this way.
                (Asker::Tunnel(tunnel), _) => {
                    let busy = SwarmResponse::Error(Error::Busy);
                    let _was_open = self.parts.network.tunnel_answer(tunnel, busy, false);
                }
            }
            if confirms {
                (self.probe)(KillPoint::Confirmed);
            }
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
    let answer = match part {
        Part::Blocks => {
            let blocks: Vec<_> = store.blocks(from, limit)?.into_iter().map(|block| block.bytes).collect();
            (!blocks.is_empty()).then_some(Response::Chain(ChainResponse::Blocks { blocks, tip }))
        }
        Part::Headers => {
            let headers = store.headers(from, limit)?;
            (!headers.is_empty()).then_some(Response::List(ListResponse::Headers(headers)))
        }
    };
    if let Some(answer) = answer {
        return Ok(answer);
    }
    Ok(match (store.block_range()?, part) {
        (Some(range), _) if from < *range.start() => refusal(part, Error::Unavailable { lowest: *range.start() }),
        (_, Part::Blocks) => Response::Chain(ChainResponse::Blocks { blocks: Vec::new(), tip }),
        (_, Part::Headers) => Response::List(ListResponse::Headers(Vec::new())),
    })
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
        Response::Repair(RepairResponse::Error(error)) => ("repair", error.label()),
        Response::Repair(_) => ("repair", "ok"),
        Response::Offer(OfferResponse::Error(error)) => ("offer", error.label()),
        Response::Offer(_) => ("offer", "ok"),
    }
}

#[cfg(test)]
mod tests {
    use sotto_proto::chain::SignedHeader;
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
    fn strangers_leave_room_for_the_reads_of_nodes() {
        let mut reads = Reads::default();
        let begin = |reads: &mut Reads, of_node| {
            let fits = reads.have_room(of_node);
            if fits {
                reads.began(of_node);
            }
            fits
        };
        assert_eq!((0..100).filter(|_| begin(&mut reads, false)).count(), READS_OF_STRANGERS);
        assert_eq!((0..100).filter(|_| begin(&mut reads, true)).count(), READS - READS_OF_STRANGERS);
        reads.ended(true);
        assert!(!begin(&mut reads, false));
        reads.ended(false);
        assert!(begin(&mut reads, false) && begin(&mut reads, true));
    }

    #[test]
    fn headers_are_cut_from_blocks() {
        let store = store(10..=19);
        let Response::List(ListResponse::Headers(headers)) = answer(&store, Part::Headers, 18) else { panic!() };
        assert_eq!(headers.len(), 2);
        assert_eq!(answer(&store, Part::Headers, 20), Response::List(ListResponse::Headers(Vec::new())));
    }
}
