//! How a block changes the swarms: six steps, every draw in its order (B8).
//!
//! | step | what happens |
//! | --- | --- |
//! | 1 | those who stopped leave; empty swarms end; those who started return home or wait, in a random order |
//! | 2 | the first swarm is born when five wait |
//! | 3 | starving swarms are filled by those who wait, then by stealing; the smallest are dissolved where that fails |
//! | 4 | those who wait go to random swarms that are not full |
//! | 5 | all are full: new swarms are drawn from the excess of the others first, and only then from those who wait |
//! | 6 | every member is at home where it is |
//!
//! Step 5 takes from the excess first because otherwise whoever registers seven nodes at once in a full network would
//! get a swarm of his own. Step 1 sends a returning node home because otherwise placement could be drawn again for
//! free, by failing and recovering.
//!
//! For speed the swarms are laid out flat for the length of a block: their ids in order and beside them one byte each
//! for the size, so that draws by weight and the search for room scan bytes. Member lists are copied out of the map
//! when they first change.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;

use imbl::OrdMap;

use super::{Members, Rng, SwarmMap, new_id};
use crate::id::{Hash, NodeId, SwarmId};
use crate::limits::{NMAX, NMIN, NTARGET};

/// What the beginning of a block changed in the swarm map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Every node that is in another swarm than before, and in which now; `None`: it is in none any more. A node now
    /// in a swarm is at home there.
    pub nodes: BTreeMap<NodeId, Option<SwarmId>>,
    /// Every swarm that was born, dissolved, or has other members than before.
    pub swarms: BTreeSet<SwarmId>,
    /// Whether others wait than before, or in another order.
    pub waiting: bool,
}

/// Nodes were said to leave or join that cannot: the caller's records do not belong to this map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BeginBlockError {
    /// A node leaves a swarm that it is not in, or (`None`) is said to wait and does not.
    #[error("node {node} leaves {swarm:?} without being there")]
    NotThere {
        /// The node.
        node: NodeId,
        /// Where it was said to be.
        swarm: Option<SwarmId>,
    },
    /// A node joins twice, or while it waits or is at home.
    #[error("node {0} joins a second time")]
    JoinsTwice(NodeId),
}

impl SwarmMap {
    /// The map at the beginning of a block, and what differs from this one, the map of the block before.
    ///
    /// `seed` is [`seed`](super::seed) of the block. `leave` are the nodes that stopped being active through the block
    /// before, each with the swarm it is in or `None` if it waits; `join` those that started, which must be in no
    /// swarm. `home` tells the swarm a node last belonged to. Without `leave` and `join` the answer is this map, and
    /// nothing is drawn.
    ///
    /// # Errors
    /// [`BeginBlockError`] if `leave` or `join` contradict this map.
    pub fn begin_block(
        &self,
        seed: &Hash,
        leave: &[(NodeId, Option<SwarmId>)],
        join: &[NodeId],
        home: impl Fn(&NodeId) -> Option<SwarmId>,
    ) -> Result<(Self, Changes), BeginBlockError> {
        if leave.is_empty() && join.is_empty() {
            return Ok((self.clone(), Changes::default())); // settled: nobody starves, nobody who waits can be placed
        }
        let mut placement = Placement::new(self, seed);
        placement.leave(leave)?;
        placement.end_empty();
        placement.join(join, home)?;
        placement.found_first();
        placement.feed_starving();
        placement.place();
        placement.found_from_excess();
        Ok(placement.finish())
    }
}

/// The swarms while a block changes them.
struct Placement<'a> {
    before: &'a SwarmMap,
    /// Every swarm's id, ascending, and at the same index its size.
    ids: Vec<SwarmId>,
    sizes: Vec<u8>,
    /// The members, ascending, of every swarm touched so far; no members for a swarm that ended.
    touched: BTreeMap<SwarmId, Vec<NodeId>>,
    waiting: VecDeque<NodeId>,
    rng: Rng,
}

