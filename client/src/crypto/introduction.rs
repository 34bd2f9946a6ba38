//! Introduction sets: where an account listens, for everybody who knows its id (M1).
//!
//! ```text
//! set      account 33 ‖ issued u64 s ‖ expires u64 s ‖ u8 count (≤ 3) ‖ (node 32 ‖ tag 16)*
//! signed   set ‖ Ed25519 key 32 ‖ signature 64, over lp("sotto/v1/introset") ‖ chain id ‖ set
//! record   at address  07 ‖ H("sotto/v1/introset", account 33 ‖ day u32)
//!          data        nonce 24 ‖ XChaCha20-Poly1305( u16 length ‖ signed ‖ zeros )      1,664 bytes
//!          key         H("sotto/v1/introset-key", account 33 ‖ day u32)      associated data  chain id ‖ address
//! day      of 86,400 s since 1970
//! ```
//!
//! Nodes see neither account nor signature. Whoever knows the id finds the record, and sees that the account is online: it
//! is public presence, and off unless its owner wants it. The record says nothing of when it was read, or by whom.

use chacha20poly1305::aead::{AeadInOut as _, KeyInit as _};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use rand_core::CryptoRng;
use sotto_proto::address::{Address, AddressKind};
use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::content::ListeningTag;
use sotto_proto::domain::{self, Domain};
use sotto_proto::hash::Hasher;
use sotto_proto::id::{ChainId, NodeId, PublicKey};
use sotto_proto::limits::{ENVELOPE_DATA_SIZES, INTRODUCTION_PLACES, PUBLIC_TTL_MAX_SECONDS};
use sotto_proto::sign::{Ed25519, Signature, SigningKey, Verify as _};
use sotto_proto::time::UnixSeconds;

const NONCE: usize = 24;
const TAG: usize = 16;
const DAY: u64 = 86_400;
/// Bytes of what is encrypted.
const PLAIN: usize = ENVELOPE_DATA_SIZES[0] - NONCE - TAG;
/// How far ahead an issuer's clock may be.
const AHEAD_SECONDS: u64 = 60;

/// Why a record is not somebody's introduction set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntroductionError {
    /// It does not open with what follows from the account's id.
    #[error("it does not open")]
    Sealed,
    /// Not the bytes of one.
    #[error("malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// It is about another account.
    #[error("it is another account's")]
    Account,
    /// The signature is not the account's.
    #[error("its signature does not hold")]
    Signature,
    /// It is over, not yet issued, or for longer than one may be.
    #[error("it is not for now")]
    Time,
}

/// Where an account listens for everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    account: Address,
    issued: UnixSeconds,
    expires: UnixSeconds,
    places: Vec<(NodeId, ListeningTag)>,
}

impl Introduction {
    /// One that is issued now, until then or as long as one may last. Of more places than fit the first ones.
    #[must_use]
    pub fn new(
        account: Address,
        issued: UnixSeconds,
        until: UnixSeconds,
        places: impl IntoIterator<Item = (NodeId, ListeningTag)>,
    ) -> Self {
        let latest = UnixSeconds(issued.0.saturating_add(PUBLIC_TTL_MAX_SECONDS.into()));
        let places = places.into_iter().take(INTRODUCTION_PLACES).collect();
        Self { account, issued, expires: until.min(latest), places }
    }

    /// When it was issued.
    #[must_use]
    pub const fn issued(&self) -> UnixSeconds {
        self.issued
    }

    /// Until when the account is there.
    #[must_use]
    pub const fn expires(&self) -> UnixSeconds {
        self.expires
    }

    /// Nodes and tags.
    #[must_use]
    pub fn places(&self) -> &[(NodeId, ListeningTag)] {
        &self.places
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.account.to_bytes().to_vec();
        bytes.extend_from_slice(&self.issued.0.to_be_bytes());
        bytes.extend_from_slice(&self.expires.0.to_be_bytes());
        bytes.push(self.places.len().try_into().unwrap_or(u8::MAX)); // three at most
        for (node, tag) in &self.places {
            bytes.extend_from_slice(node.as_bytes());
            bytes.extend_from_slice(tag.as_bytes());
        }
        bytes
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let account = Address::read(reader)?;
        let (issued, expires) = (UnixSeconds(reader.u64()?), UnixSeconds(reader.u64()?));
        let count = usize::from(reader.u8()?);
        if count > INTRODUCTION_PLACES {
            return Err(DecodeError::Value("count of places"));
        }
        let places = (0..count).map(|_| Ok((reader.id()?, ListeningTag::new(reader.array()?))));
        let places = places.collect::<Result<_, DecodeError>>()?;
        Ok(Self { account, issued, expires, places })
    }

