//! What came, what was read, and whether somebody is writing. All of it is optional, and off by default.

use super::MessageIds;
use crate::codec::DecodeError;
use crate::wire;

/// Messages that came, and messages that were read: one at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    delivered: MessageIds,
    read: MessageIds,
}

impl Receipt {
    /// A receipt for messages.
    ///
    /// # Errors
    /// [`DecodeError::Value`] when it names none.
    pub fn new(delivered: MessageIds, read: MessageIds) -> Result<Self, DecodeError> {
        if delivered.is_empty() && read.is_empty() {
            return Err(DecodeError::Value("receipt"));
        }
        Ok(Self { delivered, read })
    }

    /// Messages that came.
    #[must_use]
    pub const fn delivered(&self) -> &MessageIds {
        &self.delivered
    }

    /// Messages that were read; they came, too.
    #[must_use]
    pub const fn read(&self) -> &MessageIds {
        &self.read
    }
}

impl From<Receipt> for wire::Receipt {
    fn from(receipt: Receipt) -> Self {
        Self { delivered: receipt.delivered.to_bytes(), read: receipt.read.to_bytes() }
    }
}

impl TryFrom<wire::Receipt> for Receipt {
    type Error = DecodeError;

    fn try_from(receipt: wire::Receipt) -> Result<Self, DecodeError> {
        Self::new(MessageIds::from_bytes(&receipt.delivered)?, MessageIds::from_bytes(&receipt.read)?)
    }
}

/// Messages that came the online way, and need not go the other (M2): one at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement(MessageIds);

impl Acknowledgement {
    /// Acknowledges messages.
    ///
    /// # Errors
    /// [`DecodeError::Value`] when there are none.
    pub fn new(ids: MessageIds) -> Result<Self, DecodeError> {
        if ids.is_empty() { Err(DecodeError::Value("acknowledgement")) } else { Ok(Self(ids)) }
    }

    /// The messages.
    #[must_use]
    pub const fn ids(&self) -> &MessageIds {
        &self.0
    }
}

impl From<Acknowledgement> for wire::Acknowledgement {
    fn from(acknowledgement: Acknowledgement) -> Self {
        Self { ids: acknowledgement.0.to_bytes() }
    }
}

impl TryFrom<wire::Acknowledgement> for Acknowledgement {
    type Error = DecodeError;

    fn try_from(acknowledgement: wire::Acknowledgement) -> Result<Self, DecodeError> {
        Self::new(MessageIds::from_bytes(&acknowledgement.ids)?)
    }
}

/// Whether somebody is writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typing {
    /// From now on.
    Started,
    /// No more.
    Stopped,
}

impl From<Typing> for wire::Typing {
    fn from(typing: Typing) -> Self {
        Self { stopped: typing == Typing::Stopped }
    }
}

impl From<wire::Typing> for Typing {
    fn from(typing: wire::Typing) -> Self {
        if typing.stopped { Self::Stopped } else { Self::Started }
    }
}

#[cfg(test)]
mod tests {
    use super::super::MessageId;
    use super::*;

    fn ids(bytes: &[u8]) -> MessageIds {
        MessageIds::new(bytes.iter().map(|byte| MessageId::new([*byte; 16])).collect()).unwrap()
    }

    #[test]
    fn a_receipt_is_for_something() {
        for (delivered, read) in [(&[1, 2][..], &[][..]), (&[], &[3]), (&[1], &[1])] {
            let receipt = Receipt::new(ids(delivered), ids(read)).unwrap();
            assert_eq!(Receipt::try_from(wire::Receipt::from(receipt.clone())), Ok(receipt));
        }
        assert_eq!(Receipt::new(ids(&[]), ids(&[])), Err(DecodeError::Value("receipt")));
    }

    #[test]
    fn an_acknowledgement_is_for_something() {
        let acknowledgement = Acknowledgement::new(ids(&[1])).unwrap();
        assert_eq!(
            Acknowledgement::try_from(wire::Acknowledgement::from(acknowledgement.clone())),
            Ok(acknowledgement)
        );
        assert_eq!(Acknowledgement::new(ids(&[])), Err(DecodeError::Value("acknowledgement")));
    }

    #[test]
    fn who_begins_to_write_sends_nothing_but_that() {
        for typing in [Typing::Started, Typing::Stopped] {
            assert_eq!(Typing::from(wire::Typing::from(typing)), typing);
        }
    }
}
