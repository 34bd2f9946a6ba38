//! Repair and handing over from the answering side.
//!
//! Only members of the own swarm come as far as `repair`, and only registered nodes as far as `offer`: the network lets
//! nobody else in. Here it is made sure that a member sees items of the swarm that both are in, and of no other.

use sotto_behaviours::network::Response;
use sotto_behaviours::replication::{ItemSet, check_scope, respond};
use sotto_proto::id::{ItemId, NodeId};
use sotto_proto::limits::OFFER_ITEMS;
use sotto_proto::request::{
    Error, Item, OfferRequest, OfferResponse, RepairRequest, RepairResponse, Scope, Summary, Wanted,
};

use super::env::Env;
use super::paging::Page;
use super::{Asked, Mail, Wait};
use crate::service_node::message::{Outgoing, Output, ReplyId, To};
use crate::store::mail::Lookup;

/// Pages that are being read for members; each holds up to 512 KiB.
const READS: usize = 16;
/// Pages of former owners that are being written.
const HANDED: usize = 16;

/// Who waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::service_node) struct Asker {
    pub(in crate::service_node) node: NodeId,
    pub(in crate::service_node) reply: ReplyId,
}

impl Asker {
    fn answer(self, response: Response, out: &mut Vec<Output>) {
        let message = Outgoing::Response { reply: self.reply, response };
        out.push(Output::Send { to: To::Node(self.node), message });
    }

    fn repaired(self, response: RepairResponse, out: &mut Vec<Output>) {
        self.answer(Response::Repair(response), out);
    }

    fn offered(self, response: OfferResponse, out: &mut Vec<Output>) {
        self.answer(Response::Offer(response), out);
    }
}

impl Mail {
    /// A member asks.
    pub(in crate::service_node) fn on_repair(
        &mut self,
        asker: Asker,
        request: RepairRequest,
        env: &Env<'_>,
        out: &mut Vec<Output>,
    ) {
        if let Err(error) = self.repair(asker, request, env, out) {
            asker.repaired(RepairResponse::Error(error), out);
        }
    }

    fn repair(
        &mut self,
        asker: Asker,
        request: RepairRequest,
        env: &Env<'_>,
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        if !self.is_ready() {
            return Err(Error::Busy);
        }
        let (RepairRequest::Summary(Summary { scope, .. })
        | RepairRequest::Reconcile { scope, .. }
        | RepairRequest::Fetch { scope, .. }
        | RepairRequest::Give { scope, .. }) = &request;
        let scope = *scope;
        self.check(&scope, &asker.node, env)?;
        let nothing = ItemSet::default();
        let set = self.index.sets().of(scope.swarm).unwrap_or(&nothing);
        match request {
            RepairRequest::Summary(summary) => {
                let equal = summary == set.view(scope).summary();
                asker.repaired(RepairResponse::Summary { equal }, out);
            }
            RepairRequest::Reconcile { message, .. } => {
                let message = respond(&set.view(scope), &message).map_err(|_| Error::Malformed)?;
                asker.repaired(RepairResponse::Reconcile { message }, out);
            }
            RepairRequest::Fetch { ids, max_bytes, .. } => self.fetch(asker, &scope, &ids, max_bytes, out)?,
            RepairRequest::Give { items, .. } => {
                if !env.may_write {
                    return Err(Error::Busy);
                }
                self.take_page(asker.node, &items, env, out);
                self.persist_page(Wait::Nothing, out);
                asker.repaired(RepairResponse::Taken, out);
            }
        }
        Ok(())
    }

    /// Whether the set is one that both sides may see, and that is the same under the asker's map and the own one.
    fn check(&self, scope: &Scope, asker: &NodeId, env: &Env<'_>) -> Result<(), Error> {
        let both = env.view.is_recent_member(asker, scope.swarm) && env.view.is_recent_member(&env.me(), scope.swarm);
        if !both {
            return Err(Error::Unauthorized);
        }
        let lowest = env.view.recent().last().map_or(env.height(), |snapshot| snapshot.height);
        check_scope(scope, env.time(), &(lowest..=env.height()))?;
        let snapshot = env.view.recent().find(|snapshot| snapshot.height == scope.height);
        // Swarms came or went in between: what belongs to this one is not the same for both.
        if snapshot.is_some_and(|snapshot| self.index.sets().same_ring(&snapshot.swarms)) {
            Ok(())
        } else {
            Err(Error::Busy)
        }
    }

    fn fetch(
        &mut self,
        asker: Asker,
        scope: &Scope,
        ids: &[ItemId],
        max_bytes: u32,
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        let reads = self.lookups.values().filter(|asked| matches!(asked, Asked::Fetch(..))).count();
        if reads >= READS {
            return Err(Error::Busy);
        }
        let sets = self.index.sets();
        let shown = |id: &ItemId| self.index.item(id).is_some_and(|item| sets.owner(&item) == scope.swarm);
        let page = self.page_within(ids, usize::try_from(max_bytes).unwrap_or(usize::MAX), shown);
        let lookup = Lookup::Places(page.places.clone());
        self.look_up(lookup, Asked::Fetch(asker, page), out);
        Ok(())
    }

    /// A page for a member was read.
    pub(super) fn on_fetched(asker: Asker, page: &Page, items: Vec<Item>, out: &mut Vec<Output>) {
        asker.repaired(RepairResponse::Items { items, more: page.more }, out);
    }

    /// A page for a member could not be read.
    pub(super) fn on_unfetched(asker: Asker, out: &mut Vec<Output>) {
        asker.repaired(RepairResponse::Error(Error::Busy), out);
    }

    /// A former owner hands over.
    pub(in crate::service_node) fn on_offer(
        &mut self,
        asker: Asker,
        request: OfferRequest,
        env: &Env<'_>,
        out: &mut Vec<Output>,
    ) {
        let handed = self.waits.values().filter(|wait| wait.is_handed()).count();
        // Whoever drains would be counted on, and go.
        if !self.is_ready() || !env.may_write || env.swarm().is_none() || handed >= HANDED || self.is_draining() {
            return asker.offered(OfferResponse::Error(Error::Busy), out);
        }
        match request {
            OfferRequest::Offer(ids) => {
                let own = env.swarm();
                let sets = self.index.sets();
                let lacks = |id: &ItemId| {
                    let item = self.index.item(id).filter(|item| Some(sets.owner(item)) == own);
                    !item.is_some_and(|item| sets.contains(&item))
                };
                asker.offered(OfferResponse::Wanted(Wanted::new(ids.iter().map(lacks))), out);
            }
            OfferRequest::Hand(items) => {
                self.take_page(asker.node, &items, env, out);
                self.persist_page(Wait::Handed { asker, items }, out);
            }
        }
    }

    /// What a former owner handed over is on disk, or not.
    pub(super) fn on_handed(&mut self, asker: Asker, items: &[Item], env: &Env<'_>, out: &mut Vec<Output>) {
        asker.offered(OfferResponse::Durable(self.durable_of(items, OFFER_ITEMS, env)), out);
    }
}
