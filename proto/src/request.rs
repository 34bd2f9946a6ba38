//! What hosts ask each other, as types that hold only what the protocol allows.
//!
//! | file | protocol | who may ask |
//! | --- | --- | --- |
//! | `chain` | `chain`: blocks from a height, a transaction to submit, the tip | anybody |
//! | `list` | `list`: a node's own standing, signed headers, the node list | anybody |
//! | `status` | `status`: clock and final height, every 30 s | registered nodes |
//! | `repair` | `repair`: members of a swarm come to hold the same | members of one swarm |
//! | `offer` | `offer`: a former owner hands over | registered nodes, nodes whose stake is locked |
//! | `swarm`, `swarm_response` | in tunnels: store, retrieve, delete, subscribe, the node list; listen and push | clients |
//! | `push` | in those: tags that are listened to, and what is pushed to them | |
//! | `signed` | what is signed in them and about them, as canonical bytes (B3) | |
//! | `error` | why a request was not served | |
//!
//! On a stream a message is `u32` length ‖ protobuf. Whoever reads it checks the length against
//! [`Message::MAX_BYTES`] before it allocates; [`Message::decode`] checks it again, then every field and count.

mod chain;
mod error;
mod list;
mod offer;
mod push;
mod repair;
mod signed;
mod status;
mod swarm;
mod swarm_response;

use std::fmt;

use prost::Message as _;

pub use self::chain::{ChainRequest, ChainResponse};
pub use self::error::{Error, ErrorKind};
pub use self::list::{Info, ListRequest, ListResponse};
pub use self::offer::{OfferRequest, OfferResponse, Wanted};
pub use self::push::{ListenTags, Push, PushData};
pub use self::repair::{Fingerprint, Item, RepairRequest, RepairResponse, Scope, Summary};
pub use self::signed::{
    Authorization, Cursor, Delete, DeletedRecord, Purpose, Read, Receipt, Retrieve, SignedDelete, SignedRead, Subscribe,
};
pub use self::status::{StatusRequest, StatusResponse};
pub use self::swarm::{PublishOrder, SwarmRequest};
pub use self::swarm_response::{Records, StoredRecord, SwarmResponse};
use crate::codec::DecodeError;

/// Why bytes are not the message they should be, or a value cannot be sent as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// More bytes than any message of this kind has.
    #[error("a message of {actual} bytes, at most {limit} allowed")]
    TooLarge {
        /// The limit.
        limit: usize,
        /// What there is.
        actual: usize,
    },
    /// Not protobuf, or not of this schema.
    #[error("not protobuf of this schema: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// A field that must be there is not, or is of a kind this version does not know.
    #[error("field `{0}` is missing or unknown")]
    Missing(&'static str),
    /// A field holds what it may not.
    #[error(transparent)]
    Field(#[from] DecodeError),
}

/// A message with its protobuf twin and its bound.
pub trait Message: Sized + TryFrom<Self::Wire, Error = MessageError> {
    /// The generated type.
    type Wire: prost::Message + Default + From<Self>;

    /// The longest encoding; a longer length on a stream ends it unread.
    const MAX_BYTES: usize;

    /// The protobuf encoding, without a length.
    ///
    /// # Errors
    /// [`MessageError::TooLarge`] if it is longer than any receiver would read.
    fn encode(self) -> Result<Vec<u8>, MessageError> {
        let bytes = Self::Wire::from(self).encode_to_vec();
        within(Self::MAX_BYTES, bytes.len())?;
        Ok(bytes)
    }

    /// Reads what [`Message::encode`] wrote, and what later versions add, which is skipped.
    ///
    /// # Errors
    /// [`MessageError`] if it is too long, no protobuf, or holds what the protocol does not allow.
    fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        within(Self::MAX_BYTES, bytes.len())?;
        Self::try_from(Self::Wire::decode(bytes)?)
    }
}

const fn within(limit: usize, actual: usize) -> Result<(), MessageError> {
    if actual > limit { Err(MessageError::TooLarge { limit, actual }) } else { Ok(()) }
}

/// A length or count that must not be above its limit.
const fn at_most(field: &'static str, limit: usize, actual: usize) -> Result<(), DecodeError> {
    if actual > limit { Err(DecodeError::TooLong { field, limit, actual }) } else { Ok(()) }
}

/// Exactly `N` bytes, as a key, hash or signature.
fn fixed<const N: usize, T: From<[u8; N]>>(field: &'static str, bytes: &[u8]) -> Result<T, DecodeError> {
    <[u8; N]>::try_from(bytes).map(T::from).map_err(|_| DecodeError::Value(field))
}

/// Ids one after the other, as a single field: a tag for each would add a sixteenth.
fn joined(ids: &[impl AsRef<[u8]>]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.as_ref()).copied().collect()
}

/// Reads what [`joined`] wrote: at most `limit` ids.
fn split<T: From<[u8; 32]>>(field: &'static str, limit: usize, bytes: &[u8]) -> Result<Vec<T>, DecodeError> {
    let (ids, rest) = bytes.as_chunks::<32>();
    at_most(field, limit, ids.len())?;
    if rest.is_empty() { Ok(ids.iter().copied().map(T::from).collect()) } else { Err(DecodeError::Value(field)) }
}

/// One line of printable text of at most `MAX` bytes, so that what a stranger sends can be shown on a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line<const MAX: usize>(String);

impl<const MAX: usize> Line<MAX> {
    /// The beginning of `text` that fits; what is not printable becomes a space.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut line = String::with_capacity(text.len().min(MAX));
        for c in text.chars().map(|c| if is_printable(c) { c } else { ' ' }) {
            if line.len() + c.len_utf8() > MAX {
                break;
            }
            line.push(c);
        }
        Self(line)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a terminal shows `c` in its place: no control characters, and none that turn the writing direction round.
const fn is_printable(c: char) -> bool {
    let control = matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}');
    let invisible = matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let turns_or_breaks = matches!(c, '\u{2028}'..='\u{202e}');
    !(control || invisible || turns_or_breaks)
}

impl<const MAX: usize> TryFrom<String> for Line<MAX> {
    type Error = DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        at_most("text", MAX, text.len())?;
        if text.chars().all(is_printable) { Ok(Self(text)) } else { Err(DecodeError::Value("text")) }
    }
}

impl<const MAX: usize> From<Line<MAX>> for String {
    fn from(line: Line<MAX>) -> Self {
        line.0
    }
}

impl<const MAX: usize> fmt::Display for Line<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
