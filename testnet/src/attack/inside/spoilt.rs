//! Frames, cells, records and questions that are not what they should be, each on valid keys of an own path, so that
//! they come as deep as they can (F24).

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use libp2p::StreamProtocol;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;
use sotto_behaviours::onion::build::ClientBuild;
use sotto_proto::cell::{Body, Destination, Position, ResetReason, StreamId};
use sotto_proto::id::NodeId;
use sotto_proto::limits::{BODY, BODY_DATA, FRAME, REQUEST_MAX, STREAMS_PER_PATH};

use super::super::Attack;
use super::crowd::crowd;
use super::ground::{Ground, minute};
use super::mutation::{self, below};
use super::path::RawPath;
use super::requests::{AnyOf, exchange, framed, questions};
use super::talk::{Habit, Questions, talk};
use super::tunnels::meet;
use super::wire::Failed;

/// Clients that send builds, cells, questions.
const SENDERS: usize = 16;
/// Builds on a connection: more are not even read.
const BUILDS: usize = 12;
/// Paths on a connection: as many as are built at once.
const PATHS: usize = 6;
/// Frames on a path, of which one is enough to end it.
const FRAMES: usize = 24;
/// How long a path may take to end.
const END: Duration = Duration::from_secs(2);
/// Questions at once on a connection, and how often.
const AT_ONCE: usize = 8;
const TIMES: usize = 20;

pub(super) const BUILDS_ATTACK: Attack = Attack {
    name: "spoilt-builds",
    what: "builds with flipped bits, cut off, repeated, of another time, with impossible hops (rows 1, 2, 10; F20, F24)",
    start: |scene| crowd(scene, "spoilt-builds", SENDERS, |ground| builds(ground).boxed()).boxed(),
};

pub(super) const CELLS: Attack = Attack {
    name: "spoilt-cells",
    what: "cells and bodies that are none, sealed for guard, middle and exit, repeated, out of order (rows 1, 4; F24)",
    start: |scene| crowd(scene, "spoilt-cells", SENDERS, |ground| cells(ground).boxed()).boxed(),
};

pub(super) const TUNNELS: Attack = Attack {
    name: "spoilt-tunnels",
    what: "records and questions of tunnels that are none (row 41; F24)",
    start: |scene| crowd(scene, "spoilt-tunnels", SENDERS, |ground| tunnels(ground).boxed()).boxed(),
};

pub(super) const REQUESTS: Attack = Attack {
    name: "spoilt-requests",
    what: "direct questions with wrong lengths and spoilt bodies (row 31; F24)",
    start: |scene| crowd(scene, "spoilt-requests", SENDERS, |ground| requests(ground).boxed()).boxed(),
};

async fn builds(ground: &mut Ground) -> Result<(), Failed> {
    let peer = ground.stranger().await?;
    let mut last: Option<Vec<u8>> = None;
    for _ in 0..BUILDS {
        let bytes = match last.take() {
            // The one before, on a stream of its own.
            Some(again) if below(&mut ground.rng, 4) == 0 => again,
            _ => spoilt_build(ground)?,
        };
        last = Some(bytes.clone());
        let mut wire = peer.open(&ground.names.path()).await?;
        wire.send(&bytes).await?;
        wire.finish().await?;
        // Most are not answered at all.
        if tokio::time::timeout(END, wire.drain()).await.is_err() {
            ground.scene.tally.refused();
        }
    }
    Ok(())
}

fn spoilt_build(ground: &mut Ground) -> Result<Vec<u8>, Failed> {
    let (mut hops, _) = ground.hops(Some(Position::Guard))?;
    let way = below(&mut ground.rng, 6);
    match way {
        0 => hops[1] = hops[0],
        1 => hops[2] = hops[1],
        2 => hops[2] = hops[0],
        _ => {}
    }
    let chain = ground.scene.network.chain;
    let mut minute = minute();
    if way == 3 {
        minute.0 = ground.rng.next_u32();
    }
    let made = ClientBuild::new(&chain, &hops, minute, &mut ground.rng);
    let frame = made.map_err(Failed::unmade)?.0.as_bytes().to_vec();
    Ok(match way {
        4 => mutation::spoil(&mut ground.rng, frame, 2 * FRAME),
        // What is behind it is no cell of its path.
        5 => [frame.clone(), frame].concat(),
        _ => frame,
    })
}

/// Paths with the victim in each place in turn, each ended by what is sent on it.
async fn cells(ground: &mut Ground) -> Result<(), Failed> {
    let place = Position::ALL[below(&mut ground.rng, Position::ALL.len())];
    let (hops, at) = ground.hops(Some(place))?;
    let peer = ground.stranger_at((hops[0].node, at)).await?;
    for _ in 0..PATHS {
        let mut path = RawPath::build(ground, &peer, &hops).await?;
        let mut frames = Vec::with_capacity(FRAMES);
        for _ in 0..FRAMES {
            frames.push(frame(ground, &mut path)?);
        }
        mutation::reorder(&mut ground.rng, &mut frames);
        for frame in &frames {
            // The path may have ended before all of it was sent.
            if path.send_raw(frame).await.is_err() {
                break;
            }
        }
        let _still_up = tokio::time::timeout(END, path.ended()).await;
    }
    Ok(())
}

