//! A client, three hops and a destination over loopback TCP, each a process of its own with a current-thread runtime.
//!
//! `cargo bench -p sotto-behaviours --bench path` prints medians of five runs; a word after `--` (build, echo, tunnel,
//! bulk) chooses one part. On one CPU: `taskset -c 0` before the command.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a bench fails by panicking")]

#[path = "../src/test_support.rs"]
mod test_support;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sotto_behaviours::network::{ConnectionLimits, Event, Network, NetworkConfig, Peer, Role, Timeouts, WallClock};
use sotto_behaviours::noise::Secret;
use sotto_behaviours::onion::build::HopSecrets;
use sotto_behaviours::onion::client::Path;
use sotto_behaviours::onion::{Caps, HopInfo, RelayConfig, prepare_replays};
use sotto_behaviours::tunnel::Tunnel;
use sotto_proto::id::NodeId;
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::network::NetworkView;
use sotto_proto::request::{PublishOrder, Records, StoredRecord, SwarmRequest, SwarmResponse};
use sotto_proto::sign::SigningKey;
use tokio::sync::{mpsc, oneshot, watch};
use zeroize::Zeroizing;

use self::test_support::{CHAIN, snapshot, view};

const NODES: [u8; 4] = [1, 2, 3, 4];
const RUNS: usize = 5;
const BUILDS: usize = 200;
const ECHOES: usize = 2000;
const TUNNELS: usize = 300;
const BULK: usize = 64;
/// The largest records that an answer holds.
const BULK_RECORD: usize = 63_555;
const BULK_RECORDS: usize = 15;
/// What a cell carries of them.
const CELL_BYTES: usize = 1992;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match arguments.iter().position(|argument| argument == "node") {
        Some(at) => runtime.block_on(node(arguments[at + 1].parse().unwrap(), arguments[at + 2].parse().unwrap())),
        None => {
            let part = arguments.into_iter().skip(1).find(|argument| !argument.starts_with('-'));
            runtime.block_on(client(part));
        }
    }
}

fn id(seed: u8) -> NodeId {
    SigningKey::from_seed(&[seed; 32]).node_id()
}

fn secret(seed: u8) -> Secret {
    Secret::take(&mut [seed | 0x80; 32])
}

fn hop(seed: u8) -> HopInfo {
    HopInfo { node: id(seed), x25519: secret(seed).public() }
}

fn address(seed: u8, port: u16) -> NodeAddr {
    NodeAddr::new([127, 70, 0, seed].into(), port)
}

fn network_view(port: u16) -> Arc<NetworkView> {
    view(snapshot(5, NODES.map(|seed| (id(seed), address(seed, port))), &BTreeMap::new()))
}

fn config(seed: u8) -> NetworkConfig {
    let caps = Caps {
        builds_per_second: 1_000_000,
        build_burst: 1_000_000,
        client_builds_per_second: 1_000_000,
        client_build_burst: 1_000_000,
        tunnels_per_second: 1_000_000,
        tunnel_burst: 1_000_000,
        ..Caps::default()
    };
    NetworkConfig {
        identity: Zeroizing::new([seed; 32]),
        chain: CHAIN,
        role: Role::Client,
        listen: None,
        producer: Peer { node: id(99), addresses: Vec::new() },
        bootstrap: Vec::new(),
        limits: ConnectionLimits { per_address_enabled: false, paths: caps, ..ConnectionLimits::default() },
        private_addresses: true,
        timeouts: Timeouts::default(),
        clock: WallClock::system(),
        relay: None,
    }
}

