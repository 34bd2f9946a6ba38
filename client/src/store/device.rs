//! What belongs to the device and not to one account: the guards.
//!
//! A guard sees where a client connects from. Were each account to choose its own, the chance that one of them is
//! hostile would grow with every account; so accounts of one device share a sample. But nothing on disk may tie accounts
//! together either. Therefore the sample lies in a file of its own beside the accounts, under a random key that the
//! store of each account holds a copy of: opened accounts of one device find the same file, closed ones say nothing.
//! An account that was made while no other was open could not be given the key; it has a sample of its own.
//!
//! ```text
//! nonce 24 ‖ XChaCha20-Poly1305( count u8 ‖ (node 32 ‖ chosen u64 s ‖ expires u64 s)* ‖ zeros ) up to 1,024 bytes
//! ```

use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{AeadInOut as _, KeyInit as _};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use rand_core::CryptoRng;
use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::id::NodeId;
use sotto_proto::time::UnixSeconds;

use super::{DeviceKey, FolderName, StoreError, files};

/// Bytes of the file, whatever is in it.
const FILE_BYTES: usize = 1024;
const NONCE: usize = 24;
const TAG: usize = 16;
const PLAIN: usize = FILE_BYTES - NONCE - TAG;
/// Guards that are kept, those in use and spare ones.
const GUARDS: usize = 16;
const GUARD: usize = 32 + 8 + 8;
const ASSOCIATED: &[u8] = b"sotto/device/1";

const _: () = assert!(GUARDS * GUARD < PLAIN);

/// Whether a file beside the accounts is one of these, or was to take the place of one.
pub(super) fn is_file_name(name: &str) -> bool {
    let number = name.strip_prefix("device-").and_then(|name| name.get(..16));
    number.and_then(FolderName::read).is_some() && [Some(".bin"), Some(".new")].contains(&name.get(23..))
}

/// A node that this device's paths begin at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Which.
    pub node: NodeId,
    /// Since when.
    pub chosen: UnixSeconds,
    /// Until when.
    pub expires: UnixSeconds,
}

/// The device's file.
#[derive(Debug)]
pub struct Device {
    path: PathBuf,
    key: DeviceKey,
}

impl Device {
    pub(super) fn new(folder: &Path, key: DeviceKey) -> Self {
        Self { path: folder.join(key.file_name()), key }
    }

    /// The key, for another account of this device.
    #[must_use]
    pub const fn key(&self) -> &DeviceKey {
        &self.key
    }

    /// The guards in the order of the sample; none if none has been chosen yet.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or does not open.
    pub fn guards(&self) -> Result<Vec<Guard>, StoreError> {
        const DAMAGED: StoreError = StoreError::Damaged("the file of guards");
        let Some(mut bytes) = files::read_exactly::<FILE_BYTES>(&self.path)? else { return Ok(Vec::new()) };
        let (nonce, rest) = bytes.split_first_chunk_mut::<NONCE>().ok_or(DAMAGED)?;
        let (plain, tag) = rest.split_last_chunk_mut::<TAG>().ok_or(DAMAGED)?;
        self.cipher()
            .decrypt_inout_detached(&XNonce::from(*nonce), ASSOCIATED, (&mut *plain).into(), &Tag::from(*tag))
            .map_err(|_| DAMAGED)?;
        read(plain).map_err(|_| DAMAGED)
    }

    /// Puts a sample in the place of the one before; of more than sixteen guards the first stay.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be written; the earlier one is still there then.
    #[expect(clippy::expect_used, reason = "the cipher takes a kibibyte")]
    pub fn set_guards(&self, guards: &[Guard], rng: &mut dyn CryptoRng) -> Result<(), StoreError> {
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let mut plain = write(guards);
        let tag = self
            .cipher()
            .encrypt_inout_detached(&XNonce::from(nonce), ASSOCIATED, plain.as_mut_slice().into())
            .expect("far below the cipher's limit");
        files::replace(&self.path, &[nonce.as_slice(), plain.as_slice(), tag.as_slice()].concat())
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.key.file()).into())
    }
}

fn write(guards: &[Guard]) -> Vec<u8> {
    let guards = &guards[..guards.len().min(GUARDS)];
    let mut plain = Vec::with_capacity(PLAIN);
    plain.push(u8::try_from(guards.len()).unwrap_or(u8::MAX));
    for guard in guards {
        plain.extend_from_slice(guard.node.as_bytes());
        plain.extend_from_slice(&guard.chosen.0.to_be_bytes());
        plain.extend_from_slice(&guard.expires.0.to_be_bytes());
    }
    plain.resize(PLAIN, 0);
    plain
}

fn read(plain: &[u8]) -> Result<Vec<Guard>, DecodeError> {
    let mut reader = Reader::new(plain);
    let count = reader.u8()?;
    (0..count)
        .map(|_| {
            Ok(Guard { node: reader.id()?, chosen: UnixSeconds(reader.u64()?), expires: UnixSeconds(reader.u64()?) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    fn guards(count: u8) -> Vec<Guard> {
        let guard = |i: u8| Guard {
            node: NodeId::new([0xa0 + i; 32]),
            chosen: UnixSeconds(i.into()),
            expires: UnixSeconds(1000 + u64::from(i)),
        };
        (0..count).map(guard).collect()
    }

    #[test]
    fn the_sample_keeps_its_order_and_its_file_its_size() {
        let (folder, mut rng) = (tempfile::tempdir().unwrap(), ChaCha20Rng::from_seed([5; 32]));
        let device = Device::new(folder.path(), DeviceKey::generate(&mut rng));
        assert_eq!(device.guards().unwrap(), []);
        for count in [3, 0, 16, 20] {
            device.set_guards(&guards(count), &mut rng).unwrap();
            assert_eq!(device.guards().unwrap(), guards(count.min(16)));
            let bytes = fs::read(folder.path().join(device.key.file_name())).unwrap();
            assert_eq!(bytes.len(), FILE_BYTES);
            assert!(!bytes.windows(8).any(|bytes| *bytes == [0xa0; 8]), "a guard in the clear");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn accounts_of_one_device_find_the_same_file_and_others_another() {
        let (folder, mut rng) = (tempfile::tempdir().unwrap(), ChaCha20Rng::from_seed([5; 32]));
        let (one, other) = (DeviceKey::generate(&mut rng), DeviceKey::generate(&mut rng));
        Device::new(folder.path(), one.clone()).set_guards(&guards(3), &mut rng).unwrap();
        assert_eq!(Device::new(folder.path(), one.clone()).guards().unwrap(), guards(3));
        assert_eq!(Device::new(folder.path(), other).guards().unwrap(), []);
        let path = folder.path().join(one.file_name());
        let mut bytes = fs::read(&path).unwrap();
        bytes[100] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(matches!(Device::new(folder.path(), one).guards(), Err(StoreError::Damaged(_))));
    }
}
