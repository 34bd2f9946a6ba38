//! CPace with ristretto255 and SHA-512: what draft-irtf-cfrg-cpace-21 calls `CPACE-RISTR255-SHA512`.
//!
//! ```text
//! lv_cat(a, b, …)   = LEB128(len a) ‖ a ‖ LEB128(len b) ‖ b ‖ …
//! generator_string  = lv_cat("CPaceRistretto255", PRS, zeros(z), CI, sid)       z fills the first block of the hash
//! g                 = element_derivation( SHA-512( generator_string ) )         RFC 9496, 4.3.4
//! Y                 = encode( y · g )        K = encode( y · decode(Y) ), refused where it is the neutral element
//! ISK               = SHA-512( lv_cat("CPaceRistretto255_ISK", sid, K) ‖ transcript )
//! MAC key           = SHA-512( "CPaceMac" ‖ sid ‖ ISK )
//! ```

use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity as _;
use rand_core::CryptoRng;
use sha2::{Digest as _, Sha512};
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// The group's name in everything that is hashed.
const DSI: &[u8] = b"CPaceRistretto255";
/// The name of what is derived at the end.
const DSI_ISK: &[u8] = b"CPaceRistretto255_ISK";
/// The name of the key of confirmations.
const MAC: &[u8] = b"CPaceMac";
/// Bytes that SHA-512 takes at once.
const BLOCK: usize = 128;

/// Each part behind its length, in LEB128.
pub(super) fn lv_cat(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 2).sum());
    for part in parts {
        prepend_length(&mut bytes, part.len());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[expect(clippy::cast_possible_truncation, reason = "seven bits are a byte")]
fn prepend_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}

/// The generator that belongs to a secret, a channel and a session: nobody knows its logarithm.
pub(super) fn generator(secret: &[u8], channel: &[u8], session: &[u8]) -> Zeroizing<RistrettoPoint> {
    let string = Zeroizing::new(generator_string(secret, channel, session));
    let hash: Zeroizing<[u8; 64]> = Zeroizing::new(Sha512::digest(&*string).into());
    Zeroizing::new(RistrettoPoint::from_uniform_bytes(&hash))
}

/// The secret fills the first block together with the zeros, whatever its length up to a hundred bytes.
fn generator_string(secret: &[u8], channel: &[u8], session: &[u8]) -> Vec<u8> {
    let before = Zeroizing::new(lv_cat(&[DSI, secret])).len();
    let zeros = [0; BLOCK];
    let padding = zeros.get(..(BLOCK - 1).saturating_sub(before)).unwrap_or_default();
    lv_cat(&[DSI, secret, padding, channel, session])
}

/// The secret scalar of one side. For one run.
#[derive(ZeroizeOnDrop)]
pub(super) struct Exponent(Box<Scalar>);

impl Exponent {
    /// A new one, which is zero in one of 2^252 cases.
    pub(super) fn draw(rng: &mut dyn CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; 64]);
        rng.fill_bytes(&mut *bytes);
        Self(Box::new(Scalar::from_bytes_mod_order_wide(&bytes)))
    }

    /// The canonical bytes, for a store.
    pub(super) fn expose(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Reads canonical bytes; `None` for others.
    pub(super) fn read(bytes: &[u8; 32]) -> Option<Self> {
        Option::<Scalar>::from(Scalar::from_canonical_bytes(*bytes)).map(|scalar| Self(Box::new(scalar)))
    }

    /// The share to send: the encoding of y · g.
    pub(super) fn times_generator(&self, generator: &RistrettoPoint) -> [u8; 32] {
        (*self.0 * generator).compress().to_bytes()
    }

    /// K: the encoding of y · Y. `None` where Y is no encoding of an element, or K the neutral one.
    pub(super) fn times(&self, share: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        let element = Zeroizing::new(*self.0 * CompressedRistretto(*share).decompress()?);
        (!element.is_identity()).then(|| Zeroizing::new(element.compress().to_bytes()))
    }
}

/// ISK: the same on both sides if everything was.
#[derive(ZeroizeOnDrop)]
pub(super) struct IntermediateKey(Box<[u8; 64]>);

impl IntermediateKey {
    pub(super) fn new(session: &[u8], shared: &[u8; 32], transcript: &[u8]) -> Self {
        let named = Zeroizing::new(lv_cat(&[DSI_ISK, session, shared]));
        Self(Box::new(Sha512::new().chain_update(&*named).chain_update(transcript).finalize().into()))
    }

    /// The key of the two confirmations (section 10.4 of the draft).
    pub(super) fn mac_key(&self, session: &[u8]) -> Zeroizing<[u8; 64]> {
        let hash = Sha512::new().chain_update(MAC).chain_update(session).chain_update(self.0.as_slice());
        Zeroizing::new(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests;
