//! What to do about a second connection with one peer.
//!
//! Keeping one of two crossed connections and closing the other is not enough: gossip announces its subscriptions once,
//! on the first connection there is, and what was handed to the connection that goes is lost. So all are closed, and one
//! of both dials anew.

use sotto_proto::id::NodeId;
use sotto_proto::time::Monotonic;

use super::CloseReason;
use super::peers::Connection;
use crate::membership::config::CROSSED;

/// What follows from the connections of a peer, the newest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// One connection, as it should be.
    Fine,
    /// Crossed dials, and the peer has the smaller key: it closes them until then.
    PeerCloses {
        /// Its time; afterwards we do.
        until: Monotonic,
    },
    /// Start anew.
    Close(CloseReason),
}

/// Judges when a connection was added.
pub(super) fn judge<Link>(own: &NodeId, peer: &NodeId, connections: &[Connection<Link>], now: Monotonic) -> Verdict {
    let [older @ .., newest] = connections else { return Verdict::Fine };
    match older {
        [] => Verdict::Fine,
        [old] if now.since(old.since) < CROSSED && old.direction != newest.direction => {
            if own < peer {
                Verdict::Close(CloseReason::Crossed)
            } else {
                Verdict::PeerCloses { until: now.plus(CROSSED) }
            }
        }
        // The peer dialled although it had a connection: it does not know of it any more.
        _ => Verdict::Close(CloseReason::Restarted),
    }
}
