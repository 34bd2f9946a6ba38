//! What a person says: the inside of a sealed and authenticated message (B12, `Content`).
//!
//! The exact time and the id stand here and nowhere outside: envelopes carry whole seconds, and a message that is
//! stored a second time, with new work or under a new seal, keeps its id and is shown once.
//!
//! | file | what it says |
//! | --- | --- |
//! | `id` | which message |
//! | `text` | a text, another wording of it, a sign beside it |
//! | `expiry` | when it disappears |
//! | `receipt` | what came and was read; that somebody is writing |
//! | `request`, `announcement` | the wish to talk, and where to |
//! | `listening` | where somebody can be reached online |
//! | `question` | verification by question and answer |

mod announcement;
mod expiry;
mod id;
mod listening;
mod question;
mod receipt;
mod request;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;

use prost::Message as _;

pub use self::announcement::Announcement;
pub use self::expiry::{Expiry, ExpiryStart};
pub use self::id::{MessageId, MessageIds};
pub use self::listening::{Listening, ListeningTag};
pub use self::question::{Confirmation, Question, QuestionText, RunId, Share, Step};
pub use self::receipt::{Acknowledgement, Receipt, Typing};
pub use self::request::Request;
pub use self::text::{Edit, Emoji, Reaction, Text};
use crate::codec::DecodeError;
use crate::limits::CONTENT_MAX;
use crate::request::{Message, MessageError};
use crate::time::UnixMillis;
use crate::wire;
use crate::wire::content::Body as WireBody;

/// A message before it is sealed, or after it was opened.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// By which it is known.
    pub id: MessageId,
    /// The sender's clock when it was written.
    pub sent: UnixMillis,
    /// The sender device's running number of what it says in this conversation, from 1: a gap is something that did not
    /// come. 0 before there is a session, and for what is not said but arranged ([`Body::is_said`]).
    pub sequence: u64,
    /// When it disappears; `None`: never.
    pub expiry: Option<Expiry>,
    /// What it says.
    pub body: Body,
}

impl Content {
    /// A message without a number in its conversation, which stays.
    #[must_use]
    pub const fn new(id: MessageId, sent: UnixMillis, body: Body) -> Self {
        Self { id, sent, sequence: 0, expiry: None, body }
    }
}

/// What a message says.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// A text.
    Text(Text),
    /// The wish to talk.
    Request(Request),
    /// Where the sender reads from now on.
    Announce(Announcement),
    /// A sign beside a message.
    Reaction(Reaction),
    /// A text of the sender says something else.
    Edit(Edit),
    /// A message of the sender is to be erased at both ends.
    Delete(MessageId),
    /// What came, and what was read.
    Receipt(Receipt),
    /// Whether the sender is writing.
    Typing(Typing),
    /// What both say from now on disappears so; `None`: it stays.
    Timer(Option<Expiry>),
    /// What came the online way.
    Acknowledge(Acknowledgement),
    /// Where the sender can be reached online.
    Listening(Listening),
    /// A step of a verification by question and answer.
    Question(Question),
    /// Of a kind that this version does not know: the whole content as it came, for a later version to read.
    Newer(Vec<u8>),
}

