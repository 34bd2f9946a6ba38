//! Answers that are being sent. What the other end does not read stays here, up to a megabyte of each tunnel, so all of
//! them together are bounded in bytes; of more, the answer of which nothing was taken for longest is given up, and its
//! tunnel with it. Whoever reads slowly and steadily is not that one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// All answers of a node that are being sent, first the one of which nothing was taken for longest.
#[derive(Debug)]
pub(crate) struct Flights {
    limit: usize,
    sending: Mutex<Sending>,
}

#[derive(Debug, Default)]
struct Sending {
    next: u64,
    bytes: usize,
    flights: BTreeMap<u64, (usize, Arc<Notify>)>,
}

/// One of them; sent, or given up, when dropped.
#[derive(Debug)]
pub(super) struct Flight<'f> {
    of: &'f Flights,
    number: AtomicU64,
    given_up: Arc<Notify>,
}

impl Flights {
    /// None yet, and at most `limit` bytes of them. One alone may have more.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, sending: Mutex::default() }
    }

    /// One more, of so many bytes.
    pub(super) fn enter(&self, bytes: usize) -> Flight<'_> {
        let given_up = Arc::new(Notify::new());
        let mut sending = self.lock();
        let number = AtomicU64::new(sending.put(bytes, Arc::clone(&given_up)));
        while sending.bytes > self.limit
            && sending.flights.len() > 1
            && let Some((_, (bytes, stalled))) = sending.flights.pop_first()
        {
            sending.bytes = sending.bytes.saturating_sub(bytes);
            stalled.notify_one();
        }
        Flight { of: self, number, given_up }
    }

    fn lock(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sending {
    fn put(&mut self, bytes: usize, given_up: Arc<Notify>) -> u64 {
        let number = self.next;
        self.next = number.wrapping_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.flights.insert(number, (bytes, given_up));
        number
    }

    fn take(&mut self, number: u64) -> Option<(usize, Arc<Notify>)> {
        let (bytes, given_up) = self.flights.remove(&number)?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some((bytes, given_up))
    }
}

impl Flight<'_> {
    /// Some of it was taken. Its memory stays until all is.
    pub(super) fn moved(&self) {
        let mut sending = self.of.lock();
        if let Some((bytes, given_up)) = sending.take(self.number.load(Relaxed)) {
            self.number.store(sending.put(bytes, given_up), Relaxed);
        }
    }

    /// Waits until it is given up.
    pub(super) async fn given_up(&self) {
        self.given_up.notified().await;
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let _given_up_before = self.of.lock().take(self.number.load(Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn is_given_up(flight: &Flight<'_>) -> bool {
        flight.given_up().now_or_never().is_some()
    }

    #[test]
    fn of_too_many_bytes_the_oldest_is_given_up() {
        let flights = Flights::new(100);
        let (first, second) = (flights.enter(40), flights.enter(60));
        assert!(!is_given_up(&first) && !is_given_up(&second));
        let third = flights.enter(30);
        assert!(is_given_up(&first) && !is_given_up(&second) && !is_given_up(&third));
        // What was sent makes room.
        drop(second);
        let fourth = flights.enter(70);
        assert!(!is_given_up(&third) && !is_given_up(&fourth));
        drop((first, third, fourth));
        assert_eq!(flights.sending.lock().unwrap().bytes, 0);
    }

    #[test]
    fn who_takes_some_now_and_then_is_not_given_up() {
        let flights = Flights::new(100);
        let (steady, stalled) = (flights.enter(50), flights.enter(50));
        steady.moved();
        let _next = flights.enter(1);
        assert!(!is_given_up(&steady) && is_given_up(&stalled));
        stalled.moved();
        drop(steady);
        assert_eq!(flights.sending.lock().unwrap().bytes, 1, "who was given up is not counted again");
    }

    #[test]
    fn one_alone_may_have_more_than_all_together() {
        let flights = Flights::new(100);
        let old = flights.enter(1);
        let large = flights.enter(1000);
        assert!(is_given_up(&old) && !is_given_up(&large));
        let next = flights.enter(1);
        assert!(is_given_up(&large) && !is_given_up(&next));
    }
}
