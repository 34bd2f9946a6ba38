//! The key slots of one account, on disk.

use std::path::Path;

use rand_core::CryptoRng;

use super::keys::MasterKey;
use super::keyslots::{FILE_BYTES, KeySlots, SlotKind, SlotNumber};
use super::{Kdf, Passphrase, StoreError, files};

/// Name of the file in the account's folder.
pub(super) const FILE: &str = "keyslots.bin";

/// An account's key slots, of which a passphrase has opened one.
#[derive(Debug)]
pub(super) struct Vault {
    slots: KeySlots,
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
        Ok((Self { slots, number, kind }, master))
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
        Ok((Self { slots, number: found.number, kind: found.kind }, found.master))
    }

    /// What a guess costs.
    pub(super) const fn kdf(&self) -> Kdf {
        self.slots.kdf()
    }

    /// Puts `passphrase` in the place of the one that opened the slot. The other slots stay as they are. `folder` is where
    /// the account is now: it moves when it is made and when it is renamed.
    pub(super) fn change_passphrase(
        &mut self,
        folder: &Path,
        master: &MasterKey,
        passphrase: &Passphrase,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), StoreError> {
        let key = self.slots.key(passphrase)?;
        self.slots.put(self.number, &key, self.kind, master, rng);
        files::replace(&folder.join(FILE), self.slots.as_bytes())
    }

    /// Destroys the key slots in `folder`: whatever is left of the account can never be read again.
    pub(super) fn destroy(folder: &Path, rng: &mut dyn CryptoRng) -> Result<(), StoreError> {
        let mut noise = Box::new([0; FILE_BYTES]);
        rng.fill_bytes(noise.as_mut_slice());
        files::overwrite(&folder.join(FILE), noise.as_slice())
    }
}
