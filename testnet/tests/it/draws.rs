//! Numbers that look random and follow from a seed.

/// A sequence of such numbers.
pub(crate) struct Draws(pub(crate) u64);

impl Draws {
    /// The next number, below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// `count` of these nodes, none twice.
    pub(crate) fn nodes(&mut self, from: &[u64], count: usize) -> Vec<u64> {
        let mut left = from.to_vec();
        let count = count.min(left.len());
        (0..count).map(|_| left.swap_remove(usize::try_from(self.below(left.len() as u64)).unwrap())).collect()
    }
}
