//! What the tests share: hosts, what is between them, and hostile peers.

mod any_of;
mod flood;
mod hops;
mod hostile;
mod memory;
mod paths;
mod rogue;
mod world;

pub(crate) use flood::Flood;
pub(crate) use hops::{Deed, Seat, Watch, Way, exit, relay, storing_node};
pub(crate) use hostile::{Hostile, rpc};
pub(crate) use paths::{
    PathNet, Running, echo, echoed, hop, minute, open_build, read_frame, reply, rng, secret, settled, slow, write_frame,
};
pub(crate) use rogue::Rogue;
pub(crate) use world::{Host, Net, block, drive_for, keypair, node_of, transaction, until};
