//! Puts a producer together from its files, runs it, and takes it apart in order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use sotto_behaviours::clock::Clock;
use sotto_behaviours::network::{
    BuildError, ConnectionLimits, Network, NetworkConfig, Peer, Role, Timeouts, WallClock,
};
use sotto_proto::chain::{GenesisFile, Preset};
use sotto_proto::id::PublicKey;
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::sign::SigningKey;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use crate::process::serve::{ServeLimits, serve};
use crate::producer::command::{ACTION_DEADLINE, Commands, QUEUE};
use crate::producer::datadir::{DataDir, SOCKET};
use crate::producer::disk::Disk;
use crate::producer::event_loop::{EventLoop, Progress, RunError};
use crate::producer::faucet::Faucet;
use crate::producer::http::{self, Api};
use crate::producer::machine::{Chain, Machine};
use crate::producer::metrics::Metrics;
use crate::producer::recovery::{self, RecoveryError};

/// Bounds of the admin socket: commands may take longer than a look at the status.
const ADMIN: ServeLimits = ServeLimits {
    connections: QUEUE,
    head: Duration::from_secs(5),
    life: ACTION_DEADLINE.saturating_add(Duration::from_secs(5)),
    buffer: 16 << 10,
};
/// How long open HTTP requests may take once the producer ends.
const GRACE: Duration = Duration::from_secs(2);

/// The keys of a producer.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Signs blocks.
    pub authority: SigningKey,
    /// The network identity.
    pub producer: SigningKey,
    /// Owns the coins that are given away.
    pub faucet: Option<SigningKey>,
}

/// Everything a producer is made of.
#[derive(Debug)]
pub struct Config {
    /// The data directory, locked.
    pub datadir: DataDir,
    /// The genesis.
    pub genesis: GenesisFile,
    /// The keys.
    pub keys: Keys,
    /// Where peers connect to.
    pub listen: NodeAddr,
    /// Where HTTP is served, if at all.
    pub http: Option<SocketAddr>,
    /// How many blocks are kept; `None`: all.
    pub prune: Option<u64>,
    /// Give up blocks from the first damaged one on.
    pub cut_damage: bool,
}

/// Why a producer does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key is not the genesis'.
    #[error("the {which} key in the data directory is {actual}, the genesis names {expected}")]
    OtherKey {
        /// `authority` or `producer`.
        which: &'static str,
        /// What the genesis says.
        expected: PublicKey,
        /// What the key file has.
        actual: PublicKey,
    },
    /// The chain on disk cannot be used.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The network cannot be set up.
    #[error(transparent)]
    Network(#[from] BuildError),
    /// A listener cannot be set up.
    #[error("cannot listen on {at}: {source}")]
    Listen {
        /// Where.
        at: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// It ended while it ran.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Runs a producer until `cancel`.
///
/// # Errors
/// [`StartError`].
pub async fn run(config: Config, cancel: CancellationToken) -> Result<(), StartError> {
    let (started, clock) = (Instant::now(), Clock::start());
    check_keys(&config)?;
    let genesis = &config.genesis.genesis;
    let recovered = recovery::recover(config.datadir.path(), genesis, config.cut_damage)?;
    tracing::info!(chain = genesis.chain_id().protocol_prefix(), report = %recovered.report, "chain opened");
    let chain = Chain::recovered(recovered.links).ok_or(RecoveryError::NoStart(recovered.report.tip))?;
    let machine = Machine::new(chain, config.keys.authority.clone(), faucet(&config), clock.now());

    let mut registry = Registry::default();
    let metrics = Metrics::default();
    metrics.register(&mut registry);
    let (view, watched) = watch::channel(Arc::new(machine.view()));
    let network = Network::new(network_config(&config), watched, Some(&mut registry))?;
    let (disk, thread) = Disk::start(recovered.log, recovered.snapshots, config.prune).map_err(RunError::Io)?;

    let (commands, inbox) = Commands::channel();
    let block_time_ms = genesis.params.block_time_ms;
    let api = Api { commands, registry: Arc::new(registry), shutdown: cancel.clone(), block_time_ms };
    let servers = serve_http(&config, api, &metrics, &cancel).await?;
    let progress = Progress::default();
    let event_loop = EventLoop { machine, network, disk, commands: inbox, view, clock, metrics, started, progress };
    let result = Box::pin(event_loop.run(cancel.clone())).await;

    cancel.cancel();
    servers.close();
    if tokio::time::timeout(GRACE, servers.wait()).await.is_err() {
        tracing::warn!("HTTP requests were cut off");
    }
    // The loop has dropped its end of the queue, so the thread ends after its last job.
    if thread.join().is_err() {
        tracing::error!("the disk thread panicked");
    }
    if let Err(error) = std::fs::remove_file(config.datadir.path().join(SOCKET)) {
        tracing::debug!(%error, "the admin socket stays");
    }
    Ok(result?)
}

fn check_keys(config: &Config) -> Result<(), StartError> {
    let (genesis, keys) = (&config.genesis.genesis, &config.keys);
    let pairs = [
        ("authority", genesis.authority, keys.authority.public()),
        ("producer", PublicKey::from(genesis.producer), keys.producer.public()),
    ];
    match pairs.into_iter().find(|(_, expected, actual)| expected != actual) {
        Some((which, expected, actual)) => Err(StartError::OtherKey { which, expected, actual }),
        None => Ok(()),
    }
}

fn faucet(config: &Config) -> Option<Faucet> {
    let key = config.keys.faucet.clone()?;
    (config.genesis.genesis.preset == Preset::Testnet).then(|| Faucet::new(key))
}

fn network_config(config: &Config) -> NetworkConfig {
    let genesis = &config.genesis.genesis;
    let peer = |node, address| Peer { node, addresses: vec![address] };
    NetworkConfig {
        identity: Zeroizing::new(*config.keys.producer.seed()),
        chain: genesis.chain_id(),
        role: Role::Producer,
        listen: Some(config.listen),
        producer: Peer { node: genesis.producer, addresses: config.genesis.producer_addresses.clone() },
        bootstrap: config.genesis.bootstrap.iter().map(|(node, address)| peer(*node, *address)).collect(),
        limits: ConnectionLimits {
            per_address_enabled: genesis.params.per_address_limits == 1,
            ..ConnectionLimits::default()
        },
        private_addresses: genesis.params.private_allowed(),
        timeouts: Timeouts::default(),
        clock: WallClock::system(),
        relay: None,
    }
}

/// Starts both listeners; their tasks end with `cancel`.
async fn serve_http(
    config: &Config,
    api: Api,
    metrics: &Metrics,
    cancel: &CancellationToken,
) -> Result<TaskTracker, StartError> {
    let servers = TaskTracker::new();
    let refused = || {
        let metrics = metrics.clone();
        move || metrics.http_refused()
    };
    if let Some(address) = config.http {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| StartError::Listen { at: format!("http://{address}"), source })?;
        servers.spawn(serve(listener, http::public(api.clone()), ServeLimits::default(), refused(), cancel.clone()));
    }
    let socket = config.datadir.path().join(SOCKET);
    let listener =
        http::bind(&socket).map_err(|source| StartError::Listen { at: socket.display().to_string(), source })?;
    servers.spawn(serve(listener, http::admin(api), ADMIN, refused(), cancel.clone()));
    Ok(servers)
}
