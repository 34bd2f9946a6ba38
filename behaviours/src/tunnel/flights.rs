//! Answers on their way, from the moment when they are given to a tunnel until they are sent. What waits for its turn, or
//! for an end that does not read, stays here, up to a megabyte of each tunnel, so all of them together are bounded in
//! bytes; of more, the answer with which nothing happened for longest is given up, and its tunnel with it. Whoever reads
//! slowly and steadily is not that one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// All answers of a node that are on their way, first the one with which nothing happened for longest. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Flights {
    limit: usize,
    sending: Arc<Mutex<Sending>>,
}

#[derive(Debug, Default)]
struct Sending {
    next: u64,
    bytes: usize,
    flights: BTreeMap<u64, (usize, Arc<Notify>)>,
}

/// One of them; sent, or given up, when dropped.
#[derive(Debug)]
pub(super) struct Flight {
    of: Flights,
    number: AtomicU64,
}

impl Flights {
    /// None yet, and at most `limit` bytes of them. One alone may have more.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, sending: Arc::default() }
    }

    /// One more, of so many bytes, in the tunnel that ends when `given_up` is notified.
    pub(super) fn enter(&self, bytes: usize, given_up: Arc<Notify>) -> Flight {
        let mut sending = self.lock();
        let number = AtomicU64::new(sending.put(bytes, given_up));
        sending.make_room(self.limit);
        Flight { of: self.clone(), number }
    }

    fn lock(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sending {
    /// Gives up the oldest; the newest stays, however large.
    fn make_room(&mut self, limit: usize) {
        while self.bytes > limit
            && self.flights.len() > 1
            && let Some((_, (bytes, given_up))) = self.flights.pop_first()
        {
            self.bytes = self.bytes.saturating_sub(bytes);
            given_up.notify_one();
        }
    }

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

impl Flight {
    /// Its turn has come: it is sent, as so many bytes.
    pub(super) fn takes(&self, bytes: usize) {
        let mut sending = self.of.lock();
        if let Some((_, given_up)) = sending.take(self.number.load(Relaxed)) {
            self.number.store(sending.put(bytes, given_up), Relaxed);
            sending.make_room(self.of.limit);
        }
    }

    /// Some of it was taken. Its memory stays until all is.
    pub(super) fn moved(&self) {
        let mut sending = self.of.lock();
        if let Some((bytes, given_up)) = sending.take(self.number.load(Relaxed)) {
            self.number.store(sending.put(bytes, given_up), Relaxed);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let _given_up_before = self.of.lock().take(self.number.load(Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    /// One more, and what its tunnel hears.
    fn enter(flights: &Flights, bytes: usize) -> (Flight, Arc<Notify>) {
        let given_up = Arc::new(Notify::new());
        (flights.enter(bytes, Arc::clone(&given_up)), given_up)
    }

    fn is_given_up((_, given_up): &(Flight, Arc<Notify>)) -> bool {
        given_up.notified().now_or_never().is_some()
    }

    #[test]
    fn of_too_many_bytes_the_oldest_is_given_up() {
        let flights = Flights::new(100);
        let (first, second) = (enter(&flights, 40), enter(&flights, 60));
        assert!(!is_given_up(&first) && !is_given_up(&second));
        let third = enter(&flights, 30);
        assert!(is_given_up(&first) && !is_given_up(&second) && !is_given_up(&third));
        // What was sent makes room.
        drop(second);
        let fourth = enter(&flights, 70);
        assert!(!is_given_up(&third) && !is_given_up(&fourth));
        drop((first, third, fourth));
        assert_eq!(flights.lock().bytes, 0);
    }

    #[test]
    fn who_takes_some_now_and_then_is_not_given_up() {
        let flights = Flights::new(100);
        let (steady, stalled) = (enter(&flights, 50), enter(&flights, 50));
        steady.0.moved();
        let _next = enter(&flights, 1);
        assert!(!is_given_up(&steady) && is_given_up(&stalled));
        stalled.0.moved();
        stalled.0.takes(1000);
        drop(steady);
        assert_eq!(flights.lock().bytes, 1, "who was given up is not counted again");
    }

    #[test]
    fn what_waits_for_its_turn_counts_and_is_given_up_with_its_tunnel() {
        let flights = Flights::new(100);
        let tunnel = Arc::new(Notify::new());
        let (waiting, other) = (flights.enter(50, Arc::clone(&tunnel)), enter(&flights, 40));
        assert!(tunnel.notified().now_or_never().is_none());
        // Sealed and padded it is more.
        other.0.takes(60);
        assert!(tunnel.notified().now_or_never().is_some() && !is_given_up(&other));
        drop(waiting);
        assert_eq!(flights.lock().bytes, 60);
    }

    #[test]
    fn one_alone_may_have_more_than_all_together() {
        let flights = Flights::new(100);
        let old = enter(&flights, 1);
        let large = enter(&flights, 1000);
        assert!(is_given_up(&old) && !is_given_up(&large));
        let next = enter(&flights, 1);
        assert!(is_given_up(&large) && !is_given_up(&next));
    }
}
