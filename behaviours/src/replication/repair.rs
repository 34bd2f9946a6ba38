//! When a member compares itself with whom, what it fetches then and what it gives.
//!
//! One exchange at a time: a session that finds the differences, then pages of items in both directions. Every new
//! member connection leads to one, and every other member is compared with once in [`REPAIR_CYCLE`], in a drawn order.
//! With one drawn by lot every half minute, what two of five had and gossip had lost took the others up to a minute: the
//! simulator says so. An exchange that breaks is simply forgotten; the next one finds what is still missing.
//!
//! A member may answer as it likes, and must not keep this one from the others by it.
//!
//! | file | what |
//! | --- | --- |
//! | `acts` | what goes in and out |
//! | `exchange` | how far the exchange with one member is |
//! | `newcomers` | members that lack so much that they are left to fetch it |
//! | `patience` | how long an exchange may last: as long as it brings something |
//! | `page` | whether a page was worth its while |
//! | `shunned` | members that wasted time, and until when they are left alone |
//!
//! Whoever owns this sends what it is told to, reads and judges items, and holds the set. It has at most one request
//! on its way, so it tells a late answer from the right one by remembering the last.

mod acts;
mod exchange;
mod newcomers;
mod page;
mod patience;
mod shunned;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use rand_core::Rng;
use sotto_proto::id::{ItemId, NodeId};
use sotto_proto::limits::{PAGE_BYTES, PAGE_ITEMS, REPAIR_CYCLE};
use sotto_proto::request::{Item, RepairRequest, RepairResponse, Scope};
use sotto_proto::time::Monotonic;

pub use self::acts::{Compared, Member, RepairAct, Taken};
use self::exchange::{Exchange, Stage};
use self::newcomers::Newcomers;
use self::page::Page;
use self::patience::Patience;
use self::shunned::Shunned;
use super::draw::{draw, shuffled};
use super::scope_at;
use super::session::{Session, SessionError, Step};

/// Between two rounds of a member that has not caught up: it does not wait for half a minute after a failure.
const RETRY: Duration = Duration::from_secs(3);
/// After members came, everything is compared with them once more: what is younger than ten seconds is left out of
/// comparisons, and whoever was away a moment ago lacks just that.
const AGAIN: Duration = Duration::from_secs(12);
/// Sessions in a row with one member: more than a million items. Then others have a turn.
const SESSIONS: usize = 64;
/// Members that a newcomer must have caught up with: one alone may withhold.
const CAUGHT_UP_WITH: usize = 2;
/// Where there are more than so many others, it must have asked one more: two may lie together.
const FEW: usize = 3;
/// Those, and that one.
const ASKED: usize = CAUGHT_UP_WITH + 1;

/// The rules of repair at one member.
#[derive(Debug, Default)]
pub struct Repair {
    /// Members that are connected.
    members: BTreeSet<NodeId>,
    /// Those of them that came, to be compared with at once, each once.
    due: VecDeque<NodeId>,
    /// Those that have come, to be compared with once more, and when.
    again: BTreeSet<NodeId>,
    again_at: Option<Monotonic>,
    /// The rest of the cycle, the next one last.
    cycle: Vec<NodeId>,
    next_round: Monotonic,
    /// Members with whom nothing was left to exchange at one time since the swarm was joined.
    caught_up_with: BTreeSet<NodeId>,
    /// They, and those with whom an exchange broke off.
    asked: BTreeSet<NodeId>,
    newcomers: Newcomers,
    shunned: Shunned,
    exchange: Option<Exchange>,
    compared: Option<Compared>,
}

impl Repair {
    /// Which other members of the swarm are connected now.
    pub fn set_members(&mut self, members: BTreeSet<NodeId>) {
        self.due.retain(|node| members.contains(node));
        self.due.extend(members.difference(&self.members));
        self.newcomers.retain(&members);
        self.members = members;
    }

    /// The swarm is another one: nothing that was compared counts any more.
    pub fn restart(&mut self) {
        self.exchange = None;
        self.caught_up_with.clear();
        self.asked.clear();
        self.newcomers.clear();
        self.shunned.clear();
        self.due = self.members.iter().copied().collect();
    }

