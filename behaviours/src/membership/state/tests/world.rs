//! Many nodes and the wires between them, in virtual time.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand_core::SeedableRng as _;

use super::*;

/// What is under way.
#[derive(Clone, Copy, Debug)]
enum Wire {
    /// A dial arrives at the far end and is established there, then here.
    Arrives {
        link: u32,
        from: NodeId,
        to: NodeId,
    },
    Established {
        link: u32,
        at: NodeId,
        with: NodeId,
    },
    Failed {
        at: NodeId,
        with: NodeId,
    },
    Closed {
        link: u32,
        at: NodeId,
        with: NodeId,
    },
}

struct World {
    nodes: BTreeMap<NodeId, Rules>,
    /// Open connections: who dialled whom.
    links: BTreeMap<u32, (NodeId, NodeId)>,
    /// Which node takes which connection, with whom, for open: one may be gone without its knowing.
    known: BTreeMap<(u32, NodeId), NodeId>,
    wires: BTreeMap<(Monotonic, u64), Wire>,
    rng: ChaCha20Rng,
    now: Monotonic,
    next: u32,
    sequence: u64,
    dials: usize,
}

impl World {
    fn new(keys: &[NodeId], seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha20Rng::from_seed(bytes);
        let mut world = Self {
            nodes: BTreeMap::new(),
            links: BTreeMap::new(),
            known: BTreeMap::new(),
            wires: BTreeMap::new(),
            rng: ChaCha20Rng::from_seed(bytes),
            now: Monotonic::default(),
            next: 0,
            sequence: 0,
            dials: 0,
        };
        for key in keys {
            rng.fill_bytes(&mut bytes);
            world.start(*key, bytes);
        }
        world
    }

    fn start(&mut self, node: NodeId, seed: [u8; 32]) {
        let settings = Settings { own: node, listen: Some(address(&node)), ..settings(0) };
        self.nodes.insert(node, State::new(settings, ChaCha20Rng::from_seed(seed)));
    }

    /// Kills a node: its connections end at once here, and unnoticed there if `silently`.
    fn kill(&mut self, node: NodeId, silently: bool) {
        self.nodes.remove(&node);
        let links: Vec<_> =
            self.links.iter().filter(|(_, (a, b))| *a == node || *b == node).map(|(l, ends)| (*l, *ends)).collect();
        for (link, (a, b)) in links {
            self.links.remove(&link);
            self.known.remove(&(link, node));
            if !silently {
                let other = if a == node { b } else { a };
                self.later(1, Wire::Closed { link, at: other, with: node });
            }
        }
    }

    fn later(&mut self, longest_millis: u64, wire: Wire) {
        let delay = Duration::from_micros(self.rng.next_u64() % (longest_millis * 1000) + 1);
        self.sequence += 1;
        self.wires.insert((self.now.plus(delay), self.sequence), wire);
    }

    fn run(&mut self, until: Monotonic, latency: u64) {
        loop {
            let keys: Vec<_> = self.nodes.keys().copied().collect();
            for key in keys {
                while let Some(output) = self.nodes.get_mut(&key).and_then(|state| state.poll_output()) {
                    self.act(key, output, latency);
                }
            }
            let timer = self.nodes.iter().filter_map(|(node, state)| Some((state.next_timeout()?, *node))).min();
            let wire = self.wires.keys().next().copied();
            match (timer, wire) {
                (Some((at, node)), _) if at <= until && wire.is_none_or(|(wire, _)| at <= wire) => {
                    self.now = self.now.max(at);
                    let now = self.now;
                    if let Some(state) = self.nodes.get_mut(&node) {
                        state.timeout(now);
                    }
                }
                (_, Some((at, sequence))) if at <= until => {
                    self.now = at;
                    if let Some(wire) = self.wires.remove(&(at, sequence)) {
                        self.deliver(wire, latency);
                    }
                }
                _ => break,
            }
        }
        self.now = until;
    }

