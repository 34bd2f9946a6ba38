//! How an account follows from sixteen bytes, and the two phrases that write these down.
//!
//! ```text
//! entropy 16 ‖ zeros 16 = Ed25519 seed ──SHA-512, first half, clamped──▶ X25519 secret
//!                              │                                            │
//!                        Ed25519 key  ──u = (1 + y) / (1 − y)──▶  X25519 key ──▶ account id = 05 ‖ X25519 key
//! ```
//!
//! The zero half is public knowledge and harmless: an account has 128 bits of strength either way. Every other key of
//! an account is derived through HKDF with a label of its own, never from these bytes directly.

pub mod phrase;

use std::fmt;

use curve25519_dalek::MontgomeryPoint;
use curve25519_dalek::scalar::clamp_integer;
use sha2::{Digest as _, Sha512};
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

use crate::address::Address;
use crate::hash::blake2b_256;
use crate::id::{PublicKey, X25519Key};
use crate::sign::SigningKey;

/// The sixteen bytes that an account is. Zeroized when dropped; on the heap, so that moving it leaves no copies.
#[derive(ZeroizeOnDrop)]
pub struct Entropy(Box<[u8; Entropy::LEN]>);

impl Entropy {
    /// Bytes of entropy.
    pub const LEN: usize = 16;

    /// Takes sixteen bytes, which the caller drew at random or read from its keystore, and zeroizes the originals.
    #[must_use]
    pub fn take(bytes: &mut [u8; Self::LEN]) -> Self {
        let entropy = Self(Box::new(*bytes));
        bytes.zeroize();
        entropy
    }

    /// The bytes, for writing them to a keystore.
    #[must_use]
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The Ed25519 seed: the entropy and sixteen zero bytes.
    fn seed(&self) -> Zeroizing<[u8; 32]> {
        let mut seed = Zeroizing::new([0; 32]);
        seed[..Self::LEN].copy_from_slice(self.expose());
        seed
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(secret)")
    }
}

/// An X25519 secret, clamped. Zeroized when dropped; `Debug` shows the public half only.
#[derive(ZeroizeOnDrop)]
pub struct X25519Secret(Box<[u8; 32]>);

impl X25519Secret {
    /// The secret in these bytes, clamped (RFC 7748, 5); zeroizes the originals.
    #[must_use]
    pub fn take(bytes: &mut [u8; 32]) -> Self {
        let secret = Self(Box::new(clamp_integer(*bytes)));
        bytes.zeroize();
        secret
    }

    /// The secret that belongs to the X25519 key which an Ed25519 seed's public key converts to.
    #[must_use]
    pub fn of_ed25519_seed(seed: &[u8; 32]) -> Self {
        let mut expanded: Zeroizing<[u8; 64]> = Zeroizing::new(Sha512::digest(seed).into());
        let (secret, _) = expanded.split_at_mut(32);
        let mut half = Zeroizing::new([0; 32]);
        half.copy_from_slice(secret);
        Self::take(&mut half)
    }

    /// The bytes, for handing them to a Diffie–Hellman.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> X25519Key {
        X25519Key::new(MontgomeryPoint::mul_base_clamped(*self.0).to_bytes())
    }
}

impl fmt::Debug for X25519Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "X25519Secret({})", self.public().short())
    }
}

/// An account with its secrets: what a client unlocks.
pub struct Account {
    signing: SigningKey,
    x25519: X25519Secret,
    address: Address,
}

impl Account {
    /// The account of this entropy.
    #[must_use]
    pub fn new(entropy: &Entropy) -> Self {
        let seed = entropy.seed();
        let x25519 = X25519Secret::of_ed25519_seed(&seed);
        let address = Address::account(&x25519.public());
        Self { signing: SigningKey::from_seed(&seed), x25519, address }
    }

    /// The account id, which is also the address of its inbox.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Signs for the address.
    #[must_use]
    pub const fn signing_key(&self) -> &SigningKey {
        &self.signing
    }

