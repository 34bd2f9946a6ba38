//! Keys of messages that later ones have overtaken: some may still come, others are lost.
//!
//! At most [`SKIPPED_MAX`] keys of [`SKIPPED_CHAINS_MAX`] chains are kept. The oldest go first.

use std::collections::BTreeMap;

use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::limits::{SKIPPED_CHAINS_MAX, SKIPPED_MAX};
use sotto_proto::time::UnixSeconds;
use zeroize::Zeroizing;

use super::keys::Key;

/// Version of what is stored.
const VERSION: u8 = 1;

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Skipped(Vec<SkippedChain>);

/// Those of a chain, which its header key tells from others.
#[derive(Clone, Debug)]
struct SkippedChain {
    header: Key,
    /// When the last one was added.
    at: UnixSeconds,
    keys: BTreeMap<u32, Key>,
}

impl Skipped {
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|chain| chain.keys.len()).sum()
    }

    /// The header keys, the newest chain's first.
    pub(super) fn header_keys(&self) -> impl Iterator<Item = &Key> {
        self.0.iter().rev().map(|chain| &chain.header)
    }

    pub(super) fn key(&self, header: &Key, number: u32) -> Option<&Key> {
        self.0.iter().find(|chain| chain.header == *header)?.keys.get(&number)
    }

    pub(super) fn remove(&mut self, header: &Key, number: u32) {
        if let Some(chain) = self.0.iter_mut().find(|chain| chain.header == *header) {
            chain.keys.remove(&number);
        }
        self.0.retain(|chain| !chain.keys.is_empty());
    }

    pub(super) fn add(&mut self, header: &Key, keys: Vec<(u32, Key)>, now: UnixSeconds) {
        if keys.is_empty() {
            return;
        }
        match self.0.iter_mut().find(|chain| chain.header == *header) {
            Some(chain) => {
                chain.keys.extend(keys);
                chain.at = now;
            }
            None => self.0.push(SkippedChain { header: header.clone(), at: now, keys: keys.into_iter().collect() }),
        }
        let too_many = self.0.len().saturating_sub(SKIPPED_CHAINS_MAX);
        self.0.drain(..too_many);
        while self.len() > SKIPPED_MAX {
            let Some(oldest) = self.0.first_mut() else { return };
            oldest.keys.pop_first();
            self.0.retain(|chain| !chain.keys.is_empty());
        }
    }

    /// True if that were any.
    pub(super) fn drop_before(&mut self, time: UnixSeconds) -> bool {
        let before = self.0.len();
        self.0.retain(|chain| chain.at >= time);
        self.0.len() < before
    }

    /// For the store: version ‖ u8 count ‖ (header key 32 ‖ time u64 ‖ u16 count ‖ (number u32 ‖ key 32)*)*.
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 + self.0.len() * 42 + self.len() * 36));
        bytes.push(VERSION);
        bytes.push(u8::try_from(self.0.len()).unwrap_or(u8::MAX));
        for chain in &self.0 {
            bytes.extend_from_slice(chain.header.expose());
            bytes.extend_from_slice(&chain.at.0.to_be_bytes());
            bytes.extend_from_slice(&u16::try_from(chain.keys.len()).unwrap_or(u16::MAX).to_be_bytes());
            for (number, key) in &chain.keys {
                bytes.extend_from_slice(&number.to_be_bytes());
                bytes.extend_from_slice(key.expose());
            }
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(DecodeError::Value("version of skipped keys"));
        }
        let chains = usize::from(reader.u8()?);
        let mut skipped = Self::default();
        for _ in 0..chains {
            let (header, at) = (read_key(&mut reader)?, UnixSeconds(reader.u64()?));
            let count = usize::from(reader.u16()?);
            let mut keys = BTreeMap::new();
            for _ in 0..count {
                keys.insert(reader.u32()?, read_key(&mut reader)?);
            }
            skipped.0.push(SkippedChain { header, at, keys });
        }
        reader.finish()?;
        if chains > SKIPPED_CHAINS_MAX || skipped.len() > SKIPPED_MAX {
            return Err(DecodeError::Value("count of skipped keys"));
        }
        Ok(skipped)
    }
}

pub(super) fn read_key(reader: &mut Reader<'_>) -> Result<Key, DecodeError> {
    Ok(Key::new(&Zeroizing::new(reader.array()?)))
}
