//! What is signed in requests to a swarm, and what a node signs in return (B3).
//!
//! The canonical bytes themselves travel, next to the signature, and are decoded strictly: what was signed is what is
//! read. A signature names the node it is for, the time and the chain, so it serves once, here and now.

use std::marker::PhantomData;

use super::fixed;
use crate::address::{Access, Address};
use crate::codec::{DecodeError, Reader};
use crate::domain;
use crate::domain::Domain;
use crate::id::{ChainId, Height, NodeId, PublicKey, RecordId};
use crate::limits::{DELETE_IDS, SIGNED_DELETE_MAX, TTL_SECONDS};
use crate::sign::{Signature, SigningKey, Verify};
use crate::time::UnixSeconds;

/// A signature for an address, and the Ed25519 key it is checked with.
///
/// For an account's inbox the key comes with the signature, because the address holds the converted key; it is no
/// identity: nothing may be keyed by it. For every other address it is the address's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The key.
    pub key: PublicKey,
    /// The signature.
    pub signature: Signature,
}

impl Authorization {
    fn sign(domain: Domain, bytes: &[u8], key: &SigningKey, chain: &ChainId) -> Self {
        Self { key: key.public(), signature: key.sign(domain, chain, bytes) }
    }

    fn verify(&self, domain: Domain, bytes: &[u8], address: &Address, chain: &ChainId, verify: &dyn Verify) -> bool {
        address.is_signed_by(&self.key) && verify.verify(domain, chain, bytes, &self.key, &self.signature)
    }

    /// Key and signature as protobuf fields: what the receiver knows anyway is left empty.
    pub(super) fn to_fields(authorization: Option<&Self>, address: &Address) -> (Vec<u8>, Vec<u8>) {
        let Some(Self { key, signature }) = authorization else { return (Vec::new(), Vec::new()) };
        let key = if address.kind().signature_brings_key() { key.as_bytes().to_vec() } else { Vec::new() };
        (key, signature.as_bytes().to_vec())
    }

    pub(super) fn from_fields(address: &Address, key: &[u8], signature: &[u8]) -> Result<Self, DecodeError> {
        let key = match key {
            [] if !address.kind().signature_brings_key() => PublicKey::new(*address.key()),
            key if address.kind().signature_brings_key() => fixed("key", key)?,
            _ => return Err(DecodeError::Value("key")),
        };
        Ok(Self { key, signature: fixed("signature", signature)? })
    }
}

/// Where in a node's arrivals a reader stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// Which database: drawn when it was made. Another one knows nothing of this cursor.
    pub epoch: u64,
    /// The last arrival that was read there; 0 for none.
    pub seq: u64,
}

/// What a reader of an address asks one node for (93 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The node asked: no other may show the request around as its own.
    pub node: NodeId,
    /// The address.
    pub address: Address,
    /// When it was signed, by network time.
    pub time: UnixSeconds,
    /// Records after this one.
    pub cursor: Cursor,
    /// Bytes of records at most.
    pub max_bytes: u32,
}

impl Read {
    /// Bytes of its canonical form.
    pub const LEN: usize = 32 + Address::LEN + 8 + 8 + 8 + 4;

    /// Canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::LEN);
        bytes.extend_from_slice(self.node.as_ref());
        bytes.extend_from_slice(&self.address.to_bytes());
        bytes.extend_from_slice(&self.time.0.to_be_bytes());
        bytes.extend_from_slice(&self.cursor.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.cursor.seq.to_be_bytes());
        bytes.extend_from_slice(&self.max_bytes.to_be_bytes());
        bytes
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if they are not exactly that.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let read = Self {
            node: reader.id()?,
            address: Address::read(&mut reader)?,
            time: UnixSeconds(reader.u64()?),
            cursor: Cursor { epoch: reader.u64()?, seq: reader.u64()? },
            max_bytes: reader.u32()?,
        };
        reader.finish()?;
        Ok(read)
    }
}

/// The two things a [`Read`] can be signed for. They differ in their domain alone, so that a signature for one never
/// serves as the other.
pub trait Purpose {
    /// The domain of the signature.
    const DOMAIN: Domain;
}

/// What there is, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retrieve {}

impl Purpose for Retrieve {
    const DOMAIN: Domain = domain::RETRIEVE;
}

/// What there is, and what arrives later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribe {}

impl Purpose for Subscribe {
    const DOMAIN: Domain = domain::SUBSCRIBE;
}

