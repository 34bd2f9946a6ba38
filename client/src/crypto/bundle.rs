//! Bundles: what a device can be written to by (B12).
//!
//! ```text
//! account 33 ‖ device u8 ‖ mailbox 33 ‖ epoch u32 ‖ created u64 s ‖ expires u64 s ‖ signed prekey 32
//!     ‖ u8 8 ‖ one-time key 32 × 8                                                                 376 bytes
//! signed:  bundle ‖ Ed25519 key 32 ‖ signature 64, over lp("sotto/v1/prekeys") ‖ chain id ‖ bundle
//! ```
//!
//! A bundle is made for one account, whose device j takes key j. It may be answered for fourteen days; its secrets are
//! kept four days longer, as long as an answer may lie in a swarm.

use std::fmt;

use rand_core::CryptoRng;
use sotto_behaviours::noise::Secret;
use sotto_proto::address::{Address, AddressKind};
use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::domain;
use sotto_proto::id::{ChainId, PublicKey, X25519Key};
use sotto_proto::limits::{BUNDLE_SECONDS, DEVICES_MAX, SIGNED_BUNDLE_BYTES};
use sotto_proto::sign::{Ed25519, Signature, SigningKey, Verify as _};
use sotto_proto::time::UnixSeconds;
use zeroize::Zeroizing;

/// Why bytes are no bundle to begin a session by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Not the bytes of one.
    #[error("malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// A key of small order, or not in its one encoding.
    #[error("one of its keys is none")]
    Key,
    /// The signature is not the account's.
    #[error("its signature does not hold")]
    Signature,
    /// It is somebody else's, or one of two of a device.
    #[error("it is another account's or device's")]
    Account,
}

/// A device's keys for somebody who may write to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Bundle {
    account: Address,
    device: u8,
    mailbox: Address,
    epoch: u32,
    created: UnixSeconds,
    prekey: X25519Key,
    one_time: [X25519Key; DEVICES_MAX],
}

impl Bundle {
    /// Bytes of a bundle.
    pub const LEN: usize = Address::LEN + 1 + Address::LEN + 4 + 8 + 8 + 32 + 1 + 32 * DEVICES_MAX;
    /// Bytes of a signed one.
    pub const SIGNED_LEN: usize = SIGNED_BUNDLE_BYTES;

    /// A new bundle of a device whose mailbox and signed prekey these are, and its one-time secrets.
    #[must_use]
    pub fn create(
        (account, device): (Address, u8),
        mailbox: Address,
        epoch: u32,
        created: UnixSeconds,
        prekey: X25519Key,
        rng: &mut dyn CryptoRng,
    ) -> (Self, BundleSecrets) {
        let secrets: [Secret; DEVICES_MAX] = std::array::from_fn(|_| Secret::generate(rng));
        let one_time = secrets.each_ref().map(Secret::public);
        let bundle = Self { account, device, mailbox, epoch, created, prekey, one_time };
        (bundle, BundleSecrets(secrets.map(Some)))
    }

    /// Whose it is.
    #[must_use]
    pub const fn account(&self) -> Address {
        self.account
    }

    /// Which device of the account.
    #[must_use]
    pub const fn device(&self) -> u8 {
        self.device
    }

    /// Where the device reads.
    #[must_use]
    pub const fn mailbox(&self) -> Address {
        self.mailbox
    }

    /// Its number among the account's.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Until when it may be answered.
    #[must_use]
    pub const fn expires(&self) -> UnixSeconds {
        UnixSeconds(self.created.0.saturating_add(BUNDLE_SECONDS))
    }

    /// The signed prekey, to which the mailbox's mail is sealed as well.
    #[must_use]
    pub const fn prekey(&self) -> &X25519Key {
        &self.prekey
    }

