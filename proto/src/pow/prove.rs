//! The search for a nonce, on as many cores as it is given.
//!
//! ```text
//! threads take the next 4,096 nonces ──▶ found: note how far from the start, if nearer than what is noted
//!    └─ stop when: the next nonces lie behind what is noted · cancelled · all 2^64 tried
//! ```
//!
//! Chunks are handed out in order and finished once taken, so the answer is the first valid nonce after the start,
//! whatever the threads do. A search is part of its caller's stack: when it returns, its threads are gone.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::lanes::{BATCH, Block, Lanes};
use super::{Difficulty, Nonce, Target, Work};

/// Nonces a thread takes at once: 0.15 ms of AVX-512, 1 ms without vectors. That is how late a cancel is noticed.
const CHUNK: u64 = CHUNK_BATCHES as u64 * BATCH;
const CHUNK_BATCHES: u32 = 512;

/// How many chunks cover all nonces.
const CHUNKS: u64 = u64::MAX / CHUNK + 1;

/// What a search and whoever watches it share: progress one way, the wish to stop the other.
#[derive(Debug, Default)]
pub struct Search {
    attempts: AtomicU64,
    cancelled: AtomicBool,
}

impl Search {
    /// Nothing tried yet, not cancelled.
    #[must_use]
    pub const fn new() -> Self {
        Self { attempts: AtomicU64::new(0), cancelled: AtomicBool::new(false) }
    }

    /// Makes the search end, now or as soon as it begins.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Nonces tried so far. [`Target::expected_attempts`] says how many it takes on average.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }
}

/// Why a search ended without a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProveError {
    /// [`Search::cancel`] was called.
    #[error("proof of work cancelled after {attempts} attempts")]
    Cancelled {
        /// Nonces tried by then.
        attempts: u64,
    },
    /// No nonce is good enough: the target is 0, or all 2^64 were tried.
    #[error("no nonce proves this work at difficulty {difficulty}")]
    Impossible {
        /// The difficulty asked for.
        difficulty: Difficulty,
    },
}

impl Work {
    /// Searches the first nonce from `start` on that proves the work at `difficulty`, on every core.
    ///
    /// Blocks until it is found or `search` is cancelled from elsewhere; not for an event loop's thread.
    ///
    /// # Errors
    /// [`ProveError`]
    pub fn prove(&self, difficulty: Difficulty, start: Nonce, search: &Search) -> Result<Nonce, ProveError> {
        let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.prove_on(cores, difficulty, start, search)
    }

    /// As [`Work::prove`], on so many threads, this one among them.
    ///
    /// # Errors
    /// [`ProveError`]
    pub fn prove_on(
        &self,
        threads: NonZeroUsize,
        difficulty: Difficulty,
        start: Nonce,
        search: &Search,
    ) -> Result<Nonce, ProveError> {
        let hunt = Hunt {
            lanes: Lanes::detect(),
            block: Block::new(self.inner()),
            target: self.target(difficulty),
            start,
            next_chunk: AtomicU64::new(0),
            nearest: AtomicU64::new(NOT_FOUND),
            search,
        };
        if hunt.target == Target(0) {
            return Err(ProveError::Impossible { difficulty });
        }
        thread::scope(|scope| {
            for _ in 1..threads.get() {
                // A system that has no thread left to give makes the search slower, not wrong.
                if thread::Builder::new().name("pow".into()).spawn_scoped(scope, || hunt.run()).is_err() {
                    break;
                }
            }
            hunt.run();
        });
        match hunt.nearest.into_inner() {
            NOT_FOUND if search.is_cancelled() => Err(ProveError::Cancelled { attempts: search.attempts() }),
            NOT_FOUND => Err(ProveError::Impossible { difficulty }),
            steps => Ok(start.plus(steps)),
        }
    }
}

/// In place of a distance: no nonce found. As a distance it would be the very last nonce.
const NOT_FOUND: u64 = u64::MAX;

struct Hunt<'a> {
    lanes: Lanes,
    block: Block,
    target: Target,
    start: Nonce,
    next_chunk: AtomicU64,
    /// Steps from the start to the nearest nonce found.
    nearest: AtomicU64,
    search: &'a Search,
}

impl Hunt<'_> {
    /// Works through chunks until there is no use in another.
    fn run(&self) {
        while !self.search.is_cancelled() {
            let chunk = self.next_chunk.fetch_add(1, Ordering::Relaxed);
            if chunk >= CHUNKS || chunk * CHUNK > self.nearest.load(Ordering::Relaxed) {
                return;
            }
            let first = self.start.plus(chunk * CHUNK);
            if let Some(nonce) = self.lanes.first(&self.block, self.target, first, CHUNK_BATCHES) {
                self.nearest.fetch_min(nonce.0.wrapping_sub(self.start.0), Ordering::Relaxed);
            }
            self.search.attempts.fetch_add(CHUNK, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Ttl;

    fn work(seed: u8) -> Work {
        Work { inner: [seed; 64], total_len: 1749, ttl: Ttl::new(345_600).unwrap() }
    }

    #[test]
    fn a_search_finds_the_first_nonce_on_any_number_of_threads_and_across_the_wrap() {
        for (seed, start) in [(1, Nonce(0)), (2, Nonce(u64::MAX - 5000)), (3, Nonce(77))] {
            let work = work(seed);
            let expected = (0..).map(|step| start.plus(step)).find(|&nonce| work.verify(nonce, Difficulty::MIN));
            for threads in 1..=4 {
                let search = Search::new();
                let threads = NonZeroUsize::new(threads).unwrap();
                let found = work.prove_on(threads, Difficulty::MIN, start, &search);
                assert_eq!(found.ok(), expected);
                assert!(search.attempts() > expected.unwrap().0.wrapping_sub(start.0));
            }
        }
    }

    #[test]
    fn a_cancelled_search_ends_without_a_nonce() {
        let hard = Difficulty::new(1 << 28).unwrap();
        let search = Search::new();
        let result = thread::scope(|scope| {
            let prover = scope.spawn(|| work(9).prove(hard, Nonce(0), &search));
            while search.attempts() == 0 {
                thread::yield_now();
            }
            search.cancel();
            prover.join().unwrap()
        });
        assert_eq!(result, Err(ProveError::Cancelled { attempts: search.attempts() }));

        let before = Search::new();
        before.cancel();
        assert_eq!(work(9).prove(hard, Nonce(0), &before), Err(ProveError::Cancelled { attempts: 0 }));
    }

    #[test]
    fn a_target_that_nothing_meets_is_said_to_be_impossible() {
        let endless = Work { total_len: usize::MAX, ..work(1) };
        let difficulty = Difficulty::new(u32::MAX).unwrap();
        let result = endless.prove(difficulty, Nonce(0), &Search::new());
        assert_eq!(result, Err(ProveError::Impossible { difficulty }));
    }
}
