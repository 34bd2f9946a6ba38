//! Building a path: three handshakes, one in the other, in one round trip (B5).
//!
//! ```text
//! client                         guard                     middle                    exit
//! ClientBuild::new ──build──▶ ArrivedBuild::read
//!                              replay set: seen?
//!                              open ─▶ OpenedBuild ──inner──▶ the same ──inner──▶ the same
//! ClientBuild::finish ◀─reply─ reply(Built, inner) ◀─reply─ reply(Built, inner) ◀─reply─ reply(Built)
//! ```
//!
//! What a hop may say of a build depends on how far it came. Up to the handshake it resets the stream and says nothing:
//! whoever sent it does not know our key. Behind that it replies with a status, which only the client can read.

use std::fmt;

use rand_core::CryptoRng;
use sotto_proto::cell::{
    Build, BuildHead, BuildPayload, Frame, KeyTag, Minute, Position, ReplyPayload, Status, key_tag, prologue,
};
use sotto_proto::codec::DecodeError;
use sotto_proto::id::{ChainId, NodeId};
use sotto_proto::limits::{FRAME, HOPS};
use zeroize::Zeroizing;

use super::keys::{Opener, Sealer};
use super::layers::{ClientBackward, ClientForward, HopBackward, HopForward};
use super::{Ephemeral, HopInfo};
use crate::noise::{self, Handshake, Pattern, Secret};

/// Why a build went no further here. A hop that has it resets the stream and says nothing.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Another version or suite, or a payload that cannot be laid out.
    #[error("build: {0}")]
    Malformed(#[from] DecodeError),
    /// Sealed to a key that the hop does not have, or no longer.
    #[error("build for an unknown key {0:?}")]
    UnknownKey(KeyTag),
    /// The handshake failed.
    #[error("build: {0}")]
    Noise(#[from] noise::Error),
}

/// How a build failed, as far as the client can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {position} did not build the path: {}", Reason(.status))]
pub struct BuildFailure {
    /// The hop that says so, or whose layer does not open.
    pub position: Position,
    /// What it says; none if its layer does not open or says what is unknown here.
    pub status: Option<Status>,
    /// Its clock, if it says so.
    pub minute: Option<Minute>,
}

struct Reason<'a>(&'a Option<Status>);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            None => "its reply does not open",
            Some(Status::Built) => "its reply lacks the next hop's",
            Some(Status::NextUnreachable) => "the next hop is unreachable",
            Some(Status::NextClosed) => "the next hop closed without a reply",
            Some(Status::NextTimedOut) => "the next hop did not reply in time",
            Some(Status::NextUnknown) => "it does not know the next hop",
            Some(Status::Busy) => "it is busy",
            Some(Status::TimeRefused) => "its clock differs",
            Some(Status::Refused) => "it refused",
        })
    }
}

/// The client's side of a build that is under way.
#[derive(Debug)]
pub struct ClientBuild {
    handshakes: [Handshake; HOPS],
}

/// The client's keys of a path.
#[derive(Debug)]
pub struct ClientKeys {
    /// Seals.
    pub forward: ClientForward,
    /// Opens.
    pub backward: ClientBackward,
}

impl ClientBuild {
    /// The frame that asks for a path through these hops, guard first.
    ///
    /// # Errors
    /// [`BuildError::Noise`] if a hop's key is of small order.
    pub fn new(
        chain: &ChainId,
        hops: &[HopInfo; HOPS],
        minute: Minute,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Frame, Self), BuildError> {
        let [guard, middle, exit] = hops;
        let mut wrap = |position, hop: &HopInfo, next: Option<NodeId>, inner: &[u8]| {
            let head = BuildHead { key_tag: key_tag(&hop.x25519) };
            let mut handshake =
                Handshake::initiator(Pattern::Nk, &prologue(chain, &hop.node, head), None, &hop.x25519)?;
            let payload = Zeroizing::new(BuildPayload { minute, position, next, inner }.to_bytes()?);
            let mut message = vec![0; position.build_len() - BuildHead::LEN];
            handshake.write(&payload, noise::draw(rng), &mut message)?;
            Ok::<_, BuildError>((head.layer(&message), handshake))
        };
        let (layer, third) = wrap(Position::Exit, exit, None, &[])?;
        let (layer, second) = wrap(Position::Middle, middle, Some(exit.node), &layer)?;
        let (layer, first) = wrap(Position::Guard, guard, Some(middle.node), &layer)?;
        Ok((Frame::new(&layer)?, Self { handshakes: [first, second, third] }))
    }

