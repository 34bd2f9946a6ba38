//! The guards: the few nodes that know this device's network address.
//!
//! A guard sees a client's address, so every new one is a new chance to meet a bad one. A device therefore draws a
//! sample of three once, uses the first that can be reached, and keeps them for 60 to 120 days. A guard is replaced when
//! its time is over or when it has left the list, never because paths through it failed: else a hop could drop paths
//! until the client has only its friends left (Tor's guard specification; predecessor attack).
//!
//! No hop may be in the swarm of a path's destination or of the user's own addresses. When none of the three may begin
//! a path, a further guard is drawn for it and kept like the others; never more than [`SAMPLE_MAX`].

use std::collections::BTreeSet;

use rand_core::Rng;
use sotto_proto::chain::{NodeRecord, NodeState};
use sotto_proto::id::NodeId;
use sotto_proto::network::NodeList;
use sotto_proto::time::UnixSeconds;

use super::choice::{Avoid, shares_network};
use super::draw;

/// Guards of a sample.
pub const SAMPLE: usize = 3;
/// Guards of a sample with those drawn for swarms that the first three are in.
pub const SAMPLE_MAX: usize = 6;
const DAY: u64 = 86_400;
/// How long a guard is kept, drawn for each.
const KEEP_DAYS: std::ops::RangeInclusive<u64> = 60..=120;

/// A guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The node.
    pub node: NodeId,
    /// When it was drawn.
    pub since: UnixSeconds,
    /// Until when it is kept.
    pub until: UnixSeconds,
}

/// The sample, in the order of use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guards(Vec<Guard>);

impl Guards {
    /// A sample as it was stored. Too many, or one twice, are left out.
    #[must_use]
    pub fn new(stored: impl IntoIterator<Item = Guard>) -> Self {
        let mut seen = BTreeSet::new();
        Self(stored.into_iter().filter(|guard| seen.insert(guard.node)).take(SAMPLE_MAX).collect())
    }

    /// In the order of use.
    pub fn iter(&self) -> impl Iterator<Item = &Guard> {
        self.0.iter()
    }

    /// Drops guards that are gone from the list or whose time is over, and fills the sample; those that stay keep their
    /// places. `own` are the swarms of the user's own addresses: guards are drawn outside of them. Returns whether
    /// anything changed.
    pub fn maintain(&mut self, nodes: &NodeList, own: &Avoid, now: UnixSeconds, rng: &mut dyn Rng) -> bool {
        let before = self.0.clone();
        self.0.retain(|guard| guard.until > now && nodes.get(&guard.node).is_some_and(|record| is_there(record)));
        while self.0.len() < SAMPLE && self.draw(nodes, own, now, rng) {}
        self.0 != before
    }

    /// The guards that may begin a path which avoids `avoid`, in the order of use.
    pub fn for_path<'a>(&'a self, nodes: &'a NodeList, avoid: &'a Avoid) -> impl Iterator<Item = NodeId> + 'a {
        let allowed = |guard: &&Guard| nodes.get(&guard.node).is_some_and(|record| avoid.allows(record));
        self.0.iter().filter(allowed).map(|guard| guard.node)
    }

    /// Draws a further guard for paths that avoid `avoid`, if none of the sample may begin one but those that cannot be
    /// reached now. Returns whether one was drawn.
    pub fn extend(
        &mut self,
        nodes: &NodeList,
        avoid: &Avoid,
        unreachable: &BTreeSet<NodeId>,
        now: UnixSeconds,
        rng: &mut dyn Rng,
    ) -> bool {
        self.0.len() < SAMPLE_MAX
            && self.for_path(nodes, avoid).all(|guard| unreachable.contains(&guard))
            && self.draw(nodes, avoid, now, rng)
    }

    /// Draws one guard of an operator, and if possible a network, that has none of the others.
    fn draw(&mut self, nodes: &NodeList, avoid: &Avoid, now: UnixSeconds, rng: &mut dyn Rng) -> bool {
        let held: Vec<&NodeRecord> = self.0.iter().filter_map(|guard| nodes.get(&guard.node)).map(|r| &**r).collect();
        let is_new = |record: &&NodeRecord| held.iter().all(|other| other.operator != record.operator);
        let allowed: Vec<&NodeRecord> =
            nodes.values().map(|record| &**record).filter(|record| avoid.allows(record)).filter(is_new).collect();
        let elsewhere: Vec<&NodeRecord> =
            allowed.iter().copied().filter(|record| !held.iter().any(|other| shares_network(other, record))).collect();
        let Some(node) = draw::one(rng, &elsewhere).or_else(|| draw::one(rng, &allowed)).map(|record| record.node)
        else {
            return false;
        };
        let span = (KEEP_DAYS.end() - KEEP_DAYS.start()) * DAY;
        let keep = KEEP_DAYS.start() * DAY + draw::below(rng, span + 1);
        self.0.push(Guard { node, since: now, until: UnixSeconds(now.0.saturating_add(keep)) });
        true
    }
}