    /// The Ed25519 key that travels with signatures. Never the account's identity: that is the address.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.signing.public()
    }

    /// Opens what is sealed to the address.
    #[must_use]
    pub const fn x25519_secret(&self) -> &X25519Secret {
        &self.x25519
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({})", self.address.short())
    }
}

/// The seed of a key of a testnet: `BLAKE2b-256( "sotto-testnet" ‖ u64 seed ‖ role ‖ u32 index )`.
///
/// For testnets only. Everybody can compute it, so whatever the key owns is everybody's: it makes runs repeatable and
/// lets a genesis fund operators whose nodes have not been set up yet. `role` is the only part without a fixed width,
/// so two different inputs never meet.
#[must_use]
pub fn test_seed(seed: u64, role: &str, index: u32) -> [u8; 32] {
    let parts: [&[u8]; 4] = [b"sotto-testnet", &seed.to_be_bytes(), role.as_bytes(), &index.to_be_bytes()];
    blake2b_256(&parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::x25519_of;

    fn entropy() -> Entropy {
        Entropy::take(&mut std::array::from_fn(|i| [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef][i % 8]))
    }

    #[test]
    fn an_account_follows_from_its_entropy() {
        let account = Account::new(&entropy());
        assert_eq!(account.address().to_string(), "05d2ad010eeb72d72e561d9de7bd7b6989af77dcabffa03a5111a6c859ae5c3a72");
        assert_eq!(
            account.public_key().to_string(),
            "4cb76fdc6d32278e3f83dbf608360ecc6b65727934b85d2fb86862ff98c46ab7"
        );
        assert!(account.address().is_signed_by(&account.public_key()));
    }

    #[test]
    fn secret_and_public_key_convert_to_the_same_x25519_key() {
        for index in 0..32 {
            let seed = test_seed(1, "conversion", index);
            let public = SigningKey::from_seed(&seed).public();
            assert_eq!(Some(X25519Secret::of_ed25519_seed(&seed).public()), x25519_of(&public));
        }
    }

    #[test]
    fn the_conversion_agrees_with_libsodium() {
        // libsodium, test/default/ed25519_convert: seed, crypto_sign_ed25519_pk_to_curve25519, …_sk_to_curve25519.
        let seed = hex::decode("421151a459faeade3d247115f94aedae42318124095afabe4d1451a559faedee").unwrap();
        let seed: [u8; 32] = seed.try_into().unwrap();
        let secret = X25519Secret::of_ed25519_seed(&seed);
        assert_eq!(secret.public().to_string(), "f1814f0e8ff1043d8a44d25babff3cedcae6c22c3edaa48f857ae70de2baae50");
        assert_eq!(hex::encode(secret.expose()), "8052030376d47112be7f73ed7a019293dd12ad910b654455798b4667d73de166");
    }

    #[test]
    fn debug_shows_no_secret() {
        let account = Account::new(&entropy());
        let shown = format!("{:?} {:?} {:?}", entropy(), account, account.x25519_secret());
        assert_eq!(shown, "Entropy(secret) Account(05d2ad010e) X25519Secret(d2ad010e)");
    }

    #[test]
    fn taking_entropy_wipes_the_original() {
        let mut bytes = [7; 16];
        let entropy = Entropy::take(&mut bytes);
        assert_eq!((bytes, entropy.expose()), ([0; 16], &[7; 16]));
    }

    #[test]
    fn test_seeds_depend_on_every_part() {
        let seeds =
            [test_seed(42, "node", 7), test_seed(43, "node", 7), test_seed(42, "x25519", 7), test_seed(42, "node", 8)];
        let distinct: std::collections::BTreeSet<_> = seeds.iter().collect();
        assert_eq!(distinct.len(), seeds.len());
        // BLAKE2b-256 of the concatenation, by an independent implementation.
        assert_eq!(hex::encode(seeds[0]), "55400ce58f38f024bf4d78ea4d62208c18be26fdc6f6350a805bc1eebd9cb61b");
    }
}
