//! A path in one process, for tests: the client's keys, those of three hops, and the frames on its links.

use std::collections::VecDeque;
use std::convert::Infallible;

use aws_lc_rs::digest;
use rand_core::{TryCryptoRng, TryRng};
use sotto_proto::cell::{Body, Frame, Minute, Position, Status};
use sotto_proto::domain;
use sotto_proto::hash::hash;
use sotto_proto::id::{ChainId, NodeId};
use sotto_proto::limits::FRAME;
use sotto_proto::sign::SigningKey;

use super::HopInfo;
use super::build::{ArrivedBuild, ClientBuild, ClientKeys, HopKeys, HopSecrets, OpenedBuild};
use super::keys::CellError;
use super::layers::{CellBuffer, HopBackward, HopForward};
use crate::noise::Secret;

pub(crate) const MINUTE: Minute = Minute(29_500_000);

/// The seeds of the golden values.
pub(crate) fn seed(name: &str) -> [u8; 32] {
    digest::digest(&digest::SHA256, format!("sotto vector {name}").as_bytes()).as_ref().try_into().unwrap()
}

pub(crate) fn chain() -> ChainId {
    ChainId::new(*hash(domain::GENESIS, b"test vector genesis").as_bytes())
}

/// Gives the bytes it was made of, 32 at a time, and then no more.
pub(crate) struct Scripted(VecDeque<[u8; 32]>);

impl Scripted {
    pub(crate) fn new(draws: impl IntoIterator<Item = [u8; 32]>) -> Self {
        Self(draws.into_iter().collect())
    }
}

impl TryRng for Scripted {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("keys are drawn whole")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("keys are drawn whole")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.0.pop_front().expect("no more randomness than was asked for"));
        Ok(())
    }
}

impl TryCryptoRng for Scripted {}

pub(crate) struct Hop {
    pub(crate) position: Position,
    pub(crate) info: HopInfo,
    pub(crate) secrets: HopSecrets,
}

impl Hop {
    fn new(position: Position) -> Self {
        let i = position.number() - 1;
        let secret = Secret::take(&mut seed(&format!("node{i} x")));
        let node = SigningKey::from_seed(&seed(&format!("node{i} ed"))).node_id();
        let info = HopInfo { node, x25519: secret.public() };
        Self { position, info, secrets: HopSecrets::new([secret]) }
    }

    /// Opens a build as a hop at this position may.
    pub(crate) fn open(&self, frame: &Frame) -> OpenedBuild {
        let candidates = Position::candidates(self.position != Position::Guard);
        let arrived = ArrivedBuild::read(&self.secrets, frame).unwrap();
        arrived.open(&chain(), &self.info.node, candidates).unwrap()
    }

    pub(crate) fn randomness(&self) -> Scripted {
        Scripted::new([seed(&format!("node e{}", self.position.number() - 1))])
    }
}

pub(crate) fn hops() -> [Hop; 3] {
    Position::ALL.map(Hop::new)
}

pub(crate) fn destination() -> NodeId {
    SigningKey::from_seed(&seed("dest ed")).node_id()
}

/// The client's build of the golden values.
pub(crate) fn client_build(hops: &[Hop; 3]) -> (Frame, ClientBuild) {
    // The innermost layer is made first.
    let mut rng = Scripted::new([2, 1, 0].map(|i| seed(&format!("client e{i}"))));
    ClientBuild::new(&chain(), &hops.each_ref().map(|hop| hop.info), MINUTE, &mut rng).unwrap()
}

pub(crate) struct Path {
    pub(crate) client: ClientKeys,
    pub(crate) hops: [HopKeys; 3],
    /// On link 1, 2, 3.
    pub(crate) builds: Vec<Frame>,
    /// On link 1, 2, 3.
    pub(crate) replies: Vec<Frame>,
}

impl Path {
    pub(crate) fn build() -> Self {
        let hops = hops();
        let (frame, client) = client_build(&hops);
        let (mut builds, mut opened) = (vec![frame], Vec::new());
        for hop in &hops {
            let build = hop.open(&builds[builds.len() - 1]);
            assert_eq!((build.position(), build.minute(), build.refusal(MINUTE)), (hop.position, MINUTE, None));
            builds.extend(build.inner_frame().cloned());
            opened.push(build);
        }
        let (mut replies, mut keys) = (Vec::<Frame>::new(), Vec::new());
        for (hop, build) in hops.iter().zip(opened).rev() {
            let (reply, hop_keys) = build.reply(Status::Built, MINUTE, replies.last(), &mut hop.randomness()).unwrap();
            replies.push(reply);
            keys.push(hop_keys.unwrap());
        }
        replies.reverse();
        keys.reverse();
        let client = client.finish(&replies[0]).unwrap();
        Self { client, hops: keys.try_into().unwrap(), builds, replies }
    }

    /// The frames on link 1, 2, 3 that carry a body to the exit, and what arrived there.
    pub(crate) fn forward(&mut self, body: Body<'_>) -> (Vec<[u8; FRAME]>, Vec<u8>) {
        let mut frames = vec![[0; FRAME]];
        self.client.forward.seal_body(&body, &mut frames[0]).unwrap();
        for keys in &mut self.hops[..2] {
            let next = relay(&mut keys.forward, &frames[frames.len() - 1]).unwrap();
            frames.push(next.try_into().unwrap());
        }
        let body = at_exit(&mut self.hops[2].forward, &frames[2]).unwrap();
        (frames, body)
    }

    /// The frames on link 1, 2, 3 that carry a body to the client.
    pub(crate) fn backward(&mut self, body: Body<'_>) -> Vec<[u8; FRAME]> {
        let mut frames = vec![[0; FRAME]];
        self.hops[2].backward.seal_body(&body, &mut frames[0]).unwrap();
        for keys in self.hops[..2].iter_mut().rev() {
            let next = wrap(&mut keys.backward, &frames[frames.len() - 1]).unwrap();
            frames.push(next);
        }
        frames.reverse();
        frames
    }
}

/// A buffer with these bytes read into it.
pub(crate) fn buffer(bytes: &[u8]) -> CellBuffer {
    let mut cells = CellBuffer::new();
    while cells.space().len() < bytes.len() {
        cells.grow();
    }
    cells.space()[..bytes.len()].copy_from_slice(bytes);
    cells.filled(bytes.len());
    cells
}

/// What a guard or middle passes on of these frames.
pub(crate) fn relay(keys: &mut HopForward, frames: &[u8]) -> Result<Vec<u8>, CellError> {
    let mut cells = buffer(frames);
    let opened = keys.open(&mut cells)?;
    Ok(cells.relayed(&opened).collect::<Vec<_>>().concat())
}

/// The bodies that an exit finds in these frames.
pub(crate) fn at_exit(keys: &mut HopForward, frames: &[u8]) -> Result<Vec<u8>, CellError> {
    let mut cells = buffer(frames);
    let opened = keys.open(&mut cells)?;
    Ok(cells.bodies(&opened).collect::<Vec<_>>().concat())
}

/// What a guard or middle makes of this frame.
pub(crate) fn wrap(keys: &mut HopBackward, frame: &[u8]) -> Result<[u8; FRAME], CellError> {
    keys.wrap(&mut buffer(frame)).map(|bytes| bytes.try_into().unwrap())
}
