//! Repair and handing over from the asking side: what the rules of [`sotto_behaviours::replication`] want done, done.

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha20Rng;
use sotto_behaviours::network::{Request, RequestError, Response};
use sotto_behaviours::replication::{
    Compared, Foreign, HandOver, HandOverAct, ItemSet, Member, Repair, RepairAct, Taken,
};
use sotto_proto::id::{Height, ItemId, NodeId, SwarmId};
use sotto_proto::network::Snapshot;
use sotto_proto::request::{Item, RepairRequest, RepairResponse};
use sotto_proto::time::Monotonic;

use super::env::Env;
use super::paging::Page;
use super::sets::Sets;
use super::showing::Comparison;
use super::{Asked, Mail, TOKENS, Wait};
use crate::service_node::message::{Outgoing, Output, Sync, Tag, To};
use crate::store::mail::Lookup;
use crate::store::{Batch, Write};

/// Final heights between the newest and the one that sets are compared at: neighbours may be a little behind.
const BEHIND: usize = 4;

/// What is going on with other nodes.
#[derive(Debug)]
pub(super) struct Replication {
    rng: ChaCha20Rng,
    repair: Repair,
    hand_over: HandOver,
    /// Peers that are connected.
    connected: BTreeSet<NodeId>,
    /// They, or the members of the swarm, may be others than `repair` knows.
    stale: bool,
    /// The request of `repair` that waits for its answer.
    repair_asks: Option<Asking>,
    /// What present members last said of their sets, for the operator.
    compared: BTreeMap<NodeId, Comparison>,
    /// The request of `hand_over` that waits for its answer.
    hand_over_tag: Option<Tag>,
    next_tag: u64,
}

/// A request of `repair` on its way.
#[derive(Clone, Copy, Debug)]
struct Asking {
    tag: Tag,
    node: NodeId,
    /// Whether it asks if the node's set is the same.
    compares: bool,
}

/// What the node holds for other swarms, as the rules of handing over see it.
struct Abroad<'a> {
    sets: &'a Sets,
    snapshot: &'a Snapshot,
    own: Option<SwarmId>,
    me: NodeId,
}

impl Foreign for Abroad<'_> {
    fn swarms(&self) -> Vec<SwarmId> {
        self.sets.swarms().filter(|swarm| Some(*swarm) != self.own).collect()
    }

    fn items(&self, swarm: SwarmId) -> Option<&ItemSet> {
        self.sets.of(swarm).filter(|_| Some(swarm) != self.own)
    }

    fn members(&self, swarm: SwarmId) -> BTreeSet<NodeId> {
        let members = self.snapshot.swarms.members(swarm).unwrap_or_default();
        members.iter().copied().filter(|node| *node != self.me).collect()
    }
}

impl Replication {
    pub(super) fn new(rng: ChaCha20Rng) -> Self {
        Self {
            rng,
            repair: Repair::default(),
            hand_over: HandOver::default(),
            connected: BTreeSet::new(),
            stale: true,
            repair_asks: None,
            compared: BTreeMap::new(),
            hand_over_tag: None,
            next_tag: 0,
        }
    }

    /// Tags in the upper half of the numbers, like the mail's tokens.
    const fn tag(&mut self) -> Tag {
        self.next_tag = self.next_tag.wrapping_add(1) % TOKENS;
        Tag(TOKENS | self.next_tag)
    }

    /// Has every connected member compared with, as soon as may be.
    pub(super) fn compare_all(&mut self) {
        self.repair.compare_all();
    }

    /// What the last comparison told that came to an end; once.
    pub(super) const fn take_compared(&mut self) -> Option<Compared> {
        self.repair.take_compared()
    }

    /// What a member last said of its set.
    pub(super) fn compared_with(&self, node: &NodeId) -> Option<Comparison> {
        self.compared.get(node).copied()
    }

    /// When something is due next.
    pub(super) fn wake_at(&self, sets: &Sets, own: Option<SwarmId>) -> Option<Monotonic> {
        let abroad = sets.swarms().any(|swarm| Some(swarm) != own);
        let repair = own.and_then(|_| self.repair.wake_at());
        repair.into_iter().chain(abroad.then(|| self.hand_over.wake_at())).min()
    }
}

/// What repair looks at; none outside a swarm.
fn member<'a>(sets: &'a Sets, nothing: &'a ItemSet, env: &Env<'_>) -> Option<Member<'a>> {
    let swarm = env.swarm()?;
    Some(Member {
        swarm,
        height: height_for(sets, env)?,
        set: sets.of(swarm).unwrap_or(nothing),
        now: env.now.monotonic,
        time: env.time(),
    })
}

/// The newest of the heights a few blocks back under whose maps the sets are the same as now.
fn height_for(sets: &Sets, env: &Env<'_>) -> Option<Height> {
    let recent = env.view.recent().take(BEHIND + 1);
    Some(recent.take_while(|snapshot| sets.same_ring(&snapshot.swarms)).last()?.height)
}

