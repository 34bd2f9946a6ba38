//! What became of the last transactions, for whoever submitted them.

use std::collections::{BTreeMap, VecDeque};

use sotto_proto::id::{Height, TxId};

/// How many are remembered.
const REMEMBERED: usize = 16_384;

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits for a block.
    Waiting,
    /// It is in a block.
    Included(Height),
    /// It will not be in a block.
    Dropped(String),
}

/// The fates of the last transactions.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    fates: BTreeMap<TxId, Fate>,
    order: VecDeque<TxId>,
}

impl Outcomes {
    /// What became of one, if that is remembered.
    #[must_use]
    pub fn get(&self, id: &TxId) -> Option<&Fate> {
        self.fates.get(id)
    }

    /// Remembers one; forgets the oldest above the bound.
    pub fn set(&mut self, id: TxId, fate: Fate) {
        if self.fates.insert(id, fate).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.fates.remove(&oldest);
        }
    }

    /// Forgets one that waits again.
    pub fn forget(&mut self, id: &TxId) {
        // Its place in the order stays; when that is reached, at worst a younger fate of the same id goes early.
        self.fates.remove(id);
    }
}
