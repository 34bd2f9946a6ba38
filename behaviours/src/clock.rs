//! The edge where time is read. The rules are told the time, here and in every program.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sotto_proto::time::{Monotonic, Now, UnixMillis};

use crate::network::WallClock;

/// Stands for a deadline too far away for the platform's clock.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Unix time; 1970 on a machine whose clock is before that.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the edge where the wall clock is read")]
pub fn wall() -> UnixMillis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// Reads the time for the state machines, which never do. Clones share their beginning, so that their times can be
/// compared.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    wall: WallClock,
}

impl Clock {
    /// A clock whose monotonic time begins now.
    #[must_use]
    pub fn new(wall: WallClock) -> Self {
        Self { start: Instant::now(), wall }
    }

    /// The machine's clocks, the monotonic time beginning now.
    #[must_use]
    pub fn start() -> Self {
        Self::new(WallClock::system())
    }

    /// Both times.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { monotonic: self.monotonic(), wall: self.wall.now() }
    }

    /// The monotonic time.
    #[must_use]
    pub fn monotonic(&self) -> Monotonic {
        Monotonic(self.start.elapsed())
    }

    /// How long it is until `at`; zero if it has passed.
    #[must_use]
    pub fn until(&self, at: Monotonic) -> Duration {
        at.since(self.monotonic())
    }

    /// The tokio instant at which [`Clock::monotonic`] will be `at`.
    #[must_use]
    pub fn instant(&self, at: Monotonic) -> tokio::time::Instant {
        let start = tokio::time::Instant::from_std(self.start);
        start.checked_add(at.0).unwrap_or_else(|| start + FAR)
    }
}
