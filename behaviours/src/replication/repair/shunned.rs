//! Members that are not compared with for a while, because the last time brought nothing and took long.

use std::collections::BTreeMap;
use std::time::Duration;

use sotto_proto::id::NodeId;
use sotto_proto::time::Monotonic;

/// The first pause; it doubles with each further one.
const LEAST: Duration = Duration::from_secs(30);
/// The longest for slowness alone: a fault of the network ends, and then there is something to be had. Being slow once has
/// no pause at all: a message was lost.
const SLOW_MOST: Duration = Duration::from_secs(60);
/// The longest for answers that no honest member gives.
const MOST: Duration = Duration::from_secs(300);
/// So long after that all is forgotten.
const FORGOTTEN: Duration = MOST;

/// Who they are: members of the last ten minutes at most.
#[derive(Debug, Default)]
pub(super) struct Shunned(BTreeMap<NodeId, Offence>);

#[derive(Clone, Copy, Debug, Default)]
struct Offence {
    times: u32,
    until: Monotonic,
}

impl Shunned {
    pub(super) fn contains(&self, node: &NodeId, now: Monotonic) -> bool {
        self.0.get(node).is_some_and(|offence| now < offence.until)
    }

    /// A member was slow, or what it said was `wrong`.
    pub(super) fn add(&mut self, node: NodeId, wrong: bool, now: Monotonic) {
        self.0.retain(|_, offence| now.since(offence.until) < FORGOTTEN);
        let offence = self.0.entry(node).or_default();
        let most = if wrong { MOST } else { SLOW_MOST };
        let pause = match (wrong, offence.times.checked_sub(1)) {
            (false, None) => Duration::ZERO,
            (false, Some(times)) => LEAST.saturating_mul(2_u32.saturating_pow(times)),
            (true, _) => LEAST.saturating_mul(2_u32.saturating_pow(offence.times)),
        };
        *offence = Offence { times: offence.times.saturating_add(1), until: now.plus(pause.min(most)) };
    }

    /// Comparing with a member came to an end.
    pub(super) fn remove(&mut self, node: &NodeId) {
        self.0.remove(node);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::node;

    #[test]
    fn the_pause_doubles_up_to_five_minutes_and_for_slowness_up_to_one() {
        for (wrong, pauses) in [(true, [30, 60, 120, 240, 300, 300]), (false, [0, 30, 60, 60, 60, 60])] {
            let (mut shunned, mut now) = (Shunned::default(), Monotonic(Duration::from_secs(1)));
            for seconds in pauses {
                shunned.add(node(1), wrong, now);
                let end = now.plus(Duration::from_secs(seconds));
                assert!(
                    shunned.contains(&node(1), Monotonic(end.0 - Duration::from_millis(1)))
                        && !shunned.contains(&node(1), end)
                );
                assert!(!shunned.contains(&node(2), now));
                now = end;
            }
            shunned.remove(&node(1));
            shunned.add(node(1), wrong, now);
            assert!(!shunned.contains(&node(1), now.plus(LEAST)), "the first time again");
        }
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut shunned = Shunned::default();
        for n in 0..100 {
            shunned.add(node(n), true, Monotonic(Duration::from_secs(1000 * u64::from(n))));
        }
        assert_eq!(shunned.0.len(), 1);
    }
}
