//! Draws that follow from the bench's seed.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng as _};
use sotto_proto::account::test_seed;

/// A source of randomness of its own for each `role` and `index`.
pub(crate) fn seeded(seed: u64, role: &str, index: usize) -> ChaCha20Rng {
    ChaCha20Rng::from_seed(test_seed(seed, &format!("bench {role}"), u32::try_from(index).unwrap_or(u32::MAX)))
}

/// Puts `items` into a drawn order. Which of a handful comes a billionth more often does not matter here.
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut impl Rng) {
    for last in (1..items.len()).rev() {
        let other = rng.next_u64() % (last as u64 + 1);
        items.swap(last, usize::try_from(other).unwrap_or(last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_order_again_and_roles_differ() {
        let order = |role| {
            let mut items: Vec<u8> = (0..50).collect();
            shuffle(&mut items, &mut seeded(7, role, 0));
            items
        };
        assert_eq!(order("a"), order("a"));
        assert_ne!(order("a"), order("b"));
        let mut sorted = order("a");
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<u8>>());
    }
}
