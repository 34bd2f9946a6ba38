//! Who is connected with whom, and what nodes know of each other's clocks.

use std::collections::BTreeSet;

use sotto_behaviours::network::{Counts, RequestError};
use sotto_behaviours::status::ClockOffset;
use sotto_node::service_node::Input;
use sotto_proto::limits::CLOCK_OFFSET_MAX;

use super::{CLOCKS, DEAD_AFTER, Event, LINKS, World};
use crate::bugs::Bug;

impl World {
    pub(super) fn is_linked(&self, one: usize, other: usize) -> bool {
        self.linked.contains(&(one.min(other), one.max(other)))
    }

    pub(super) fn look_at_links(&mut self) {
        self.after(LINKS, Event::Links);
        self.looks += 1;
        let mut changed = BTreeSet::new();
        for one in 0..self.nodes.len() {
            for other in one + 1..self.nodes.len() {
                let up = self.nodes[one].is_up() && self.nodes[other].is_up();
                let whole = !self.is_cut(one, other) && !self.is_cut(other, one);
                let linked = self.linked.contains(&(one, other));
                if linked && up && !whole {
                    let cut_for = self.cut_for.entry((one, other)).or_default();
                    *cut_for += 1;
                    if *cut_for < DEAD_AFTER {
                        continue;
                    }
                }
                self.cut_for.remove(&(one, other));
                if linked != (up && whole) {
                    self.set_link(one, other, up && whole);
                    changed.extend([one, other]);
                }
            }
        }
        for node in 0..self.nodes.len() {
            if self.looks.is_multiple_of(CLOCKS) || changed.contains(&node) {
                self.tell_network(node);
            }
        }
    }

    pub(super) fn set_link(&mut self, one: usize, other: usize, linked: bool) {
        if linked {
            self.linked.insert((one, other));
        } else {
            self.linked.remove(&(one, other));
        }
        for (node, peer) in [(one, other), (other, one)] {
            let peer = self.nodes[peer].id();
            self.tell(node, if linked { Input::Connected(peer) } else { Input::Disconnected(peer) });
            if !linked {
                let incarnation = self.nodes[node].incarnation;
                let lost: Vec<_> = (self.asked.iter())
                    .filter(|((asker, of, _), asked)| (*asker, *of) == (node, incarnation) && **asked == peer)
                    .map(|((_, _, tag), _)| *tag)
                    .collect();
                for tag in lost {
                    self.respond_to(node, incarnation, tag, Err(RequestError::ConnectionClosed));
                }
            }
        }
    }

    /// A node hears how the network is: how many it is connected with, and how far their clocks are from its own.
    pub(super) fn tell_network(&mut self, node: usize) {
        if let Some(waiting) = self.frozen.get_mut(&node) {
            waiting.push(Event::Network(node));
            return;
        }
        let peers: Vec<_> = (0..self.nodes.len()).filter(|other| self.is_linked(node, *other)).collect();
        // Who trusts its own clock takes it for that of the others.
        let trusted = self.nodes[node].bug() == Some(Bug::ExpireByOwnClock);
        let own = self.nodes[node].skew;
        let mut offsets: Vec<_> = peers.iter().map(|peer| self.nodes[*peer].skew - own).collect();
        offsets.sort_unstable();
        let clock = (offsets.len() >= 3).then(|| {
            let millis = if trusted { 0 } else { offsets[offsets.len() / 2] };
            let off = u128::from(millis.unsigned_abs()) > CLOCK_OFFSET_MAX.as_millis();
            ClockOffset { millis, peers: offsets.len(), off }
        });
        let counts = Counts { established: peers.len(), nodes: peers.len(), ..Counts::default() };
        self.tell(node, Input::Network { counts, clock });
    }
}
