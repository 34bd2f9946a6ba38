//! What a single user would feel: how long a new path takes, and a question there and back in an open tunnel.
//!
//! Measured a few times a second by clients that do nothing else, on the idle network and again under load. A probe waits
//! for its answer before the next one, so these are samples of single operations, not of a load.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sotto_behaviours::onion::client::Path;
use sotto_client::network::lookups::Lookup;
use sotto_client::network::paths::hop;
use sotto_proto::id::SwarmId;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::client::LightClient;
use super::latency::Latency;
use super::network::Network;
use crate::failure::{Exit, Failure};

/// Clients that probe. A guard takes one build a second from each connection.
pub(super) const PROBES: usize = 3;
/// Between two new paths of one client.
const BUILD_EVERY: Duration = Duration::from_millis(1100);
/// Between two questions of one client.
const ECHO_EVERY: Duration = Duration::from_millis(200);

/// What probes measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Probed {
    builds: Vec<Duration>,
    echoes: Vec<Duration>,
    /// Paths that could not be built and questions without answers.
    pub(super) failures: u64,
}

impl Probed {
    pub(super) fn builds(&self) -> Latency {
        Latency::of(self.builds.iter().copied())
    }

    pub(super) fn echoes(&self) -> Latency {
        Latency::of(self.echoes.iter().copied())
    }

    fn add(&mut self, other: Self) {
        self.builds.extend(other.builds);
        self.echoes.extend(other.echoes);
        self.failures += other.failures;
    }
}

/// A client that probes, with its open tunnel.
pub(super) struct Probe {
    network: Arc<Network>,
    client: LightClient,
    destination: SwarmId,
    open: Option<(Path, Lookup)>,
}

impl Probe {
    /// A probe that asks a member of `destination`.
    pub(super) const fn new(network: Arc<Network>, client: LightClient, destination: SwarmId) -> Self {
        Self { network, client, destination, open: None }
    }

    /// Opens the tunnel that questions go through, if it is not open.
    pub(super) async fn open(&mut self) -> Result<(), String> {
        if self.open.as_ref().is_some_and(|(path, _)| path.end().is_none()) {
            return Ok(());
        }
        let path = self.client.build(self.destination).await.map_err(|error| error.to_string())?;
        let member = self.client.members(self.destination).into_iter().next();
        let to = member.and_then(|node| hop(self.network.directory.nodes(), &node)).ok_or("the swarm is empty")?;
        let connected = Lookup::connect(&path, to, &self.client.clock).await;
        let (lookup, _) = connected.map_err(|error| error.to_string())?;
        self.open = Some((path, lookup));
        Ok(())
    }

    async fn run(mut self, stop: CancellationToken) -> (Self, Probed) {
        let mut probed = Probed::default();
        let (mut builds, mut echoes) = (tokio::time::interval(BUILD_EVERY), tokio::time::interval(ECHO_EVERY));
        for ticks in [&mut builds, &mut echoes] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            let measured = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = builds.tick() => self.build().await.map(|took| probed.builds.push(took)),
                _ = echoes.tick() => self.echo().await.map(|took| probed.echoes.push(took)),
            };
            probed.failures += u64::from(measured.is_none());
        }
        (self, probed)
    }

    async fn build(&mut self) -> Option<Duration> {
        let began = Instant::now();
        self.client.build(self.destination).await.ok()?;
        Some(began.elapsed())
    }

    async fn echo(&mut self) -> Option<Duration> {
        self.open().await.ok()?;
        let (_, lookup) = self.open.as_mut()?;
        let began = Instant::now();
        if lookup.info().await.is_err() {
            // Of no use any more.
            self.open = None;
            return None;
        }
        Some(began.elapsed())
    }
}

/// Probes that are at work.
pub(super) struct Probing {
    running: JoinSet<(Probe, Probed)>,
    stop: CancellationToken,
}

impl Probing {
    /// Begins.
    pub(super) fn begin(probes: Vec<Probe>) -> Self {
        let (mut running, stop) = (JoinSet::new(), CancellationToken::new());
        for probe in probes {
            running.spawn(probe.run(stop.clone()));
        }
        Self { running, stop }
    }

    /// Ends; what is under way is waited for.
    pub(super) async fn end(mut self) -> Result<(Vec<Probe>, Probed), Failure> {
        self.stop.cancel();
        let (mut probes, mut all) = (Vec::new(), Probed::default());
        while let Some(ended) = self.running.join_next().await {
            let broke = |error| Failure::new(Exit::Internal, format!("a probe of the bench broke: {error}"));
            let (probe, probed) = ended.map_err(broke)?;
            probes.push(probe);
            all.add(probed);
        }
        Ok((probes, all))
    }
}