/// A frame on an own path; the more of them are good, the later the path ends.
fn frame(ground: &mut Ground, path: &mut RawPath) -> Result<[u8; FRAME], Failed> {
    let rng = &mut ground.rng;
    let position = Position::ALL[below(rng, Position::ALL.len())];
    let way = below(rng, 12);
    Ok(match way {
        // Sealed by nobody.
        0 => {
            let mut frame = [0; FRAME];
            rng.fill_bytes(&mut frame);
            frame
        }
        // Sealed, and then changed.
        1 => {
            let mut frame = path.seal(&Body::Drop)?;
            mutation::in_place(&mut ground.rng, &mut frame);
            frame
        }
        // Sealed for a hop whose next link gets what does not open, or whose command is none.
        2 | 3 => {
            let mut opened = mutation::bytes(rng, position.opened_len());
            opened[0] = if way == 2 { 0 } else { opened[0] };
            path.seal_for(position, &opened)?
        }
        // A body that is spoilt.
        4 | 5 => {
            let mut opened = vec![0; Position::Exit.opened_len()];
            let length = 1 + below(rng, BODY_DATA);
            let data = mutation::bytes(rng, length);
            body(rng, &data).write_to(&mut opened[1..=BODY]).map_err(Failed::unmade)?;
            mutation::in_place(rng, &mut opened[1..=64]);
            path.seal_for(Position::Exit, &opened)?
        }
        // A body that is well-formed, and perhaps out of place.
        _ => {
            let data = [7; 100];
            let body = body(rng, &data);
            path.seal(&body)?
        }
    })
}

/// A body of a low stream number; its destination is a node that nobody knows.
fn body<'a>(rng: &mut ChaCha20Rng, data: &'a [u8]) -> Body<'a> {
    let number = u16::try_from(1 + below(rng, 2 * STREAMS_PER_PATH)).unwrap_or(1);
    let stream = StreamId::new(number).unwrap_or(StreamId::FIRST);
    match below(rng, 7) {
        0 => {
            let destination = Destination::Node(NodeId::new([7; 32]));
            Body::Open { stream: StreamId::FIRST, destination, first: &data[..data.len().min(100)] }
        }
        1 => {
            let destination = Destination::Server(&data[..data.len().min(64)]);
            Body::Open { stream, destination, first: &[] }
        }
        2 => Body::Data { stream, data },
        3 => Body::End { stream },
        4 => Body::Reset { stream, reason: ResetReason::Busy },
        5 => Body::Window { stream, cells: 1024 },
        _ => Body::Drop,
    }
}

/// Questions of which most are spoilt before they are sealed, and some after.
struct Spoilt(AnyOf);

impl Questions for Spoilt {
    fn next(&mut self, ground: &mut Ground) -> Result<Vec<u8>, Failed> {
        let question = self.0.next(ground)?;
        Ok(match below(&mut ground.rng, 3) {
            0 => question,
            1 => mutation::spoil(&mut ground.rng, question, REQUEST_MAX),
            _ => {
                let length = below(&mut ground.rng, 400);
                mutation::bytes(&mut ground.rng, length)
            }
        })
    }

    fn spoil(&mut self, ground: &mut Ground, flight: Vec<u8>) -> Vec<u8> {
        match below(&mut ground.rng, 3) {
            0 => {
                let most = 2 * flight.len();
                mutation::spoil(&mut ground.rng, flight, most)
            }
            _ => flight,
        }
    }
}

async fn tunnels(ground: &mut Ground) -> Result<(), Failed> {
    let (victim, to) = meet(ground)?;
    let mut spoilt = Spoilt(AnyOf::new(ground)?);
    let (_peer, mut path) = RawPath::anew(ground, victim).await?;
    talk(ground, &mut path, to, Habit { tunnels: STREAMS_PER_PATH - 1, questions: 8 }, &mut spoilt).await
}

async fn requests(ground: &mut Ground) -> Result<(), Failed> {
    let peer = ground.stranger().await?;
    for _ in 0..TIMES {
        let asked: Vec<_> = (0..AT_ONCE).flat_map(|_| spoilt_questions(ground)).collect();
        let ended = join_all(asked.into_iter().map(|(protocol, bytes)| exchange(&peer, protocol, bytes))).await;
        for _ in ended.iter().filter(|ended| ended.is_err()) {
            ground.scene.tally.refused();
        }
        if peer.is_gone() {
            return Err(Failed::Gone("the victim closed the connection".to_owned()));
        }
    }
    Ok(())
}

fn spoilt_questions(ground: &mut Ground) -> Vec<(StreamProtocol, Vec<u8>)> {
    let good = questions(ground);
    let spoil = |(protocol, question)| {
        let rng = &mut ground.rng;
        let bytes = match below(rng, 4) {
            // The length is right.
            0 => framed(&mutation::spoil(rng, question, 4096)),
            // Also the length is spoilt.
            1 => mutation::spoil(rng, framed(&question), 4096),
            // It says more than there is.
            2 => [&rng.next_u32().to_be_bytes(), question.as_slice()].concat(),
            _ => {
                let length = below(rng, 300);
                framed(&mutation::bytes(rng, length))
            }
        };
        (protocol, bytes)
    };
    good.into_iter().map(spoil).collect()
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;
    use sotto_proto::cell::Direction;

    use super::*;

    #[test]
    fn every_drawn_body_can_be_written_and_read() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let data = [7; 100];
        for _ in 0..1000 {
            let body = body(&mut rng, &data);
            let mut bytes = [0; BODY];
            body.write_to(&mut bytes).unwrap();
            assert_eq!(Body::read(Direction::Forward, &bytes), Ok(body));
        }
    }
}
