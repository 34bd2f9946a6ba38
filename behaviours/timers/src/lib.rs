//! libp2p's timers, run by tokio.
//!
//! libp2p counts time with the crate `futures-timer`, which keeps a thread of its own in every process and wakes it for
//! each timer that is made or dropped. gossipsub makes one for each message to each peer, libp2p-swarm one for each
//! stream: a message to a swarm of ten cost 34 wakes of other threads, a tenth of its processor time, for timers that
//! nearly never end. The workspace's `[patch.crates-io]` puts this crate in that one's place: the same type, which tokio's timer wheel
//! serves in the thread that waits anyway.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! futures_timer::Delay::new(std::time::Duration::from_millis(1)).await;
//! # });
//! ```

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Ready once a time has passed, and from then on.
///
/// It may be made anywhere, but must be polled within a tokio runtime that keeps time. Until then it costs nothing.
#[derive(Debug)]
pub struct Delay {
    /// [`None`] if it is further away than the clock can tell: never.
    until: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Delay {
    /// Ready after `duration` from now.
    #[must_use]
    pub fn new(duration: Duration) -> Self {
        Self { until: Instant::now().checked_add(duration), sleep: None }
    }

    /// Ready after `duration` from now instead. Whoever waits for it must poll again.
    pub fn reset(&mut self, duration: Duration) {
        self.until = Instant::now().checked_add(duration);
        if let (Some(sleep), Some(until)) = (&mut self.sleep, self.until) {
            sleep.as_mut().reset(until);
        } else {
            self.sleep = None;
        }
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else { return Poll::Pending };
        self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until))).as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_is_ready_when_its_time_has_passed_since_it_was_made() {
        let began = Instant::now();
        let (short, long) = (Delay::new(SECOND), Delay::new(3 * SECOND));
        short.await;
        assert_eq!(began.elapsed(), SECOND);
        long.await;
        assert_eq!(began.elapsed(), 3 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn reset_counts_anew_be_it_polled_or_not_or_over() {
        let began = Instant::now();
        let mut delay = Delay::new(SECOND);
        delay.reset(2 * SECOND);
        assert!(tokio::time::timeout(SECOND, &mut delay).await.is_err());
        delay.reset(2 * SECOND);
        (&mut delay).await;
        assert_eq!(began.elapsed(), 3 * SECOND);
        delay.reset(SECOND);
        delay.await;
        assert_eq!(began.elapsed(), 4 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_clock_reaches_is_never_ready() {
        let mut delay = Delay::new(Duration::MAX);
        assert!(tokio::time::timeout(SECOND, &mut delay).await.is_err());
        delay.reset(SECOND);
        delay.await;
    }

    #[test]
    fn it_is_made_without_a_runtime() {
        let delay = Delay::new(Duration::ZERO);
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(delay);
    }
}
