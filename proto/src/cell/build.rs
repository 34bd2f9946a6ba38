//! The first forward frame: three Noise messages, one in the other.
//!
//! ```text
//! 0   u8  version = 1
//! 1   u8  suite = 1               Noise_NK_25519_AESGCM_SHA256
//! 2   4   key tag                 which of its X25519 keys the hop is to use
//! 6   32  e                       ┐
//! 38  ..  sealed:                 │ Noise message 1
//!         minute 4 ‖ position 1 ‖ zeros 3 ‖ next 32 ‖ inner ‖ tag 16
//! ```
//!
//! The first six bytes are in the prologue, so a hop refuses a layer in which they were changed.

use super::{Frame, Position, exactly, padded, zeros};
use crate::codec::{DecodeError, Reader};
use crate::domain;
use crate::hash::hash;
use crate::id::{ChainId, NodeId, X25519Key};
use crate::limits::BUILD_MINUTES;
use crate::limits::budget::{BUILD_LAYER, KEY, TAG};
use crate::time::UnixSeconds;

const VERSION: u8 = 1;
/// `Noise_NK_25519_AESGCM_SHA256`.
const SUITE: u8 = 1;

/// The first four bytes of the hash of an X25519 key. A node has two keys while it rotates; this says which is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyTag([u8; 4]);

impl KeyTag {
    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

impl From<[u8; 4]> for KeyTag {
    fn from(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }
}

/// The tag of `key`.
#[must_use]
pub fn key_tag(key: &X25519Key) -> KeyTag {
    let digest = hash(domain::X25519_TAG, key);
    let [a, b, c, d, ..] = *digest.as_bytes();
    KeyTag([a, b, c, d])
}

/// Network time in whole minutes. Anything finer would tell three hops apart from all others whose clock is off by how
/// much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minute(pub u32);

impl Minute {
    /// Whether a hop whose own minute is `own` takes a build of this minute.
    #[must_use]
    pub const fn is_near(self, own: Self) -> bool {
        self.0.abs_diff(own.0) <= BUILD_MINUTES
    }
}

impl From<UnixSeconds> for Minute {
    /// Rounds down; held at the largest, in the year 10136.
    fn from(time: UnixSeconds) -> Self {
        Self(u32::try_from(time.0 / 60).unwrap_or(u32::MAX))
    }
}

/// The readable beginning of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildHead {
    /// Which of the hop's keys is used.
    pub key_tag: KeyTag,
}

impl BuildHead {
    /// Its bytes.
    pub const LEN: usize = 6;

    /// `version ‖ suite ‖ key tag`.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        let [a, b, c, d] = self.key_tag.0;
        [VERSION, SUITE, a, b, c, d]
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.u8()? != VERSION {
            return Err(DecodeError::Value("version"));
        }
        if reader.u8()? != SUITE {
            return Err(DecodeError::Value("suite"));
        }
        Ok(Self { key_tag: reader.array().map(KeyTag)? })
    }

    /// The layer of these bytes and Noise message 1, to be the next layer's `inner`, or the frame of link 1.
    #[must_use]
    pub fn layer(self, message: &[u8]) -> Vec<u8> {
        [&self.to_bytes(), message].concat()
    }
}

/// What both sides of the handshake with a hop must agree on beforehand:
/// `lp("sotto/path/1") ‖ chain ‖ node key ‖ first six bytes`.
#[must_use]
pub fn prologue(chain: &ChainId, hop: &NodeId, head: BuildHead) -> Vec<u8> {
    let mut prologue = domain::PATH.prefixed();
    prologue.extend_from_slice(chain.as_ref());
    prologue.extend_from_slice(hop.as_ref());
    prologue.extend_from_slice(&head.to_bytes());
    prologue
}

/// A layer as the hop at a position finds it in a frame.
#[derive(Clone, Copy, Debug)]
pub struct Build<'a> {
    /// Its readable beginning.
    pub head: BuildHead,
    /// Noise message 1.
    pub message: &'a [u8],
}