impl Mail {
    /// The first connection with a peer was made, or the last one ended.
    pub(in crate::service_node) fn on_connection(&mut self, node: NodeId, connected: bool) {
        if connected {
            self.replication.connected.insert(node);
        } else {
            self.replication.connected.remove(&node);
        }
        self.replication.stale = true;
    }

    /// The final map may be another one: who owns what, who the other members are, whether anything is to be taken
    /// over.
    pub(super) fn follow_map(&mut self, env: &Env<'_>) {
        let moved = self.swarm != env.swarm();
        let sorted = self.index.follow(&env.view.current().swarms);
        if moved {
            self.replication.repair.restart();
            self.replication.repair_asks = None;
            self.replication.compared.clear();
        }
        if moved || sorted {
            self.replication.hand_over.restart(env.now.monotonic);
            self.replication.hand_over_tag = None;
            self.forget_comparison();
        }
        self.swarm = env.swarm();
        self.replication.stale = true;
    }

    /// Begins what is due, and says whether the node is still taking over.
    pub(super) fn replicate(&mut self, env: &Env<'_>, out: &mut Vec<Output>) {
        if !self.is_ready() {
            self.syncing = true;
            return;
        }
        // This is called after every event: under load some hundred times a second, without anything to do.
        if std::mem::take(&mut self.replication.stale) {
            let others: BTreeSet<NodeId> = self.other_members(env).collect();
            let Replication { repair, connected, compared, .. } = &mut self.replication;
            compared.retain(|node, _| others.contains(node));
            repair.set_members(others.intersection(connected).copied().collect());
        }
        let others = self.other_members(env).count();
        self.syncing = self.swarm.is_some() && !self.replication.repair.is_caught_up(others);
        self.drain(env);
        if !env.may_write {
            return;
        }
        let nothing = ItemSet::default();
        if self.replication.repair.is_due(env.now.monotonic)
            && let Some(member) = member(self.index.sets(), &nothing, env)
        {
            let Replication { repair, rng, .. } = &mut self.replication;
            let act = repair.poll(&member, rng);
            self.repair_act(act, env, out);
        }
        let abroad = abroad(self.index.sets(), env);
        let Replication { hand_over, rng, .. } = &mut self.replication;
        let act = hand_over.poll(&abroad, env.now.monotonic, rng);
        self.hand_over_acts(act.into_iter().collect(), env, out);
    }

    /// Something that was here is gone: members are compared with once more.
    pub(super) fn compare_anew(&mut self) {
        self.replication.repair.doubt();
    }

