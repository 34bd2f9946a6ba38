//! What happens at the beginning of a block, before its transactions.

use std::collections::BTreeSet;

use sotto_proto::chain::NodeState;
use sotto_proto::id::{Height, NodeId};
use sotto_proto::proof::Table;
use sotto_proto::swarm;

use super::{BlockError, Transition};
use crate::state::{State, SwarmInfo, WAITING_KEY, epoch_of};

/// Blocks between two decommissions in one swarm.
const SWARM_PAUSE: u64 = 10;
/// One in so many active nodes may be decommissioned in a block; always at least one.
const BLOCK_SHARE: usize = 50;
/// When more than one in so many active nodes is due in one epoch, the fault is taken to be the chain's.
const MASS_SHARE: usize = 4;

impl Transition {
    pub(super) fn begin_block(&mut self, parent: &State) -> Result<(), BlockError> {
        self.move_swarms(parent)?;
        self.make_tests_due(parent);
        self.count_missed_tests();
        self.end_what_is_over();
        self.decommission_due();
        Ok(())
    }

    /// The swarm map of this height, drawn with the hash of the block before.
    fn move_swarms(&mut self, parent: &State) -> Result<(), BlockError> {
        if parent.leaving.is_empty() && parent.joining.is_empty() {
            return Ok(());
        }
        let height = self.state.height;
        let seed = swarm::seed(&parent.chain, &parent.tip, height);
        let leaving: Vec<_> = parent.leaving.iter().map(|(node, swarm)| (*node, *swarm)).collect();
        let joining: Vec<_> = parent.joining.keys().copied().collect();
        let home = |node: &NodeId| parent.nodes.get(node)?.home;
        let (map, changes) = parent.swarms.begin_block(&seed, &leaving, &joining, home)?;
        self.state.swarms = map;
        self.state.joining.clear();
        self.state.leaving.clear();
        self.mark(Table::Chain, WAITING_KEY);
        for (id, swarm) in changes.nodes {
            self.change_node(&id, |node| {
                std::sync::Arc::make_mut(&mut node.record).swarm = swarm;
                node.member_since = height;
                node.home = swarm.or(node.home);
                node.tests.verdicts.clear(); // they count tests of the swarm it left
            });
        }
        for swarm in changes.swarms {
            if self.state.swarms.members(swarm).is_none() {
                self.state.swarm_infos.remove(&swarm);
            } else if !self.state.swarm_infos.contains_key(&swarm) {
                let difficulty = u32::try_from(self.state.params().min_difficulty).unwrap_or(u32::MAX);
                let info = SwarmInfo { last_decommission: Height::ZERO, tests: 0, difficulty };
                self.state.swarm_infos.insert(swarm, info);
            }
            self.mark_swarm(swarm);
        }
        Ok(())
    }

    /// Exits, ends of credit, stakes and cooldowns whose time has come.
    fn end_what_is_over(&mut self) {
        let height = self.state.height;
        while let Some((end, id)) = self.state.index.node_ends.get_min().copied().filter(|(end, _)| *end <= height) {
            self.state.index.node_ends.remove(&(end, id));
            let Some(node) = self.remove_node(&id) else { continue };
            match node.record.state {
                NodeState::Exiting => self.release_stake(id, node.record.operator, node.stake),
                NodeState::Active | NodeState::Decommissioned => self.lock_stake(&node),
            }
        }
        while let Some((end, id)) = self.state.index.lock_ends.get_min().copied().filter(|(end, _)| *end <= height) {
            self.state.index.lock_ends.remove(&(end, id));
            self.mark(Table::Lock, id);
            if let Some(lock) = self.state.locks.remove(&id) {
                self.release_stake(id, lock.operator, lock.amount);
            }
        }
        while let Some((end, key)) = self.state.index.cooldown_ends.get_min().copied().filter(|(end, _)| *end <= height)
        {
            self.state.index.cooldown_ends.remove(&(end, key));
            self.state.cooldowns.remove(&key);
            self.mark(Table::Cooldown, key);
        }
    }

    /// Decommissions nodes that are due: few at once, the longest silent first, and none at all when too many are due
    /// together, because then the chain and not the nodes was cut off.
    fn decommission_due(&mut self) {
        let height = self.state.height;
        let epoch = epoch_of(height, self.state.params());
        if self.state.spared_epoch == Some(epoch) {
            return;
        }
        let active = self.state.active_count();
        let Some(due) = self.due_nodes(active / MASS_SHARE) else {
            // For the whole epoch: while the network heals, those who have not proved yet get ever fewer.
            self.state.spared_epoch = Some(epoch);
            self.mark(Table::Chain, WAITING_KEY);
            return;
        };
        let mut left = (active / BLOCK_SHARE).max(1);
        for (_, id) in due {
            let Some(node) = self.state.nodes.get(&id) else { continue };
            let swarm = node.record.swarm;
            if let Some(info) = swarm.and_then(|swarm| self.state.swarm_infos.get(&swarm)) {
                let last = info.last_decommission;
                if last != Height::ZERO && height.since(last) < SWARM_PAUSE {
                    continue;
                }
            }
            self.change_state(&id, NodeState::Decommissioned);
            if let Some(swarm) = swarm
                && let Some(info) = self.state.swarm_infos.get_mut(&swarm)
            {
                info.last_decommission = height;
                self.mark_swarm(swarm);
            }
            left -= 1;
            if left == 0 {
                break;
            }
        }
    }

    /// Active nodes that failed, with the block of their last proof, the longest silent first; `None` if they are more
    /// than `most`.
    fn due_nodes(&self, most: usize) -> Option<BTreeSet<(Height, NodeId)>> {
        let epoch = epoch_of(self.state.height, self.state.params());
        // Whole epochs without a proof: those strictly between the proved one and the present one.
        let silent = epoch.checked_sub(self.state.params().epochs_until_due.saturating_add(1));
        let silent = silent.map(|last| (0, NodeId::new([0; 32]))..=(last, NodeId::new([0xff; 32])));
        let silent = silent.into_iter().flat_map(|range| self.state.index.proofs.range(range)).map(|(_, id)| id);
        let mut due = BTreeSet::new();
        for id in silent.chain(&self.state.index.failing) {
            due.extend(self.state.nodes.get(id).map(|node| (node.proved_at, *id)));
            if due.len() > most {
                return None;
            }
        }
        Some(due)
    }
}
