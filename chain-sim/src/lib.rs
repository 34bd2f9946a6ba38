//! The simulated staking chain.
//!
//! A deterministic state machine, [`apply`]`(state, block) → state`, driven by one producer process that signs blocks
//! with an authority key. It simulates consensus; it does not invent one. Nodes run the same machine over the blocks
//! they fetch, so every node derives the same node list, swarms and balances.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `state` | the state after a block: tables, indexes, state tree, snapshots |
//! | `transition` | one block's work: begin-block, transactions, end-block |
//! | `apply` | taking a block in, and making one |
//! | `follower` | fork choice, finality, reorganisations, the view shown to the rest of a program |
//! | `process` (feature) | what the long-running programs share: logs, HTTP, limits of the operating system |
//! | `producer` (feature) | the process that makes blocks |
//!
//! Without these features there is no I/O, clock, task or random number here.

mod apply;
mod follower;
#[cfg(feature = "process")]
pub mod process;
#[cfg(feature = "producer")]
pub mod producer;
mod state;
mod transition;

pub use apply::{BlockDraft, apply};
pub use follower::{Equivocation, Follower, Inserted};
pub use state::{DueTest, SnapshotError, State};
pub use transition::{BlockError, TransactionError};
