//! What is kept of one peer.

use std::collections::BTreeMap;

use sotto_proto::id::NodeId;
use sotto_proto::time::Monotonic;

use super::Direction;

/// A connection of a peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection<Link> {
    pub(super) link: Link,
    pub(super) direction: Direction,
    pub(super) since: Monotonic,
}

/// A peer.
#[derive(Clone, Debug)]
pub(super) struct Entry<Link> {
    /// In the order they were made; the connection limits keep them to two.
    pub(super) connections: Vec<Connection<Link>>,
    pub(super) dialing: bool,
    /// Somebody waits for a connection.
    pub(super) demanded: bool,
    /// No dial before this.
    pub(super) not_before: Monotonic,
    /// Failed dials and short-lived connections in a row.
    pub(super) failures: u32,
    pub(super) last_used: Monotonic,
    /// Two connections were made at once, and the peer has until then to close them.
    pub(super) double_until: Option<Monotonic>,
    /// And it is for the peer to dial next.
    pub(super) yields: bool,
    /// Since when it is connected but not subscribed to the common topic.
    pub(super) deaf_since: Option<Monotonic>,
    /// How often it was closed for that in a row.
    pub(super) deaf_times: u32,
    /// It spoke none of our protocols.
    pub(super) foreign: bool,
}

impl<Link> Entry<Link> {
    pub(super) const fn new(now: Monotonic) -> Self {
        Self {
            connections: Vec::new(),
            dialing: false,
            demanded: false,
            not_before: now,
            failures: 0,
            last_used: now,
            double_until: None,
            yields: false,
            deaf_since: None,
            deaf_times: 0,
            foreign: false,
        }
    }

    pub(super) const fn is_connected(&self) -> bool {
        !self.connections.is_empty()
    }

    pub(super) fn was_dialed(&self) -> bool {
        self.connections.iter().any(|connection| connection.direction == Direction::Dialed)
    }
}

/// Peers whose deadline has come; `next` is moved to the nearest of the others.
pub(super) fn due<Link>(
    peers: &BTreeMap<NodeId, Entry<Link>>,
    next: &mut Option<Monotonic>,
    now: Monotonic,
    deadline: impl Fn(&NodeId, &Entry<Link>) -> Option<Monotonic>,
) -> Vec<NodeId> {
    let mut due = Vec::new();
    for (node, entry) in peers {
        match deadline(node, entry) {
            Some(at) if at <= now => due.push(*node),
            Some(at) => *next = Some(next.map_or(at, |next| next.min(at))),
            None => {}
        }
    }
    due
}
