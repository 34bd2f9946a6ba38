//! How a passphrase becomes a key: Argon2id.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use sotto_proto::chain::Preset;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Passphrase, StoreError};

/// Bytes of the key, and of every key below it.
pub(super) const KEY: usize = 32;
/// Bytes of the salt.
pub(super) const SALT: usize = 32;
/// Below this, guessing is too cheap to protect anything but a testnet's accounts.
const SECURE_KIB: u32 = 64 * 1024;
/// Above these a file is damaged, or made to keep its owner waiting.
const MOST: Kdf = Kdf { memory_kib: 1024 * 1024, passes: 16, lanes: 8 };

/// What one guess at a passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kdf {
    /// Memory, in KiB.
    pub(super) memory_kib: u32,
    /// How often it is gone over.
    pub(super) passes: u32,
    /// Lanes that could be filled side by side.
    pub(super) lanes: u32,
}

impl Kdf {
    /// For accounts that matter: 256 MiB, half a second.
    pub const STRONG: Self = Self { memory_kib: 256 * 1024, passes: 2, lanes: 1 };
    /// For testnets, where fifty accounts share a machine: 19 MiB. Shown as INSECURE.
    pub const INSECURE: Self = Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 };

    /// The one for accounts of a network.
    #[must_use]
    pub const fn of(preset: Preset) -> Self {
        match preset {
            Preset::Mainnet => Self::STRONG,
            Preset::Testnet => Self::INSECURE,
        }
    }

    /// What a file says, if a program of ours may have written it.
    pub(super) fn from_numbers(memory_kib: u32, passes: u32, lanes: u32) -> Option<Self> {
        let sane = (1..=MOST.passes).contains(&passes)
            && (1..=MOST.lanes).contains(&lanes)
            && (8 * lanes..=MOST.memory_kib).contains(&memory_kib);
        sane.then_some(Self { memory_kib, passes, lanes })
    }

    /// Whether guessing is cheap.
    #[must_use]
    pub const fn is_insecure(self) -> bool {
        self.memory_kib < SECURE_KIB
    }

    /// MiB of memory that one derivation takes.
    #[must_use]
    pub const fn mebibytes(self) -> u32 {
        self.memory_kib / 1024
    }

    /// Derives the key; the memory it used is wiped.
    pub(super) fn derive(self, passphrase: &Passphrase, salt: &[u8; SALT]) -> Result<Zeroizing<[u8; KEY]>, StoreError> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(KEY)).map_err(StoreError::Kdf)?;
        let mut memory = vec![Block::default(); params.block_count()];
        let mut key = Zeroizing::new([0; KEY]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let result = argon2.hash_password_into_with_memory(
            passphrase.expose().as_bytes(),
            salt,
            key.as_mut_slice(),
            memory.as_mut_slice(),
        );
        memory.zeroize();
        result.map_err(StoreError::Kdf)?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_argon2id_of_the_passphrase() {
        let kdf = Kdf { memory_kib: 32, passes: 3, lanes: 4 };
        let passphrase = Passphrase::typed(Zeroizing::new("password".to_owned())).unwrap();
        let key = kdf.derive(&passphrase, &[2; SALT]).unwrap();
        // argon2-cffi: low_level.hash_secret_raw(b"password", b"\2" * 32, 3, 32, 4, 32, Type.ID).
        assert_eq!(hex::encode(*key), "b222fc5adb4d26d20e28e664701541b578eace38bed5b00b5302227074dfa517");
    }

    #[test]
    fn numbers_that_would_keep_the_owner_waiting_are_refused() {
        assert_eq!(Kdf::from_numbers(256 * 1024, 2, 1), Some(Kdf::STRONG));
        for (memory, passes, lanes) in [(2 << 20, 2, 1), (1024, 0, 1), (1024, 1000, 1), (1024, 1, 0), (7, 1, 1)] {
            assert_eq!(Kdf::from_numbers(memory, passes, lanes), None);
        }
    }

    #[test]
    fn only_the_testnets_preset_is_insecure() {
        assert!(Kdf::of(Preset::Testnet).is_insecure() && !Kdf::of(Preset::Mainnet).is_insecure());
    }
}
