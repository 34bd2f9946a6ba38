//! Where the sender can be reached online (M2).

use std::fmt;

use super::exact;
use crate::codec::DecodeError;
use crate::id::NodeId;
use crate::limits::budget::LISTENING_TAG;
use crate::time::UnixSeconds;
use crate::wire;

/// By which a node knows for whom a message is: sixteen random bytes for each contact and each listening, so that
/// contacts have nothing to compare. Who has it can write there: `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListeningTag([u8; Self::LEN]);

impl ListeningTag {
    /// Bytes of a tag.
    pub const LEN: usize = LISTENING_TAG;

    /// Wraps sixteen bytes, which the listener draws at random.
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

impl From<[u8; Self::LEN]> for ListeningTag {
    fn from(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for ListeningTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ListeningTag(secret)")
    }
}

/// Where the sender can be reached online.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    /// At a node, to which it holds a path open.
    At {
        /// The node. Any key; whether there is such a node is for the node list to say.
        node: NodeId,
        /// By which the node knows for whom a message is.
        tag: ListeningTag,
        /// Until then.
        until: UnixSeconds,
    },
    /// Nowhere.
    Stopped,
}

impl From<Listening> for wire::Listening {
    fn from(listening: Listening) -> Self {
        let place = match listening {
            Listening::At { node, tag, until } => Some(wire::ListeningPlace {
                node: node.as_bytes().to_vec(),
                tag: tag.as_bytes().to_vec(),
                until: until.0,
            }),
            Listening::Stopped => None,
        };
        Self { place }
    }
}

impl TryFrom<wire::Listening> for Listening {
    type Error = DecodeError;

    fn try_from(listening: wire::Listening) -> Result<Self, DecodeError> {
        let Some(wire::ListeningPlace { node, tag, until }) = listening.place else { return Ok(Self::Stopped) };
        Ok(Self::At {
            node: exact("listening node", &node)?,
            tag: exact("listening tag", &tag)?,
            until: UnixSeconds(until),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_node_a_tag_and_a_time() {
        let at = Listening::At { node: NodeId::new([3; 32]), tag: ListeningTag::new([4; 16]), until: UnixSeconds(5) };
        for listening in [at, Listening::Stopped] {
            assert_eq!(Listening::try_from(wire::Listening::from(listening)), Ok(listening));
        }
        let place = wire::Listening::from(at).place.unwrap();
        for bad in [
            wire::ListeningPlace { node: vec![3; 31], ..place.clone() },
            wire::ListeningPlace { tag: vec![4; 17], ..place },
        ] {
            assert!(Listening::try_from(wire::Listening { place: Some(bad) }).is_err());
        }
    }

    #[test]
    fn debug_does_not_show_the_tag() {
        assert_eq!(format!("{:?}", ListeningTag::new([0xab; 16])), "ListeningTag(secret)");
    }
}
