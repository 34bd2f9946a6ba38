//! Draining: a node that is about to go makes sure that it takes nothing with it.
//!
//! It goes on serving and takes nothing more, neither of clients nor of former owners, who would count on it. What was
//! here when it began is *left* until at least two other members of the swarm (all, if there are fewer) are known to
//! have it on disk: the number without which a former owner erases nothing (C3). What comes later comes from members
//! that have it.
//!
//! A member's word is a comparison of repair that ended: it has the same, or all but what was found. That it has taken a
//! page counts for nothing, because it says so before that is on its disk; the next comparison tells.

use std::collections::BTreeMap;
use std::time::Duration;

use sotto_behaviours::replication::{Compared, ItemSet};
use sotto_proto::id::{ItemId, NodeId};
use sotto_proto::limits::{HANDOVER_CONFIRMATIONS, NMAX};
use sotto_proto::time::{Monotonic, UnixSeconds};

use super::Mail;
use super::env::Env;
use crate::service_node::message::Token;

/// Between two rounds of comparisons: time for what was given in one to come to the others' disks.
const ROUND: Duration = Duration::from_secs(5);

/// Members, a bit for each.
type Bits = u16;

const _: () = assert!(NMAX <= Bits::BITS as usize, "each member has a bit");

/// How far draining is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Records and tombstones of the own swarm that too few other members are known to have; `None` until all that was
    /// on its way to disk when it began is there.
    pub left: Option<usize>,
    /// Other members of the swarm.
    pub members: usize,
    /// How many of them must have each: two, or all if there are fewer, and never none.
    pub needed: usize,
}

/// A node that drains.
#[derive(Debug)]
pub(super) struct Draining {
    /// Writes up to this one were under way when it began.
    last_write: Token,
    /// What was on disk then, some sixty bytes an item.
    items: Option<BTreeMap<(UnixSeconds, ItemId), Kept>>,
    /// The other members.
    members: Vec<NodeId>,
    /// The comparison that goes on began when all of `items` were on disk.
    compares: bool,
    next_round: Monotonic,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    expiry: UnixSeconds,
    /// Which of the other members have it.
    holders: Bits,
}

impl Draining {
    const fn new(last_write: Token, now: Monotonic) -> Self {
        Self { last_write, items: None, members: Vec::new(), compares: false, next_round: now }
    }

    fn needed(&self) -> usize {
        self.members.len().clamp(1, HANDOVER_CONFIRMATIONS)
    }

    /// Other members count from now on: what was known of the old ones says too little of how many copies there are.
    fn follow(&mut self, members: Vec<NodeId>, now: Monotonic) {
        if self.members == members {
            return;
        }
        (self.members, self.compares, self.next_round) = (members, false, now);
        self.items.iter_mut().flat_map(BTreeMap::values_mut).for_each(|kept| kept.holders = 0);
    }

    fn count(&mut self, set: Option<&ItemSet>, now: Monotonic) {
        let kept = set.into_iter().flat_map(ItemSet::iter);
        let kept = kept.map(|entry| ((entry.timestamp, entry.id), Kept { expiry: entry.expiry, holders: 0 }));
        (self.items, self.compares, self.next_round) = (Some(kept.collect()), false, now);
    }

    /// Of what is in `set` now, and was in it all the time.
    fn learn(&mut self, Compared { node, scope, lacking }: &Compared, set: &ItemSet) {
        let place = self.members.iter().position(|member| member == node).and_then(|place| u32::try_from(place).ok());
        let Some(bit) = place.and_then(|place| Bits::from(1_u8).checked_shl(place)) else { return };
        let items = self.items.iter_mut().flatten();
        for ((timestamp, id), kept) in items {
            let compared = *timestamp <= scope.until && kept.expiry > scope.cutoff && set.contains(*timestamp, id);
            if compared && !lacking.contains(id) {
                kept.holders |= bit;
            }
        }
    }

    /// How many of the items are still in `set` and good, and at too few others.
    fn left(&self, set: Option<&ItemSet>, now: UnixSeconds) -> Option<usize> {
        let (items, needed) = (self.items.as_ref()?, self.needed());
        let few = |kept: &Kept| {
            kept.expiry > now && usize::try_from(kept.holders.count_ones()).is_ok_and(|holders| holders < needed)
        };
        let here = |(timestamp, id): &(UnixSeconds, ItemId)| set.is_some_and(|set| set.contains(*timestamp, id));
        Some(items.iter().filter(|(item, kept)| few(kept) && here(item)).count())
    }
}

impl Mail {
    /// Takes no more, and finds out who has what is here. Goes on if it has begun already.
    pub(in crate::service_node) fn begin_draining(&mut self, env: &Env<'_>) {
        let last_write = self.last_write();
        self.draining.get_or_insert_with(|| Draining::new(last_write, env.now.monotonic));
    }

    /// The newest write that is under way.
    fn last_write(&self) -> Token {
        self.waits.keys().next_back().copied().unwrap_or(Token(0))
    }

    /// Takes mail again.
    pub(in crate::service_node) fn end_draining(&mut self) {
        self.draining = None;
    }

    /// Whether clients are turned away because the node is about to go.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// How far that is; `None` if it does not drain. `now` decides what has expired and is no loss. Looks at every item:
    /// some milliseconds for the largest stores.
    #[must_use]
    pub fn drained(&self, now: UnixSeconds) -> Option<Drained> {
        let draining = self.draining.as_ref()?;
        let left = draining.left(self.swarm.and_then(|swarm| self.index.sets().of(swarm)), now);
        Some(Drained { left, members: draining.members.len(), needed: draining.needed() })
    }

    /// Does what is due: counts once all is on disk, has members compared with.
    pub(super) fn drain(&mut self, env: &Env<'_>) {
        let Some(mut draining) = self.draining.take() else { return };
        let now = env.now.monotonic;
        draining.follow(self.other_members(env).collect(), now);
        let written = self.waits.keys().next().is_none_or(|first| *first > draining.last_write);
        // Rows without entries that are taken in may be the only copies.
        if self.looks_for_strays() {
            draining.last_write = self.last_write();
        } else if draining.items.is_none() && written {
            draining.count(self.swarm.and_then(|swarm| self.index.sets().of(swarm)), now);
        }
        if draining.items.is_some() && now >= draining.next_round {
            self.replication.compare_all();
            draining.next_round = now.plus(ROUND);
        }
        self.draining = Some(draining);
    }

    /// When there is something to do.
    pub(super) fn drain_at(&self) -> Option<Monotonic> {
        self.draining.as_ref().filter(|draining| draining.items.is_some()).map(|draining| draining.next_round)
    }

    /// A comparison with another member begins.
    pub(super) fn note_comparison(&mut self) {
        if let Some(draining) = &mut self.draining {
            draining.compares = draining.items.is_some();
        }
    }

    /// Other swarms own other things now: what is being compared is not what was.
    pub(super) fn forget_comparison(&mut self) {
        if let Some(draining) = &mut self.draining {
            draining.compares = false;
        }
    }

    /// A comparison may have come to its end.
    pub(super) fn learn_from_comparison(&mut self) {
        // Of use now or never.
        let Some(compared) = self.replication.take_compared() else { return };
        let set = self.swarm.and_then(|swarm| self.index.sets().of(swarm));
        if let (Some(draining), Some(set)) = (self.draining.as_mut().filter(|draining| draining.compares), set) {
            draining.learn(&compared, set);
        }
    }
}
