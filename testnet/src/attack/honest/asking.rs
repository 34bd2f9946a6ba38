//! Somebody with an open tunnel who asks a small question five times a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sotto_behaviours::onion::client::Path;
use sotto_client::network::lookups::Lookup;
use sotto_client::network::paths::hop;
use sotto_proto::id::{NodeId, SwarmId};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Group, Sample};
use crate::bench::{LightClient, Network};

/// Between two questions.
const EVERY: Duration = Duration::from_millis(200);
/// How long an answer may take before the tunnel is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Somebody who asks.
pub(super) struct Asker {
    network: Arc<Network>,
    client: LightClient,
    pub(super) group: Group,
    /// Nobody of it is on the way.
    swarm: SwarmId,
    asked: NodeId,
    open: Option<(Path, Lookup)>,
}

impl Asker {
    /// Asks `asked`, a member of `swarm`.
    pub(super) const fn new(
        network: Arc<Network>,
        client: LightClient,
        group: Group,
        swarm: SwarmId,
        asked: NodeId,
    ) -> Self {
        Self { network, client, group, swarm, asked, open: None }
    }

    /// Opens the tunnel, if it is not open.
    pub(super) async fn open(&mut self) -> Result<(), String> {
        if self.open.as_ref().is_some_and(|(path, _)| path.end().is_none()) {
            return Ok(());
        }
        self.open = None;
        let path = self.client.build(self.swarm).await.map_err(|error| error.to_string())?;
        let to = hop(self.network.directory.nodes(), &self.asked).ok_or("nobody to ask")?;
        let connected = tokio::time::timeout(PATIENCE, Lookup::connect(&path, to, &self.client.clock)).await;
        let (lookup, _) = connected.map_err(|_| "no answer")?.map_err(|error| error.to_string())?;
        self.open = Some((path, lookup));
        Ok(())
    }

    /// Asks until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) -> (Self, Vec<Sample>) {
        let mut samples = Vec::new();
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let at = Instant::now();
            samples.push(Sample { at, took: self.ask().await });
        }
        (self, samples)
    }

    async fn ask(&mut self) -> Option<Duration> {
        self.open().await.ok()?;
        let (_, lookup) = self.open.as_mut()?;
        let began = Instant::now();
        let answer = tokio::time::timeout(PATIENCE, lookup.info()).await;
        if !matches!(answer, Ok(Ok(_))) {
            // Of no use any more.
            self.open = None;
            return None;
        }
        Some(began.elapsed())
    }
}
