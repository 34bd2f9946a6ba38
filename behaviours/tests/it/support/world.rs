//! Hosts that keep a made-up chain, and the clockwork that drives several of them at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures::future::select_all;
use libp2p::identity::Keypair;
use sotto_behaviours::host;
use sotto_behaviours::network::{
    ConnectionLimits, Event, FetchOutcome, Network, NetworkConfig, Peer, Registry, Request, RequestError, RequestId,
    Response, Role, Timeouts, Verdict, WallClock,
};
use sotto_proto::chain::{Header, Payload, Transaction, TxBody};
use sotto_proto::id::{Amount, BlockHash, ChainId, Hash, Height, ItemId, NodeId, PublicKey, SwarmId};
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::network::NetworkView;
use sotto_proto::request::{
    ChainRequest, ChainResponse, Error, Info, Line, ListRequest, ListResponse, OfferResponse, Records, RepairResponse,
    StoredRecord, SwarmRequest, SwarmResponse,
};
use sotto_proto::sign::SigningKey;
use sotto_proto::time::UnixMillis;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::memory::MemoryNet;
use crate::test_support::{CHAIN, snapshot, view};

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn keypair(seed: u8) -> Keypair {
    Keypair::ed25519_from_bytes([seed; 32]).unwrap()
}

pub(crate) fn node_of(seed: u8) -> NodeId {
    SigningKey::from_seed(&[seed; 32]).node_id()
}

/// A block as far as the network looks into it.
pub(crate) fn block(height: u64) -> Vec<u8> {
    let header = Header {
        height: Height(height),
        previous: BlockHash::new([0; 32]),
        time: UnixMillis(height * 1000),
        tx_root: Hash::new([0; 32]),
        state_root: Hash::new([0; 32]),
        list_root: Hash::new([0; 32]),
    };
    let signed = header.sign(&SigningKey::from_seed(&[9; 32]), &CHAIN);
    [signed.encode(), vec![0; 4]].concat()
}

/// A transaction that the producer would look at: whoever passes it on can tell.
pub(crate) fn transaction(nonce: u64) -> Vec<u8> {
    let signer = SigningKey::from_seed(&[9; 32]);
    let payload = Payload::Transfer { to: PublicKey::new([1; 32]), amount: Amount(1) };
    let body = TxBody { signer: PublicKey::from(signer.node_id()), nonce, fee: Amount(1), payload };
    Transaction::sign(body, &signer, None, &CHAIN).encode()
}

/// One test's part of the address space, and who is who in it. Host 0 is the producer.
#[derive(Clone)]
pub(crate) struct Net {
    pub(crate) subnet: u8,
    pub(crate) chain: ChainId,
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: ConnectionLimits,
    pub(crate) tcp: bool,
    /// Where all hosts listen, each at an address of its own.
    pub(crate) port: u16,
}

