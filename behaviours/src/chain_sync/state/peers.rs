//! What is known of the peers that can be asked for blocks.

use std::collections::BTreeMap;
use std::time::Duration;

use sotto_proto::id::{Height, NodeId};
use sotto_proto::time::Monotonic;

use super::backoff;

#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    /// The highest block it is known, or claims, to have.
    tip: Height,
    /// The lowest one it has.
    lowest: Height,
    not_before: Monotonic,
    failures: u32,
    /// It was asked from further back since its blocks last fitted.
    rewound: bool,
    /// When it was asked last, as a count of questions: the turn goes round.
    turn: u64,
}

/// Connected nodes and the producer.
#[derive(Debug)]
pub(super) struct Peers {
    producer: NodeId,
    peers: BTreeMap<NodeId, Peer>,
    turn: u64,
}

impl Peers {
    pub(super) const fn new(producer: NodeId) -> Self {
        Self { producer, peers: BTreeMap::new(), turn: 0 }
    }

    /// Whether it is new.
    pub(super) fn insert(&mut self, node: NodeId) -> bool {
        let before = self.peers.len();
        self.peers.entry(node).or_default();
        self.peers.len() > before
    }

    pub(super) fn remove(&mut self, node: &NodeId) {
        self.peers.remove(node);
    }

    pub(super) fn has(&mut self, node: &NodeId, height: Height) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.tip = peer.tip.max(height);
        }
    }

    /// What it said with an answer counts more than what was heard of it before: its chain may have become shorter.
    pub(super) fn answered(&mut self, node: &NodeId, tip: Height) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.tip = tip;
        }
    }

    pub(super) fn asked(&mut self, node: &NodeId) {
        self.turn += 1;
        if let Some(peer) = self.peers.get_mut(node) {
            peer.turn = self.turn;
        }
    }

    pub(super) fn useful(&mut self, node: &NodeId) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.failures = 0;
            peer.rewound = false;
        }
    }

    /// Whether it may be asked from further back: once, until its blocks fit.
    pub(super) fn rewound(&mut self, node: &NodeId) -> bool {
        self.peers.get_mut(node).is_some_and(|peer| !std::mem::replace(&mut peer.rewound, true))
    }

    /// It was not asked from further back after all.
    pub(super) fn not_rewound(&mut self, node: &NodeId) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.rewound = false;
        }
    }

    pub(super) fn pruned_below(&mut self, node: &NodeId, lowest: Height) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.lowest = lowest;
        }
    }

    pub(super) fn pause(&mut self, node: &NodeId, pause: Duration, now: Monotonic) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.not_before = now.plus(pause);
        }
    }

    pub(super) fn pause_after_failure(&mut self, node: &NodeId, first: Duration, now: Monotonic) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.not_before = now.plus(backoff(first, peer.failures));
            peer.failures = peer.failures.saturating_add(1);
            peer.rewound = false;
        }
    }

    /// Whether it says that it has a block of this height.
    pub(super) fn claims(&self, node: &NodeId, height: Height) -> bool {
        self.peers.get(node).is_some_and(|peer| peer.tip >= height)
    }

    pub(super) fn anybody_has(&self, height: Height) -> bool {
        self.peers.values().any(|peer| peer.tip >= height)
    }

    pub(super) fn highest(&self) -> Option<Height> {
        self.peers.values().map(|peer| peer.tip).max()
    }

    /// Who has the block at `height` and was not asked for longest; the producer only where nobody else is connected
    /// that has it. Otherwise when somebody can be asked again, if ever.
    pub(super) fn choose(&self, height: Height, but: &[NodeId], now: Monotonic) -> Result<NodeId, Option<Monotonic>> {
        let having = |(node, peer): &(&NodeId, &Peer)| {
            peer.tip >= height && (height == Height::ZERO || peer.lowest <= height) && !but.contains(node)
        };
        let candidates = || self.peers.iter().filter(having);
        candidates()
            .filter(|(_, peer)| peer.not_before <= now)
            .min_by_key(|(node, peer)| (**node == self.producer, peer.turn))
            .map(|(node, _)| *node)
            .ok_or_else(|| candidates().map(|(_, peer)| peer.not_before).min())
    }
}