impl<'a> Build<'a> {
    /// Reads the layer for `position`; what is behind it in the frame is not looked at.
    ///
    /// # Errors
    /// [`DecodeError::Value`] for another version or suite: the hop resets the stream and says nothing.
    pub fn read(frame: &'a Frame, position: Position) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(&frame.as_bytes()[..position.build_len()]);
        let head = BuildHead::read(&mut reader)?;
        Ok(Self { head, message: reader.bytes(reader.remaining())? })
    }

    /// The client's ephemeral key, in which a repeated build shows: its beginning is looked up in the replay set before
    /// anything is computed.
    #[must_use]
    pub fn ephemeral(&self) -> &'a [u8] {
        &self.message[..KEY]
    }
}

/// What a layer says to its hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildPayload<'a> {
    /// When the path was built.
    pub minute: Minute,
    /// The hop's place.
    pub position: Position,
    /// The next hop; none at the exit.
    pub next: Option<NodeId>,
    /// The next hop's layer; empty at the exit.
    pub inner: &'a [u8],
}

impl<'a> BuildPayload<'a> {
    /// Bytes of the payload at `position`.
    #[must_use]
    pub const fn len(position: Position) -> usize {
        position.build_len() - BuildHead::LEN - KEY - TAG
    }

    /// Bytes of `inner` at `position`; at the exit they are zeros.
    #[must_use]
    pub const fn inner_len(position: Position) -> usize {
        position.build_len() - BUILD_LAYER
    }

    /// Reads what opened as the layer of `position`.
    ///
    /// # Errors
    /// [`DecodeError`] if the layer says another position, or is not laid out as it should be; both are refused.
    pub fn read(position: Position, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        exactly("build payload", Self::len(position), bytes)?;
        let mut reader = Reader::new(bytes);
        let minute = Minute(reader.u32()?);
        if reader.u8()? != position.number() {
            return Err(DecodeError::Value("position"));
        }
        zeros("reserved", reader.bytes(3)?)?;
        let (next, inner): (NodeId, _) = (reader.id()?, reader.bytes(reader.remaining())?);
        let (next, inner) = match (position.next(), next == NO_NODE) {
            (Some(_), false) => (Some(next), inner),
            (None, true) => {
                zeros("inner", inner)?;
                (None, &[][..])
            }
            _ => return Err(DecodeError::Value("next")),
        };
        Ok(Self { minute, position, next, inner })
    }

    /// The payload's bytes, to be sealed as Noise message 1.
    ///
    /// # Errors
    /// [`DecodeError`] if `next` or `inner` are not what the position asks for.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DecodeError> {
        if self.next.is_some() != self.position.next().is_some() || self.next == Some(NO_NODE) {
            return Err(DecodeError::Value("next"));
        }
        let layer = if self.next.is_some() { Self::inner_len(self.position) } else { 0 };
        exactly("inner", layer, self.inner)?;
        let mut bytes = Vec::with_capacity(Self::len(self.position));
        bytes.extend_from_slice(&self.minute.0.to_be_bytes());
        bytes.extend_from_slice(&[self.position.number(), 0, 0, 0]);
        bytes.extend_from_slice(self.next.unwrap_or(NO_NODE).as_ref());
        padded("inner", &mut bytes, self.inner, Self::inner_len(self.position))?;
        Ok(bytes)
    }
}

/// What stands for no next hop; no Ed25519 key is all zeros that could sign.
const NO_NODE: NodeId = NodeId::new([0; 32]);

const _: () = {
    assert!(BuildPayload::inner_len(Position::Guard) == Position::Middle.build_len());
    assert!(BuildPayload::inner_len(Position::Middle) == Position::Exit.build_len());
    assert!(BuildPayload::inner_len(Position::Exit) == 1766);
};
