//! Hops and storing nodes in the hands of the test. Each does at its place what an honest one does, shows a [`Watch`]
//! all that it sees, and lets it spoil what leaves.

use std::time::Duration;

use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::{PeerId, Stream};
use sotto_behaviours::names::Names;
use sotto_behaviours::onion::build::{HopKeys, HopSecrets, OpenedBuild};
use sotto_behaviours::onion::layers::{CellBuffer, HopBackward};
use sotto_behaviours::tunnel::handshake::FirstRecord;
use sotto_proto::cell::{
    Body, Direction, Frame, Position, ResetReason, Status, StreamId, read_tunnel_frame, write_tunnel_frame,
};
use sotto_proto::limits::{BODY_DATA, FRAME};
use sotto_proto::request::{Error, Message as _, SwarmResponse};
use tokio::sync::oneshot;

use super::{Rogue, node_of, open_build, reply, rng, secret};
use crate::test_support::CHAIN;

/// Which way something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// From the client.
    Forward,
    /// To it.
    Backward,
}

/// What is done with a frame that should leave.
pub(crate) enum Deed {
    Pass,
    Keep,
    PassAfter(Duration),
}

/// Looks on at a hop, and decides what it does.
pub(crate) trait Watch: Send + Sync {
    /// Somebody opened the stream that the client's frames come on.
    fn opened_by(&self, _: PeerId) {}

    /// Bytes came on a link; all of them, also those that make no whole frame.
    fn arrives(&self, _: Way, _bytes: &[u8]) {}

    /// What became readable with the hop's own keys.
    fn reads(&self, _opened: &[u8]) {}

    /// A frame is about to leave; it may be changed.
    fn leaves(&self, _: Way, _frame: &mut [u8]) -> Deed {
        Deed::Pass
    }

    /// What an exit says instead of going to a destination.
    fn refuses(&self) -> Option<ResetReason> {
        None
    }
}

/// Who sits where on a path.
#[derive(Clone, Copy)]
pub(crate) struct Seat {
    pub(crate) seed: u8,
    pub(crate) position: Position,
    /// The next hop, or the destination.
    pub(crate) next: u8,
}

/// A whole frame, or nothing at the stream's end.
async fn frame_of(stream: &mut (impl AsyncRead + Unpin), way: Way, watch: &impl Watch) -> Option<Frame> {
    let mut frame = Frame::zeroed();
    let mut filled = 0;
    while filled < FRAME {
        match stream.read(&mut frame.as_mut_bytes()[filled..]).await {
            Ok(read @ 1..) => filled += read,
            _ => break,
        }
    }
    watch.arrives(way, &frame.as_bytes()[..filled]);
    (filled == FRAME).then_some(frame)
}

/// Whether the stream took it.
async fn pass(to: &mut WriteHalf<Stream>, way: Way, mut frame: Vec<u8>, watch: &impl Watch) -> bool {
    match watch.leaves(way, &mut frame) {
        Deed::Pass => {}
        Deed::Keep => return true,
        Deed::PassAfter(time) => tokio::time::sleep(time).await,
    }
    to.write_all(&frame).await.is_ok() && to.flush().await.is_ok()
}

/// Takes a build at this seat.
async fn take_build(rogue: &mut Rogue, seat: Seat, watch: &impl Watch) -> (Stream, OpenedBuild) {
    let (by, (_, mut stream)) = rogue.accept_from().await;
    watch.opened_by(by);
    let frame = frame_of(&mut stream, Way::Forward, watch).await.unwrap();
    let opened = open_build(seat.seed, &frame, &[seat.position]);
    if let (Some(next), Some(inner)) = (opened.next(), opened.inner_frame()) {
        watch.reads(next.as_ref());
        watch.reads(inner.as_bytes());
    }
    (stream, opened)
}

/// A guard or middle that relays one path until both its links have ended. The build itself passes unspoilt.
pub(crate) async fn relay(rogue: &mut Rogue, seat: Seat, watch: &impl Watch) {
    let (mut previous, opened) = take_build(rogue, seat, watch).await;
    let mut next = rogue.open(seat.next, Names::new(&CHAIN).path()).await;
    super::write_frame(&mut next, opened.inner_frame().unwrap()).await;
    let Some(inner) = frame_of(&mut next, Way::Backward, watch).await else { return };
    let (frame, keys) = reply(opened, Status::Built, Some(&inner));
    super::write_frame(&mut previous, &frame).await;
    let HopKeys { forward: mut opener, backward: mut sealer } = keys.unwrap();
    let (mut from_client, mut to_client) = previous.split();
    let (mut from_exit, mut to_exit) = next.split();
    let outward = async {
        let mut cells = CellBuffer::new();
        while let Some(frame) = frame_of(&mut from_client, Way::Forward, watch).await {
            cells.space().copy_from_slice(frame.as_bytes());
            cells.filled(FRAME);
            let opened = opener.open(&mut cells).unwrap();
            let relayed: Vec<u8> = cells.relayed(&opened).flatten().copied().collect();
            cells.advance();
            watch.reads(&relayed);
            if !relayed.is_empty() && !pass(&mut to_exit, Way::Forward, relayed, watch).await {
                break;
            }
        }
        // The end of either link is the end of the other.
        let _gone = to_exit.close().await;
    };
    let homeward = async {
        let mut cells = CellBuffer::new();
        while let Some(frame) = frame_of(&mut from_exit, Way::Backward, watch).await {
            cells.space().copy_from_slice(frame.as_bytes());
            cells.filled(FRAME);
            let wrapped = sealer.wrap(&mut cells).unwrap().to_vec();
            cells.advance();
            if !pass(&mut to_client, Way::Backward, wrapped, watch).await {
                break;
            }
        }
        let _gone = to_client.close().await;
    };
    tokio::join!(outward, homeward);
}

