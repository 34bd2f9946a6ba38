//! Even draws from the injected source of randomness.

use rand_core::Rng;

/// A number below `n`, each equally likely; 0 for `n` = 0.
pub(crate) fn below(rng: &mut dyn Rng, n: u64) -> u64 {
    if n < 2 {
        return 0;
    }
    // Values above the largest multiple of n would favour the small numbers.
    let excess = (u64::MAX % n + 1) % n;
    loop {
        let x = rng.next_u64();
        if x <= u64::MAX - excess {
            return x % n;
        }
    }
}

/// One of `items`, each equally likely.
pub(super) fn one<'a, T>(rng: &mut dyn Rng, items: &'a [T]) -> Option<&'a T> {
    let index = below(rng, items.len() as u64);
    items.get(usize::try_from(index).ok()?)
}

/// Puts `items` into a random order, each equally likely.
pub(crate) fn shuffle<T>(rng: &mut dyn Rng, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        let other = below(rng, last as u64 + 1);
        items.swap(last, usize::try_from(other).unwrap_or(last));
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn draws_are_even() {
        let mut rng = ChaCha20Rng::from_seed([7; 32]);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[below(&mut rng, 7) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        assert_eq!(below(&mut rng, 0), 0);
        assert_eq!(below(&mut rng, 1), 0);
        assert!(below(&mut rng, u64::MAX) < u64::MAX);
    }

    #[test]
    fn shuffling_keeps_every_item_and_moves_each_to_every_place() {
        let mut rng = ChaCha20Rng::from_seed([8; 32]);
        let mut first = [0_u32; 5];
        for _ in 0..10_000 {
            let mut items = [0, 1, 2, 3, 4];
            shuffle(&mut rng, &mut items);
            first[items[0]] += 1;
            items.sort_unstable();
            assert_eq!(items, [0, 1, 2, 3, 4]);
        }
        assert!(first.iter().all(|count| (1_800..2_200).contains(count)), "{first:?}");
    }
}
