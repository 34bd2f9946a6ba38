//! Network time: what a client's times are made of, so that the offset of its own clock identifies nobody.
//!
//! Three nodes' clocks make a median, each node's last answer counting once; a minority of liars does not move it. Until
//! three have answered, the machine's clock stands in, or what a hop said that refused a build for its time. Builds that
//! are refused again and again, while none succeeds, say that the median is wrong: it is given up for what hops say. Times leave a client rounded: whole seconds in
//! envelopes and requests, whole minutes in builds.
//!
//! While a machine sleeps its monotonic clock stands still and its wall clock goes on. That is how a sleep is noticed
//! ([`SharedClock::sleeps`]); what nodes said before it is moved by its length, and holds until they answer again.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sotto_behaviours::network::WallClock;
use sotto_proto::cell::Minute;
use sotto_proto::id::NodeId;
use sotto_proto::time::{Monotonic, Now, UnixMillis};

/// Nodes whose answers make a median.
const QUORUM: usize = 3;
/// Nodes whose answers are remembered.
const SAMPLES: usize = 15;
/// Where so many hops refuse builds for their time, with none that succeeds between them, it is not one hop's clock that is
/// wrong.
const REFUSALS: usize = 3;
/// A wall clock that gains so much on the monotonic one was not corrected but went on while the machine slept: shorter
/// sleeps do paths no harm, and corrections are smaller as a rule. One that is not is mended as a sleep is.
const SLEEP: Duration = Duration::from_secs(10);

/// Notices that the machine slept.
#[derive(Clone, Copy, Debug, Default)]
struct Sleeps {
    last: Option<Now>,
    count: u64,
}

impl Sleeps {
    /// Compares with the reading before; says how long the machine slept between the two, if it did.
    fn note(&mut self, now: Now) -> Option<Duration> {
        let last = self.last.replace(now)?;
        let passed = Duration::from_millis(now.wall.0.saturating_sub(last.wall.0));
        let asleep = passed.saturating_sub(now.monotonic.since(last.monotonic));
        if asleep < SLEEP {
            return None;
        }
        self.count += 1;
        Some(asleep)
    }
}

/// The clock of the network, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct NetworkClock {
    /// Node's clock − own monotonic clock, in milliseconds, of each node's last answer; newest last.
    samples: VecDeque<(NodeId, i64)>,
    /// The same of a hop that refused a build for its time; counts only until three nodes have answered.
    corrected: Option<i64>,
    /// Hops that refused builds for their time since one succeeded; fewer than [`REFUSALS`].
    refusing: BTreeSet<NodeId>,
}

impl NetworkClock {
    /// A node said its time; the question left at `asked`, the answer came at `answered`.
    pub fn heard(&mut self, node: NodeId, time: UnixMillis, asked: Monotonic, answered: Monotonic) {
        let there = asked.plus(answered.since(asked) / 2);
        self.samples.retain(|(other, _)| *other != node);
        self.samples.push_back((node, signed(time.0).saturating_sub(millis(there))));
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
    }

    /// A hop refused a build for its time, and this is its own minute.
    pub fn refused(&mut self, hop: NodeId, minute: Minute, now: Monotonic) {
        let middle = (u64::from(minute.0) * 60 + 30) * 1000;
        self.corrected = Some(signed(middle).saturating_sub(millis(now)));
        self.refusing.insert(hop);
        if self.refusing.len() >= REFUSALS {
            self.refusing.clear();
            self.samples.clear();
        }
    }

    /// The hops of a path took the time of its build.
    pub fn accepted(&mut self) {
        self.refusing.clear();
    }

    /// The machine slept until `now`: the monotonic clock, which answers are told by, stood still. How far the two clocks are apart
    /// is as before, until nodes answer again or a hop knows better.
    pub fn slept(&mut self, asleep: Duration, now: Now) {
        let asleep = i64::try_from(asleep.as_millis()).unwrap_or(i64::MAX);
        let before = Now { wall: UnixMillis(now.wall.0.saturating_sub(asleep.unsigned_abs())), ..now };
        self.corrected = self.median(before).map(|median| median.saturating_add(asleep));
        self.samples.clear();
    }

    /// The time by the network, or by this machine while too few nodes have answered.
    #[must_use]
    pub fn now(&self, now: Now) -> UnixMillis {
        let Some(median) = self.median(now) else { return now.wall };
        UnixMillis(u64::try_from(median.saturating_add(millis(now.monotonic))).unwrap_or(0))
    }

    /// How far this machine's clock is ahead of the network's, in milliseconds, once that is known.
    #[must_use]
    pub fn own_ahead(&self, now: Now) -> Option<i64> {
        self.median(now)?;
        Some(signed(now.wall.0).saturating_sub(signed(self.now(now).0)))
    }

