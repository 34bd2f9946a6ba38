//! Block headers and the authority's signature on them.

use crate::codec::{DecodeError, Reader};
use crate::domain;
use crate::hash::Hasher;
use crate::id::{BlockHash, ChainId, Hash, Height, PublicKey};
use crate::sign::{Signature, SigningKey, Verify};
use crate::time::UnixMillis;

const VERSION: u8 = 1;

/// What a block commits to (145 bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The block's number; the first is 1.
    pub height: Height,
    /// Hash of the block before; the chain id for the first.
    pub previous: BlockHash,
    /// When it was made; grows from block to block.
    pub time: UnixMillis,
    /// Root of the tree over the block's transactions.
    pub tx_root: Hash,
    /// Root of the state tree after the block.
    pub state_root: Hash,
    /// Root of the node list after the block.
    pub list_root: Hash,
}

impl Header {
    /// Bytes of an encoded header.
    pub const LEN: usize = 145;

    /// Canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::LEN);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.height.0.to_be_bytes());
        bytes.extend_from_slice(self.previous.as_ref());
        bytes.extend_from_slice(&self.time.0.to_be_bytes());
        bytes.extend_from_slice(self.tx_root.as_ref());
        bytes.extend_from_slice(self.state_root.as_ref());
        bytes.extend_from_slice(self.list_root.as_ref());
        bytes
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.u8()? != VERSION {
            return Err(DecodeError::Value("header version"));
        }
        Ok(Self {
            height: Height(reader.u64()?),
            previous: reader.id()?,
            time: UnixMillis(reader.u64()?),
            tx_root: reader.id()?,
            state_root: reader.id()?,
            list_root: reader.id()?,
        })
    }

    /// Signs the header.
    #[must_use]
    pub fn sign(self, authority: &SigningKey, chain: &ChainId) -> SignedHeader {
        let signature = authority.sign(domain::HEADER, chain, &self.encode());
        SignedHeader { header: self, signature }
    }
}

/// A header with the authority's signature (209 bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHeader {
    /// The header.
    pub header: Header,
    /// The authority's signature.
    pub signature: Signature,
}

impl SignedHeader {
    /// Bytes of an encoded signed header.
    pub const LEN: usize = Header::LEN + 64;

    /// Canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.header.encode();
        bytes.extend_from_slice(self.signature.as_ref());
        bytes
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { header: Header::read(reader)?, signature: reader.id()? })
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if they are not exactly a signed header.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let header = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(header)
    }

    /// The block's hash. It covers the signature, so nobody but the authority knows it beforehand.
    #[must_use]
    pub fn hash(&self, chain: &ChainId) -> BlockHash {
        Hasher::new(domain::BLOCK).chain(chain).chain(self.header.encode()).chain(self.signature).finish().into()
    }

    /// Whether the authority signed it.
    #[must_use]
    pub fn verify(&self, chain: &ChainId, authority: &PublicKey, verify: &dyn Verify) -> bool {
        verify.verify(domain::HEADER, chain, &self.header.encode(), authority, &self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::hash;
    use crate::sign::Ed25519;
    use sha2::Digest as _;

    #[test]
    fn golden_header_signature_and_block_hash_hold() {
        let chain = ChainId::new(*hash(domain::GENESIS, b"test vector genesis").as_bytes());
        let key = SigningKey::from_seed(&sha2::Sha256::digest(b"sotto vector authority").into());
        assert_eq!(key.public().to_string(), "7992d20e2c15669eb615a106509ae412be84b76a62788790df7f203e149c8b99");
        let header = Header {
            height: Height(9),
            previous: BlockHash::new([0; 32]),
            time: UnixMillis(1_790_000_000_000),
            tx_root: Hash::new([1; 32]),
            state_root: Hash::new([2; 32]),
            list_root: Hash::new([3; 32]),
        };
        assert_eq!(header.encode().len(), Header::LEN);
        let signed = header.sign(&key, &chain);
        assert_eq!(
            hex::encode(signed.signature),
            "84ee9f9e253e54666efc7fdbb67e9e7e9740b44fdae1cc4114cc154a75e3cd97\
             b53f778d51289be80106ca1dc06960091bc20ba242938a19688775f5f75f2309"
        );
        assert_eq!(signed.hash(&chain).to_string(), "7260004168adb4ff8010b6a53d72e14178670a1db94e176fe078f0e1a214b0a6");
        assert!(signed.verify(&chain, &key.public(), &Ed25519));
        assert_eq!(SignedHeader::decode(&signed.encode()), Ok(signed.clone()));
        assert_eq!(signed.encode().len(), SignedHeader::LEN);
        assert!(SignedHeader::decode(&signed.encode()[1..]).is_err());
    }
}