impl<'a> Placement<'a> {
    fn new(before: &'a SwarmMap, seed: &Hash) -> Self {
        let (ids, sizes) = before.iter().map(|(id, members)| (id, size(members))).unzip();
        let waiting = before.waiting().iter().copied().collect();
        Self { before, ids, sizes, touched: BTreeMap::new(), waiting, rng: Rng::new(seed) }
    }

    /// Step 1: takes out those who stopped.
    fn leave(&mut self, nodes: &[(NodeId, Option<SwarmId>)]) -> Result<(), BeginBlockError> {
        for &(node, swarm) in nodes {
            let found = match swarm {
                Some(id) => self.leave_swarm(&node, id),
                None => self.waiting.iter().position(|n| *n == node).and_then(|place| self.waiting.remove(place)),
            };
            if found.is_none() {
                return Err(BeginBlockError::NotThere { node, swarm });
            }
        }
        Ok(())
    }

    fn leave_swarm(&mut self, node: &NodeId, id: SwarmId) -> Option<NodeId> {
        let swarm = self.ids.binary_search(&id).ok()?;
        let member = self.members_mut(swarm).binary_search(node).ok()?;
        Some(self.remove(swarm, member))
    }

    /// Step 1: ends the swarms without members, but never the last.
    fn end_empty(&mut self) {
        let mut left = self.ids.len();
        self.retain(|size| {
            let ends = size == 0 && left > 1;
            left -= usize::from(ends);
            !ends
        });
    }

    /// Step 1: sends those who started home, if home exists and is not full, or lets them wait.
    fn join(&mut self, nodes: &[NodeId], home: impl Fn(&NodeId) -> Option<SwarmId>) -> Result<(), BeginBlockError> {
        let mut nodes = nodes.to_vec();
        nodes.sort_unstable();
        let twice = nodes.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        if let Some(node) = twice.or_else(|| self.waiting.iter().copied().find(|n| nodes.binary_search(n).is_ok())) {
            return Err(BeginBlockError::JoinsTwice(node));
        }
        self.rng.shuffle(&mut nodes);
        for node in nodes {
            match home(&node).and_then(|id| self.ids.binary_search(&id).ok()) {
                Some(swarm) if self.members(swarm).binary_search(&node).is_ok() => {
                    return Err(BeginBlockError::JoinsTwice(node));
                }
                Some(swarm) if !self.is_full(swarm) => self.insert(swarm, node),
                _ => self.waiting.push_back(node),
            }
        }
        Ok(())
    }

    /// Step 2: without any swarm, five who wait are enough for one.
    fn found_first(&mut self) {
        if self.ids.is_empty() && self.waiting.len() >= NMIN {
            let members = self.waiting.drain(..self.waiting.len().min(NMAX)).collect();
            self.found(members);
        }
    }

    /// Step 3: fills starving swarms, those that lack least first; where waiting and spare nodes do not suffice for
    /// the next one, gives up the smallest instead. Each turn mends one starving swarm without making another, or
    /// ends one.
    fn feed_starving(&mut self) {
        if !self.sizes.iter().any(|size| usize::from(*size) < NMIN) {
            return;
        }
        let mut by_size = BySize::new(&self.sizes);
        let mut alive = self.ids.len();
        let mut spare: usize = self.sizes.iter().map(|size| usize::from(*size).saturating_sub(NMIN)).sum();
        while let Some((swarm, size)) = by_size.largest(0..=NMIN - 1) {
            let need = NMIN - size;
            if self.waiting.len() + spare >= need {
                by_size.move_to(swarm, size, NMIN);
                for _ in 0..need {
                    let Some(node) = self.waiting.pop_front().or_else(|| {
                        spare -= 1;
                        self.steal(&mut by_size)
                    }) else {
                        break;
                    };
                    self.insert(swarm, node);
                }
            } else if alive > 1
                && let Some((smallest, size)) = by_size.smallest(0..=NMIN - 1)
            {
                by_size.remove(smallest, size);
                self.dissolve(smallest);
                alive -= 1;
            } else {
                break;
            }
        }
        self.retain(|size| size != DISSOLVED);
    }

