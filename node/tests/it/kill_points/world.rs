//! The living around the node that dies: five nodes with their disks in memory, a client with a path, and a bare host
//! that hands over.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use sotto_behaviours::network::{Event, Network, Request, RequestId, Response, Role, Verdict};
use sotto_behaviours::onion;
use sotto_behaviours::tunnel::Tunnel;
use sotto_node::http::{Control, Question};
use sotto_node::status::NodeStatus;
use sotto_proto::request::{SwarmRequest, SwarmResponse};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::layout::{Layout, Node, hop, identity, node, set_up};
use super::life::{Moment, Orders};
use super::process::{LOOK, Life, PATIENCE};
use crate::chain_thread::Shared;

/// The bare host that hands over.
pub(super) const GIVER: u32 = 6;
/// The last hop of the client's path.
const EXIT: u32 = 1;
/// Those in the swarm of node 0.
const MATES: [u32; 2] = [EXIT, 2];
/// A node that lives.
struct Member {
    store: Shared,
    control: Control,
    shutdown: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    fn start(layout: &Layout, number: u32, datadir: PathBuf) -> Self {
        set_up(layout, number, &datadir);
        let (store, shutdown) = (Shared::default(), CancellationToken::new());
        let (control, questions) = Control::channel();
        let (layout, kept, stop) = (layout.clone(), store.clone(), shutdown.clone());
        let thread = std::thread::spawn(move || {
            Node { layout, number, datadir, store: kept, probe: Box::new(|_| {}) }.run(questions, stop);
        });
        Self { store, control, shutdown, thread: Some(thread) }
    }
}

/// A host that is no node: told what to do, in a task of its own.
struct Bare {
    orders: mpsc::Sender<Order>,
}

type Waiting = BTreeMap<RequestId, oneshot::Sender<Option<Response>>>;
type Order = Box<dyn FnOnce(&mut Network, &mut Waiting) + Send>;

impl Bare {
    fn start(mut network: Network) -> Self {
        let (orders, mut received) = mpsc::channel::<Order>(16);
        tokio::spawn(async move {
            let mut waiting = Waiting::new();
            loop {
                tokio::select! {
                    event = network.next() => match event {
                        Event::Response { id, result, .. } => {
                            // Whoever asked may have given up.
                            let _gone = waiting.remove(&id).map(|asker| asker.send(result.ok()));
                        }
                        Event::Block { gossip, .. } | Event::SwarmMessage { gossip, .. } => {
                            network.judge(gossip, Verdict::Ignore);
                        }
                        _ => {}
                    },
                    order = received.recv() => match order {
                        Some(order) => order(&mut network, &mut waiting),
                        None => return,
                    },
                }
            }
        });
        Self { orders }
    }

    async fn path(&self) -> Option<onion::client::Path> {
        let (sender, built) = oneshot::channel();
        let order =
            move |network: &mut Network, _: &mut Waiting| drop(sender.send(network.build_path([3, 4, EXIT].map(hop))));
        self.orders.send(Box::new(order)).await.ok()?;
        built.await.ok()?.await.ok()?.ok()
    }

    /// The answer of node 0, if there is one.
    async fn ask(&self, request: Request) -> Option<Response> {
        let (sender, answer) = oneshot::channel();
        let order = move |network: &mut Network, waiting: &mut Waiting| {
            if let Ok(id) = network.request(node(0), request) {
                waiting.insert(id, sender);
            }
        };
        self.orders.send(Box::new(order)).await.ok()?;
        answer.await.ok()?
    }
}

/// The network without node 0.
pub(super) struct World {
    pub(super) layout: Layout,
    dir: tempfile::TempDir,
    members: BTreeMap<u32, Member>,
    client: Bare,
    giver: Bare,
    path: Option<onion::client::Path>,
    _views: Vec<watch::Sender<Arc<sotto_proto::network::NetworkView>>>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.members.values().for_each(|member| member.shutdown.cancel());
        for member in self.members.values_mut() {
            let _ended = member.thread.take().map(JoinHandle::join);
        }
    }
}

impl World {
    pub(super) async fn new(subnet: u8) -> Self {
        let (layout, dir) = (Layout::new(subnet), tempfile::tempdir().unwrap());
        set_up(&layout, 0, &dir.path().join("0"));
        let start = |number: u32| (number, Member::start(&layout, number, dir.path().join(number.to_string())));
        let members: BTreeMap<_, _> = (1..GIVER).map(start).collect();
        let mut views = Vec::new();
        let mut bare = |role, identity, listen| {
            let (view, known) = watch::channel(layout.view());
            views.push(view);
            let config = layout.config(role, identity, None);
            Bare::start(
                Network::new(sotto_behaviours::network::NetworkConfig { listen, ..config }, known, None).unwrap(),
            )
        };
        let client = bare(Role::Client, [77; 32], None);
        let giver = bare(Role::Node, identity(GIVER), Some(layout.address(GIVER)));
        let world = Self { layout, dir, members, client, giver, path: None, _views: views };
        world.settle().await;
        world
    }

    pub(super) fn datadir(&self) -> PathBuf {
        self.dir.path().join("0")
    }

    /// A member's disk.
    pub(super) fn disk_of(&self, number: u32) -> &Shared {
        &self.members[&number].store
    }

    pub(super) async fn status_of(&self, number: u32) -> NodeStatus {
        self.members[&number].control.ask(Question::Status).await.unwrap()
    }

    /// Waits until all mates have met.
    async fn settle(&self) {
        for number in self.members.keys() {
            let mates = if MATES.contains(number) { 1 } else { 2 };
            self.until_mates(*number, "mates do not meet", |met| met == mates).await;
        }
    }

    /// Waits until a node has so many mates.
    async fn until_mates(&self, number: u32, what: &str, is_so: impl Fn(usize) -> bool) {
        let began = Instant::now();
        loop {
            let met = self.status_of(number).await.swarm_connected;
            if is_so(met.split('/').next().unwrap().parse().unwrap()) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {met}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Starts node 0, to die or to live.
    pub(super) async fn start(&self, moment: Moment, left: u64) -> Life {
        self.until_mates(EXIT, "the exit still has its link to the dead", |met| met < 2).await;
        let orders = Orders { layout: self.layout.clone(), datadir: self.datadir(), moment, left };
        let life = Life::start(&orders);
        self.until_mates(EXIT, "node 0 comes to the exit", |met| met == 2 || !life.is_alive()).await;
        life
    }

    /// Asks node 0 through a tunnel of its own, again while it is busy, as long as it lives.
    pub(super) async fn tunnel(
        &mut self,
        life: &Life,
        request: &impl Fn() -> SwarmRequest,
    ) -> Option<(Tunnel, SwarmResponse)> {
        let began = Instant::now();
        while life.is_alive() {
            assert!(began.elapsed() < PATIENCE, "node 0 does not answer");
            if self.path.as_ref().is_none_or(|path| path.end().is_some()) {
                self.path = self.client.path().await;
            }
            let Some(path) = &self.path else { continue };
            match Tunnel::connect(path, hop(0), Some(request())).await {
                Ok((tunnel, Some(SwarmResponse::Error(error)))) => {
                    assert_eq!(error.label(), "busy");
                    drop(tunnel);
                }
                Ok((tunnel, Some(answer))) => return Some((tunnel, answer)),
                Ok((_, None)) | Err(_) => {}
            }
            tokio::time::sleep(LOOK).await;
        }
        None
    }

    /// The answer of node 0 to the host that hands over.
    pub(super) async fn ask(&self, request: Request) -> Option<Response> {
        self.giver.ask(request).await
    }
}
