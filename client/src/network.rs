//! What a client knows of the network, and how it gets there.
//!
//! | file | what |
//! | --- | --- |
//! | `first_list` | the node list on first launch, from the genesis alone |
//! | `light_client` | the node list later, from three nodes that agree |
//! | `renewal` | the buckets of it that have changed |
//! | `directory` | the list with the swarms that follow from it |
//! | `guards` | the few nodes that know the client's address |
//! | `choice` | which nodes a path goes through |
//! | `scores` | who failed lately |
//! | `host` | one connection with one guard |
//! | `paths` | the paths of an account, by purpose |
//! | `clock` | the network's time |
//! | `lookups` | questions about the list, through tunnels |
//! | `hedge` | asking several without waiting for the slow |
//! | `race` | building a path without waiting for a guard that is silent |
//! | `storing` | a record to three members |
//! | `meeting` | which of them are asked first, and followed |
//! | `ways` | the path that questions go through, and another one where it is silent |
//! | `polls` | whom to ask for mail |

pub mod choice;
pub mod clock;
pub mod directory;
mod draw;
mod first_list;
pub mod guards;
pub mod hedge;
pub mod host;
pub mod light_client;
pub mod lookups;
pub mod meeting;
pub mod paths;
pub mod polls;
mod race;
pub mod renewal;
pub mod scores;
pub mod storing;
#[cfg(test)]
pub(crate) mod test_support;
pub mod ways;

pub(crate) use draw::shuffle;
pub use first_list::{FirstListError, NetworkList, Step, fetch, fetch_directly};
