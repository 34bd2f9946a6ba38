//! Messages before there are sessions, and the seal around every message (B12).
//!
//! ```text
//! data    = Noise_N to the recipient:  e 32 ‖ AEAD( u32 len ‖ content ‖ zeros ) ‖ tag 16        one of six lengths
//!           prologue  lp("sotto/seal/1") ‖ chain id ‖ version ‖ address ‖ timestamp ‖ ttl
//! content = u8 kind ‖ body
//!   1       Noise_X from the sender to the recipient; payload: protobuf Content
//!           prologue  lp("sotto/auth/1") ‖ chain id ‖ address ‖ e of the seal
//!   0       cover: dropped without a trace
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

/// The kind of content that is dropped.
const KIND_COVER: u8 = 0;
/// The kind of content that a plain message is.
pub const KIND_PLAIN: u8 = 1;
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
    /// The recipient is no account, or its key is none.
    #[error("nothing can be sealed to {}: it is not an account", .0.short())]
    Recipient(Address),
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
    seal_content(context, &to, ephemeral, KIND_PLAIN, &body)
}

/// Seals content of any kind.
fn seal_content(
    context: &SealContext<'_>,
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
    Ok(noise::n_seal_with(&seal_prologue(context), to, ephemeral, &payload)?)
}

/// Opens what was stored for `account`.
///
/// # Errors
/// [`OpenError`] for everything that nobody meant for this account; such records are passed over.
pub fn open(chain: &ChainId, account: &Account, envelope: &Envelope) -> Result<Opened, OpenError> {
    let address = envelope.address();
    if address != account.address() {
        return Err(OpenError::OtherAddress(address));
    }
    let context = SealContext { chain, address, timestamp: envelope.timestamp(), ttl: envelope.ttl() };
    let secret = noise::Secret::from(account.x25519_secret());
    let payload = noise::n_open(&seal_prologue(&context), &secret, envelope.data()).map_err(OpenError::Seal)?;
    let (kind, body) = unpad(&payload)?;
    match kind {
        KIND_COVER => Ok(Opened::Cover),
        KIND_PLAIN => {
            let ephemeral = Reader::new(envelope.data()).id()?;
            open_plain(&auth_prologue(chain, address, &ephemeral), &secret, body)
        }
        kind => Ok(Opened::Newer { kind, body: body.to_vec() }),
    }
}

/// Kind and body; nothing but zeros may follow them.
fn unpad(payload: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
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
