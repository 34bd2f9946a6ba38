//! A path by hand: every frame of it is the attack's own.

use std::collections::BTreeMap;

use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::build::{ClientBuild, ClientKeys};
use sotto_behaviours::onion::layers::FromPath;
use sotto_proto::cell::{Body, Destination, Frame, Position, ResetReason, StreamId};
use sotto_proto::limits::{BODY_DATA, CREDIT_RETURN, FRAME, HOPS};

use super::ground::{Ground, minute};
use super::peer::Peer;
use super::wire::{Failed, Wire};

/// A path that is up.
pub(super) struct RawPath {
    wire: Wire,
    keys: ClientKeys,
    next: StreamId,
    /// Cells that came on a stream and were not given back as credit.
    taken: BTreeMap<StreamId, u16>,
}

/// What an exit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Bytes of a stream.
    Data(StreamId, Vec<u8>),
    /// A stream has ended, one way or the other.
    Ended(StreamId),
}

/// A build, sealed for these hops, and what opens its reply.
pub(super) fn build(ground: &mut Ground, hops: &[HopInfo; HOPS]) -> Result<(Frame, ClientBuild), Failed> {
    let chain = ground.scene.network.chain;
    ClientBuild::new(&chain, hops, minute(), &mut ground.rng).map_err(Failed::unmade)
}

impl RawPath {
    /// Builds a path over a connection with its guard.
    pub(super) async fn build(ground: &mut Ground, peer: &Peer, hops: &[HopInfo; HOPS]) -> Result<Self, Failed> {
        let (frame, build) = build(ground, hops)?;
        let mut wire = peer.open(&ground.names.path()).await?;
        wire.send(frame.as_bytes()).await?;
        let reply = wire.recv_frame().await?;
        let keys = build.finish(&reply).map_err(|failure| Failed::Path(failure.to_string()))?;
        Ok(Self { wire, keys, next: StreamId::FIRST, taken: BTreeMap::new() })
    }

    /// A connection with a drawn guard, or the victim as one, and a path over it.
    pub(super) async fn anew(ground: &mut Ground, victim: Option<Position>) -> Result<(Peer, Self), Failed> {
        let (hops, at) = ground.hops(victim)?;
        let peer = ground.stranger_at((hops[0].node, at)).await?;
        let path = Self::build(ground, &peer, &hops).await?;
        Ok((peer, path))
    }

    /// A body as the cell that the guard gets.
    pub(super) fn seal(&mut self, body: &Body<'_>) -> Result<[u8; FRAME], Failed> {
        let mut frame = [0; FRAME];
        self.keys.forward.seal_body(body, &mut frame).map_err(Failed::unmade)?;
        Ok(frame)
    }

    /// Any bytes, sealed for the hop at `position` and those before it.
    pub(super) fn seal_for(&mut self, position: Position, opened: &[u8]) -> Result<[u8; FRAME], Failed> {
        let mut frame = [0; FRAME];
        self.keys.forward.seal_unchecked(position, opened, &mut frame).map_err(Failed::unmade)?;
        Ok(frame)
    }

    /// Sends frames as they are.
    pub(super) async fn send_raw(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        self.wire.send(bytes).await
    }

    /// Sends a body.
    pub(super) async fn send(&mut self, body: &Body<'_>) -> Result<(), Failed> {
        let frame = self.seal(body)?;
        self.wire.send(&frame).await
    }

    /// Opens a stream and sends a flight on it, the beginning of it in the OPEN.
    pub(super) async fn open(&mut self, to: &HopInfo, flight: &[u8]) -> Result<StreamId, Failed> {
        let stream = self.next;
        self.next = stream.next().ok_or_else(|| Failed::Path("all its streams are used".to_owned()))?;
        let destination = Destination::Node(to.node);
        let (first, rest) = flight.split_at(flight.len().min(destination.first_bytes()));
        self.send(&Body::Open { stream, destination, first }).await?;
        self.send_data(stream, rest).await?;
        Ok(stream)
    }

    /// Sends bytes on a stream. Whoever waits for an answer after each few cells keeps within its credit.
    pub(super) async fn send_data(&mut self, stream: StreamId, bytes: &[u8]) -> Result<(), Failed> {
        for data in bytes.chunks(BODY_DATA) {
            self.send(&Body::Data { stream, data }).await?;
        }
        Ok(())
    }

    /// Ends a stream.
    pub(super) async fn reset(&mut self, stream: StreamId) -> Result<(), Failed> {
        self.taken.remove(&stream);
        self.send(&Body::Reset { stream, reason: ResetReason::ClosedByDestination }).await
    }

    /// What comes next of a stream. Gives credit back, as a client does.
    pub(super) async fn recv(&mut self) -> Result<Said, Failed> {
        loop {
            let mut frame = self.wire.recv_frame().await?;
            let opened = self.keys.backward.open(frame.as_mut_bytes());
            let opened = opened.map_err(|error| Failed::Path(error.to_string()))?;
            let (stream, data) = match opened {
                FromPath::Body(Body::Data { stream, data }) => (stream, data.to_vec()),
                FromPath::Body(Body::End { stream } | Body::Reset { stream, .. }) => return Ok(Said::Ended(stream)),
                FromPath::Body(_) => continue,
                FromPath::Destroy { position, reason } => {
                    return Err(Failed::Path(format!("{position}: {reason:?}")));
                }
            };
            let taken = self.taken.entry(stream).or_default();
            *taken += 1;
            if *taken >= CREDIT_RETURN {
                self.taken.remove(&stream);
                self.send(&Body::Window { stream, cells: CREDIT_RETURN }).await?;
            }
            return Ok(Said::Data(stream, data));
        }
    }

    /// Waits until the path ends; what comes is thrown away.
    pub(super) async fn ended(&mut self) -> Failed {
        loop {
            if let Err(error) = self.wire.recv_frame().await
                && !matches!(error, Failed::Silent(_))
            {
                return error;
            }
        }
    }
}
