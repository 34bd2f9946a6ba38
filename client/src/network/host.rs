//! One connection with one guard: a libp2p host with a key of its own, driven by a task of its own.
//!
//! The key is random and lives as long as the connection, so no two connections of this device can be linked by it, and
//! no two accounts ever share one. Dropping the [`GuardHost`] ends the task and with it the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sotto_behaviours::network::{
    BuildError, ConnectionLimits, Event, Network, NetworkConfig, Peer, Role, Timeouts, WallClock,
};
use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::client::{Path, PathError};
use sotto_proto::chain::{GenesisFile, NodeRecord};
use sotto_proto::id::NodeId;
use sotto_proto::limits::{HOPS, PATHS_PER_CLIENT};
use sotto_proto::network::NetworkView;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use zeroize::Zeroizing;

/// Why there is no host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The operating system gave no randomness.
    #[error("no randomness from the operating system: {0}")]
    Random(getrandom::Error),
    /// The host could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
}

struct Build {
    hops: [HopInfo; HOPS],
    reply: oneshot::Sender<Result<Path, PathError>>,
}

/// The connection.
#[derive(Debug)]
pub struct GuardHost {
    guard: NodeId,
    builds: mpsc::Sender<Build>,
    connected: Arc<AtomicBool>,
    task: AbortHandle,
}

impl GuardHost {
    /// A host that will connect with `guard` for the first path. `clock` is the network's time. Must be called inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`HostError`] if it cannot be built.
    pub fn new(genesis: &GenesisFile, guard: &NodeRecord, clock: WallClock) -> Result<Self, HostError> {
        let mut identity = Zeroizing::new([0; 32]);
        getrandom::fill(identity.as_mut()).map_err(HostError::Random)?;
        let (view_sender, view) = watch::channel(Arc::new(NetworkView::unknown(&genesis.genesis)));
        let config = NetworkConfig {
            identity,
            chain: genesis.genesis.chain_id(),
            role: Role::Client,
            listen: None,
            producer: Peer { node: genesis.genesis.producer, addresses: Vec::new() },
            bootstrap: vec![Peer { node: guard.node, addresses: guard.addresses.clone() }],
            limits: ConnectionLimits::default(),
            private_addresses: genesis.genesis.params.private_allowed(),
            timeouts: Timeouts::default(),
            clock,
            relay: None,
        };
        let network = Network::new(config, view, None)?;
        let (builds, received) = mpsc::channel(PATHS_PER_CLIENT);
        let connected = Arc::default();
        let task = tokio::spawn(drive(network, received, view_sender, Arc::clone(&connected))).abort_handle();
        Ok(Self { guard: guard.node, builds, connected, task })
    }

    /// Whom it is connected with, or will be.
    #[must_use]
    pub const fn guard(&self) -> NodeId {
        self.guard
    }

    /// Whether there is a connection with the guard.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Builds a path; its first hop must be the guard. The answer comes within ten seconds, and is an error when this
    /// host is dropped before.
    ///
    /// # Errors
    /// [`PathError`] that says which hop failed.
    pub fn build(&self, hops: [HopInfo; HOPS]) -> impl Future<Output = Result<Path, PathError>> + Send + use<> {
        let builds = self.builds.clone();
        async move {
            let (reply, built) = oneshot::channel();
            if builds.send(Build { hops, reply }).await.is_err() {
                return Err(PathError::GuardUnreachable);
            }
            built.await.unwrap_or(Err(PathError::GuardUnreachable))
        }
    }
}

impl Drop for GuardHost {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Drives the host. The view never changes: what a client knows of the network is not the host's business.
async fn drive(
    mut network: Network,
    mut builds: mpsc::Receiver<Build>,
    _view: watch::Sender<Arc<NetworkView>>,
    connected: Arc<AtomicBool>,
) {
    loop {
        tokio::select! {
            // The guard is the only peer there is.
            event = network.next() => match event {
                Event::OtherGenesis { node } => {
                    tracing::debug!(node = node.short(), "the guard is of another network");
                }
                Event::PeerConnected { .. } => connected.store(true, Ordering::Relaxed),
                Event::PeerDisconnected { .. } => connected.store(false, Ordering::Relaxed),
                _ => {}
            },
            build = builds.recv() => {
                let Some(Build { hops, reply }) = build else { return };
                let built = network.build_path(hops);
                tokio::spawn(async move {
                    // Whoever wanted the path may have given up.
                    let _given_up = reply.send(built.await.unwrap_or(Err(PathError::GuardUnreachable)));
                });
            }
        }
    }
}
