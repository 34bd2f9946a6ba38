//! Putting a node together, running it, and taking it apart in order.
//!
//! ```text
//! up:    lock → keys → database, restore → storage thread → chain thread → network, HTTP, admin socket → event loop
//! down:  event loop → HTTP, admin socket → chain thread → storage thread (last sync) → database → lock
//! ```
//!
//! When the database has failed and its disk takes writes again, all but the lock is taken apart and put together once
//! more, as if the process had been started anew: what is on disk is what counts, and nothing else is believed. Only a
//! node that was draining goes on with that.

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{BuildError as MetricsError, PrometheusHandle};
use sotto_behaviours::clock::{self, Clock};
use sotto_behaviours::network::{
    BuildError, ConnectionLimits, Network, NetworkConfig, Peer, Registry, Role, Timeouts, WallClock,
};
use sotto_behaviours::onion::RelayConfig;
use sotto_proto::chain::GenesisFile;
use sotto_proto::net_addr::NodeAddr;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use crate::chain_thread::restore::{self, RestoreError, Restored};
use crate::chain_thread::{ChainThread, Retention, Spawned};
use crate::config::{Bootstrap, Config};
use crate::event_loop::{About, EventLoop, Outlet, Parts};
use crate::http::serve::{ServeLimits, serve};
use crate::http::{self, Control};
use crate::keys::{KeyDirectory, KeyError, Slot};
use crate::lock::{Lock, LockError};
use crate::metrics::Page;
use crate::on_event::Alerts;
use crate::service_node::{Identity, Input, KeyRing, ServiceNode, Settings, VERSION};
use crate::store::mending::{self, Mending};
use crate::store::opening::{self, Damage, Opened};
use crate::store::writer::{self, StoreHandle};
use crate::store::{MetaKey, Store as _, StoreError};
use crate::{admin, metrics, process};

/// Directory of the database in the data directory.
pub const DATABASE: &str = "db";
/// Directory of the replay sets in the data directory.
pub const REPLAYS: &str = "replays";
/// Between two looks whether somebody wants the process to end.
const LOOK: Duration = Duration::from_millis(100);
/// How long HTTP answers under way may take when the node stops.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its data directory, set up by `init`.
    pub datadir: PathBuf,
    /// Its settings.
    pub config: Config,
    /// Its chain.
    pub genesis: GenesisFile,
    /// Whether to stop when standard input ends: whoever started it has died.
    pub exit_on_stdin_eof: bool,
}