    /// Compares with every connected member once more, as soon as may be: somebody wants to know who has what.
    pub fn compare_all(&mut self) {
        let waiting: BTreeSet<NodeId> = self.due.iter().copied().collect();
        self.due.extend(self.members.difference(&waiting));
    }

    /// What the last comparison told that came to an end; once.
    pub const fn take_compared(&mut self) -> Option<Compared> {
        self.compared.take()
    }

    /// Something of the own set was lost: what was compared before does not count any more. An exchange under way goes on,
    /// but says nothing of what was lost meanwhile.
    pub fn doubt(&mut self) {
        self.caught_up_with.clear();
        self.asked.clear();
        self.due = self.members.iter().copied().collect();
        if let Some(exchange) = &mut self.exchange {
            exchange.doubted = true;
        }
    }

    /// Whether everything the swarm had when the node joined it is here, as far as two members can tell, and a third one
    /// if the swarm is not small and so many are connected. `others` is how many other members the swarm has.
    #[must_use]
    pub fn is_caught_up(&self, others: usize) -> bool {
        let asked = if others > FEW { self.members.len().min(ASKED) } else { 0 };
        self.caught_up_with.len() >= others.min(CAUGHT_UP_WITH) && self.asked.len() >= asked
    }

    /// When [`Repair::poll`] has something to do at the latest.
    #[must_use]
    pub fn wake_at(&self) -> Option<Monotonic> {
        match &self.exchange {
            Some(exchange) => Some(exchange.until()),
            None => (!self.members.is_empty())
                .then(|| self.again_at.map_or(self.next_round, |again| again.min(self.next_round))),
        }
    }

    /// Whether [`Repair::poll`] would do anything.
    #[must_use]
    pub fn is_due(&self, now: Monotonic) -> bool {
        (self.exchange.is_none() && !self.due.is_empty()) || self.wake_at().is_some_and(|at| at <= now)
    }

    /// Begins an exchange, if one is due.
    pub fn poll(&mut self, member: &Member<'_>, rng: &mut impl Rng) -> Option<RepairAct> {
        if self.exchange.as_ref().is_some_and(|exchange| member.now < exchange.until()) {
            return None;
        }
        if let Some(mut exchange) = self.exchange.take() {
            exchange.advance(member.now);
            self.give_up(exchange.node, exchange.patience, "it stood still", false, member.now);
        }
        // Whoever comes again and again is compared with at once, but not for ever before all others.
        if self.next_round == Monotonic::default() {
            self.next_round = member.now;
        }
        let overdue = self.next_round.plus(REPAIR_CYCLE) <= member.now;
        let due = if overdue { None } else { self.next_due(member.now) };
        let node = match due {
            Some(node) => {
                self.again.insert(node);
                self.again_at = Some(member.now.plus(AGAIN));
                node
            }
            None => self.next(member.now, rng)?,
        };
        Some(self.begin(node, 1, Patience::default(), member))
    }

    fn next_due(&mut self, now: Monotonic) -> Option<NodeId> {
        while let Some(node) = self.due.pop_front() {
            if !self.shunned.contains(&node, now) {
                return Some(node);
            }
        }
        None
    }

    fn next(&mut self, now: Monotonic, rng: &mut impl Rng) -> Option<NodeId> {
        let willing = self.willing(now);
        if self.again_at.is_some_and(|again| again <= now) {
            while let Some(node) = self.again.pop_first() {
                if willing.contains(&node) {
                    return Some(node);
                }
            }
            self.again_at = None;
        }
        if now < self.next_round {
            return None;
        }
        if !self.is_caught_up(self.members.len()) {
            let lacking = willing.difference(&self.caught_up_with).copied().collect();
            if let Some(node) = draw(&lacking, rng) {
                self.next_round = now.plus(RETRY);
                return Some(node);
            }
        }
        let members = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        self.next_round = now.plus(REPAIR_CYCLE / members.max(1));
        self.cycle.retain(|node| willing.contains(node));
        if self.cycle.is_empty() {
            self.cycle = shuffled(willing, rng);
        }
        self.cycle.pop()
    }

    /// Members to compare with: none that are shunned, unless there are no others.
    fn willing(&self, now: Monotonic) -> BTreeSet<NodeId> {
        let members = self.members.iter().copied();
        let willing: BTreeSet<_> = members.filter(|node| !self.shunned.contains(node, now)).collect();
        if willing.is_empty() { self.members.clone() } else { willing }
    }

