//! The edge where monotonic time is read.

use std::time::Instant;

use sotto_proto::time::{Monotonic, Now};

use crate::network::WallClock;

/// Reads the time for the state machines, which never do.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    start: Instant,
    wall: WallClock,
}

impl Clock {
    pub(crate) fn new(wall: WallClock) -> Self {
        Self { start: Instant::now(), wall }
    }

    pub(crate) fn now(&self) -> Now {
        Now { monotonic: self.monotonic(), wall: self.wall.now() }
    }

    pub(crate) fn monotonic(&self) -> Monotonic {
        Monotonic(self.start.elapsed())
    }

    /// The tokio instant at which [`Clock::monotonic`] will be `at`.
    pub(crate) fn instant(&self, at: Monotonic) -> tokio::time::Instant {
        let start = tokio::time::Instant::from_std(self.start);
        start.checked_add(at.0).unwrap_or_else(|| start + FAR)
    }
}

/// Stands for a deadline too far away for the platform's clock.
const FAR: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3600);