    /// The data of its record, which goes to [`introduction_address`] of the time at which it was issued.
    #[must_use]
    #[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "the cipher takes 1,624 bytes")]
    pub fn seal(&self, key: &SigningKey, chain: &ChainId, rng: &mut dyn CryptoRng) -> Vec<u8> {
        let set = self.to_bytes();
        let signature = key.sign(domain::INTROSET, chain, &set);
        let signed = [set.as_slice(), key.public().as_bytes(), signature.as_bytes()].concat();
        let mut plain = u16::try_from(signed.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec(); // 290 at most
        plain.extend_from_slice(&signed);
        plain.resize(PLAIN, 0);
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let associated = associated(chain, &introduction_address(&self.account, self.issued));
        let cipher = cipher(&self.account, self.issued);
        let tag = cipher
            .encrypt_inout_detached(&XNonce::from(nonce), &associated, plain.as_mut_slice().into())
            .expect("far below the cipher's limit");
        [nonce.as_slice(), &plain, &tag].concat()
    }

    /// Opens what lies at the account's address of the day of `at`, and holds the account to it.
    ///
    /// # Errors
    /// [`IntroductionError`]
    pub fn open(
        data: &[u8],
        account: &Address,
        chain: &ChainId,
        at: UnixSeconds,
        now: UnixSeconds,
    ) -> Result<Self, IntroductionError> {
        let (nonce, rest) = data.split_first_chunk::<NONCE>().ok_or(IntroductionError::Sealed)?;
        let (sealed, tag) = rest.split_last_chunk::<TAG>().ok_or(IntroductionError::Sealed)?;
        let mut plain = sealed.to_vec();
        let associated = associated(chain, &introduction_address(account, at));
        cipher(account, at)
            .decrypt_inout_detached(&XNonce::from(*nonce), &associated, plain.as_mut_slice().into(), &Tag::from(*tag))
            .map_err(|_| IntroductionError::Sealed)?;
        let mut reader = Reader::new(&plain);
        let length = usize::from(u16::from_be_bytes(reader.array()?));
        let mut signed = Reader::new(reader.bytes(length)?);
        if reader.bytes(reader.remaining())?.iter().any(|byte| *byte != 0) {
            return Err(DecodeError::Value("padding").into());
        }
        let set = Self::read(&mut signed)?;
        let (key, signature): (PublicKey, Signature) = (signed.id()?, signed.id()?);
        signed.finish()?;
        if set.account != *account {
            return Err(IntroductionError::Account);
        }
        let holds =
            account.is_signed_by(&key) && Ed25519.verify(domain::INTROSET, chain, &set.to_bytes(), &key, &signature);
        if !holds {
            return Err(IntroductionError::Signature);
        }
        let longest = set.issued.0.saturating_add(PUBLIC_TTL_MAX_SECONDS.into());
        let is_now = set.issued.0 <= now.0.saturating_add(AHEAD_SECONDS) && now < set.expires;
        if is_now && set.expires.0 <= longest { Ok(set) } else { Err(IntroductionError::Time) }
    }
}

/// Where an account's introduction sets of a day are.
#[must_use]
pub fn introduction_address(account: &Address, at: UnixSeconds) -> Address {
    Address::new(AddressKind::PublicRecord, derived(domain::INTROSET, account, at))
}

fn cipher(account: &Address, at: UnixSeconds) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&derived(domain::INTROSET_KEY, account, at).into())
}

fn derived(domain: Domain, account: &Address, at: UnixSeconds) -> [u8; 32] {
    let day = u32::try_from(at.0 / DAY).unwrap_or(u32::MAX); // in eleven million years
    *Hasher::new(domain).chain(account.to_bytes()).chain(day.to_be_bytes()).finish().as_bytes()
}

fn associated(chain: &ChainId, address: &Address) -> Vec<u8> {
    [chain.as_bytes().as_slice(), &address.to_bytes()].concat()
}

#[cfg(test)]
mod tests;