/// Makes the outlet of a node that is to misbehave, once its keys are known to be good.
pub type MakeOutlet = Box<dyn Fn(&Start) -> Result<Outlet, KeyError>>;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another process has the data directory.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A key is missing or no good.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// There is no X25519 key, so nobody could build a path through this node.
    #[error("the data directory has no X25519 key; `sotto-node init` makes one")]
    NoHopKey,
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain cannot be restored from it.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The network cannot be built.
    #[error(transparent)]
    Network(#[from] BuildError),
    /// The HTTP port cannot be had.
    #[error("cannot answer HTTP on {address}: {source}")]
    Http {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The admin socket cannot be had.
    #[error("cannot listen on {}: {source}", path.display())]
    Admin {
        /// The socket.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Metrics are counted already.
    #[error("metrics: {0}")]
    Metrics(#[from] MetricsError),
    /// The operating system has no randomness.
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
    /// The operating system gives no thread, signal handler or runtime.
    #[error("the operating system refuses: {0}")]
    System(#[from] io::Error),
}

/// Runs a node until it is told to stop: by signal, over the admin socket, or by the end of standard input. Without an
/// `outlet` it does what its machine says.
///
/// # Errors
/// [`RunError`] if it does not start.
pub fn run(start: &Start, outlet: Option<MakeOutlet>) -> Result<(), RunError> {
    let started = Instant::now();
    let lock = Lock::acquire(&start.datadir)?;
    process::forbid_core_dumps();
    let (before, files) = process::raise_open_files();
    tracing::info!("open files {before} → {files}");
    let chain = start.genesis.genesis.chain_id();
    tracing::info!(version = VERSION, chain = chain.short(), datadir = %start.datadir.display(), "starting");

    let lasting = Lasting { started, counters: metrics::install()?, told: stop_when_told(start.exit_on_stdin_eof)? };
    let result = run_until_told(start, &lasting, outlet.as_ref());
    drop(lock);
    tracing::info!("stopped");
    result
}

/// What there is one of, however often the database is opened.
struct Lasting {
    started: Instant,
    counters: PrometheusHandle,
    /// Cancelled when somebody wants the process to end.
    told: CancellationToken,
}

/// Runs the node, and again whenever its database has failed and can be opened anew.
fn run_until_told(start: &Start, lasting: &Lasting, outlet: Option<&MakeOutlet>) -> Result<(), RunError> {
    let (mut wait, mut is_damaged, mut is_reopened, mut drains) = (mending::FIRST_WAIT, false, false, false);
    loop {
        if lasting.told.is_cancelled() {
            return Ok(());
        }
        let round = Round { shutdown: lasting.told.child_token(), mended: Arc::default() };
        let began = Instant::now();
        let opened = Disk::open(start, &round, wait, is_damaged);
        let (disk, storage_thread) = match opened {
            // Its disk took writes a moment ago: it may again.
            Err(RunError::Store(error)) if is_reopened && !lasting.told.is_cancelled() => {
                tracing::warn!(%error, wait_ms = wait.as_millis(), "the database cannot be opened yet");
                pause(wait, &lasting.told);
                wait = mending::wait_after(wait, began.elapsed());
                continue;
            }
            opened => opened?,
        };
        let result = run_on(disk, start, lasting, &round, outlet, drains);
        // Whether the node ran or could not start: a process that ends while a thread closes the database takes RocksDB's
        // globals away under it, and aborts.
        join(storage_thread);
        drains = result?;
        let Some(error) = round.mended.get().filter(|_| !lasting.told.is_cancelled()) else { return Ok(()) };
        tracing::warn!(%error, "the disk takes writes again; the database that had failed is opened anew");
        metrics::storage_reopened();
        wait = mending::wait_after(wait, began.elapsed());
        is_damaged = matches!(error, StoreError::Damaged(_));
        is_reopened = true;
    }
}

/// Waits so long, or until it is `told`.
fn pause(wait: Duration, told: &CancellationToken) {
    let until = Instant::now() + wait;
    while Instant::now() < until && !told.is_cancelled() {
        std::thread::sleep(LOOK);
    }
}

/// From one opening of the database to the next.
struct Round {
    /// Cancelled at its end.
    shutdown: CancellationToken,
    /// What the database had failed with, once the disk takes writes again.
    mended: Arc<OnceLock<StoreError>>,
}

impl Round {
    /// Ends the round when the disk of the database in `directory` takes writes again.
    fn mending(&self, directory: PathBuf, wait: Duration) -> Mending {
        let (mended, shutdown) = (Arc::clone(&self.mended), self.shutdown.clone());
        let tell = move |error| {
            mended.get_or_init(|| error);
            shutdown.cancel();
        };
        Mending::new(wait, Box::new(move || mending::try_disk(&directory)), Box::new(tell))
    }
}

/// Runs the node on its opened disk to the end of the round; it drains if the one before it did, and the answer is
/// whether the next one is to. Whatever happens, nothing uses the storage thread any more afterwards.
fn run_on(
    disk: Disk,
    start: &Start,
    lasting: &Lasting,
    round: &Round,
    outlet: Option<&MakeOutlet>,
    drains: bool,
) -> Result<bool, RunError> {
    let shutdown = &round.shutdown;
    let clock = Clock::start();
    let machine = disk.machine(start, &clock)?.with_drain(drains);
    let outlet = outlet.map(|make| make(start)).transpose()?;
    let node_seed = Zeroizing::new(*disk.keys.read(Slot::Node)?.expose());

    let runtime = runtime(start.config.threads.get())?;
    let (chain_thread, drains) = runtime.block_on(async {
        let update = disk.chain.update();
        let evidence = disk.chain.restored.follower.evidence().cloned().collect();
        let (view, view_receiver) = watch::channel(Arc::clone(&update.view));
        let mut registry = Registry::default();
        let (secrets, secrets_receiver) = watch::channel(Arc::new(machine.hop_secrets().ok_or(RunError::NoHopKey)?));
        let relay = RelayConfig { secrets: secrets_receiver, replay_dir: start.datadir.join(REPLAYS) };
        let network = Network::new(network_config(start, node_seed, relay), view_receiver, Some(&mut registry))?;
        let (control, questions) = Control::channel();
        let page = Page::new(lasting.counters.clone(), registry);
        tokio::spawn(page.clone().keep_tidy(shutdown.clone()));
        let servers = serve_all(start, &control, page, shutdown).await?;
        let Spawned { handle: chain, events: chain_events, thread: chain_thread } = disk.chain.spawn(view)?;
        let about = About {
            chain: start.genesis.genesis.chain_id(),
            moniker: start.config.moniker.clone(),
            started: lasting.started,
            damage: disk.damage,
        };
        let parts =
            Parts { network, machine, clock, about, chain, chain_events, store: disk.handle, questions, secrets };
        let mut event_loop = EventLoop::new(parts).with_evidence(evidence);
        if let Some(outlet) = outlet {
            event_loop = event_loop.with_outlet(outlet);
        }
        if let Some(command) = &start.config.on_event {
            event_loop = event_loop.with_alerts(Alerts::new(command.clone(), shutdown.clone()));
        }
        let drains = Box::pin(event_loop.run(Input::Chain(Box::new(update)), shutdown.clone())).await;
        if round.mended.get().is_none() {
            process::notify("STOPPING=1");
        }
        shutdown.cancel();
        // A slow reader of an answer does not keep the node from stopping.
        let _ = tokio::time::timeout(LAST_ANSWERS, servers.wait()).await;
        Ok::<_, RunError>((chain_thread, drains))
    })?;
    join(chain_thread);
    Ok(drains)
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread panicked");
    }
}

/// Keys and database, and what works on them.
struct Disk {
    keys: KeyDirectory,
    rotation: Option<Vec<u8>>,
    chain: ChainThread,
    handle: StoreHandle,
    /// The database was damaged so that another one was made.
    damage: Option<Damage>,
}

impl Disk {
    /// Opens everything; the thread is the storage thread, which ends when the last handle to it is dropped.
    /// `wait`: before the disk is tried for the first time if the database fails. `is_damaged`: the database opens, and
    /// is damaged all the same.
    fn open(
        start: &Start,
        round: &Round,
        wait: Duration,
        is_damaged: bool,
    ) -> Result<(Self, JoinHandle<()>), RunError> {
        let keys = KeyDirectory::of(&start.datadir);
        keys.check()?;
        keys.promote_if_cut_short()?;
        let directory = start.datadir.join(DATABASE);
        let (Opened { store, damage }, restored) = open_and_restore(start, &directory, is_damaged)?;
        tracing::info!(
            tip = restored.follower.tip().height().0,
            from = restored.from.0,
            replayed = restored.replayed,
            took_ms = restored.took.as_millis(),
            "the chain is restored"
        );
        let rotation = store.meta(MetaKey::Rotation)?;
        let (handle, thread) = writer::spawn_mending(store, keys.clone(), Some(round.mending(directory, wait)))?;
        metrics::storage_failed(false);
        let chain =
            ChainThread { restored, store: handle.clone(), retention: Retention::default(), probe: Box::new(|_| {}) };
        Ok((Self { keys, rotation, chain, handle, damage }, thread))
    }

    fn machine(&self, start: &Start, clock: &Clock) -> Result<ServiceNode, RunError> {
        let identity = Identity {
            node: self.keys.read(Slot::Node)?.signing_key(),
            operator: self.keys.find(Slot::Operator)?.map(|seed| seed.signing_key()),
        };
        let ring = KeyRing::load(&self.keys, self.rotation.as_deref())?;
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed)?;
        tracing::info!(node = %identity.node.node_id(), operator = identity.operator.is_some(), "keys are loaded");
        Ok(ServiceNode::new(identity, settings(&start.config), ring, &seed, clock.now()))
    }
}

/// Opens the database and restores the chain. If that meets damage that it cannot pass over, what can be read is copied
/// first.
fn open_and_restore(start: &Start, directory: &Path, is_damaged: bool) -> Result<(Opened, Restored), RunError> {
    let (chain, now) = (start.genesis.genesis.chain_id(), clock::wall().seconds());
    let open = if is_damaged { opening::rebuild } else { opening::open };
    let mut opened = open(directory, &chain, now)?;
    let restored = match restore::restore(&start.genesis.genesis, &mut opened.store) {
        Err(RestoreError::Store(StoreError::Damaged(what))) if opened.damage.is_none() => {
            tracing::error!(what, "the chain cannot be read from the database; what can be read of it is copied");
            drop(opened);
            opened = opening::rebuild(directory, &chain, now)?;
            restore::restore(&start.genesis.genesis, &mut opened.store)?
        }
        restored => restored?,
    };
    Ok((opened, restored))
}

/// What of the configuration the machine works with.
#[must_use]
pub fn settings(config: &Config) -> Settings {
    Settings {
        addresses: addresses(config),
        region: config.region.clone(),
        register: config.register,
        stake: config.stake,
        version: version_number(VERSION),
        mail: config.mail,
    }
}

/// What is registered: the announced addresses, else the one listened on, if that is one.
#[must_use]
pub fn addresses(config: &Config) -> Vec<NodeAddr> {
    let listen = config.listen;
    if config.announce.is_empty() && !listen.ip.is_unspecified() && listen.port != 0 {
        return vec![listen];
    }
    config.announce.clone()
}

/// `1.2.3` as 0x00_01_02_03.
fn version_number(version: &str) -> u32 {
    let numbers = version.split(['.', '-', '+']).take(3).map(|part| part.parse::<u8>().unwrap_or(0));
    numbers.fold(0, |number, part| (number << 8) | u32::from(part))
}

fn runtime(threads: usize) -> io::Result<tokio::runtime::Runtime> {
    if threads == 1 {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    } else {
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
    }
}

fn network_config(start: &Start, identity: Zeroizing<[u8; 32]>, relay: RelayConfig) -> NetworkConfig {
    let genesis = &start.genesis.genesis;
    let named = start.genesis.bootstrap.iter().map(|(node, address)| (*node, *address));
    let configured = start.config.bootstrap.iter().map(|Bootstrap { node, address }| (*node, *address));
    NetworkConfig {
        identity,
        chain: genesis.chain_id(),
        role: Role::Node,
        listen: Some(start.config.listen),
        producer: Peer { node: genesis.producer, addresses: start.genesis.producer_addresses.clone() },
        bootstrap: named.chain(configured).map(|(node, address)| Peer { node, addresses: vec![address] }).collect(),
        limits: ConnectionLimits {
            per_address_enabled: genesis.params.per_address_limits == 1,
            ..ConnectionLimits::default()
        },
        private_addresses: genesis.params.private_allowed(),
        timeouts: Timeouts::default(),
        clock: WallClock::system(),
        relay: Some(relay),
    }
}

async fn serve_all(
    start: &Start,
    control: &Control,
    page: Page,
    shutdown: &CancellationToken,
) -> Result<TaskTracker, RunError> {
    let servers = TaskTracker::new();
    if let Some(address) = start.config.http {
        let listener = TcpListener::bind(address).await.map_err(|source| RunError::Http { address, source })?;
        tracing::info!("HTTP on http://{}/status", listener.local_addr()?);
        let router = http::router(control.clone(), page);
        servers.spawn(serve(listener, router, ServeLimits::default(), shutdown.clone()));
    }
    let admin = listen_admin(&start.datadir)?;
    let router = admin::router(control.clone(), start.genesis.genesis.chain_id());
    servers.spawn(serve(admin, router, ServeLimits::default(), shutdown.clone()));
    servers.close();
    Ok(servers)
}

fn listen_admin(datadir: &Path) -> Result<UnixListener, RunError> {
    admin::listen(datadir).map_err(|source| RunError::Admin { path: datadir.join(admin::SOCKET), source })
}

/// Cancelled on SIGTERM, SIGINT, and, if asked to, at the end of standard input. A second signal ends the process at once.
/// The thread that waits for signals is there as long as the process: none is missed while the database is opened anew.
fn stop_when_told(on_stdin_eof: bool) -> io::Result<CancellationToken> {
    let told = CancellationToken::new();
    let (runtime, token) = (tokio::runtime::Builder::new_current_thread().enable_all().build()?, told.clone());
    let (mut terminate, mut interrupt) = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            loop {
                let code = tokio::select! {
                    _ = terminate.recv() => 143,
                    _ = interrupt.recv() => 130,
                };
                if token.is_cancelled() {
                    std::process::exit(code);
                }
                tracing::info!("stopping, as asked by signal");
                token.cancel();
            }
        });
    })?;
    if on_stdin_eof {
        let token = told.clone();
        // Not a task: nothing can interrupt a read of standard input, and a runtime would wait for it.
        std::thread::Builder::new().name("stdin".into()).spawn(move || {
            let mut sink = [0; 256];
            while io::stdin().read(&mut sink).is_ok_and(|read| read > 0) {}
            tracing::info!("stopping: standard input has ended");
            token.cancel();
        })?;
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings as Layers;

    fn config(pairs: &[(&str, &str)]) -> Config {
        let mut layers = Layers::default();
        for (name, text) in pairs {
            let setting = crate::config::setting::find(name).unwrap();
            layers.set(setting, (*text).to_owned(), crate::config::Origin::Flag(setting.name));
        }
        Config::from_settings(&layers).unwrap()
    }

    #[test]
    fn the_announced_addresses_win_over_the_one_listened_on() {
        assert_eq!(addresses(&config(&[])), [], "everywhere is no address");
        assert_eq!(addresses(&config(&[("listen", "127.0.0.1:0")])), [], "any port is no address");
        let listening = [("listen", "127.100.0.1:27010")];
        assert_eq!(addresses(&config(&listening)), ["127.100.0.1:27010".parse().unwrap()]);
        let announcing = [listening[0], ("announce", "203.0.113.7:22020")];
        assert_eq!(addresses(&config(&announcing)), ["203.0.113.7:22020".parse().unwrap()]);
    }

    #[test]
    fn versions_become_numbers_that_compare() {
        assert_eq!(version_number("0.1.0"), 0x0000_0100);
        assert!(version_number("1.2.3-rc1") > version_number("1.2.2"));
        assert_eq!(version_number("nonsense"), 0);
    }
}