/// An exit that serves the first stream of one path. It gives no credit, so nobody may send more than what a stream
/// begins with.
pub(crate) async fn exit(rogue: &mut Rogue, seat: Seat, watch: &impl Watch) {
    let (mut previous, opened) = take_build(rogue, seat, watch).await;
    let (frame, keys) = reply(opened, Status::Built, None);
    super::write_frame(&mut previous, &frame).await;
    let HopKeys { mut forward, mut backward } = keys.unwrap();
    let (mut from_middle, mut to_middle) = previous.split();
    let (connected, connection) = oneshot::channel();
    let outward = async {
        let mut connected = Some(connected);
        let mut to_destination = None;
        let mut cells = CellBuffer::new();
        while let Some(frame) = frame_of(&mut from_middle, Way::Forward, watch).await {
            cells.space().copy_from_slice(frame.as_bytes());
            cells.filled(FRAME);
            let opened = forward.open(&mut cells).unwrap();
            let bodies: Vec<Vec<u8>> = cells.bodies(&opened).map(<[u8]>::to_vec).collect();
            cells.advance();
            for body in bodies {
                watch.reads(&body);
                let data = match Body::read(Direction::Forward, &body).unwrap() {
                    Body::Open { stream, first, .. } => {
                        let Some(connected) = connected.take() else { continue };
                        if let Some(reason) = watch.refuses() {
                            drop(connected.send(Err((stream, reason))));
                            continue;
                        }
                        let tunnel = rogue.open(seat.next, Names::new(&CHAIN).tunnel()).await;
                        let (reading, writing) = tunnel.split();
                        to_destination = Some(writing);
                        drop(connected.send(Ok((stream, reading))));
                        first
                    }
                    Body::Data { data, .. } => data,
                    Body::Reset { .. } | Body::End { .. } => {
                        if let Some(mut tunnel) = to_destination.take() {
                            let _gone = tunnel.close().await;
                        }
                        continue;
                    }
                    Body::Drop | Body::Window { .. } => continue,
                };
                let Some(tunnel) = &mut to_destination else { continue };
                let mut frame = Frame::zeroed();
                write_tunnel_frame(&mut frame, data).unwrap();
                pass(tunnel, Way::Forward, frame.as_bytes().to_vec(), watch).await;
            }
        }
        if let Some(mut tunnel) = to_destination.take() {
            let _gone = tunnel.close().await;
        }
    };
    let homeward = async {
        match connection.await {
            Ok(Ok((stream, mut tunnel))) => bring_home(stream, &mut tunnel, &mut to_middle, &mut backward, watch).await,
            Ok(Err((stream, reason))) => {
                let reset = sealed(&mut backward, &Body::Reset { stream, reason });
                pass(&mut to_middle, Way::Backward, reset, watch).await;
            }
            Err(_) => {}
        }
    };
    tokio::join!(outward, homeward);
}

fn sealed(key: &mut HopBackward, body: &Body<'_>) -> Vec<u8> {
    let mut cell = [0; FRAME];
    key.seal_body(body, &mut cell).unwrap();
    cell.to_vec()
}

/// What a destination says, as cells of `stream`.
async fn bring_home(
    stream: StreamId,
    tunnel: &mut ReadHalf<Stream>,
    to_middle: &mut WriteHalf<Stream>,
    key: &mut HopBackward,
    watch: &impl Watch,
) {
    while let Some(frame) = frame_of(tunnel, Way::Backward, watch).await {
        let data = read_tunnel_frame(&frame).unwrap();
        let cell = sealed(key, &Body::Data { stream, data });
        if !pass(to_middle, Way::Backward, cell, watch).await {
            return;
        }
    }
    let end = sealed(key, &Body::End { stream });
    pass(to_middle, Way::Backward, end, watch).await;
}

/// A destination of one tunnel: reads the requests, and answers each that it is busy.
pub(crate) async fn storing_node(rogue: &mut Rogue, seed: u8, watch: &impl Watch) {
    let (by, (_, mut stream)) = rogue.accept_from().await;
    watch.opened_by(by);
    let mut first = FirstRecord::new();
    loop {
        let frame = frame_of(&mut stream, Way::Forward, watch).await.unwrap();
        if first.push(read_tunnel_frame(&frame).unwrap()).unwrap() {
            break;
        }
    }
    let secrets = HopSecrets::new([secret(seed)]);
    let opened = first.read(&secrets).unwrap().open(&CHAIN, &node_of(seed)).unwrap();
    watch.reads(opened.request());
    let busy = SwarmResponse::Error(Error::Busy).encode().unwrap();
    let (flight, mut outbound, mut inbound) = opened.answer(&busy, &mut rng()).unwrap();
    answer(&mut stream, &flight).await;
    while let Some(frame) = frame_of(&mut stream, Way::Forward, watch).await {
        inbound.push(read_tunnel_frame(&frame).unwrap()).unwrap();
        while let Some(request) = inbound.poll().unwrap() {
            watch.reads(&request);
            let flight = outbound.answer(&busy).unwrap();
            answer(&mut stream, &flight).await;
        }
    }
}

async fn answer(stream: &mut Stream, flight: &[u8]) {
    for data in flight.chunks(BODY_DATA) {
        let mut frame = Frame::zeroed();
        write_tunnel_frame(&mut frame, data).unwrap();
        super::write_frame(stream, &frame).await;
    }
}
