//! Nodes come until a swarm is born, while users write and read: when does everybody have what is theirs, and what do the
//! users feel of it?

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sotto_proto::address::Position;
use sotto_proto::id::SwarmId;
use sotto_proto::limits::NMAX;
use sotto_proto::swarm;
use sotto_proto::time::UnixMillis;

use super::fill::Filler;
use super::members::{self, by_swarm, settled};
use super::users::{Reads, Users};
use crate::bench::{Devices, Network};
use crate::control::{self, Added, Request};
use crate::failure::{Exit, Failure};
use crate::plan::Plan;
use crate::supervisor::Report as Steps;

/// How long users are at work before nodes come, and after everybody has what is theirs.
const CALM: Duration = Duration::from_secs(10);
const AFTER: Duration = Duration::from_secs(5);
/// How long it may take until a swarm is born and everybody has what is theirs.
const PATIENCE: Duration = Duration::from_secs(240);

/// A swarm that was born.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Nodes that came.
    pub joined: u16,
    /// Swarms before.
    pub swarms_before: usize,
    /// Swarms afterwards.
    pub swarms: usize,
    /// Records in all swarms before.
    pub records_before: u64,
    /// Records in all swarms afterwards, with those that users wrote meanwhile.
    pub records: u64,
    /// Of the records that were stored for the measurement: those that another swarm owns now.
    pub moved: u64,
    /// From the start of the nodes to the first node that knows the new map.
    pub born_s: f64,
    /// From then on until all nodes follow it and nobody holds what is not his, and all members of each swarm are alike.
    pub hand_over_s: f64,
    /// Questions for mail before nodes came.
    pub reads_before: Reads,
    /// From their start until everybody had what is theirs and readers had all that was written.
    pub reads: Reads,
    /// Messages that users stored in all.
    pub stored: u64,
    /// Attempts to store one that failed.
    pub unsent: u64,
    /// Stored messages that their reader never got.
    pub unread: u64,
}

/// The swarm that loses most mail to the next one that is born: the one that keeps the place of its birth.
pub(super) fn relieved(swarms: &[SwarmId]) -> Option<SwarmId> {
    swarm::owner(Position(swarm::new_id(swarms).0), swarms)
}

/// So many nodes more fill all swarms and one over, for whom a new one is founded.
fn wanted(nodes: usize, swarms: usize) -> u16 {
    u16::try_from((swarms * NMAX + 1).saturating_sub(nodes).max(1)).unwrap_or(u16::MAX)
}

/// Has nodes come until a swarm is born.
pub(super) async fn measure(
    plan: &mut Plan,
    network: &Arc<Network>,
    filler: &Filler,
    (swarm, seed, began): (SwarmId, u64, UnixMillis),
    (devices, steps): (&Devices, &Steps),
) -> Result<Split, Failure> {
    let before = members::views(plan, 0..plan.settings.nodes).await;
    let known: BTreeSet<String> = by_swarm(&before).into_keys().map(str::to_owned).collect();
    let records_before = settled(&before).map_err(|reason| not_settled(&reason))?;
    let users = Box::pin(Users::begin(network, swarm, devices, (seed, began))).await?;
    steps.step("users", "some write and some read all the time, each with a store");
    let calm = Instant::now();
    tokio::time::sleep(CALM).await;
    let came = Instant::now();
    let count = wanted(network.directory.nodes().len(), known.len());
    let added: Added = control::ask(&plan.dir, &Request::Add { count }).await?;
    plan.settings.nodes = added.nodes;
    steps.step("join", format!("{count} nodes start: all swarms will be full, and one is born"));
    let found = until_settled(plan, &known, steps).await?;
    tokio::time::sleep(AFTER).await;
    let done = Box::pin(users.end()).await?;
    let ended = Instant::now();
    control::ask::<()>(&plan.dir, &Request::Manifest).await?;
    let moved = filler.moved(&Network::fetch(plan).await?);
    let split = Split {
        joined: count,
        swarms_before: known.len(),
        swarms: found.swarms,
        records_before,
        records: found.records,
        moved,
        born_s: found.born.saturating_duration_since(came).as_secs_f64(),
        hand_over_s: found.settled.saturating_duration_since(found.born).as_secs_f64(),
        reads_before: done.reads(calm, came),
        reads: done.reads(came, ended),
        stored: done.stored,
        unsent: done.unsent,
        unread: done.unread,
    };
    let (swarms, took) = (split.swarms, split.hand_over_s);
    steps.step(
        "split",
        format!("{swarms} swarms; {moved} records have another one, all had theirs {took:.1} s after its birth"),
    );
    Ok(split)
}

/// How it came out.
struct Found {
    swarms: usize,
    records: u64,
    born: Instant,
    settled: Instant,
}

/// Looks at all nodes until there is a swarm that was not `known`, and all swarms are settled.
async fn until_settled(plan: &Plan, known: &BTreeSet<String>, steps: &Steps) -> Result<Found, Failure> {
    let until = Instant::now() + PATIENCE;
    let mut born = None;
    loop {
        let views = members::views(plan, 0..plan.settings.nodes).await;
        let now = Instant::now();
        let swarms = by_swarm(&views);
        if born.is_none() && swarms.keys().any(|swarm| !known.contains(*swarm)) {
            born = Some(now);
        }
        let placed: usize = swarms.values().map(Vec::len).sum();
        steps.current("split", placed, views.len(), "nodes in swarms");
        let reason = match (born, settled(&views)) {
            (Some(born), Ok(records)) if placed == views.len() => {
                return Ok(Found { swarms: swarms.len(), records, born, settled: now });
            }
            (None, _) => "no swarm was born".to_owned(),
            (_, Ok(_)) => format!("{placed} of {} nodes are in a swarm", views.len()),
            (_, Err(reason)) => reason,
        };
        if now >= until {
            let failure = Failure::new(Exit::Timeout, format!("not settled after {PATIENCE:?}: {reason}"));
            return Err(failure.hint("sotto-testnet status    # are all nodes well?"));
        }
        tokio::time::sleep(members::LOOK).await;
    }
}

fn not_settled(reason: &str) -> Failure {
    Failure::new(Exit::Conflict, format!("nothing to measure with: {reason}"))
        .hint("sotto-testnet wait --until ready, then again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_come_until_all_swarms_are_full_and_one_is_over() {
        assert_eq!(wanted(24, 3), 7);
        assert_eq!(wanted(30, 3), 1);
        assert_eq!(wanted(31, 3), 1, "somebody waits already");
        assert_eq!(wanted(50, 5), 1);
    }

    #[test]
    fn the_swarm_that_is_relieved_keeps_the_place_of_the_next_one() {
        let swarms = [0, 0x3fff_ffff_ffff_ffff, 0x7fff_ffff_ffff_ffff].map(SwarmId);
        assert_eq!(relieved(&swarms), Some(swarms[2]), "beside the widest gap");
        assert_eq!(relieved(&[]), None);
        let mut more = swarms.to_vec();
        more.push(swarm::new_id(&swarms));
        let place = Position(swarm::new_id(&swarms).0);
        assert_ne!(swarm::owner(place, &more), relieved(&swarms), "it is the new one's then");
    }
}
