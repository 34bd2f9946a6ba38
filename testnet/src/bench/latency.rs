//! Latencies: high-dynamic-range histograms, and the numbers of a report.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Microseconds of the longest latency that is told apart; longer ones count as this.
const LONGEST_US: u64 = 600_000_000;
/// Decimal digits of a latency that are kept.
const DIGITS: u8 = 3;
/// Points of a curve for each further nine of the percentile.
const POINTS_PER_NINE: u32 = 10;

/// What was measured of one thing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How often it was measured.
    pub count: u64,
    /// The shortest, in milliseconds, as all the others.
    pub min_ms: f64,
    /// The mean.
    pub mean_ms: f64,
    /// The median.
    pub p50_ms: f64,
    /// Nine of ten are no longer.
    pub p90_ms: f64,
    /// 99 of 100 are no longer.
    pub p99_ms: f64,
    /// 999 of 1,000 are no longer.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// Percentiles (0 to 100) and their latencies, for a curve: ten for each further nine, as far as there are
    /// measurements.
    pub curve: Vec<(f64, f64)>,
}

impl Latency {
    /// The numbers of these measurements.
    #[must_use]
    pub fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        // Bounds that are constants and make sense; a histogram that could not be made would be empty.
        let Ok(mut histogram) = Histogram::<u64>::new_with_bounds(1, LONGEST_US, DIGITS) else {
            return Self::default();
        };
        for time in times {
            histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1));
        }
        Self::from_histogram(&histogram)
    }

    fn from_histogram(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile: f64| millis(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            min_ms: millis(histogram.min()),
            mean_ms: histogram.mean().round() / 1e3,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: millis(histogram.max()),
            curve: curve(histogram),
        }
    }

    /// Whether nothing was measured.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let nines = (histogram.len() as f64).log10();
    (0..)
        .map(|point: u32| f64::from(point) / f64::from(POINTS_PER_NINE))
        .take_while(|x| *x <= nines)
        .map(|x| 1.0 - 10_f64.powf(-x))
        .map(|quantile| (percent(quantile), millis(histogram.value_at_quantile(quantile))))
        .chain([(100.0, millis(histogram.max()))])
        .collect()
}

/// Nine digits: more say nothing, and make files long.
fn percent(quantile: f64) -> f64 {
    (quantile * 1e9).round() / 1e7
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1e3
}

/// A duration in milliseconds.
pub(crate) fn in_ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) -> bool {
        (value - expected).abs() <= expected * 0.002
    }

    #[test]
    fn percentiles_are_those_of_the_measurements() {
        let latency = Latency::of((1..=1000).map(Duration::from_millis));
        assert_eq!(latency.count, 1000);
        for (value, expected) in [
            (latency.min_ms, 1.0),
            (latency.mean_ms, 500.5),
            (latency.p50_ms, 500.0),
            (latency.p90_ms, 900.0),
            (latency.p99_ms, 990.0),
            (latency.p999_ms, 999.0),
            (latency.max_ms, 1000.0),
        ] {
            assert!(near(value, expected), "{value} is not {expected}: {latency:?}");
        }
    }

    #[test]
    fn the_curve_goes_as_far_as_there_are_measurements_and_never_down() {
        let latency = Latency::of((1..=1000).map(Duration::from_millis));
        assert_eq!(latency.curve.len(), 3 * 10 + 1 + 1);
        assert_eq!(latency.curve.first().unwrap().0, 0.0);
        assert_eq!(*latency.curve.last().unwrap(), (100.0, latency.max_ms));
        assert!(latency.curve.is_sorted_by(|one, other| one.0 <= other.0 && one.1 <= other.1));
    }

    #[test]
    fn nothing_measured_is_no_number_that_looks_good() {
        let latency = Latency::of([]);
        assert!(latency.is_empty());
        assert!(latency.curve.is_empty());
    }

    #[test]
    fn latencies_beyond_the_range_count_as_its_end() {
        let latency = Latency::of([Duration::ZERO, Duration::from_secs(3600)]);
        assert_eq!(latency.count, 2);
        assert!(latency.min_ms <= 0.001);
        assert!(near(latency.max_ms, 600_000.0), "{latency:?}");
    }
}