    /// The key for the other side's device.
    #[must_use]
    pub fn one_time_key(&self, device: u8) -> Option<&X25519Key> {
        self.one_time.get(usize::from(device))
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::SIGNED_LEN);
        bytes.extend_from_slice(&self.account.to_bytes());
        bytes.push(self.device);
        bytes.extend_from_slice(&self.mailbox.to_bytes());
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.created.0.to_be_bytes());
        bytes.extend_from_slice(&self.expires().0.to_be_bytes());
        bytes.extend_from_slice(self.prekey.as_bytes());
        bytes.push(SLOTS);
        self.one_time.iter().for_each(|key| bytes.extend_from_slice(key.as_bytes()));
        bytes
    }

    /// The signed form.
    #[must_use]
    pub fn sign(&self, key: &SigningKey, chain: &ChainId) -> Vec<u8> {
        let mut bytes = self.to_bytes();
        let signature = key.sign(domain::PREKEYS, chain, &bytes);
        bytes.extend_from_slice(key.public().as_bytes());
        bytes.extend_from_slice(signature.as_bytes());
        bytes
    }

    /// Reads the signed form, and holds the account to it.
    ///
    /// # Errors
    /// [`BundleError`]
    pub fn verify(signed: &[u8], chain: &ChainId) -> Result<Self, BundleError> {
        let mut reader = Reader::new(signed);
        let bundle = Self::read(&mut reader)?;
        let (key, signature): (PublicKey, Signature) = (reader.id()?, reader.id()?);
        reader.finish()?;
        let keys = [&bundle.prekey].into_iter().chain(&bundle.one_time);
        let identity = X25519Key::new(*bundle.account.key());
        if !identity.is_usable() || !keys.into_iter().all(X25519Key::is_usable) {
            return Err(BundleError::Key);
        }
        let holds = bundle.account.is_signed_by(&key)
            && Ed25519.verify(domain::PREKEYS, chain, &bundle.to_bytes(), &key, &signature);
        if holds { Ok(bundle) } else { Err(BundleError::Signature) }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (account, device) = (Address::read(reader)?, reader.u8()?);
        let (mailbox, epoch) = (Address::read(reader)?, reader.u32()?);
        let (created, expires) = (UnixSeconds(reader.u64()?), UnixSeconds(reader.u64()?));
        let (prekey, slots) = (reader.id()?, reader.u8()?);
        let mut one_time = [X25519Key::new([0; 32]); DEVICES_MAX];
        if slots != SLOTS {
            return Err(DecodeError::Value("count of one-time keys"));
        }
        for key in &mut one_time {
            *key = reader.id()?;
        }
        let bundle = Self { account, device, mailbox, epoch, created, prekey, one_time };
        if account.kind() != AddressKind::AccountInbox || mailbox.kind() != AddressKind::Mailbox {
            return Err(DecodeError::Value("address of a bundle"));
        }
        if device >= SLOTS {
            return Err(DecodeError::Value("device"));
        }
        if created.0.checked_add(BUNDLE_SECONDS) != Some(expires.0) {
            return Err(DecodeError::Value("expiry of a bundle"));
        }
        Ok(bundle)
    }
}

/// Slots of a bundle, as it counts them.
#[expect(clippy::cast_possible_truncation, reason = "eight")]
const SLOTS: u8 = DEVICES_MAX as u8;

const _: () = assert!(Bundle::LEN + 32 + 64 == SIGNED_BUNDLE_BYTES);

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bundle({}, device {}, epoch {})", self.account.short(), self.device, self.epoch)
    }
}

/// The secrets of a bundle's one-time keys that have not served yet.
pub struct BundleSecrets([Option<Secret>; DEVICES_MAX]);

impl BundleSecrets {
    /// Takes the secret of a slot out; there is none a second time.
    pub fn take(&mut self, slot: u8) -> Option<Secret> {
        self.0.get_mut(usize::from(slot)).and_then(Option::take)
    }

    /// For the store: one byte for each slot, 1 and the secret or 0.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(33 * DEVICES_MAX));
        for secret in &self.0 {
            bytes.push(u8::from(secret.is_some()));
            bytes.extend_from_slice(secret.as_ref().map_or(&[], |secret| secret.expose().as_slice()));
        }
        bytes
    }

    /// Reads what was stored.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not exactly that.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut secrets = Self([const { None }; DEVICES_MAX]);
        for secret in &mut secrets.0 {
            *secret = match reader.u8()? {
                0 => None,
                1 => Some(Secret::take(&mut Zeroizing::new(reader.array()?))),
                _ => return Err(DecodeError::Value("slot")),
            };
        }
        reader.finish()?;
        Ok(secrets)
    }
}

impl fmt::Debug for BundleSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BundleSecrets({} of {DEVICES_MAX} left)", self.0.iter().flatten().count())
    }
}

#[cfg(test)]
mod tests;
