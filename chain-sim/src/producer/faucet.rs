//! Gives away coins on testnets.

use std::time::Duration;

use sotto_proto::id::{Amount, PublicKey};
use sotto_proto::sign::SigningKey;
use sotto_proto::time::Monotonic;

/// Most coins given at once.
pub const MOST: Amount = Amount::coins(10_000);
/// Gifts that can be asked for in one go.
const BURST: u32 = 50;
/// One more gift is possible each time this passes.
const REFILL: Duration = Duration::from_millis(100);

/// Why the faucet gives nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FaucetError {
    /// There is none: the chain is no testnet, or its faucet key is not in the data directory.
    #[error("this producer has no faucet: it needs a testnet genesis and keys/faucet.key in its data directory")]
    None,
    /// Nothing, or too much, was asked for.
    #[error("the faucet gives up to {MOST} coins at once, not {0}")]
    Amount(Amount),
    /// It was asked too often.
    #[error("the faucet was asked too often; again in {} ms", retry_after.as_millis())]
    RateLimited {
        /// When to ask again.
        retry_after: Duration,
    },
}

/// A key that owns coins, and how often it gives.
#[derive(Clone, Debug)]
pub struct Faucet {
    key: SigningKey,
    /// Gifts possible now.
    left: u32,
    /// Since when `left` is right.
    since: Monotonic,
}

impl Faucet {
    /// Gives what `key` owns.
    #[must_use]
    pub const fn new(key: SigningKey) -> Self {
        Self { key, left: BURST, since: Monotonic(Duration::ZERO) }
    }

    /// The key that gives.
    #[must_use]
    pub const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The account that gives.
    #[must_use]
    pub fn account(&self) -> PublicKey {
        self.key.public()
    }

    /// Whether `amount` may be given now; counts if so.
    ///
    /// # Errors
    /// [`FaucetError`].
    pub fn allow(&mut self, amount: Amount, now: Monotonic) -> Result<(), FaucetError> {
        if amount == Amount(0) || amount > MOST {
            return Err(FaucetError::Amount(amount));
        }
        self.refill(now);
        self.left = self
            .left
            .checked_sub(1)
            .ok_or(FaucetError::RateLimited { retry_after: REFILL.saturating_sub(now.since(self.since)) })?;
        Ok(())
    }

    fn refill(&mut self, now: Monotonic) {
        let passed = now.since(self.since).as_millis() / REFILL.as_millis();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(passed).min(BURST);
        self.since = if self.left == BURST { now } else { self.since.plus(REFILL.saturating_mul(passed)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_faucet_gives_a_burst_and_then_at_its_rate() {
        let mut faucet = Faucet::new(SigningKey::from_seed(&[1; 32]));
        let at = |millis| Monotonic(Duration::from_millis(millis));
        let one = Amount::coins(1);
        for _ in 0..BURST {
            assert_eq!(faucet.allow(one, at(0)), Ok(()));
        }
        let retry_after = Duration::from_millis(60);
        assert_eq!(faucet.allow(one, at(40)), Err(FaucetError::RateLimited { retry_after }));
        assert_eq!(faucet.allow(one, at(100)), Ok(()));
        assert!(faucet.allow(one, at(100)).is_err());
        assert!((0..BURST).all(|_| faucet.allow(one, at(1_000_000)).is_ok()));
        assert!(faucet.allow(one, at(1_000_000)).is_err());
    }

    #[test]
    fn nothing_and_too_much_are_refused_without_counting() {
        let mut faucet = Faucet::new(SigningKey::from_seed(&[1; 32]));
        for amount in [Amount(0), Amount(MOST.0 + 1)] {
            assert_eq!(faucet.allow(amount, Monotonic::default()), Err(FaucetError::Amount(amount)));
        }
        assert_eq!(faucet.left, BURST);
    }
}
