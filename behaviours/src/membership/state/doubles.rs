//! What to do about a second connection with one peer.
//!
//! Keeping one of two crossed connections and closing the other is not enough: gossip announces its subscriptions once,
//! on the first connection there is, and what was handed to the connection that goes is lost. So all are closed, and one
//! of both dials anew. But hops of paths that dialled each other keep both connections: no gossip is missed there, and
//! every path over them would end, under load some in each minute.

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

/// Judges when a connection was added. `wanted`: the peer is more than a hop of paths to us.
pub(super) fn judge<Link>(
    own: &NodeId,
    peer: &NodeId,
    connections: &[Connection<Link>],
    now: Monotonic,
    wanted: bool,
) -> Verdict {
    let [older @ .., newest] = connections else { return Verdict::Fine };
    match older {
        [] => Verdict::Fine,
        [old] if now.since(old.since) < CROSSED && old.direction != newest.direction => {
            if !wanted {
                Verdict::Fine
            } else if own < peer {
                Verdict::Close(CloseReason::Crossed)
            } else {
                Verdict::PeerCloses { until: now.plus(CROSSED) }
            }
        }
        // The peer dialled although it had a connection: it does not know of it any more.
        _ => Verdict::Close(CloseReason::Restarted),
    }
}