impl Net {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        Self {
            subnet: NEXT.fetch_add(1, Ordering::Relaxed),
            chain: CHAIN,
            timeouts: Timeouts { request: Duration::from_secs(5), ..Timeouts::default() },
            limits: ConnectionLimits { per_address_enabled: false, ..ConnectionLimits::default() },
            tcp: false,
            // Test runners give each test a process of its own, so the process tells them apart.
            port: 20_000 + u16::try_from(std::process::id() % 12_000).unwrap_or(0),
        }
    }

    /// On real sockets.
    pub(crate) fn tcp() -> Self {
        Self { tcp: true, ..Self::new() }
    }

    pub(crate) fn address(&self, seed: u8) -> NodeAddr {
        NodeAddr::new([127, 60, self.subnet, seed + 1].into(), self.port)
    }

    pub(crate) fn peer(&self, seed: u8) -> Peer {
        Peer { node: node_of(seed), addresses: vec![self.address(seed)] }
    }

    /// The network at `height`: who is on the list, and in which swarms.
    pub(crate) fn view(&self, height: u64, listed: &[u8], swarms: &[(u64, &[u8])]) -> Arc<NetworkView> {
        let nodes = listed.iter().map(|seed| (node_of(*seed), self.address(*seed)));
        let swarms: BTreeMap<_, _> = swarms
            .iter()
            .map(|(id, members)| (SwarmId(*id), members.iter().map(|seed| node_of(*seed)).collect::<Vec<_>>()))
            .collect();
        view(snapshot(height, nodes, &swarms))
    }

    pub(crate) fn config(&self, seed: u8) -> NetworkConfig {
        NetworkConfig {
            identity: Zeroizing::new([seed; 32]),
            chain: self.chain,
            role: if seed == 0 { Role::Producer } else { Role::Node },
            listen: Some(self.address(seed)),
            producer: self.peer(0),
            bootstrap: Vec::new(),
            limits: self.limits.clone(),
            private_addresses: true,
            timeouts: self.timeouts.clone(),
            clock: WallClock::system(),
            relay: None,
        }
    }

    pub(crate) fn host(&self, seed: u8, view: Arc<NetworkView>) -> Host {
        self.host_with(self.config(seed), view)
    }

    pub(crate) fn client(&self, seed: u8) -> Host {
        let config = NetworkConfig { role: Role::Client, listen: None, ..self.config(seed) };
        self.host_with(config, self.view(1, &[], &[]))
    }

    pub(crate) fn host_with(&self, config: NetworkConfig, view: Arc<NetworkView>) -> Host {
        let (sender, receiver) = watch::channel(view);
        let mut registry = Registry::default();
        let network = if self.tcp {
            Network::new(config, receiver, Some(&mut registry))
        } else {
            let identity = Keypair::ed25519_from_bytes(*config.identity).unwrap();
            let is_node = config.knows_nodes_of(receiver.clone());
            let transport = host::secure(MemoryNet::default(), &identity, &config.timeouts, is_node).unwrap();
            Network::with_transport(config, receiver, Some(&mut registry), transport)
        };
        Host {
            network: network.unwrap(),
            view: sender,
            registry,
            chain: BTreeMap::new(),
            gossiped_blocks: Vec::new(),
            swarm_messages: Vec::new(),
            transactions: Vec::new(),
            responses: BTreeMap::new(),
            foreign: BTreeSet::new(),
            disconnections: 0,
            clock_judged: Vec::new(),
            silent: false,
            verdict: Some(Verdict::Accept),
            unanswered: Vec::new(),
            tunnel_requests: 0,
            tunnels_ready: 0,
            tunnels_closed: 0,
        }
    }
}

/// A network with an owner that does the least a node does, and remembers what came.
pub(crate) struct Host {
    pub(crate) network: Network,
    pub(crate) view: watch::Sender<Arc<NetworkView>>,
    pub(crate) registry: Registry,
    /// Blocks by height.
    pub(crate) chain: BTreeMap<u64, Vec<u8>>,
    pub(crate) gossiped_blocks: Vec<Vec<u8>>,
    pub(crate) swarm_messages: Vec<Vec<u8>>,
    pub(crate) transactions: Vec<Vec<u8>>,
    pub(crate) responses: BTreeMap<RequestId, (NodeId, Result<Response, RequestError>)>,
    pub(crate) foreign: BTreeSet<NodeId>,
    pub(crate) disconnections: usize,
    pub(crate) clock_judged: Vec<bool>,
    /// Requests taken and not answered, if it is told to be silent.
    pub(crate) silent: bool,
    /// What it says of every gossiped message, if anything.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) unanswered: Vec<sotto_behaviours::network::ReplyTo>,
    /// Requests that came through tunnels; stores are answered with what was to be stored.
    pub(crate) tunnel_requests: usize,
    /// Answers with records that were sent.
    pub(crate) tunnels_ready: usize,
    pub(crate) tunnels_closed: usize,
}

impl Host {
    pub(crate) fn is_connected(&self, seed: u8) -> bool {
        self.network.connected().any(|node| node == node_of(seed))
    }

    pub(crate) fn tip(&self) -> u64 {
        self.chain.keys().next_back().copied().unwrap_or(0)
    }

    /// Gives it the blocks up to `height`.
    pub(crate) fn with_blocks(mut self, height: u64) -> Self {
        self.chain.extend((1..=height).map(|height| (height, block(height))));
        self
    }

    pub(crate) fn set_view(&self, view: Arc<NetworkView>) {
        self.view.send_replace(view);
    }

