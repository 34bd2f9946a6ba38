//! The draws of the consensus: a keystream and three ways to use it, fixed bit by bit (B8).
//!
//! Every node must draw the same numbers, so nothing here may depend on how a library of random numbers happens to
//! shuffle in this release: only the ChaCha20 keystream itself is taken from outside.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use crate::id::Hash;

/// Draws from the ChaCha20 keystream (20 rounds, nonce 0, block counter from 0) under a hash as key.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha20Rng);

impl Rng {
    /// Draws determined by `seed` alone.
    #[must_use]
    pub fn new(seed: &Hash) -> Self {
        Self(ChaCha20Rng::from_seed(*seed.as_bytes()))
    }

    /// The next eight bytes of the keystream, little-endian.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `n`, each with the same chance: draws again while the number is in the last, incomplete run of
    /// `n` below 2^64.
    ///
    /// `n = 1` draws as well, so that the position in the keystream tells how many choices were made. There is no
    /// number below 0: for `n = 0` nothing is drawn and the answer is 0.
    pub fn uniform(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        let incomplete = (u64::MAX % n + 1) % n; // = 2^64 mod n
        loop {
            let x = self.u64();
            if x <= u64::MAX - incomplete {
                return x % n;
            }
        }
    }

    /// An index into something of `len` items, drawn as [`uniform`](Self::uniform)`(len)`.
    #[expect(clippy::cast_possible_truncation, reason = "the number drawn is below a `usize`")]
    pub fn index(&mut self, len: usize) -> usize {
        self.uniform(len as u64) as usize
    }

    /// Brings `items` into a random order (Fisher–Yates from the back); fewer than two items draw nothing.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.index(last + 1);
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zeros() -> Rng {
        Rng::new(&Hash::new([0; 32]))
    }

    #[test]
    fn golden_draws_of_the_wire_specification_hold() {
        let mut rng = zeros();
        let first = [rng.u64(), rng.u64(), rng.u64()];
        assert_eq!(first, [10_393_729_187_455_219_830, 2_935_650_227_004_792_128, 1_940_362_735_889_535_677]);
        let digits: Vec<u64> = (0..8).map(|_| rng.uniform(10)).collect();
        assert_eq!(digits, [0, 2, 1, 0, 3, 1, 4, 9]);
    }

    #[test]
    fn a_choice_of_one_draws_and_a_choice_of_none_does_not() {
        let mut rng = zeros();
        assert_eq!((rng.uniform(0), rng.uniform(1), rng.index(0)), (0, 0, 0));
        assert_eq!(rng.u64(), 2_935_650_227_004_792_128);
    }

    #[test]
    fn a_number_of_the_incomplete_run_is_drawn_again() {
        // 2^64 mod n = 2^63 − 1: nearly half of all draws are refused.
        let n = (1 << 63) + 1;
        let (mut drawn, mut plain) = (zeros(), zeros());
        for _ in 0..100 {
            let expected = std::iter::repeat_with(|| plain.u64()).find(|x| *x < n).unwrap();
            assert_eq!(drawn.uniform(n), expected);
        }
    }

    #[test]
    fn a_shuffle_swaps_from_the_back_and_leaves_one_item_undrawn() {
        let (mut rng, mut plain) = (zeros(), zeros());
        let mut items = ['a', 'b', 'c'];
        rng.shuffle(&mut items);
        let mut expected = ['a', 'b', 'c'];
        expected.swap(2, plain.index(3));
        expected.swap(1, plain.index(2));
        assert_eq!(items, expected);
        rng.shuffle(&mut ['x']);
        assert_eq!(rng.u64(), plain.u64());
    }
}
