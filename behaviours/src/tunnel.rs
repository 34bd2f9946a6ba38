//! Tunnels: requests and answers between a client and a destination, sealed end to end, through a stream of a path (B6).
//!
//! | file | what |
//! | --- | --- |
//! | `handshake` | Noise NK in one round trip, with the request in the first message |
//! | `record` | how messages become records and flights of whole cells, and back |
//! | `client` | the client's end |
//! | `server` | the destination's end |
//! | `flights` | how much of it may be on its way |
//!
//! The exit and every hop before it see whole cells only: each flight ends exactly at a cell's end.

pub mod client;
pub(crate) mod flights;
pub mod handshake;
pub mod record;
pub(crate) mod server;

use sotto_proto::cell::KeyTag;
use sotto_proto::codec::DecodeError;

use crate::noise;
use crate::onion::keys::CellError;

pub use self::client::Tunnel;
pub use self::server::TunnelId;

/// Why a tunnel ends. The destination resets it and says nothing.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// Another suite of algorithms.
    #[error("tunnel suite {0} is unknown")]
    Suite(u8),
    /// Sealed to a key that the destination does not have, or no longer.
    #[error("tunnel to an unknown key {0:?}")]
    UnknownKey(KeyTag),
    /// The handshake failed.
    #[error("tunnel: {0}")]
    Noise(#[from] noise::Error),
    /// A record does not open, or the key is used up.
    #[error("tunnel record: {0}")]
    Record(#[from] CellError),
    /// A record holds what none holds.
    #[error("tunnel: {0}")]
    Malformed(#[from] DecodeError),
    /// Not all of the other side's first record is there.
    #[error("the tunnel's first record is not complete")]
    Incomplete,
}
