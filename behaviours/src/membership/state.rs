//! The rules of membership: a pure state machine. Inputs are method calls with the time, outputs are polled.
//!
//! ```text
//! set_view, demand, used        ┌────────┐   Dial, Close
//! established, closed,      ──▶ │ State  │ ──▶
//! dial_failed, ping_failed,     └────────┘   Unreachable
//! deaf, foreign, timeout
//! ```
//!
//! `Link` names a connection; its owner chooses the type.

mod doubles;
mod links;
mod peers;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;
use sotto_proto::id::NodeId;
use sotto_proto::limits;
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::network::NetworkView;
use sotto_proto::time::Monotonic;

use self::doubles::Verdict;
use self::peers::{Connection, Entry, due};
use super::config::{
    BACKOFF_FIRST, BACKOFF_FLOOR, BACKOFF_MAX, DEAF, DEAF_DOUBLINGS, SETTLE, SETTLE_JITTER, STABLE, YIELD, YIELD_JITTER,
};
use super::draw::Draw;
use crate::network::{Peer, Role};

/// What the rules are started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The own key.
    pub own: NodeId,
    /// What this process is: clients want no links of their own.
    pub role: Role,
    /// The block producer.
    pub producer: Peer,
    /// Nodes to ask before the list is known.
    pub bootstrap: Vec<Peer>,
    /// Whether private addresses are dialled.
    pub private_addresses: bool,
    /// Where this process listens: never dialled.
    pub listen: Option<NodeAddr>,
    /// Connections with nodes; what is not wanted makes room above this.
    pub nodes: usize,
}

/// Who made a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// This process.
    Dialed,
    /// The peer.
    Accepted,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// This process closed it, here or elsewhere in this crate.
    Own,
    /// The peer closed it, or it broke, or it was idle.
    Other,
}

/// Why connections are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloseReason {
    /// Both sides had dialled: they start anew, one of them dialling.
    Crossed,
    /// The peer has connected anew although an older connection was there: it was restarted.
    Restarted,
    /// It does not answer pings.
    Silent,
    /// It is not subscribed to a topic that it should be.
    Deaf,
    /// Nobody has used it for a while.
    Idle,
    /// Room was needed for another.
    Crowded,
    /// It speaks none of our protocols.
    Foreign,
}

impl CloseReason {
    /// A fixed name for metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Crossed => "crossed",
            Self::Restarted => "restarted",
            Self::Silent => "silent",
            Self::Deaf => "deaf",
            Self::Idle => "idle",
            Self::Crowded => "crowded",
            Self::Foreign => "foreign",
        }
    }
}

/// What the rules want done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Dial `node` at these addresses, one after the other.
    Dial {
        /// Whom.
        node: NodeId,
        /// Where; not empty.
        addresses: Vec<NodeAddr>,
    },
    /// Close all connections with a peer. There is no closing of one of two: see `doubles`.
    Close {
        /// Whose.
        node: NodeId,
        /// Why.
        reason: CloseReason,
    },
    /// A dial failed: whatever waits for this peer has waited in vain.
    Unreachable {
        /// Whom.
        node: NodeId,
    },
}

/// Why a peer cannot be dialled now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// No dialable address of it is known.
    #[error("no address of the peer is known")]
    NoAddress,
    /// It failed lately; the next attempt is not due.
    #[error("the peer failed lately")]
    BackingOff,
}

/// Why a link is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// A member of the own swarm: it wants us too, so one of both waits.
    Member,
    /// Drawn, or the producer, or a bootstrap node: it may not want us, so nobody waits.
    Link,
}

/// The rules.
pub struct State<Link> {
    settings: Settings,
    rng: ChaCha20Rng,
    view: Option<Arc<NetworkView>>,
    draw: Draw,
    /// Members of the own swarm and drawn neighbours.
    wanted: BTreeMap<NodeId, Want>,
    /// Connected peers, wanted ones, and those that failed lately.
    peers: BTreeMap<NodeId, Entry<Link>>,
    dialing: usize,
    next: Option<Monotonic>,
    outputs: VecDeque<Output>,
}