    /// Of an even number the middle one that is nearer to this machine's clock: half of the nodes alone do not move it.
    fn median(&self, now: Now) -> Option<i64> {
        if self.samples.len() < QUORUM {
            return self.corrected;
        }
        let mut sorted: Vec<i64> = self.samples.iter().map(|(_, sample)| *sample).collect();
        sorted.sort_unstable();
        let own = signed(now.wall.0).saturating_sub(millis(now.monotonic));
        let middle = [sorted.get((sorted.len() - 1) / 2), sorted.get(sorted.len() / 2)];
        middle.into_iter().flatten().copied().min_by_key(|sample| sample.abs_diff(own))
    }
}

/// One clock that all parts of a client share.
#[derive(Clone, Debug)]
pub struct SharedClock {
    began: Instant,
    wall: WallClock,
    shared: Arc<Mutex<(Sleeps, NetworkClock)>>,
}

impl SharedClock {
    /// A clock that knows nothing of the network yet.
    #[must_use]
    pub fn new(wall: WallClock) -> Self {
        Self { began: Instant::now(), wall, shared: Arc::default() }
    }

    /// This machine's times.
    #[must_use]
    pub fn own(&self) -> Now {
        self.read().0
    }

    /// The network's time.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        let (own, shared) = self.read();
        shared.1.now(own)
    }

    /// How often this machine has slept since the clock was made: whoever sees the number change knows that whatever
    /// others were to keep for him is gone.
    #[must_use]
    pub fn sleeps(&self) -> u64 {
        self.read().1.0.count
    }

    /// How far this machine's clock is ahead of the network's, once that is known.
    #[must_use]
    pub fn own_ahead(&self) -> Option<i64> {
        let (own, shared) = self.read();
        shared.1.own_ahead(own)
    }

    /// See [`NetworkClock::heard`]; the answer has come just now.
    pub fn heard(&self, node: NodeId, time: UnixMillis, asked: Monotonic) {
        let (own, mut shared) = self.read();
        shared.1.heard(node, time, asked, own.monotonic);
    }

    /// See [`NetworkClock::accepted`].
    pub fn accepted(&self) {
        self.read().1.1.accepted();
    }

    /// See [`NetworkClock::refused`].
    pub fn refused(&self, hop: NodeId, minute: Minute) {
        let (own, mut shared) = self.read();
        shared.1.refused(hop, minute, own.monotonic);
    }

    /// The network's time, for a host.
    #[must_use]
    pub fn for_host(&self) -> WallClock {
        let clock = self.clone();
        WallClock::new(move || clock.now())
    }

    /// Reads the machine's clocks, and notices a sleep.
    fn read(&self) -> (Now, MutexGuard<'_, (Sleeps, NetworkClock)>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let own = Now { monotonic: Monotonic(self.began.elapsed()), wall: self.wall.now() };
        if let Some(asleep) = shared.0.note(own) {
            shared.1.slept(asleep, own);
        }
        (own, shared)
    }
}

