//! How much is served to one payer: a token bucket each, refilled at the protocol's rate.
//!
//! What an answer costs is known only when it is made, so the most it may come to is taken with the request, and what
//! was too much is given back with the answer. A request is taken while anything is left, so that the last one may run
//! into debt; whoever is in debt waits. Every request has a price of its own on top, so that many small ones are held
//! too.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use sotto_proto::id::NodeId;
use sotto_proto::limits::{CHAIN_ANSWER_BYTES, CHAIN_BYTES_PER_SECOND};
use sotto_proto::time::Monotonic;

/// What a request costs whatever its answer: 256 a second are the most.
pub const REQUEST: usize = 1024;
/// What a transaction to pass on costs: 16 a second, and 128 at once after a pause.
pub const TRANSACTION: usize = 16 * 1024;
/// What a message of a reconciliation costs: it goes through all items. A whole session's worth after a pause.
pub const RECONCILIATION: usize = 16 * 1024;
/// What has gathered after a pause: two full answers, as many as an honest peer asks for at once.
const BURST: usize = 2 * CHAIN_ANSWER_BYTES;
/// When to come again if there is no room for one more payer.
const FULL: Duration = Duration::from_secs(1);

/// Whose allowance a request is charged to. A new key costs nothing, so keys that no stake stands behind share the
/// allowance of their address, wherever addresses are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Payer {
    /// A registered node, the producer, or a bootstrap node.
    Node(NodeId),
    /// Anybody else.
    Peer(NodeId),
    /// Everybody else at an IPv4 address or in an IPv6 /64.
    Address(IpAddr),
}

impl Payer {
    /// Whether it is one of the network's nodes.
    #[must_use]
    pub const fn is_node(&self) -> bool {
        matches!(self, Self::Node(_))
    }
}

/// The allowances of all payers that lately asked for something. An entry lives until it is full again, which takes
/// seconds, and longer than its connection: dialling anew gives nobody a new one.
#[derive(Debug)]
pub struct Allowances {
    buckets: BTreeMap<Payer, Bucket>,
    most: usize,
}

/// One allowance.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Bytes that may be served; negative in debt.
    left: i64,
    at: Monotonic,
}

impl Allowances {
    /// For so many payers at once.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self { buckets: BTreeMap::new(), most }
    }

    /// Takes the price of a request.
    ///
    /// # Errors
    /// How long to wait, for a payer in debt and for one too many.
    pub fn take(&mut self, payer: Payer, price: usize, now: Monotonic) -> Result<(), Duration> {
        if !self.buckets.contains_key(&payer) && self.buckets.len() >= self.most {
            self.forget(now);
            if self.buckets.len() >= self.most {
                return Err(FULL);
            }
        }
        self.buckets.entry(payer).or_insert_with(|| Bucket::new(now)).take(price, now)
    }

    /// Books what an answer came to, of which `taken` was taken with the request.
    pub fn settle(&mut self, payer: &Payer, taken: usize, bytes: usize, now: Monotonic) {
        // Whoever is forgotten has a full allowance.
        if let Some(bucket) = self.buckets.get_mut(payer) {
            bucket.settle(taken, bytes, now);
        }
    }

    /// Forgets whoever has waited long enough to begin anew.
    pub fn forget(&mut self, now: Monotonic) {
        self.buckets.retain(|_, bucket| {
            bucket.refill(now);
            bucket.left < signed(BURST)
        });
    }
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn new(now: Monotonic) -> Self {
        Self { left: signed(BURST), at: now }
    }

    /// Takes `price` if anything is left.
    ///
    /// # Errors
    /// How long to wait.
    pub fn take(&mut self, price: usize, now: Monotonic) -> Result<(), Duration> {
        self.refill(now);
        if self.left <= 0 {
            return Err(time_for(self.left.unsigned_abs() + REQUEST as u64));
        }
        self.left = self.left.saturating_sub(signed(price));
        Ok(())
    }

    fn settle(&mut self, taken: usize, bytes: usize, now: Monotonic) {
        self.refill(now);
        self.left = self.left.saturating_add(signed(taken)).saturating_sub(signed(bytes)).min(signed(BURST));
    }

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

    fn payer(key: u8) -> Payer {
        Payer::Peer(node(key))
    }

    #[test]
    fn a_payer_is_served_its_rate_and_no_more() {
        let mut allowances = Allowances::new(8);
        let mut served = 0;
        for millis in 0..60_000 {
            if allowances.take(payer(1), REQUEST + CHAIN_ANSWER_BYTES, at(millis)).is_ok() {
                allowances.settle(&payer(1), CHAIN_ANSWER_BYTES, CHAIN_ANSWER_BYTES, at(millis));
                served += CHAIN_ANSWER_BYTES;
            }
        }
        let fair = 60 * CHAIN_BYTES_PER_SECOND;
        assert!((fair..=fair + 2 * BURST).contains(&served), "{served}");
    }

    #[test]
    fn what_is_asked_for_is_charged_before_it_is_answered_and_what_was_too_much_is_given_back() {
        let mut allowances = Allowances::new(8);
        let ask = |allowances: &mut Allowances| allowances.take(payer(1), REQUEST + CHAIN_ANSWER_BYTES, at(0));
        let taken = (0..100).filter(|_| ask(&mut allowances).is_ok()).count();
        assert_eq!(taken, 2, "whatever becomes of the answers");
        allowances.settle(&payer(1), CHAIN_ANSWER_BYTES, 100, at(0));
        assert_eq!(ask(&mut allowances), Ok(()));
        assert!(ask(&mut allowances).is_err());
    }

    #[test]
    fn a_payer_in_debt_is_told_how_long_to_wait() {
        let mut allowances = Allowances::new(8);
        allowances.take(payer(1), 2 * BURST, at(0)).unwrap();
        let wait = allowances.take(payer(1), REQUEST, at(0)).unwrap_err();
        let then = at(u64::try_from(wait.as_millis()).unwrap());
        assert!(wait > Duration::ZERO);
        assert_eq!(allowances.take(payer(1), REQUEST, then), Ok(()));
    }

    #[test]
    fn payers_do_not_share_and_are_forgotten_when_full() {
        let mut allowances = Allowances::new(8);
        allowances.take(payer(1), 10 * CHAIN_ANSWER_BYTES, at(0)).unwrap();
        assert!(allowances.take(payer(1), REQUEST, at(1)).is_err());
        assert!(allowances.take(payer(2), REQUEST, at(1)).is_ok());
        allowances.forget(at(10_000));
        assert_eq!(allowances.buckets.len(), 1);
        allowances.forget(at(100_000));
        assert!(allowances.buckets.is_empty());
    }

    #[test]
    fn there_are_never_more_payers_than_are_allowed() {
        let mut allowances = Allowances::new(8);
        let taken = (0..100).filter(|key| allowances.take(payer(*key), BURST, at(0)).is_ok()).count();
        assert_eq!((taken, allowances.buckets.len()), (8, 8));
        // Known ones are served all the same, and others once there is room.
        assert_eq!(allowances.take(payer(1), REQUEST, at(1000)), Ok(()));
        assert_eq!(allowances.take(payer(99), REQUEST, at(100_000)), Ok(()));
    }
}
