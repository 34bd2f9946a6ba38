//! Who keeps what: the ring of swarms, and which node belongs to which swarm (B8).
//!
//! | file | what it fixes |
//! | --- | --- |
//! | `rng` | the draws, the same on every machine |
//! | `ring` | which swarm owns a position, and where a new swarm goes |
//! | `map` | the swarms and their members as a value: look-ups, bytes, digest |
//! | `placement` | how a block changes them |
//!
//! A swarm has 5 to 10 members and is born with 7. A map changes only at the beginning of a block, by the nodes that
//! the block before made start or stop, with draws seeded by that block's hash: nobody who writes a transaction knows
//! the draws that will place him.

mod map;
mod placement;
mod ring;
mod rng;

pub use map::{InvalidMap, Members, SwarmMap, encode_members, read_members};
pub use placement::{BeginBlockError, Changes};
pub use ring::{new_id, owner};
pub use rng::Rng;

use crate::domain;
use crate::hash::Hasher;
use crate::id::{BlockHash, ChainId, Hash, Height};

/// The seed of the draws at the beginning of block `height`, from the hash of the block before.
#[must_use]
pub fn seed(chain: &ChainId, previous: &BlockHash, height: Height) -> Hash {
    Hasher::new(domain::SWARMS).chain(chain).chain(previous).chain(height.0.to_be_bytes()).finish()
}
