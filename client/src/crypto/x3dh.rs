//! X3DH, as published by Signal: the agreement that begins a session.
//!
//! ```text
//! initiator                                   responder, by its bundle
//! IK  account key                             IK    account key
//! EK  drawn for this session                  SPK   signed prekey
//!                                             OPK   one-time key of the slot that is the initiator's device
//!
//! DH1 = DH(IK, SPK)   DH2 = DH(EK, IK)   DH3 = DH(EK, SPK)   DH4 = DH(EK, OPK)
//! HKDF-SHA-256( salt zeros(32), ikm 0xFF × 32 ‖ DH1 ‖ DH2 ‖ DH3 ‖ DH4, info lp("sotto/x3dh/1") )
//!     = root key 32 ‖ header key 32 ‖ next header key 32 ‖ session tag 16
//! ```
//!
//! There is always a one-time key: a request is for one account, whose devices have a slot each (H10). DH1 can be computed
//! by either side alone, so each could have made up the whole conversation: it is deniable.

use std::fmt;

use hkdf::Hkdf;
use rand_core::CryptoRng;
use sha2::Sha256;
use sotto_behaviours::noise::{AllZero, Secret};
use sotto_proto::account::Account;
use sotto_proto::address::Address;
use sotto_proto::domain;
use sotto_proto::id::{ChainId, X25519Key};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{Bundle, InitialHeader};

/// Sixteen bytes by which both sides know a session. Nobody else sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionTag([u8; Self::LEN]);

impl SessionTag {
    /// Bytes of a tag.
    pub const LEN: usize = 16;

    /// Wraps sixteen bytes.
    #[must_use]
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl From<[u8; Self::LEN]> for SessionTag {
    fn from(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for SessionTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionTag({})", hex::encode(&self.0[..4]))
    }
}

/// Why there is no agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum X3dhError {
    /// One of the four shared secrets is known to everybody.
    #[error("the key agreement: {0}")]
    AllZero(#[from] AllZero),
    /// The bundle has no key for this device.
    #[error("no one-time key for device {0}")]
    Slot(u8),
}

/// What a session's ratchet begins with.
#[derive(ZeroizeOnDrop)]
pub struct SharedSecrets(Box<[[u8; 32]; 3]>);

impl SharedSecrets {
    /// Root key, header key, next header key.
    pub(super) fn parts(&self) -> [&[u8; 32]; 3] {
        self.0.each_ref()
    }

    #[cfg(test)]
    pub(super) fn of_parts(parts: [[u8; 32]; 3]) -> Self {
        Self(Box::new(parts))
    }
}

impl fmt::Debug for SharedSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecrets(secret)")
    }
}

/// What was agreed on.
#[derive(Debug)]
pub struct Agreed {
    /// For the ratchet.
    pub secrets: SharedSecrets,
    /// The session's name.
    pub tag: SessionTag,
    /// The initiator's ephemeral key.
    pub ephemeral: X25519Key,
}

/// The initiator's side: `device` of `account` begins a session with the device whose bundle it is.
///
/// # Errors
/// [`X3dhError`]
pub fn initiate(account: &Account, bundle: &Bundle, device: u8, rng: &mut dyn CryptoRng) -> Result<Agreed, X3dhError> {
    let identity = Secret::from(account.x25519_secret());
    let one_time = bundle.one_time_key(device).ok_or(X3dhError::Slot(device))?;
    let ephemeral = Secret::generate(rng);
    let their_identity = X25519Key::new(*bundle.account().key());
    let agreements = [
        identity.agree(bundle.prekey())?,
        ephemeral.agree(&their_identity)?,
        ephemeral.agree(bundle.prekey())?,
        ephemeral.agree(one_time)?,
    ];
    Ok(derive(&agreements, ephemeral.public()))
}

/// The responder's side, by the secrets of its bundle.
///
/// # Errors
/// [`X3dhError`]
pub fn respond(
    account: &Account,
    prekey: &Secret,
    one_time: &Secret,
    header: &InitialHeader,
) -> Result<Agreed, X3dhError> {
    let identity = Secret::from(account.x25519_secret());
    let (their_identity, ephemeral) = (header.initiator_key(), header.ephemeral);
    let agreements = [
        prekey.agree(&their_identity)?,
        identity.agree(&ephemeral)?,
        prekey.agree(&ephemeral)?,
        one_time.agree(&ephemeral)?,
    ];
    Ok(derive(&agreements, ephemeral))
}

#[expect(clippy::expect_used, reason = "HKDF-SHA-256 expands to 112 bytes")]
fn derive(agreements: &[Zeroizing<[u8; 32]>; 4], ephemeral: X25519Key) -> Agreed {
    let mut material = Zeroizing::new([0xff; 32 * 5]);
    for (part, agreement) in material.chunks_exact_mut(32).skip(1).zip(agreements) {
        part.copy_from_slice(&**agreement);
    }
    let derive = Hkdf::<Sha256>::new(Some(&[0; 32]), material.as_slice());
    let info = domain::X3DH.prefixed();
    let mut output = Zeroizing::new([0; 3 * 32 + SessionTag::LEN]);
    derive.expand(&info, output.as_mut_slice()).expect("at most 255 hashes");
    let (mut secrets, mut tag) = (SharedSecrets(Box::default()), [0; SessionTag::LEN]);
    let (keys, rest) = output.as_chunks::<32>();
    for (secret, key) in secrets.0.iter_mut().zip(keys) {
        secret.copy_from_slice(key);
    }
    tag.copy_from_slice(rest);
    Agreed { secrets, tag: SessionTag(tag), ephemeral }
}

/// What every message of a session is bound to: who is at its two ends, and which session it is.
#[must_use]
pub fn associated_data(
    chain: &ChainId,
    (initiator, initiator_device): (Address, u8),
    (responder, responder_device): (Address, u8),
    tag: &SessionTag,
) -> Vec<u8> {
    [
        domain::RATCHET.prefixed().as_slice(),
        chain.as_bytes(),
        &initiator.to_bytes(),
        &[initiator_device],
        &responder.to_bytes(),
        &[responder_device],
        tag.as_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests;
