//! What a swarm stores: an envelope around sealed bytes, and the record that goes with it over wire and disk (B4).
//!
//! ```text
//! E      = u8 1 ‖ address 33 ‖ timestamp u64 ‖ ttl u32 ‖ anchor u64 ‖ u32 n ‖ data n
//! id     = H("sotto/v1/envelope", chain_id ‖ E)
//! record = E ‖ nonce u64 ‖ u8 a ‖ auth a
//! ```
//!
//! Decoding is strict: whatever decodes encodes to the same bytes again, so an id can be taken of either.

use std::fmt;

use crate::address::{Access, Address};
use crate::codec::{DecodeError, Reader};
use crate::domain;
use crate::hash::Hasher;
use crate::id::{ChainId, Height, PublicKey, RecordId};
use crate::limits::budget::{ENVELOPE_HEADER, RECORD_TRAILER, SEAL_LAYER};
use crate::limits::{ENVELOPE_DATA_SIZES, TTL_SECONDS};
use crate::pow::Nonce;
use crate::sign::{Signature, SigningKey, Verify};
use crate::time::UnixSeconds;

/// The only version there is.
const VERSION: u8 = 1;

/// Bytes of an envelope before its data.
pub const HEADER_LEN: usize = ENVELOPE_HEADER;

/// Bytes of an envelope's data that are not content: the seal's ephemeral key 32, the content's length 4, the tag 16.
/// (Limits count the content's first byte, its kind, to the seal; here it is content.)
pub const SEAL_OVERHEAD: usize = SEAL_LAYER - 1;

/// Bytes of an envelope that its seal is bound to: version, address, timestamp, TTL.
pub const SEALED_HEADER_LEN: usize = HEADER_LEN - 8 - 4;

/// What a seal is bound to: the first 46 bytes of `E`. The anchor is not among them, so that new work needs no new seal.
#[must_use]
pub fn sealed_header(address: Address, timestamp: UnixSeconds, ttl: Ttl) -> [u8; SEALED_HEADER_LEN] {
    let mut header = [0; SEALED_HEADER_LEN];
    header[0] = VERSION;
    header[1..34].copy_from_slice(&address.to_bytes());
    header[34..42].copy_from_slice(&timestamp.0.to_be_bytes());
    header[42..].copy_from_slice(&ttl.0.to_be_bytes());
    header
}

/// The smallest of the six data lengths that holds `content` bytes once sealed; `None` if they need more than one
/// envelope.
///
/// A node learns of a message's length only which of the six steps it took.
#[must_use]
pub fn data_size(content: usize) -> Option<usize> {
    ENVELOPE_DATA_SIZES.into_iter().find(|size| size - SEAL_OVERHEAD >= content)
}

/// How long a record is kept, in seconds: 10 s to 4 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(u32);

impl Ttl {
    /// The longest.
    pub const LONGEST: Self = Self(*TTL_SECONDS.end());

    /// A time within the limits, `None` outside.
    #[must_use]
    pub fn new(seconds: u32) -> Option<Self> {
        TTL_SECONDS.contains(&seconds).then_some(Self(seconds))
    }

    /// In seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}

/// Sealed bytes, where they go and for how long. What it holds is within the limits of the protocol.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    address: Address,
    timestamp: UnixSeconds,
    ttl: Ttl,
    anchor: Height,
    data: Vec<u8>,
}

/// Data that is none of the six lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an envelope's data has one of the lengths {ENVELOPE_DATA_SIZES:?}, not {actual}")]
pub struct DataSizeError {
    /// The data's length.
    pub actual: usize,
}

impl Envelope {
    /// Puts sealed `data` into an envelope. `anchor` is the height whose block hash the work covers
    /// ([`pow::anchor`](crate::pow::anchor)).
    ///
    /// # Errors
    /// [`DataSizeError`] unless the data has one of the six lengths.
    pub fn new(
        address: Address,
        timestamp: UnixSeconds,
        ttl: Ttl,
        anchor: Height,
        data: Vec<u8>,
    ) -> Result<Self, DataSizeError> {
        if !ENVELOPE_DATA_SIZES.contains(&data.len()) {
            return Err(DataSizeError { actual: data.len() });
        }
        Ok(Self { address, timestamp, ttl, anchor, data })
    }

    /// Where it is kept.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// When its sender says it was made.
    #[must_use]
    pub const fn timestamp(&self) -> UnixSeconds {
        self.timestamp
    }

    /// How long it is kept, from the timestamp on.
    #[must_use]
    pub const fn ttl(&self) -> Ttl {
        self.ttl
    }

    /// The height whose block hash the work covers.
    #[must_use]
    pub const fn anchor(&self) -> Height {
        self.anchor
    }

    /// The sealed bytes.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// When it is dropped: timestamp + ttl, held at the largest time.
    #[must_use]
    pub const fn expiry(&self) -> UnixSeconds {
        UnixSeconds(self.timestamp.0.saturating_add(self.ttl.0 as u64))
    }

