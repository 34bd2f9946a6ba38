//! How many times as long one thing takes as another, on a machine that is never quite idle: both are timed in turns,
//! and the medians compared.

use std::time::{Duration, Instant};

/// How often each is timed.
pub(crate) const ROUNDS: usize = 4000;

/// How long it takes.
pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Runs both in turns, each of which says how long it took, and prints the ratio; `of` names the base.
pub(crate) fn print(name: &str, of: &str, mut base: impl FnMut() -> Duration, mut work: impl FnMut() -> Duration) {
    let (bases, works): (Vec<_>, Vec<_>) = (0..ROUNDS).map(|_| (base(), work())).unzip();
    let (base, work) = (median(bases), median(works));
    println!("{name}: {work:?}, {:.3} x {of} ({base:?})", work.as_secs_f64() / base.as_secs_f64());
}
