//! How much is served to one peer: a token bucket each, refilled at the protocol's rate.
//!
//! What an answer costs is known only when it is made, so a request is taken while anything is left and its answer may
//! run into debt; whoever is in debt waits. Every request has a price of its own on top, so that many small ones are
//! held too.

use std::collections::BTreeMap;
use std::time::Duration;

use sotto_proto::id::NodeId;
use sotto_proto::limits::{CHAIN_ANSWER_BYTES, CHAIN_BYTES_PER_SECOND};
use sotto_proto::time::Monotonic;

/// What a request costs whatever its answer: 256 a second are the most.
pub const REQUEST: usize = 1024;
/// What a transaction to pass on costs: 16 a second, and 64 at once after a pause.
pub const TRANSACTION: usize = 16 * 1024;
/// What has gathered after a pause: one full answer.
const BURST: usize = CHAIN_ANSWER_BYTES;

/// The allowances of all peers that lately asked for something. An entry lives until it is full again, which takes
/// seconds, and longer than its connection: dialling anew gives nobody a new one.
#[derive(Debug, Default)]
pub struct Allowances(BTreeMap<NodeId, Bucket>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Bytes that may be served; negative in debt.
    left: i64,
    at: Monotonic,
}

impl Allowances {
    /// Takes the price of a request.
    ///
    /// # Errors
    /// How long to wait, for a peer in debt.
    pub fn take(&mut self, peer: NodeId, price: usize, now: Monotonic) -> Result<(), Duration> {
        let bucket = self.0.entry(peer).or_insert(Bucket { left: signed(BURST), at: now });
        bucket.refill(now);
        if bucket.left <= 0 {
            return Err(time_for(bucket.left.unsigned_abs() + REQUEST as u64));
        }
        bucket.left -= signed(price);
        Ok(())
    }

    /// Books what an answer came to.
    pub fn charge(&mut self, peer: NodeId, bytes: usize, now: Monotonic) {
        let bucket = self.0.entry(peer).or_insert(Bucket { left: signed(BURST), at: now });
        bucket.refill(now);
        bucket.left = bucket.left.saturating_sub(signed(bytes));
    }

    /// Forgets whoever has waited long enough to begin anew.
    pub fn forget(&mut self, now: Monotonic) {
        self.0.retain(|_, bucket| {
            bucket.refill(now);
            bucket.left < signed(BURST)
        });
    }
}

impl Bucket {
    fn refill(&mut self, now: Monotonic) {
        let millis = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let gained = millis.saturating_mul(CHAIN_BYTES_PER_SECOND as u64) / 1000;
        self.left = self.left.saturating_add_unsigned(gained).min(signed(BURST));
        // Whole milliseconds only: the rest counts the next time.
        self.at = self.at.plus(Duration::from_millis(millis));
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn time_for(bytes: u64) -> Duration {
    Duration::from_millis(bytes.saturating_mul(1000).div_ceil(CHAIN_BYTES_PER_SECOND as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::node;

    fn at(millis: u64) -> Monotonic {
        Monotonic(Duration::from_millis(millis))
    }

    #[test]
    fn a_peer_is_served_its_rate_and_no_more() {
        let mut allowances = Allowances::default();
        let mut served = 0;
        for millis in 0..60_000 {
            if allowances.take(node(1), REQUEST, at(millis)).is_ok() {
                allowances.charge(node(1), CHAIN_ANSWER_BYTES, at(millis));
                served += CHAIN_ANSWER_BYTES;
            }
        }
        let fair = 60 * CHAIN_BYTES_PER_SECOND;
        assert!((fair..=fair + 3 * BURST).contains(&served), "{served}");
    }

    #[test]
    fn a_peer_in_debt_is_told_how_long_to_wait() {
        let mut allowances = Allowances::default();
        allowances.take(node(1), REQUEST, at(0)).unwrap();
        allowances.charge(node(1), CHAIN_ANSWER_BYTES, at(0));
        let wait = allowances.take(node(1), REQUEST, at(0)).unwrap_err();
        let then = at(u64::try_from(wait.as_millis()).unwrap());
        assert!(wait > Duration::ZERO);
        assert_eq!(allowances.take(node(1), REQUEST, then), Ok(()));
    }

    #[test]
    fn peers_do_not_share_and_are_forgotten_when_full() {
        let mut allowances = Allowances::default();
        allowances.charge(node(1), 10 * CHAIN_ANSWER_BYTES, at(0));
        assert!(allowances.take(node(1), REQUEST, at(1)).is_err());
        assert!(allowances.take(node(2), REQUEST, at(1)).is_ok());
        allowances.forget(at(10_000));
        assert_eq!(allowances.0.len(), 1);
        allowances.forget(at(100_000));
        assert!(allowances.0.is_empty());
    }
}
