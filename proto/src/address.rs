//! Where mail is kept: 33 bytes, a kind and a key or hash (B2).
//!
//! The kind alone says who may store, read and delete; the key says whose swarm keeps the mail.

use std::fmt;
use std::str::FromStr;

use curve25519_dalek::edwards::CompressedEdwardsY;

use crate::codec::{DecodeError, Reader};
use crate::id::{PublicKey, X25519Key};
use crate::limits::{PUBLIC_RECORDS_PER_ADDRESS, PUBLIC_TTL_MAX_SECONDS, TTL_SECONDS};

/// What an address is, its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum AddressKind {
    /// One epoch of a closed group; the key is the Ed25519 key its members share.
    GroupEpoch = 0x03,
    /// The inbox of an account; the key is X25519, converted from the account's Ed25519 key.
    AccountInbox = 0x05,
    /// A mailbox that only its correspondents can link to an account; the key is Ed25519.
    Mailbox = 0x06,
    /// A short-lived record that anybody who knows the hash can read.
    PublicRecord = 0x07,
}

/// Who may do something at an address. Proof of work is asked for every store, whatever stands here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Anyone,
    /// Whoever signs with the key of the address ([`Address::is_signed_by`]).
    KeyHolder,
    /// Nobody: the record goes when it expires.
    Nobody,
}

impl AddressKind {
    /// The kind that a first byte stands for; `None` for all others.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x03 => Some(Self::GroupEpoch),
            0x05 => Some(Self::AccountInbox),
            0x06 => Some(Self::Mailbox),
            0x07 => Some(Self::PublicRecord),
            _ => None,
        }
    }

    /// The first byte of an address of this kind.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// Who may store. A closed group's epoch takes a write signature beside the work.
    #[must_use]
    pub const fn store(self) -> Access {
        match self {
            Self::GroupEpoch => Access::KeyHolder,
            Self::AccountInbox | Self::Mailbox | Self::PublicRecord => Access::Anyone,
        }
    }

    /// Who may retrieve and subscribe.
    #[must_use]
    pub const fn read(self) -> Access {
        match self {
            Self::GroupEpoch | Self::AccountInbox | Self::Mailbox => Access::KeyHolder,
            Self::PublicRecord => Access::Anyone,
        }
    }

    /// Who may delete.
    #[must_use]
    pub const fn delete(self) -> Access {
        match self {
            Self::AccountInbox | Self::Mailbox => Access::KeyHolder,
            Self::GroupEpoch | Self::PublicRecord => Access::Nobody,
        }
    }

    /// The longest a record may be kept there, in seconds.
    #[must_use]
    pub const fn ttl_max_seconds(self) -> u32 {
        match self {
            Self::PublicRecord => PUBLIC_TTL_MAX_SECONDS,
            Self::GroupEpoch | Self::AccountInbox | Self::Mailbox => *TTL_SECONDS.end(),
        }
    }

    /// How many live records an address may have; `None` where only bytes are counted.
    #[must_use]
    pub const fn live_records_max(self) -> Option<usize> {
        match self {
            Self::PublicRecord => Some(PUBLIC_RECORDS_PER_ADDRESS),
            Self::GroupEpoch | Self::AccountInbox | Self::Mailbox => None,
        }
    }

    /// Whether a signature must come with its Ed25519 key, because the address holds only the converted one.
    #[must_use]
    pub const fn signature_brings_key(self) -> bool {
        matches!(self, Self::AccountInbox)
    }
}

/// A place on the ring of swarms. All 2^64 values are possible.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({self})")
    }
}

/// A kind and 32 bytes. Two texts or encodings of one address do not exist, so comparing is comparing identities.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    kind: AddressKind,
    key: [u8; 32],
}

impl Address {
    /// Bytes of an encoded address.
    pub const LEN: usize = 33;

    /// An address of any kind; `key` is what that kind says it is.
    #[must_use]
    pub const fn new(kind: AddressKind, key: [u8; 32]) -> Self {
        Self { kind, key }
    }

    /// The inbox of the account with this converted key.
    #[must_use]
    pub const fn account(key: &X25519Key) -> Self {
        Self::new(AddressKind::AccountInbox, *key.as_bytes())
    }

    /// The mailbox of this Ed25519 key.
    #[must_use]
    pub const fn mailbox(key: &PublicKey) -> Self {
        Self::new(AddressKind::Mailbox, *key.as_bytes())
    }

    /// The epoch of a closed group that shares this Ed25519 key.
    #[must_use]
    pub const fn group_epoch(key: &PublicKey) -> Self {
        Self::new(AddressKind::GroupEpoch, *key.as_bytes())
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> AddressKind {
        self.kind
    }

    /// The 32 bytes behind the kind.
    #[must_use]
    pub const fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// `kind ‖ key`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [self.kind.byte(); Self::LEN];
        bytes[1..].copy_from_slice(&self.key);
        bytes
    }