/// A [`Read`] with the signature that its address asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedRead<P> {
    read: Read,
    authorization: Option<Authorization>,
    purpose: PhantomData<P>,
}

impl<P: Purpose> SignedRead<P> {
    /// Signs `read` with the key of its address.
    #[must_use]
    pub fn sign(read: Read, key: &SigningKey, chain: &ChainId) -> Self {
        let authorization = match read.address.kind().read() {
            Access::Anyone => None,
            Access::KeyHolder | Access::Nobody => Some(Authorization::sign(P::DOMAIN, &read.to_bytes(), key, chain)),
        };
        Self { read, authorization, purpose: PhantomData }
    }

    /// A request for a public record, which anybody may read.
    ///
    /// # Errors
    /// [`DecodeError::Value`] if the address is of a kind that wants a signature.
    pub fn public(read: Read) -> Result<Self, DecodeError> {
        match read.address.kind().read() {
            Access::Anyone => Ok(Self { read, authorization: None, purpose: PhantomData }),
            Access::KeyHolder | Access::Nobody => Err(DecodeError::Value("signature")),
        }
    }

    /// What is asked for.
    #[must_use]
    pub const fn read(&self) -> &Read {
        &self.read
    }

    /// The signature; `None` for a public record.
    #[must_use]
    pub const fn authorization(&self) -> Option<&Authorization> {
        self.authorization.as_ref()
    }

    /// Whether whoever asks may read the address. Node and time of the request are for the caller to check.
    #[must_use]
    pub fn verify(&self, chain: &ChainId, verify: &dyn Verify) -> bool {
        match &self.authorization {
            None => self.read.address.kind().read() == Access::Anyone,
            Some(by) => by.verify(P::DOMAIN, &self.read.to_bytes(), &self.read.address, chain, verify),
        }
    }

    pub(super) fn from_fields(request: &[u8], key: &[u8], signature: &[u8]) -> Result<Self, DecodeError> {
        let read = Read::decode(request)?;
        if read.address.kind().read() == Access::Anyone {
            let unsigned = key.is_empty() && signature.is_empty();
            return if unsigned { Self::public(read) } else { Err(DecodeError::Value("signature")) };
        }
        let authorization = Some(Authorization::from_fields(&read.address, key, signature)?);
        Ok(Self { read, authorization, purpose: PhantomData })
    }
}

/// A record to erase. Its time and life span come along, because a node that does not have the record must know how
/// long to remember that it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletedRecord {
    /// The record.
    pub id: RecordId,
    /// Its timestamp.
    pub timestamp: UnixSeconds,
    /// Its life span in seconds.
    pub ttl: u32,
}

impl DeletedRecord {
    /// When the record expires, and with it the tombstone.
    #[must_use]
    pub const fn expiry(&self) -> UnixSeconds {
        UnixSeconds(self.timestamp.0.saturating_add(self.ttl as u64))
    }
}

/// The wish to erase up to 256 records of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    address: Address,
    time: UnixSeconds,
    records: Vec<DeletedRecord>,
}

impl Delete {
    /// A wish for `records` of `address`, signed at `time` by network time.
    ///
    /// # Errors
    /// [`DecodeError`] if nobody may delete there, if there are more than 256 records, or if one has a life span that
    /// no record can have: its tombstone would stay for ever.
    pub fn new(address: Address, time: UnixSeconds, records: Vec<DeletedRecord>) -> Result<Self, DecodeError> {
        super::at_most("deleted records", DELETE_IDS, records.len())?;
        if address.kind().delete() != Access::KeyHolder {
            return Err(DecodeError::Value("address of a delete"));
        }
        if !records.iter().all(|record| TTL_SECONDS.contains(&record.ttl)) {
            return Err(DecodeError::Value("ttl"));
        }
        Ok(Self { address, time, records })
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// When it was signed, by network time.
    #[must_use]
    pub const fn time(&self) -> UnixSeconds {
        self.time
    }

    /// The records to erase.
    #[must_use]
    pub fn records(&self) -> &[DeletedRecord] {
        &self.records
    }

    /// Canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SIGNED_DELETE_MAX);
        bytes.extend_from_slice(&self.address.to_bytes());
        bytes.extend_from_slice(&self.time.0.to_be_bytes());
        #[expect(clippy::cast_possible_truncation, reason = "`new` holds the count to 256")]
        bytes.extend_from_slice(&(self.records.len() as u16).to_be_bytes());
        for record in &self.records {
            bytes.extend_from_slice(record.id.as_ref());
            bytes.extend_from_slice(&record.timestamp.0.to_be_bytes());
            bytes.extend_from_slice(&record.ttl.to_be_bytes());
        }
        bytes
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if they are not exactly that.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let delete = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(delete)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (address, time) = (Address::read(reader)?, UnixSeconds(reader.u64()?));
        let count = usize::from(reader.u16()?);
        super::at_most("deleted records", DELETE_IDS, count)?;
        let record =
            |_| Ok(DeletedRecord { id: reader.id()?, timestamp: UnixSeconds(reader.u64()?), ttl: reader.u32()? });
        let records = (0..count).map(record).collect::<Result<_, DecodeError>>()?;
        Self::new(address, time, records)
    }
}

