//! AES-256-GCM as Noise uses it: one key, a counter as nonce.

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, Nonce, UnboundKey};

/// A key, expanded. aws-lc wipes it when it is dropped.
#[expect(clippy::expect_used, reason = "every 32 bytes are a key; only memory could be missing")]
pub(crate) fn key(bytes: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).expect("32 bytes are a key"))
}

/// The nonce of a counter: four zeros and the counter, big-endian (Noise, 12.3; ChaChaPoly has it the other way round).
pub(crate) fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}