    /// Opens the reply, layer by layer, until one says why it could not go on, or does not open.
    ///
    /// # Errors
    /// [`BuildFailure`]: no path.
    pub fn finish(mut self, reply: &Frame) -> Result<ClientKeys, BuildFailure> {
        let mut layer = Zeroizing::new(reply.reply(Position::Guard).to_vec());
        let mut payload = Zeroizing::new([0; FRAME]);
        for (position, handshake) in Position::ALL.into_iter().zip(&mut self.handshakes) {
            let unknown = BuildFailure { position, status: None, minute: None };
            let length = handshake.read(&layer, &mut *payload).map_err(|_| unknown)?;
            let opened = ReplyPayload::read(position, &payload[..length]).map_err(|_| unknown)?;
            if opened.status != Status::Built {
                return Err(BuildFailure { position, status: Some(opened.status), minute: Some(opened.minute) });
            }
            layer.clear();
            layer.extend_from_slice(opened.inner);
        }
        self.keys().map_err(|_| BuildFailure { position: Position::Exit, status: None, minute: None })
    }

    fn keys(self) -> Result<ClientKeys, noise::Error> {
        let [guard, middle, exit] = self.handshakes;
        let [guard, middle, exit] = [guard.split()?, middle.split()?, exit.split()?];
        let forward = [&guard.forward, &middle.forward, &exit.forward].map(|key| Sealer::new(key));
        let backward = [&guard.backward, &middle.backward, &exit.backward].map(|key| Opener::new(key));
        Ok(ClientKeys { forward: ClientForward::new(forward), backward: ClientBackward::new(backward) })
    }
}

/// The X25519 secrets that a hop opens first messages with, each known by the tag of its public half. While it rotates
/// its key, it has the previous one, too, and the next one that others may see on the chain before it does.
#[derive(Debug)]
pub struct HopSecrets {
    by_tag: Vec<(KeyTag, Secret)>,
}

impl HopSecrets {
    /// These secrets, newest first.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        Self { by_tag: secrets.into_iter().map(|secret| (key_tag(&secret.public()), secret)).collect() }
    }

    /// Their tags, in the same order: each has replay sets of its own.
    pub fn tags(&self) -> impl Iterator<Item = KeyTag> {
        self.by_tag.iter().map(|(tag, _)| *tag)
    }

    /// The secret with this tag.
    pub(crate) fn by_tag(&self, tag: KeyTag) -> Option<&Secret> {
        self.by_tag.iter().find(|(other, _)| *other == tag).map(|(_, secret)| secret)
    }
}

/// A build that arrived at a hop, of which nothing was computed.
#[derive(Debug)]
pub struct ArrivedBuild<'a> {
    secret: &'a Secret,
    frame: &'a Frame,
    head: BuildHead,
    ephemeral: Ephemeral,
}

impl<'a> ArrivedBuild<'a> {
    /// Reads version, suite and key tag, and chooses the key.
    ///
    /// # Errors
    /// [`BuildError`]: not for this hop.
    pub fn read(secrets: &'a HopSecrets, frame: &'a Frame) -> Result<Self, BuildError> {
        // The beginning is the same at every position.
        let build = Build::read(frame, Position::Guard)?;
        let secret = secrets.by_tag(build.head.key_tag).ok_or(BuildError::UnknownKey(build.head.key_tag))?;
        Ok(Self { secret, frame, head: build.head, ephemeral: ephemeral(build.message)? })
    }

    /// The tag of the key that is used.
    #[must_use]
    pub const fn key_tag(&self) -> KeyTag {
        self.head.key_tag
    }

    /// What a replay shows in: to be looked up before [`open`](Self::open).
    #[must_use]
    pub const fn ephemeral(&self) -> Ephemeral {
        self.ephemeral
    }

    /// Opens the layer as one of `candidates`, in that order: a build does not say where it is meant for until it is
    /// opened, but a middle's is longer than an exit's. All of them cost one agreement.
    ///
    /// # Errors
    /// [`BuildError::Noise`] if it opens as none of them.
    pub fn open(self, chain: &ChainId, node: &NodeId, candidates: &[Position]) -> Result<OpenedBuild, BuildError> {
        let mut handshake = Handshake::responder(Pattern::Nk, &prologue(chain, node, self.head), self.secret)?;
        let mut payload = Zeroizing::new([0; FRAME]);
        let mut error = BuildError::Malformed(DecodeError::Value("position"));
        for &position in candidates {
            let message = Build::read(self.frame, position)?.message;
            match handshake.read(message, &mut *payload) {
                Ok(length) => {
                    let asked = Asked::read(position, &payload[..length]);
                    let (key_tag, ephemeral) = (self.head.key_tag, self.ephemeral);
                    return Ok(OpenedBuild { position, key_tag, ephemeral, asked, handshake });
                }
                Err(failed) => error = failed.into(),
            }
        }
        Err(error)
    }
}

