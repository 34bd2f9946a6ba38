//! BLAKE2b-256 with a domain in front of everything (B1).

use blake2::Digest as _;

use crate::domain::Domain;
use crate::id::Hash;

type Blake2b256 = blake2::Blake2b<blake2::digest::consts::U32>;

/// `H(d, x) = BLAKE2b-256( u8(len d) ‖ d ‖ x )`, fed piece by piece.
///
/// Unkeyed, no salt, no personalisation. The length in front of the domain keeps two domains of which one begins with
/// the other apart.
#[derive(Clone)]
pub struct Hasher(Blake2b256);

impl Hasher {
    /// Starts a hash in `domain`.
    #[must_use]
    pub fn new(domain: Domain) -> Self {
        let mut inner = Blake2b256::new();
        inner.update([domain.len()]);
        inner.update(domain.as_bytes());
        Self(inner)
    }

    /// Appends `bytes` to the input.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes.as_ref());
    }

    /// Appends `bytes` and hands the hasher on, for chains.
    #[must_use]
    pub fn chain(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.update(bytes);
        self
    }

    /// The 32-byte digest.
    #[must_use]
    pub fn finish(self) -> Hash {
        Hash::new(self.0.finalize().into())
    }
}

/// `H(domain, bytes)` in one call.
#[must_use]
pub fn hash(domain: Domain, bytes: impl AsRef<[u8]>) -> Hash {
    Hasher::new(domain).chain(bytes).finish()
}

/// Plain BLAKE2b-256 without a domain: only for the hasher of the state tree, which has its own prefixes.
#[must_use]
pub fn blake2b_256(bytes: &[u8]) -> [u8; 32] {
    Blake2b256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_values_of_the_wire_specification_hold() {
        assert_eq!(
            hash(Domain::new("sotto/v1/genesis"), b"test vector genesis").to_string(),
            "49d2b4591bf30f2b81c012c612c13045109052d6073edd064af3b018540dc89a"
        );
        assert_eq!(
            hash(Domain::new("sotto/v1/test"), [0x00, 0xff]).to_string(),
            "084b2ac2acab7782e191eea3443d44493014430eb1d047d295e23880f30ba983"
        );
    }

    #[test]
    fn a_domain_never_runs_into_the_input() {
        assert_ne!(hash(Domain::new("ab"), b"c"), hash(Domain::new("a"), b"bc"));
    }
}
