//! Paths: a client's bytes through three hops, none of which knows both ends.
//!
//! ```text
//!  client                 guard                middle               exit                  destination
//!  client::Path ──cells── relay ────cells──── relay ────cells──── exit ──frames── tunnel::server
//!       │                   └──────────── hop: build, caps ─────────┘
//!       └ client::PathStream ═══════════════ tunnel::Tunnel, sealed end to end ══════════════┘
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `keys`, `layers` | sealing and opening of cells, in place |
//! | `build` | the handshake with all three hops in one round trip |
//! | `replay`, `replays` | what a hop remembers of first messages; a node's sets, by key |
//! | `streams` | streams of a path and their credit |
//! | `behaviour`, `handler`, `control` | libp2p: connections, negotiation, opening streams |
//! | `books`, `stalls`, `life` | caps, pending writes, deadlines |
//! | `hop` | a node's side of a build |
//! | `relay` | guard and middle |
//! | `exit`, `destination` | the exit, and where it goes |
//! | `client` | paths of this host |
//!
//! No queue lies between two streams of a path: whoever reads, writes before it reads again, so a slow reader holds up
//! its own path back to the sender and nobody else.

pub(crate) mod behaviour;
pub(crate) mod books;
pub mod build;
pub mod client;
pub mod config;
pub(crate) mod control;
mod destination;
mod exit;
pub(crate) mod handler;
pub(crate) mod hop;
pub mod keys;
pub mod layers;
mod life;
mod outgoing;
mod relay;
pub mod replay;
pub(crate) mod replays;
pub(crate) mod stalls;
pub mod streams;
#[cfg(test)]
pub(crate) mod test_path;

use std::fmt;

use sotto_proto::address::x25519_of;
use sotto_proto::id::{NodeId, X25519Key};
use sotto_proto::limits::REPLAY_ENTRY;

pub use self::config::{Caps, Deadlines, RelayConfig};
pub use self::replays::prepare as prepare_replays;

/// Whom to speak Noise with: a hop, or the far end of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopInfo {
    /// The node key, which the handshake is bound to: a key copied into another registration is useless.
    pub node: NodeId,
    /// The key of its handshakes, from the list.
    pub x25519: X25519Key,
}

impl HopInfo {
    /// A file or group server: it has no registered key, so its `/p2p/` Ed25519 key is converted. None if that is no
    /// sound key.
    #[must_use]
    pub fn of_server(node: NodeId) -> Option<Self> {
        x25519_of(&node.into()).map(|x25519| Self { node, x25519 })
    }
}

/// The beginning of a first message's ephemeral key, by which it is known again. No two honest ones are alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ephemeral([u8; REPLAY_ENTRY]);

impl Ephemeral {
    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; REPLAY_ENTRY] {
        &self.0
    }
}

impl From<[u8; REPLAY_ENTRY]> for Ephemeral {
    fn from(bytes: [u8; REPLAY_ENTRY]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Ephemeral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ephemeral(…)")
    }
}