/// A hop or destination, until standard input ends.
async fn node(seed: u8, port: u16) {
    std::thread::spawn(|| {
        while std::io::stdin().read(&mut [0; 16]).is_ok_and(|read| read > 0) {}
        std::process::exit(0);
    });
    let replays = tempfile::tempdir().unwrap();
    prepare_replays(replays.path(), &secret(seed).public(), WallClock::system().now().seconds()).unwrap();
    let (_keys, secrets) = watch::channel(Arc::new(HopSecrets::new([secret(seed)])));
    let config = NetworkConfig {
        role: Role::Node,
        listen: Some(address(seed, port)),
        relay: Some(RelayConfig { secrets, replay_dir: replays.path().to_owned() }),
        ..config(seed)
    };
    let (_view, receiver) = watch::channel(network_view(port));
    let mut network = Network::new(config, receiver, None).unwrap();
    loop {
        match network.next().await {
            Event::TunnelRequest { tunnel, request: SwarmRequest::Store { record, .. } } => {
                let records = match record.as_slice() {
                    b"bulk" => (0..BULK_RECORDS as u64)
                        .map(|seq| StoredRecord { seq: seq + 1, record: vec![7; BULK_RECORD] })
                        .collect(),
                    _ => vec![StoredRecord { seq: 1, record }],
                };
                let next_seq = records.last().map_or(0, |stored: &StoredRecord| stored.seq);
                let answer = Records { epoch: 1, records, next_seq, more: false, syncing: false };
                network.tunnel_answer(tunnel, SwarmResponse::Records(answer), false);
            }
            Event::Blocks { fetch, .. } => {
                network.fetched(fetch, sotto_behaviours::network::FetchOutcome::Invalid);
            }
            _ => {}
        }
    }
}

type Order = oneshot::Sender<Result<Path, sotto_behaviours::onion::client::PathError>>;

/// The hops and the destination, as processes that end with this one.
struct Processes(Vec<Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Processes {
    fn start(port: u16) -> Self {
        let exe = std::env::current_exe().unwrap();
        let start = |seed: u8| {
            let arguments = ["node".to_owned(), seed.to_string(), port.to_string()];
            Command::new(&exe).args(arguments).stdin(Stdio::piped()).spawn().unwrap()
        };
        Self(NODES.map(start).into())
    }

    /// CPU time so far: of the guard, the middle, the exit, the destination, and this process.
    fn cpu(&self) -> [Duration; 5] {
        let mut all = [Duration::ZERO; 5];
        let pids = self.0.iter().map(Child::id).chain([std::process::id()]);
        for (time, pid) in all.iter_mut().zip(pids) {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
            *time = Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap());
        }
        all
    }
}

/// Microseconds of CPU between two readings, each divided by `per`.
fn spent(before: [Duration; 5], after: [Duration; 5], per: usize) -> [f64; 5] {
    std::array::from_fn(|index| (after[index] - before[index]).as_secs_f64() * 1e6 / per as f64)
}

type Figures = BTreeMap<&'static str, Vec<f64>>;

/// A client with a path through the three hops.
struct Bench {
    processes: Processes,
    orders: mpsc::Sender<Order>,
    path: Path,
    figures: Figures,
}

async fn client(part: Option<String>) {
    let wants = |name: &str| part.as_deref().is_none_or(|part| part == name);
    let mut bench = Bench::start().await;
    for _ in 0..RUNS {
        if wants("build") {
            bench.builds().await;
        }
        let (mut tunnel, _) = Tunnel::connect(&bench.path, hop(4), None).await.unwrap();
        if wants("echo") {
            bench.echoes(&mut tunnel).await;
        }
        if wants("tunnel") {
            bench.tunnels().await;
        }
        if wants("bulk") {
            bench.bulk(&mut tunnel).await;
        }
    }
    for (name, mut runs) in bench.figures {
        runs.sort_by(f64::total_cmp);
        println!(
            "{:<45} {:>9.3}   of {:?}",
            &name[2..],
            runs[RUNS / 2],
            runs.iter().map(|run| (run * 1000.0).round() / 1000.0).collect::<Vec<_>>()
        );
    }
}

