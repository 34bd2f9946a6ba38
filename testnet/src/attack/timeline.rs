//! When each attack begins and ends: fixed before the run, because honest messages are made for their time.

use std::ops::Range;
use std::time::Duration;

/// How long is measured after an attack, if it was not much shorter itself.
const AFTER: Duration = Duration::from_secs(2);
/// Between two attacks: what the one left behind is not the next one's, and those of the next one gather.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest batch of several attacks: the work for its messages is done in advance, and not good for much longer.
const BATCH: Duration = Duration::from_secs(60);

/// The times of one attack, from the start of its batch's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// The attack's place among those that are made.
    pub(super) attack: usize,
    /// Measured before it; nothing when an earlier attack's counts.
    pub(super) before: Option<Range<Duration>>,
    /// The attack.
    pub(super) during: Range<Duration>,
    /// Measured after it.
    pub(super) after: Range<Duration>,
}

/// Attacks that are made one after the other on one stretch of honest load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) slots: Vec<Slot>,
    /// How long the load lasts.
    pub(super) length: Duration,
}

/// Lays out so many attacks of this length; `once`: only the first of all has a measurement before it.
pub(super) fn batches(attacks: usize, lasting: Duration, once: bool) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for attack in 0..attacks {
        let before = if once && attack > 0 { Duration::ZERO } else { lasting };
        let after = AFTER.min(lasting / 2);
        let takes = before + lasting + after + PAUSE;
        let full = |batch: &Batch| batch.length + takes > BATCH;
        if batches.last().is_none_or(full) {
            batches.push(Batch::default());
        }
        let Some(batch) = batches.last_mut() else { continue };
        let begin = batch.length;
        let during = begin + before..begin + before + lasting;
        let slot = Slot {
            attack,
            before: (!before.is_zero()).then_some(begin..during.start),
            after: during.end..during.end + after,
            during,
        };
        batch.length = slot.after.end + PAUSE;
        batch.slots.push(slot);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_attack_has_as_long_before_it_and_two_seconds_after() {
        let batches = batches(1, seconds(10), false);
        let slot = Slot {
            attack: 0,
            before: Some(seconds(0)..seconds(10)),
            during: seconds(10)..seconds(20),
            after: seconds(20)..seconds(22),
        };
        assert_eq!(batches, [Batch { slots: vec![slot], length: seconds(22) + PAUSE }]);
    }

    #[test]
    fn short_attacks_share_a_batch_and_long_ones_have_their_own() {
        assert_eq!(batches(5, seconds(10), false).len(), 3);
        assert_eq!(batches(5, seconds(60), false).len(), 5);
        let short = batches(super::super::attacks().count(), seconds(1), true);
        assert_eq!(short.len(), 1);
        assert!(short[0].length < BATCH, "{:?}", short[0].length);
    }

    #[test]
    fn stretches_follow_each_other_and_only_the_first_is_compared_with_its_own() {
        let batch = &batches(4, seconds(2), true)[0];
        let mut end = Duration::ZERO;
        for slot in &batch.slots {
            assert_eq!(slot.before.is_some(), slot.attack == 0);
            let begin = slot.before.as_ref().map_or(slot.during.start, |before| before.start);
            assert!(begin >= end && slot.during.end == slot.after.start);
            end = slot.after.end;
        }
        assert!(batch.length > end);
    }

    #[test]
    fn no_attack_is_no_batch() {
        assert_eq!(batches(0, seconds(1), false), []);
    }
}