    /// What it shows to be scraped.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    /// A counter's value.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn on(&mut self, event: Event) {
        match event {
            Event::Block { gossip, bytes, .. } => {
                self.gossiped_blocks.push(bytes);
                if let Some(verdict) = self.verdict {
                    self.network.judge(gossip, verdict);
                }
            }
            Event::SwarmMessage { gossip, bytes, .. } => {
                self.swarm_messages.push(bytes);
                if let Some(verdict) = self.verdict {
                    self.network.judge(gossip, verdict);
                }
            }
            Event::Blocks { fetch, blocks, .. } => {
                let first = self.tip() + 1;
                self.chain.extend((first..).zip(blocks));
                self.network.fetched(fetch, FetchOutcome::Inserted { tip: Height(self.tip()) });
            }
            Event::Request { reply, .. } if self.silent => self.unanswered.push(reply),
            Event::Request { request, reply, .. } => {
                let response = self.answer(request);
                self.network.respond(reply, response);
            }
            Event::Response { from, id, result } => {
                assert!(self.responses.insert(id, (from, result)).is_none(), "answered twice");
            }
            Event::OtherGenesis { node } => {
                self.foreign.insert(node);
            }
            Event::PeerDisconnected { .. } => self.disconnections += 1,
            Event::ClockJudged(offset) => self.clock_judged.push(offset.off),
            Event::TunnelRequest { .. } if self.silent => self.tunnel_requests += 1,
            Event::TunnelRequest { tunnel, request } => {
                self.tunnel_requests += 1;
                self.network.tunnel_answer(tunnel, answer_tunnel(request), false);
            }
            Event::TunnelClosed { .. } => self.tunnels_closed += 1,
            Event::TunnelReady { .. } => self.tunnels_ready += 1,
            Event::Listening(_) | Event::PeerConnected { .. } => {}
        }
    }

    fn answer(&mut self, request: Request) -> Response {
        match request {
            Request::Chain(ChainRequest::Blocks { from, max_bytes }) => {
                let mut bytes = 0;
                let within = |block: &&Vec<u8>| {
                    bytes += block.len();
                    bytes <= max_bytes as usize
                };
                let blocks = self.chain.range(from.0..).map(|(_, block)| block).take(100).take_while(within);
                Response::Chain(ChainResponse::Blocks { blocks: blocks.cloned().collect(), tip: Height(self.tip()) })
            }
            Request::Chain(ChainRequest::Tip) => {
                Response::Chain(ChainResponse::Tip { height: Height(self.tip()), hash: BlockHash::new([0; 32]) })
            }
            Request::Chain(ChainRequest::SubmitTransaction(transaction)) => {
                self.transactions.push(transaction);
                Response::Chain(ChainResponse::Submitted)
            }
            Request::List(ListRequest::Info) => Response::List(ListResponse::Info(Info {
                final_height: Height(self.tip()),
                time: UnixMillis(1),
                version: Line::new("test"),
                state: None,
            })),
            Request::List(_) => Response::List(ListResponse::Error(Error::Busy)),
            Request::Repair(_) => Response::Repair(RepairResponse::Taken),
            Request::Offer(_) => Response::Offer(OfferResponse::Durable(vec![ItemId::new([5; 32])])),
            Request::Status(_) => unreachable!("answered inside"),
        }
    }
}

/// A store is answered with its own record, everything else with *busy*.
fn answer_tunnel(request: SwarmRequest) -> SwarmResponse {
    match request {
        SwarmRequest::Store { record, .. } => {
            let records = vec![StoredRecord { seq: 1, record }];
            SwarmResponse::Records(Records { epoch: 1, records, next_seq: 1, more: false, syncing: false })
        }
        _ => SwarmResponse::Error(Error::Busy),
    }
}

/// One event of one of the hosts, or none for a moment. The `next` of all others are dropped, at whatever they were.
async fn step(hosts: &mut [Host]) {
    let events = select_all(hosts.iter_mut().map(|host| Box::pin(host.network.next())));
    let first = tokio::time::timeout(Duration::from_millis(10), events).await.map(|(event, index, _)| (event, index));
    if let Ok((event, index)) = first {
        hosts[index].on(event);
    }
}

/// Drives the hosts until `done`.
pub(crate) async fn until(hosts: &mut [Host], what: &str, mut done: impl FnMut(&mut [Host]) -> bool) {
    let end = tokio::time::Instant::now() + DEADLINE;
    while !done(hosts) {
        assert!(tokio::time::Instant::now() < end, "not in {DEADLINE:?}: {what}");
        step(hosts).await;
    }
}

/// Drives the hosts for a while: for what must *not* happen.
pub(crate) async fn drive_for(hosts: &mut [Host], time: Duration) {
    let end = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < end {
        step(hosts).await;
    }
}