/// The beginning of the ephemeral key that a first message begins with.
pub(crate) fn ephemeral(message: &[u8]) -> Result<Ephemeral, DecodeError> {
    message.first_chunk().copied().map(Ephemeral).ok_or(DecodeError::Value("message"))
}

/// What a layer asks of its hop.
#[derive(Debug)]
struct Asked {
    minute: Minute,
    next: Option<(NodeId, Frame)>,
}

impl Asked {
    fn read(position: Position, payload: &[u8]) -> Result<Self, DecodeError> {
        let payload = BuildPayload::read(position, payload)?;
        let next = match payload.next {
            Some(next) => Some((next, Frame::new(payload.inner)?)),
            None => None,
        };
        Ok(Self { minute: payload.minute, next })
    }
}

/// A build that a hop opened and has to reply to.
#[derive(Debug)]
pub struct OpenedBuild {
    position: Position,
    key_tag: KeyTag,
    ephemeral: Ephemeral,
    asked: Result<Asked, DecodeError>,
    handshake: Handshake,
}

/// A hop's keys of a path, one for each of its two tasks.
#[derive(Debug)]
pub struct HopKeys {
    /// Opens what comes from the client's side.
    pub forward: HopForward,
    /// Seals what goes to it.
    pub backward: HopBackward,
}

impl OpenedBuild {
    /// The hop's place on the path.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The tag of the key that was used.
    #[must_use]
    pub const fn key_tag(&self) -> KeyTag {
        self.key_tag
    }

    /// What a replay shows in: to be remembered before anything is passed on or answered with [`Status::Built`].
    #[must_use]
    pub const fn ephemeral(&self) -> Ephemeral {
        self.ephemeral
    }

    /// When the client built it; the beginning of time if the layer is refused anyway.
    #[must_use]
    pub fn minute(&self) -> Minute {
        self.asked.as_ref().map_or_else(|_| Minute::default(), |asked| asked.minute)
    }

    /// Why a hop whose clock says `own` must refuse it, whatever else it thinks of it.
    #[must_use]
    pub fn refusal(&self, own: Minute) -> Option<Status> {
        match &self.asked {
            Err(_) => Some(Status::Refused),
            Ok(asked) if !asked.minute.is_near(own) => Some(Status::TimeRefused),
            Ok(_) => None,
        }
    }

    /// The next hop; none at the exit.
    #[must_use]
    pub fn next(&self) -> Option<NodeId> {
        self.behind().map(|(next, _)| *next)
    }

    /// What to send it.
    #[must_use]
    pub fn inner_frame(&self) -> Option<&Frame> {
        self.behind().map(|(_, frame)| frame)
    }

    fn behind(&self) -> Option<&(NodeId, Frame)> {
        self.asked.as_ref().ok().and_then(|asked| asked.next.as_ref())
    }

    /// The reply, and the keys if it says that the path is built. The next hop's reply is wrapped if this says so, and
    /// else not looked at.
    ///
    /// # Errors
    /// [`BuildError::Malformed`] if the path is said to be built, but the next hop's reply is missing;
    /// [`BuildError::Noise`] if the client's ephemeral key is of small order.
    pub fn reply(
        mut self,
        status: Status,
        own: Minute,
        inner: Option<&Frame>,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Frame, Option<HopKeys>), BuildError> {
        let built = status == Status::Built;
        let next = self.position.next().filter(|_| built);
        let inner = match (next, inner) {
            (Some(next), Some(inner)) => inner.reply(next),
            (Some(_), None) => return Err(DecodeError::Value("inner").into()),
            (None, _) => &[],
        };
        let payload = Zeroizing::new(ReplyPayload { status, minute: own, inner }.to_bytes(self.position)?);
        let mut frame = Frame::zeroed();
        let message = &mut frame.as_mut_bytes()[..self.position.reply_len()];
        self.handshake.write(&payload, noise::draw(rng), message)?;
        if !built {
            return Ok((frame, None));
        }
        let split = self.handshake.split()?;
        let forward = HopForward::new(self.position, &split.forward);
        let backward = HopBackward::new(self.position, &split.backward);
        Ok((frame, Some(HopKeys { forward, backward })))
    }
}

#[cfg(test)]
mod tests;
