//! How often one may ask and be asked.

use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::limits::{QUESTION_RUNS, QUESTION_SPAN_SECONDS};
use sotto_proto::time::UnixSeconds;

/// When the last runs with one contact began, those it asked and those it answered: [`QUESTION_RUNS`] of a day. Each is
/// a guess for whoever stands between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// In the order in which they were noted.
    times: Vec<UnixSeconds>,
}

impl Attempts {
    /// Whether another run may begin now. A time that is still to come counts: who sets back the clock gains nothing.
    #[must_use]
    pub fn may_begin(&self, now: UnixSeconds) -> bool {
        self.times.iter().filter(|time| is_recent(**time, now)).count() < QUESTION_RUNS
    }

    /// A run begins. Before anything of it is sent, so that a crash does not give it back.
    pub fn note(&mut self, now: UnixSeconds) {
        self.times.retain(|time| is_recent(*time, now));
        self.times.push(now);
        let before = self.times.len().saturating_sub(QUESTION_RUNS);
        self.times.drain(..before);
    }

    /// For a store: u8 count ‖ u64 s each.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let count = u8::try_from(self.times.len()).unwrap_or(u8::MAX);
        let times = self.times.iter().flat_map(|time| time.0.to_be_bytes());
        std::iter::once(count).chain(times).collect()
    }

    /// Reads what [`Attempts::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`] for everything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let count = usize::from(reader.u8()?);
        if count > QUESTION_RUNS {
            return Err(DecodeError::TooLong { field: "attempts", limit: QUESTION_RUNS, actual: count });
        }
        let times = (0..count).map(|_| reader.u64().map(UnixSeconds)).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { times })
    }
}

const fn is_recent(time: UnixSeconds, now: UnixSeconds) -> bool {
    now.0.saturating_sub(time.0) < QUESTION_SPAN_SECONDS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOON: u64 = 1_800_000_000;
    const DAY: u64 = QUESTION_SPAN_SECONDS;

    fn noted(times: &[u64]) -> Attempts {
        let mut attempts = Attempts::default();
        times.iter().for_each(|time| attempts.note(UnixSeconds(*time)));
        attempts
    }

    #[test]
    fn three_runs_a_day_may_begin() {
        let attempts = noted(&[NOON, NOON + 10]);
        assert!(Attempts::default().may_begin(UnixSeconds(NOON)) && attempts.may_begin(UnixSeconds(NOON + 20)));
        let three = noted(&[NOON, NOON + 10, NOON + 20]);
        assert!(!three.may_begin(UnixSeconds(NOON + 20)));
        assert!(!three.may_begin(UnixSeconds(NOON + DAY - 1)));
        assert!(three.may_begin(UnixSeconds(NOON + DAY)), "the first is over");
        assert!(!noted(&[NOON, NOON + 10, NOON + 20, NOON + DAY]).may_begin(UnixSeconds(NOON + DAY + 9)));
    }

    #[test]
    fn a_clock_that_is_set_back_gives_no_run_more() {
        assert!(!noted(&[NOON; 3]).may_begin(UnixSeconds(NOON - 10 * DAY)));
        assert!(noted(&[NOON; 3]).may_begin(UnixSeconds(NOON + DAY)));
    }

    #[test]
    fn only_what_it_wrote_is_read() {
        for bad in [&[][..], &[1], &[4; 33], &[0, 0], &[2, 0, 0, 0, 0, 0, 0, 0, 1]] {
            assert!(Attempts::decode(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn attempts_read_back(times in proptest::collection::vec(any::<u64>(), 0..6)) {
            let attempts = noted(&times);
            prop_assert_eq!(Attempts::decode(&attempts.encode()), Ok(attempts));
        }

        #[test]
        fn never_more_than_three_begin_in_a_day(steps in proptest::collection::vec(0..DAY, 1..60)) {
            let (mut attempts, mut now, mut begun) = (Attempts::default(), NOON, Vec::new());
            for step in steps {
                now += step / 4;
                if attempts.may_begin(UnixSeconds(now)) {
                    attempts.note(UnixSeconds(now));
                    begun.push(now);
                }
            }
            for window in begun.windows(QUESTION_RUNS + 1) {
                prop_assert!(window[QUESTION_RUNS] - window[0] >= DAY);
            }
        }
    }
}
