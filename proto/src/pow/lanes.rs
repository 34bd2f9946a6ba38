//! Several trials at a time: SHA-512 of `nonce ‖ inner` over consecutive nonces, one in each lane of a vector.
//!
//! Vectors have the width of this processor's registers: eight lanes with AVX-512, four with AVX2, two with SSE2 and
//! NEON. (Wider ones, split over several registers, were slower: a round's sixteen words must fit.) The instructions
//! are chosen when the program runs.
//!
//! Only what the search needs: the first word of each digest, and whether it is below the target. The message is one
//! block, of which everything but the first word is the same for all nonces:
//!
//! ```text
//! W0 = nonce    W1..8 = inner    W9 = 1 << 63    W10..14 = 0    W15 = 576, the length in bits
//! ```
//!
//! So what a word of the message schedule (FIPS 180-4, 6.4.2) takes from fixed words is added up once per envelope:
//! W1..15, W17, W19 and W21 are fixed as a whole, and up to W37 there is at least a fixed part. The compiler is told
//! which by `VARIES`; the rounds are unrolled, so its tests cost nothing.

use std::fmt;

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};

use super::{Inner, Nonce, Target};

/// Nonces are tried in batches of so many, the lanes of the widest vectors.
pub const BATCH: u64 = 8;

/// Which vector instructions the search uses.
#[derive(Clone, Copy)]
pub struct Lanes(Level);

impl Lanes {
    /// The widest this processor has.
    #[must_use]
    pub fn detect() -> Self {
        Self(Level::new())
    }

    /// All that this processor has, the widest first: for tests and benches.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let best = Level::new();
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        let levels = [
            best.as_avx512().map(Level::Avx512),
            best.as_avx2().map(Level::Avx2),
            best.as_sse4_2().map(Level::Sse4_2),
            best.as_sse2().map(Level::Sse2),
        ];
        #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
        let levels = [Some(best)];
        levels.into_iter().flatten().map(Self).collect()
    }

    /// The instructions' name, in small letters.
    #[must_use]
    pub fn name(self) -> String {
        let shown = format!("{:?}", self.0);
        shown.split('(').next().unwrap_or_default().to_lowercase()
    }

    /// The first nonce that `target` admits among so many batches of [`BATCH`] from `start` on. After the largest nonce
    /// comes 0.
    #[must_use]
    pub fn first(self, block: &Block, target: Target, start: Nonce, batches: u32) -> Option<Nonce> {
        dispatch!(self.0, simd => search(simd, block, target, start, batches))
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lanes({})", self.name())
    }
}

/// The block of all trials of one envelope, with what does not depend on the nonce computed in advance.
pub struct Block {
    /// For rounds whose word is fixed: round constant + word. For the others: the round constant.
    round: [u64; 80],
    /// The fixed part of every word that varies.
    part: [u64; FIRST_WITHOUT_PART],
}

/// From this word on nothing fixed goes into the schedule.
const FIRST_WITHOUT_PART: usize = 38;

/// Whether a word of the schedule depends on the nonce.
const VARIES: [bool; 80] = {
    let mut varies = [false; 80];
    varies[0] = true;
    let mut i = 16;
    while i < 80 {
        varies[i] = varies[i - 2] || varies[i - 7] || varies[i - 15] || varies[i - 16];
        i += 1;
    }
    varies
};

impl Block {
    /// The block for an envelope's inner hash.
    #[must_use]
    pub fn new(inner: &Inner) -> Self {
        // A word that varies counts as 0 here, and so do its σ: what remains is the fixed part.
        let mut part = [0_u64; 80];
        let (words, _) = inner.as_chunks::<8>();
        for (part, word) in part[1..9].iter_mut().zip(words) {
            *part = u64::from_be_bytes(*word);
        }
        part[9] = 1 << 63;
        part[15] = 8 * (8 + 64);
        for i in 16..80 {
            let fixed = |i: usize| if VARIES[i] { 0 } else { part[i] };
            let sum = [scalar::sigma1(fixed(i - 2)), fixed(i - 7), scalar::sigma0(fixed(i - 15)), fixed(i - 16)];
            part[i] = sum.into_iter().fold(0, u64::wrapping_add);
        }
        let round = std::array::from_fn(|i| if VARIES[i] { K[i] } else { K[i].wrapping_add(part[i]) });
        Self { round, part: std::array::from_fn(|i| part[i]) }
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").finish_non_exhaustive()
    }
}

#[inline(always)]
fn search<S: Simd>(simd: S, block: &Block, target: Target, start: Nonce, batches: u32) -> Option<Nonce> {
    let width = S::u64s::LEN as u64;
    let target = S::u64s::splat(simd, target.0);
    let mut nonces = S::u64s::from_fn(simd, |lane| lane as u64) + start.0;
    for step in 0..u64::from(batches) * (BATCH / width) {
        let below = values(simd, block, nonces).simd_lt(target).to_bitmask();
        if below != 0 {
            return Some(start.plus(step * width + u64::from(below.trailing_zeros())));
        }
        nonces += width;
    }
    None
}

