//! When the next block is due.

use std::time::Duration;

use sotto_proto::time::Monotonic;

/// Longest time between blocks that can be asked for.
pub const SLOWEST: Duration = Duration::from_secs(3600);

/// How long a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Until somebody ends it.
    Open,
    /// Until then.
    At(Monotonic),
}

impl End {
    fn new(now: Monotonic, lasting: Option<Duration>) -> Self {
        lasting.map_or(Self::Open, |lasting| Self::At(now.plus(lasting)))
    }

    fn reached(self, now: Monotonic) -> bool {
        matches!(self, Self::At(end) if end <= now)
    }
}

/// How fast blocks come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As the genesis says.
    Normal,
    /// Not at all.
    Stalled,
    /// One each time this passes.
    Slow(Duration),
}

/// When blocks are due. Blocks keep their distance on the average: one that is made late does not push the ones after it
/// back; ones that were missed altogether are not made up for.
#[derive(Clone, Debug)]
pub struct Schedule {
    interval: Duration,
    due: Monotonic,
    pace: Pace,
    end: End,
}

impl Schedule {
    /// Blocks every `interval`, the first one at `due`.
    #[must_use]
    pub const fn new(interval: Duration, due: Monotonic) -> Self {
        Self { interval, due, pace: Pace::Normal, end: End::Open }
    }

    /// The time between blocks at normal pace.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// How fast blocks come now.
    #[must_use]
    pub const fn pace(&self) -> Pace {
        self.pace
    }

    /// Changes the pace, for good or for some time.
    pub fn set_pace(&mut self, pace: Pace, lasting: Option<Duration>, now: Monotonic) {
        let was_stalled = self.pace == Pace::Stalled;
        (self.pace, self.end) = (pace, End::new(now, lasting));
        if was_stalled && pace != Pace::Stalled {
            self.due = now;
        }
    }

    /// When [`Schedule::tick`] has something to say again; `None` while stalled for good.
    #[must_use]
    pub fn next(&self) -> Option<Monotonic> {
        match (self.pace, self.end) {
            (Pace::Stalled, End::Open) => None,
            (Pace::Stalled, End::At(end)) => Some(end),
            (_, _) => Some(self.due),
        }
    }

    /// Whether a block is due now. If it is, the next one is set.
    pub fn tick(&mut self, now: Monotonic) -> bool {
        if self.end.reached(now) {
            self.set_pace(Pace::Normal, None, now);
        }
        if self.pace == Pace::Stalled || now < self.due {
            return false;
        }
        let step = match self.pace {
            Pace::Slow(every) => every,
            Pace::Normal | Pace::Stalled => self.interval,
        };
        self.due = self.due.plus(step);
        if self.due <= now {
            self.due = now.plus(step);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic(Duration::from_millis(millis))
    }

    fn schedule() -> Schedule {
        Schedule::new(Duration::from_secs(1), at(1000))
    }

    #[test]
    fn late_ticks_do_not_push_later_blocks_back() {
        let mut schedule = schedule();
        for block in 1..=1000 {
            // Up to 0.9 s late, as on a busy machine.
            assert!(schedule.tick(at(block * 1000 + block % 10 * 90)));
            assert_eq!(schedule.next(), Some(at((block + 1) * 1000)));
            assert!(!schedule.tick(at(block * 1000 + 999)));
        }
    }

    #[test]
    fn blocks_missed_in_a_long_sleep_are_not_made_up_for() {
        let mut schedule = schedule();
        assert!(schedule.tick(at(60_500)));
        assert!(!schedule.tick(at(60_501)));
        assert_eq!(schedule.next(), Some(at(61_500)));
    }

    #[test]
    fn a_stall_ends_by_itself_or_on_request_with_a_block_at_once() {
        let mut schedule = schedule();
        schedule.set_pace(Pace::Stalled, Some(Duration::from_secs(10)), at(0));
        assert_eq!(schedule.next(), Some(at(10_000)));
        assert!(!schedule.tick(at(9_999)));
        assert!(schedule.tick(at(10_000)));
        schedule.set_pace(Pace::Stalled, None, at(10_100));
        assert_eq!(schedule.next(), None);
        assert!(!schedule.tick(at(1_000_000)));
        schedule.set_pace(Pace::Normal, None, at(1_000_000));
        assert!(schedule.tick(at(1_000_000)));
    }

    #[test]
    fn slow_blocks_come_slower_until_their_time_is_over() {
        let mut schedule = schedule();
        schedule.set_pace(Pace::Slow(Duration::from_secs(5)), Some(Duration::from_secs(7)), at(0));
        assert!(schedule.tick(at(1000)));
        assert_eq!(schedule.next(), Some(at(6000)));
        assert!(schedule.tick(at(6000)));
        assert_eq!(schedule.next(), Some(at(11_000)));
        assert!(schedule.tick(at(11_000)));
        assert_eq!((schedule.pace(), schedule.next()), (Pace::Normal, Some(at(12_000))));
    }
}
