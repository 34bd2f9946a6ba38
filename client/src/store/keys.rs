//! The key schedule of an account's store.
//!
//! ```text
//! passphrase ──Argon2id(salt)──▶ slot key ──opens one of eight slots──▶ master key (random)
//!                                                        HKDF-SHA-256 │ info
//!                                    "sotto/store/database" ──────────┴──▶ key of the database
//!
//! device key (random, a row in the database)
//!        HKDF-SHA-256 │ info
//!                     ├─ "sotto/device/key"  ──▶ key of the device's file
//!                     └─ "sotto/device/name" ──▶ its name
//! ```
//!
//! Whoever destroys the slots destroys the master key, and with it everything below.

use std::fmt;

use hkdf::Hkdf;
use rand_core::CryptoRng;
use sha2::Sha256;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

use super::kdf::KEY;

const DATABASE: &[u8] = b"sotto/store/database";
const DEVICE: &[u8] = b"sotto/device/key";
const DEVICE_NAME: &[u8] = b"sotto/device/name";

/// A random key that others are derived from. Zeroized when dropped; on the heap, so that moving it leaves no copies.
#[derive(ZeroizeOnDrop)]
struct Root(Box<[u8; KEY]>);

impl Root {
    fn generate(rng: &mut dyn CryptoRng) -> Self {
        let mut root = Self(Box::new([0; KEY]));
        rng.fill_bytes(root.0.as_mut_slice());
        root
    }

    fn take(bytes: &mut [u8; KEY]) -> Self {
        let root = Self(Box::new(*bytes));
        bytes.zeroize();
        root
    }

    #[expect(clippy::expect_used, reason = "HKDF-SHA-256 expands to 32 bytes")]
    fn derive<const N: usize>(&self, info: &[u8]) -> Zeroizing<[u8; N]> {
        const { assert!(N <= KEY) };
        let mut key = Zeroizing::new([0; N]);
        Hkdf::<Sha256>::new(None, self.0.as_slice()).expand(info, key.as_mut_slice()).expect("at most 32 bytes");
        key
    }
}

/// The key below which everything of an account lies.
pub(super) struct MasterKey(Root);

impl MasterKey {
    pub(super) fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self(Root::generate(rng))
    }

    /// Takes the key out of a slot and wipes the original.
    pub(super) fn take(bytes: &mut [u8; KEY]) -> Self {
        Self(Root::take(bytes))
    }

    /// For writing it into a slot.
    pub(super) const fn expose(&self) -> &[u8; KEY] {
        &self.0.0
    }

    /// The key of the account's database.
    pub(super) fn database(&self) -> Zeroizing<[u8; KEY]> {
        self.0.derive(DATABASE)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(secret)")
    }
}

/// The key of what belongs to the device and not to one account. Each account that shares it has a copy in its store.
pub struct DeviceKey(Root);

impl DeviceKey {
    /// A new device's.
    #[must_use]
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self(Root::generate(rng))
    }

    pub(super) fn take(bytes: &mut [u8; KEY]) -> Self {
        Self(Root::take(bytes))
    }

    pub(super) const fn expose(&self) -> &[u8; KEY] {
        &self.0.0
    }

    /// The key of the device's file.
    pub(super) fn file(&self) -> Zeroizing<[u8; KEY]> {
        self.0.derive(DEVICE)
    }

    /// What its file is called.
    pub(super) fn file_name(&self) -> String {
        format!("device-{}.bin", hex::encode(*self.0.derive::<8>(DEVICE_NAME)))
    }
}

impl Clone for DeviceKey {
    fn clone(&self) -> Self {
        Self(Root(self.0.0.clone()))
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceKey(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_follow_from_the_master_key_by_hkdf() {
        let master = MasterKey::take(&mut [7; KEY]);
        // HKDF (RFC 5869) with SHA-256, no salt, by an independent implementation.
        assert_eq!(hex::encode(*master.database()), "ec53efeb385dea719ade42ca3a5c8ca0ec1f9332ecacbd46c35fd1ee941ca1b1");
        let device = DeviceKey::take(&mut [7; KEY]);
        assert_eq!(hex::encode(*device.file()), "e1678a2a4864fbc27d202409c3ad961aa1def2f3c8de9e38a1db1ac89203ea72");
        assert_eq!(device.file_name(), "device-44280d5ba7de826d.bin");
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?} {:?}", MasterKey::take(&mut [7; KEY]), DeviceKey::take(&mut [7; KEY]));
        assert_eq!(shown, "MasterKey(secret) DeviceKey(secret)");
    }

    #[test]
    fn taking_a_key_wipes_the_original() {
        let mut bytes = [7; KEY];
        let key = MasterKey::take(&mut bytes);
        assert_eq!((bytes, key.expose()), ([0; KEY], &[7; KEY]));
    }
}
