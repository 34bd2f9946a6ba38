//! By which both sides know a message.

use std::fmt;
use std::str::FromStr;

use crate::codec::DecodeError;
use crate::id::ParseIdError;
use crate::limits::RECEIPT_IDS;

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

/// At most [`RECEIPT_IDS`] ids, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageIds(Vec<MessageId>);

impl MessageIds {
    /// Takes ids.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`] when there are more than one message names.
    pub fn new(ids: Vec<MessageId>) -> Result<Self, DecodeError> {
        super::at_most("ids", RECEIPT_IDS, ids.len())?;
        Ok(Self(ids))
    }

    /// The ids.
    #[must_use]
    pub fn as_slice(&self) -> &[MessageId] {
        &self.0
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ids one after the other.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|id| id.0).collect()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (ids, rest) = bytes.as_chunks::<{ MessageId::LEN }>();
        super::at_most("ids", RECEIPT_IDS, ids.len())?;
        if !rest.is_empty() {
            return Err(DecodeError::Value("ids"));
        }
        Ok(Self(ids.iter().copied().map(MessageId).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_what_they_write() {
        let id = MessageId::new(std::array::from_fn(|i| i as u8));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("00".parse::<MessageId>().is_err());
    }

    #[test]
    fn as_many_ids_as_a_receipt_names_are_taken_and_no_more() {
        let most = MessageIds::new(vec![MessageId::new([1; 16]); RECEIPT_IDS]).unwrap();
        assert_eq!(MessageIds::from_bytes(&most.to_bytes()), Ok(most.clone()));
        let one_more = [most.to_bytes(), vec![1; 16]].concat();
        let expected = DecodeError::TooLong { field: "ids", limit: RECEIPT_IDS, actual: RECEIPT_IDS + 1 };
        assert_eq!(MessageIds::from_bytes(&one_more), Err(expected));
        assert_eq!(MessageIds::new(vec![MessageId::new([1; 16]); RECEIPT_IDS + 1]), Err(expected));
        assert_eq!(MessageIds::from_bytes(&[1; 17]), Err(DecodeError::Value("ids")));
        assert!(MessageIds::from_bytes(&[]).unwrap().is_empty());
    }
}
