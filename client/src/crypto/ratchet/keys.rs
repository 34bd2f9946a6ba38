//! The key derivations of the ratchet, and sealing under their keys.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use hkdf::Hkdf;
use rand_core::CryptoRng;
use sha2::Sha256;
use sotto_proto::domain;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::header::SEALED_HEADER;

/// Bytes of the tag of AES-GCM.
pub(super) const TAG: usize = 16;
/// Bytes of a nonce.
pub(super) const NONCE: usize = NONCE_LEN;
/// Bytes that sealing a body adds.
pub(super) const BODY_OVERHEAD: usize = NONCE + TAG;

/// Thirty-two secret bytes: a root, chain, header or message key. Zeroized when dropped; on the heap, so that moving it
/// leaves no copies.
#[derive(Clone, ZeroizeOnDrop)]
pub(super) struct Key(Box<[u8; 32]>);

impl Key {
    pub(super) fn new(bytes: &[u8; 32]) -> Self {
        Self(Box::new(*bytes))
    }

    pub(super) const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// A root key's step: the next root key, a chain key, the header key after the next.
    #[expect(clippy::expect_used, reason = "HKDF-SHA-256 expands to 96 bytes")]
    pub(super) fn step(&self, agreement: &[u8; 32]) -> (Self, Self, Self) {
        let mut keys = Zeroizing::new([0; 96]);
        let derive = Hkdf::<Sha256>::new(Some(self.0.as_slice()), agreement);
        derive.expand(&domain::RATCHET_ROOT.prefixed(), keys.as_mut_slice()).expect("at most 255 hashes");
        let (parts, _) = keys.as_chunks::<32>();
        let part = |place: usize| parts.get(place).map_or_else(|| Self::new(&[0; 32]), Self::new);
        (part(0), part(1), part(2))
    }

    /// A chain key's message key, and the next chain key.
    pub(super) fn message_and_next(&self) -> (Self, Self) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice());
        let part = |label: u8| {
            let mut bytes = Box::new([0; 32]);
            bytes.copy_from_slice(hmac::sign(&key, &[label]).as_ref());
            Self(bytes)
        };
        (part(1), part(2))
    }

    #[expect(clippy::expect_used, reason = "every 32 bytes are a key; only memory could be missing")]
    fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, self.0.as_slice()).expect("32 bytes are a key"))
    }

    /// Seals `sealed[from..]` in place, behind a nonce that was drawn, and appends the tag.
    #[expect(clippy::expect_used, reason = "messages are far below the cipher's limit")]
    pub(super) fn seal(&self, nonce: [u8; NONCE], associated: &[u8], plain: &mut [u8]) -> [u8; TAG] {
        #[cfg(test)]
        super::recorded::sealed(self, &nonce);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.cipher().seal_in_place_separate_tag(nonce, Aad::from(associated), plain).expect("short");
        let mut bytes = [0; TAG];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    /// Opens in place what was sealed with its tag behind it; the plaintext's length.
    pub(super) fn open(&self, nonce: [u8; NONCE], associated: &[u8], sealed: &mut [u8]) -> Option<usize> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.cipher().open_in_place(nonce, Aad::from(associated), sealed).ok().map(|plain| plain.len())
    }
}

impl PartialEq for Key {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.0.as_slice(), other.0.as_slice()).is_ok()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(secret)")
    }
}

pub(super) fn draw(rng: &mut dyn CryptoRng) -> [u8; NONCE] {
    let mut nonce = [0; NONCE];
    rng.fill_bytes(&mut nonce);
    nonce
}

/// What a body is bound to: that of the session, and its own header.
pub(super) fn body_associated(associated: &[u8], header: &[u8; SEALED_HEADER]) -> Vec<u8> {
    [associated, header].concat()
}

/// Appends nonce, sealed body and tag to a message.
pub(super) fn seal_body(
    key: &Key,
    associated: &[u8],
    plaintext: &[u8],
    rng: &mut dyn CryptoRng,
    message: &mut Vec<u8>,
) {
    let nonce = draw(rng);
    message.extend_from_slice(&nonce);
    let from = message.len();
    message.extend_from_slice(plaintext);
    if let Some(plain) = message.get_mut(from..) {
        let tag = key.seal(nonce, associated, plain);
        message.extend_from_slice(&tag);
    }
}

/// The plaintext of nonce, sealed body and tag.
pub(super) fn open_body(key: &Key, associated: &[u8], body: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = body.split_first_chunk::<NONCE>()?;
    let mut plain = Zeroizing::new(sealed.to_vec());
    let length = key.open(*nonce, associated, &mut plain)?;
    plain.truncate(length);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By another implementation: Python's `cryptography` and `hmac`.
    #[test]
    fn keys_follow_from_each_other_as_published() {
        let hex = |key: &Key| hex::encode(key.expose());
        let (root, chain, header) = Key::new(&[0x11; 32]).step(&[0x22; 32]);
        assert_eq!(hex(&root), "001ee7908bad57360de5f683e07e006bc5fbaf964978f9a2f64575bbd8a73382");
        assert_eq!(hex(&chain), "292ba96f4f6f08c57420a965c6c213f169598c432480e4c65719e12a07a5cdd8");
        assert_eq!(hex(&header), "18afdd36df8cf1b942112cf227a6e9fa17f56b6d840fd69f50c042ad00706370");
        let (message, next) = Key::new(&[0x33; 32]).message_and_next();
        assert_eq!(hex(&message), "da9d2383815d52bf414c540d97e91d0facf9b98729f9a3f437ad4a9b571676a0");
        assert_eq!(hex(&next), "e66a4bfa6a49b2045fe9a7ca29edf7991fc43ce97b9bbfcd467723a8a90f623c");
    }
}
