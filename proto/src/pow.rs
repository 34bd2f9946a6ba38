//! Proof of work: what a store costs the sender, and a node almost nothing to check (B4).
//!
//! ```text
//! P      = ttl u32 ‖ timestamp u64 ‖ address 33 ‖ block_hash(anchor) 32 ‖ data n       L = len(P) + 8
//! inner  = SHA-512(P)                                                                  once per envelope
//! trial  = SHA-512( nonce u64 ‖ inner )                                                once per attempt
//! valid  ⇔ the first eight bytes of trial < target(L, ttl, D)
//! ```
//!
//! P covers the hash of a recent block, the *anchor*, so that work cannot be stored up and released in one burst. The
//! anchor is the same for all clients in a period, so it tells nobody apart. A trial is 72 bytes, one compression of
//! SHA-512, and does not get dearer with the envelope; what does is the target.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`target`](mod@target) | how hard a trial must be hit |
//! | [`lanes`] | several trials at a time, with the widest registers of this processor |
//! | [`prove`](mod@prove) | the search, on all cores |

pub mod lanes;
pub mod prove;
pub mod target;

use std::fmt;

use sha2::{Digest as _, Sha512};

use crate::envelope::{Envelope, Record, Ttl};
use crate::id::{BlockHash, Height};
use crate::limits::ANCHOR_PERIODS;

pub use self::lanes::Lanes;
pub use self::prove::{ProveError, Search};
pub use self::target::{Difficulty, Target, target};

/// The number that makes a trial come out low.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub u64);

impl Nonce {
    /// As it is hashed and sent.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// As it is hashed and sent.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    /// The nonce `steps` further; after the largest comes 0.
    #[must_use]
    pub const fn plus(self, steps: u64) -> Self {
        Self(self.0.wrapping_add(steps))
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// SHA-512 of what the work covers.
type Inner = [u8; 64];

/// `SHA-512( nonce ‖ SHA-512(payload) )`, in full. [`Work`] does the inner hash once; this is for a single check.
#[must_use]
pub fn trial(nonce: [u8; 8], payload: &[u8]) -> [u8; 64] {
    trial_of(nonce, &Sha512::digest(payload).into())
}

/// What a trial is compared by: the first eight bytes, as a number.
#[must_use]
pub const fn value(trial: &[u8; 64]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *trial;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn trial_of(nonce: [u8; 8], inner: &Inner) -> [u8; 64] {
    Sha512::new().chain_update(nonce).chain_update(inner).finalize().into()
}

/// An envelope as its work sees it: hashed once, then good for any number of nonces and difficulties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    inner: Inner,
    /// L: what the work covers and the nonce, in bytes.
    total_len: usize,
    ttl: Ttl,
}

impl Work {
    /// What has to be proved for `envelope`; `anchor` is the hash of the block at its anchor height.
    #[must_use]
    pub fn new(envelope: &Envelope, anchor: &BlockHash) -> Self {
        let mut covered = Sha512::new();
        let mut covered_len = 0;
        for part in [
            envelope.ttl().seconds().to_be_bytes().as_slice(),
            &envelope.timestamp().0.to_be_bytes(),
            &envelope.address().to_bytes(),
            anchor.as_ref(),
            envelope.data(),
        ] {
            covered.update(part);
            covered_len += part.len();
        }
        Self { inner: covered.finalize().into(), total_len: covered_len + size_of::<Nonce>(), ttl: envelope.ttl() }
    }

    /// SHA-512 of what is covered, which trials go on from.
    #[must_use]
    pub const fn inner(&self) -> &[u8; 64] {
        &self.inner
    }

    /// What a trial has to stay below at `difficulty`.
    #[must_use]
    pub fn target(&self, difficulty: Difficulty) -> Target {
        target(self.total_len, self.ttl.seconds(), difficulty)
    }

    /// What the trial with `nonce` comes to.
    #[must_use]
    pub fn value(&self, nonce: Nonce) -> u64 {
        value(&trial_of(nonce.to_bytes(), &self.inner))
    }

    /// Whether `nonce` proves the work at `difficulty`.
    #[must_use]
    pub fn verify(&self, nonce: Nonce, difficulty: Difficulty) -> bool {
        self.target(difficulty).admits(self.value(nonce))
    }
}

/// Whether a record carries the work that `difficulty` asks for; `anchor` is the hash of the block at its anchor.
#[must_use]
pub fn verify(record: &Record, anchor: &BlockHash, difficulty: Difficulty) -> bool {
    Work::new(record.envelope(), anchor).verify(record.nonce(), difficulty)
}

/// The height that clients anchor work at when `last_final` is the last final block: the last multiple of `period`.
///
/// All clients take the same for a whole period, so it sets none apart. `period` is A of the genesis; 0 counts as 1.
#[must_use]
pub const fn anchor(last_final: Height, period: u64) -> Height {
    let period = if period == 0 { 1 } else { period };
    Height(last_final.0 - last_final.0 % period)
}

/// Whether a node takes work at this anchor: a multiple of `period`, and of its own period, one of the two before it,
/// or later.
///
/// Later ones pass, since the node may lag behind the sender; whether such a block is on its chain is for the node to
/// look up. Counted in blocks, so a chain that stands still does not lock everybody out.
#[must_use]
pub const fn anchor_is_recent(height: Height, last_final: Height, period: u64) -> bool {
    let oldest = anchor(last_final, period).minus(period.saturating_mul(ANCHOR_PERIODS - 1));
    anchor(height, period).0 == height.0 && height.0 >= oldest.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_is_good_for_three_periods() {
        let now = Height(4279);
        assert_eq!(anchor(now, 60), Height(4260));
        for (height, expected) in
            [(4260, true), (4200, true), (4140, true), (4080, false), (4259, false), (4320, true), (4321, false)]
        {
            assert_eq!(anchor_is_recent(Height(height), now, 60), expected, "{height}");
        }
        assert!(anchor_is_recent(Height(0), Height(3), 60));
        assert_eq!(anchor(Height(7), 0), Height(7));
    }
}