impl Body {
    /// The name of what it says, in one word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Request(_) => "request",
            Self::Announce(_) => "announcement",
            Self::Reaction(_) => "reaction",
            Self::Edit(_) => "edit",
            Self::Delete(_) => "delete",
            Self::Receipt(_) => "receipt",
            Self::Typing(_) => "typing",
            Self::Timer(_) => "timer",
            Self::Acknowledge(_) => "acknowledgement",
            Self::Listening(_) => "listening",
            Self::Question(_) => "question",
            Self::Newer(_) => "newer",
        }
    }

    /// Whether it is part of what two people have said to each other: it has a number there, is kept, and must not be
    /// lost. Everything else arranges how they talk, and is worth something for a while.
    #[must_use]
    pub const fn is_said(&self) -> bool {
        match self {
            Self::Text(_)
            | Self::Reaction(_)
            | Self::Edit(_)
            | Self::Delete(_)
            | Self::Timer(_)
            | Self::Question(_)
            | Self::Newer(_) => true,
            Self::Request(_)
            | Self::Announce(_)
            | Self::Receipt(_)
            | Self::Typing(_)
            | Self::Acknowledge(_)
            | Self::Listening(_) => false,
        }
    }

    /// `None` where a part that must be understood is of a later version.
    fn from_wire(body: WireBody) -> Result<Option<Self>, DecodeError> {
        Ok(Some(match body {
            WireBody::Text(text) => Self::Text(text.try_into()?),
            WireBody::Request(request) => Self::Request(request.try_into()?),
            WireBody::Announcement(announcement) => Self::Announce(announcement.try_into()?),
            WireBody::Reaction(reaction) => Self::Reaction(reaction.try_into()?),
            WireBody::Edit(edit) => Self::Edit(edit.try_into()?),
            WireBody::Delete(wire::Delete { of }) => Self::Delete(exact("deleted message", &of)?),
            WireBody::Receipt(receipt) => Self::Receipt(receipt.try_into()?),
            WireBody::Typing(typing) => Self::Typing(typing.into()),
            WireBody::Timer(wire::Timer { expiry: None }) => Self::Timer(None),
            WireBody::Timer(wire::Timer { expiry: Some(expiry) }) => {
                return Ok(Expiry::from_wire(expiry)?.map(|expiry| Self::Timer(Some(expiry))));
            }
            WireBody::Acknowledgement(acknowledgement) => Self::Acknowledge(acknowledgement.try_into()?),
            WireBody::Listening(listening) => Self::Listening(listening.try_into()?),
            WireBody::Question(question) => return Ok(Question::from_wire(question)?.map(Self::Question)),
        }))
    }

    /// `None` for what this version did not understand.
    fn into_wire(self) -> Option<WireBody> {
        Some(match self {
            Self::Text(text) => WireBody::Text(text.into()),
            Self::Request(request) => WireBody::Request(request.into()),
            Self::Announce(announcement) => WireBody::Announcement(announcement.into()),
            Self::Reaction(reaction) => WireBody::Reaction(reaction.into()),
            Self::Edit(edit) => WireBody::Edit(edit.into()),
            Self::Delete(of) => WireBody::Delete(wire::Delete { of: of.as_bytes().to_vec() }),
            Self::Receipt(receipt) => WireBody::Receipt(receipt.into()),
            Self::Typing(typing) => WireBody::Typing(typing.into()),
            Self::Timer(expiry) => WireBody::Timer(wire::Timer { expiry: expiry.map(Into::into) }),
            Self::Acknowledge(acknowledgement) => WireBody::Acknowledgement(acknowledgement.into()),
            Self::Listening(listening) => WireBody::Listening(listening.into()),
            Self::Question(question) => WireBody::Question(question.into()),
            Self::Newer(_) => return None,
        })
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({:?}, {:?})", self.id, self.body)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Request(request) => request.fmt(f),
            Self::Announce(announcement) => announcement.fmt(f),
            Self::Reaction(reaction) => reaction.fmt(f),
            Self::Edit(edit) => edit.fmt(f),
            Self::Delete(of) => write!(f, "Delete({of:?})"),
            Self::Receipt(receipt) => receipt.fmt(f),
            Self::Typing(typing) => write!(f, "Typing({typing:?})"),
            Self::Timer(expiry) => write!(f, "Timer({expiry:?})"),
            Self::Acknowledge(acknowledgement) => acknowledgement.fmt(f),
            Self::Listening(listening) => write!(f, "Listening({listening:?})"),
            Self::Question(question) => question.fmt(f),
            Self::Newer(bytes) => write!(f, "Newer({} bytes)", bytes.len()),
        }
    }
}

impl Message for Content {
    type Wire = wire::Content;
    const MAX_BYTES: usize = CONTENT_MAX;

    fn encode(self) -> Result<Vec<u8>, MessageError> {
        let bytes = match self.body {
            Body::Newer(bytes) => bytes,
            _ => wire::Content::from(self).encode_to_vec(),
        };
        within(bytes.len())?;
        Ok(bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        within(bytes.len())?;
        let mut content = Self::try_from(wire::Content::decode(bytes)?)?;
        if let Body::Newer(whole) = &mut content.body {
            *whole = bytes.to_vec();
        }
        Ok(content)
    }
}

const fn within(actual: usize) -> Result<(), MessageError> {
    if actual > CONTENT_MAX { Err(MessageError::TooLarge { limit: CONTENT_MAX, actual }) } else { Ok(()) }
}

impl From<Content> for wire::Content {
    fn from(content: Content) -> Self {
        Self {
            message_id: content.id.as_bytes().to_vec(),
            sent_ms: content.sent.0,
            sequence: content.sequence,
            expiry: content.expiry.map(Into::into),
            body: content.body.into_wire(),
        }
    }
}

impl TryFrom<wire::Content> for Content {
    type Error = MessageError;

    fn try_from(content: wire::Content) -> Result<Self, MessageError> {
        let id = exact("message id", &content.message_id)?;
        let body = content.body.map(Body::from_wire).transpose()?.flatten();
        let expiry = content.expiry.map(Expiry::from_wire).transpose()?;
        // What is to disappear in a way that this version does not know must not stay here as if it were not.
        let is_known = expiry != Some(None);
        Ok(Self {
            id,
            sent: UnixMillis(content.sent_ms),
            sequence: content.sequence,
            expiry: expiry.flatten(),
            body: body.filter(|_| is_known).unwrap_or_else(|| Body::Newer(Vec::new())),
        })
    }
}

/// Bytes that have one length.
fn exact<const N: usize, T: From<[u8; N]>>(field: &'static str, bytes: &[u8]) -> Result<T, DecodeError> {
    bytes.try_into().map(|bytes: [u8; N]| T::from(bytes)).map_err(|_| DecodeError::Value(field))
}

/// A length or count that has a limit.
const fn at_most(field: &'static str, limit: usize, actual: usize) -> Result<(), DecodeError> {
    if actual > limit { Err(DecodeError::TooLong { field, limit, actual }) } else { Ok(()) }
}
