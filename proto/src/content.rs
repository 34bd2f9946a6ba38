//! What a person says: the inside of a sealed and authenticated message (B12, `Content`).
//!
//! The exact time and the id stand here and nowhere outside: envelopes carry whole seconds, and a message that is
//! stored a second time, with new work or under a new seal, keeps its id and is shown once.

mod announcement;
mod request;

use std::fmt;
use std::str::FromStr;

use prost::Message as _;
use zeroize::Zeroizing;

pub use self::announcement::Announcement;
pub use self::request::Request;
use crate::codec::DecodeError;
use crate::id::ParseIdError;
use crate::limits::{CONTENT_MAX, TEXT_MAX};
use crate::request::{Message, MessageError};
use crate::time::UnixMillis;
use crate::wire;
use crate::wire::content::Body as WireBody;

/// Sixteen random bytes by which both sides know a message, however often it is stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; Self::LEN]);

impl MessageId {
    /// Bytes of an id.
    pub const LEN: usize = 16;

    /// Wraps sixteen bytes, which a sender draws at random.
    #[must_use]
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl From<[u8; Self::LEN]> for MessageId {
    fn from(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({})", hex::encode(&self.0[..4]))
    }
}

impl FromStr for MessageId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; Self::LEN];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| ParseIdError { expected: 2 * Self::LEN, actual: text.chars().take(80).collect() })?;
        Ok(Self(bytes))
    }
}

/// A message before it is sealed, or after it was opened.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// By which it is known.
    pub id: MessageId,
    /// The sender's clock when it was written.
    pub sent: UnixMillis,
    /// The sender device's running number of what it says in this conversation, from 1: a gap is something that did not
    /// come. 0 before there is a session, and for what is not said but arranged.
    pub sequence: u64,
    /// What it says.
    pub body: Body,
}

impl Content {
    /// A message without a number in its conversation.
    #[must_use]
    pub const fn new(id: MessageId, sent: UnixMillis, body: Body) -> Self {
        Self { id, sent, sequence: 0, body }
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
    /// Of a kind that this version does not know: the whole content as it came, for a later version to read.
    Newer(Vec<u8>),
}

/// A text of 1 to [`TEXT_MAX`] bytes. Zeroized when dropped; never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(Zeroizing<String>);

impl Text {
    /// Takes a text.
    ///
    /// # Errors
    /// [`DecodeError`] when it is empty or longer than a message may be.
    pub fn new(text: String) -> Result<Self, DecodeError> {
        let text = Zeroizing::new(text);
        match text.len() {
            0 => Err(DecodeError::Value("text")),
            1..=TEXT_MAX => Ok(Self(text)),
            actual => Err(DecodeError::TooLong { field: "text", limit: TEXT_MAX, actual }),
        }
    }

    /// The text. It came from a stranger, perhaps: control characters are in it as they were sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
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
            Self::Newer(bytes) => write!(f, "Newer({} bytes)", bytes.len()),
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.0.len())
    }
}

impl Message for Content {
    type Wire = wire::Content;
    const MAX_BYTES: usize = CONTENT_MAX;

    fn encode(self) -> Result<Vec<u8>, MessageError> {
        let bytes = match self.body {
            Body::Newer(bytes) => bytes,
            Body::Text(_) | Body::Request(_) | Body::Announce(_) => wire::Content::from(self).encode_to_vec(),
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
        let body = match content.body {
            Body::Text(text) => Some(WireBody::Text(wire::Text { text: text.as_str().to_owned() })),
            Body::Request(request) => Some(WireBody::Request(request.into())),
            Body::Announce(announcement) => Some(WireBody::Announcement(announcement.into())),
            Body::Newer(_) => None,
        };
        let sequence = content.sequence;
        Self { message_id: content.id.0.to_vec(), sent_ms: content.sent.0, body, sequence }
    }
}

impl TryFrom<wire::Content> for Content {
    type Error = MessageError;

    fn try_from(content: wire::Content) -> Result<Self, MessageError> {
        let id: [u8; MessageId::LEN] =
            content.message_id.as_slice().try_into().map_err(|_| DecodeError::Value("message id"))?;
        let body = match content.body {
            Some(WireBody::Text(wire::Text { text })) => Body::Text(Text::new(text)?),
            Some(WireBody::Request(request)) => Body::Request(request.try_into()?),
            Some(WireBody::Announcement(announcement)) => Body::Announce(announcement.try_into()?),
            None => Body::Newer(Vec::new()),
        };
        Ok(Self { id: MessageId(id), sent: UnixMillis(content.sent_ms), sequence: content.sequence, body })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Content {
        let body = Body::Text(Text::new(text.to_owned()).unwrap());
        Content::new(MessageId::new([7; 16]), UnixMillis(1_767_225_600_123), body)
    }

    #[test]
    fn a_text_has_the_bytes_of_the_schema() {
        let expected = format!("0a10{}10fbd0eab6b7331a040a026869", "07".repeat(16));
        assert_eq!(hex::encode(text("hi").encode().unwrap()), expected);
    }

    #[test]
    fn the_longest_text_fits_and_a_longer_one_is_refused() {
        let longest = text(&"x".repeat(TEXT_MAX));
        assert_eq!(Content::decode(&longest.clone().encode().unwrap()).unwrap(), longest);
        assert_eq!(
            Text::new("x".repeat(TEXT_MAX + 1)),
            Err(DecodeError::TooLong { field: "text", limit: TEXT_MAX, actual: TEXT_MAX + 1 })
        );
        assert_eq!(Text::new(String::new()), Err(DecodeError::Value("text")));
    }

    #[test]
    fn a_body_of_a_later_version_is_kept_as_such() {
        // Field 15, a string, where this version knows only field 3.
        let bytes = [&[0x0a, 16][..], &[9; 16], &[0x7a, 2, b'?', b'!']].concat();
        let content = Content::decode(&bytes).unwrap();
        assert_eq!((content.id, &content.body), (MessageId::new([9; 16]), &Body::Newer(bytes.clone())));
        assert_eq!(content.encode().unwrap(), bytes);
    }

    #[test]
    fn an_id_of_another_length_is_refused() {
        let bytes = [&[0x0a, 15][..], &[9; 15]].concat();
        assert_eq!(Content::decode(&bytes), Err(DecodeError::Value("message id").into()));
    }

    #[test]
    fn nothing_of_a_message_is_shown_by_debug() {
        assert_eq!(format!("{:?}", text("secret")), "Content(MessageId(07070707), Text(6 bytes))");
    }

    #[test]
    fn ids_read_back_what_they_write() {
        let id = MessageId::new(std::array::from_fn(|i| i as u8));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("00".parse::<MessageId>().is_err());
    }

    proptest! {
        #[test]
        fn contents_round_trip(id: [u8; 16], sent: u64, sequence: u64, said in ".{1,200}") {
            let content = Content {
                id: id.into(), sent: UnixMillis(sent), sequence, body: Body::Text(Text::new(said).unwrap()),
            };
            prop_assert_eq!(Content::decode(&content.clone().encode().unwrap()).unwrap(), content);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(content) = Content::decode(&bytes) {
                prop_assert_eq!(Content::decode(&content.clone().encode().unwrap()).unwrap(), content);
            }
        }
    }
}
