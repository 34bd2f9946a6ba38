//! Paths and tunnels: the part of the network that others are hops of, and the part that is one.

use std::sync::{Arc, Mutex};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sotto_proto::id::NodeId;
use sotto_proto::limits::HOPS;
use sotto_proto::request::SwarmResponse;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{BuildError, Event, Network, NetworkConfig};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::onion::HopInfo;
use crate::onion::client::{Builder, Path, PathError};
use crate::onion::config::{Caps, Deadlines};
use crate::onion::control::Control;
use crate::onion::hop::{Hop, NodeBooks};
use crate::onion::replays::Replays;
use crate::onion::stalls::Stalls;
use crate::onion::streams::CreditBudget;
use crate::tunnel::TunnelId;
use crate::tunnel::server::{EVENTS, TunnelEvent, Tunnels};

/// What a host needs for its own paths, and for those of others if it relays.
pub(super) struct Paths {
    pub(super) control: Control,
    pub(super) deadlines: Deadlines,
    credit: Arc<CreditBudget>,
    /// A host that relays.
    pub(super) hop: Option<Arc<Hop>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// Fresh randomness for something that draws its own.
pub(super) fn rng() -> Result<ChaCha20Rng, getrandom::Error> {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed)?;
    Ok(ChaCha20Rng::from_seed(*seed))
}

impl Paths {
    /// The paths of a host, and what comes through its tunnels.
    pub(super) fn new(
        config: &NetworkConfig,
        own: NodeId,
        control: Control,
        view: watch::Receiver<Arc<sotto_proto::network::NetworkView>>,
        clock: &Clock,
        metrics: &Metrics,
    ) -> Result<(Self, mpsc::Receiver<TunnelEvent>), BuildError> {
        let (events, received) = mpsc::channel(EVENTS);
        let caps: &Caps = &config.limits.paths;
        let mut paths = Self {
            control: control.clone(),
            deadlines: config.timeouts.paths.clone(),
            credit: CreditBudget::of_node(),
            hop: None,
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        };
        if let Some(relay) = &config.relay {
            let secrets = Arc::clone(&relay.secrets.borrow());
            let now = clock.now().wall.seconds();
            let replays = Replays::load(&relay.replay_dir, &secrets, now).map_err(BuildError::Replays)?;
            let hop = Arc::new(Hop {
                chain: config.chain,
                own,
                listen: config.listen,
                private_addresses: config.private_addresses,
                view,
                secrets: relay.secrets.clone(),
                replays,
                clock: clock.clone(),
                control,
                deadlines: paths.deadlines.clone(),
                books: NodeBooks::new(caps),
                stalls: Stalls::new(caps.stalled_writes),
                credit: Arc::clone(&paths.credit),
                rng: Mutex::new(rng().map_err(BuildError::Random)?),
                metrics: metrics.clone(),
                events,
                tunnels: Tunnels::new(caps.answer_bytes),
                tasks: paths.tasks.clone(),
                shutdown: paths.shutdown.clone(),
            });
            tokio::spawn(Arc::clone(&hop).follow_keys());
            paths.hop = Some(hop);
        }
        Ok((paths, received))
    }
}

impl Drop for Paths {
    /// The tasks of a network end with it.
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Network {
    /// Builds a path through these hops, of which the first is the guard. The answer comes within ten seconds.
    ///
    /// The time that the hops are told is this network's wall clock, which on a client follows the network's.
    #[must_use]
    pub fn build_path(&self, hops: [HopInfo; HOPS]) -> oneshot::Receiver<Result<Path, PathError>> {
        let (sender, built) = oneshot::channel();
        let Ok(rng) = rng() else {
            let _given_up = sender.send(Err(PathError::Keys));
            return built;
        };
        let builder = Builder {
            chain: self.chain,
            control: self.paths.control.clone(),
            clock: self.clock.clone(),
            deadlines: self.paths.deadlines.clone(),
            budget: Arc::clone(&self.paths.credit),
            rng,
        };
        tokio::spawn(async move {
            // Whoever wanted it may have gone; the path ends then.
            let _given_up = sender.send(Box::pin(builder.build(hops)).await);
        });
        built
    }

    /// Answers the request of a tunnel. `more`: further answers follow, as to a subscription; otherwise the tunnel may
    /// ask again.
    ///
    /// Returns whether the tunnel was still there. One whose other end does not read its answers is ended.
    pub fn tunnel_answer(&self, tunnel: TunnelId, response: SwarmResponse, more: bool) -> bool {
        self.paths.hop.as_ref().is_some_and(|hop| hop.tunnels.answer(tunnel, response, more))
    }

    /// Ends a tunnel, after the answers that were given.
    pub fn close_tunnel(&self, tunnel: TunnelId) {
        if let Some(hop) = &self.paths.hop {
            hop.tunnels.close(tunnel);
        }
    }

    /// Tells the clients whose paths lead through here that this host stops, and waits a moment until they know. No
    /// streams are taken from now on.
    pub async fn drain(&mut self) {
        self.paths.shutdown.cancel();
        self.paths.tasks.close();
        let (tasks, patience) = (self.paths.tasks.clone(), self.paths.deadlines.drain);
        let drained = async {
            tokio::select! {
                () = tasks.wait() => {}
                () = async { loop { self.step().await } } => {}
            }
        };
        // Whoever does not read in this time sees its path end all the same.
        let _drained = tokio::time::timeout(patience, drained).await;
        self.flush().await;
    }

    /// Lets the connections write what was given to them.
    async fn flush(&mut self) {
        let moment = self.paths.deadlines.drain / 20;
        let _elapsed = tokio::time::timeout(moment, async {
            loop {
                self.step().await
            }
        })
        .await;
    }

    pub(super) fn on_tunnel(&mut self, event: TunnelEvent) {
        self.events.push_back(match event {
            TunnelEvent::Request { tunnel, request } => Event::TunnelRequest { tunnel, request },
            TunnelEvent::Ready { tunnel } => Event::TunnelReady { tunnel },
            TunnelEvent::Closed { tunnel } => Event::TunnelClosed { tunnel },
        });
    }

    /// A path or a tunnel wants a connection.
    pub(super) fn on_dial_for_path(&mut self, node: NodeId) {
        let behaviour = self.swarm.behaviour_mut();
        if let Err(error) = behaviour.membership.demand(node) {
            tracing::debug!(%error, "no connection for a path");
            behaviour.onion.unreachable(&node);
        }
    }

    /// Connections that carry anything are in use.
    pub(super) fn tick_paths(&mut self) {
        let behaviour = self.swarm.behaviour_mut();
        behaviour.onion.tidy();
        for node in behaviour.onion.in_use() {
            behaviour.membership.used(node);
        }
        if let Some(hop) = &self.paths.hop {
            self.metrics.tunnels(hop.tunnels.len(), hop.stalls.len());
        }
    }
}
