//! Answers that are being sent. What the other end does not read stays here, up to a megabyte of each tunnel, so all of
//! them together are bounded in bytes; of more, the answer that has been on its way longest is given up, and its tunnel
//! with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// All answers of a node that are being sent, the oldest first.
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
    number: u64,
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
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let number = sending.next;
        sending.next = number.wrapping_add(1);
        sending.bytes = sending.bytes.saturating_add(bytes);
        sending.flights.insert(number, (bytes, Arc::clone(&given_up)));
        while sending.bytes > self.limit
            && sending.flights.len() > 1
            && let Some((_, (bytes, oldest))) = sending.flights.pop_first()
        {
            sending.bytes = sending.bytes.saturating_sub(bytes);
            oldest.notify_one();
        }
        Flight { of: self, number, given_up }
    }
}

impl Flight<'_> {
    /// Waits until it is given up.
    pub(super) async fn given_up(&self) {
        self.given_up.notified().await;
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut sending = self.of.sending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((bytes, _)) = sending.flights.remove(&self.number) {
            sending.bytes = sending.bytes.saturating_sub(bytes);
        }
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
    fn one_alone_may_have_more_than_all_together() {
        let flights = Flights::new(100);
        let old = flights.enter(1);
        let large = flights.enter(1000);
        assert!(is_given_up(&old) && !is_given_up(&large));
        let next = flights.enter(1);
        assert!(is_given_up(&large) && !is_given_up(&next));
    }
}