    fn begin(&mut self, node: NodeId, sessions: usize, patience: Patience, member: &Member<'_>) -> RepairAct {
        let scope = scope_at(member.height, member.swarm, member.time);
        let (session, request) = Session::start(&member.set.view(scope));
        self.exchange = Some(Exchange {
            node,
            scope,
            stage: Stage::Comparing(session),
            need: VecDeque::new(),
            have: VecDeque::new(),
            complete: false,
            moved: 0,
            sessions,
            doubted: false,
            moved_at: member.now,
            patience,
        });
        RepairAct::Ask { node, request }
    }

    /// Takes the answer to the last request; `None`: there was none.
    pub fn answered(&mut self, member: &Member<'_>, response: Option<RepairResponse>) -> Option<RepairAct> {
        let mut exchange = self.exchange.take()?;
        exchange.advance(member.now);
        let (node, mut patience) = (exchange.node, exchange.patience);
        let response = response.filter(|_| !patience.is_out());
        let (reason, wrong) = match (exchange.stage, response) {
            (_, None) => ("no answer".to_owned(), false),
            (Stage::Comparing(mut session), Some(response)) => {
                let before = session.differences();
                match session.answered(&member.set.view(exchange.scope), response) {
                    Ok(Step::Ask(request)) => {
                        patience.found(session.differences().saturating_sub(before));
                        self.exchange = Some(Exchange { stage: Stage::Comparing(session), patience, ..exchange });
                        return Some(RepairAct::Ask { node, request });
                    }
                    Ok(Step::Equal) => {
                        self.note(node, exchange.scope, BTreeSet::new());
                        self.finish(node, exchange.doubted);
                        return None;
                    }
                    Ok(Step::Different(found)) => {
                        tracing::debug!(
                            node = node.short(),
                            lacking = found.need.len(),
                            extra = found.have.len(),
                            "sets differ"
                        );
                        if found.complete {
                            self.note(node, exchange.scope, found.have.clone());
                        }
                        let (need, mut have) = (found.need.into_iter().collect(), VecDeque::from_iter(found.have));
                        if self.newcomers.fetches(node, have.len()) {
                            have.clear();
                        }
                        let stage = Stage::Giving { count: 0 };
                        return self
                            .go_on(Exchange { stage, need, have, complete: found.complete, ..exchange }, member);
                    }
                    Err(error) => (error.to_string(), !matches!(error, SessionError::Refused(_))),
                }
            }
            (Stage::Fetching { asked }, Some(RepairResponse::Items { items, more })) => {
                let stage = Stage::Taking(Page::new(asked, &items, more));
                self.exchange = Some(Exchange { stage, ..exchange });
                return Some(RepairAct::Take { from: node, items });
            }
            (Stage::Giving { count }, Some(RepairResponse::Taken)) => {
                let moved = exchange.moved + count;
                return self.go_on(Exchange { stage: Stage::Giving { count: 0 }, moved, ..exchange }, member);
            }
            (_, Some(RepairResponse::Error(error))) => (error.label().to_owned(), false),
            _ => ("an answer to something else".to_owned(), true),
        };
        self.give_up(node, patience, &reason, wrong, member.now);
        None
    }

    fn note(&mut self, node: NodeId, scope: Scope, lacking: BTreeSet<ItemId>) {
        self.compared = Some(Compared { node, scope, lacking });
    }

    /// The items of [`RepairAct::Take`] were looked at.
    pub fn took(&mut self, member: &Member<'_>, taken: &Taken) -> Option<RepairAct> {
        let mut exchange = self.exchange.take_if(|exchange| matches!(exchange.stage, Stage::Taking(_)))?;
        exchange.advance(member.now);
        let Stage::Taking(page) = std::mem::replace(&mut exchange.stage, Stage::Giving { count: 0 }) else {
            return None;
        };
        let missing = page.missing(&taken.received);
        exchange.moved += taken.kept;
        exchange.patience.took(page.new_bytes(taken));
        if page.is_poor(taken, missing.len()) && exchange.patience.poor_page() {
            // What cannot be judged yet may be the chain's fault, or this node's.
            let (node, patience, wrong) = (exchange.node, exchange.patience, !taken.postponed);
            self.give_up(node, patience, "its pages are not worth their while", wrong, member.now);
            return None;
        }
        let goes_on = page.goes_on(missing.len());
        exchange.complete &= (goes_on || missing.is_empty()) && taken.refused == 0 && !taken.postponed;
        // What did not fit is asked for again; what is missing from the last page is gone.
        if goes_on {
            exchange.need.extend(missing);
        }
        self.go_on(exchange, member)
    }

