//! What honest users felt, and when.

use std::ops::Range;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::bench::Latency;

/// What the victim is to an honest user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// One of the members that keep the recipient's mail.
    Swarm,
    /// The first guard.
    Guard,
}

impl Group {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Swarm, Self::Guard];

    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Swarm => "swarm",
            Self::Guard => "guard",
        }
    }
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    /// From when a message was due until two members had given their receipts.
    Stored,
    /// A question there and back in an open tunnel.
    Echo,
    /// A client that comes new connects and has a path, through whichever of its guards.
    NewPath,
    /// The same, counted as failed where it is another guard than the victim.
    ThroughVictim,
}

impl Measured {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Stored, Self::Echo, Self::NewPath, Self::ThroughVictim];

    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Echo => "echo",
            Self::NewPath => "new path",
            Self::ThroughVictim => "through victim",
        }
    }
}

/// One stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// How often it worked.
    pub count: u64,
    /// How often it did not.
    pub failed: u64,
    /// The median of those that worked, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
}

/// What one group felt before, during and after an attack.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Felt {
    /// Who.
    pub group: Group,
    /// What.
    pub measured: Measured,
    /// Without the attack.
    pub before: Stretch,
    /// While it lasted.
    pub during: Stretch,
    /// In the seconds after it.
    pub after: Stretch,
}

impl Felt {
    /// For people.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", self.group.name(), self.measured.name())
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Sample {
    /// When it was due, or began.
    pub(in super::super) at: Instant,
    /// How long it took, if it worked.
    pub(in super::super) took: Option<Duration>,
}

/// All measurements of one batch.
#[derive(Debug, Default)]
pub(in super::super) struct Samples(Vec<(Group, Measured, Sample)>);

impl Samples {
    pub(super) fn add(&mut self, group: Group, measured: Measured, sample: Sample) {
        self.0.push((group, measured, sample));
    }

    /// What was measured at all, between times on a clock that started at `start`.
    pub(in super::super) fn between(
        &self,
        start: Instant,
        [before, during, after]: [&Range<Duration>; 3],
    ) -> Vec<Felt> {
        let mut felt = Vec::new();
        for group in Group::ALL {
            for measured in Measured::ALL {
                let of = self.0.iter().filter(|(g, m, _)| (*g, *m) == (group, measured));
                let of: Vec<&Sample> = of.map(|(_, _, sample)| sample).collect();
                if of.is_empty() {
                    continue;
                }
                let stretch = |range| stretch(&of, start, range);
                let (before, during, after) = (stretch(before), stretch(during), stretch(after));
                felt.push(Felt { group, measured, before, during, after });
            }
        }
        felt
    }
}

fn stretch(samples: &[&Sample], start: Instant, range: &Range<Duration>) -> Stretch {
    let within = |sample: &&&Sample| range.contains(&sample.at.saturating_duration_since(start));
    let times: Vec<Option<Duration>> = samples.iter().filter(within).map(|sample| sample.took).collect();
    let latency = Latency::of(times.iter().copied().flatten());
    let failed = times.iter().filter(|time| time.is_none()).count() as u64;
    Stretch { count: latency.count, failed, p50_ms: latency.p50_ms, p99_ms: latency.p99_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_counts_for_the_time_when_it_was_due() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut samples = Samples::default();
        for (at, took) in [(0, Some(10)), (1, Some(20)), (2, None), (2, Some(9000)), (4, Some(30)), (9, None)] {
            let sample = Sample { at: start + second * at, took: took.map(Duration::from_millis) };
            samples.add(Group::Guard, Measured::Echo, sample);
        }
        let felt = samples
            .between(start, [&(Duration::ZERO..second * 2), &(second * 2..second * 4), &(second * 4..second * 6)]);
        assert_eq!(felt.len(), 1, "what was not measured has no row");
        let felt = felt[0];
        assert_eq!((felt.before.count, felt.before.failed), (2, 0));
        assert_eq!((felt.during.count, felt.during.failed), (1, 1));
        assert!(felt.during.p99_ms > 8900.0, "{felt:?}");
        assert_eq!((felt.after.count, felt.after.failed), (1, 0));
        assert_eq!(felt.name(), "guard echo");
    }
}
