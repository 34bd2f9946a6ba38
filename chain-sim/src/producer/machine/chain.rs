//! The last states of the chain.

use std::collections::VecDeque;
use std::sync::Arc;

use sotto_proto::chain::Transaction;
use sotto_proto::id::Height;
use sotto_proto::limits::{FINAL_DEPTH, RECENT_MAPS};
use sotto_proto::network::{NetworkView, Snapshot};

use crate::State;
use crate::producer::recovery::{Link, STATES_HELD};

/// The last [`STATES_HELD`] states, oldest first; never empty.
#[derive(Clone, Debug)]
pub struct Chain {
    links: VecDeque<Link>,
    /// The same as the newest link's, so that there always is one.
    tip: State,
    /// What the network is shown of each link.
    snapshots: VecDeque<Arc<Snapshot>>,
}

impl Chain {
    /// A chain of `state` alone.
    #[must_use]
    pub fn new(state: State) -> Self {
        let snapshots = VecDeque::from([Arc::new(state.snapshot())]);
        Self { links: VecDeque::from([Link { state: state.clone(), transactions: Vec::new() }]), tip: state, snapshots }
    }

    /// The chain that was recovered; `None` if there are no links.
    #[must_use]
    pub fn recovered(links: VecDeque<Link>) -> Option<Self> {
        let mut links = links.into_iter();
        let mut chain = Self::new(links.next()?.state);
        links.for_each(|link| chain.push(link));
        Some(chain)
    }

    /// The newest state.
    #[must_use]
    pub const fn tip(&self) -> &State {
        &self.tip
    }

    /// The states held, newest first.
    pub fn states(&self) -> impl Iterator<Item = &State> {
        self.links.iter().rev().map(|link| &link.state)
    }

    /// The state after the block of `height`, if it is held.
    #[must_use]
    pub fn at(&self, height: Height) -> Option<&State> {
        self.states().find(|state| state.height() == height)
    }

    /// The oldest state held.
    #[must_use]
    pub fn oldest(&self) -> &State {
        self.links.front().map_or(&self.tip, |link| &link.state)
    }

    /// Appends a block.
    pub fn push(&mut self, link: Link) {
        self.tip = link.state.clone();
        self.snapshots.push_back(Arc::new(link.state.snapshot()));
        self.links.push_back(link);
        while self.links.len() > STATES_HELD {
            self.links.pop_front();
            self.snapshots.pop_front();
        }
    }

    /// Undoes the blocks above `height`, whose state is held; returns their transactions in order.
    pub fn undo(&mut self, height: Height) -> Vec<Transaction> {
        let mut undone = Vec::new();
        while self.links.len() > 1 && self.tip.height() > height {
            let Some(link) = self.links.pop_back() else { break };
            self.snapshots.pop_back();
            undone.push(link.transactions);
            if let Some(last) = self.links.back() {
                self.tip = last.state.clone();
            }
        }
        undone.into_iter().rev().flatten().collect()
    }

    /// The transactions of the blocks above `height`, in order.
    #[must_use]
    pub fn transactions_above(&self, height: Height) -> Vec<Transaction> {
        let above = self.links.iter().filter(|link| link.state.height() > height);
        above.flat_map(|link| link.transactions.iter().cloned()).collect()
    }

    /// The final state and those before it.
    #[must_use]
    pub fn view(&self) -> NetworkView {
        let tip = self.tip.height();
        let last_final = tip.minus(FINAL_DEPTH);
        let mut finals = self.snapshots.iter().rev().filter(|snapshot| snapshot.height <= last_final).cloned();
        // After a start from a snapshot near the tip the oldest state held may still be above F.
        let current = finals.next().unwrap_or_else(|| Arc::new(self.oldest().snapshot()));
        NetworkView::new(self.tip.chain(), tip, false, current, finals.take(RECENT_MAPS - 1).collect())
    }
}
