//! Listening nodes: tags that somebody listens to, and what is pushed to them (M2).

use std::collections::BTreeSet;
use std::fmt;

use super::at_most;
use crate::codec::DecodeError;
use crate::content::ListeningTag;
use crate::limits::{ENVELOPE_DATA_SIZES, LISTEN_TAGS};
use crate::wire;

/// Tags that are listened to: one at least, at most [`LISTEN_TAGS`], no two the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenTags(Vec<ListeningTag>);

impl ListenTags {
    /// Tags, in the order given.
    ///
    /// # Errors
    /// [`DecodeError`] when there are none, too many, or one of them twice.
    pub fn new(tags: Vec<ListeningTag>) -> Result<Self, DecodeError> {
        at_most("tags", LISTEN_TAGS, tags.len())?;
        let different: BTreeSet<_> = tags.iter().collect();
        if tags.is_empty() || different.len() != tags.len() {
            return Err(DecodeError::Value("tags"));
        }
        Ok(Self(tags))
    }

    /// The tags.
    #[must_use]
    pub fn as_slice(&self) -> &[ListeningTag] {
        &self.0
    }
}

impl From<ListenTags> for wire::ListenRequest {
    fn from(tags: ListenTags) -> Self {
        Self { tags: tags.0.iter().flat_map(ListeningTag::as_bytes).copied().collect() }
    }
}

impl TryFrom<wire::ListenRequest> for ListenTags {
    type Error = DecodeError;

    fn try_from(request: wire::ListenRequest) -> Result<Self, DecodeError> {
        let (tags, rest) = request.tags.as_chunks::<{ ListeningTag::LEN }>();
        if !rest.is_empty() {
            return Err(DecodeError::Value("tags"));
        }
        at_most("tags", LISTEN_TAGS, tags.len())?;
        Self::new(tags.iter().copied().map(ListeningTag::new).collect())
    }
}

/// What is pushed: sealed, of one of the lengths of an envelope's data, so that it tells no more than those do.
#[derive(Clone, PartialEq, Eq)]
pub struct PushData(Vec<u8>);

impl PushData {
    /// Sealed bytes.
    ///
    /// # Errors
    /// [`DecodeError::Value`] when their length is none of [`ENVELOPE_DATA_SIZES`].
    pub fn new(data: Vec<u8>) -> Result<Self, DecodeError> {
        if ENVELOPE_DATA_SIZES.contains(&data.len()) { Ok(Self(data)) } else { Err(DecodeError::Value("pushed data")) }
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// How many cells carry it: the first length takes one, each later one twice as many.
    #[must_use]
    pub fn cells(&self) -> u32 {
        let step = ENVELOPE_DATA_SIZES.iter().take_while(|size| **size < self.0.len()).count();
        1 << step
    }
}

impl fmt::Debug for PushData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PushData({} bytes)", self.0.len())
    }
}

/// Something for whoever listens to a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The tag.
    pub tag: ListeningTag,
    /// What.
    pub data: PushData,
}

impl From<Push> for wire::PushRequest {
    fn from(push: Push) -> Self {
        Self { tag: push.tag.as_bytes().to_vec(), data: push.data.0 }
    }
}

impl TryFrom<wire::PushRequest> for Push {
    type Error = DecodeError;

    fn try_from(push: wire::PushRequest) -> Result<Self, DecodeError> {
        let tag: [u8; ListeningTag::LEN] =
            push.tag.as_slice().try_into().map_err(|_| DecodeError::Value("listening tag"))?;
        Ok(Self { tag: ListeningTag::new(tag), data: PushData::new(push.data)? })
    }
}
