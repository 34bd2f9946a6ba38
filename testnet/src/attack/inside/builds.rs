//! Builds: as many as the victim answers, more than it may hold, and builds that lead nowhere.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use sotto_behaviours::onion::build::ClientBuild;
use sotto_proto::cell::{Frame, Position};
use sotto_proto::id::NodeId;
use sotto_proto::limits::{BUILD_BURST, BUILDS_PER_SECOND, PATHS_PER_CLIENT};

use super::super::Attack;
use super::crowd::crowd;
use super::ground::Ground;
use super::path::{RawPath, build};
use super::peer::Peer;
use super::wire::Failed;

/// Clients that build at once.
const BUILDERS: usize = 24;
/// Builds on one connection: those that are served, as many that are told that they are too many, and some that are not
/// even read.
const BUILDS: usize = 16;
/// Clients that hoard paths: times the paths of one this is all that a node may be a hop of.
const HOARDERS: usize = 256;
/// Clients whose builds lead nowhere: each costs the victim one handshake, and a place in its memory of builds.
const STRAYS: usize = 32;
/// How long a hoarder holds its paths; the victim ends idle ones after two minutes.
const HOLD: Duration = Duration::from_secs(150);

pub(super) const FLOOD: Attack = Attack {
    name: "path-flood",
    what: "paths through the victim as guard, as fast as it answers, each few from a new key",
    start: |scene| crowd(scene, "path-flood", BUILDERS, |ground| flood(ground).boxed()).boxed(),
};

pub(super) const HOARD: Attack = Attack {
    name: "path-hoard",
    what: "paths up to what one key may have, of 256 keys, kept open and idle: all there after some ten seconds (row 28)",
    start: |scene| crowd(scene, "path-hoard", HOARDERS, |ground| hoard(ground).boxed()).boxed(),
};

pub(super) const NOWHERE: Attack = Attack {
    name: "path-nowhere",
    what: "builds that open and lead to nodes that do not exist: each takes a place in the memory of builds (rows 2, 34)",
    start: |scene| crowd(scene, "path-nowhere", STRAYS, |ground| nowhere(ground).boxed()).boxed(),
};

/// A new key, and builds on it until nothing more is answered.
async fn flood(ground: &mut Ground) -> Result<(), Failed> {
    let peer = ground.stranger().await?;
    let builds: Vec<_> = (0..BUILDS).map(|_| prepared(ground)).collect::<Result<_, _>>()?;
    at_once(ground, &peer, builds).await
}

fn prepared(ground: &mut Ground) -> Result<(Frame, ClientBuild), Failed> {
    let (hops, _) = ground.hops(Some(Position::Guard))?;
    build(ground, &hops)
}

/// Sends builds side by side, each on a stream of its own, and waits for what is answered.
async fn at_once(ground: &Ground, peer: &Peer, builds: Vec<(Frame, ClientBuild)>) -> Result<(), Failed> {
    let (tally, path) = (Arc::clone(&ground.scene.tally), ground.names.path());
    let ask = |(frame, build): (Frame, ClientBuild)| {
        let (tally, path) = (&tally, &path);
        async move {
            let mut wire = peer.open(path).await?;
            wire.send(frame.as_bytes()).await?;
            let reply = wire.recv_frame().await?;
            // A path that is up is dropped at once; the victim has to take it down again.
            if build.finish(&reply).is_err() {
                tally.refused();
            }
            Ok::<_, Failed>(())
        }
    };
    for ended in join_all(builds.into_iter().map(ask)).await {
        if ended.is_err() {
            tally.refused();
        }
    }
    Ok(())
}

/// Paths up to the limit of one key, held until they end.
async fn hoard(ground: &mut Ground) -> Result<(), Failed> {
    let peer = ground.stranger().await?;
    let mut paths = Vec::new();
    while paths.len() < PATHS_PER_CLIENT && !peer.is_gone() {
        let (hops, _) = ground.hops(Some(Position::Guard))?;
        match RawPath::build(ground, &peer, &hops).await {
            Ok(path) => paths.push(path),
            Err(_) => ground.scene.tally.refused(),
        }
        // So many are allowed at once, and so many a second from then on.
        if paths.len() >= BUILD_BURST as usize {
            tokio::time::sleep(Duration::from_secs(1) / BUILDS_PER_SECOND).await;
        }
    }
    let mut ends: FuturesUnordered<_> = paths.iter_mut().map(RawPath::ended).collect();
    let all_end = async { while ends.next().await.is_some() {} };
    // An error says that this is all of its time.
    let _held = tokio::time::timeout(HOLD, all_end).await;
    Ok(())
}

/// A new key, and builds whose middle nobody knows.
async fn nowhere(ground: &mut Ground) -> Result<(), Failed> {
    let peer = ground.stranger().await?;
    let builds: Vec<_> = (0..BUILDS)
        .map(|index| {
            let (mut hops, _) = ground.hops(Some(Position::Guard))?;
            // All zeros would be nobody, which only an exit may name.
            hops[1].node = NodeId::new([u8::try_from(index + 1).unwrap_or(u8::MAX); 32]);
            build(ground, &hops)
        })
        .collect::<Result<_, _>>()?;
    at_once(ground, &peer, builds).await
}
