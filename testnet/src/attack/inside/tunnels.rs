//! Tunnels: as many as the victim takes, as exit and as their far end, and such as fall silent.

use futures::FutureExt as _;
use rand_core::Rng as _;
use sotto_behaviours::onion::HopInfo;
use sotto_proto::cell::{Body, Position};
use sotto_proto::limits::STREAMS_PER_PATH;
use sotto_proto::request::{ListRequest, Message as _, SwarmRequest};

use super::super::Attack;
use super::crowd::crowd;
use super::ground::Ground;
use super::path::{RawPath, Said};
use super::talk::{Habit, Questions, first_flight, talk};
use super::wire::Failed;

/// Clients that open tunnels.
const OPENERS: usize = 16;
/// Clients whose tunnels are silent: together they ask for twice the streams that an exit has.
const SILENT: usize = 64;
/// One place stays free for streams that are just ending.
const AT_ONCE: usize = STREAMS_PER_PATH - 1;

pub(super) const FLOOD: Attack = Attack {
    name: "tunnel-flood",
    what: "tunnels to the victim, and through it as exit, opened as fast as they are answered",
    start: |scene| crowd(scene, "tunnel-flood", OPENERS, |ground| flood(ground).boxed()).boxed(),
};

pub(super) const SILENCE: Attack = Attack {
    name: "tunnel-silent",
    what: "tunnels that fall silent before, in and after their first message (row 29, inside a path)",
    start: |scene| crowd(scene, "tunnel-silent", SILENT, |ground| silence(ground).boxed()).boxed(),
};

/// Asks who the node is.
struct Info;

impl Questions for Info {
    fn next(&mut self, _: &mut Ground) -> Result<Vec<u8>, Failed> {
        SwarmRequest::List(ListRequest::Info).encode().map_err(Failed::unmade)
    }
}

/// Half of the clients meet the victim as the far end, half as the exit.
pub(super) fn meet(ground: &mut Ground) -> Result<(Option<Position>, HopInfo), Failed> {
    if ground.index.is_multiple_of(2) {
        return Ok((None, ground.victim()));
    }
    Ok((Some(Position::Exit), ground.destination()?))
}

async fn flood(ground: &mut Ground) -> Result<(), Failed> {
    let (victim, to) = meet(ground)?;
    let (_peer, mut path) = RawPath::anew(ground, victim).await?;
    let habit = Habit { tunnels: AT_ONCE, questions: 1 };
    talk(ground, &mut path, to, habit, &mut Info).await
}

/// Opens as many tunnels as a path has, and says nothing more in any of them but new ones for those that end.
async fn silence(ground: &mut Ground) -> Result<(), Failed> {
    let (victim, to) = meet(ground)?;
    let (_peer, mut path) = RawPath::anew(ground, victim).await?;
    for _ in 0..AT_ONCE {
        fall_silent(ground, &mut path, &to).await?;
    }
    loop {
        match path.recv().await {
            Ok(Said::Ended(_)) => {
                ground.scene.tally.refused();
                fall_silent(ground, &mut path, &to).await?;
            }
            Ok(Said::Data(..)) => {}
            // Nothing ended: that is what is wanted, and the path must not look idle.
            Err(Failed::Silent(_)) => path.send(&Body::Drop).await?,
            Err(error) => return Err(error),
        }
    }
}

async fn fall_silent(ground: &mut Ground, path: &mut RawPath, to: &HopInfo) -> Result<(), Failed> {
    let (flight, _) = first_flight(ground, to, &[])?;
    let said = match ground.rng.next_u32() % 3 {
        0 => &[],
        1 => &flight[..flight.len() / 2],
        _ => flight.as_slice(),
    };
    path.open(to, said).await.map(drop)
}