    /// A random member of the largest swarm that can spare one.
    fn steal(&mut self, by_size: &mut BySize) -> Option<NodeId> {
        let (donor, size) = by_size.largest(NMIN + 1..=NMAX)?;
        by_size.move_to(donor, size, size - 1);
        Some(self.remove_random(donor))
    }

    /// Lets the members of a swarm wait, in a random order; the swarm's place in the lists stays until they are
    /// cleared of the dissolved.
    fn dissolve(&mut self, swarm: usize) {
        let mut members = std::mem::take(self.members_mut(swarm));
        self.sizes[swarm] = DISSOLVED;
        self.rng.shuffle(&mut members);
        self.waiting.extend(members);
    }

    /// Step 4: sends those who wait, in their order, to random swarms that are not full.
    fn place(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let mut open: Vec<usize> = (0..self.ids.len()).filter(|swarm| !self.is_full(*swarm)).collect();
        while !open.is_empty()
            && let Some(node) = self.waiting.pop_front()
        {
            let choice = self.rng.index(open.len());
            self.insert(open[choice], node);
            if self.is_full(open[choice]) {
                open.remove(choice);
            }
        }
    }

    /// Step 5: while some wait, so that all swarms are full, founds new ones as long as there is excess enough.
    fn found_from_excess(&mut self) {
        while !self.waiting.is_empty() {
            let excess: usize = self.sizes.iter().map(|size| usize::from(excess(*size))).sum();
            if excess + self.waiting.len() < NTARGET {
                break;
            }
            let drawn = excess.min(NTARGET);
            let mut members: Vec<_> = (0..drawn).map(|done| self.remove_excess(excess - done)).collect();
            members.extend(self.waiting.drain(..NTARGET - drawn));
            self.found(members);
            self.place();
        }
    }

    /// Takes a random member out of a swarm drawn by its excess, of which there is `total`.
    fn remove_excess(&mut self, total: usize) -> NodeId {
        let swarm = nth_excess(&self.sizes, self.rng.index(total));
        self.remove_random(swarm)
    }

    fn remove_random(&mut self, swarm: usize) -> NodeId {
        let member = self.rng.index(usize::from(self.sizes[swarm]));
        self.remove(swarm, member)
    }

    fn remove(&mut self, swarm: usize, member: usize) -> NodeId {
        self.sizes[swarm] -= 1;
        self.members_mut(swarm).remove(member)
    }

    fn insert(&mut self, swarm: usize, node: NodeId) {
        self.sizes[swarm] += 1;
        let members = self.members_mut(swarm);
        let place = members.partition_point(|member| *member < node);
        members.insert(place, node);
    }

    fn is_full(&self, swarm: usize) -> bool {
        usize::from(self.sizes[swarm]) >= NMAX
    }

    /// A new swarm, in the middle of the largest gap.
    fn found(&mut self, mut members: Vec<NodeId>) {
        members.sort_unstable();
        let id = new_id(&self.ids);
        let index = self.ids.partition_point(|other| *other < id);
        self.ids.insert(index, id);
        self.sizes.insert(index, size(&members));
        self.touched.insert(id, members);
    }

    fn members(&self, swarm: usize) -> &[NodeId] {
        let id = self.ids[swarm];
        self.touched.get(&id).map(Vec::as_slice).or_else(|| self.before.members(id)).unwrap_or_default()
    }

    fn members_mut(&mut self, swarm: usize) -> &mut Vec<NodeId> {
        let (id, before) = (self.ids[swarm], self.before);
        self.touched.entry(id).or_insert_with(|| before.members(id).map(<[_]>::to_vec).unwrap_or_default())
    }

    /// Keeps the swarms whose size `keep` accepts, asked in ascending order of the ids.
    fn retain(&mut self, mut keep: impl FnMut(u8) -> bool) {
        let swarms = self.ids.iter().copied().zip(self.sizes.iter().copied());
        (self.ids, self.sizes) = swarms.filter(|(_, size)| keep(*size)).unzip();
    }

