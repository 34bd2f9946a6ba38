//! The ring: swarms and accounts have places in 0..2^64, and the swarm nearest to an account keeps its mail.
//!
//! Two moduli are at work, as in the network this design follows. Distances between an account and swarms wrap at
//! 2^64, and 2^64 − 1 is a position like any other. Gaps between swarms wrap at 2^64 − 1, which is never the id of a
//! swarm ([`SwarmId::NONE`]).

use std::ops::Bound;

use imbl::OrdMap;

use crate::address::Position;
use crate::id::SwarmId;

/// The largest id a swarm can have, 2^64 − 2.
const LAST_ID: u64 = SwarmId::NONE.0 - 1;

/// The swarm nearest to `position`, of `ids` in ascending order; half-way between two it is the left one, also across
/// zero. `None` if there is no swarm.
#[must_use]
pub fn owner(position: Position, ids: &[SwarmId]) -> Option<SwarmId> {
    let (first, last) = (*ids.first()?, *ids.last()?);
    let (below, rest) = ids.split_at(ids.partition_point(|id| id.0 < position.0));
    let (left, right) = (below.last().copied(), rest.first().copied());
    Some(nearer(position, left.unwrap_or(last), right.unwrap_or(first)))
}

/// [`owner`] among the keys of a map, in logarithmic time.
pub(super) fn owner_in<V: Clone>(position: Position, swarms: &OrdMap<SwarmId, V>) -> Option<SwarmId> {
    let place = SwarmId(position.0);
    let (first, last) = (swarms.get_min()?.0, swarms.get_max()?.0);
    let left = swarms.range((Bound::Unbounded, Bound::Excluded(place))).next_back().map(|(id, _)| *id);
    let right = swarms.get_next(&place).map(|(id, _)| *id);
    Some(nearer(position, left.unwrap_or(last), right.unwrap_or(first)))
}

/// Of the neighbours of `position` in the cycle, the nearer one; `left` if both are as near. With a single swarm both
/// neighbours are that swarm.
const fn nearer(position: Position, left: SwarmId, right: SwarmId) -> SwarmId {
    if right.0.wrapping_sub(position.0) < position.0.wrapping_sub(left.0) { right } else { left }
}

/// The id of a swarm born beside `ids` (ascending): the middle of the largest gap, the first such gap if there are
/// several, so that a new swarm relieves those with the longest stretch of the ring. The first swarm of all is 0.
#[must_use]
pub fn new_id(ids: &[SwarmId]) -> SwarmId {
    let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return SwarmId(0) };
    let mut widest = (0, *first);
    for pair in ids.windows(2) {
        let gap = pair[1].0 - pair[0].0;
        if gap > widest.0 {
            widest = (gap, pair[0]);
        }
    }
    let across_zero = (LAST_ID - last.0) + first.0 + 1;
    if across_zero > widest.0 {
        widest = (across_zero, *last);
    }
    let (gap, left) = widest;
    // Adds modulo 2^64 − 1: what is left to that modulus is taken first, so that nothing overflows.
    let (half, room) = (gap / 2, SwarmId::NONE.0 - left.0);
    SwarmId(if half < room { left.0 + half } else { half - room })
}
