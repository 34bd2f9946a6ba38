//! Who is subscribed, found by tunnel, by address, and by how long an answer has been on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use sotto_proto::address::Address;
use sotto_proto::time::Monotonic;

use crate::service_node::message::Tunnel;
use crate::store::records::Arrival;

/// Subscriptions of a node.
pub(super) const SUBSCRIPTIONS: usize = 4096;
/// Subscriptions to one address: a few devices, and their next paths.
pub(super) const SUBSCRIPTIONS_PER_ADDRESS: usize = 16;
/// A subscriber that has not taken an answer for so long is closed.
pub(super) const PUSH_STALL: Duration = Duration::from_secs(30);

/// A reader that is told what comes.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    /// Tells it from an earlier one of the tunnel.
    pub(super) number: u64,
    pub(super) address: Address,
    /// What the reader has, or will have with the answer under way.
    pub(super) cursor: Arrival,
    pub(super) max_bytes: usize,
    pub(super) flow: Flow,
}

/// Where a subscription's next answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Nowhere: there is nothing new.
    Idle,
    /// Being read.
    Reading,
    /// On its way since then; there is room for the next one afterwards.
    Sent(Monotonic),
}

/// The subscriptions.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    all: BTreeMap<Tunnel, Subscription>,
    by_address: BTreeMap<Address, BTreeSet<Tunnel>>,
    sent: BTreeSet<(Monotonic, Tunnel)>,
    /// Those that have something to read and wait for their turn.
    waiting: BTreeSet<Tunnel>,
    /// Whose turn was last.
    turn: Option<Tunnel>,
}

impl Subscriptions {
    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is room for another one to this address.
    pub(super) fn has_room(&self, address: &Address) -> bool {
        let same = self.by_address.get(address).map_or(0, BTreeSet::len);
        self.all.len() < SUBSCRIPTIONS && same < SUBSCRIPTIONS_PER_ADDRESS
    }

    /// The tunnel has this subscription now, and no other.
    pub(super) fn insert(&mut self, tunnel: Tunnel, subscription: Subscription) {
        self.remove(tunnel);
        self.by_address.entry(subscription.address).or_default().insert(tunnel);
        self.all.insert(tunnel, subscription);
    }

    /// The tunnel has none any more.
    pub(super) fn remove(&mut self, tunnel: Tunnel) {
        let Some(subscription) = self.all.remove(&tunnel) else { return };
        if let Some(tunnels) = self.by_address.get_mut(&subscription.address) {
            tunnels.remove(&tunnel);
            if tunnels.is_empty() {
                self.by_address.remove(&subscription.address);
            }
        }
        if let Flow::Sent(since) = subscription.flow {
            self.sent.remove(&(since, tunnel));
        }
        self.waiting.remove(&tunnel);
    }

    /// The subscription of a tunnel.
    pub(super) fn get(&self, tunnel: Tunnel) -> Option<&Subscription> {
        self.all.get(&tunnel)
    }

    /// Whether a tunnel still has the subscription with this number.
    pub(super) fn is_current(&self, tunnel: Tunnel, number: u64) -> bool {
        self.all.get(&tunnel).is_some_and(|subscription| subscription.number == number)
    }

    /// The next answer is somewhere else.
    pub(super) fn set_flow(&mut self, tunnel: Tunnel, flow: Flow) {
        let Some(subscription) = self.all.get_mut(&tunnel) else { return };
        if let Flow::Sent(since) = std::mem::replace(&mut subscription.flow, flow) {
            self.sent.remove(&(since, tunnel));
        }
        if let Flow::Sent(since) = flow {
            self.sent.insert((since, tunnel));
        }
    }

    /// An answer that ends at `cursor` is on its way.
    pub(super) fn sent(&mut self, tunnel: Tunnel, cursor: Arrival, now: Monotonic) {
        self.set_flow(tunnel, Flow::Sent(now));
        if let Some(subscription) = self.all.get_mut(&tunnel) {
            subscription.cursor = cursor;
        }
    }

    /// Subscriptions to an address that can be sent something.
    pub(super) fn idle_at(&self, address: &Address) -> Vec<Tunnel> {
        let tunnels = self.by_address.get(address).into_iter().flatten();
        let is_idle = |tunnel: &&Tunnel| self.get(**tunnel).is_some_and(|known| known.flow == Flow::Idle);
        tunnels.filter(is_idle).copied().collect()
    }

    /// Addresses that somebody is subscribed to.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (&Address, &BTreeSet<Tunnel>)> {
        self.by_address.iter()
    }

    /// Has something to read, and waits for its turn.
    pub(super) fn wait(&mut self, tunnel: Tunnel) {
        self.waiting.insert(tunnel);
    }

    /// Whether anybody waits for their turn.
    pub(super) fn someone_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whose turn it is.
    pub(super) fn pop_waiting(&mut self) -> Option<Tunnel> {
        let after = self.turn.map_or(Unbounded, Excluded);
        let next = self.waiting.range((after, Unbounded)).next().or_else(|| self.waiting.first()).copied()?;
        self.turn = Some(next);
        self.waiting.take(&next)
    }

    /// Tunnels that do not take what they were sent.
    pub(super) fn stalled(&self, now: Monotonic) -> Vec<Tunnel> {
        let stalled = self.sent.iter().take_while(|(since, _)| now.since(*since) >= PUSH_STALL);
        stalled.map(|(_, tunnel)| *tunnel).collect()
    }

    /// When the next one stalls.
    pub(super) fn next_stall(&self) -> Option<Monotonic> {
        self.sent.first().map(|(since, _)| since.plus(PUSH_STALL))
    }
}