    /// The new map, sharing with the old one what did not change, and the difference.
    fn finish(self) -> (SwarmMap, Changes) {
        let mut swarms = self.before.swarms().clone();
        let mut changes = Changes::default();
        let mut gone: Vec<NodeId> = Vec::new();
        for (id, members) in self.touched {
            let before = self.before.members(id);
            let exists = self.ids.binary_search(&id).is_ok();
            if before == exists.then_some(&members[..]) {
                continue;
            }
            let is_in = |list: &[NodeId], node: &NodeId| list.binary_search(node).is_ok();
            let before = before.unwrap_or_default();
            changes.nodes.extend(members.iter().filter(|n| !is_in(before, n)).map(|n| (*n, Some(id))));
            gone.extend(before.iter().filter(|n| !is_in(&members, n)));
            changes.swarms.insert(id);
            update(&mut swarms, id, exists.then(|| members.into()));
        }
        for node in gone {
            changes.nodes.entry(node).or_insert(None);
        }
        changes.waiting = !self.waiting.iter().eq(self.before.waiting());
        (SwarmMap::settled(swarms, self.waiting.into_iter().collect()), changes)
    }
}

/// Stands for the size of a swarm dissolved in this block, until the lists are cleared of it.
const DISSOLVED: u8 = u8::MAX;

#[expect(clippy::cast_possible_truncation, reason = "a swarm has at most ten members")]
const fn size(members: &[NodeId]) -> u8 {
    members.len() as u8
}

#[expect(clippy::cast_possible_truncation, reason = "a constant below 256")]
const fn excess(size: u8) -> u8 {
    size.saturating_sub(NTARGET as u8)
}

/// The swarm that holds excess member `nth`, counted over the swarms in order. Whole blocks of swarms are skipped by
/// their sum.
fn nth_excess(sizes: &[u8], mut nth: usize) -> usize {
    const BLOCK: usize = 64; // times an excess of 3 still fits a byte, so the sum is taken in vectors of bytes
    let mut swarm = 0;
    for block in sizes.chunks_exact(BLOCK) {
        let sum = usize::from(block.iter().map(|size| excess(*size)).sum::<u8>());
        if nth < sum {
            break;
        }
        nth -= sum;
        swarm += BLOCK;
    }
    for size in &sizes[swarm..] {
        let here = usize::from(excess(*size));
        if nth < here {
            break;
        }
        nth -= here;
        swarm += 1;
    }
    swarm
}

fn update(swarms: &mut OrdMap<SwarmId, Members>, id: SwarmId, members: Option<Members>) {
    match members {
        Some(members) => swarms.insert(id, members),
        None => swarms.remove(&id),
    };
}

/// The swarms by size, each size in order of the ids: what step 3 looks for is always the first of some size.
struct BySize([BTreeSet<usize>; NMAX + 1]);

impl BySize {
    fn new(sizes: &[u8]) -> Self {
        Self(std::array::from_fn(|wanted| {
            sizes.iter().enumerate().filter(|(_, size)| usize::from(**size) == wanted).map(|(swarm, _)| swarm).collect()
        }))
    }

    /// The first swarm of the smallest size within `sizes`, and that size.
    fn smallest(&self, mut sizes: RangeInclusive<usize>) -> Option<(usize, usize)> {
        sizes.find_map(|size| Some((*self.0[size].first()?, size)))
    }

    /// The first swarm of the largest size within `sizes`, and that size.
    fn largest(&self, sizes: RangeInclusive<usize>) -> Option<(usize, usize)> {
        sizes.rev().find_map(|size| Some((*self.0[size].first()?, size)))
    }

    fn remove(&mut self, swarm: usize, size: usize) {
        self.0[size].remove(&swarm);
    }

    fn move_to(&mut self, swarm: usize, from: usize, to: usize) {
        self.remove(swarm, from);
        self.0[to].insert(swarm);
    }
}
