//! When a member compares itself with whom, what it fetches then and what it gives.
//!
//! One exchange at a time: a session that finds the differences, then pages of items in both directions. Every new
//! member connection leads to one, and every other member is compared with once in [`REPAIR_CYCLE`], in a drawn order.
//! With one drawn by lot every half minute, what two of five had and gossip had lost took the others up to a minute: the
//! simulator says so. An exchange that breaks is simply forgotten; the next one finds what is still missing.
//!
//! Whoever owns this sends what it is told to, reads and judges items, and holds the set. It has at most one request
//! on its way, so it tells a late answer from the right one by remembering the last.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use rand_core::Rng;
use sotto_proto::id::{Height, ItemId, NodeId, SwarmId};
use sotto_proto::limits::{PAGE_BYTES, PAGE_ITEMS, REPAIR_CYCLE};
use sotto_proto::request::{Item, RepairRequest, RepairResponse, Scope};
use sotto_proto::time::{Monotonic, UnixSeconds};

use super::draw::{draw, shuffled};
use super::scope_at;
use super::session::{Session, Step};
use super::set::ItemSet;

/// An exchange that stood still for this long is given up: whoever asked should have heard of a failure long before.
const STALLED: Duration = Duration::from_secs(60);
/// Between two rounds of a member that has not caught up: it does not wait for half a minute after a failure.
const RETRY: Duration = Duration::from_secs(3);
/// After members came, everything is compared with them once more: what is younger than ten seconds is left out of
/// comparisons, and whoever was away a moment ago lacks just that.
const AGAIN: Duration = Duration::from_secs(12);
/// Sessions in a row with one member: more than a million items. Then others have a turn.
const SESSIONS: usize = 64;
/// Members that a newcomer must have caught up with: one alone may withhold.
const CAUGHT_UP_WITH: usize = 2;

/// What the member is, as it takes the next step.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Its swarm.
    pub swarm: SwarmId,
    /// A final height under whose map the set is the swarm's, known to the neighbours too.
    pub height: Height,
    /// What it holds on disk.
    pub set: &'a ItemSet,
    /// The time since the start.
    pub now: Monotonic,
    /// The time of day.
    pub time: UnixSeconds,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairAct {
    /// Ask this and call [`Repair::answered`].
    Ask {
        /// Whom.
        node: NodeId,
        /// What.
        request: RepairRequest,
    },
    /// Judge and keep these, then call [`Repair::took`].
    Take {
        /// Who sent them.
        from: NodeId,
        /// The items.
        items: Vec<Item>,
    },
    /// Read these, as many as fit a page, and call [`Repair::read`].
    Read {
        /// Which.
        ids: Vec<ItemId>,
    },
}

/// What became of a page that was fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Which items were in it, those refused among them.
    pub received: BTreeSet<ItemId>,
    /// How many of them are new here.
    pub kept: usize,
    /// Some could not be judged here and now, and are to be fetched again.
    pub postponed: bool,
}

/// What comparing with another member has told of what is held here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The other member.
    pub node: NodeId,
    /// What was compared.
    pub scope: Scope,
    /// Items of that which it had not on disk. All others that were here from the beginning to the end it had.
    pub lacking: BTreeSet<ItemId>,
}

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
    exchange: Option<Exchange>,
    compared: Option<Compared>,
}

#[derive(Debug)]
struct Exchange {
    node: NodeId,
    scope: Scope,
    stage: Stage,
    /// Items to fetch.
    need: VecDeque<ItemId>,
    /// Items to give.
    have: VecDeque<ItemId>,
    /// The session found all there are.
    complete: bool,
    /// Items that were new here, or left for the other member, since the session.
    moved: usize,
    /// Sessions so far.
    sessions: usize,
    /// Something of the own set was lost since it began.
    doubted: bool,
    /// When it last went on.
    moved_at: Monotonic,
}

#[derive(Debug)]
enum Stage {
    Comparing(Session),
    Fetching { asked: Vec<ItemId> },
    Taking { asked: Vec<ItemId>, more: bool },
    Reading { asked: Vec<ItemId> },
    Giving { count: usize },
}

