//! The times and numbers of membership that are nobody else's business. Bounds of the protocol are in
//! [`sotto_proto::limits`].

use std::time::Duration;

/// Both members of a swarm learn of each other from the same block and would dial at once. The one with the smaller key
/// does; the other waits this long for it.
pub const YIELD: Duration = Duration::from_secs(3);
/// Drawn on top of [`YIELD`], so that those who waited do not all dial together.
pub const YIELD_JITTER: Duration = Duration::from_secs(1);
/// Two connections to a peer that are both younger than this are crossed dials: the side with the smaller key closes
/// both and dials anew. If one is older, the peer has forgotten it, most likely in a restart: all are closed, or gossip
/// would stay deaf on the old one.
pub const CROSSED: Duration = Duration::from_secs(5);
/// A connection that lived this long was a success; one that did not counts as a failed dial, or a peer that takes and
/// drops connections would be dialled in a tight loop.
pub const STABLE: Duration = Duration::from_secs(5);
/// Back-off after the first failure; doubles with each further one, drawn between nothing and its value.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// The longest back-off.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// No dial follows a failure faster than this.
pub const BACKOFF_FLOOR: Duration = Duration::from_millis(100);
/// After we closed all connections to a peer on purpose (its admission changed, it had two, it was deaf): the other
/// side is likely to be about to do the same, so a moment is left to it before dialling again.
pub const SETTLE: Duration = Duration::from_millis(250);
/// Drawn on top of [`SETTLE`].
pub const SETTLE_JITTER: Duration = Duration::from_millis(250);
/// A connected peer behind an open gate that is not subscribed to the topic for this long did not learn of our
/// subscription, or we not of its: such connections stay deaf, so they are closed. Doubles with each time it did not
/// help.
pub const DEAF: Duration = Duration::from_secs(10);
/// How often [`DEAF`] doubles.
pub const DEAF_DOUBLINGS: u32 = 4;
/// Drawn neighbours that failed this often in a row are made up for by the next ones of the draw, and still tried.
pub const FAILING: u32 = 3;
/// At most this many times the drawn neighbours are wanted when many fail.
pub const DRAWN_MAX_FACTOR: usize = 2;
/// Bootstrap nodes that a node with too few links tries at once.
pub const BOOTSTRAP: usize = 3;
