//! Networks of hosts that relay, each driven by a task of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::Stream;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sotto_behaviours::network::{ConnectionLimits, NetworkConfig, Role, Timeouts, WallClock};
use sotto_behaviours::noise::Secret;
use sotto_behaviours::onion::build::{ArrivedBuild, HopKeys, HopSecrets, OpenedBuild};
use sotto_behaviours::onion::client::{Path, PathError};
use sotto_behaviours::onion::{Caps, Deadlines, HopInfo, RelayConfig, prepare_replays};
use sotto_behaviours::tunnel::Tunnel;
use sotto_proto::cell::{Frame, Minute, Position, Status};
use sotto_proto::network::NetworkView;
use sotto_proto::request::{PublishOrder, SwarmRequest, SwarmResponse};
use sotto_proto::time::UnixMillis;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::{Host, Net, node_of};
use crate::test_support::CHAIN;

pub(crate) fn secret(seed: u8) -> Secret {
    Secret::take(&mut [seed | 0x80; 32])
}

pub(crate) fn hop(seed: u8) -> HopInfo {
    HopInfo { node: node_of(seed), x25519: secret(seed).public() }
}

/// A request that is answered with `bytes`.
pub(crate) fn echo(bytes: &[u8]) -> SwarmRequest {
    SwarmRequest::Store { record: bytes.to_vec(), publish_order: PublishOrder::First }
}

pub(crate) fn echoed(response: &SwarmResponse) -> &[u8] {
    match response {
        SwarmResponse::Records(records) => &records.records[0].record,
        other => panic!("not an echo: {other:?}"),
    }
}

/// Clients are 40 and above.
pub(crate) struct PathNet {
    pub(crate) net: Net,
    /// Nodes on the list, whether they run or not: 1 to 9.
    pub(crate) listed: Vec<u8>,
    pub(crate) deadlines: Deadlines,
    pub(crate) caps: Caps,
    /// Where the nodes keep their replay sets.
    pub(crate) replays: PathBuf,
    /// Of the process that made the directory.
    _temporary: Option<tempfile::TempDir>,
}

impl PathNet {
    pub(crate) fn new() -> Self {
        Self::on(Net::new())
    }

    /// On a network that is not the usual one.
    pub(crate) fn on(net: Net) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let net = Self::of(net, temporary.path().to_owned());
        Self { _temporary: Some(temporary), ..net }
    }

    /// On a network and a directory that are there.
    pub(crate) fn of(net: Net, replays: PathBuf) -> Self {
        let (deadlines, caps) = (Deadlines::default(), Caps::default());
        Self { net, listed: (1..=9).collect(), deadlines, caps, replays, _temporary: None }
    }

    pub(crate) fn view(&self) -> Arc<NetworkView> {
        self.net.view(5, &self.listed, &[])
    }

    pub(crate) fn config(&self, seed: u8) -> NetworkConfig {
        NetworkConfig {
            timeouts: Timeouts { paths: self.deadlines.clone(), ..self.net.timeouts.clone() },
            limits: ConnectionLimits { paths: self.caps.clone(), ..self.net.limits.clone() },
            ..self.net.config(seed)
        }
    }

    /// A node whose key is new. Started again it finds what it knew.
    pub(crate) fn node(&self, seed: u8) -> Running {
        self.node_at(seed, WallClock::system())
    }

    pub(crate) fn node_at(&self, seed: u8, clock: WallClock) -> Running {
        let replay_dir = self.replays.join(seed.to_string());
        if !replay_dir.exists() {
            prepare_replays(&replay_dir, &secret(seed).public(), clock.now().seconds()).unwrap();
        }
        let (keys, secrets) = watch::channel(Arc::new(HopSecrets::new([secret(seed)])));
        let relay = Some(RelayConfig { secrets, replay_dir });
        let config = NetworkConfig { relay, clock, ..self.config(seed) };
        Running::start(self.net.host_with(config, self.view()), Some(keys))
    }

    /// Nodes whose links with each other are made.
    pub(crate) async fn nodes(&self, seeds: &[u8]) -> Vec<Running> {
        let nodes: Vec<_> = seeds.iter().map(|seed| self.node(*seed)).collect();
        settled(&nodes).await;
        nodes
    }

    pub(crate) fn client(&self, seed: u8) -> Running {
        let config = NetworkConfig { role: Role::Client, listen: None, ..self.config(seed) };
        Running::start(self.net.host_with(config, self.view()), None)
    }
}

