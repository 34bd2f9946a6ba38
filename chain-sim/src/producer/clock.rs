//! The edge where time is read.

use std::time::{Instant, SystemTime};

use sotto_proto::time::{Monotonic, Now, UnixMillis};

/// Both clocks of the machine; what it reads is handed to the rules.
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

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { monotonic: Monotonic(self.start.elapsed()), wall: wall() }
    }

    /// When a monotonic time will be, for timers.
    #[must_use]
    pub fn instant(&self, time: Monotonic) -> Instant {
        self.start.checked_add(time.0).unwrap_or_else(|| self.start + std::time::Duration::from_secs(1 << 30))
    }
}

/// Unix time; 1970 on a machine whose clock is before that.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the edge where the wall clock is read; the machine is told the time")]
pub fn wall() -> UnixMillis {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
