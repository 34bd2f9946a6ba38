//! One block's work on the state: begin-block, transactions in order, end-block.
//!
//! | part | file | what happens |
//! | --- | --- | --- |
//! | begin | `begin` | the swarm map of this height; storage tests become due or are missed; exits, ends of credit, unlocked stakes; decommissions |
//! | transactions | `transaction` | each is checked completely, then takes effect |
//! | end | here | the reward; then the trees are brought up to date |
//!
//! Everything is deterministic: tables are ordered, draws are seeded by the block before, no clock is read.

mod begin;
mod error;
mod storage_test;
mod transaction;

use std::collections::BTreeSet;
use std::sync::Arc;

use sotto_proto::chain::{Cooldown, LockedStake, NodeState, ServiceNode, TestLedger, bucket_of};
use sotto_proto::id::{Amount, NodeId, PublicKey, SwarmId};
use sotto_proto::proof::Table;
use sotto_proto::time::UnixMillis;

pub use error::{BlockError, TransactionError};

use crate::state::{State, WAITING_KEY, epoch_of};

/// A state on its way to the next.
#[derive(Clone)]
pub(crate) struct Transition {
    pub(crate) state: State,
    /// Keys of tables whose value may have changed.
    dirty: BTreeSet<(Table, Vec<u8>)>,
    /// Buckets of the node list that changed.
    buckets: BTreeSet<u8>,
}

impl Transition {
    /// Begins the block after `parent`.
    pub(crate) fn begin(parent: &State, time: UnixMillis) -> Result<Self, BlockError> {
        let mut state = parent.clone();
        state.height = parent.height.next();
        state.time = time;
        let mut transition = Self { state, dirty: BTreeSet::new(), buckets: BTreeSet::new() };
        transition.begin_block(parent)?;
        Ok(transition)
    }

    /// Ends the block: pays the reward and brings the trees up to date.
    pub(crate) fn end(mut self) -> State {
        self.pay_reward();
        let mut state = self.state;
        let entries: Vec<_> = self
            .dirty
            .into_iter()
            .map(|(table, key)| {
                let value = state.value(table, &key);
                (table, key, value)
            })
            .collect();
        state.tree.update(entries);
        if !self.buckets.is_empty() {
            state.buckets.refresh(&state.chain, &state.records, self.buckets);
            state.list_root = state.buckets.root(&state.chain);
        }
        state
    }

    /// The active node that has waited longest is paid.
    fn pay_reward(&mut self) {
        let Some(&(_, id)) = self.state.index.rewards.get_min() else { return };
        if self.state.joining.contains_key(&id) {
            return; // active from the next block on, and so is everybody behind it in the queue
        }
        let Some(node) = self.state.nodes.get(&id) else { return };
        let (reward, height) = (Amount(self.state.params().reward), self.state.height);
        let mut node = ServiceNode::clone(node);
        node.rewarded_at = height;
        if let Some(balance) = self.state.account(&node.record.operator).balance.checked_add(reward) {
            self.set_balance(node.record.operator, balance);
            node.rewards = node.rewards.checked_add(reward).unwrap_or(node.rewards);
        }
        self.put_node(node);
    }

    fn mark(&mut self, table: Table, key: impl AsRef<[u8]>) {
        self.dirty.insert((table, key.as_ref().to_vec()));
    }

    fn mark_swarm(&mut self, swarm: SwarmId) {
        self.mark(Table::Swarm, swarm.0.to_be_bytes());
    }

    /// Sets a node's value and everything that follows from it.
    fn put_node(&mut self, node: ServiceNode) {
        let id = node.record.node;
        let genesis = Arc::clone(&self.state.genesis);
        let old = self.state.nodes.get(&id).cloned();
        self.state.index.replace(old.as_deref(), Some(&node), &genesis.params);
        if old.is_none_or(|old| old.record != node.record) {
            self.state.records.insert(id, Arc::clone(&node.record));
            self.buckets.insert(bucket_of(&id));
        }
        self.state.nodes.insert(id, Arc::new(node));
        self.mark(Table::Node, id);
    }

