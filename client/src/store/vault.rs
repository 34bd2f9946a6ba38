//! The key slots of one account, on disk.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rand_core::CryptoRng;

use super::keys::MasterKey;
use super::keyslots::{FILE_BYTES, KeySlots, SlotKind, SlotNumber};
use super::{Kdf, Passphrase, StoreError, files};

/// Name of the file in the account's folder.
pub(super) const FILE: &str = "keyslots.bin";

/// An account's key slots, of which a passphrase has opened one.
#[derive(Debug)]
pub(super) struct Vault {
    /// Whoever has the account open in this process may change the passphrase.
    slots: Mutex<KeySlots>,
    kdf: Kdf,
    number: SlotNumber,
    kind: SlotKind,
}

impl Vault {
    /// Makes the key slots of a new account in `folder`, with a new master key behind `passphrase`.
    pub(super) fn create(
        folder: &Path,
        passphrase: &Passphrase,
        kdf: Kdf,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Self, MasterKey), StoreError> {
        let mut slots = KeySlots::new(kdf, rng);
        let (number, kind, master) = (SlotNumber::draw(rng), SlotKind::Normal, MasterKey::generate(rng));
        slots.put(number, &slots.key(passphrase)?, kind, &master, rng);
        files::write_new(&folder.join(FILE), slots.as_bytes())?;
        Ok((Self { slots: Mutex::new(slots), kdf, number, kind }, master))
    }

    /// Opens the key slots in `folder`.
    ///
    /// # Errors
    /// [`StoreError::WrongPassphrase`] when none opens, after the same work as when one does.
    pub(super) fn open(folder: &Path, passphrase: &Passphrase) -> Result<(Self, MasterKey), StoreError> {
        let path = folder.join(FILE);
        let bytes = files::read_exactly::<FILE_BYTES>(&path)?.ok_or(StoreError::NotFound("file of key slots"))?;
        let slots = KeySlots::decode(bytes)?;
        let found = slots.open(&slots.key(passphrase)?).ok_or(StoreError::WrongPassphrase)?;
        let kdf = slots.kdf();
        Ok((Self { slots: Mutex::new(slots), kdf, number: found.number, kind: found.kind }, found.master))
    }

    /// What a guess costs.
    pub(super) const fn kdf(&self) -> Kdf {
        self.kdf
    }

    /// Puts `passphrase` in the place of the one that opened the slot. The other slots stay as they are. `folder` is where
    /// the account is now: it moves when it is made and when it is renamed.
    pub(super) fn change_passphrase(
        &self,
        folder: &Path,
        master: &MasterKey,
        passphrase: &Passphrase,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), StoreError> {
        // Slots are written whole, so those of a thread that died are good.
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let key = slots.key(passphrase)?;
        slots.put(self.number, &key, self.kind, master, rng);
        files::replace(&folder.join(FILE), slots.as_bytes())
    }

    /// Destroys the key slots in `folder`: whatever is left of the account can never be read again.
    pub(super) fn destroy(folder: &Path, rng: &mut dyn CryptoRng) -> Result<(), StoreError> {
        let path = folder.join(FILE);
        // Beside it, what a change of the passphrase that was killed has left.
        for path in [files::fresh(&path), path] {
            let mut noise = Box::new([0; FILE_BYTES]);
            rng.fill_bytes(noise.as_mut_slice());
            if path.exists() {
                files::overwrite(&path, noise.as_slice())?;
            }
        }
        Ok(())
    }
}
