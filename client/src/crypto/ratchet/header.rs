//! What stands before a message, encrypted: nobody but the other side sees which ratchet key it is of, or its number.
//!
//! ```text
//! nonce 12 ‖ AES-256-GCM( header key, ratchet key 32 ‖ messages of the chain before u32 ‖ number u32 ) 40 ‖ tag 16
//! ```

use rand_core::CryptoRng;
use sotto_proto::codec::Reader;
use sotto_proto::id::X25519Key;

use super::keys::{Key, NONCE, TAG, draw};

/// Bytes of a header before it is sealed.
const HEADER: usize = 32 + 4 + 4;
/// Bytes of a sealed one.
pub(super) const SEALED_HEADER: usize = NONCE + HEADER + TAG;

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The sender's ratchet key.
    pub(super) key: X25519Key,
    /// Messages of its chain before.
    pub(super) previous: u32,
    /// The message's number in its chain, from 0.
    pub(super) number: u32,
}

impl Header {
    pub(super) fn seal(&self, key: &Key, associated: &[u8], rng: &mut dyn CryptoRng) -> [u8; SEALED_HEADER] {
        let nonce = draw(rng);
        let mut plain = [0; HEADER];
        let (ratchet_key, numbers) = plain.split_at_mut(32);
        let (previous, number) = numbers.split_at_mut(4);
        ratchet_key.copy_from_slice(self.key.as_bytes());
        previous.copy_from_slice(&self.previous.to_be_bytes());
        number.copy_from_slice(&self.number.to_be_bytes());
        let tag = key.seal(nonce, associated, &mut plain);
        let mut sealed = [0; SEALED_HEADER];
        let (front, back) = sealed.split_at_mut(NONCE + HEADER);
        back.copy_from_slice(&tag);
        let (first, rest) = front.split_at_mut(NONCE);
        first.copy_from_slice(&nonce);
        rest.copy_from_slice(&plain);
        sealed
    }

    /// `None` where the key is another one.
    pub(super) fn open(key: &Key, associated: &[u8], sealed: &[u8; SEALED_HEADER]) -> Option<Self> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE>()?;
        let mut plain = [0; HEADER + TAG];
        plain.copy_from_slice(rest);
        let length = key.open(*nonce, associated, &mut plain)?;
        let mut reader = Reader::new(plain.get(..length)?);
        Some(Self { key: reader.id().ok()?, previous: reader.u32().ok()?, number: reader.u32().ok()? })
    }
}
