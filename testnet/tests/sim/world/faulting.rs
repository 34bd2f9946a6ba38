//! Faults as they happen.

use std::time::Duration;

use super::{Event, MAP_KNOWN, World};
use crate::disk::Disk;
use crate::faults::Fault;

impl World {
    pub(super) fn start(&mut self, node: usize) {
        if self.nodes[node].is_up() {
            return;
        }
        self.look_at_disk(node);
        let wants = self.nodes[node].start(&self.keys[node].1, &self.chain, &mut self.dice, self.now);
        self.perform(node, wants);
    }

    pub(super) fn look_at_disk(&mut self, node: usize) {
        let (records, time) = (self.nodes[node].disk.records(), self.true_time().seconds());
        // What a node held for another swarm it may have handed over since.
        let since = self.map_changed_at.map(|at| at.plus(MAP_KNOWN)).unwrap_or_default();
        self.model.keeps(node, self.disks[node], &records, (since, time));
    }

    pub(super) fn stop(&mut self, node: usize) {
        self.nodes[node].stop();
        self.frozen.remove(&node);
        for other in 0..self.nodes.len() {
            let (one, other) = (node.min(other), node.max(other));
            if self.linked.contains(&(one, other)) {
                self.set_link(one, other, false);
            }
        }
        let gone: Vec<_> = self.talks.iter().filter(|(_, talk)| talk.node == node).map(|(tunnel, _)| *tunnel).collect();
        for tunnel in gone {
            let wait = self.latency();
            self.after(wait, Event::TunnelOver(tunnel));
        }
    }

    pub(super) fn lose_power(&mut self, node: usize) {
        if self.nodes[node].is_up() {
            self.stop(node);
            self.nodes[node].disk.lose_power(&mut self.dice);
        }
    }

    pub(super) fn suffer(&mut self, fault: Fault) {
        self.trace(|| format!("{fault:?}"));
        match fault {
            Fault::Kill(node) => {
                if self.nodes[node].is_up() {
                    self.stop(node);
                    self.nodes[node].disk.lose_process();
                }
            }
            Fault::PowerLoss(node) => self.lose_power(node),
            Fault::SwarmPowerLoss(swarm) => {
                let members: Vec<_> = (0..self.nodes.len()).filter(|node| self.plan.swarm_of[*node] == swarm).collect();
                members.into_iter().for_each(|node| self.lose_power(node));
            }
            Fault::Wipe(node) => {
                self.stop(node);
                self.nodes[node].disk = Disk::default();
                self.disks[node] += 1;
            }
            Fault::Start(node) => self.start(node),
            Fault::Split(split) => self.split = Some(split),
            Fault::OneWay(from, to) => self.one_way = Some((from, to)),
            Fault::Whole => (self.split, self.one_way) = (None, None),
            Fault::Loss(permille) => self.loss = permille,
            Fault::SlowDisk(node, delay) => self.nodes[node].disk_delay = delay,
            Fault::Skew(node, millis) => {
                self.nodes[node].skew = millis;
                self.tell_network(node);
                if millis == 0 {
                    self.look_at_disk(node);
                }
            }
            Fault::Stall(stalled) => self.stalled = stalled,
            Fault::Damage(node) => {
                for id in self.model.damageable(node, self.nodes.len(), self.now) {
                    if self.dice.permille(200) && self.nodes[node].disk.damage(&id, &mut self.dice) {
                        self.trace(|| format!("node {node}'s disk damages {}", id.short()));
                        self.model.damaged(&id, node, self.disks[node]);
                    }
                }
            }
            Fault::DiskFails(node) => self.nodes[node].disk.failing = true,
            Fault::Freeze(node, true) => drop(self.frozen.entry(node).or_default()),
            Fault::Freeze(node, false) => {
                for event in self.frozen.remove(&node).into_iter().flatten() {
                    self.after(Duration::ZERO, event);
                }
            }
            Fault::Join(node) => self.chain.register(self.nodes[node].number),
            Fault::Leave(node) => self.chain.request_exit(self.nodes[node].number),
            Fault::TwoHeads(nodes) => {
                let mut fork = self.chain.clone();
                fork.reorganise(1);
                self.fork = Some((nodes, fork));
                self.spread_block();
            }
            Fault::Reorganisation(depth) => {
                self.fork = None;
                self.chain.reorganise(depth);
                self.spread_block();
            }
        }
    }
}
