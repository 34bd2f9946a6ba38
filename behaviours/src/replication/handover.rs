//! How a node hands over what another swarm owns now, and when it may erase it.
//!
//! There is one rule for every cause: an item is kept and served until it expires, or until at least two members of the
//! swarm that owns it (all, if it has fewer) have said that they hold it on disk. So the node goes through what it holds
//! for others, a thousand items at a time, and asks one member after the other until every item has its confirmations,
//! or there is nobody left to ask. Then it begins anew half a minute later with what is left.
//!
//! Whoever owns this sends what it is told to, reads items, keeps confirmations on disk and erases. It has at most one
//! request on its way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand_core::Rng;
use sotto_proto::id::{ItemId, NodeId, SwarmId};
use sotto_proto::limits::{HAND_OVER_INTERVAL, HANDOVER_CONFIRMATIONS, OFFER_ITEMS, PAGE_ITEMS};
use sotto_proto::request::{Item, OfferRequest, OfferResponse};
use sotto_proto::time::Monotonic;

use super::draw::shuffled;
use super::set::{Entry, ItemSet};

/// A batch that stood still for this long is given up.
const STALLED: Duration = Duration::from_secs(60);

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandOverAct {
    /// Look up who has confirmed these items before, and call [`HandOver::recalled`].
    Recall {
        /// Which.
        ids: Vec<ItemId>,
    },
    /// Ask this and call [`HandOver::answered`].
    Ask {
        /// Whom.
        node: NodeId,
        /// What.
        request: OfferRequest,
    },
    /// Read these, as many as fit a page, and call [`HandOver::read`].
    Read {
        /// Which.
        ids: Vec<ItemId>,
    },
    /// Keep on disk that this node has confirmed these.
    Confirmed {
        /// Who.
        node: NodeId,
        /// What.
        ids: Vec<ItemId>,
    },
    /// Erase these with their confirmations, unless the own swarm owns them again.
    Erase {
        /// Who owns them.
        swarm: SwarmId,
        /// Which.
        ids: Vec<ItemId>,
    },
}

/// What the node holds for other swarms, and who is in them, under the final map.
pub trait Foreign {
    /// The swarms of which something is held that the node is no member of, ascending.
    fn swarms(&self) -> Vec<SwarmId>;
    /// What of that is held on disk.
    fn items(&self, swarm: SwarmId) -> Option<&ItemSet>;
    /// The swarm's members.
    fn members(&self, swarm: SwarmId) -> BTreeSet<NodeId>;
}

/// The rules of handing over at one node.
#[derive(Debug, Default)]
pub struct HandOver {
    batch: Option<Batch>,
    /// The last item of the last batch.
    behind: Option<(SwarmId, Entry)>,
    next_at: Monotonic,
}

/// How far the requests of a batch are.
#[derive(Debug)]
enum Stage {
    Recalling,
    Offering { node: NodeId, ids: Vec<ItemId> },
    Reading { node: NodeId, asked: Vec<ItemId> },
    Handing { node: NodeId },
}

#[derive(Debug)]
struct Batch {
    swarm: SwarmId,
    /// The items, and which members have confirmed each.
    items: BTreeMap<ItemId, BTreeSet<NodeId>>,
    /// Members that are still to be asked, in drawn order.
    members: VecDeque<NodeId>,
    /// Confirmations that an item needs.
    quorum: usize,
    /// What the member that is asked now wants and has not been sent yet.
    wanted: VecDeque<ItemId>,
    stage: Stage,
    moved_at: Monotonic,
}

impl HandOver {
    /// The map is another one: what was begun is forgotten, and everything is gone through from the beginning.
    pub fn restart(&mut self, now: Monotonic) {
        *self = Self { next_at: now, ..Self::default() };
    }

    /// When [`HandOver::poll`] has something to do at the latest. Only of use while something is held for others.
    #[must_use]
    pub fn wake_at(&self) -> Monotonic {
        self.batch.as_ref().map_or(self.next_at, |batch| batch.moved_at.plus(STALLED))
    }