    /// Length of `E`.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        HEADER_LEN + self.data.len()
    }

    /// The first 58 bytes of `E`.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "`new` holds data to the six lengths")]
    pub fn header(&self) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[..SEALED_HEADER_LEN].copy_from_slice(&sealed_header(self.address, self.timestamp, self.ttl));
        header[46..54].copy_from_slice(&self.anchor.0.to_be_bytes());
        header[54..].copy_from_slice(&(self.data.len() as u32).to_be_bytes());
        header
    }

    /// `E`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [self.header().as_slice(), &self.data].concat()
    }

    /// The id on `chain`. Covers everything but the nonce, so work cannot be redone to make a second id.
    #[must_use]
    pub fn id(&self, chain: &ChainId) -> RecordId {
        let hash = Hasher::new(domain::ENVELOPE).chain(chain).chain(self.header()).chain(&self.data).finish();
        RecordId::new(*hash.as_bytes())
    }

    /// Reads `E` from the front of `reader`.
    ///
    /// # Errors
    /// [`DecodeError`] for whatever [`Envelope::encode`] cannot have written.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.u8()? != VERSION {
            return Err(DecodeError::Value("envelope version"));
        }
        let address = Address::read(reader)?;
        let timestamp = UnixSeconds(reader.u64()?);
        let ttl = Ttl::new(reader.u32()?).ok_or(DecodeError::Value("ttl"))?;
        let anchor = Height(reader.u64()?);
        let [.., largest] = ENVELOPE_DATA_SIZES;
        let data = reader.var_bytes("data", largest)?;
        Self::new(address, timestamp, ttl, anchor, data.to_vec()).map_err(|_| DecodeError::Value("data length"))
    }

    /// Reads `E` that nothing follows.
    ///
    /// # Errors
    /// As [`Envelope::read`], and [`DecodeError::Trailing`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let envelope = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(envelope)
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("address", &self.address)
            .field("timestamp", &self.timestamp.0)
            .field("ttl", &self.ttl.0)
            .field("anchor", &self.anchor.0)
            .field("data", &format_args!("{} bytes", self.data.len()))
            .finish()
    }
}

/// An envelope with what lets a node take it: the nonce, and where the address asks for it a write signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    envelope: Envelope,
    nonce: Nonce,
    auth: Option<Signature>,
}

/// A write signature that is missing, or has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a write signature belongs to records of closed groups and to no others")]
pub struct AuthError;

impl Record {
    /// A record. Neither the work nor the signature is checked here, only that there is one where there must be.
    ///
    /// # Errors
    /// [`AuthError`] if `auth` is there where the address has no use for it, or is missing where it has.
    pub fn new(envelope: Envelope, nonce: Nonce, auth: Option<Signature>) -> Result<Self, AuthError> {
        if auth.is_some() != needs_auth(envelope.address) {
            return Err(AuthError);
        }
        Ok(Self { envelope, nonce, auth })
    }

    /// The envelope.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The nonce of its work.
    #[must_use]
    pub const fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// The write signature, for addresses that need one to store.
    #[must_use]
    pub const fn auth(&self) -> Option<&Signature> {
        self.auth.as_ref()
    }

    /// Signs the id `id` for storing at a closed group's epoch.
    #[must_use]
    pub fn sign_write(key: &SigningKey, chain: &ChainId, id: &RecordId) -> Signature {
        key.sign(domain::WRITE, chain, id.as_ref())
    }

    /// Whether the write signature is the address' over `id`; true where none is needed.
    #[must_use]
    pub fn may_write(&self, verify: &dyn Verify, chain: &ChainId, id: &RecordId) -> bool {
        let key = PublicKey::new(*self.envelope.address.key());
        self.auth.is_none_or(|auth| verify.verify(domain::WRITE, chain, id.as_ref(), &key, &auth))
    }

    /// The bytes on wire and disk.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.envelope.encoded_len() + RECORD_TRAILER);
        bytes.extend_from_slice(&self.envelope.header());
        bytes.extend_from_slice(&self.envelope.data);
        bytes.extend_from_slice(&self.nonce.to_bytes());
        match &self.auth {
            Some(auth) => {
                bytes.push(64);
                bytes.extend_from_slice(auth.as_ref());
            }
            None => bytes.push(0),
        }
        bytes
    }

    /// Reads a record that nothing follows.
    ///
    /// # Errors
    /// [`DecodeError`] for whatever [`Record::encode`] cannot have written.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let record = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(record)
    }

    /// Reads a record from the front of `reader`.
    ///
    /// # Errors
    /// As [`Record::decode`].
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let envelope = Envelope::read(reader)?;
        let nonce = Nonce::from_bytes(reader.array()?);
        let auth = match reader.u8()? {
            0 => None,
            64 => Some(reader.id()?),
            _ => return Err(DecodeError::Value("auth length")),
        };
        Self::new(envelope, nonce, auth).map_err(|AuthError| DecodeError::Value("auth length"))
    }
}

/// Whether a record for `address` carries a write signature.
fn needs_auth(address: Address) -> bool {
    address.kind().store() == Access::KeyHolder
}