/// A delete with its signature. It is kept as long as the tombstones it makes: it proves to members, and in storage
/// tests, that the owner wished the records gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedDelete {
    delete: Delete,
    authorization: Authorization,
}

impl SignedDelete {
    /// Signs `delete` with the key of its address.
    #[must_use]
    pub fn sign(delete: Delete, key: &SigningKey, chain: &ChainId) -> Self {
        let authorization = Authorization::sign(domain::DELETE, &delete.to_bytes(), key, chain);
        Self { delete, authorization }
    }

    /// What is to be erased.
    #[must_use]
    pub const fn delete(&self) -> &Delete {
        &self.delete
    }

    /// The signature.
    #[must_use]
    pub const fn authorization(&self) -> &Authorization {
        &self.authorization
    }

    /// Whether the owner of the address signed it. The time is for the caller to check, where a client asks.
    #[must_use]
    pub fn verify(&self, chain: &ChainId, verify: &dyn Verify) -> bool {
        self.authorization.verify(domain::DELETE, &self.delete.to_bytes(), &self.delete.address, chain, verify)
    }

    /// The form among nodes: canonical bytes ‖ key ‖ signature.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.delete.to_bytes();
        bytes.extend_from_slice(self.authorization.key.as_ref());
        bytes.extend_from_slice(self.authorization.signature.as_ref());
        bytes
    }

    /// Reads that form. The signature is not checked.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not exactly that, or the key is not the address's.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let delete = Delete::read(&mut reader)?;
        let authorization = Authorization { key: reader.id()?, signature: reader.id()? };
        reader.finish()?;
        if !delete.address.is_signed_by(&authorization.key) {
            return Err(DecodeError::Value("key"));
        }
        Ok(Self { delete, authorization })
    }

    pub(super) fn from_fields(request: &[u8], key: &[u8], signature: &[u8]) -> Result<Self, DecodeError> {
        let delete = Delete::decode(request)?;
        let authorization = Authorization::from_fields(&delete.address, key, signature)?;
        Ok(Self { delete, authorization })
    }
}

/// A node's word that it keeps a record, evidence against it if it does not (113 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The node.
    pub node: NodeId,
    /// The record's address.
    pub address: Address,
    /// The record.
    pub id: RecordId,
    /// Until when.
    pub expiry: UnixSeconds,
    /// The node's final height: as of it, its swarm owns the address.
    pub height: Height,
}

impl Receipt {
    /// Bytes of its canonical form.
    pub const LEN: usize = 32 + Address::LEN + 32 + 8 + 8;

    /// Canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::LEN);
        bytes.extend_from_slice(self.node.as_ref());
        bytes.extend_from_slice(&self.address.to_bytes());
        bytes.extend_from_slice(self.id.as_ref());
        bytes.extend_from_slice(&self.expiry.0.to_be_bytes());
        bytes.extend_from_slice(&self.height.0.to_be_bytes());
        bytes
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if they are not exactly that.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let receipt = Self {
            node: reader.id()?,
            address: Address::read(&mut reader)?,
            id: reader.id()?,
            expiry: UnixSeconds(reader.u64()?),
            height: Height(reader.u64()?),
        };
        reader.finish()?;
        Ok(receipt)
    }

    /// Signs it with the node's key.
    #[must_use]
    pub fn sign(&self, node: &SigningKey, chain: &ChainId) -> Signature {
        node.sign(domain::RECEIPT, chain, &self.to_bytes())
    }

    /// Whether the node it names signed it.
    #[must_use]
    pub fn verify(&self, chain: &ChainId, signature: &Signature, verify: &dyn Verify) -> bool {
        verify.verify(domain::RECEIPT, chain, &self.to_bytes(), &self.node.into(), signature)
    }
}
