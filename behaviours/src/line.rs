//! Handshakes stand in line: each takes some hundred microseconds to compute, and whoever opens hundreds of connections
//! or paths at once would otherwise have a node compute theirs and do nothing else for a tenth of a second.
//!
//! One is computed after the other, and between two of them everybody else has a turn: a crowd holds up itself.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Where they wait for each other, first come, first served.
#[derive(Debug)]
pub(crate) struct Line(Semaphore);

/// A place at the head of it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'l>(#[expect(dead_code, reason = "held")] Option<SemaphorePermit<'l>>);

impl Line {
    pub(crate) const fn new() -> Self {
        Self(Semaphore::const_new(1))
    }

    /// Waits for those who came before, and then behind everything else that is ready.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        // It is never closed.
        let permit = self.0.acquire().await.ok();
        tokio::task::yield_now().await;
        Turn(permit)
    }

    /// Does `work`, each piece of it (what it does until it waits for something) in a turn of its own.
    async fn work<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        loop {
            let turn = self.turn().await;
            if let Poll::Ready(output) = futures::poll!(work.as_mut()) {
                return output;
            }
            drop(turn);
            // What the work waits for wakes this task.
            futures::pending!();
        }
    }
}

/// An upgrade of connections that does its work in a line where they come in. Where they go out there is none: how many
/// those are is up to the host itself.
#[derive(Clone, Debug)]
pub(crate) struct InLine<U> {
    upgrade: U,
    line: Arc<Line>,
}

impl<U> InLine<U> {
    /// All its clones share one line.
    pub(crate) fn new(upgrade: U) -> Self {
        Self { upgrade, line: Arc::new(Line::new()) }
    }
}

impl<U: UpgradeInfo> UpgradeInfo for InLine<U> {
    type Info = U::Info;
    type InfoIter = U::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.upgrade.protocol_info()
    }
}

impl<C, U> InboundConnectionUpgrade<C> for InLine<U>
where
    U: InboundConnectionUpgrade<C>,
    U::Future: Send + 'static,
    U::Output: Send,
    U::Error: Send,
{
    type Output = U::Output;
    type Error = U::Error;
    type Future = BoxFuture<'static, Result<U::Output, U::Error>>;

    fn upgrade_inbound(self, io: C, info: Self::Info) -> Self::Future {
        let work = self.upgrade.upgrade_inbound(io, info);
        async move { self.line.work(work).await }.boxed()
    }
}

impl<C, U: OutboundConnectionUpgrade<C>> OutboundConnectionUpgrade<C> for InLine<U> {
    type Output = U::Output;
    type Error = U::Error;
    type Future = U::Future;

    fn upgrade_outbound(self, io: C, info: Self::Info) -> Self::Future {
        self.upgrade.upgrade_outbound(io, info)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use tokio::sync::mpsc;

    use super::*;

    const CROWD: usize = 50;
    /// Pieces of each one's work.
    const PIECES: usize = 3;

    /// How many of a crowd's pieces of work were done each time that somebody else, who only passes a word on, had a
    /// turn.
    async fn seen_beside(
        crowd: impl Fn(Arc<Line>, Arc<AtomicUsize>) -> BoxFuture<'static, ()>,
        all: usize,
    ) -> Vec<usize> {
        let (line, done) = (Arc::new(Line::new()), Arc::new(AtomicUsize::new(0)));
        for _ in 0..CROWD {
            tokio::spawn(crowd(Arc::clone(&line), Arc::clone(&done)));
        }
        let (ask, mut asked) = mpsc::channel::<()>(1);
        let (answer, mut answered) = mpsc::channel::<()>(1);
        tokio::spawn(async move { while asked.recv().await.is_some() && answer.send(()).await.is_ok() {} });
        let waits = tokio::spawn(async move {
            let mut seen = Vec::new();
            while done.load(Relaxed) < all {
                ask.send(()).await.unwrap();
                answered.recv().await.unwrap();
                seen.push(done.load(Relaxed));
            }
            seen
        });
        waits.await.unwrap()
    }

    fn at_most_one_at_a_time(seen: &[usize]) -> bool {
        seen.windows(2).all(|pair| pair[1] - pair[0] <= 1)
    }

    #[tokio::test]
    async fn between_two_handshakes_of_a_crowd_everybody_else_has_a_turn() {
        let one = |line: Arc<Line>, done: Arc<AtomicUsize>| {
            async move {
                let _turn = line.turn().await;
                done.fetch_add(1, Relaxed);
            }
            .boxed()
        };
        let seen = seen_beside(one, CROWD).await;
        assert!(seen.len() >= CROWD && at_most_one_at_a_time(&seen), "{seen:?}");
    }

    #[tokio::test]
    async fn work_that_waits_in_between_has_a_turn_for_each_piece() {
        let work = |line: Arc<Line>, done: Arc<AtomicUsize>| {
            async move {
                let pieces = async {
                    for _ in 0..PIECES {
                        done.fetch_add(1, Relaxed);
                        tokio::task::yield_now().await;
                    }
                };
                line.work(pieces).await;
            }
            .boxed()
        };
        let seen = seen_beside(work, CROWD * PIECES).await;
        assert!(seen.len() >= CROWD * PIECES && at_most_one_at_a_time(&seen), "{seen:?}");
    }

    #[tokio::test]
    async fn who_waits_for_something_keeps_nobody_in_the_line() {
        let line = Arc::new(Line::new());
        let (_never, silent) = tokio::sync::oneshot::channel::<()>();
        let waiting = Arc::clone(&line);
        tokio::spawn(async move { waiting.work(silent).await });
        tokio::task::yield_now().await;
        let another = line.work(async {
            tokio::task::yield_now().await;
            7
        });
        assert_eq!(another.await, 7);
    }
}
