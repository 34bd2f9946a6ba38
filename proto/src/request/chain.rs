//! Protocol `chain`: blocks, transactions, the tip. Served to anybody.

use super::{Error, Message, MessageError, at_most, fixed};
use crate::codec::DecodeError;
use crate::id::{BlockHash, Height};
use crate::limits::{
    CHAIN_ANSWER_BLOCKS, CHAIN_ANSWER_BYTES, CHAIN_REQUEST_MAX, CHAIN_RESPONSE_MAX, MAX_BLOCK_BYTES, MAX_TX_BYTES,
};
use crate::wire;
use crate::wire::{chain_request, chain_response};

/// A question about the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainRequest {
    /// Blocks in ascending order, without gaps.
    Blocks {
        /// Height of the first one wanted.
        from: Height,
        /// Bytes of blocks the asker takes; a first block that is larger comes all the same.
        max_bytes: u32,
    },
    /// A transaction for the next block (B7, as sent). A node passes it on to the producer.
    SubmitTransaction(Vec<u8>),
    /// The newest block.
    Tip,
}

/// The answer to a [`ChainRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainResponse {
    /// Blocks from the height asked for.
    Blocks {
        /// Bytes of each block (B7), not looked into. None: the height asked for is above the tip.
        blocks: Vec<Vec<u8>>,
        /// Height of the newest block the answering node has.
        tip: Height,
    },
    /// The transaction waits for its block.
    Submitted,
    /// The newest block of the answering node.
    Tip {
        /// Its height.
        height: Height,
        /// Its hash.
        hash: BlockHash,
    },
    /// Not served.
    Error(Error),
}

impl Message for ChainRequest {
    type Wire = wire::ChainRequest;
    const MAX_BYTES: usize = CHAIN_REQUEST_MAX;
}

impl Message for ChainResponse {
    type Wire = wire::ChainResponse;
    const MAX_BYTES: usize = CHAIN_RESPONSE_MAX;
}

impl From<ChainRequest> for wire::ChainRequest {
    fn from(request: ChainRequest) -> Self {
        use chain_request::Kind;
        let kind = match request {
            ChainRequest::Blocks { from, max_bytes } => {
                Kind::Blocks(wire::BlocksRequest { from_height: from.0, max_bytes })
            }
            ChainRequest::SubmitTransaction(transaction) => {
                Kind::SubmitTransaction(wire::SubmitTransactionRequest { transaction })
            }
            ChainRequest::Tip => Kind::Tip(wire::TipRequest {}),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::ChainRequest> for ChainRequest {
    type Error = MessageError;

    fn try_from(request: wire::ChainRequest) -> Result<Self, MessageError> {
        use chain_request::Kind;
        Ok(match request.kind.ok_or(MessageError::Missing("chain request"))? {
            Kind::Blocks(blocks) => Self::Blocks { from: Height(blocks.from_height), max_bytes: blocks.max_bytes },
            Kind::SubmitTransaction(submit) => {
                at_most("transaction", MAX_TX_BYTES, submit.transaction.len())?;
                Self::SubmitTransaction(submit.transaction)
            }
            Kind::Tip(_) => Self::Tip,
        })
    }
}

impl From<ChainResponse> for wire::ChainResponse {
    fn from(response: ChainResponse) -> Self {
        use chain_response::Kind;
        let kind = match response {
            ChainResponse::Blocks { blocks, tip } => Kind::Blocks(wire::BlocksResponse { blocks, tip_height: tip.0 }),
            ChainResponse::Submitted => Kind::SubmitTransaction(wire::SubmitTransactionResponse {}),
            ChainResponse::Tip { height, hash } => {
                Kind::Tip(wire::TipResponse { height: height.0, hash: hash.as_bytes().to_vec() })
            }
            ChainResponse::Error(error) => Kind::Error(error.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::ChainResponse> for ChainResponse {
    type Error = MessageError;

    fn try_from(response: wire::ChainResponse) -> Result<Self, MessageError> {
        use chain_response::Kind;
        Ok(match response.kind.ok_or(MessageError::Missing("chain response"))? {
            Kind::Blocks(response) => {
                check_blocks(&response.blocks)?;
                Self::Blocks { blocks: response.blocks, tip: Height(response.tip_height) }
            }
            Kind::SubmitTransaction(_) => Self::Submitted,
            Kind::Tip(tip) => Self::Tip { height: Height(tip.height), hash: fixed("block hash", &tip.hash)? },
            Kind::Error(error) => Self::Error(error.try_into()?),
        })
    }
}

fn check_blocks(blocks: &[Vec<u8>]) -> Result<(), DecodeError> {
    at_most("blocks", CHAIN_ANSWER_BLOCKS, blocks.len())?;
    for block in blocks {
        at_most("block", MAX_BLOCK_BYTES, block.len())?;
        if block.is_empty() {
            return Err(DecodeError::Value("block"));
        }
    }
    at_most("bytes of blocks", CHAIN_ANSWER_BYTES, blocks.iter().map(Vec::len).sum())
}