    pub(super) fn other_members<'e>(&self, env: &Env<'e>) -> impl Iterator<Item = NodeId> + use<'e> {
        let members = self.swarm.and_then(|swarm| env.view.current().swarms.members(swarm)).unwrap_or_default();
        let me = env.me();
        members.iter().copied().filter(move |node| *node != me)
    }

    /// An own request was answered, or never will be.
    pub(in crate::service_node) fn on_member_answer(
        &mut self,
        tag: Tag,
        result: Result<Response, RequestError>,
        env: &Env<'_>,
        out: &mut Vec<Output>,
    ) {
        if let Some(asked) = self.replication.repair_asks.filter(|asked| asked.tag == tag) {
            self.replication.repair_asks = None;
            let response = match result {
                Ok(Response::Repair(response)) => Some(response),
                _ => None,
            };
            if let Some(RepairResponse::Summary { equal }) = response
                && asked.compares
            {
                let comparison = Comparison { at: env.now.monotonic, equal };
                self.replication.compared.insert(asked.node, comparison);
            }
            self.with_repair(env, out, |repair, member| repair.answered(member, response));
        } else if self.replication.hand_over_tag == Some(tag) {
            self.replication.hand_over_tag = None;
            let response = match result {
                Ok(Response::Offer(response)) => Some(response),
                _ => None,
            };
            self.with_hand_over(env, out, |hand_over, abroad, now| hand_over.answered(abroad, response, now));
        }
    }

    fn with_repair(
        &mut self,
        env: &Env<'_>,
        out: &mut Vec<Output>,
        step: impl FnOnce(&mut Repair, &Member<'_>) -> Option<RepairAct>,
    ) {
        let nothing = ItemSet::default();
        let Some(member) = member(self.index.sets(), &nothing, env) else { return };
        let act = step(&mut self.replication.repair, &member);
        self.learn_from_comparison();
        self.repair_act(act, env, out);
    }

    fn with_hand_over(
        &mut self,
        env: &Env<'_>,
        out: &mut Vec<Output>,
        step: impl FnOnce(&mut HandOver, &Abroad<'_>, Monotonic) -> Vec<HandOverAct>,
    ) {
        let acts = step(&mut self.replication.hand_over, &abroad(self.index.sets(), env), env.now.monotonic);
        self.hand_over_acts(acts, env, out);
    }

    fn repair_act(&mut self, act: Option<RepairAct>, env: &Env<'_>, out: &mut Vec<Output>) {
        match act {
            None => {}
            Some(RepairAct::Ask { node, request }) => {
                let tag = self.replication.tag();
                let compares = matches!(request, RepairRequest::Summary(_));
                if compares {
                    self.note_comparison();
                }
                self.replication.repair_asks = Some(Asking { tag, node, compares });
                let request = Request::Repair(request);
                out.push(Output::Send { to: To::Node(node), message: Outgoing::Request { tag, request } });
            }
            Some(RepairAct::Take { from, items }) => {
                let taken = self.take_page(from, &items, env, out);
                self.persist_page(Wait::Repaired(taken), out);
            }
            Some(RepairAct::Read { ids }) => {
                let page = self.page_of(&ids);
                let lookup = Lookup::Places(page.places.clone());
                self.look_up(lookup, Asked::Give(page), out);
            }
        }
    }

    /// A page that was fetched is on disk; `None`: it is not, and never will be.
    pub(super) fn on_repaired(&mut self, taken: Option<Taken>, env: &Env<'_>, out: &mut Vec<Output>) {
        self.with_repair(env, out, |repair, member| match taken {
            Some(taken) => repair.took(member, &taken),
            None => repair.answered(member, None),
        });
    }

    /// Items that other members lack were read.
    pub(super) fn on_to_give(&mut self, page: &Page, items: Vec<Item>, env: &Env<'_>, out: &mut Vec<Output>) {
        self.with_repair(env, out, |repair, member| repair.read(member, items, &page.settled));
    }

    fn hand_over_acts(&mut self, acts: Vec<HandOverAct>, env: &Env<'_>, out: &mut Vec<Output>) {
        for act in acts {
            match act {
                HandOverAct::Recall { ids } => self.look_up(Lookup::Confirmations(ids), Asked::Recall, out),
                HandOverAct::Ask { node, request } => {
                    let tag = self.replication.tag();
                    self.replication.hand_over_tag = Some(tag);
                    let request = Request::Offer(request);
                    out.push(Output::Send { to: To::Node(node), message: Outgoing::Request { tag, request } });
                }
                HandOverAct::Read { ids } => {
                    let page = self.page_of(&ids);
                    let lookup = Lookup::Places(page.places.clone());
                    self.look_up(lookup, Asked::Hand(page), out);
                }
                HandOverAct::Confirmed { node, ids } => {
                    let writes = ids.into_iter().map(|item| Write::PutConfirmation { item, node }).collect();
                    self.persist(Batch { writes }, Sync::Later, Wait::Nothing, out);
                }
                HandOverAct::Erase { swarm, ids } => self.erase(swarm, &ids, env, out),
            }
        }
    }

    /// Who has confirmed items was read.
    pub(super) fn on_recalled(&mut self, found: Vec<(ItemId, NodeId)>, env: &Env<'_>, out: &mut Vec<Output>) {
        self.with_hand_over(env, out, |hand_over, abroad, now| hand_over.recalled(abroad, found, now));
    }

    /// Items that the owning swarm wants were read.
    pub(super) fn on_to_hand(&mut self, page: &Page, items: Vec<Item>, env: &Env<'_>, out: &mut Vec<Output>) {
        self.with_hand_over(env, out, |hand_over, abroad, now| hand_over.read(abroad, items, &page.settled, now));
    }

    /// Erases what members of the swarm that owns it have on disk (C3).
    fn erase(&mut self, swarm: SwarmId, ids: &[ItemId], env: &Env<'_>, out: &mut Vec<Output>) {
        let mut batch = Batch::default();
        for id in ids {
            // The map may have changed since the last answer.
            let owner = self.index.item(id).map(|item| self.index.sets().owner(&item));
            if owner != Some(swarm) || env.swarm() == owner {
                continue;
            }
            batch.writes.extend(self.let_go(id));
            self.counts.handed_over = self.counts.handed_over.saturating_add(1);
            batch.push(Write::DeleteConfirmations(*id));
        }
        tracing::debug!(%swarm, items = ids.len(), "handed over and erased");
        self.persist(batch, Sync::Later, Wait::Nothing, out);
    }

    /// Takes an item out of the index; the writes that take it off the disk.
    fn let_go(&mut self, id: &ItemId) -> Vec<Write> {
        if let Some(held) = self.index.record(id) {
            let (key, id) = (held.entry.key, held.entry.id);
            self.index.remove(key.arrival);
            self.do_not_publish(key.arrival);
            return vec![Write::DeleteRecord { key, id }];
        }
        let unneeded = self.index.unbury(id).map(Write::DeleteSignedDelete);
        [Write::DeleteTombstone(*id)].into_iter().chain(unneeded).collect()
    }
}

fn abroad<'a>(sets: &'a Sets, env: &Env<'a>) -> Abroad<'a> {
    Abroad { sets, snapshot: env.view.current(), own: env.swarm(), me: env.me() }
}
