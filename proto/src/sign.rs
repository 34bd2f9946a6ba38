//! Ed25519 signatures over domain, chain and canonical bytes (B1).

use std::fmt;

use ed25519_dalek::Signer as _;
use zeroize::ZeroizeOnDrop;

use crate::domain::Domain;
use crate::id::{ChainId, NodeId, PublicKey};

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Wraps 64 bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl From<[u8; 64]> for Signature {
    fn from(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Signature {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}…)", hex::encode(&self.0[..4]))
    }
}

/// `lp(d) ‖ chain_id ‖ b`: what is signed.
fn message(domain: Domain, chain: &ChainId, bytes: &[u8]) -> Vec<u8> {
    let mut message = domain.prefixed();
    message.extend_from_slice(chain.as_ref());
    message.extend_from_slice(bytes);
    message
}

/// An Ed25519 key that can sign. Zeroized when dropped; `Debug` shows the public half only.
#[derive(Clone, ZeroizeOnDrop)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key of a 32-byte seed (RFC 8032).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey::new(self.0.verifying_key().to_bytes())
    }

    /// The public key, where this is a service node's.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId::new(self.0.verifying_key().to_bytes())
    }

    /// The seed, for writing it to a key file; the caller keeps it secret and short-lived.
    #[must_use]
    pub fn seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }

    /// `Sign(d, b)` on `chain`.
    #[must_use]
    pub fn sign(&self, domain: Domain, chain: &ChainId, bytes: &[u8]) -> Signature {
        Signature(self.0.sign(&message(domain, chain, bytes)).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().short())
    }
}

/// Checks signatures. A trait, because a simulator that runs many nodes in one process checks each signature once and
/// answers the rest from a table.
pub trait Verify {
    /// Whether `signature` is `key`'s over `bytes` in `domain` on `chain`.
    fn verify(&self, domain: Domain, chain: &ChainId, bytes: &[u8], key: &PublicKey, signature: &Signature) -> bool;
}

/// The real check: strict Ed25519, which refuses small-order keys and non-canonical encodings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ed25519;

impl Verify for Ed25519 {
    fn verify(&self, domain: Domain, chain: &ChainId, bytes: &[u8], key: &PublicKey, signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        ed25519_dalek::VerifyingKey::from_bytes(key.as_bytes())
            .is_ok_and(|key| key.verify_strict(&message(domain, chain, bytes), &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain;

    #[test]
    fn a_signature_holds_for_its_domain_chain_bytes_and_key_only() {
        let key = SigningKey::from_seed(&[7; 32]);
        let other = SigningKey::from_seed(&[8; 32]);
        let (chain, elsewhere) = (ChainId::new([1; 32]), ChainId::new([2; 32]));
        let signature = key.sign(domain::TX, &chain, b"body");
        let check = |d, c: &ChainId, b: &[u8], k: &SigningKey| Ed25519.verify(d, c, b, &k.public(), &signature);
        assert!(check(domain::TX, &chain, b"body", &key));
        assert!(!check(domain::TX_NODE, &chain, b"body", &key));
        assert!(!check(domain::TX, &elsewhere, b"body", &key));
        assert!(!check(domain::TX, &chain, b"bodY", &key));
        assert!(!check(domain::TX, &chain, b"body", &other));
    }

    #[test]
    fn small_order_keys_are_refused() {
        let identity = PublicKey::new({
            let mut bytes = [0; 32];
            bytes[0] = 1;
            bytes
        });
        let zero = Signature::new({
            let mut bytes = [0; 64];
            bytes[0] = 1;
            bytes
        });
        assert!(!Ed25519.verify(domain::TX, &ChainId::new([1; 32]), b"", &identity, &zero));
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = SigningKey::from_seed(&[7; 32]);
        assert!(!format!("{key:?}").contains(&hex::encode([7; 4])));
    }
}