impl Repair {
    /// Which other members of the swarm are connected now.
    pub fn set_members(&mut self, members: BTreeSet<NodeId>) {
        self.due.retain(|node| members.contains(node));
        self.due.extend(members.difference(&self.members));
        self.members = members;
    }

    /// The swarm is another one: nothing that was compared counts any more.
    pub fn restart(&mut self) {
        self.exchange = None;
        self.caught_up_with.clear();
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
        self.due = self.members.iter().copied().collect();
        if let Some(exchange) = &mut self.exchange {
            exchange.doubted = true;
        }
    }

    fn caught_up(&mut self, node: NodeId, doubted: bool) {
        if !doubted {
            self.caught_up_with.insert(node);
        }
    }

    /// Whether everything the swarm had when the node joined it is here, as far as two members can tell. `others` is
    /// how many other members the swarm has.
    #[must_use]
    pub fn is_caught_up(&self, others: usize) -> bool {
        self.caught_up_with.len() >= others.min(CAUGHT_UP_WITH)
    }

    /// When [`Repair::poll`] has something to do at the latest.
    #[must_use]
    pub fn wake_at(&self) -> Option<Monotonic> {
        match &self.exchange {
            Some(exchange) => Some(exchange.moved_at.plus(STALLED)),
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
        if let Some(exchange) = &self.exchange {
            if member.now.since(exchange.moved_at) < STALLED {
                return None;
            }
            tracing::debug!(node = exchange.node.short(), "repair stood still");
            self.exchange = None;
        }
        let node = match self.due.pop_front() {
            Some(node) => {
                self.again.insert(node);
                self.again_at = Some(member.now.plus(AGAIN));
                node
            }
            None => self.next(member.now, rng)?,
        };
        Some(self.begin(node, 1, member))
    }

    fn next(&mut self, now: Monotonic, rng: &mut impl Rng) -> Option<NodeId> {
        if self.again_at.is_some_and(|again| again <= now) {
            while let Some(node) = self.again.pop_first() {
                if self.members.contains(&node) {
                    return Some(node);
                }
            }
            self.again_at = None;
        }
        if now < self.next_round {
            return None;
        }
        if !self.is_caught_up(self.members.len()) {
            self.next_round = now.plus(RETRY);
            return draw(&self.members.difference(&self.caught_up_with).copied().collect(), rng);
        }
        let members = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        self.next_round = now.plus(REPAIR_CYCLE / members.max(1));
        self.cycle.retain(|node| self.members.contains(node));
        if self.cycle.is_empty() {
            self.cycle = shuffled(self.members.clone(), rng);
        }
        self.cycle.pop()
    }

    fn begin(&mut self, node: NodeId, sessions: usize, member: &Member<'_>) -> RepairAct {
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
        });
        RepairAct::Ask { node, request }
    }

    /// Takes the answer to the last request; `None`: there was none.
    pub fn answered(&mut self, member: &Member<'_>, response: Option<RepairResponse>) -> Option<RepairAct> {
        let mut exchange = self.exchange.take()?;
        exchange.moved_at = member.now;
        let Some(response) = response else {
            self.failed(exchange.node, "no answer", member.now);
            return None;
        };
        match (exchange.stage, response) {
            (Stage::Comparing(mut session), response) => {
                match session.answered(&member.set.view(exchange.scope), response) {
                    Ok(Step::Ask(request)) => {
                        let node = exchange.node;
                        self.exchange = Some(Exchange { stage: Stage::Comparing(session), ..exchange });
                        Some(RepairAct::Ask { node, request })
                    }
                    Ok(Step::Equal) => {
                        self.caught_up(exchange.node, exchange.doubted);
                        self.note(exchange.node, exchange.scope, BTreeSet::new());
                        None
                    }
                    Ok(Step::Different(found)) => {
                        tracing::debug!(
                            node = exchange.node.short(),
                            lacking = found.need.len(),
                            extra = found.have.len(),
                            "sets differ"
                        );
                        if found.complete {
                            self.note(exchange.node, exchange.scope, found.have.clone());
                        }
                        let (need, have) = (found.need.into_iter().collect(), found.have.into_iter().collect());
                        let stage = Stage::Giving { count: 0 };
                        self.go_on(Exchange { stage, need, have, complete: found.complete, ..exchange }, member)
                    }
                    Err(error) => {
                        self.failed(exchange.node, &error.to_string(), member.now);
                        None
                    }
                }
            }
            (Stage::Fetching { asked }, RepairResponse::Items { items, more }) => {
                let from = exchange.node;
                self.exchange = Some(Exchange { stage: Stage::Taking { asked, more }, ..exchange });
                Some(RepairAct::Take { from, items })
            }
            (Stage::Giving { count }, RepairResponse::Taken) => {
                let moved = exchange.moved + count;
                self.go_on(Exchange { stage: Stage::Giving { count: 0 }, moved, ..exchange }, member)
            }
            (_, RepairResponse::Error(error)) => {
                self.failed(exchange.node, error.label(), member.now);
                None
            }
            _ => {
                self.failed(exchange.node, "an answer to something else", member.now);
                None
            }
        }
    }

    fn note(&mut self, node: NodeId, scope: Scope, lacking: BTreeSet<ItemId>) {
        self.compared = Some(Compared { node, scope, lacking });
    }

    /// The items of [`RepairAct::Take`] were looked at.
    pub fn took(&mut self, member: &Member<'_>, taken: &Taken) -> Option<RepairAct> {
        let mut exchange = self.exchange.take()?;
        exchange.moved_at = member.now;
        let Stage::Taking { asked, more } = exchange.stage else { return None };
        let Taken { received, kept, postponed } = taken;
        let missing = asked.iter().filter(|id| !received.contains(id));
        // What did not fit is asked for again; what is missing from the last page is gone. A page with nothing in it
        // that was asked for gets the member nowhere.
        if more && asked.iter().any(|id| received.contains(id)) {
            exchange.need.extend(missing);
        }
        let (moved, complete) = (exchange.moved + kept, exchange.complete && !postponed);
        self.go_on(Exchange { stage: Stage::Giving { count: 0 }, moved, complete, ..exchange }, member)
    }

    /// Items of [`RepairAct::Read`], and which of those asked for they settle: those that are gone among them.
    pub fn read(&mut self, member: &Member<'_>, items: Vec<Item>, settled: &BTreeSet<ItemId>) -> Option<RepairAct> {
        let mut exchange = self.exchange.take()?;
        exchange.moved_at = member.now;
        let Stage::Reading { asked } = exchange.stage else { return None };
        if asked.iter().any(|id| settled.contains(id)) {
            exchange.have.extend(asked.iter().filter(|id| !settled.contains(id)));
        }
        if items.is_empty() {
            return self.go_on(Exchange { stage: Stage::Giving { count: 0 }, ..exchange }, member);
        }
        let (node, scope) = (exchange.node, exchange.scope);
        self.exchange = Some(Exchange { stage: Stage::Giving { count: items.len() }, ..exchange });
        Some(RepairAct::Ask { node, request: RepairRequest::Give { scope, items } })
    }

    /// The next page, or the end.
    fn go_on(&mut self, mut exchange: Exchange, member: &Member<'_>) -> Option<RepairAct> {
        let (node, scope) = (exchange.node, exchange.scope);
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
            self.caught_up(node, exchange.doubted);
            return None;
        }
        // Another session at once, as long as sessions get anywhere.
        if exchange.moved > 0 && exchange.sessions < SESSIONS {
            return Some(self.begin(node, exchange.sessions + 1, member));
        }
        self.failed(node, "it has more than could be taken", member.now);
        None
    }

    fn failed(&mut self, node: NodeId, reason: &str, now: Monotonic) {
        tracing::debug!(node = node.short(), reason, "repair broke off");
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
