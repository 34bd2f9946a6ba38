//! The chain's bytes (B7): genesis and its parameters, headers, transactions, blocks, node records, the list root and
//! the values of the state tables.
//!
//! Everything is canonical: one value, one encoding. Decoding is strict and total, so bytes from anywhere may be fed in.

mod block;
mod genesis;
mod genesis_file;
mod header;
mod list;
mod node_record;
mod params;
mod state_value;
mod transaction;
mod tx_tree;

pub use block::{Block, MAX_BLOCK_TRANSACTIONS};
pub use genesis::{Genesis, GenesisError};
pub use genesis_file::{GenesisFile, GenesisFileError, MAX_FILE_BYTES as MAX_GENESIS_FILE_BYTES};
pub use header::{Header, SignedHeader};
pub use list::{Buckets, bucket_hash, bucket_of, list_root, list_root_of, records_of};
pub use node_record::{NodeRecord, NodeState, Region, RegionError};
pub use params::{Params, ParamsError, Preset};
pub use state_value::{Account, Cooldown, LockedStake, ServiceNode, SwarmValue, TestLedger, Waiting, Window};
pub use transaction::{Outcome, Payload, SignedTransaction as Transaction, TxBody};
pub use tx_tree::tx_root;
