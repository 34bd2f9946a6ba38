//! Clients that come new: each connects with a guard and builds one path.

use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Cast, Group, Sample};

/// Between two of them.
const EVERY: Duration = Duration::from_millis(500);

/// Those who come.
pub(super) struct Newcomers {
    cast: Cast,
    role: String,
}

impl Newcomers {
    /// Those of this batch.
    pub(super) fn new(cast: Cast, batch: usize) -> Self {
        Self { cast, role: format!("newcomer {batch}") }
    }

    /// They come until `stop`; each measurement with whether the victim was the guard.
    pub(super) async fn run(self, stop: CancellationToken) -> Vec<(Sample, bool)> {
        let mut samples = Vec::new();
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let at = Instant::now();
            let guard = self.come(samples.len()).await;
            let took = guard.is_some().then(|| at.elapsed());
            samples.push((Sample { at, took }, guard == Some(self.cast.victim)));
        }
        samples
    }

    /// The guard of the path that it got.
    async fn come(&self, index: usize) -> Option<sotto_proto::id::NodeId> {
        let mut client = self.cast.client(&self.role, Group::Guard, index).ok()?;
        let path = client.build(self.cast.swarm(Group::Guard)).await.ok()?;
        path.hops().first().map(|hop| hop.node)
    }
}