    /// Items of [`RepairAct::Read`], and which of those asked for they settle: those that are gone among them.
    pub fn read(&mut self, member: &Member<'_>, items: Vec<Item>, settled: &BTreeSet<ItemId>) -> Option<RepairAct> {
        let mut exchange = self.exchange.take_if(|exchange| matches!(exchange.stage, Stage::Reading { .. }))?;
        exchange.advance(member.now);
        let Stage::Reading { asked } = std::mem::replace(&mut exchange.stage, Stage::Giving { count: items.len() })
        else {
            return None;
        };
        if asked.iter().any(|id| settled.contains(id)) {
            exchange.have.extend(asked.iter().filter(|id| !settled.contains(id)));
        }
        if items.is_empty() {
            return self.go_on(exchange, member);
        }
        let (node, scope) = (exchange.node, exchange.scope);
        exchange.patience.gave(items.iter().map(Item::len).sum());
        self.exchange = Some(exchange);
        Some(RepairAct::Ask { node, request: RepairRequest::Give { scope, items } })
    }

    /// The next page, or the end.
    fn go_on(&mut self, mut exchange: Exchange, member: &Member<'_>) -> Option<RepairAct> {
        let (node, scope) = (exchange.node, exchange.scope);
        let more = !exchange.need.is_empty() || !exchange.have.is_empty();
        if more && exchange.patience.is_turn_over() && self.is_awaited(node, member.now) {
            tracing::debug!(node = node.short(), "repair goes on when others had their turn");
            self.next_round = self.next_round.min(member.now);
            return None;
        }
        if !exchange.need.is_empty() {
            let ids = page(&mut exchange.need);
            self.exchange = Some(Exchange { stage: Stage::Fetching { asked: ids.clone() }, ..exchange });
            let max_bytes = u32::try_from(PAGE_BYTES).unwrap_or(u32::MAX);
            return Some(RepairAct::Ask { node, request: RepairRequest::Fetch { scope, ids, max_bytes } });
        }
        if !exchange.have.is_empty() {
            let ids = page(&mut exchange.have);
            self.exchange = Some(Exchange { stage: Stage::Reading { asked: ids.clone() }, ..exchange });
            return Some(RepairAct::Read { ids });
        }
        if exchange.complete {
            self.finish(node, exchange.doubted);
            return None;
        }
        // Another session at once, as long as sessions get anywhere.
        if exchange.moved > 0 && exchange.sessions < SESSIONS {
            return Some(self.begin(node, exchange.sessions + 1, exchange.patience, member));
        }
        self.give_up(node, exchange.patience, "it has more than could be taken", false, member.now);
        None
    }

    /// Whether other members wait to be compared with.
    fn is_awaited(&self, node: NodeId, now: Monotonic) -> bool {
        self.due.iter().any(|due| *due != node) || (self.members.len() > 1 && self.next_round <= now)
    }

    /// Nothing is left to exchange; `doubted` if something of the own set was lost meanwhile.
    fn finish(&mut self, node: NodeId, doubted: bool) {
        if !doubted {
            self.caught_up_with.insert(node);
            self.asked.insert(node);
        }
        self.shunned.remove(&node);
    }

    /// An exchange broke off, if it is `wrong` with something that no honest member says.
    fn give_up(&mut self, node: NodeId, patience: Patience, reason: &str, wrong: bool, now: Monotonic) {
        tracing::debug!(node = node.short(), reason, "repair broke off");
        self.asked.insert(node);
        if wrong || patience.is_short() {
            self.shunned.add(node, wrong, now);
        }
        if !self.is_caught_up(self.members.len()) {
            self.next_round = self.next_round.min(now.plus(RETRY));
        }
    }
}

fn page(ids: &mut VecDeque<ItemId>) -> Vec<ItemId> {
    ids.drain(..ids.len().min(PAGE_ITEMS)).collect()
}

#[cfg(test)]
mod tests;
