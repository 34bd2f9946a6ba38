//! The seal around every message, and messages before there are sessions (B12).
//!
//! ```text
//! data    = Noise_N to the seal key:  e 32 ‖ AEAD( u32 len ‖ content ‖ zeros ) ‖ tag 16         one of six lengths
//!           prologue  lp("sotto/seal/1") ‖ chain id ‖ version ‖ address ‖ timestamp ‖ ttl
//!           seal key: the key of an inbox; for a mailbox a signed prekey of the device that reads it
//! content = u8 kind ‖ body
//!   0       cover: dropped without a trace
//!   1       Noise_X from the sender to the same key; payload: protobuf Content
//!           prologue  lp("sotto/auth/1") ‖ chain id ‖ address ‖ e of the seal
//!   2       a message of a session
//!   3       one that may begin a session
//!   other   of a later version: kept
//! ```
//!
//! The outer message hides the sender from everybody who stores it, and binds the seal to where and when it is stored:
//! a node that re-publishes it under another time, or for another account, publishes noise. The inner message proves
//! the sender by a Diffie–Hellman of both accounts' keys: the recipient is convinced and can convince nobody else,
//! because he could have made it himself. Whoever has stolen the *recipient's* key can therefore forge any sender to
//! him; sessions end that.

use rand_core::CryptoRng;
use sotto_behaviours::noise;
use sotto_proto::account::Account;
use sotto_proto::address::{Address, AddressKind};
use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::content::Content;
use sotto_proto::domain;
use sotto_proto::envelope::{Envelope, SEAL_OVERHEAD, Ttl, data_size, sealed_header};
use sotto_proto::id::{ChainId, X25519Key};
use sotto_proto::limits::ENVELOPE_DATA_SIZES;
use sotto_proto::request::{Message as _, MessageError};
use sotto_proto::time::UnixSeconds;
use zeroize::Zeroizing;

use super::initial::{InitialMessage, Inside, SessionBody};

/// The kind of content that is dropped.
pub(super) const KIND_COVER: u8 = 0;
/// The kind of content that a plain message is.
pub const KIND_PLAIN: u8 = 1;
/// The kind of content that a message of a session is.
pub(super) const KIND_SESSION: u8 = 2;
/// The kind of one that may begin a session.
pub(super) const KIND_INITIAL: u8 = 3;
/// Bytes of the ephemeral key in front of the data.
const EPHEMERAL: usize = 32;
/// Bytes that Noise N adds to its payload.
const N_LAYER: usize = noise::N_LAYER;

/// What a seal is bound to. A copy of the data with another address, time or TTL does not open.
#[derive(Clone, Copy, Debug)]
pub struct SealContext<'a> {
    /// The network.
    pub chain: &'a ChainId,
    /// The recipient.
    pub address: Address,
    /// The envelope's time.
    pub timestamp: UnixSeconds,
    /// How long it is kept.
    pub ttl: Ttl,
}

