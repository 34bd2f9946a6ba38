//! The tree over a block's transactions (RFC 6962 shape, own domains).

use crate::domain;
use crate::hash::{Hasher, hash};
use crate::id::Hash;

/// Root over the wire bytes of a block's transactions, in order.
#[must_use]
pub fn tx_root<T: AsRef<[u8]>>(wire: &[T]) -> Hash {
    if wire.is_empty() {
        return hash(domain::TX_EMPTY, b"");
    }
    let leaves: Vec<Hash> = wire.iter().map(|tx| hash(domain::TX_LEAF, tx)).collect();
    subtree(&leaves)
}

/// Splits at the largest power of two below the count, as RFC 6962 does; depth is logarithmic.
fn subtree(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => hash(domain::TX_EMPTY, b""),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            Hasher::new(domain::TX_INNER).chain(subtree(left)).chain(subtree(right)).finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_has_the_shape_of_rfc_6962() {
        let leaf = |byte: u8| hash(domain::TX_LEAF, [byte]);
        let inner = |l: Hash, r: Hash| Hasher::new(domain::TX_INNER).chain(l).chain(r).finish();
        assert_eq!(tx_root::<[u8; 1]>(&[]), hash(domain::TX_EMPTY, b""));
        assert_eq!(tx_root(&[[0]]), leaf(0));
        assert_eq!(tx_root(&[[0], [1]]), inner(leaf(0), leaf(1)));
        assert_eq!(tx_root(&[[0], [1], [2]]), inner(inner(leaf(0), leaf(1)), leaf(2)));
        let left = inner(inner(leaf(0), leaf(1)), inner(leaf(2), leaf(3)));
        assert_eq!(tx_root(&[[0], [1], [2], [3], [4]]), inner(left, leaf(4)));
    }
}
