//! Mutations without coverage: blind, quick, and the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// Bytes that are at the edge of something.
const EDGES: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff, 0x20];
/// So many changes are laid over each other at most.
const STACKED: usize = 4;

/// Changes inputs. The same number gives the same changes.
#[derive(Debug)]
pub struct Mutator(ChaCha8Rng);

impl Mutator {
    /// One whose changes follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number below `count`; 0 when that is 0.
    pub fn below(&mut self, count: usize) -> usize {
        let count = u64::try_from(count).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.0.next_u64() % count).unwrap_or(0)
    }

    /// `input` with one to four changes, pieces of `other` among them; at most `max_len` long.
    #[must_use]
    pub fn mutate(&mut self, input: &[u8], other: &[u8], max_len: usize) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..=self.below(STACKED) {
            self.change(&mut bytes, other);
        }
        bytes.truncate(max_len);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len());
        match self.below(10) {
            0 | 1 => {
                let bit = self.below(8);
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
            }
            2 => {
                let edge = EDGES[self.below(EDGES.len())];
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = edge);
            }
            3 => bytes.truncate(at),
            4 => {
                let slice = self.slice_of(bytes);
                bytes.splice(at..at, slice);
            }
            5 => {
                let end = at + self.below(bytes.len() - at);
                bytes.drain(at..end);
            }
            6 => {
                let slice = self.slice_of(other);
                let end = (at + slice.len()).min(bytes.len());
                bytes.splice(at..end, slice);
            }
            7 => {
                let random: Vec<u8> = (0..=self.below(16)).map(|_| self.0.next_u32().to_le_bytes()[0]).collect();
                bytes.splice(at..at, random);
            }
            _ => self.change_length(bytes, at),
        }
    }

    /// A piece of up to 64 bytes.
    fn slice_of(&mut self, bytes: &[u8]) -> Vec<u8> {
        let start = self.below(bytes.len());
        let length = self.below(64.min(bytes.len() - start) + 1);
        bytes[start..start + length].to_vec()
    }

    /// Takes what is at a place for the number of something: a little more or less of it, none, or too many.
    fn change_length(&mut self, bytes: &mut [u8], at: usize) {
        let width = [1, 2, 4, 8][self.below(4)];
        let left = bytes.len() - at;
        let Some(field) = bytes.get_mut(at..at + width) else { return };
        let number = field.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let left = u64::try_from(left).unwrap_or(u64::MAX);
        let choices =
            [number.wrapping_add(1), number.wrapping_sub(1), 0, u64::MAX, left, left.wrapping_sub(1), 1 << 31];
        let new = choices[self.below(choices.len())].to_be_bytes();
        field.copy_from_slice(&new[8 - width..]);
    }
}