/// Why a message cannot be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The recipient is none that has a key, or the key is another's.
    #[error("nothing can be sealed to {}: it has no key, or not that one", .0.short())]
    Recipient(Address),
    /// The key is none to agree on secrets with.
    #[error("nothing can be sealed to that key")]
    Key,
    /// It does not fit the largest envelope.
    #[error("the message is too long: {content} bytes of content, at most {} fit", most_content())]
    TooLong {
        /// Bytes of the content.
        content: usize,
    },
    /// The content is none that may be sent.
    #[error(transparent)]
    Content(#[from] MessageError),
    /// The handshake failed.
    #[error(transparent)]
    Noise(#[from] noise::Error),
}

/// Why data does not open. A stranger can cause each of these; none is worth more than a line in the log.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is for another address.
    #[error("the envelope is for {}", .0.short())]
    OtherAddress(Address),
    /// Not sealed to this account, or not for this time: the outer message does not open.
    #[error("the seal does not open")]
    Seal(#[source] noise::Error),
    /// What is under the seal is malformed.
    #[error("malformed under the seal: {0}")]
    Malformed(#[from] DecodeError),
    /// The sender is not who the message says: the inner message does not open.
    #[error("the sender is forged")]
    Sender(#[source] noise::Error),
    /// The sender's key is none to agree on secrets with.
    #[error("the sender's key is not one")]
    SenderKey,
    /// Nothing opens what is at this address.
    #[error("there is no key for the address")]
    NoKey,
    /// A kind of content that does not come this way.
    #[error("content of kind {0} does not come this way")]
    Kind(u8),
    /// The message is none.
    #[error("the message is malformed: {0}")]
    Content(#[source] MessageError),
}

/// What an envelope held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Nothing: it was sent so that something was sent.
    Cover,
    /// A message.
    Message {
        /// Who proved to have sent it.
        sender: Address,
        /// What it says.
        content: Content,
    },
    /// A message of a session.
    Session(SessionBody),
    /// One that may begin a session.
    Initial(InitialMessage),
    /// Something that a later version can read.
    Newer {
        /// The kind of content.
        kind: u8,
        /// The content.
        body: Vec<u8>,
    },
}

/// The data of an envelope that carries `content`: proved to be from `from`, sealed to the recipient, padded to the
/// smallest of the six lengths that holds it.
///
/// # Errors
/// [`SealError`] when the recipient is no account, or the content is too long.
pub fn seal(
    context: &SealContext<'_>,
    from: &Account,
    content: Content,
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, SealError> {
    let to = key_of(context.address).ok_or(SealError::Recipient(context.address))?;
    let plain = Zeroizing::new(content.encode()?);
    let ephemeral = noise::Secret::generate(rng);
    let prologue = auth_prologue(context.chain, context.address, &ephemeral.public());
    let body = noise::x_seal(&prologue, &from.x25519_secret().into(), &to, &plain, rng)?;
    seal_content(&seal_prologue(context), &to, ephemeral, KIND_PLAIN, &body)
}

/// The data of an envelope that carries a session's message: sealed to a signed prekey of the device that reads a
/// mailbox, or to the key of an inbox.
///
/// # Errors
/// [`SealError`] when the key is none or not the inbox's, or the message is too long.
pub fn seal_session(
    context: &SealContext<'_>,
    to: &X25519Key,
    inside: &Inside,
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, SealError> {
    let fits = match context.address.kind() {
        AddressKind::AccountInbox => key_of(context.address) == Some(*to),
        AddressKind::Mailbox => to.is_usable(),
        AddressKind::GroupEpoch | AddressKind::PublicRecord => false,
    };
    if !fits {
        return Err(SealError::Recipient(context.address));
    }
    let (kind, body) = inside.encode();
    seal_content(&seal_prologue(context), to, noise::Secret::generate(rng), kind, &body)
}

/// Seals content of any kind.
pub(super) fn seal_content(
    prologue: &[u8],
    to: &X25519Key,
    ephemeral: noise::Secret,
    kind: u8,
    body: &[u8],
) -> Result<Vec<u8>, SealError> {
    let length = 1 + body.len();
    let too_long = SealError::TooLong { content: length };
    let (Some(size), Ok(prefix)) = (data_size(length), u32::try_from(length)) else { return Err(too_long) };
    let mut payload = Vec::with_capacity(size - N_LAYER);
    payload.extend_from_slice(&prefix.to_be_bytes());
    payload.push(kind);
    payload.extend_from_slice(body);
    payload.resize(size - N_LAYER, 0);
    Ok(noise::n_seal_with(prologue, to, ephemeral, &payload)?)
}

/// Opens what was stored at `address`, with the first of the secrets that does: the account's own for its inbox, signed
/// prekeys for a mailbox.
///
/// # Errors
/// [`OpenError`] for everything that nobody meant for this account; such records are passed over.
pub fn open(
    chain: &ChainId,
    address: &Address,
    secrets: &[noise::Secret],
    envelope: &Envelope,
) -> Result<Opened, OpenError> {
    if envelope.address() != *address {
        return Err(OpenError::OtherAddress(envelope.address()));
    }
    let address = *address;
    let context = SealContext { chain, address, timestamp: envelope.timestamp(), ttl: envelope.ttl() };
    let prologue = seal_prologue(&context);
    let mut failure = OpenError::NoKey;
    for secret in secrets {
        match noise::n_open(&prologue, secret, envelope.data()) {
            Ok(payload) => return open_content(chain, address, secret, &payload, envelope),
            Err(error) => failure = OpenError::Seal(error),
        }
    }
    Err(failure)
}

fn open_content(
    chain: &ChainId,
    address: Address,
    secret: &noise::Secret,
    payload: &[u8],
    envelope: &Envelope,
) -> Result<Opened, OpenError> {
    let (kind, body) = unpad(payload)?;
    match kind {
        KIND_COVER => Ok(Opened::Cover),
        KIND_PLAIN => {
            let ephemeral = Reader::new(envelope.data()).id()?;
            open_plain(&auth_prologue(chain, address, &ephemeral), secret, body)
        }
        KIND_SESSION => Ok(Opened::Session(SessionBody::decode(body)?)),
        KIND_INITIAL => Ok(Opened::Initial(InitialMessage::decode(body)?)),
        kind => Ok(Opened::Newer { kind, body: body.to_vec() }),
    }
}

/// Kind and body; nothing but zeros may follow them.
pub(super) fn unpad(payload: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
    let mut reader = Reader::new(payload);
    let [.., largest] = ENVELOPE_DATA_SIZES;
    let content = reader.var_bytes("content", largest - SEAL_OVERHEAD)?;
    let zeros = reader.bytes(reader.remaining())?;
    if zeros.iter().any(|byte| *byte != 0) {
        return Err(DecodeError::Value("padding"));
    }
    let (kind, body) = content.split_first().ok_or(DecodeError::Value("content"))?;
    Ok((*kind, body))
}

fn open_plain(prologue: &[u8], secret: &noise::Secret, body: &[u8]) -> Result<Opened, OpenError> {
    let (sender, plain) = noise::x_open(prologue, secret, body).map_err(OpenError::Sender)?;
    if !sender.is_usable() {
        return Err(OpenError::SenderKey);
    }
    let content = Content::decode(&plain).map_err(OpenError::Content)?;
    Ok(Opened::Message { sender: Address::account(&sender), content })
}

/// The key that an account's inbox is sealed to.
fn key_of(address: Address) -> Option<X25519Key> {
    let key = X25519Key::new(*address.key());
    (address.kind() == AddressKind::AccountInbox && key.is_usable()).then_some(key)
}

fn seal_prologue(context: &SealContext<'_>) -> Vec<u8> {
    let header = sealed_header(context.address, context.timestamp, context.ttl);
    [domain::SEAL.prefixed().as_slice(), context.chain.as_bytes(), &header].concat()
}

fn auth_prologue(chain: &ChainId, address: Address, ephemeral: &X25519Key) -> Vec<u8> {
    [domain::AUTH.prefixed().as_slice(), chain.as_bytes(), &address.to_bytes(), ephemeral.as_bytes()].concat()
}

/// Bytes of content that the largest envelope holds.
const fn most_content() -> usize {
    ENVELOPE_DATA_SIZES[ENVELOPE_DATA_SIZES.len() - 1] - SEAL_OVERHEAD
}

const _: () = assert!(SEAL_OVERHEAD == N_LAYER + 4 && N_LAYER == EPHEMERAL + 16);

#[cfg(test)]
mod tests;
