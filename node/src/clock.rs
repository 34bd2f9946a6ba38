//! The one place where this program reads a clock.

use std::time::{Duration, Instant};

use sotto_proto::time::{Monotonic, Now, UnixMillis};

/// The machine's clocks. Copies share their beginning, so that their times can be compared.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose monotonic time begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Both times.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { monotonic: Monotonic(self.start.elapsed()), wall: wall() }
    }

    /// How long it is until `at`; zero if it has passed.
    #[must_use]
    pub fn until(&self, at: Monotonic) -> Duration {
        at.0.saturating_sub(self.start.elapsed())
    }
}

/// The wall clock; 0 if it stands before 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the edge where the clock is read; the machines are told the time")]
pub fn wall() -> UnixMillis {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
