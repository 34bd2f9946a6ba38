//! Which links are wanted, and where their ends are.

use std::collections::BTreeMap;

use sotto_proto::id::NodeId;
use sotto_proto::limits;
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::time::Monotonic;

use super::peers::Entry;
use super::{State, Want, jitter};
use crate::membership::config::{BOOTSTRAP, DRAWN_MAX_FACTOR, FAILING, YIELD, YIELD_JITTER};
use crate::network::Role;

impl<Link: PartialEq> State<Link> {
    /// Where `node` can be dialled: as the newest list that knows it says, or as configured.
    pub(super) fn addresses(&self, node: &NodeId) -> Vec<NodeAddr> {
        let listed = self.view.iter().flat_map(|view| view.recent()).find_map(|snapshot| snapshot.nodes.get(node));
        let addresses = match (listed, self.configured(node)) {
            (Some(record), _) => record.addresses.as_slice(),
            (None, Some(peer)) => peer.addresses.as_slice(),
            (None, None) => &[],
        };
        let dialable = |address: &&NodeAddr| {
            address.dialable(self.settings.private_addresses) && self.settings.listen != Some(**address)
        };
        addresses.iter().filter(dialable).take(*limits::ADDRESSES_PER_NODE.end()).copied().collect()
    }

    /// Works out which links are wanted.
    pub(super) fn want_again(&mut self, now: Monotonic) {
        let own = self.settings.own;
        let mut wanted = BTreeMap::new();
        if self.settings.role != Role::Client {
            let members = self.members_of_own_swarm();
            wanted.extend(self.drawn(members).map(|node| (node, Want::Link)));
            if !self.has_links() {
                let bootstrap = self.settings.bootstrap.iter().take(BOOTSTRAP);
                wanted.extend(bootstrap.chain([&self.settings.producer]).map(|peer| (peer.node, Want::Link)));
            }
            wanted.extend(members.iter().map(|node| (*node, Want::Member)));
            wanted.remove(&own);
        }
        for (node, want) in &wanted {
            if self.peers.contains_key(node) {
                continue;
            }
            let mut entry = Entry::new(now);
            if *want == Want::Member && own > *node {
                entry.not_before = now.plus(YIELD + jitter(&mut self.rng, YIELD_JITTER));
            }
            self.peers.insert(*node, entry);
        }
        // A peer that was wanted until now has its five minutes from now.
        for node in self.wanted.keys().filter(|node| !wanted.contains_key(node)) {
            if let Some(entry) = self.peers.get_mut(node) {
                entry.last_used = now;
            }
        }
        self.wanted = wanted;
    }

    fn members_of_own_swarm(&self) -> &[NodeId] {
        let Some(snapshot) = self.view.as_ref().map(|view| view.current()) else { return &[] };
        snapshot.swarm_of(&self.settings.own).and_then(|swarm| snapshot.swarms.members(swarm)).unwrap_or_default()
    }

    /// The first of the draw that are in other swarms; for each that keeps failing, one more.
    fn drawn(&self, members: &[NodeId]) -> impl Iterator<Item = NodeId> {
        let others = self.draw.iter().filter(|node| members.binary_search(node).is_err());
        let mut missing = limits::DRAWN_NEIGHBOURS;
        others.take(DRAWN_MAX_FACTOR * limits::DRAWN_NEIGHBOURS).copied().take_while(move |node| {
            let more = missing > 0;
            if self.peers.get(node).is_none_or(|entry| entry.is_connected() || entry.failures < FAILING) {
                missing = missing.saturating_sub(1);
            }
            more
        })
    }

    /// Whether enough nodes of the list are connected. Most who are connected may be clients, so no more are looked up
    /// than it takes.
    fn has_links(&self) -> bool {
        let Some(view) = &self.view else { return false };
        let links = self.connected().filter(|node| view.is_registered(node));
        links.take(limits::FEWEST_LINKS).count() == limits::FEWEST_LINKS
    }
}
