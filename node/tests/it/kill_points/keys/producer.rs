//! The producer of one node: its blocks come fast, and outlive it in a file.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sotto_behaviours::network::{Event as NetEvent, Network, Request, Response};
use sotto_node::chain_thread::Event;
use sotto_node::event_loop::Source;
use sotto_node::service_node::ChainUpdate;
use sotto_proto::chain::{Block, Payload, Transaction};
use sotto_proto::network::NetworkView;
use sotto_proto::request::{ChainRequest, ChainResponse, Error, ListResponse};
use tokio::sync::{mpsc, watch};

use super::super::life::{Executioner, Moment};
use super::PERIOD;
use crate::chain::TestChain;

/// Between two blocks.
const BLOCK: Duration = Duration::from_millis(2);
/// Where the blocks are in the data directory.
pub(super) const BLOCKS: &str = "blocks";

/// The chain as the file has it; a block that was half written is not there.
pub(super) fn chain_of(datadir: &Path) -> TestChain {
    let mut chain = TestChain::with(|params| params.key_rotation_s = PERIOD);
    let bytes = std::fs::read(datadir.join(BLOCKS)).unwrap_or_default();
    let mut rest = bytes.as_slice();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let Some((block, after)) = after.split_at_checked(u32::from_be_bytes(*length) as usize) else { break };
        chain.take(Block::decode(block).unwrap());
        rest = after;
    }
    chain
}

pub(super) fn append(file: &mut File, block: &Block) {
    let bytes = block.encode();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    file.write_all(&[length.as_slice(), &bytes].concat()).unwrap();
}

pub(super) fn changes(chain: &TestChain) -> usize {
    let payloads = chain.blocks.iter().flat_map(|block| &block.transactions);
    payloads.filter(|taken| matches!(taken.body.payload, Payload::RotateKey { .. })).count()
}

/// Makes blocks of what the node sends, and tells it of them.
pub(super) struct Producer {
    pub(super) network: Network,
    pub(super) chain: TestChain,
    pub(super) file: File,
    pub(super) view: watch::Sender<Arc<NetworkView>>,
    pub(super) wall: Arc<AtomicU64>,
    pub(super) events: mpsc::Sender<Event<Source>>,
    pub(super) executioner: Executioner,
}

impl Producer {
    pub(super) async fn run(mut self) {
        let (mut waiting, mut next) = (Vec::new(), tokio::time::Instant::now());
        loop {
            tokio::select! {
                event = self.network.next() => if let NetEvent::Request { request, reply, .. } = event {
                    let response = self.answer(request, &mut waiting);
                    self.network.respond(reply, response);
                },
                () = tokio::time::sleep_until(next) => {
                    next = tokio::time::Instant::now() + BLOCK;
                    if self.produce(std::mem::take(&mut waiting)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn answer(&self, request: Request, waiting: &mut Vec<Transaction>) -> Response {
        let tip = self.chain.tip();
        match request {
            Request::Chain(ChainRequest::SubmitTransaction(bytes)) => {
                waiting.push(Transaction::decode(&bytes).unwrap());
                Response::Chain(ChainResponse::Submitted)
            }
            Request::Chain(ChainRequest::Tip) => {
                Response::Chain(ChainResponse::Tip { height: tip.height(), hash: tip.tip_hash() })
            }
            Request::List(_) => Response::List(ListResponse::Error(Error::Busy)),
            _ => Response::Chain(ChainResponse::Blocks { blocks: Vec::new(), tip: tip.height() }),
        }
    }

    async fn produce(&mut self, waiting: Vec<Transaction>) -> Result<(), mpsc::error::SendError<Event<Source>>> {
        let taken: Vec<_> = waiting.into_iter().filter(|transaction| self.chain.accepts(transaction)).collect();
        let rotates = taken.iter().any(|taken| matches!(taken.body.payload, Payload::RotateKey { .. }));
        append(&mut self.file, &self.chain.produce(taken));
        if rotates {
            self.executioner.pass(Moment::Unheard);
        }
        self.wall.store(self.chain.tip().time().0, Ordering::Relaxed);
        let update = ChainUpdate { view: Arc::new(self.chain.view()), tip: self.chain.tip().clone() };
        self.view.send_replace(Arc::clone(&update.view));
        self.events.send(Event::Updated(Box::new(update))).await
    }
}