/// Waits until no connection has come or gone for a while: nodes that start together dial each other at once, and begin
/// anew then.
pub(crate) async fn settled(nodes: &[Running]) {
    let quiet = Duration::from_millis(900);
    let (mut last, mut since) = (Vec::new(), tokio::time::Instant::now());
    let end = since + Duration::from_secs(30);
    while since.elapsed() < quiet {
        assert!(tokio::time::Instant::now() < end, "connections come and go");
        let mut counts = Vec::new();
        for node in nodes {
            counts.push(node.with(|host| host.network.counts().established).await);
        }
        if counts != last {
            (last, since) = (counts, tokio::time::Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A clock that is `millis` behind.
pub(crate) fn slow(millis: u64) -> WallClock {
    let system = WallClock::system();
    WallClock::new(move || UnixMillis(system.now().0 - millis))
}

pub(crate) fn minute() -> Minute {
    WallClock::system().now().seconds().into()
}

pub(crate) fn rng() -> ChaCha20Rng {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    ChaCha20Rng::seed_from_u64(NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) async fn read_frame(stream: &mut Stream) -> Frame {
    let mut frame = Frame::zeroed();
    let read = stream.read_exact(frame.as_mut_bytes());
    tokio::time::timeout(Duration::from_secs(30), read).await.unwrap().unwrap();
    frame
}

pub(crate) async fn write_frame(stream: &mut Stream, frame: &Frame) {
    stream.write_all(frame.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// What the node `seed` does with a build.
pub(crate) fn open_build(seed: u8, frame: &Frame, candidates: &[Position]) -> OpenedBuild {
    let secrets = HopSecrets::new([secret(seed)]);
    ArrivedBuild::read(&secrets, frame).unwrap().open(&CHAIN, &node_of(seed), candidates).unwrap()
}

/// Its reply, and the keys if it says that the path is built.
pub(crate) fn reply(opened: OpenedBuild, status: Status, inner: Option<&Frame>) -> (Frame, Option<HopKeys>) {
    opened.reply(status, minute(), inner, &mut rng()).unwrap()
}

type Order = Box<dyn FnOnce(&mut Host) + Send>;

/// A host in a task of its own; it ends when this is dropped.
pub(crate) struct Running {
    orders: mpsc::Sender<Order>,
    drains: mpsc::Sender<oneshot::Sender<()>>,
    pub(crate) keys: Option<watch::Sender<Arc<HopSecrets>>>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    fn start(mut host: Host, keys: Option<watch::Sender<Arc<HopSecrets>>>) -> Self {
        let (orders, mut received) = mpsc::channel::<Order>(64);
        let (drains, mut draining) = mpsc::channel::<oneshot::Sender<()>>(1);
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(done) = draining.recv() => {
                        host.network.drain().await;
                        let _gone = done.send(());
                        return;
                    }
                    event = host.network.next() => host.on(event),
                    order = received.recv() => match order {
                        Some(order) => order(&mut host),
                        None => return,
                    },
                }
            }
        });
        Self { orders, drains, keys, task }
    }

    /// Does something with the host, in its task.
    pub(crate) async fn with<T: Send + 'static>(&self, act: impl FnOnce(&mut Host) -> T + Send + 'static) -> T {
        let (sender, done) = oneshot::channel();
        let order: Order = Box::new(move |host| drop(sender.send(act(host))));
        self.orders.send(order).await.unwrap_or_else(|_| panic!("the host has ended"));
        done.await.unwrap()
    }

    pub(crate) async fn path(&self, seeds: [u8; 3]) -> Result<Path, PathError> {
        let built = self.with(move |host| host.network.build_path(seeds.map(hop))).await;
        tokio::time::timeout(Duration::from_secs(30), built).await.unwrap().unwrap()
    }

    /// A path and a tunnel on it that has echoed once.
    pub(crate) async fn tunnel(&self, seeds: [u8; 3], to: u8) -> (Path, Tunnel) {
        let path = self.path(seeds).await.unwrap();
        let (tunnel, answer) = Tunnel::connect(&path, hop(to), Some(echo(b"hello"))).await.unwrap();
        assert_eq!(echoed(&answer.unwrap()), b"hello");
        (path, tunnel)
    }

    /// Lets the host stop as a node does.
    pub(crate) async fn drain(&self) {
        let (sender, done) = oneshot::channel();
        self.drains.send(sender).await.unwrap();
        done.await.unwrap();
    }

    /// A counter or gauge of the host.
    pub(crate) async fn metric(&self, name: &'static str) -> u64 {
        self.with(move |host| host.metric(name)).await
    }

    /// Waits until a counter has at least this value.
    pub(crate) async fn until_metric(&self, name: &'static str, at_least: u64) {
        let reached = async {
            while self.metric(name).await < at_least {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reached).await.unwrap_or_else(|_| panic!("{name}"));
    }
}