    /// Begins a batch, if there is something to hand over and it is time.
    pub fn poll(&mut self, foreign: &impl Foreign, now: Monotonic, rng: &mut impl Rng) -> Option<HandOverAct> {
        if let Some(batch) = &self.batch {
            if now.since(batch.moved_at) < STALLED {
                return None;
            }
            tracing::debug!(swarm = %batch.swarm, "a hand-over stood still");
            self.batch = None;
        }
        if now < self.next_at {
            return None;
        }
        let Some((swarm, ids, members)) = self.next_batch(foreign) else {
            self.behind = None;
            self.next_at = now.plus(HAND_OVER_INTERVAL);
            return None;
        };
        let quorum = members.len().min(HANDOVER_CONFIRMATIONS);
        self.batch = Some(Batch {
            swarm,
            items: ids.iter().map(|id| (*id, BTreeSet::new())).collect(),
            members: shuffled(members, rng).into(),
            quorum,
            wanted: VecDeque::new(),
            stage: Stage::Recalling,
            moved_at: now,
        });
        Some(HandOverAct::Recall { ids })
    }

    /// The next items of the swarm that was last dealt with, or of the next one that has members.
    fn next_batch(&mut self, foreign: &impl Foreign) -> Option<(SwarmId, Vec<ItemId>, BTreeSet<NodeId>)> {
        let start = self.behind.map(|(swarm, _)| swarm);
        for swarm in foreign.swarms().into_iter().filter(|swarm| start.is_none_or(|start| *swarm >= start)) {
            let (Some(set), members) = (foreign.items(swarm), foreign.members(swarm)) else { continue };
            if members.is_empty() {
                continue;
            }
            let behind = self.behind.filter(|(of, _)| *of == swarm).map(|(_, entry)| entry);
            let entries: Vec<_> = set.after(behind.as_ref()).take(OFFER_ITEMS).copied().collect();
            if let Some(last) = entries.last() {
                self.behind = Some((swarm, *last));
                return Some((swarm, entries.iter().map(|entry| entry.id).collect(), members));
            }
        }
        None
    }

    /// Who has confirmed the items of [`HandOverAct::Recall`] before.
    pub fn recalled(
        &mut self,
        foreign: &impl Foreign,
        confirmations: impl IntoIterator<Item = (ItemId, NodeId)>,
        now: Monotonic,
    ) -> Vec<HandOverAct> {
        let Some(batch) = self.batch.as_mut().filter(|batch| matches!(batch.stage, Stage::Recalling)) else {
            return Vec::new();
        };
        batch.moved_at = now;
        let members = foreign.members(batch.swarm);
        for (item, node) in confirmations {
            // Whoever has left the swarm since does not count any more.
            if let Some(confirmed) = batch.items.get_mut(&item).filter(|_| members.contains(&node)) {
                confirmed.insert(node);
            }
        }
        self.ask_next(foreign, now)
    }

    /// Takes the answer to the last request; `None`: there was none.
    pub fn answered(
        &mut self,
        foreign: &impl Foreign,
        response: Option<OfferResponse>,
        now: Monotonic,
    ) -> Vec<HandOverAct> {
        let Some(batch) = &mut self.batch else { return Vec::new() };
        batch.moved_at = now;
        match (&batch.stage, response) {
            (Stage::Offering { node, ids }, Some(OfferResponse::Wanted(wanted))) => {
                let node = *node;
                let Some(wanted) = wanted.of(ids.len()) else {
                    tracing::debug!(node = node.short(), "an answer about another offer");
                    return self.ask_next(foreign, now);
                };
                let (lacking, durable): (Vec<_>, Vec<_>) = ids.iter().copied().zip(wanted).partition(|(_, is)| *is);
                batch.wanted = lacking.into_iter().map(|(id, _)| id).collect();
                let mut acts = batch.confirm(node, durable.into_iter().map(|(id, _)| id));
                acts.extend(self.hand_next(node, foreign, now));
                acts
            }
            (Stage::Handing { node }, Some(OfferResponse::Durable(ids))) => {
                let node = *node;
                let mut acts = batch.confirm(node, ids);
                acts.extend(self.hand_next(node, foreign, now));
                acts
            }
            (_, Some(OfferResponse::Error(error))) => {
                tracing::debug!(swarm = %batch.swarm, reason = error.label(), "an offer was refused");
                self.ask_next(foreign, now)
            }
            _ => self.ask_next(foreign, now),
        }
    }

