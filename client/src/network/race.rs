//! Builds of one path side by side, so that a guard or a hop that is silent costs little.
//!
//! ```text
//! build 1   first guard ── … silent …
//! build 2   after the hedge delay: the same guard with other hops if there is a connection with it, else the next one
//! build 3   after the next: a guard that is not building yet, if there is one
//! ```
//!
//! The first path that is there wins. A guard that fails is not tried again in this race; one that is silent goes on
//! being waited for beside the others. Guards are the few nodes that know the client's address: another one is asked
//! only when the one before is silent without a connection, silent for two delays, or fails.
//!
//! Pure: [`Race`] is told the time and what happened.

use std::collections::BTreeSet;
use std::time::Duration;

use sotto_proto::id::NodeId;
use sotto_proto::time::Monotonic;

/// A build that takes longer gets company. Over three far hops one takes about half a second.
const HEDGE: Duration = Duration::from_millis(750);
/// Builds at a time.
const AT_ONCE: usize = 3;
/// Builds that are begun before a client says that there is no path, without those that failed at their guards: there
/// are few guards, and one that is down says so at once.
const ATTEMPTS: usize = 8;
/// How long it may take in all: twice what one build may.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Begin a build through this guard.
    Begin(NodeId),
    /// Wait for a build, but no longer than this.
    Wait(Monotonic),
    /// None of the guards serves.
    NoGuard,
    /// Too much failed, or it took too long.
    Over,
}

/// A guard as the race sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Runner {
    /// Which.
    pub(super) guard: NodeId,
    /// Whether there is a connection with it.
    pub(super) connected: bool,
}

/// The builds of one path.
#[derive(Debug)]
pub(super) struct Race {
    deadline: Monotonic,
    begun: usize,
    /// The guard of a path that is silent: one build through it will do, as it may be what is silent.
    suspect: Option<NodeId>,
    /// Guards of builds that run, with their beginnings.
    running: Vec<(usize, NodeId, Monotonic)>,
    failed: BTreeSet<NodeId>,
}

impl Race {
    pub(super) fn new(now: Monotonic, suspect: Option<NodeId>) -> Self {
        Self { deadline: now.plus(PATIENCE), begun: 0, suspect, running: Vec::new(), failed: BTreeSet::new() }
    }

    /// What to do, with `runners` being the guards that may begin the path, in the order of use.
    pub(super) fn next(&mut self, runners: &[Runner], now: Monotonic) -> Next {
        if now >= self.deadline {
            return Next::Over;
        }
        let newest = self.running.iter().map(|(_, _, began)| *began).max();
        let hedge_at = newest.map_or(now, |began| began.plus(HEDGE));
        let guard = self.guard(runners);
        match guard {
            Some(guard) if hedge_at <= now && self.attempts() < ATTEMPTS && self.running.len() < AT_ONCE => {
                self.running.push((self.begun, guard, now));
                self.begun += 1;
                Next::Begin(guard)
            }
            Some(_) if self.running.is_empty() => Next::Over,
            None if self.running.is_empty() => Next::NoGuard,
            Some(_) if hedge_at > now && self.attempts() < ATTEMPTS && self.running.len() < AT_ONCE => {
                Next::Wait(hedge_at.min(self.deadline))
            }
            _ => Next::Wait(self.deadline),
        }
    }

    /// Through whom the next build goes.
    fn guard(&self, runners: &[Runner]) -> Option<NodeId> {
        let builds = |guard: &NodeId| self.running.iter().filter(|(_, other, _)| other == guard).count();
        let allowed = || runners.iter().filter(|runner| !self.failed.contains(&runner.guard));
        // The connection stands, so a hop behind may be what is silent.
        let may_again = |runner: &&Runner| runner.connected && self.suspect != Some(runner.guard);
        let again = allowed().filter(may_again).find(|runner| builds(&runner.guard) == 1);
        let fresh = || allowed().find(|runner| builds(&runner.guard) == 0);
        let first = if self.running.is_empty() { None } else { again };
        first.or_else(fresh).or_else(|| allowed().min_by_key(|runner| builds(&runner.guard))).map(|runner| runner.guard)
    }

    fn attempts(&self) -> usize {
        self.begun.saturating_sub(self.failed.len())
    }

    /// The number that the next build to begin has.
    pub(super) const fn begun(&self) -> usize {
        self.begun
    }

    /// A build ended without a path. `of_guard`: the guard is at fault.
    pub(super) fn failed(&mut self, build: usize, of_guard: bool) {
        let Some(index) = self.running.iter().position(|(number, _, _)| *number == build) else { return };
        let (_, guard, _) = self.running.remove(index);
        if of_guard {
            self.failed.insert(guard);
        }
    }

    /// Guards that failed.
    pub(super) const fn unreachable(&self) -> &BTreeSet<NodeId> {
        &self.failed
    }

