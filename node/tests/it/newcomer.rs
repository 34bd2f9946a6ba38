//! A node that is not registered yet among others that are: the program, and peers that are real hosts with clocks of
//! our making.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use sotto_behaviours::network::{
    ConnectionLimits, Event, Network, NetworkConfig, Peer, Request, Response, Role, Timeouts, Verdict, WallClock,
};
use sotto_proto::account::test_seed;
use sotto_proto::chain::{Payload, Transaction};
use sotto_proto::id::{Amount, Height};
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::network::NetworkView;
use sotto_proto::request::{ChainRequest, ChainResponse, Error, Info, Line, ListRequest, ListResponse};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::chain::{SEED, TestChain, key, x25519};
use crate::support::{PATIENCE, Place, sotto_node, text, wait_for};

/// What the newcomer would register; nobody ever goes there.
const ADDRESS: &str = "/ip4/127.100.0.1/tcp/29010";

/// A host that has a whole chain and answers for it.
struct Host {
    network: Network,
    view: watch::Sender<Arc<NetworkView>>,
    address: NodeAddr,
}

impl Host {
    /// Listens as the key of a role on a port of its own.
    async fn listen(chain: &TestChain, role: &str, index: u32) -> Self {
        let (view, receiver) = watch::channel(Arc::new(chain.view()));
        let config = NetworkConfig {
            identity: Zeroizing::new(test_seed(SEED, role, index)),
            chain: chain.genesis.chain_id(),
            // Also the nodes: they have the chain and sync from nobody.
            role: Role::Producer,
            listen: Some(format!("/ip4/127.{}.0.1/tcp/0", 100 + index).parse().unwrap()),
            producer: Peer { node: chain.genesis.producer, addresses: Vec::new() },
            bootstrap: Vec::new(),
            limits: ConnectionLimits { per_address_enabled: false, ..ConnectionLimits::default() },
            private_addresses: true,
            timeouts: Timeouts::default(),
            clock: WallClock::system(),
            relay: None,
        };
        let mut network = Network::new(config, receiver, None).unwrap();
        loop {
            if let Event::Listening(address) = network.next().await {
                return Self { network, view, address };
            }
        }
    }

    /// Answers until told to stop; says its clock is `ahead` milliseconds of the machine's.
    async fn serve(mut self, chain: Arc<TestChain>, others: Others, stop: CancellationToken) {
        self.view.send_replace(Arc::new(chain.view()));
        while let Some(event) = stop.run_until_cancelled(self.network.next()).await {
            match event {
                Event::Request { request, reply, .. } => {
                    let response = others.answer(&chain, request);
                    self.network.respond(reply, response);
                }
                Event::Block { gossip, .. } | Event::SwarmMessage { gossip, .. } => {
                    self.network.judge(gossip, Verdict::Ignore);
                }
                _ => {}
            }
        }
    }
}

/// What the hosts have in common.
#[derive(Clone)]
struct Others {
    /// Milliseconds that their clocks are ahead of the machine's.
    ahead: Arc<AtomicI64>,
    transactions: SyncSender<Transaction>,
}

impl Others {
    fn answer(&self, chain: &TestChain, request: Request) -> Response {
        let tip = chain.tip().height();
        match request {
            Request::Chain(ChainRequest::Tip) => {
                Response::Chain(ChainResponse::Tip { height: tip, hash: chain.tip().tip_hash() })
            }
            Request::Chain(ChainRequest::Blocks { from, .. }) => {
                let blocks = chain.blocks.iter().filter(|block| block.height() >= from).take(100);
                Response::Chain(ChainResponse::Blocks { blocks: blocks.map(|block| block.encode()).collect(), tip })
            }
            Request::Chain(ChainRequest::SubmitTransaction(bytes)) => {
                self.transactions.send(Transaction::decode(&bytes).unwrap()).unwrap();
                Response::Chain(ChainResponse::Submitted)
            }
            Request::List(ListRequest::Info) => {
                let mut time = WallClock::system().now();
                time.0 = time.0.saturating_add_signed(self.ahead.load(Ordering::Relaxed));
                let (final_height, version) = (tip.minus(3), Line::new("1"));
                Response::List(ListResponse::Info(Info { final_height, time, version, state: None }))
            }
            Request::List(_) => Response::List(ListResponse::Error(Error::Busy)),
            Request::Status(_) => panic!("answered inside"),
            Request::Repair(_) | Request::Offer(_) => panic!("nobody is a member of anything"),
        }
    }
}