impl<Link: PartialEq> State<Link> {
    /// The rules before anything happened. `rng` is for jitter.
    #[must_use]
    pub fn new(settings: Settings, rng: ChaCha20Rng) -> Self {
        let draw = Draw::new(settings.own);
        Self {
            settings,
            rng,
            view: None,
            draw,
            wanted: BTreeMap::new(),
            peers: BTreeMap::new(),
            dialing: 0,
            // The producer and the bootstrap nodes are wanted from the first moment.
            next: Some(Monotonic::default()),
            outputs: VecDeque::new(),
        }
    }

    /// The network changed.
    pub fn set_view(&mut self, view: Arc<NetworkView>, now: Monotonic) {
        self.draw.update(&view.current().nodes);
        self.view = Some(view);
        self.want_again(now);
        self.wake(now);
    }

    /// Somebody is about to send to `node`: dials it if there is no connection.
    ///
    /// # Errors
    /// [`Unreachable`] when nothing is dialled and nothing is connected.
    pub fn demand(&mut self, node: NodeId, now: Monotonic) -> Result<(), Unreachable> {
        if self.peers.get(&node).is_some_and(|entry| entry.is_connected() || entry.dialing) {
            self.used(node, now);
            return Ok(());
        }
        if self.addresses(&node).is_empty() {
            return Err(Unreachable::NoAddress);
        }
        let entry = self.peers.entry(node).or_insert_with(|| Entry::new(now));
        if entry.failures > 0 && entry.not_before > now {
            return Err(Unreachable::BackingOff);
        }
        entry.demanded = true;
        entry.last_used = now;
        entry.not_before = now;
        self.wake(now);
        Ok(())
    }

    /// Something was sent to `node` or came from it.
    pub fn used(&mut self, node: NodeId, now: Monotonic) {
        if let Some(entry) = self.peers.get_mut(&node) {
            entry.last_used = now;
        }
    }

    /// A connection was made.
    pub fn established(&mut self, node: NodeId, link: Link, direction: Direction, now: Monotonic) {
        let entry = self.peers.entry(node).or_insert_with(|| Entry::new(now));
        if direction == Direction::Dialed && std::mem::take(&mut entry.dialing) {
            self.dialing -= 1;
        }
        entry.demanded = false;
        entry.foreign = false;
        entry.last_used = now;
        entry.connections.push(Connection { link, direction, since: now });
        match doubles::judge(&self.settings.own, &node, &entry.connections, now, self.wanted.contains_key(&node)) {
            Verdict::Fine => {}
            Verdict::PeerCloses { until } => {
                entry.double_until = Some(until);
                entry.yields = true;
                self.wake(until);
            }
            Verdict::Close(reason) => self.close(node, reason),
        }
        let is_node = self.is_node(&node);
        if is_node {
            self.make_room(node);
        }
        if direction == Direction::Dialed {
            self.wake(now.plus(limits::RELAY_IDLE));
        }
        // A client that comes changes nothing of what is wanted: a crowd of them is not worth as many looks at everybody.
        if is_node || direction == Direction::Dialed {
            self.wake(now);
        }
    }

    /// A connection ended.
    pub fn closed(&mut self, node: NodeId, link: Link, cause: Cause, now: Monotonic) {
        let Some(entry) = self.peers.get_mut(&node) else { return };
        let Some(index) = entry.connections.iter().position(|connection| connection.link == link) else { return };
        let connection = entry.connections.remove(index);
        if entry.connections.len() < 2 {
            entry.double_until = None;
        }
        if entry.is_connected() {
            return;
        }
        entry.deaf_since = None;
        match cause {
            _ if entry.foreign => self.failed(node, now),
            _ if entry.yields => {
                let pause = SETTLE + jitter(&mut self.rng, SETTLE_JITTER);
                self.retry_after(node, pause, now);
            }
            Cause::Own => {
                let pause = SETTLE + jitter(&mut self.rng, SETTLE_JITTER);
                self.retry_after(node, pause, now);
            }
            Cause::Other if now.since(connection.since) >= STABLE => {
                entry.failures = 0;
                let pause = BACKOFF_FLOOR + jitter(&mut self.rng, BACKOFF_FIRST);
                self.retry_after(node, pause, now);
            }
            Cause::Other => self.failed(node, now),
        }
    }

