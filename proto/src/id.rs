//! Newtypes for everything that is 32 bytes or a number, so that none can be mistaken for another.

use std::fmt;
use std::str::FromStr;

use crate::address::Address;
use crate::domain;
use crate::hash::Hasher;

/// A text that is not the lower- or upper-case hex of the expected number of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hex digits, got {actual:?}")]
pub struct ParseIdError {
    /// How many hex digits the type takes.
    pub expected: usize,
    /// The text given, cut after 80 characters.
    pub actual: String,
}

macro_rules! bytes32 {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps 32 bytes.
            #[must_use]
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first four bytes in hex: enough for people and logs.
            #[must_use]
            pub fn short(&self) -> String {
                hex::encode(&self.0[..4])
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = std::array::TryFromSliceError;

            fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
                Ok(Self(bytes.try_into()?))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes)
                    .map_err(|_| ParseIdError { expected: 64, actual: text.chars().take(80).collect() })?;
                Ok(Self(bytes))
            }
        }
    )*};
}

bytes32! {
    /// Any 32-byte hash that has no type of its own.
    Hash;
    /// A service node: its Ed25519 public key, which is also its libp2p identity.
    NodeId;
    /// An Ed25519 public key that signs on the chain or holds coins there (operator, authority).
    PublicKey;
    /// An X25519 public key.
    X25519Key;
    /// Hash of the genesis; in every protocol name and every signature.
    ChainId;
    /// Hash of a block's header and authority signature.
    BlockHash;
    /// Hash of a transaction's body.
    TxId;
    /// Id of an envelope (B4): covers all but the nonce.
    RecordId;
    /// Item of a reconciliation set (B10): a record's id, or the hash that stands for its tombstone.
    ItemId;
}

impl From<RecordId> for ItemId {
    /// A record is known in the set by its own id.
    fn from(record: RecordId) -> Self {
        Self(record.0)
    }
}

impl ItemId {
    /// The tombstone of `record` at `address`: an item of its own, because a set in which a record and its tombstone
    /// were the same item would look equal with either.
    #[must_use]
    pub fn tombstone(address: &Address, record: &RecordId) -> Self {
        Self(Hasher::new(domain::TOMBSTONE).chain(address.to_bytes()).chain(record).finish().0)
    }
}

impl From<NodeId> for PublicKey {
    fn from(node: NodeId) -> Self {
        Self(node.0)
    }
}

impl From<PublicKey> for NodeId {
    /// A node key is an Ed25519 key; this only renames it.
    fn from(key: PublicKey) -> Self {
        Self(key.0)
    }
}

impl From<Hash> for BlockHash {
    fn from(hash: Hash) -> Self {
        Self(hash.0)
    }
}

impl From<ChainId> for BlockHash {
    /// Block 0 has no header; its hash is the chain id (B7).
    fn from(chain: ChainId) -> Self {
        Self(chain.0)
    }
}

impl X25519Key {
    /// Whether it is a key to agree on secrets with, in its one canonical encoding: u below 2^255 − 19, and not of small
    /// order, where every agreement gives zeros (RFC 7748, section 6.1).
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let below_prime =
            self.0[31] < 0x7f || (self.0[31] == 0x7f && (self.0[1..31] != [0xff; 30] || self.0[0] < 0xed));
        // Eight in four bits: a whole scalar's 255 would take as long as checking a signature.
        let eight_times =
            curve25519_dalek::MontgomeryPoint(self.0).mul_bits_be([true, false, false, false].into_iter());
        below_prime && eight_times.0 != [0; 32]
    }
}

impl ChainId {
    /// The first eight hex digits, as they stand in protocol and topic names.
    #[must_use]
    pub fn protocol_prefix(&self) -> String {
        self.short()
    }
}

/// A block's number; the genesis is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Height(pub u64);

impl Height {
    /// The genesis.
    pub const ZERO: Self = Self(0);

    /// The next height; stays at the largest.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// `self + blocks`, held at the largest height.
    #[must_use]
    pub const fn plus(self, blocks: u64) -> Self {
        Self(self.0.saturating_add(blocks))
    }

    /// `self − blocks`, held at 0.
    #[must_use]
    pub const fn minus(self, blocks: u64) -> Self {
        Self(self.0.saturating_sub(blocks))
    }