impl Bench {
    async fn start() -> Self {
        let port = 21_000 + (std::process::id() % 8000) as u16;
        let processes = Processes::start(port);
        let (_view, receiver) = watch::channel(network_view(port));
        let mut network = Network::new(config(50), receiver, None).unwrap();
        let (orders, mut received) = mpsc::channel::<Order>(4);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = network.next() => {}
                    order = received.recv() => match order {
                        Some(order) => {
                            let built = network.build_path([1, 2, 3].map(hop));
                            tokio::spawn(async move { drop(order.send(built.await.unwrap())) });
                        }
                        None => return,
                    },
                }
            }
        });
        // Until all listen and are connected with each other.
        let began = Instant::now();
        let path = loop {
            let error = match build(&orders).await {
                Ok(path) => match Tunnel::connect(&path, hop(4), Some(store(vec![1; 1024]))).await {
                    Ok(_) => break path,
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            };
            assert!(began.elapsed() < Duration::from_secs(20), "{error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        Self { processes, orders, path, figures: BTreeMap::new() }
    }

    fn note(&mut self, name: &'static str, value: f64) {
        self.figures.entry(name).or_default().push(value);
    }

    async fn builds(&mut self) {
        let mut times = Vec::new();
        for _ in 0..BUILDS {
            let began = Instant::now();
            build(&self.orders).await.unwrap();
            times.push(began.elapsed());
        }
        self.note("1 build, ms, p50", percentile(&mut times, 50));
        self.note("1 build, ms, p99", percentile(&mut times, 99));
    }

    async fn echoes(&mut self, tunnel: &mut Tunnel) {
        let (before, mut times) = (self.processes.cpu(), Vec::new());
        for _ in 0..ECHOES {
            let began = Instant::now();
            tunnel.request(store(vec![1; 1024])).await.unwrap();
            times.push(began.elapsed());
        }
        let cpu = spent(before, self.processes.cpu(), ECHOES);
        self.note("2 echo of 1 KiB, ms, p50", percentile(&mut times, 50));
        self.note("2 echo of 1 KiB, ms, p99", percentile(&mut times, 99));
        self.note("2 echo, CPU of all, ms", cpu.iter().sum::<f64>() / 1000.0);
        self.note("2 echo, CPU of the middle a cell, us", cpu[1] / 2.0);
        self.note("2 echo, CPU of the exit a cell, us", cpu[2] / 2.0);
        self.note("2 echo, CPU of the destination, us", cpu[3]);
        self.note("2 echo, CPU of the client, us", cpu[4]);
    }

    async fn tunnels(&mut self) {
        let mut times = Vec::new();
        for _ in 0..TUNNELS {
            let began = Instant::now();
            let (tunnel, answer) = Tunnel::connect(&self.path, hop(4), Some(store(vec![1; 1024]))).await.unwrap();
            assert!(matches!(answer, Some(SwarmResponse::Records(_))));
            times.push(began.elapsed());
            drop(tunnel);
        }
        self.note("3 fresh tunnel, ms, p50", percentile(&mut times, 50));
        self.note("3 fresh tunnel, ms, p99", percentile(&mut times, 99));
    }

    async fn bulk(&mut self, tunnel: &mut Tunnel) {
        let (before, began, mut bytes) = (self.processes.cpu(), Instant::now(), 0);
        for _ in 0..BULK {
            match tunnel.request(store(b"bulk".to_vec())).await.unwrap() {
                SwarmResponse::Records(answer) => {
                    bytes += answer.records.iter().map(|stored| stored.record.len()).sum::<usize>();
                }
                other => panic!("{other:?}"),
            }
        }
        let cpu = spent(before, self.processes.cpu(), bytes / CELL_BYTES);
        self.note("4 bulk, MB/s", bytes as f64 / began.elapsed().as_secs_f64() / 1e6);
        self.note("4 bulk, CPU of the guard a cell, us", cpu[0]);
        self.note("4 bulk, CPU of the middle a cell, us", cpu[1]);
        self.note("4 bulk, CPU of the exit a cell, us", cpu[2]);
        self.note("4 bulk, CPU of the destination a cell, us", cpu[3]);
        self.note("4 bulk, CPU of the client a cell, us", cpu[4]);
    }
}

async fn build(orders: &mpsc::Sender<Order>) -> Result<Path, sotto_behaviours::onion::client::PathError> {
    let (sender, built) = oneshot::channel();
    orders.send(sender).await.unwrap();
    built.await.unwrap()
}

fn store(record: Vec<u8>) -> SwarmRequest {
    SwarmRequest::Store { record, publish_order: PublishOrder::First }
}

fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort();
    times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1000.0
}