/// Repeats a block with `$i` as a constant, so that its tests on `$i` are decided by the compiler.
macro_rules! unrolled {
    ($i:ident in [$($n:literal)*] $body:block) => { $({ const $i: usize = $n; $body })* };
}

/// The first word of the digest of each nonce.
#[inline(always)]
fn values<S: Simd>(simd: S, block: &Block, nonces: S::u64s) -> S::u64s {
    // The words of the schedule, sixteen at a time; those that do not vary are never read.
    let mut w = [nonces; 16];
    let mut state = INITIAL.map(|word| S::u64s::splat(simd, word));
    unrolled!(I in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
        let word = if VARIES[I] { w[I] + block.round[I] } else { S::u64s::splat(simd, block.round[I]) };
        round::<S, I>(&mut state, word);
    });
    unrolled!(I in [16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47
                    48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79] {
        let word = if VARIES[I] {
            w[I % 16] = schedule::<S, I>(simd, block, &w);
            w[I % 16] + block.round[I]
        } else {
            S::u64s::splat(simd, block.round[I])
        };
        round::<S, I>(&mut state, word);
    });
    state[0] + INITIAL[0]
}

/// Word `I` of the schedule: σ1(W[I−2]) + W[I−7] + σ0(W[I−15]) + W[I−16].
#[inline(always)]
fn schedule<S: Simd, const I: usize>(simd: S, block: &Block, w: &[S::u64s; 16]) -> S::u64s {
    let mut sum = S::u64s::splat(simd, if I < FIRST_WITHOUT_PART { block.part[I] } else { 0 });
    if VARIES[I - 16] {
        sum += w[I % 16];
    }
    if VARIES[I - 15] {
        let x = w[(I - 15) % 16];
        sum += rotated::<S, 1>(x) ^ rotated::<S, 8>(x) ^ (x >> 7);
    }
    if VARIES[I - 7] {
        sum += w[(I - 7) % 16];
    }
    if VARIES[I - 2] {
        let x = w[(I - 2) % 16];
        sum += rotated::<S, 19>(x) ^ rotated::<S, 61>(x) ^ (x >> 6);
    }
    sum
}

/// Round `I`. Instead of moving all eight words on by one place, their names move.
#[inline(always)]
fn round<S: Simd, const I: usize>(state: &mut [S::u64s; 8], word: S::u64s) {
    let [a, b, c, d, e, f, g, h] = std::array::from_fn(|place| (place + 80 - I) % 8);
    let x = state[e];
    let sum1 = rotated::<S, 14>(x) ^ rotated::<S, 18>(x) ^ rotated::<S, 41>(x);
    let choice = state[g] ^ (x & (state[f] ^ state[g]));
    let t = state[h] + word + sum1 + choice;
    let x = state[a];
    let sum0 = rotated::<S, 28>(x) ^ rotated::<S, 34>(x) ^ rotated::<S, 39>(x);
    let majority = (x & state[b]) ^ (state[c] & (x ^ state[b]));
    state[d] += t;
    state[h] = t + sum0 + majority;
}

#[inline(always)]
fn rotated<S: Simd, const BY: u32>(x: S::u64s) -> S::u64s {
    (x >> BY) | (x << (64 - BY))
}

mod scalar {
    pub(super) const fn sigma0(x: u64) -> u64 {
        x.rotate_right(1) ^ x.rotate_right(8) ^ (x >> 7)
    }

    pub(super) const fn sigma1(x: u64) -> u64 {
        x.rotate_right(19) ^ x.rotate_right(61) ^ (x >> 6)
    }
}

/// The initial hash value (FIPS 180-4, 5.3.5).
const INITIAL: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

