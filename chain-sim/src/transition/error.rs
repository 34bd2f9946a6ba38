//! Why a block or a transaction does not take effect.

use sotto_proto::chain::NodeState;
use sotto_proto::id::{Amount, BlockHash, Hash, Height, NodeId};
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::swarm::BeginBlockError;
use sotto_proto::time::UnixMillis;

/// Why a transaction is not valid on a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// A signature is wrong or missing.
    #[error("the signature does not hold")]
    Signature,
    /// Another nonce is the signer's next.
    #[error("nonce {actual}, the signer's next is {expected}")]
    Nonce {
        /// The next.
        expected: u64,
        /// The transaction's.
        actual: u64,
    },
    /// This kind carries no fee.
    #[error("this kind of transaction carries no fee")]
    Fee,
    /// The signer has not enough coins.
    #[error("{needed} coins needed, the signer has {available}")]
    Balance {
        /// What it costs.
        needed: Amount,
        /// What the signer has.
        available: Amount,
    },
    /// The amount is zero or too large to be.
    #[error("an amount of {0} cannot be moved")]
    Amount(Amount),
    /// Less than the smallest stake.
    #[error("a stake of {actual} coins, at least {minimum} needed")]
    Stake {
        /// The smallest.
        minimum: Amount,
        /// The transaction's.
        actual: Amount,
    },
    /// The node is registered, or its stake is still locked.
    #[error("node {0} is already known to the chain")]
    NodeKnown(NodeId),
    /// A stake of this operator or node was given back not long ago.
    #[error("a stake was given back not long ago: registering is possible again from block {0}")]
    Cooldown(Height),
    /// Another node has, or had until its last change, this X25519 key; or it is no key.
    #[error("the X25519 key is in use, or none")]
    X25519,
    /// Another node is registered at this address, or it is listed twice.
    #[error("address {0} is in use")]
    AddressKnown(NodeAddr),
    /// Nobody may dial this address.
    #[error("address {0} cannot be reached from everywhere")]
    Address(NodeAddr),
    /// A node has one to four addresses.
    #[error("{0} addresses, one to four allowed")]
    AddressCount(usize),
    /// The node is not registered.
    #[error("node {0} is not registered")]
    NodeUnknown(NodeId),
    /// The signer is not the node's operator.
    #[error("only the node's operator may do that")]
    NotOperator,
    /// The node's state does not allow it.
    #[error("not possible while the node is {0}")]
    State(NodeState),
    /// It was done not long ago.
    #[error("possible again from block {0}")]
    TooSoon(Height),
    /// The proof is for another epoch.
    #[error("for epoch {actual}, the present one is {expected}")]
    Epoch {
        /// The present.
        expected: u64,
        /// The transaction's.
        actual: u64,
    },
    /// There is a proof for this epoch.
    #[error("the node has proved this epoch")]
    AlreadyProved,
    /// There is no such test, its window is over or has not begun, the signer is not its tester, or it is reported.
    #[error("no storage test of that height, swarm and testee waits for this signer's report")]
    NoSuchTest,
    /// A fail needs a sample that failed.
    #[error("a failed test has samples")]
    Samples,
    /// The chain does not take this kind yet.
    #[error("the chain does not take {0} transactions yet")]
    Reserved(&'static str),
    /// The block has no room left.
    #[error("the block is full")]
    BlockFull,
}

/// Why a block does not follow a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Another height is next.
    #[error("block {actual}, next is {expected}")]
    Height {
        /// The next.
        expected: Height,
        /// The block's.
        actual: Height,
    },
    /// It follows another block.
    #[error("follows block {actual}, the last is {expected}")]
    Previous {
        /// The last.
        expected: BlockHash,
        /// The block's.
        actual: BlockHash,
    },
    /// Its time is not later than that of the block before.
    #[error("time {actual:?} is not after {previous:?}")]
    Time {
        /// Of the block before.
        previous: UnixMillis,
        /// The block's.
        actual: UnixMillis,
    },
    /// The authority did not sign it.
    #[error("not signed by the authority")]
    Signature,
    /// A transaction in it is invalid.
    #[error("transaction {index}: {source}")]
    Transaction {
        /// Which.
        index: usize,
        /// Why.
        source: TransactionError,
    },
    /// A root is not what its content gives.
    #[error("{which} root {actual}, the content gives {expected}")]
    Root {
        /// `transactions`, `state` or `list`.
        which: &'static str,
        /// What the content gives.
        expected: Hash,
        /// The header's.
        actual: Hash,
    },
    /// The swarm map refused its update: a defect.
    #[error(transparent)]
    Swarms(#[from] BeginBlockError),
}
