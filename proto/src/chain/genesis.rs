//! The genesis: who may produce blocks, who holds coins at the beginning, and the chain's parameters.

use std::collections::BTreeMap;

use super::params::{Params, ParamsError, Preset};
use crate::codec::{DecodeError, Reader};
use crate::domain;
use crate::hash::hash;
use crate::id::{Amount, ChainId, NodeId, PublicKey};
use crate::time::UnixMillis;

const VERSION: u8 = 1;

/// Bytes or values that are no genesis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// The bytes are not canonical.
    #[error("genesis bytes: {0}")]
    Decode(#[from] DecodeError),
    /// The parameters cannot be.
    #[error("genesis: {0}")]
    Params(#[from] ParamsError),
    /// More coins than fit.
    #[error("genesis: the balances add up to more than 2^64 − 1 units")]
    Supply,
    /// More accounts than the format holds.
    #[error("genesis: {0} accounts, at most 65,535")]
    TooManyAccounts(usize),
}

/// What a chain starts from. Its hash is the chain id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// Kind of network.
    pub preset: Preset,
    /// When the chain was founded; block times grow from here.
    pub time: UnixMillis,
    /// The key that signs blocks. It simulates consensus and is trusted for that; it does not rotate.
    pub authority: PublicKey,
    /// The producer's network identity.
    pub producer: NodeId,
    /// First owners of coins.
    pub balances: BTreeMap<PublicKey, Amount>,
    /// The numbers the chain runs on.
    pub params: Params,
}

impl Genesis {
    /// Canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, self.preset.code()];
        bytes.extend_from_slice(&self.time.0.to_be_bytes());
        bytes.extend_from_slice(self.authority.as_ref());
        bytes.extend_from_slice(self.producer.as_ref());
        let count = u16::try_from(self.balances.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&count.to_be_bytes());
        for (account, balance) in self.balances.iter().take(usize::from(count)) {
            bytes.extend_from_slice(account.as_ref());
            bytes.extend_from_slice(&balance.0.to_be_bytes());
        }
        let values = self.params.values();
        bytes.extend_from_slice(&u16::try_from(values.len()).unwrap_or(u16::MAX).to_be_bytes());
        for value in values {
            bytes.extend_from_slice(&value.to_be_bytes());
        }
        bytes
    }

    /// Reads canonical bytes and checks them.
    ///
    /// # Errors
    /// [`GenesisError`] if they are not a genesis a chain can start from.
    pub fn decode(bytes: &[u8]) -> Result<Self, GenesisError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(DecodeError::Value("genesis version").into());
        }
        let preset = Preset::from_code(reader.u8()?).ok_or(DecodeError::Value("preset"))?;
        let time = UnixMillis(reader.u64()?);
        let (authority, producer) = (reader.id()?, reader.id()?);
        let mut balances = BTreeMap::new();
        for _ in 0..reader.u16()? {
            let (account, balance): (PublicKey, _) = (reader.id()?, Amount(reader.u64()?));
            if balances.last_key_value().is_some_and(|(last, _)| *last >= account) {
                return Err(DecodeError::Value("accounts (not ascending)").into());
            }
            balances.insert(account, balance);
        }
        let count = reader.u16()?;
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(reader.u64()?);
        }
        reader.finish()?;
        let params = Params::from_values(&values).ok_or(DecodeError::Value("parameter count"))?;
        let genesis = Self { preset, time, authority, producer, balances, params };
        genesis.check()?;
        Ok(genesis)
    }

    /// Whether a chain can start from this.
    ///
    /// # Errors
    /// [`GenesisError`] says why not.
    pub fn check(&self) -> Result<(), GenesisError> {
        self.params.check()?;
        if self.balances.len() > usize::from(u16::MAX) {
            return Err(GenesisError::TooManyAccounts(self.balances.len()));
        }
        self.balances
            .values()
            .try_fold(Amount(0), |sum, balance| sum.checked_add(*balance))
            .ok_or(GenesisError::Supply)?;
        Ok(())
    }

    /// The chain's id, which stands in every protocol name and signature.
    #[must_use]
    pub fn chain_id(&self) -> ChainId {
        ChainId::new(*hash(domain::GENESIS, self.encode()).as_bytes())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn genesis() -> Genesis {
        Genesis {
            preset: Preset::Testnet,
            time: UnixMillis(1_790_000_000_000),
            authority: PublicKey::new([1; 32]),
            producer: NodeId::new([2; 32]),
            balances: [(PublicKey::new([3; 32]), Amount::coins(1000)), (PublicKey::new([4; 32]), Amount::coins(5))]
                .into(),
            params: Params::preset(Preset::Testnet),
        }
    }

    #[test]
    fn canonical_bytes_round_trip() {
        let genesis = genesis();
        assert_eq!(Genesis::decode(&genesis.encode()), Ok(genesis));
    }

    #[test]
    fn the_chain_id_of_a_fixed_genesis_never_changes() {
        assert_eq!(genesis().chain_id().to_string(), include_str!("../../tests/data/genesis_chain_id.txt").trim(),);
    }

    #[test]
    fn every_truncation_and_every_trailing_byte_is_refused() {
        let bytes = genesis().encode();
        for length in 0..bytes.len() {
            assert!(Genesis::decode(&bytes[..length]).is_err(), "{length}");
        }
        assert!(Genesis::decode(&[bytes, vec![0]].concat()).is_err());
    }

    #[test]
    fn more_coins_than_fit_are_refused() {
        let mut genesis = genesis();
        genesis.balances.insert(PublicKey::new([9; 32]), Amount(u64::MAX));
        assert_eq!(genesis.check(), Err(GenesisError::Supply));
    }
}
