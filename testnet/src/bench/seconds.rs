//! What was due and stored in each second of a load.

use std::time::Duration;

use super::latency::Latency;
use super::report::Second;

/// A message: when it was due, and how long after that it was stored.
pub(super) type Timed = (Duration, Option<Duration>);

/// Second by second, until the last message was due or stored.
pub(super) fn seconds(messages: &[Timed]) -> Vec<Second> {
    let stored_at = |(due, stored): &Timed| stored.map(|stored| *due + stored);
    let last = messages.iter().filter_map(stored_at).chain(messages.iter().map(|(due, _)| *due)).max();
    let Some(last) = last else { return Vec::new() };
    (0..=last.as_secs())
        .map(|second| {
            let due_then = || messages.iter().filter(|(due, _)| due.as_secs() == second);
            let stored = messages.iter().filter_map(stored_at).filter(|at| at.as_secs() == second).count();
            let latency = Latency::of(due_then().filter_map(|(_, stored)| *stored));
            Second {
                second,
                due: due_then().count() as u64,
                stored: stored as u64,
                p50_ms: latency.p50_ms,
                p99_ms: latency.p99_ms,
            }
        })
        .collect()
}

/// When the last of them was stored, and how many were stored a second until then.
pub(super) fn rate(messages: &[Timed]) -> (f64, f64) {
    let stored: Vec<Duration> =
        messages.iter().filter_map(|(due, stored)| stored.map(|stored| *due + stored)).collect();
    let took = stored.iter().max().map_or(0.0, Duration::as_secs_f64);
    (took, super::costs::ratio(stored.len() as f64, took))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(due_ms: u64, stored_ms: Option<u64>) -> Timed {
        (Duration::from_millis(due_ms), stored_ms.map(Duration::from_millis))
    }

    #[test]
    fn a_message_counts_where_it_was_due_and_where_it_was_stored() {
        let messages = [message(0, Some(10)), message(900, Some(1500)), message(1000, None), message(1900, Some(5))];
        let seconds = seconds(&messages);
        let counts: Vec<_> = seconds.iter().map(|second| (second.second, second.due, second.stored)).collect();
        assert_eq!(counts, [(0, 2, 1), (1, 2, 1), (2, 0, 1)]);
        assert!(seconds[0].p99_ms > 1490.0 && seconds[2].p99_ms == 0.0, "{seconds:?}");
        let (took, rate) = rate(&messages);
        assert!((took - 2.4).abs() < 1e-9 && (rate - 1.25).abs() < 1e-9);
    }

    #[test]
    fn nothing_stored_is_no_rate() {
        assert_eq!(rate(&[message(0, None)]), (0.0, 0.0));
        assert_eq!(seconds(&[]), Vec::new());
    }
}