    /// Reads `kind ‖ key`.
    ///
    /// # Errors
    /// [`DecodeError`] if the kind is unknown or bytes are missing.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = AddressKind::from_byte(reader.u8()?).ok_or(DecodeError::Value("address kind"))?;
        Ok(Self { kind, key: reader.array()? })
    }

    /// Where on the ring it lies: the XOR of the four `u64` of its key (paper, 3.3).
    #[must_use]
    pub fn position(&self) -> Position {
        let (words, _) = self.key.as_chunks::<8>();
        Position(words.iter().fold(0, |position, word| position ^ u64::from_be_bytes(*word)))
    }

    /// Whether `key` is the Ed25519 key that signs for this address.
    ///
    /// An account's two keys (they differ in the sign bit) both sign for it; the identity is the address, and nothing
    /// may be keyed by or compared by the Ed25519 key that came with a signature. The signature itself still has to be
    /// checked, under `key`.
    #[must_use]
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        match self.kind {
            AddressKind::AccountInbox => x25519_of(key).is_some_and(|converted| *converted.as_bytes() == self.key),
            AddressKind::Mailbox | AddressKind::GroupEpoch => *key.as_bytes() == self.key,
            AddressKind::PublicRecord => false,
        }
    }

    /// Kind and the first four bytes of the key: enough for people and logs.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{:02x}{}", self.kind.byte(), hex::encode(&self.key[..4]))
    }
}

/// The X25519 key of an Ed25519 key: u = (1 + y) / (1 − y), the same for both signs of x (RFC 7748, 4.1).
///
/// `None` for bytes that are not a point, not its canonical encoding (RFC 8032, 5.1.3), or a point of small order: a
/// key like that must not sign for anything.
#[must_use]
pub fn x25519_of(key: &PublicKey) -> Option<X25519Key> {
    let encoded = CompressedEdwardsY(*key.as_bytes());
    let point = encoded.decompress()?;
    let sound = point.compress() == encoded && !point.is_small_order();
    sound.then(|| X25519Key::new(point.to_montgomery().to_bytes()))
}

/// Why bytes or a text are no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseAddressError {
    /// Not 33 bytes, or 66 digits.
    #[error("an address has {expected} {unit}, not {actual}")]
    Length {
        /// What was counted: bytes or digits.
        unit: &'static str,
        /// How many there must be.
        expected: usize,
        /// How many there are.
        actual: usize,
    },
    /// A character that is no lower-case hex digit.
    #[error("an address has lower-case hex digits only; character {position} is {found:?}")]
    Digit {
        /// Which character, from 1.
        position: usize,
        /// The character.
        found: char,
    },
    /// The first byte is none of the four kinds.
    #[error("no address begins with {0:02x}; known are 03, 05, 06 and 07")]
    Kind(u8),
}

