//! A service node as the list shows it. Only what changes rarely stands here, so that a light client that fetches
//! changed buckets has little to fetch.

use std::fmt;
use std::str::FromStr;

use crate::codec::{DecodeError, Reader};
use crate::id::{NodeId, PublicKey, SwarmId, X25519Key};
use crate::limits::{ADDRESSES_PER_NODE, MULTIADDR_MAX, REGION_MAX};
use crate::net_addr::NodeAddr;

/// Where in its life a registered node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeState {
    /// It serves.
    Active,
    /// It failed; it may come back while it has credit.
    Decommissioned,
    /// Its operator asked for the stake; it hands over and is gone after the lock-up.
    Exiting,
}

impl NodeState {
    /// The byte in a node record.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Active => 1,
            Self::Decommissioned => 2,
            Self::Exiting => 3,
        }
    }

    /// `active`, `decommissioned` or `exiting`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Decommissioned => "decommissioned",
            Self::Exiting => "exiting",
        }
    }

    fn from_code(code: u8) -> Result<Self, DecodeError> {
        match code {
            1 => Ok(Self::Active),
            2 => Ok(Self::Decommissioned),
            3 => Ok(Self::Exiting),
            _ => Err(DecodeError::Value("node state")),
        }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a node says it stands: up to 16 lower-case letters, digits and hyphens; may be empty. Self-declared, so good
/// against accidents only.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(String);

/// A text that is no region.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a region: at most {REGION_MAX} lower-case letters, digits and hyphens")]
pub struct RegionError(String);

impl Region {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = RegionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if text.len() > REGION_MAX || !text.bytes().all(fits) {
            return Err(RegionError(text.chars().take(40).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A registered node, as it stands in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its key and network identity.
    pub node: NodeId,
    /// Its present key for Noise.
    pub x25519: X25519Key,
    /// The key before, still accepted for one period.
    pub previous_x25519: Option<X25519Key>,
    /// Whose stake it is.
    pub operator: PublicKey,
    /// Where in its life it is.
    pub state: NodeState,
    /// Its swarm, if it is in one.
    pub swarm: Option<SwarmId>,
    /// Where it says it stands.
    pub region: Region,
    /// Where it listens; one to four.
    pub addresses: Vec<NodeAddr>,
}

pub(super) fn write_region(region: &Region, bytes: &mut Vec<u8>) {
    bytes.push(u8::try_from(region.0.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(region.0.as_bytes());
}

pub(super) fn read_region(reader: &mut Reader<'_>) -> Result<Region, DecodeError> {
    let length = usize::from(reader.u8()?);
    let text = std::str::from_utf8(reader.bytes(length)?).map_err(|_| DecodeError::Value("region"))?;
    text.parse().map_err(|_| DecodeError::Value("region"))
}

pub(super) fn write_addresses(addresses: &[NodeAddr], bytes: &mut Vec<u8>) {
    bytes.push(u8::try_from(addresses.len()).unwrap_or(u8::MAX));
    for address in addresses {
        let encoded = address.to_bytes();
        bytes.extend_from_slice(&u16::try_from(encoded.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(&encoded);
    }
}

pub(super) fn read_addresses(reader: &mut Reader<'_>) -> Result<Vec<NodeAddr>, DecodeError> {
    let count = usize::from(reader.u8()?);
    if !ADDRESSES_PER_NODE.contains(&count) {
        return Err(DecodeError::Value("number of addresses"));
    }
    (0..count)
        .map(|_| {
            let length = usize::from(reader.u16()?);
            if length > MULTIADDR_MAX {
                return Err(DecodeError::TooLong { field: "address", limit: MULTIADDR_MAX, actual: length });
            }
            NodeAddr::from_bytes(reader.bytes(length)?)
        })
        .collect()
}

impl NodeRecord {
    /// Canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(192);
        self.write(&mut bytes);
        bytes
    }

    /// Appends the canonical bytes.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.node.as_ref());
        bytes.extend_from_slice(self.x25519.as_ref());
        bytes.extend_from_slice(self.previous_x25519.map_or([0; 32], |key| *key.as_bytes()).as_ref());
        bytes.extend_from_slice(self.operator.as_ref());
        bytes.push(self.state.code());
        bytes.extend_from_slice(&self.swarm.unwrap_or(SwarmId::NONE).0.to_be_bytes());
        write_region(&self.region, bytes);
        write_addresses(&self.addresses, bytes);
    }

    /// Reads one record from the front of `reader`.
    ///
    /// # Errors
    /// [`DecodeError`] if there is no canonical record.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            node: reader.id()?,
            x25519: reader.id()?,
            previous_x25519: Some(reader.array()?).filter(|key| *key != [0; 32]).map(X25519Key::new),
            operator: reader.id()?,
            state: NodeState::from_code(reader.u8()?)?,
            swarm: Some(SwarmId(reader.u64()?)).filter(|swarm| *swarm != SwarmId::NONE),
            region: read_region(reader)?,
            addresses: read_addresses(reader)?,
        })
    }

    /// Reads exactly one record.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not exactly one canonical record.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let record = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(record)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::Domain;
    use crate::hash::hash;

    pub(crate) fn vector(i: u32) -> NodeRecord {
        let key = |label: &'static str| *hash(Domain::new(label), i.to_be_bytes()).as_bytes();
        NodeRecord {
            node: key("node").into(),
            x25519: key("x").into(),
            previous_x25519: None,
            operator: key("op").into(),
            state: NodeState::Active,
            swarm: Some(SwarmId(0)),
            region: "eu".parse().unwrap(),
            addresses: vec![format!("/ip4/127.0.0.1/tcp/{}", 20_000 + i).parse().unwrap()],
        }
    }

    #[test]
    fn the_golden_record_holds() {
        let golden = "0552c0179a8925b4a931b1a712733591e0c02c1fde281e5b48e3656f93a4798bc0d77b04e2cf3e3d36935f317416eba8\
                      ee40e94690a7defd352895de5c2eb8c70000000000000000000000000000000000000000000000000000000000000000\
                      b41bbeae03419d077bb703328de1e1aadafd9f4fb67419d30ba41fbf65fd9e0f010000000000000000026575010008\
                      047f000001064e20";
        let record = vector(0);
        assert_eq!(hex::encode(record.encode()), golden);
        assert_eq!(NodeRecord::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn truncated_records_are_refused() {
        let bytes = vector(3).encode();
        for length in 0..bytes.len() {
            assert!(NodeRecord::decode(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn regions_are_short_and_plain() {
        for good in ["", "eu", "us-east-1", "abcdefghijklmnop"] {
            assert!(good.parse::<Region>().is_ok(), "{good}");
        }
        for bad in ["EU", "a b", "abcdefghijklmnopq", "ü"] {
            assert!(bad.parse::<Region>().is_err(), "{bad}");
        }
    }
}
