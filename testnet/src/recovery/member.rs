//! A member that begins with nothing, and one that was down for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sotto_client::network::paths::hop;
use sotto_proto::id::{NodeId, SwarmId};

use super::members::{self, Held, until_alike};
use crate::bench::{LightClient, Network, Person, read_mailbox, seeded};
use crate::chaos::{Fault, Planned, Stage};
use crate::failure::{Exit, Failure};
use crate::plan::Plan;
use crate::procfs;

/// A fault lasts until it is undone.
const UNTIL_UNDONE: Duration = Duration::from_secs(24 * 3600);
/// How long the others are left alone after a member is gone, and how long they are watched then.
const SETTLE: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(4);
/// Between two looks at a node that is starting.
const STARTING: Duration = Duration::from_millis(20);
/// How long a node may take to be a member again, to answer a reader, and to have everything.
const PATIENCE: Duration = Duration::from_secs(120);

/// A member that began with nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HandOver {
    /// Which.
    pub node: String,
    /// Records of its swarm.
    pub records: u64,
    /// Their bytes.
    pub record_bytes: u64,
    /// From its start to being a member: it has followed the chain from the first block.
    pub active_s: f64,
    /// From then on until it has what all other members have.
    pub took_s: f64,
    /// Bytes on all links meanwhile, less what goes over them anyway; `None` where the kernel does not count them.
    pub link_bytes: Option<u64>,
}

/// A member that was down. Times count from its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Restart {
    /// Which.
    pub node: String,
    /// Records that it had when it was killed.
    pub records: u64,
    /// Records that were stored while it was down.
    pub missed: u64,
    /// Until it is a member again that follows the chain.
    pub active_s: f64,
    /// Until it gives a reader, who asks through a path, all that it had.
    pub served_s: f64,
    /// Until it has what all other members have.
    pub caught_up_s: f64,
}

/// Does something to a node that lasts until the stage undoes it.
pub(super) async fn strike(stage: &mut Stage, fault: Fault, node: u16) -> Result<(), Failure> {
    // Nothing of these faults is drawn.
    let (planned, rng) = (Planned::once(fault), &mut seeded(0, "recovery", 0));
    stage.apply_to((&planned, 0), [node].into(), Instant::now() + UNTIL_UNDONE, rng).await.map(drop)
}

/// Takes its database from one of `members`, and starts it: it has to get `stored` records, or what there is beside them.
pub(super) async fn hand_over(
    plan: &Plan,
    members: &[u16],
    node: u16,
    stored: u64,
    stage: &mut Stage,
) -> Result<HandOver, Failure> {
    strike(stage, Fault::Wipe, node).await?;
    tokio::time::sleep(SETTLE).await;
    let (before, watched) = (procfs::loopback_bytes(), Instant::now());
    tokio::time::sleep(IDLE).await;
    let idle = since(before).map(|bytes| bytes as f64 / watched.elapsed().as_secs_f64());
    let began = Instant::now();
    stage.undo_all().await?;
    let active = until_active(plan, node).await?;
    let (Held { items, bytes }, alike) = until_alike(plan, members, stored, PATIENCE).await?;
    let took = alike.saturating_duration_since(active.at);
    let link_bytes = since(active.loopback).zip(idle).map(|(all, idle)| beyond(all, idle, took));
    Ok(HandOver {
        node: plan.node(node).label,
        records: items,
        record_bytes: bytes,
        active_s: active.at.saturating_duration_since(began).as_secs_f64(),
        took_s: took.as_secs_f64(),
        link_bytes,
    })
}

/// What went over the loopback device since it had counted so much.
fn since(before: Option<u64>) -> Option<u64> {
    Some(procfs::loopback_bytes()?.saturating_sub(before?))
}

/// What of these bytes would not have gone over links anyway, at so many a second.
fn beyond(all: u64, idle_per_s: f64, took: Duration) -> u64 {
    (all as f64 - idle_per_s * took.as_secs_f64()).max(0.0) as u64
}

/// The last moment at which a node was not yet what it was waited to be.
struct Active {
    at: Instant,
    loopback: Option<u64>,
}

/// Waits until a node is an active member that has caught up with the chain. Before, the others refuse to compare with it:
/// it asks for heights that are long past.
async fn until_active(plan: &Plan, node: u16) -> Result<Active, Failure> {
    let look = || Active { at: Instant::now(), loopback: procfs::loopback_bytes() };
    let (until, mut before) = (Instant::now() + PATIENCE, look());
    loop {
        let now = look();
        if members::status(plan, node).await.is_some_and(|status| status.is_active()) {
            return Ok(before);
        }
        if now.at >= until {
            return Err(too_late(plan, node, "a member again"));
        }
        before = now;
        tokio::time::sleep(STARTING).await;
    }
}

fn too_late(plan: &Plan, node: u16, what: &str) -> Failure {
    Failure::new(Exit::Timeout, format!("{} is not {what} after {PATIENCE:?}", plan.node(node).label))
        .hint(format!("sotto-testnet logs {node}    # why"))
}

/// Somebody who reads his mailbox at one member through a path.
pub(super) struct Reader<'a> {
    pub(super) network: &'a Arc<Network>,
    pub(super) client: &'a mut LightClient,
    pub(super) owner: &'a Person,
    pub(super) swarm: SwarmId,
    pub(super) member: NodeId,
}

impl Reader<'_> {
    /// How many records the member has for him; `None` if it does not say.
    pub(super) async fn read(&mut self) -> Option<usize> {
        let lane = self.client.lane(self.swarm).await.ok()?;
        let to = hop(self.network.directory.nodes(), &self.member)?;
        let read = read_mailbox(self.network, self.client, &lane.path, to, self.owner);
        Box::pin(read).await.map(|records| records.len())
    }

    /// Asks until the member has `least` records for him.
    async fn until_served(&mut self, plan: &Plan, node: u16, least: usize) -> Result<Instant, Failure> {
        let until = Instant::now() + PATIENCE;
        while self.read().await.is_none_or(|records| records < least) {
            if Instant::now() >= until {
                return Err(too_late(plan, node, "answering a reader"));
            }
            tokio::time::sleep(STARTING).await;
        }
        Ok(Instant::now())
    }
}

/// Starts a member that was killed when it had `had` records in all, `owned` of them for the reader. It has to get
/// `missed` more.
pub(super) async fn restart(
    plan: &Plan,
    members: &[u16],
    node: u16,
    (had, owned, missed): (u64, usize, u64),
    mut reader: Reader<'_>,
    stage: &mut Stage,
) -> Result<Restart, Failure> {
    let began = Instant::now();
    stage.undo_all().await?;
    let (active, served, alike) = tokio::try_join!(
        until_active(plan, node),
        reader.until_served(plan, node, owned),
        until_alike(plan, members, had + missed, PATIENCE),
    )?;
    let seconds = |at: Instant| at.saturating_duration_since(began).as_secs_f64();
    Ok(Restart {
        node: plan.node(node).label,
        records: had,
        missed,
        active_s: seconds(active.at),
        served_s: seconds(served),
        caught_up_s: seconds(alike.1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_over_links_anyway_is_taken_off_and_nothing_below_zero() {
        assert_eq!(beyond(1_000_000, 10_000.0, Duration::from_secs(10)), 900_000);
        assert_eq!(beyond(1_000, 10_000.0, Duration::from_secs(10)), 0);
    }
}