    /// Items of [`HandOverAct::Read`], and which of those asked for they settle: those that are gone among them.
    pub fn read(
        &mut self,
        foreign: &impl Foreign,
        items: Vec<Item>,
        settled: &BTreeSet<ItemId>,
        now: Monotonic,
    ) -> Vec<HandOverAct> {
        let Some(batch) = &mut self.batch else { return Vec::new() };
        let Stage::Reading { node, asked } = &batch.stage else { return Vec::new() };
        let node = *node;
        batch.moved_at = now;
        if asked.iter().any(|id| settled.contains(id)) {
            batch.wanted.extend(asked.iter().filter(|id| !settled.contains(id)));
        }
        if items.is_empty() {
            return self.hand_next(node, foreign, now);
        }
        batch.stage = Stage::Handing { node };
        vec![HandOverAct::Ask { node, request: OfferRequest::Hand(items) }]
    }

    /// Reads the next page of what `node` wants, or goes on to the next member.
    fn hand_next(&mut self, node: NodeId, foreign: &impl Foreign, now: Monotonic) -> Vec<HandOverAct> {
        let Some(batch) = &mut self.batch else { return Vec::new() };
        if batch.wanted.is_empty() {
            return self.ask_next(foreign, now);
        }
        let ids: Vec<_> = batch.wanted.drain(..batch.wanted.len().min(PAGE_ITEMS)).collect();
        batch.stage = Stage::Reading { node, asked: ids.clone() };
        vec![HandOverAct::Read { ids }]
    }

    /// Offers what still lacks confirmations to the next member, or ends the batch.
    fn ask_next(&mut self, foreign: &impl Foreign, now: Monotonic) -> Vec<HandOverAct> {
        let Some(batch) = &mut self.batch else { return Vec::new() };
        batch.wanted.clear();
        while let Some(node) = batch.members.pop_front() {
            let lacks = |confirmed: &BTreeSet<_>| confirmed.len() < batch.quorum && !confirmed.contains(&node);
            let open = batch.items.iter().filter(|(_, confirmed)| lacks(confirmed));
            let ids: Vec<_> = open.map(|(id, _)| *id).collect();
            if !ids.is_empty() {
                batch.stage = Stage::Offering { node, ids: ids.clone() };
                return vec![HandOverAct::Ask { node, request: OfferRequest::Offer(ids) }];
            }
        }
        self.end_batch(foreign, now)
    }

    fn end_batch(&mut self, foreign: &impl Foreign, now: Monotonic) -> Vec<HandOverAct> {
        let Some(batch) = self.batch.take() else { return Vec::new() };
        self.next_at = now;
        let ids = batch.settled(&foreign.members(batch.swarm));
        if ids.is_empty() { Vec::new() } else { vec![HandOverAct::Erase { swarm: batch.swarm, ids }] }
    }
}

impl Batch {
    /// Counts a member's word, and has it kept.
    fn confirm(&mut self, node: NodeId, ids: impl IntoIterator<Item = ItemId>) -> Vec<HandOverAct> {
        let mut new = Vec::new();
        for id in ids {
            // About other items than those of the batch a member may say what it likes.
            if let Some(confirmed) = self.items.get_mut(&id)
                && confirmed.insert(node)
            {
                new.push(id);
            }
        }
        if new.is_empty() { Vec::new() } else { vec![HandOverAct::Confirmed { node, ids: new }] }
    }

    /// Items that enough of the present members hold.
    fn settled(&self, members: &BTreeSet<NodeId>) -> Vec<ItemId> {
        let needed = members.len().min(HANDOVER_CONFIRMATIONS);
        if needed == 0 {
            return Vec::new();
        }
        let enough = |confirmed: &BTreeSet<NodeId>| confirmed.intersection(members).count() >= needed;
        self.items.iter().filter(|(_, confirmed)| enough(confirmed)).map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests;
