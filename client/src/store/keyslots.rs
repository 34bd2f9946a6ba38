//! The file that turns a passphrase into an account's master key.
//!
//! ```text
//! "sottokey" 8 ‖ version u32 = 1 ‖ Argon2id: KiB u32 ‖ passes u32 ‖ lanes u32 ‖ salt 32 ‖ zeros 8      64 bytes
//! 8 × slot   = nonce 24 ‖ XChaCha20-Poly1305( zeros 16 ‖ kind 1 ‖ master key 32 ‖ zeros 7 ) 72         96 bytes each
//! random bytes up to 4,096
//! ```
//!
//! A slot in use and an unused one cannot be told apart without its passphrase, nor can a slot that opens the account,
//! one that opens a decoy and one for recovery. Opening derives one key and tries it on all eight slots, whichever
//! opens. The header and the slot's number are authenticated with each slot; the zeros in front of the key commit the
//! slot to its passphrase.

use std::fmt;

use chacha20poly1305::aead::{AeadInOut as _, KeyInit as _};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use rand_core::CryptoRng;
use sotto_proto::codec::Reader;
use zeroize::Zeroizing;

use super::kdf::{KEY, Kdf, SALT};
use super::keys::MasterKey;
use super::{Passphrase, StoreError};

/// Bytes of the file: one block of the disk.
pub(super) const FILE_BYTES: usize = 4096;
/// Slots in it.
const SLOTS: usize = 8;
const MAGIC: &[u8; 8] = b"sottokey";
const VERSION: u32 = 1;
const HEADER: usize = 64;
const NONCE: usize = 24;
const COMMITMENT: usize = 16;
const SECRET: usize = COMMITMENT + 1 + KEY + 7;
const TAG: usize = 16;
const SLOT: usize = NONCE + SECRET + TAG;

const _: () = assert!(8 + 4 * 4 + SALT + 8 == HEADER && HEADER + SLOTS * SLOT <= FILE_BYTES);

/// What a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotKind {
    /// Opens the account.
    Normal,
    /// Opens a decoy.
    Duress,
    /// Opens the account for whoever holds its recovery secret.
    Recovery,
}

impl SlotKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Normal => 0,
            Self::Duress => 1,
            Self::Recovery => 2,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Normal),
            1 => Some(Self::Duress),
            2 => Some(Self::Recovery),
            _ => None,
        }
    }
}

/// Which of the eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotNumber(u8);

impl SlotNumber {
    fn all() -> impl Iterator<Item = Self> {
        (0..).take(SLOTS).map(Self)
    }

    /// Any of them: the number of a slot says nothing.
    pub(super) fn draw(rng: &mut dyn CryptoRng) -> Self {
        // Eight numbers: three bits of the draw choose evenly.
        let [byte, ..] = rng.next_u32().to_le_bytes();
        Self(byte % SLOTS as u8)
    }

    fn range(self) -> std::ops::Range<usize> {
        let start = HEADER + usize::from(self.0) * SLOT;
        start..start + SLOT
    }
}

/// What a passphrase opened.
#[derive(Debug)]
pub(super) struct OpenSlot {
    pub(super) number: SlotNumber,
    pub(super) kind: SlotKind,
    pub(super) master: MasterKey,
}

/// The key that a passphrase gives for this file.
pub(super) struct SlotKey(Zeroizing<[u8; KEY]>);

impl fmt::Debug for SlotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlotKey(secret)")
    }
}

impl fmt::Debug for KeySlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySlots({:?})", self.kdf)
    }
}

/// The file's bytes, well formed.
pub(super) struct KeySlots {
    bytes: Box<[u8; FILE_BYTES]>,
    kdf: Kdf,
    salt: [u8; SALT],
}

impl KeySlots {
    /// A file whose slots are all unused.
    pub(super) fn new(kdf: Kdf, rng: &mut dyn CryptoRng) -> Self {
        let mut bytes = Box::new([0; FILE_BYTES]);
        rng.fill_bytes(bytes.as_mut_slice());
        let mut salt = [0; SALT];
        rng.fill_bytes(&mut salt);
        bytes[..HEADER].copy_from_slice(&header(kdf, &salt));
        Self { bytes, kdf, salt }
    }