    /// Changes a registered node; nothing if it is not registered.
    fn change_node(&mut self, id: &NodeId, change: impl FnOnce(&mut ServiceNode)) {
        if let Some(node) = self.state.nodes.get(id) {
            let mut node = ServiceNode::clone(node);
            change(&mut node);
            self.put_node(node);
        }
    }

    /// Takes a node off the list for good.
    fn remove_node(&mut self, id: &NodeId) -> Option<Arc<ServiceNode>> {
        let node = self.state.nodes.remove(id)?;
        let genesis = Arc::clone(&self.state.genesis);
        self.state.index.remove(&node, &genesis.params);
        self.state.records.remove(id);
        self.buckets.insert(bucket_of(id));
        self.mark(Table::Node, id);
        Some(node)
    }

    fn set_balance(&mut self, key: PublicKey, balance: Amount) {
        let mut account = self.state.account(&key);
        account.balance = balance;
        self.state.accounts.insert(key, account);
        self.mark(Table::Account, key);
    }

    /// Gives a stake back, and makes operator and node key wait before they register again: else a swarm could be
    /// drawn again and again.
    fn release_stake(&mut self, node: NodeId, operator: PublicKey, stake: Amount) {
        let balance = self.state.account(&operator).balance;
        self.set_balance(operator, balance.checked_add(stake).unwrap_or(Amount(u64::MAX)));
        let until = self.state.height.plus(self.state.params().lock_up_blocks);
        for key in [operator, PublicKey::from(node)] {
            if let Some(old) = self.state.cooldowns.insert(key, Cooldown { until }) {
                self.state.index.cooldown_ends.remove(&(old.until, key));
            }
            self.state.index.cooldown_ends.insert((until, key));
            self.mark(Table::Cooldown, key);
        }
    }

    fn lock_stake(&mut self, node: &ServiceNode) {
        let until = self.state.height.plus(self.state.params().lock_up_blocks);
        let (id, operator) = (node.record.node, node.record.operator);
        self.state.locks.insert(id, LockedStake { operator, amount: node.stake, until });
        self.state.index.lock_ends.insert((until, id));
        self.mark(Table::Lock, id);
    }

    /// Moves a node to another state of its life. Who becomes or stops being active takes part in the next swarm map.
    fn change_state(&mut self, id: &NodeId, to: NodeState) {
        let height = self.state.height;
        let Some(node) = self.state.nodes.get(id) else { return };
        let (from, swarm, credit) = (node.record.state, node.record.swarm, self.state.credit(node));
        self.change_node(id, |node| {
            node.credit = credit;
            node.since = height;
            node.tests = TestLedger::default();
            if to == NodeState::Active {
                node.rewarded_at = height; // the back of the queue
            }
            Arc::make_mut(&mut node.record).state = to;
        });
        if from == NodeState::Active && self.state.joining.remove(id).is_none() {
            self.state.leaving.insert(*id, swarm);
        }
        if to == NodeState::Active {
            self.state.joining.insert(*id, ());
        }
        self.mark(Table::Chain, WAITING_KEY);
    }

    fn storage_tests_on(&self) -> bool {
        self.state.height.0 >= self.state.params().storage_tests_from
    }

    /// A decommissioned node comes back with an uptime proof made since, and (where there are storage tests) passes
    /// from enough distinct testers.
    fn recommission_if_due(&mut self, id: &NodeId) {
        let Some(node) = self.state.nodes.get(id) else { return };
        // Decommissions come before the transactions of their block.
        let proved =
            node.proved_at >= node.since && node.proved_epoch == epoch_of(self.state.height, self.state.params());
        let passed =
            !self.storage_tests_on() || node.tests.passes_and_fails().0 >= self.state.params().deciding_testers;
        if node.record.state == NodeState::Decommissioned && proved && passed {
            self.change_state(id, NodeState::Active);
        }
    }
}