    /// Builds that have been silent for longer than the hedge delay, with their guards.
    pub(super) fn silent(&self, now: Monotonic) -> impl Iterator<Item = (usize, NodeId)> {
        self.running
            .iter()
            .filter(move |(_, _, began)| began.plus(HEDGE) <= now)
            .map(|(build, guard, _)| (*build, *guard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::test_support::node;

    fn at(ms: u64) -> Monotonic {
        Monotonic(Duration::from_millis(ms))
    }

    fn guards(connected: bool) -> [Runner; 3] {
        [1, 2, 3].map(|n| Runner { guard: node(n), connected: connected && n == 1 })
    }

    #[test]
    fn the_first_guard_builds_alone_for_as_long_as_a_build_takes() {
        let mut race = Race::new(at(0), None);
        assert_eq!(race.next(&guards(false), at(0)), Next::Begin(node(1)));
        assert_eq!(race.next(&guards(false), at(0)), Next::Wait(at(750)));
        assert_eq!(race.next(&guards(false), at(749)), Next::Wait(at(750)));
        assert_eq!(race.silent(at(749)).count(), 0);
    }

    #[test]
    fn a_guard_that_is_frozen_before_there_is_a_connection_costs_one_delay() {
        let mut race = Race::new(at(0), None);
        race.next(&guards(false), at(0));
        assert_eq!(race.next(&guards(false), at(750)), Next::Begin(node(2)));
        assert_eq!(race.silent(at(750)).collect::<Vec<_>>(), [(0, node(1))]);
        assert!(race.unreachable().is_empty(), "silent is not failed: no further guard is drawn for it");
    }

    #[test]
    fn behind_a_connection_other_hops_come_before_another_guard() {
        let mut race = Race::new(at(0), None);
        race.next(&guards(true), at(0));
        assert_eq!(race.next(&guards(true), at(750)), Next::Begin(node(1)));
        assert_eq!(race.next(&guards(true), at(1500)), Next::Begin(node(2)));
        assert_eq!(race.next(&guards(true), at(9000)), Next::Wait(at(20_000)), "three at a time");
    }

    #[test]
    fn beside_a_path_that_is_silent_one_build_through_its_guard_will_do() {
        let mut race = Race::new(at(0), Some(node(1)));
        assert_eq!(race.next(&guards(true), at(0)), Next::Begin(node(1)));
        assert_eq!(race.next(&guards(true), at(750)), Next::Begin(node(2)));
        assert_eq!(race.silent(at(750)).collect::<Vec<_>>(), [(0, node(1))]);
    }

    #[test]
    fn a_guard_that_fails_is_followed_by_the_next_at_once_and_a_hop_by_the_same_guard() {
        let mut race = Race::new(at(0), None);
        race.next(&guards(true), at(0));
        race.failed(0, false);
        assert_eq!(race.next(&guards(true), at(5)), Next::Begin(node(1)));
        race.failed(1, true);
        assert_eq!(race.next(&guards(true), at(6)), Next::Begin(node(2)));
        assert_eq!(*race.unreachable(), [node(1)].into());
    }

    #[test]
    fn when_all_guards_fail_or_too_much_else_it_is_over() {
        let mut race = Race::new(at(0), None);
        for (build, n) in [1, 2, 3].into_iter().enumerate() {
            assert_eq!(race.next(&guards(false), at(0)), Next::Begin(node(n)));
            race.failed(build, true);
        }
        assert_eq!(race.next(&guards(false), at(0)), Next::NoGuard);
        let mut race = Race::new(at(0), None);
        for build in 0..ATTEMPTS {
            assert_eq!(race.next(&guards(true), at(0)), Next::Begin(node(1)));
            race.failed(build, false);
        }
        assert_eq!(race.next(&guards(true), at(0)), Next::Over);
    }

    #[test]
    fn guards_that_are_down_leave_as_many_builds_to_the_one_that_is_not() {
        let mut race = Race::new(at(0), None);
        for build in 0..2 {
            race.next(&guards(false), at(0));
            race.failed(build, true);
        }
        for build in 2..2 + ATTEMPTS {
            assert_eq!(race.next(&guards(false), at(0)), Next::Begin(node(3)));
            race.failed(build, false);
        }
        assert_eq!(race.next(&guards(false), at(0)), Next::Over);
    }

    #[test]
    fn when_everybody_is_silent_it_ends_with_patience() {
        let (mut race, mut now, mut begun) = (Race::new(at(0), None), at(0), 0);
        loop {
            match race.next(&guards(false), now) {
                Next::Begin(_) => begun += 1,
                Next::Wait(until) => now = until,
                Next::Over => break,
                Next::NoGuard => unreachable!("there are three"),
            }
        }
        assert_eq!((now, begun), (at(20_000), AT_ONCE));
    }

    #[test]
    fn a_single_guard_gets_company_from_other_hops() {
        let only = [Runner { guard: node(1), connected: false }];
        let mut race = Race::new(at(0), None);
        race.next(&only, at(0));
        assert_eq!(race.next(&only, at(750)), Next::Begin(node(1)));
    }
}