    /// A dial failed.
    pub fn dial_failed(&mut self, node: NodeId, now: Monotonic) {
        let Some(entry) = self.peers.get_mut(&node) else { return };
        if std::mem::take(&mut entry.dialing) {
            self.dialing -= 1;
        }
        entry.demanded = false;
        if !entry.is_connected() {
            self.outputs.push_back(Output::Unreachable { node });
            self.failed(node, now);
        }
    }

    /// Two pings in a row failed on one of the peer's connections.
    pub fn ping_failed(&mut self, node: NodeId) {
        self.close(node, CloseReason::Silent);
    }

    /// The peer speaks none of our protocols. It is tried again, but as rarely as can be.
    pub fn foreign(&mut self, node: NodeId) {
        if let Some(entry) = self.peers.get_mut(&node) {
            entry.foreign = true;
        }
        self.close(node, CloseReason::Foreign);
    }

    /// Which connected peers are not subscribed to a topic that they should be. To be told every second or so.
    pub fn deaf(&mut self, deaf: &BTreeSet<NodeId>, now: Monotonic) {
        let mut hopeless = Vec::new();
        for (node, entry) in self.peers.iter_mut().filter(|(_, entry)| entry.is_connected()) {
            if !deaf.contains(node) {
                entry.deaf_since = None;
                entry.deaf_times = 0;
            } else if now.since(*entry.deaf_since.get_or_insert(now)) >= DEAF * (1 << entry.deaf_times) {
                entry.deaf_since = None;
                entry.deaf_times = (entry.deaf_times + 1).min(DEAF_DOUBLINGS);
                hopeless.push(*node);
            }
        }
        for node in hopeless {
            self.close(node, CloseReason::Deaf);
        }
    }

    /// When [`State::timeout`] is due.
    #[must_use]
    pub const fn next_timeout(&self) -> Option<Monotonic> {
        self.next
    }

    /// Does what is due.
    pub fn timeout(&mut self, now: Monotonic) {
        self.next = None;
        self.want_again(now);
        self.close_doubles(now);
        self.close_idle(now);
        self.dial(now);
        self.forget(now);
    }

    /// What is to be done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether `node` is a node to us: on the list, the producer or a bootstrap node.
    #[must_use]
    pub fn is_node(&self, node: &NodeId) -> bool {
        self.view.as_ref().is_some_and(|view| view.is_registered(node)) || self.configured(node).is_some()
    }

    /// Connected peers, ascending.
    pub fn connected(&self) -> impl Iterator<Item = NodeId> {
        self.peers.iter().filter(|(_, entry)| entry.is_connected()).map(|(node, _)| *node)
    }

    /// Who made the connections with a peer, in the order they were made; none if it is not connected.
    pub fn directions(&self, node: &NodeId) -> impl Iterator<Item = Direction> {
        let connections = self.peers.get(node).map(|entry| &entry.connections);
        connections.into_iter().flatten().map(|connection| connection.direction)
    }

    /// Other members of the own swarm, and how many of them are connected.
    #[must_use]
    pub fn members(&self) -> (usize, usize) {
        let members = self.wanted.iter().filter(|(_, want)| **want == Want::Member).map(|(node, _)| node);
        members.fold((0, 0), |(all, connected), node| (all + 1, connected + usize::from(self.is_connected(node))))
    }

    fn is_connected(&self, node: &NodeId) -> bool {
        self.peers.get(node).is_some_and(Entry::is_connected)
    }

    fn configured(&self, node: &NodeId) -> Option<&Peer> {
        std::iter::once(&self.settings.producer).chain(&self.settings.bootstrap).find(|peer| peer.node == *node)
    }

    fn close_doubles(&mut self, now: Monotonic) {
        for node in due(&self.peers, &mut self.next, now, |_, entry| entry.double_until) {
            if let Some(entry) = self.peers.get_mut(&node) {
                entry.double_until = None;
            }
            self.close(node, CloseReason::Crossed);
        }
    }

