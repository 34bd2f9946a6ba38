//! Safety numbers: two people compare sixty digits, or one scans the other's code, and know that nobody stands between.
//!
//! ```text
//! h(0)         = SHA-512( lp("sotto/v1/safety-number") ‖ chain id 32 ‖ version u8 = 1 ‖ account 33 )
//! h(i)         = SHA-512( h(i − 1) 64 ‖ account 33 )                                        i = 1 … 5,200
//! fingerprint  = h(5,200)[0..32]
//! digits       = for each of the first six 5-byte groups of a fingerprint: big-endian value mod 100,000, five digits
//! number       = the digits of both accounts, the smaller first                              60 digits
//! code         = "SOTTO-VERIFY:" ‖ hex in upper case of version u8 ‖ own fingerprint ‖ other's fingerprint
//! ```
//!
//! The shape is that of Signal's numeric fingerprints, version 2: thirty digits of one's own are 99.6 bits, and the
//! iterations add 12 to what it costs to find an account with the same. An account id is its identity key (kind byte
//! and X25519 key), therefore nothing else stands in it. What is compared is public: it need not be kept secret.

use std::fmt;

use sha2::{Digest as _, Sha512};
use sotto_proto::address::Address;
use sotto_proto::domain::SAFETY_NUMBER;
use sotto_proto::id::ChainId;

/// The way of making them. Another one is another number for everybody.
const VERSION: u8 = 1;
/// Hashes beyond the first.
const ITERATIONS: usize = 5_200;
/// Groups of five digits of each side.
const GROUPS: usize = 6;
/// Digits of a number.
const DIGITS: usize = 2 * 5 * GROUPS;
/// Before the code: the small alphabet of QR codes has nothing but upper case.
const PREFIX: &str = "SOTTO-VERIFY:";

/// What one account's half is made of.
type Fingerprint = [u8; 32];

/// The safety number of two accounts, from one side.
#[derive(Clone, PartialEq, Eq)]
pub struct SafetyNumber {
    own: Fingerprint,
    other: Fingerprint,
}

/// What a scanned code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// The other side has the same two accounts.
    Match,
    /// It is the code of this side itself, which proves nothing.
    Own,
    /// The other side has another account there: somebody stands between, or it is somebody else's code.
    Other,
}

/// Why a code cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Not a code of this kind.
    #[error("this is no safety number's code")]
    Form,
    /// Made another way.
    #[error("the code is of version {found}, this side's of {VERSION}: update the older of the two")]
    Version {
        /// The version of the code.
        found: u8,
    },
}

/// What was typed is no safety number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a safety number has {DIGITS} digits; these are {found}")]
pub struct DigitsError {
    /// Digits found, or characters where there are others.
    pub found: usize,
}

impl SafetyNumber {
    /// The number of `own` and `other` on a network.
    #[must_use]
    pub fn new(chain: &ChainId, own: &Address, other: &Address) -> Self {
        Self { own: fingerprint(chain, own), other: fingerprint(chain, other) }
    }

    /// Sixty digits, the same on both sides.
    #[must_use]
    pub fn digits(&self) -> String {
        let mut halves = [digits(&self.own), digits(&self.other)];
        halves.sort();
        halves.concat()
    }

    /// Whether what somebody typed is this number, with spaces anywhere.
    ///
    /// # Errors
    /// [`DigitsError`] when it is not sixty digits.
    pub fn matches(&self, typed: &str) -> Result<bool, DigitsError> {
        let typed: String = typed.chars().filter(|c| !c.is_whitespace()).collect();
        if typed.len() != DIGITS || !typed.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(DigitsError { found: typed.chars().count() });
        }
        Ok(typed == self.digits())
    }

    /// What the other side scans.
    #[must_use]
    pub fn code(&self) -> String {
        let bytes = [&[VERSION][..], &self.own, &self.other].concat();
        format!("{PREFIX}{}", hex::encode_upper(bytes))
    }

    /// Compares with what was scanned from the other side.
    ///
    /// # Errors
    /// [`CodeError`] when it cannot be compared.
    pub fn scan(&self, code: &str) -> Result<Scanned, CodeError> {
        let code = code.trim().to_ascii_uppercase();
        let bytes = code.strip_prefix(PREFIX).and_then(|digits| hex::decode(digits).ok()).ok_or(CodeError::Form)?;
        let Some((version, fingerprints)) = bytes.split_first() else { return Err(CodeError::Form) };
        if *version != VERSION {
            return Err(CodeError::Version { found: *version });
        }
        let (theirs, mine) = fingerprints.split_at_checked(size_of::<Fingerprint>()).ok_or(CodeError::Form)?;
        if mine.len() != size_of::<Fingerprint>() {
            return Err(CodeError::Form);
        }
        // The other side's own account is this side's other.
        Ok(if theirs == self.other && mine == self.own {
            Scanned::Match
        } else if theirs == self.own && mine == self.other {
            Scanned::Own
        } else {
            Scanned::Other
        })
    }
}

/// Twelve groups of five, in two lines.
impl fmt::Display for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, digit) in self.digits().chars().enumerate() {
            match place {
                0 => {}
                place if place == DIGITS / 2 => f.write_str("\n")?,
                place if place % 5 == 0 => f.write_str(" ")?,
                _ => {}
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// It tells who talks with whom.
impl fmt::Debug for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SafetyNumber(of two accounts)")
    }
}

fn fingerprint(chain: &ChainId, account: &Address) -> Fingerprint {
    let account = account.to_bytes();
    let first = [SAFETY_NUMBER.prefixed().as_slice(), chain.as_bytes(), &[VERSION], &account].concat();
    let mut hash: [u8; 64] = Sha512::digest(first).into();
    for _ in 0..ITERATIONS {
        hash = Sha512::new().chain_update(hash).chain_update(account).finalize().into();
    }
    std::array::from_fn(|place| hash.get(place).copied().unwrap_or_default())
}

fn digits(fingerprint: &Fingerprint) -> String {
    let value = |group: &[u8]| group.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    fingerprint.chunks_exact(5).take(GROUPS).map(|group| format!("{:05}", value(group) % 100_000)).collect()
}

#[cfg(test)]
mod tests;
