//! What is said in words, said otherwise, and answered by a sign.

use std::fmt;

use zeroize::Zeroizing;

use super::{MessageId, at_most, exact};
use crate::codec::DecodeError;
use crate::limits::{EMOJI_MAX, TEXT_MAX};
use crate::wire;

/// A text of 1 to [`TEXT_MAX`] bytes, perhaps in answer to another message. Zeroized when dropped; never shown by
/// `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    text: Zeroizing<String>,
    reply_to: Option<MessageId>,
}

impl Text {
    /// Takes a text, which answers no message.
    ///
    /// # Errors
    /// [`DecodeError`] when it is empty or longer than a message may be.
    pub fn new(text: String) -> Result<Self, DecodeError> {
        let text = Zeroizing::new(text);
        at_most("text", TEXT_MAX, text.len())?;
        if text.is_empty() {
            return Err(DecodeError::Value("text"));
        }
        Ok(Self { text, reply_to: None })
    }

    /// The same text in answer to a message.
    #[must_use]
    pub fn in_reply_to(self, message: MessageId) -> Self {
        Self { reply_to: Some(message), ..self }
    }

    /// The text. It came from a stranger, perhaps: control characters are in it as they were sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The message that it answers. There may be none of that id.
    #[must_use]
    pub const fn reply_to(&self) -> Option<MessageId> {
        self.reply_to
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.text.len())
    }
}

impl From<Text> for wire::Text {
    fn from(text: Text) -> Self {
        let reply_to = text.reply_to.map_or_else(Vec::new, |id| id.as_bytes().to_vec());
        Self { text: text.as_str().to_owned(), reply_to }
    }
}

impl TryFrom<wire::Text> for Text {
    type Error = DecodeError;

    fn try_from(wire::Text { text, reply_to }: wire::Text) -> Result<Self, DecodeError> {
        let text = Self::new(text)?;
        match reply_to.as_slice() {
            [] => Ok(text),
            id => Ok(text.in_reply_to(exact("reply to", id)?)),
        }
    }
}

/// A text of the sender says something else from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The text that it replaces.
    pub of: MessageId,
    /// What it says now, and which message it answers now.
    pub text: Text,
}

impl From<Edit> for wire::Edit {
    fn from(edit: Edit) -> Self {
        Self { of: edit.of.as_bytes().to_vec(), text: Some(edit.text.into()) }
    }
}

impl TryFrom<wire::Edit> for Edit {
    type Error = DecodeError;

    fn try_from(edit: wire::Edit) -> Result<Self, DecodeError> {
        let text = edit.text.ok_or(DecodeError::Value("text"))?;
        Ok(Self { of: exact("edited message", &edit.of)?, text: text.try_into()? })
    }
}

/// A sign beside a message. A person has one there, the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// The message.
    pub to: MessageId,
    /// The sign; `None` takes it back.
    pub emoji: Option<Emoji>,
}

impl From<Reaction> for wire::Reaction {
    fn from(Reaction { to, emoji }: Reaction) -> Self {
        Self { to: to.as_bytes().to_vec(), emoji: emoji.map_or_else(String::new, |emoji| emoji.0) }
    }
}

impl TryFrom<wire::Reaction> for Reaction {
    type Error = DecodeError;

    fn try_from(wire::Reaction { to, emoji }: wire::Reaction) -> Result<Self, DecodeError> {
        let to = exact("message reacted to", &to)?;
        let emoji = if emoji.is_empty() { None } else { Some(Emoji::new(emoji)?) };
        Ok(Self { to, emoji })
    }
}

/// One to [`EMOJI_MAX`] bytes without control characters. What an emoji is changes every year, so it may be any short
/// word; never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Emoji(String);

impl Emoji {
    /// Takes an emoji.
    ///
    /// # Errors
    /// [`DecodeError`] when it is empty, too long, or has control characters.
    pub fn new(emoji: String) -> Result<Self, DecodeError> {
        at_most("emoji", EMOJI_MAX, emoji.len())?;
        if emoji.is_empty() || emoji.chars().any(char::is_control) {
            return Err(DecodeError::Value("emoji"));
        }
        Ok(Self(emoji))
    }

    /// The emoji, as a stranger sent it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Emoji {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Emoji({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: MessageId = MessageId::new([5; 16]);

    #[test]
    fn the_longest_text_is_taken_and_a_longer_one_is_refused() {
        assert!(Text::new("x".repeat(TEXT_MAX)).is_ok());
        let longer = DecodeError::TooLong { field: "text", limit: TEXT_MAX, actual: TEXT_MAX + 1 };
        assert_eq!(Text::new("x".repeat(TEXT_MAX + 1)), Err(longer));
        assert_eq!(Text::new(String::new()), Err(DecodeError::Value("text")));
    }

    #[test]
    fn what_a_text_answers_is_an_id_or_nothing() {
        let answer = Text::new("yes".to_owned()).unwrap().in_reply_to(ID);
        let wire = wire::Text::from(answer.clone());
        assert_eq!(Text::try_from(wire.clone()), Ok(answer));
        let short = wire::Text { reply_to: vec![5; 15], ..wire };
        assert_eq!(Text::try_from(short), Err(DecodeError::Value("reply to")));
    }

    #[test]
    fn an_edit_says_what_it_says_now() {
        let edit = Edit { of: ID, text: Text::new("now".to_owned()).unwrap() };
        let wire = wire::Edit::from(edit.clone());
        assert_eq!(Edit::try_from(wire.clone()), Ok(edit));
        assert_eq!(Edit::try_from(wire::Edit { text: None, ..wire }), Err(DecodeError::Value("text")));
    }

    #[test]
    fn emoji_of_any_script_are_taken_and_control_characters_are_not() {
        for emoji in ["👍", "👨🏿‍❤️‍💋‍👨🏻", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "ok"] {
            let reaction = Reaction { to: ID, emoji: Some(Emoji::new(emoji.to_owned()).unwrap()) };
            assert_eq!(Reaction::try_from(wire::Reaction::from(reaction.clone())), Ok(reaction));
        }
        let removed = Reaction { to: ID, emoji: None };
        assert_eq!(Reaction::try_from(wire::Reaction::from(removed.clone())), Ok(removed));
        for bad in ["", "a\nb", "\u{1b}", &"x".repeat(EMOJI_MAX + 1)] {
            assert!(Emoji::new(bad.to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn debug_shows_no_words_and_no_sign() {
        let edit = Edit { of: ID, text: Text::new("secret".to_owned()).unwrap() };
        assert_eq!(format!("{edit:?}"), "Edit { of: MessageId(05050505), text: Text(6 bytes) }");
        assert_eq!(format!("{:?}", Emoji::new("👍".to_owned()).unwrap()), "Emoji(4 bytes)");
    }
}