    /// Lets go what we dialled on demand and nobody uses. What the peer dialled is for the peer to let go.
    fn close_idle(&mut self, now: Monotonic) {
        let idle = due(&self.peers, &mut self.next, now, |node, entry| {
            (entry.is_connected() && entry.was_dialed() && !self.wanted.contains_key(node))
                .then(|| entry.last_used.plus(limits::RELAY_IDLE))
        });
        for node in idle {
            self.close(node, CloseReason::Idle);
        }
    }

    /// Dials whoever is due, the longest due first, as many at once as are allowed.
    fn dial(&mut self, now: Monotonic) {
        let mut waiting = due(&self.peers, &mut self.next, now, |node, entry| {
            let is_due = !entry.is_connected() && !entry.dialing && (entry.demanded || self.wanted.contains_key(node));
            is_due.then_some(entry.not_before)
        });
        waiting.sort_by_key(|node| self.peers.get(node).map(|entry| entry.not_before));
        for node in waiting {
            if self.dialing >= limits::PENDING_OUTGOING {
                // A dial that ends wakes us.
                return;
            }
            let addresses = self.addresses(&node);
            let Some(entry) = self.peers.get_mut(&node) else { continue };
            if addresses.is_empty() {
                entry.demanded = false;
                self.retry_after(node, BACKOFF_MAX, now);
                continue;
            }
            entry.dialing = true;
            self.dialing += 1;
            self.outputs.push_back(Output::Dial { node, addresses });
        }
    }

    /// Drops peers that nothing is known or wanted of any more.
    fn forget(&mut self, now: Monotonic) {
        let wanted = &self.wanted;
        self.peers.retain(|node, entry| {
            entry.is_connected()
                || entry.dialing
                || entry.demanded
                || wanted.contains_key(node)
                || (entry.failures > 0 && entry.not_before > now)
        });
    }

    /// With too many nodes connected, a newcomer among them, lets go the one that was not used for longest and that we do
    /// not want.
    fn make_room(&mut self, newcomer: NodeId) {
        let nodes: Vec<NodeId> = self.connected().filter(|node| self.is_node(node)).collect();
        if nodes.len() < self.settings.nodes {
            return;
        }
        let spare = nodes.into_iter().filter(|node| !self.wanted.contains_key(node) && *node != newcomer);
        if let Some(node) = spare.min_by_key(|node| self.peers.get(node).map(|entry| entry.last_used)) {
            self.close(node, CloseReason::Crowded);
        }
    }

    fn close(&mut self, node: NodeId, reason: CloseReason) {
        self.outputs.push_back(Output::Close { node, reason });
    }

    fn failed(&mut self, node: NodeId, now: Monotonic) {
        let Some(entry) = self.peers.get_mut(&node) else { return };
        entry.failures = entry.failures.saturating_add(1);
        let pause = if entry.foreign {
            BACKOFF_MAX
        } else {
            let longest = BACKOFF_FIRST.saturating_mul(1 << (entry.failures - 1).min(16)).min(BACKOFF_MAX);
            jitter(&mut self.rng, longest).max(BACKOFF_FLOOR)
        };
        self.retry_after(node, pause, now);
    }

    /// The next dial of `node` is due after `pause`, and later where it is for the peer to dial first.
    fn retry_after(&mut self, node: NodeId, pause: Duration, now: Monotonic) {
        let member = self.wanted.get(&node) == Some(&Want::Member) && self.settings.own > node;
        let Some(entry) = self.peers.get_mut(&node) else { return };
        let yields = std::mem::take(&mut entry.yields) || (member && entry.failures == 0);
        let first = if yields { YIELD + jitter(&mut self.rng, YIELD_JITTER) } else { Duration::ZERO };
        entry.not_before = now.plus(pause + first);
        // A place among the dials may be free now, and a link that ended may make the producer wanted.
        self.wake(now);
    }

    fn wake(&mut self, at: Monotonic) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

/// Between nothing and `longest`, all equally likely.
fn jitter(rng: &mut ChaCha20Rng, longest: Duration) -> Duration {
    let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(rng.next_u64() % nanos.saturating_add(1).max(1))
}