    /// Blocks from `earlier` to here; 0 if it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A swarm's place on the ring. 2^64 − 1 is never a swarm: it stands for *none* ([`SwarmId::NONE`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwarmId(pub u64);

impl SwarmId {
    /// What stands in bytes where a node is in no swarm.
    pub const NONE: Self = Self(u64::MAX);
}

impl fmt::Display for SwarmId {
    /// Sixteen hex digits, as in topic names; JavaScript would lose bits of a number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SwarmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SwarmId({self})")
    }
}

impl FromStr for SwarmId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        u64::from_str_radix(digits, 16)
            .ok()
            .filter(|_| digits.len() <= 16)
            .map(Self)
            .ok_or_else(|| ParseIdError { expected: 16, actual: text.chars().take(80).collect() })
    }
}

/// An amount of money in the smallest unit; 10^9 of them are one coin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub u64);

impl Amount {
    /// Smallest units in a coin.
    pub const COIN: u64 = 1_000_000_000;

    /// Whole coins.
    #[must_use]
    pub const fn coins(coins: u64) -> Self {
        Self(coins.saturating_mul(Self::COIN))
    }

    /// The sum, or `None` where it does not fit.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, or `None` if `other` is more.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }
}

impl fmt::Display for Amount {
    /// Coins with up to nine decimals and no trailing zeros: `12.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / Self::COIN, self.0 % Self::COIN);
        if part == 0 {
            return whole.fmt(f);
        }
        let digits = format!("{part:09}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl FromStr for Amount {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseAmountError(text.chars().take(80).collect());
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        if part.len() > 9 || !part.bytes().chain(whole.bytes()).all(|c| c.is_ascii_digit()) {
            return Err(error());
        }
        let whole: u64 = whole.parse().map_err(|_| error())?;
        let part: u64 = if part.is_empty() { 0 } else { format!("{part:0<9}").parse().map_err(|_| error())? };
        whole.checked_mul(Self::COIN).and_then(|units| units.checked_add(part)).map(Self).ok_or_else(error)
    }
}

/// A text that is not an amount of coins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an amount of coins such as 100 or 12.5 (at most nine decimals)")]
pub struct ParseAmountError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_round_trip_through_text() {
        for (text, units) in [("0", 0), ("100", 100 * Amount::COIN), ("12.5", 12_500_000_000), ("0.000000001", 1)] {
            let amount: Amount = text.parse().unwrap();
            assert_eq!(amount, Amount(units));
            assert_eq!(amount.to_string(), text);
        }
        for text in ["", ".", "1e9", "-1", "1.0000000001", "18446744074", "1.2.3", "+1"] {
            assert!(text.parse::<Amount>().is_err(), "{text}");
        }
    }

    #[test]
    fn x25519_keys_have_one_encoding_and_no_small_order() {
        let mut nine = [0; 32];
        nine[0] = 9;
        assert!(X25519Key::new(nine).is_usable());
        assert!(X25519Key::new([7; 32]).is_usable());
        nine[31] = 0x80;
        assert!(!X25519Key::new(nine).is_usable(), "the top bit is ignored by X25519");
        let prime_plus = |add: u8| {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (0xed + add, 0x7f);
            X25519Key::new(bytes)
        };
        assert!((0..=18).all(|add| !prime_plus(add).is_usable()));
        let order_eight = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";
        for small in ["00".repeat(32), format!("01{}", "00".repeat(31)), order_eight.to_owned()] {
            assert!(!small.parse::<X25519Key>().unwrap().is_usable(), "{small}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn eight_in_four_bits_is_the_scalar_eight(bytes in proptest::prelude::any::<[u8; 32]>()) {
            use curve25519_dalek::{MontgomeryPoint, Scalar};
            let point = MontgomeryPoint(bytes);
            let short = point.mul_bits_be([true, false, false, false].into_iter());
            proptest::prop_assert_eq!(short, point * Scalar::from(8_u8));
        }
    }

    #[test]
    fn ids_refuse_text_of_another_length() {
        assert!("00".parse::<NodeId>().is_err());
        assert!("3fffffffffffffff".parse::<SwarmId>().is_ok());
        assert!("0x3fffffffffffffff".parse::<SwarmId>().is_ok());
        assert!("13fffffffffffffff".parse::<SwarmId>().is_err());
    }
}
