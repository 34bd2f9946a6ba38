//! What to do about a second connection with one peer.

use sotto_proto::id::NodeId;
use sotto_proto::time::Monotonic;

use super::peers::Connection;
use super::{CloseReason, Direction};
use crate::membership::config::CROSSED;

/// What follows from the connections of a peer, the newest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict<Link> {
    /// One connection, as it should be.
    Fine,
    /// Crossed dials, and the peer has the smaller key: it closes one until then.
    PeerDecides {
        /// Its time; afterwards all are closed.
        until: Monotonic,
    },
    /// Crossed dials, and we have the smaller key: this one, which the peer dialled, goes.
    CloseOne(Link),
    /// Start anew.
    CloseAll(CloseReason),
}

/// Judges when a connection was added.
pub(super) fn judge<Link: Copy>(
    own: &NodeId,
    peer: &NodeId,
    connections: &[Connection<Link>],
    now: Monotonic,
) -> Verdict<Link> {
    let [older @ .., newest] = connections else { return Verdict::Fine };
    match older {
        [] => Verdict::Fine,
        [old] if now.since(old.since) < CROSSED && old.direction != newest.direction => {
            if own > peer {
                return Verdict::PeerDecides { until: now.plus(CROSSED) };
            }
            let accepted = if newest.direction == Direction::Accepted { newest } else { old };
            Verdict::CloseOne(accepted.link)
        }
        // The peer dialled although it had a connection: it does not know of it any more.
        _ => Verdict::CloseAll(CloseReason::Restarted),
    }
}