    fn act(&mut self, own: NodeId, output: Output, latency: u64) {
        match output {
            Output::Dial { node, .. } => {
                self.dials += 1;
                let link = self.next;
                self.next += 1;
                self.later(latency, Wire::Arrives { link, from: own, to: node });
            }
            Output::Close { node, .. } => {
                let meant = |((_, at), with): &(&(u32, NodeId), &NodeId)| *at == own && **with == node;
                let links: Vec<_> = self.known.iter().filter(meant).map(|((link, _), _)| *link).collect();
                for link in links {
                    self.links.remove(&link);
                    self.known.remove(&(link, own));
                    let now = self.now;
                    if let Some(state) = self.nodes.get_mut(&own) {
                        state.closed(node, link, Cause::Own, now);
                    }
                    self.later(latency, Wire::Closed { link, at: node, with: own });
                }
            }
            Output::Unreachable { .. } => {}
        }
    }

    fn deliver(&mut self, wire: Wire, latency: u64) {
        let now = self.now;
        match wire {
            Wire::Arrives { link, from, to } if self.nodes.contains_key(&to) => {
                self.links.insert(link, (from, to));
                self.known.insert((link, to), from);
                self.nodes.get_mut(&to).unwrap().established(from, link, Direction::Accepted, now);
                self.later(latency, Wire::Established { link, at: from, with: to });
            }
            Wire::Arrives { from, to, .. } => self.later(latency, Wire::Failed { at: from, with: to }),
            Wire::Established { link, at, with } => {
                let Some(state) = self.nodes.get_mut(&at) else { return };
                state.established(with, link, Direction::Dialed, now);
                if self.links.contains_key(&link) {
                    self.known.insert((link, at), with);
                } else {
                    // The far end closed it meanwhile.
                    state.closed(with, link, Cause::Other, now);
                }
            }
            Wire::Failed { at, with } => {
                if let Some(state) = self.nodes.get_mut(&at) {
                    state.dial_failed(with, now);
                }
            }
            Wire::Closed { link, at, with } => {
                if self.known.remove(&(link, at)).is_some()
                    && let Some(state) = self.nodes.get_mut(&at)
                {
                    state.closed(with, link, Cause::Other, now);
                }
            }
        }
    }

    /// Connections between each two nodes.
    fn between(&self, a: NodeId, b: NodeId) -> usize {
        self.links.values().filter(|ends| **ends == (a, b) || **ends == (b, a)).count()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn members_end_with_one_connection_each_however_their_dials_cross(
        keys in prop::collection::btree_set(0_u8..100, 2..10),
        latency in 1_u64..400,
        lag in 0.0_f64..2.0,
        seed: u64,
    ) {
        let members: Vec<_> = keys.into_iter().map(node).collect();
        let mut world = World::new(&members, seed);
        world.run(at(1.0), latency);
        // They learn of each other at slightly different times.
        let view = view_of_swarm(1, &members, &[]);
        for (index, member) in members.iter().enumerate() {
            let now = at(1.0 + lag * (index % 3) as f64);
            world.run(now, latency);
            world.nodes.get_mut(member).unwrap().set_view(Arc::clone(&view), now);
        }
        world.run(at(30.0), latency);
        for (index, a) in members.iter().enumerate() {
            for b in &members[index + 1..] {
                prop_assert_eq!(world.between(*a, *b), 1, "{:?} {:?}", a, b);
            }
        }
        let pairs = members.len() * (members.len() - 1) / 2;
        prop_assert!(world.dials <= 3 * pairs + 40 * members.len(), "{} dials for {} pairs", world.dials, pairs);
    }

    #[test]
    fn a_member_killed_and_restarted_is_connected_once_again_even_if_nobody_noticed(
        victim in 0_usize..5,
        silently: bool,
        latency in 1_u64..200,
        pause in 0.1_f64..8.0,
        seed: u64,
    ) {
        let members = nodes([10, 20, 30, 40, 50]);
        let mut world = World::new(&members, seed);
        let view = view_of_swarm(1, &members, &[]);
        for member in &members {
            world.nodes.get_mut(member).unwrap().set_view(Arc::clone(&view), at(0.0));
        }
        world.run(at(20.0), latency);
        world.kill(members[victim], silently);
        world.run(at(20.0 + pause), latency);
        world.start(members[victim], [7; 32]);
        world.nodes.get_mut(&members[victim]).unwrap().set_view(view, at(20.0 + pause));
        world.run(at(90.0), latency);
        for other in members.iter().filter(|member| **member != members[victim]) {
            prop_assert_eq!(world.between(members[victim], *other), 1);
        }
    }
}
