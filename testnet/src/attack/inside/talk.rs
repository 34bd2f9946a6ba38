//! Tunnels by hand, several on one path, and what is asked through them.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::tunnel::handshake::ClientHandshake;
use sotto_behaviours::tunnel::record::{Inbound, Outbound};
use sotto_proto::cell::{Destination, StreamId};
use sotto_proto::request::{Error, Message as _, SwarmRequest, SwarmResponse};

use super::ground::{Ground, minute};
use super::path::{RawPath, Said};
use super::wire::Failed;

/// A path is left behind after this time: hops end it at fifteen minutes.
const PATH_LIFE: Duration = Duration::from_secs(8 * 60);

/// What is asked through the tunnels of a path.
pub(super) trait Questions: Send {
    /// The next question. Nothing: a tunnel is opened without one.
    fn next(&mut self, ground: &mut Ground) -> Result<Vec<u8>, Failed>;

    /// The flight that carries it, as it is sent; its bytes are the attack's to spoil.
    fn spoil(&mut self, _: &mut Ground, flight: Vec<u8>) -> Vec<u8> {
        flight
    }

    /// Told of each answer.
    fn heard(&mut self, _: SwarmResponse) {}
}

/// How the tunnels of a path are used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habit {
    /// Tunnels at once.
    pub(super) tunnels: usize,
    /// Questions in each; then it is ended, and another one opened.
    pub(super) questions: usize,
}

/// One tunnel.
struct Tunnel {
    /// Until the answer to the first message came.
    handshake: Option<ClientHandshake>,
    open: Option<(Outbound, Inbound)>,
    asked: usize,
}

/// The first flight of a tunnel with a question in it, and what opens the answer.
pub(super) fn first_flight(
    ground: &mut Ground,
    to: &HopInfo,
    question: &[u8],
) -> Result<(Vec<u8>, ClientHandshake), Failed> {
    let (chain, room) = (ground.scene.network.chain, Destination::Node(to.node).first_bytes());
    ClientHandshake::new(&chain, to, room, minute(), question, &mut ground.rng).map_err(Failed::unmade)
}

/// Asks, and asks the next when there is an answer, until the path is old or ends, which is an error.
pub(super) async fn talk(
    ground: &mut Ground,
    path: &mut RawPath,
    to: HopInfo,
    habit: Habit,
    questions: &mut dyn Questions,
) -> Result<(), Failed> {
    let (began, mut tunnels) = (Instant::now(), BTreeMap::new());
    while began.elapsed() < PATH_LIFE {
        while tunnels.len() < habit.tunnels {
            let (stream, tunnel) = begin(ground, path, &to, questions).await?;
            tunnels.insert(stream, tunnel);
        }
        let (stream, data) = match path.recv().await? {
            Said::Data(stream, data) => (stream, data),
            Said::Ended(stream) => {
                ground.scene.tally.refused();
                tunnels.remove(&stream);
                continue;
            }
        };
        // Of a stream that was ended here, something may still be under way.
        let Some(mut tunnel) = tunnels.remove(&stream) else { continue };
        match tunnel.receive(&data) {
            Ok(None) => {
                tunnels.insert(stream, tunnel);
            }
            Ok(Some(answer)) => {
                note(ground, questions, &answer);
                if tunnel.asked >= habit.questions {
                    path.reset(stream).await?;
                    continue;
                }
                let flight = tunnel.ask(ground, questions)?;
                path.send_data(stream, &flight).await?;
                tunnels.insert(stream, tunnel);
            }
            // Only a spoilt question is answered by what does not open.
            Err(_) => path.reset(stream).await?,
        }
    }
    Ok(())
}

/// Asks these, one after the other in one tunnel; gives the answers there were.
pub(super) async fn ask(
    ground: &mut Ground,
    path: &mut RawPath,
    to: HopInfo,
    questions: impl IntoIterator<Item = SwarmRequest>,
) -> Result<Vec<SwarmResponse>, Failed> {
    let encoded = questions.into_iter().map(SwarmRequest::encode).collect::<Result<_, _>>().map_err(Failed::unmade)?;
    let mut listed = Listed { left: encoded, heard: Vec::new() };
    let habit = Habit { tunnels: 1, questions: usize::MAX };
    // The end of the list is an error like any other.
    let _ended = talk(ground, path, to, habit, &mut listed).await;
    Ok(listed.heard)
}

struct Listed {
    left: VecDeque<Vec<u8>>,
    heard: Vec<SwarmResponse>,
}

impl Questions for Listed {
    fn next(&mut self, _: &mut Ground) -> Result<Vec<u8>, Failed> {
        self.left.pop_front().ok_or_else(|| Failed::Path("nothing more is asked".to_owned()))
    }

    fn heard(&mut self, answer: SwarmResponse) {
        self.heard.push(answer);
    }
}

async fn begin(
    ground: &mut Ground,
    path: &mut RawPath,
    to: &HopInfo,
    questions: &mut dyn Questions,
) -> Result<(StreamId, Tunnel), Failed> {
    let question = questions.next(ground)?;
    let (flight, handshake) = first_flight(ground, to, &question)?;
    let flight = questions.spoil(ground, flight);
    let stream = path.open(to, &flight).await?;
    Ok((stream, Tunnel { handshake: Some(handshake), open: None, asked: 1 }))
}

fn note(ground: &Ground, questions: &mut dyn Questions, answer: &[u8]) {
    let Ok(answer) = SwarmResponse::decode(answer) else { return };
    if matches!(answer, SwarmResponse::Error(Error::Busy | Error::RateLimited { .. })) {
        ground.scene.tally.refused();
    }
    questions.heard(answer);
}

impl Tunnel {
    /// A whole answer, once all of it is there.
    fn receive(&mut self, data: &[u8]) -> Result<Option<Vec<u8>>, Failed> {
        if let Some(mut handshake) = self.handshake.take() {
            if !handshake.push(data).map_err(Failed::unmade)? {
                self.handshake = Some(handshake);
                return Ok(None);
            }
            self.open = Some(handshake.finish().map_err(Failed::unmade)?);
        } else if let Some((_, inbound)) = &mut self.open {
            inbound.push(data).map_err(Failed::unmade)?;
        }
        let Some((_, inbound)) = &mut self.open else { return Ok(None) };
        inbound.poll().map_err(Failed::unmade)
    }

    /// The flight of the next question.
    fn ask(&mut self, ground: &mut Ground, questions: &mut dyn Questions) -> Result<Vec<u8>, Failed> {
        let question = questions.next(ground)?;
        self.asked += 1;
        let (outbound, _) = self.open.as_mut().ok_or_else(|| Failed::Unmade("the tunnel is not open".to_owned()))?;
        let flight = outbound.request(&question).map_err(Failed::unmade)?;
        Ok(questions.spoil(ground, flight))
    }
}
