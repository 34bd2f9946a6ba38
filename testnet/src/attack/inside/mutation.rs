//! How bytes are spoilt: bits flipped, ends cut off, parts repeated, changed places or taken from somewhere else.

use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;

/// A number below `bound`; 0 below 0. Which of them comes a billionth more often does not matter here.
pub(super) fn below(rng: &mut ChaCha20Rng, bound: usize) -> usize {
    usize::try_from(rng.next_u64() % (bound.max(1) as u64)).unwrap_or_default()
}

/// So many drawn bytes.
pub(super) fn bytes(rng: &mut ChaCha20Rng, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// Spoils bytes in place and keeps their number, as a frame must.
pub(super) fn in_place(rng: &mut ChaCha20Rng, bytes: &mut [u8]) {
    if bytes.is_empty() {
        return;
    }
    match below(rng, 5) {
        // One bit.
        0 => {
            let at = below(rng, bytes.len());
            bytes[at] ^= 1 << below(rng, 8);
        }
        // Among the first bytes, where lengths and kinds are.
        1 => {
            let at = below(rng, bytes.len().min(48));
            bytes[at] = [0, 1, 0x7f, 0x80, 0xff][below(rng, 5)];
        }
        // A stretch of zeros, ones or anything.
        2 => {
            let (from, to) = stretch(rng, bytes.len());
            match below(rng, 3) {
                0 => bytes[from..to].fill(0),
                1 => bytes[from..to].fill(0xff),
                _ => rng.fill_bytes(&mut bytes[from..to]),
            }
        }
        // One part on top of another.
        3 => {
            let (from, to) = stretch(rng, bytes.len());
            let at = below(rng, bytes.len() - (to - from) + 1);
            bytes.copy_within(from..to, at);
        }
        // Several bits.
        _ => {
            for _ in 0..=below(rng, 16) {
                let at = below(rng, bytes.len());
                bytes[at] ^= 1 << below(rng, 8);
            }
        }
    }
}

/// Spoils bytes, and perhaps their number; never more than `most` come out.
pub(super) fn spoil(rng: &mut ChaCha20Rng, mut bytes: Vec<u8>, most: usize) -> Vec<u8> {
    match below(rng, 4) {
        // Cut off.
        0 => {
            let length = below(rng, bytes.len() + 1);
            bytes.truncate(length);
        }
        // Something behind it.
        1 => {
            let more = below(rng, 256);
            bytes.extend(self::bytes(rng, more));
        }
        // A part twice.
        2 => {
            let (from, to) = stretch(rng, bytes.len());
            let part = bytes[from..to].to_vec();
            bytes.splice(to..to, part);
        }
        _ => in_place(rng, &mut bytes),
    }
    bytes.truncate(most);
    bytes
}

/// What is done with a sequence of frames: some repeated, some left out, two that change places.
pub(super) fn reorder<T: Clone>(rng: &mut ChaCha20Rng, frames: &mut Vec<T>) {
    if frames.is_empty() {
        return;
    }
    let at = below(rng, frames.len());
    match below(rng, 3) {
        0 => frames.insert(at, frames[at].clone()),
        1 => {
            frames.remove(at);
        }
        _ => {
            let other = below(rng, frames.len());
            frames.swap(at, other);
        }
    }
}

/// A drawn stretch of `length` bytes; empty only of none.
fn stretch(rng: &mut ChaCha20Rng, length: usize) -> (usize, usize) {
    let from = below(rng, length);
    let to = from + below(rng, length - from) + usize::from(length > 0);
    (from, to)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_core::SeedableRng as _;

    use super::*;

    fn rng(seed: u64) -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(seed)
    }

    #[test]
    fn a_seed_spoils_the_same_bytes_in_the_same_way() {
        let spoilt = |seed| spoil(&mut rng(seed), (0..200).collect(), 1000);
        assert_eq!(spoilt(7), spoilt(7));
        let all: std::collections::BTreeSet<_> = (0..50).map(spoilt).collect();
        assert!(all.len() > 40, "seeds differ: {}", all.len());
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_nothing_breaks_and_the_bound_holds(
            seed: u64,
            data in proptest::collection::vec(any::<u8>(), 0..300),
            most in 0_usize..400,
        ) {
            let mut rng = rng(seed);
            let mut same = data.clone();
            in_place(&mut rng, &mut same);
            prop_assert_eq!(same.len(), data.len());
            prop_assert!(spoil(&mut rng, data.clone(), most).len() <= most);
            let mut frames = data;
            let before = frames.len();
            reorder(&mut rng, &mut frames);
            prop_assert!(frames.len().abs_diff(before) <= 1);
        }

        #[test]
        fn a_stretch_lies_within(seed: u64, length in 0_usize..5000) {
            let (from, to) = stretch(&mut rng(seed), length);
            prop_assert!(from <= to && to <= length);
            prop_assert!(length == 0 || from < to);
        }
    }
}
