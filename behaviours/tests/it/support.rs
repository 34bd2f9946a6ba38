//! What the tests share: hosts, what is between them, and hostile peers.

mod hostile;
mod memory;
mod world;

pub(crate) use hostile::{Hostile, rpc};
pub(crate) use world::{Host, Net, block, drive_for, keypair, node_of, until};
