//! Negentropy's fingerprint: the sum of all ids modulo 2^256 and their count, hashed.
//!
//! The sum goes both ways, so a set keeps its own and never adds up twice. It is not what keeps two different sets from
//! looking equal: whoever could choose ids freely could balance them. Ids of records cost a proof of work each and ids
//! of tombstones a signature of the address that is harmed.

use sha2::{Digest as _, Sha256};
use sotto_proto::id::ItemId;
use sotto_proto::request::Fingerprint;

/// A sum of ids, as four little-endian words, lowest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum([u64; 4]);

impl Sum {
    pub(super) fn add(&mut self, id: &ItemId) {
        let mut carry = false;
        for (word, other) in self.0.iter_mut().zip(words(id)) {
            let (sum, first) = word.overflowing_add(other);
            let (sum, second) = sum.overflowing_add(carry.into());
            (*word, carry) = (sum, first || second);
        }
    }

    pub(super) fn remove(&mut self, id: &ItemId) {
        let mut borrow = false;
        for (word, other) in self.0.iter_mut().zip(words(id)) {
            let (rest, first) = word.overflowing_sub(other);
            let (rest, second) = rest.overflowing_sub(borrow.into());
            (*word, borrow) = (rest, first || second);
        }
    }

    /// The fingerprint of `count` items that add up to this.
    pub(super) fn fingerprint(&self, count: u64) -> Fingerprint {
        let mut hasher = Sha256::new();
        for word in self.0 {
            hasher.update(word.to_le_bytes());
        }
        hasher.update(varint(count));
        let digest: [u8; 32] = hasher.finalize().into();
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&digest[..16]);
        fingerprint.into()
    }
}

fn words(id: &ItemId) -> impl Iterator<Item = u64> {
    let (words, _) = id.as_bytes().as_chunks::<8>();
    words.iter().map(|word| u64::from_le_bytes(*word))
}

/// Negentropy's variable-length number: seven bits a byte, highest first, the top bit says that more follow.
fn varint(value: u64) -> Vec<u8> {
    let bits = (u64::BITS - value.leading_zeros()).max(1);
    let groups = bits.div_ceil(7);
    (0..groups)
        .rev()
        .map(|group| {
            let low = u8::try_from((value >> (7 * group)) & 0x7f).unwrap_or(0x7f);
            if group == 0 { low } else { low | 0x80 }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_written_as_negentropy_does() {
        assert_eq!(varint(0), [0]);
        assert_eq!(varint(127), [0x7f]);
        assert_eq!(varint(128), [0x81, 0]);
        assert_eq!(varint(100_000), [0x86, 0x8d, 0x20]);
        assert_eq!(varint(u64::MAX).len(), 10);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_was_added_can_be_taken_away_in_any_order(ids in prop::collection::vec(any::<[u8; 32]>(), 1..50)) {
            let ids: Vec<_> = ids.into_iter().map(ItemId::new).collect();
            let (first, rest) = ids.split_at(ids.len() / 2);
            let mut sum = Sum::default();
            ids.iter().for_each(|id| sum.add(id));
            first.iter().rev().for_each(|id| sum.remove(id));
            let mut expected = Sum::default();
            rest.iter().rev().for_each(|id| expected.add(id));
            prop_assert_eq!(sum, expected);
        }

        #[test]
        fn carries_reach_every_word(low in any::<u64>()) {
            let mut all = [0xff; 32];
            all[..8].copy_from_slice(&low.to_le_bytes());
            let mut one = [0; 32];
            one[..8].copy_from_slice(&(u64::MAX - low).to_le_bytes());
            let mut sum = Sum::default();
            sum.add(&ItemId::new(all));
            sum.add(&ItemId::new(one));
            prop_assert_eq!(sum, Sum([u64::MAX; 4]));
            let mut unit = [0; 32];
            unit[0] = 1;
            sum.add(&ItemId::new(unit));
            prop_assert_eq!(sum, Sum::default());
        }
    }
}