    /// Reads a file.
    pub(super) fn decode(bytes: Box<[u8; FILE_BYTES]>) -> Result<Self, StoreError> {
        let (kdf, salt) = read_header(bytes.as_slice())?;
        Ok(Self { bytes, kdf, salt })
    }

    pub(super) fn as_bytes(&self) -> &[u8; FILE_BYTES] {
        &self.bytes
    }

    pub(super) const fn kdf(&self) -> Kdf {
        self.kdf
    }

    /// One Argon2id.
    pub(super) fn key(&self, passphrase: &Passphrase) -> Result<SlotKey, StoreError> {
        self.kdf.derive(passphrase, &self.salt).map(SlotKey)
    }

    /// Writes a slot. Every write draws a new nonce.
    #[expect(clippy::expect_used, reason = "the cipher takes 56 bytes")]
    pub(super) fn put(
        &mut self,
        number: SlotNumber,
        key: &SlotKey,
        kind: SlotKind,
        master: &MasterKey,
        rng: &mut dyn CryptoRng,
    ) {
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let mut secret = Zeroizing::new([0; SECRET]);
        secret[COMMITMENT] = kind.byte();
        secret[COMMITMENT + 1..][..KEY].copy_from_slice(master.expose());
        let tag = cipher(key)
            .encrypt_inout_detached(&XNonce::from(nonce), &self.associated(number), secret.as_mut_slice().into())
            .expect("far below the cipher's limit");
        let slot = &mut self.bytes[number.range()];
        slot[..NONCE].copy_from_slice(&nonce);
        slot[NONCE..][..SECRET].copy_from_slice(secret.as_slice());
        slot[NONCE + SECRET..].copy_from_slice(&tag);
    }

    /// Tries `key` on every slot, also when one has opened already.
    pub(super) fn open(&self, key: &SlotKey) -> Option<OpenSlot> {
        let cipher = cipher(key);
        let mut found = None;
        for number in SlotNumber::all() {
            let opened = self.try_slot(&cipher, number);
            found = found.or(opened);
        }
        found
    }

    fn try_slot(&self, cipher: &XChaCha20Poly1305, number: SlotNumber) -> Option<OpenSlot> {
        let mut reader = Reader::new(&self.bytes[number.range()]);
        let nonce: [u8; NONCE] = reader.array().ok()?;
        let mut secret = Zeroizing::new(reader.array::<SECRET>().ok()?);
        let tag: [u8; TAG] = reader.array().ok()?;
        cipher
            .decrypt_inout_detached(
                &XNonce::from(nonce),
                &self.associated(number),
                secret.as_mut_slice().into(),
                &Tag::from(tag),
            )
            .ok()?;
        let (commitment, rest) = secret.split_at_mut(COMMITMENT);
        let (kind, rest) = rest.split_first_mut()?;
        let kind = SlotKind::from_byte(*kind)?;
        let master = rest.first_chunk_mut::<KEY>()?;
        (*commitment == [0; COMMITMENT]).then(|| OpenSlot { number, kind, master: MasterKey::take(master) })
    }

    fn associated(&self, number: SlotNumber) -> [u8; HEADER + 1] {
        let mut bytes = [number.0; HEADER + 1];
        bytes[..HEADER].copy_from_slice(&self.bytes[..HEADER]);
        bytes
    }
}

fn cipher(key: &SlotKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&*key.0).into())
}

fn header(kdf: Kdf, salt: &[u8; SALT]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    for (index, number) in [VERSION, kdf.memory_kib, kdf.passes, kdf.lanes].into_iter().enumerate() {
        header[8 + 4 * index..][..4].copy_from_slice(&number.to_be_bytes());
    }
    header[24..][..SALT].copy_from_slice(salt);
    header
}