/// A guard that is set aside may come back; only leaving for good replaces it.
fn is_there(record: &NodeRecord) -> bool {
    record.state != NodeState::Exiting
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;
    use sotto_proto::id::SwarmId;

    use super::*;
    use crate::network::test_support::{Spec, list, node};

    const NOW: UnixSeconds = UnixSeconds(1_000_000);

    fn rng(seed: u8) -> ChaCha20Rng {
        ChaCha20Rng::from_seed([seed; 32])
    }

    fn avoid(swarms: impl IntoIterator<Item = u64>) -> Avoid {
        Avoid { swarms: swarms.into_iter().map(SwarmId).collect(), ..Avoid::default() }
    }

    fn keys(guards: &Guards) -> Vec<NodeId> {
        guards.iter().map(|guard| guard.node).collect()
    }

    #[test]
    fn a_sample_has_three_guards_of_different_operators_and_networks_outside_the_own_swarms() {
        for seed in 0..50 {
            let spec = |n| Spec { operator: n / 3, network: n / 3, swarm: u64::from(n % 3), ..Spec::new(n) };
            let nodes = list((0..15).map(spec));
            let mut guards = Guards::default();
            assert!(guards.maintain(&nodes, &avoid([1]), NOW, &mut rng(seed)));
            let records: Vec<_> = guards.iter().map(|guard| nodes.get(&guard.node).unwrap()).collect();
            assert_eq!(records.len(), SAMPLE);
            let operators: BTreeSet<_> = records.iter().map(|record| record.operator).collect();
            assert_eq!(operators.len(), SAMPLE);
            assert!(records.iter().all(|record| record.swarm != Some(SwarmId(1))));
            for guard in guards.iter() {
                assert!((60 * DAY..=120 * DAY).contains(&(guard.until.0 - guard.since.0)));
            }
        }
    }

    #[test]
    fn a_sample_stays_as_it_is_until_a_guard_leaves_or_its_time_is_over() {
        let nodes = list((0..20).map(Spec::new));
        let mut guards = Guards::default();
        guards.maintain(&nodes, &Avoid::default(), NOW, &mut rng(1));
        let first = guards.clone();
        assert!(!guards.maintain(&nodes, &Avoid::default(), UnixSeconds(NOW.0 + 59 * DAY), &mut rng(2)));
        assert_eq!(guards, first);

        let gone = keys(&first)[0];
        let mut without = nodes.clone();
        without.remove(&gone);
        assert!(guards.maintain(&without, &Avoid::default(), NOW, &mut rng(3)));
        assert_eq!(keys(&guards)[..2], keys(&first)[1..], "the others keep their order");
        assert!(!keys(&guards).contains(&gone));

        let later = UnixSeconds(NOW.0 + 121 * DAY);
        assert!(guards.maintain(&nodes, &Avoid::default(), later, &mut rng(4)));
        assert!(guards.iter().all(|guard| guard.until > later));
    }

    #[test]
    fn a_guard_that_is_set_aside_is_kept_but_not_used() {
        let nodes = list((0..3).map(Spec::new));
        let mut guards = Guards::default();
        guards.maintain(&nodes, &Avoid::default(), NOW, &mut rng(1));
        let set_aside = list((0..3).map(|n| Spec {
            state: [NodeState::Active, NodeState::Decommissioned][usize::from(n == 1)],
            ..Spec::new(n)
        }));
        assert!(!guards.maintain(&set_aside, &Avoid::default(), NOW, &mut rng(1)));
        let usable: Vec<_> = guards.for_path(&set_aside, &Avoid::default()).collect();
        assert_eq!(usable.len(), 2);
        assert!(!usable.contains(&node(1)));
    }

    #[test]
    fn a_further_guard_is_drawn_only_where_none_of_the_sample_may_begin_the_path() {
        let spec = |n| Spec { swarm: u64::from(n / 3), ..Spec::new(n) };
        let nodes = list((0..9).map(spec));
        let (mut guards, none) = (Guards::default(), BTreeSet::new());
        guards.maintain(&nodes, &avoid([1, 2]), NOW, &mut rng(1));
        assert_eq!(keys(&guards).into_iter().collect::<BTreeSet<_>>(), (0..3).map(node).collect());
        assert!(!guards.extend(&nodes, &avoid([1]), &none, NOW, &mut rng(2)));
        assert!(guards.extend(&nodes, &avoid([0]), &none, NOW, &mut rng(2)));
        assert!(!guards.extend(&nodes, &avoid([0]), &none, NOW, &mut rng(2)), "it serves the next path as well");
        assert_eq!(guards.for_path(&nodes, &avoid([0])).count(), 1);
        assert!(!guards.extend(&nodes, &avoid([0, 1, 2]), &none, NOW, &mut rng(2)), "nobody may");
        let unreachable: BTreeSet<_> = keys(&guards).into_iter().collect();
        assert!(guards.extend(&nodes, &avoid([0]), &unreachable, NOW, &mut rng(3)), "all that may are away");
    }

    #[test]
    fn what_is_stored_is_bounded_and_holds_nobody_twice() {
        let guard = |n| Guard { node: node(n), since: NOW, until: NOW };
        assert_eq!(Guards::new([guard(1), guard(1), guard(2)]).iter().count(), 2);
        assert_eq!(Guards::new((0..100).map(guard)).iter().count(), SAMPLE_MAX);
    }
}
