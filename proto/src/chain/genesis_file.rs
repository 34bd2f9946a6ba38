//! The genesis as a file people can read and pass on: JSON with named fields, and the addresses to start from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::genesis::{Genesis, GenesisError};
use super::params::{Params, ParamsError, Preset};
use crate::id::{Amount, ChainId, NodeId, ParseAmountError, ParseIdError, PublicKey};
use crate::net_addr::NodeAddr;
use crate::time::UnixMillis;

/// Largest genesis file read, in bytes: 65,535 accounts of about 110 bytes and room to spare.
pub const MAX_FILE_BYTES: usize = 16 << 20;

/// A genesis with the addresses that are passed on beside it (not part of its hash).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisFile {
    /// The genesis.
    pub genesis: Genesis,
    /// Where the producer listens.
    pub producer_addresses: Vec<NodeAddr>,
    /// Nodes a newcomer may ask first.
    pub bootstrap: Vec<(NodeId, NodeAddr)>,
}

/// Why a file is not a genesis file.
#[derive(Debug, thiserror::Error)]
pub enum GenesisFileError {
    /// Too large to be one.
    #[error("{0} bytes is too large for a genesis file")]
    TooLarge(usize),
    /// Not the JSON it should be.
    #[error("not a genesis file: {0}")]
    Json(#[from] serde_json::Error),
    /// A key or hash that is none.
    #[error("genesis file: {0}")]
    Id(#[from] ParseIdError),
    /// An amount that is none.
    #[error("genesis file: {0}")]
    Amount(#[from] ParseAmountError),
    /// A parameter that is none.
    #[error("genesis file: {0}")]
    Params(#[from] ParamsError),
    /// A parameter is missing.
    #[error("genesis file: parameter `{0}` is missing")]
    MissingParameter(&'static str),
    /// The preset is neither `mainnet` nor `testnet`.
    #[error("genesis file: unknown preset {0:?} (mainnet, testnet)")]
    Preset(String),
    /// An address that is none.
    #[error("genesis file: address {0:?} is not of the form /ip4/…/tcp/…")]
    Address(String),
    /// A version this program does not know.
    #[error("genesis file: version {0}, this program reads version 1")]
    Version(u32),
    /// The content does not hash to the chain id that the file states: it was changed.
    #[error("genesis file: its content belongs to chain {actual}, but it says it is chain {stated}")]
    ChainId {
        /// What the file says.
        stated: ChainId,
        /// What its content hashes to.
        actual: ChainId,
    },
    /// The genesis itself cannot be.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    v: u32,
    chain_id: String,
    preset: String,
    time_ms: u64,
    authority: String,
    producer: String,
    producer_addresses: Vec<String>,
    bootstrap: Vec<Bootstrap>,
    params: BTreeMap<String, u64>,
    balances: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bootstrap {
    node: String,
    address: String,
}

impl GenesisFile {
    /// The file's text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let genesis = &self.genesis;
        let document = Document {
            v: 1,
            chain_id: genesis.chain_id().to_string(),
            preset: genesis.preset.name().to_owned(),
            time_ms: genesis.time.0,
            authority: genesis.authority.to_string(),
            producer: genesis.producer.to_string(),
            producer_addresses: self.producer_addresses.iter().map(ToString::to_string).collect(),
            bootstrap: self
                .bootstrap
                .iter()
                .map(|(node, address)| Bootstrap { node: node.to_string(), address: address.to_string() })
                .collect(),
            params: Params::NAMES.iter().map(|&name| name.to_owned()).zip(genesis.params.values()).collect(),
            balances: genesis.balances.iter().map(|(key, amount)| (key.to_string(), amount.to_string())).collect(),
        };
        // Strings and integers in maps with string keys always serialise.
        serde_json::to_string_pretty(&document).unwrap_or_default()
    }

    /// Reads a file's text and checks all of it, the stated chain id included.
    ///
    /// # Errors
    /// [`GenesisFileError`] says what is wrong with it.
    pub fn from_json(text: &str) -> Result<Self, GenesisFileError> {
        if text.len() > MAX_FILE_BYTES {
            return Err(GenesisFileError::TooLarge(text.len()));
        }
        let document: Document = serde_json::from_str(text)?;
        if document.v != 1 {
            return Err(GenesisFileError::Version(document.v));
        }
        let preset = Preset::from_name(&document.preset).ok_or(GenesisFileError::Preset(document.preset))?;
        let mut params = Params::preset(preset);
        if let Some(&missing) = Params::NAMES.iter().find(|&&name| !document.params.contains_key(name)) {
            return Err(GenesisFileError::MissingParameter(missing));
        }
        for (name, value) in &document.params {
            params.set(name, *value)?;
        }
        let mut balances = BTreeMap::<PublicKey, Amount>::new();
        for (key, amount) in &document.balances {
            balances.insert(key.parse()?, amount.parse()?);
        }
        let genesis = Genesis {
            preset,
            time: UnixMillis(document.time_ms),
            authority: document.authority.parse()?,
            producer: document.producer.parse()?,
            balances,
            params,
        };
        genesis.check()?;
        let (stated, actual) = (document.chain_id.parse()?, genesis.chain_id());
        if stated != actual {
            return Err(GenesisFileError::ChainId { stated, actual });
        }
        let address =
            |text: &String| text.parse().map_err(|_| GenesisFileError::Address(text.chars().take(80).collect()));
        Ok(Self {
            genesis,
            producer_addresses: document.producer_addresses.iter().map(address).collect::<Result<_, _>>()?,
            bootstrap: document
                .bootstrap
                .iter()
                .map(|entry| Ok((entry.node.parse()?, address(&entry.address)?)))
                .collect::<Result<_, GenesisFileError>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::genesis::tests::genesis;
    use super::*;

    fn file() -> GenesisFile {
        GenesisFile {
            genesis: genesis(),
            producer_addresses: vec!["/ip4/127.99.0.1/tcp/27000".parse().unwrap()],
            bootstrap: vec![(NodeId::new([7; 32]), "/ip6/::1/tcp/27010".parse().unwrap())],
        }
    }

    #[test]
    fn the_file_round_trips() {
        assert_eq!(GenesisFile::from_json(&file().to_json()).unwrap(), file());
    }

    #[test]
    fn a_changed_parameter_no_longer_matches_the_chain_id() {
        let text = file().to_json().replace("\"block_time_ms\": 1000", "\"block_time_ms\": 1001");
        assert!(matches!(GenesisFile::from_json(&text), Err(GenesisFileError::ChainId { .. })));
    }

    #[test]
    fn addresses_are_not_part_of_the_chain_id() {
        let text = file().to_json().replace("127.99.0.1", "127.98.0.1");
        assert!(GenesisFile::from_json(&text).is_ok());
    }
}