fn millis(at: Monotonic) -> i64 {
    i64::try_from(at.0.as_millis()).unwrap_or(i64::MAX)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::network::test_support::node;

    fn at(ms: u64) -> Monotonic {
        Monotonic(Duration::from_millis(ms))
    }

    fn now(monotonic: u64, wall: u64) -> Now {
        Now { monotonic: at(monotonic), wall: UnixMillis(wall) }
    }

    #[test]
    fn until_three_nodes_answered_the_own_clock_counts() {
        let mut clock = NetworkClock::default();
        for n in [1, 2, 2, 2] {
            clock.heard(node(n), UnixMillis(5_000), at(0), at(0));
        }
        assert_eq!(clock.now(now(10, 77)), UnixMillis(77), "two of them, however often");
        assert_eq!(clock.own_ahead(now(10, 77)), None);
        clock.heard(node(3), UnixMillis(5_000), at(0), at(0));
        assert_eq!(clock.now(now(10, 77)), UnixMillis(5_010));
        assert_eq!(clock.own_ahead(now(10, 5_110)), Some(100));
    }

    #[test]
    fn a_liar_in_the_minority_and_a_jump_of_the_own_clock_change_nothing() {
        let mut clock = NetworkClock::default();
        for (time, n) in [1_000, u64::MAX, 1_002].into_iter().zip(0..) {
            clock.heard(node(n), UnixMillis(time), at(0), at(0));
        }
        assert_eq!(clock.now(now(500, 0)), UnixMillis(1_502));
        assert_eq!(clock.now(now(500, u64::MAX)), UnixMillis(1_502));
    }

    #[test]
    fn half_of_the_round_trip_is_taken_off() {
        let mut clock = NetworkClock::default();
        for n in 0..3 {
            clock.heard(node(n), UnixMillis(10_000), at(100), at(300));
        }
        assert_eq!(clock.now(now(300, 0)), UnixMillis(10_100));
    }

    #[test]
    fn a_hop_that_refuses_the_time_mends_the_clock_until_three_nodes_say_better() {
        let mut clock = NetworkClock::default();
        clock.refused(node(9), Minute(100), at(0));
        assert_eq!(clock.now(now(500, 5)), UnixMillis(6_030_500));
        for n in 0..3 {
            clock.heard(node(n), UnixMillis(9_000), at(0), at(0));
        }
        assert_eq!(clock.now(now(500, 5)), UnixMillis(9_500));
    }

    #[test]
    fn half_of_the_nodes_do_not_move_the_clock_away_from_the_machines() {
        let lie = 7_200_000;
        for own in [10_000, lie + 10_000] {
            let mut clock = NetworkClock::default();
            for (time, n) in [10_000, 10_001, lie + 10_000, lie + 10_001].into_iter().zip(0..) {
                clock.heard(node(n), UnixMillis(time), at(0), at(0));
            }
            assert!(clock.now(now(0, own)).0.abs_diff(own) <= 1, "{own}");
        }
        let mut clock = NetworkClock::default();
        for (time, n) in [10_000, lie, 10_001].into_iter().zip(0..) {
            clock.heard(node(n), UnixMillis(time), at(0), at(0));
        }
        // Each node counts once, and by what it said last.
        for _ in 0..SAMPLES {
            clock.heard(node(1), UnixMillis(lie), at(0), at(0));
        }
        assert_eq!(clock.now(now(0, 5)), UnixMillis(10_001));
        clock.heard(node(1), UnixMillis(9_999), at(0), at(0));
        assert_eq!(clock.now(now(0, 5)), UnixMillis(10_000));
    }

    #[test]
    fn builds_refused_again_and_again_mend_a_clock_that_nodes_have_set_wrong() {
        let poisoned = || {
            let mut clock = NetworkClock::default();
            for n in 0..3 {
                clock.heard(node(n), UnixMillis(9_000_000), at(0), at(0));
            }
            clock
        };
        let mut clock = poisoned();
        for _ in 0..2 * REFUSALS {
            clock.refused(node(20), Minute(100), at(0));
        }
        clock.refused(node(21), Minute(100), at(0));
        assert_eq!(clock.now(now(0, 5)), UnixMillis(9_000_000), "that may be the clocks of two");
        clock.accepted();
        for n in 22..24 {
            clock.refused(node(n), Minute(100), at(0));
        }
        assert_eq!(clock.now(now(0, 5)), UnixMillis(9_000_000), "a path was built in between");
        clock.refused(node(20), Minute(100), at(0));
        assert_eq!(clock.now(now(0, 5)), UnixMillis(6_030_000));
        for n in 3..6 {
            clock.heard(node(n), UnixMillis(6_000_000), at(0), at(0));
        }
        assert_eq!(clock.now(now(0, 5)), UnixMillis(6_000_000), "and nodes say better afterwards");
    }

    #[test]
    fn a_sleep_is_noticed_once_and_a_corrected_clock_is_none() {
        let mut sleeps = Sleeps::default();
        assert_eq!(sleeps.note(now(0, 1_000_000)), None);
        assert_eq!(sleeps.note(now(3_600_000, 4_600_000)), None, "an hour awake");
        assert_eq!(sleeps.note(now(3_601_000, 4_601_000 + 7_200_000)), Some(Duration::from_secs(7200)));
        assert_eq!(sleeps.note(now(3_602_000, 4_602_000 + 7_200_000)), None);
        assert_eq!(sleeps.note(now(3_603_000, 4_603_000)), None, "set back");
        assert_eq!(sleeps.note(now(3_604_000, 4_604_000 + 9_000)), None, "set forward by a little");
        assert_eq!(sleeps.count, 1);
    }

    #[test]
    fn after_a_sleep_the_networks_time_has_gone_on_and_a_hop_may_still_mend_it() {
        let mut clock = NetworkClock::default();
        for n in 0..3 {
            clock.heard(node(n), UnixMillis(1_000_000), at(0), at(0));
        }
        clock.slept(Duration::from_secs(7200), now(0, 1_000_000));
        assert_eq!(clock.now(now(500, 5)), UnixMillis(1_000_500 + 7_200_000));
        clock.refused(node(9), Minute(100), at(0));
        assert_eq!(clock.now(now(500, 5)), UnixMillis(6_030_500), "the clock was set, and the machine had not slept");
    }

    #[test]
    fn all_holders_of_a_clock_see_the_sleep() {
        let wall = Arc::new(AtomicU64::new(1_000_000));
        let read = Arc::clone(&wall);
        let clock = SharedClock::new(WallClock::new(move || UnixMillis(read.load(Ordering::Relaxed))));
        let other = clock.clone();
        assert_eq!((clock.sleeps(), other.sleeps()), (0, 0));
        wall.fetch_add(3_600_000, Ordering::Relaxed);
        assert_eq!((clock.sleeps(), other.sleeps()), (1, 1));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut clock = NetworkClock::default();
        for n in 0..=u8::MAX {
            clock.heard(node(n), UnixMillis(1), at(0), at(0));
        }
        assert_eq!(clock.samples.len(), SAMPLES);
    }
}
