//! The end: every member is read, and everything is compared with the model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sotto_proto::request::Cursor;

use super::World;
use crate::client::Audited;

impl World {
    /// Every member is read from the beginning, for every address of its swarm.
    pub(super) fn begin_audit(&mut self) {
        for client in 0..self.clients.len() {
            let mut members = self.members_of(client);
            members.retain(|node| !self.model.is_liar(*node));
            for node in members {
                self.audits += 1;
                self.audit(client, node, Cursor::default(), Audited::default());
            }
        }
    }

    /// Every member is read once more, from where its reader stands; what disks damaged is whole again, before anybody has
    /// asked for it: that was more than a minute ago, which is two passes of reading back and a little.
    pub(super) fn last_polls(&mut self) {
        for node in (0..self.nodes.len()).filter(|node| !self.model.is_liar(*node)).collect::<Vec<_>>() {
            let unsound = self.nodes[node].disk.unsound(self.chain.id());
            if unsound > 0 {
                self.model.violated("I1", format!("{unsound} records on node {node}'s disk are damaged"));
            }
        }
        for client in 0..self.clients.len() {
            for node in self.members_of(client) {
                self.poll_at(client, node);
            }
        }
    }

    pub(super) fn members_of(&self, client: usize) -> Vec<usize> {
        let snapshot = self.client_view.current();
        let swarm = snapshot.swarms.owner(&self.clients[client].address);
        let members = swarm.and_then(|swarm| snapshot.swarms.members(swarm)).unwrap_or_default();
        members.iter().filter_map(|node| self.index_of.get(node).copied()).collect()
    }

    pub(super) fn judge(&mut self) {
        if self.audited < self.audits {
            let what = format!("{} of {} audits came to an end", self.audited, self.audits);
            self.model.violated("I14", what);
        }
        let time = self.true_time().seconds();
        for client in 0..self.clients.len() {
            self.model.has_read(client, &self.clients[client].seen, self.now, time);
        }
        self.compare_sets();
    }

    /// Members hold equal sets, and agree on the map.
    pub(super) fn compare_sets(&mut self) {
        let snapshot = Arc::clone(&self.client_view);
        let (height, time) = (snapshot.current().height, self.true_time().seconds());
        for (swarm, members) in snapshot.current().swarms.iter() {
            let mut summaries = BTreeMap::new();
            for node in members.iter().filter_map(|node| self.index_of.get(node).copied()) {
                if self.model.is_liar(node) {
                    continue;
                }
                let Some(process) = &self.nodes[node].process else { continue };
                let summary = process.machine.mail().summary(swarm, height, time);
                summaries.insert(node, summary);
                let view = self.nodes[node].view();
                if view.current().height == height && view.current().swarms != snapshot.current().swarms {
                    self.model.violated("I5", format!("node {node} has another map of block {}", height.0));
                }
            }
            let distinct: BTreeSet<_> = summaries.values().collect();
            if distinct.len() > 1 {
                let counts: Vec<_> = summaries.iter().map(|(node, (count, _))| format!("{node}: {count}")).collect();
                self.model.violated("I4", format!("sets of swarm {swarm} differ ({})", counts.join(", ")));
            }
        }
    }
}