fn read_header(bytes: &[u8]) -> Result<(Kdf, [u8; SALT]), StoreError> {
    const DAMAGED: StoreError = StoreError::Damaged("the file of key slots");
    let mut reader = Reader::new(bytes);
    let number = |reader: &mut Reader<'_>| reader.u32().map_err(|_| DAMAGED);
    if reader.array::<8>().map_err(|_| DAMAGED)? != *MAGIC {
        return Err(DAMAGED);
    }
    let version = number(&mut reader)?;
    if version != VERSION {
        return Err(StoreError::LaterVersion { found: version, known: VERSION });
    }
    let (memory, passes, lanes) = (number(&mut reader)?, number(&mut reader)?, number(&mut reader)?);
    let kdf = Kdf::from_numbers(memory, passes, lanes).ok_or(DAMAGED)?;
    Ok((kdf, reader.array().map_err(|_| DAMAGED)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::from_seed([3; 32])
    }

    fn key(byte: u8) -> SlotKey {
        SlotKey(Zeroizing::new([byte; KEY]))
    }

    fn slots() -> KeySlots {
        KeySlots::new(Kdf::INSECURE, &mut rng())
    }

    fn put(slots: &mut KeySlots, number: u8, with: u8, kind: SlotKind) {
        slots.put(SlotNumber(number), &key(with), kind, &MasterKey::take(&mut [with; KEY]), &mut rng());
    }

    #[test]
    fn every_slot_opens_with_its_own_key_and_no_other() {
        let mut slots = slots();
        for number in 0..SLOTS as u8 {
            put(&mut slots, number, number, SlotKind::Normal);
        }
        let slots = KeySlots::decode(slots.bytes).unwrap();
        for number in 0..SLOTS as u8 {
            let open = slots.open(&key(number)).unwrap();
            assert_eq!((open.number, open.master.expose()), (SlotNumber(number), &[number; KEY]));
        }
        assert!(slots.open(&key(99)).is_none());
    }

    #[test]
    fn slots_of_all_kinds_and_unused_ones_look_alike() {
        let mut slots = slots();
        put(&mut slots, 1, 1, SlotKind::Normal);
        put(&mut slots, 4, 4, SlotKind::Duress);
        put(&mut slots, 6, 6, SlotKind::Recovery);
        for number in SlotNumber::all() {
            let slot = &slots.bytes[number.range()];
            let ones: u32 = slot.iter().map(|byte| byte.count_ones()).sum();
            // 768 bits, about half of them set: within six deviations.
            assert!((301..=467).contains(&ones), "{number:?}: {ones}");
            assert!(!slot.windows(4).any(|bytes| *bytes == [0; 4]), "{number:?}");
        }
        assert_eq!(slots.open(&key(4)).unwrap().kind, SlotKind::Duress);
        assert_eq!(slots.open(&key(6)).unwrap().kind, SlotKind::Recovery);
    }

    #[test]
    fn a_slot_does_not_open_in_another_place_or_under_another_header() {
        let mut slots = slots();
        put(&mut slots, 2, 2, SlotKind::Normal);
        let mut moved = slots.bytes.clone();
        moved.copy_within(SlotNumber(2).range(), SlotNumber(3).range().start);
        moved[SlotNumber(2).range()].fill(0);
        assert!(KeySlots::decode(moved).unwrap().open(&key(2)).is_none());
        // One pass instead of two: cheaper to guess.
        let mut cheaper = slots.bytes.clone();
        cheaper[19] = 1;
        assert!(KeySlots::decode(cheaper).unwrap().open(&key(2)).is_none());
        assert!(slots.open(&key(2)).is_some());
    }

    #[test]
    fn the_file_is_one_block_with_nothing_but_its_header_in_the_clear() {
        let slots = slots();
        assert_eq!(slots.as_bytes().len(), 4096);
        assert_eq!(&slots.as_bytes()[..24], b"sottokey\0\0\0\x01\0\0\x4c\0\0\0\0\x02\0\0\0\x01");
    }

    #[test]
    fn debug_shows_no_key() {
        let mut slots = slots();
        put(&mut slots, 2, 2, SlotKind::Normal);
        let shown = format!("{:?} {:?}", key(2), slots.open(&key(2)).unwrap());
        let expected = "SlotKey(secret) OpenSlot { number: SlotNumber(2), kind: Normal, master: MasterKey(secret) }";
        assert_eq!(shown, expected);
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(at in 0..FILE_BYTES, with: u8) {
            let mut bytes = slots().bytes;
            bytes[at] = with;
            if let Ok(slots) = KeySlots::decode(bytes) {
                prop_assert!(slots.open(&key(1)).is_none());
            }
        }
    }
}
