//! What an attack counts, and when it has done enough.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Counters of one attack, shared by its tasks.
#[derive(Debug)]
pub(crate) struct Tally {
    connections: AtomicU64,
    refused: AtomicU64,
    frames: AtomicU64,
    bytes: AtomicU64,
    answered: AtomicU64,
    held_ms: AtomicU64,
    /// The attack stops after so many frames.
    most: u64,
    stop: CancellationToken,
    pace: Option<Pace>,
}

/// Frames a second, and when the next one is due.
#[derive(Debug)]
struct Pace {
    a_second: u32,
    next: Mutex<Option<Instant>>,
}

impl Tally {
    /// Nothing yet; cancels `stop` after `most` frames, of which there may be so many a second.
    pub(crate) fn new(most: Option<u64>, a_second: Option<u32>, stop: CancellationToken) -> Self {
        Self {
            connections: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            held_ms: AtomicU64::new(0),
            most: most.unwrap_or(u64::MAX),
            stop,
            pace: a_second.map(|a_second| Pace { a_second, next: Mutex::default() }),
        }
    }

    /// Waits until another frame is due. What was missed before is not made up for.
    pub(crate) async fn due(&self) {
        let next = self.pace.as_ref().and_then(|pace| *pace.next());
        if let Some(next) = next {
            tokio::time::sleep_until(next).await;
        }
    }

    /// A connection was opened. [`Scene::connect`](super::Scene::connect) counts those that it makes.
    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// The victim refused or ended a connection, a stream or a request.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// `frames` units of what the attack is about, in `bytes` bytes, were handed to a live socket: Yamux frames,
    /// messages, handshakes, single bytes of a slow writer.
    pub(crate) fn sent(&self, frames: u64, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
        if let Some(pace) = &self.pace {
            let (mut next, now) = (pace.next(), Instant::now());
            *next = Some(next.map_or(now, |next| next.max(now)) + pace.of(frames));
        }
        if self.frames.fetch_add(frames, Relaxed).saturating_add(frames) >= self.most {
            self.stop.cancel();
        }
    }

    /// The victim answered: a frame, a message, a cell.
    pub(crate) fn answered(&self, count: u64) {
        self.answered.fetch_add(count, Relaxed);
    }

    /// The victim bore something so long before it ended it; the longest is kept.
    pub(crate) fn held(&self, time: Duration) {
        self.held_ms.fetch_max(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The counters now.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            connections: self.connections.load(Relaxed),
            refused: self.refused.load(Relaxed),
            frames: self.frames.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            answered: self.answered.load(Relaxed),
            held_ms: self.held_ms.load(Relaxed),
        }
    }
}

impl Pace {
    fn next(&self) -> MutexGuard<'_, Option<Instant>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long so many frames take.
    fn of(&self, frames: u64) -> Duration {
        let frames = u32::try_from(frames).unwrap_or(u32::MAX);
        Duration::from_secs(1) / self.a_second.max(1) * frames
    }
}

/// What an attack did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Connections that were opened.
    pub connections: u64,
    /// Connections, streams and requests that the victim refused or ended.
    pub refused: u64,
    /// Units of what the attack is about.
    pub frames: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Answers of the victim.
    pub answered: u64,
    /// The longest that the victim bore something before it ended it; 0 where that was not looked at.
    pub held_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attack_is_stopped_after_so_many_frames() {
        let stop = CancellationToken::new();
        let tally = Tally::new(Some(10), None, stop.clone());
        tally.sent(9, 100);
        assert!(!stop.is_cancelled());
        tally.sent(1, 1);
        assert!(stop.is_cancelled());
        assert_eq!((tally.counts().frames, tally.counts().bytes), (10, 101));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_frames_than_are_due_are_sent_in_a_second_also_after_a_pause() {
        let tally = Tally::new(None, Some(100), CancellationToken::new());
        let begun = Instant::now();
        for _ in 0..10 {
            tally.due().await;
            tally.sent(10, 1);
        }
        // The first did not wait.
        assert_eq!(begun.elapsed().as_millis(), 900);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let begun = Instant::now();
        for _ in 0..3 {
            tally.due().await;
            tally.sent(100, 1);
        }
        assert_eq!(begun.elapsed().as_secs(), 2);
    }

    #[test]
    fn the_longest_time_is_kept() {
        let tally = Tally::new(None, None, CancellationToken::new());
        for seconds in [1, 5, 3] {
            tally.held(Duration::from_secs(seconds));
        }
        assert_eq!(tally.counts().held_ms, 5000);
    }
}