impl TryFrom<&[u8]> for Address {
    type Error = ParseAddressError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        let length = ParseAddressError::Length { unit: "bytes", expected: Self::LEN, actual: bytes.len() };
        let (&kind, key) = bytes.split_first().ok_or_else(|| length.clone())?;
        let key = key.try_into().map_err(|_| length)?;
        Ok(Self { kind: AddressKind::from_byte(kind).ok_or(ParseAddressError::Kind(kind))?, key })
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; Self::LEN];
        if let Some((index, found)) = text.chars().enumerate().find(|(_, c)| !matches!(c, '0'..='9' | 'a'..='f')) {
            return Err(ParseAddressError::Digit { position: index + 1, found });
        }
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseAddressError::Length {
            unit: "hex digits",
            expected: 2 * Self::LEN,
            actual: text.len(),
        })?;
        Self::try_from(bytes.as_slice())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.to_bytes()))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({}…)", self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "05d2ad010eeb72d72e561d9de7bd7b6989af77dcabffa03a5111a6c859ae5c3a72";
    const SIGNER: &str = "4cb76fdc6d32278e3f83dbf608360ecc6b65727934b85d2fb86862ff98c46ab7";

    fn with_sign_flipped(key: &PublicKey) -> PublicKey {
        let mut bytes = *key.as_bytes();
        bytes[31] ^= 0x80;
        PublicKey::new(bytes)
    }

    #[test]
    fn the_text_form_is_66_lower_case_hex_digits_and_nothing_else() {
        let address: Address = ACCOUNT.parse().unwrap();
        assert_eq!(address.to_string(), ACCOUNT);
        assert_eq!(address.kind(), AddressKind::AccountInbox);
        assert_eq!(Address::try_from(address.to_bytes().as_slice()), Ok(address));
        assert_eq!(format!("{address:?}"), "Address(05d2ad010e…)");

        let error = |text: &str| text.parse::<Address>().unwrap_err().to_string();
        assert_eq!(error(&ACCOUNT[..65]), "an address has 66 hex digits, not 65");
        assert_eq!(error(&ACCOUNT[..64]), "an address has 66 hex digits, not 64");
        assert_eq!(error(""), "an address has 66 hex digits, not 0");
        assert_eq!(error(&ACCOUNT.to_uppercase()), "an address has lower-case hex digits only; character 3 is 'D'");
        assert_eq!(error(&format!(" {ACCOUNT}")), "an address has lower-case hex digits only; character 1 is ' '");
        assert_eq!(error(&ACCOUNT.replacen("05", "04", 1)), "no address begins with 04; known are 03, 05, 06 and 07");
    }

    #[test]
    fn unknown_kinds_are_refused_in_bytes() {
        for byte in 0..=u8::MAX {
            let bytes = [byte; Address::LEN];
            let known = [0x03, 0x05, 0x06, 0x07].contains(&byte);
            assert_eq!(Address::try_from(bytes.as_slice()).is_ok(), known, "{byte:02x}");
            let read = Address::read(&mut Reader::new(&bytes));
            assert_eq!(
                read.map(|address| address.to_bytes()),
                known.then_some(bytes).ok_or(DecodeError::Value("address kind"))
            );
        }
        assert_eq!(Address::read(&mut Reader::new(&[5; 32])), Err(DecodeError::Truncated { missing: 1 }));
    }

    #[test]
    fn the_position_is_the_xor_of_the_key_and_ignores_the_kind() {
        let address: Address = ACCOUNT.parse().unwrap();
        assert_eq!(address.position(), Position(4_206_793_176_619_794_052));
        assert_eq!(Address::new(AddressKind::Mailbox, *address.key()).position(), address.position());
        assert_eq!(Address::new(AddressKind::Mailbox, [0xab; 32]).position(), Position(0));
    }

    #[test]
    fn every_kind_says_who_may_store_read_and_delete() {
        use Access::{Anyone, KeyHolder, Nobody};
        let rules = |kind: AddressKind| (kind.store(), kind.read(), kind.delete());
        assert_eq!(rules(AddressKind::AccountInbox), (Anyone, KeyHolder, KeyHolder));
        assert_eq!(rules(AddressKind::Mailbox), (Anyone, KeyHolder, KeyHolder));
        assert_eq!(rules(AddressKind::GroupEpoch), (KeyHolder, KeyHolder, Nobody));
        assert_eq!(rules(AddressKind::PublicRecord), (Anyone, Anyone, Nobody));
        assert!(AddressKind::AccountInbox.signature_brings_key());
        assert!(!AddressKind::Mailbox.signature_brings_key());

        let bounds = |kind: AddressKind| (kind.ttl_max_seconds(), kind.live_records_max());
        assert_eq!(bounds(AddressKind::PublicRecord), (600, Some(8)));
        assert_eq!(bounds(AddressKind::AccountInbox), (345_600, None));
    }

    #[test]
    fn both_signs_of_an_ed25519_key_sign_for_the_account_and_no_other_key_does() {
        let account: Address = ACCOUNT.parse().unwrap();
        let signer: PublicKey = SIGNER.parse().unwrap();
        assert!(account.is_signed_by(&signer));
        assert!(account.is_signed_by(&with_sign_flipped(&signer)));
        assert!(!account.is_signed_by(&PublicKey::new(*account.key())));

        let mailbox = Address::mailbox(&signer);
        assert!(mailbox.is_signed_by(&signer));
        assert!(!mailbox.is_signed_by(&with_sign_flipped(&signer)));
        assert!(Address::group_epoch(&signer).is_signed_by(&signer));
        assert!(!Address::new(AddressKind::PublicRecord, *signer.as_bytes()).is_signed_by(&signer));
    }

    #[test]
    fn non_canonical_and_small_order_keys_have_no_x25519_key() {
        // The eight points of small order, as RFC 8032 encodes them.
        let small = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        ];
        // y + p where that still fits 255 bits, and x = 0 with the sign bit set.
        let not_canonical = [
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0100000000000000000000000000000000000000000000000000000000000080",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            // y = p + 3: a point of large order, encoded with y not reduced.
            "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ];
        for key in small.into_iter().chain(not_canonical) {
            assert_eq!(x25519_of(&key.parse().unwrap()), None, "{key}");
        }
        // The same point as the last one above, reduced: it has one, so only its encoding was refused.
        let reduced = "0300000000000000000000000000000000000000000000000000000000000000";
        assert!(x25519_of(&reduced.parse().unwrap()).is_some());
        // y = 2 is on no point at all.
        let off_curve = "0200000000000000000000000000000000000000000000000000000000000000";
        assert_eq!(x25519_of(&off_curve.parse().unwrap()), None);
    }
}