/// The producer and three registered nodes, on a thread of their own until dropped.
pub(crate) struct Neighbourhood {
    pub(crate) place: Place,
    ahead: Arc<AtomicI64>,
    transactions: Receiver<Transaction>,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Neighbourhood {
    fn new() -> Self {
        Self::with_blocks(4)
    }

    /// With so many blocks after the three registrations.
    pub(crate) fn with_blocks(count: u64) -> Self {
        let (ahead, stop) = (Arc::new(AtomicI64::new(0)), CancellationToken::new());
        let (sender, transactions) = sync_channel(16);
        let (ready, started) = sync_channel(1);
        let others = Others { ahead: Arc::clone(&ahead), transactions: sender };
        let until = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, async {
                let mut chain = TestChain::new();
                let producer = Host::listen(&chain, "producer", 0).await;
                let mut file = chain.genesis_file();
                file.producer_addresses = vec![producer.address];
                let mut hosts = vec![producer];
                for index in 1..=3 {
                    let host = Host::listen(&chain, "node", index).await;
                    register(&mut chain, index, host.address);
                    hosts.push(host);
                }
                chain.advance(count);
                let chain = Arc::new(chain);
                ready.send(file).unwrap();
                let serving = hosts.into_iter().map(|host| host.serve(chain.clone(), others.clone(), until.clone()));
                let mut tasks = tokio::task::JoinSet::new();
                serving.for_each(|host| drop(tasks.spawn_local(host)));
                tasks.join_all().await;
            });
        });
        let place = Place::new();
        let file = started.recv_timeout(PATIENCE).unwrap();
        std::fs::write(place.genesis(), file.to_json()).unwrap();
        place.init();
        Self { place, ahead, transactions, stop, thread: Some(thread) }
    }

    /// Starts the newcomer.
    pub(crate) fn run(&self, arguments: &[&str]) -> crate::support::Running {
        let mut all = vec!["--announce", ADDRESS];
        all.extend(arguments);
        self.place.run_with(&all)
    }

    /// The status once it is as wanted.
    pub(crate) fn status(&self, what: &str, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        wait_for(what, || {
            let output = sotto_node(&self.place.datadir()).args(["status", "--json"]).output().unwrap();
            let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
            wanted(&status).then_some(status)
        })
    }

    /// The next transaction that reaches the producer is the newcomer's registration.
    fn expect_registration(&self) {
        let transaction = self.transactions.recv_timeout(PATIENCE).unwrap();
        assert!(
            matches!(&transaction.body.payload, Payload::Register { node, .. } if *node == key("node", 0).node_id()),
            "{transaction:?}"
        );
    }
}

impl Drop for Neighbourhood {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it may be what failed
        }
    }
}

fn register(chain: &mut TestChain, index: u32, address: NodeAddr) {
    let node = key("node", index);
    let payload = Payload::Register {
        node: node.node_id(),
        x25519: x25519(index),
        stake: Amount(chain.genesis.params.stake),
        region: "eu".parse().unwrap(),
        addresses: vec![address],
    };
    let registration = chain.transaction(&key("operator", index), payload, Some(&node));
    chain.produce(vec![registration]);
}

#[test]
fn a_newcomer_whose_clock_is_off_stakes_nothing_until_it_is_right() {
    let others = Neighbourhood::new();
    others.ahead.store(75_000, Ordering::Relaxed);
    let running = others.run(&["--register"]);
    let status = others.status("the clock's problem", |status| status["problems"][0]["code"] == "clock");
    assert_eq!(status["state"], "unregistered");
    assert!(status["summary"].as_str().unwrap().starts_with("the clock is 7"), "{status}");
    assert!((70_000..80_000).contains(&status["clock_offset_ms"].as_i64().unwrap()), "{status}");
    assert_eq!(status["synced"], true, "nothing else is in the way: {status}");

    let by_hand = sotto_node(&others.place.datadir()).args(["register", "--announce", ADDRESS]).output().unwrap();
    assert_eq!(by_hand.status.code(), Some(1), "{}", text(&by_hand.stderr));
    assert!(text(&by_hand.stderr).contains("try: set it, and keep it right"), "{}", text(&by_hand.stderr));
    let nothing = others.transactions.recv_timeout(Duration::from_secs(1));
    assert_eq!(nothing.map(|sent| sent.body.payload), Err(RecvTimeoutError::Timeout));
    drop(running);

    others.ahead.store(0, Ordering::Relaxed);
    let _running = others.run(&["--register"]);
    others.expect_registration();
}

#[test]
fn registering_by_hand_waits_for_the_clock_and_then_does_it() {
    let others = Neighbourhood::new();
    let _running = others.run(&[]);
    others.status("the chain", |status| status["synced"] == true && status["tip"] == Height(7).0);
    let mut by_hand = sotto_node(&others.place.datadir())
        .args(["register", "--announce", ADDRESS, "--timeout", "2s"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    others.expect_registration();
    // No block brings it here.
    assert_eq!(by_hand.wait().unwrap().code(), Some(8));
}