/// The round constants (FIPS 180-4, 4.2.3).
const K: [u64; 80] = [
    0x428a_2f98_d728_ae22,
    0x7137_4491_23ef_65cd,
    0xb5c0_fbcf_ec4d_3b2f,
    0xe9b5_dba5_8189_dbbc,
    0x3956_c25b_f348_b538,
    0x59f1_11f1_b605_d019,
    0x923f_82a4_af19_4f9b,
    0xab1c_5ed5_da6d_8118,
    0xd807_aa98_a303_0242,
    0x1283_5b01_4570_6fbe,
    0x2431_85be_4ee4_b28c,
    0x550c_7dc3_d5ff_b4e2,
    0x72be_5d74_f27b_896f,
    0x80de_b1fe_3b16_96b1,
    0x9bdc_06a7_25c7_1235,
    0xc19b_f174_cf69_2694,
    0xe49b_69c1_9ef1_4ad2,
    0xefbe_4786_384f_25e3,
    0x0fc1_9dc6_8b8c_d5b5,
    0x240c_a1cc_77ac_9c65,
    0x2de9_2c6f_592b_0275,
    0x4a74_84aa_6ea6_e483,
    0x5cb0_a9dc_bd41_fbd4,
    0x76f9_88da_8311_53b5,
    0x983e_5152_ee66_dfab,
    0xa831_c66d_2db4_3210,
    0xb003_27c8_98fb_213f,
    0xbf59_7fc7_beef_0ee4,
    0xc6e0_0bf3_3da8_8fc2,
    0xd5a7_9147_930a_a725,
    0x06ca_6351_e003_826f,
    0x1429_2967_0a0e_6e70,
    0x27b7_0a85_46d2_2ffc,
    0x2e1b_2138_5c26_c926,
    0x4d2c_6dfc_5ac4_2aed,
    0x5338_0d13_9d95_b3df,
    0x650a_7354_8baf_63de,
    0x766a_0abb_3c77_b2a8,
    0x81c2_c92e_47ed_aee6,
    0x9272_2c85_1482_353b,
    0xa2bf_e8a1_4cf1_0364,
    0xa81a_664b_bc42_3001,
    0xc24b_8b70_d0f8_9791,
    0xc76c_51a3_0654_be30,
    0xd192_e819_d6ef_5218,
    0xd699_0624_5565_a910,
    0xf40e_3585_5771_202a,
    0x106a_a070_32bb_d1b8,
    0x19a4_c116_b8d2_d0c8,
    0x1e37_6c08_5141_ab53,
    0x2748_774c_df8e_eb99,
    0x34b0_bcb5_e19b_48a8,
    0x391c_0cb3_c5c9_5a63,
    0x4ed8_aa4a_e341_8acb,
    0x5b9c_ca4f_7763_e373,
    0x682e_6ff3_d6b2_b8a3,
    0x748f_82ee_5def_b2fc,
    0x78a5_636f_4317_2f60,
    0x84c8_7814_a1f0_ab72,
    0x8cc7_0208_1a64_39ec,
    0x90be_fffa_2363_1e28,
    0xa450_6ceb_de82_bde9,
    0xbef9_a3f7_b2c6_7915,
    0xc671_78f2_e372_532b,
    0xca27_3ece_ea26_619c,
    0xd186_b8c7_21c0_c207,
    0xeada_7dd6_cde0_eb1e,
    0xf57d_4f7f_ee6e_d178,
    0x06f0_67aa_7217_6fba,
    0x0a63_7dc5_a2c8_98a6,
    0x113f_9804_bef9_0dae,
    0x1b71_0b35_131c_471b,
    0x28db_77f5_2304_7d84,
    0x32ca_ab7b_40c7_2493,
    0x3c9e_be0a_15c9_bebc,
    0x431d_67c4_9c10_0d4c,
    0x4cc5_d4be_cb3e_42b6,
    0x597f_299c_fc65_7e2a,
    0x5fcb_6fab_3ad6_faec,
    0x6c44_198c_4a47_5817,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pow::{trial_of, value};

    #[test]
    fn every_level_finds_the_nonce_that_the_scalar_search_finds() {
        for seed in 0..8_u8 {
            let inner: Inner = std::array::from_fn(|i| seed.wrapping_mul(31).wrapping_add(i as u8).wrapping_mul(167));
            let block = Block::new(&inner);
            // Start where the nonce wraps and where carries cross 32 bits.
            for start in [Nonce(0), Nonce(u64::MAX - 100), Nonce(u64::from(u32::MAX) - 300)] {
                let target = Target(u64::MAX / 500);
                let expected = (0..1000 * BATCH)
                    .map(|step| start.plus(step))
                    .find(|nonce| target.admits(value(&trial_of(nonce.to_bytes(), &inner))));
                for lanes in Lanes::available() {
                    assert_eq!(lanes.first(&block, target, start, 1000), expected, "{lanes:?}");
                }
            }
        }
    }

    #[test]
    fn the_bounds_of_the_target_are_exact() {
        let inner = [0x5a; 64];
        let block = Block::new(&inner);
        for step in 0..24 {
            let nonce = Nonce(u64::MAX - 7).plus(step);
            let value = value(&trial_of(nonce.to_bytes(), &inner));
            for lanes in Lanes::available() {
                assert_eq!(lanes.first(&block, Target(value + 1), nonce, 0), None);
                assert_eq!(lanes.first(&block, Target(value + 1), nonce, 1), Some(nonce));
                assert_ne!(lanes.first(&block, Target(value), nonce, 1), Some(nonce));
            }
        }
    }

    #[test]
    fn the_fixed_words_are_those_the_layout_leaves_fixed() {
        let fixed: Vec<usize> = (0..80).filter(|&i| !VARIES[i]).collect();
        assert_eq!(fixed, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 19, 21]);
        for i in FIRST_WITHOUT_PART..80 {
            assert!([2, 7, 15, 16].iter().all(|back| VARIES[i - back]), "{i}");
        }
    }
}
