//! The event loop: the network on one side, the machine in the middle, chain and storage threads on the other.
//!
//! Nothing here decides anything, and nothing here waits for a disk. What is held is bounded:
//!
//! | what | bound |
//! | --- | --- |
//! | lots of blocks for the chain thread | [`chain_thread::QUEUE`]; beyond it gossip is ignored, sync asks again |
//! | writes that nobody waits for | as [`persisting`] says; they go at once beyond it |
//! | commands for the storage thread | [`crate::store::writer::QUEUE`]; beyond it *busy* |
//! | answers that wait for stored blocks | [`READS`], of strangers [`READS_OF_STRANGERS`]; beyond it *busy* |
//! | gossip that waits for a verdict | none waits: the machine judges at once |
//! | reads of mail | as many as the machine asks for ([`crate::service_node::mail`]) |
//! | questions of HTTP and the admin socket | [`crate::http::QUEUE`]; beyond it 503 |
//! | events for the operator's command | as [`crate::on_event`] says; beyond it the oldest are dropped |
//! | own requests without an answer | as many as [`Network`] allows |

mod inserting;
mod kill_point;
mod mail;
mod outlet;
pub mod persisting;
mod questions;
mod serving;
mod status;
mod surveying;
mod telling;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sotto_behaviours::clock::Clock;
use sotto_behaviours::network::{
    Event as NetEvent, FetchId, GossipId, Network, Request, RequestError, RequestId, SendError,
};
use sotto_behaviours::onion::build::HopSecrets;
use sotto_chain::Equivocation;
use sotto_proto::id::{Height, NodeId};
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::request::{OfferRequest, SwarmRequest};
use sotto_proto::time::Monotonic;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use self::kill_point::{KillPoint, Probe};
pub use self::outlet::Outlet;
use self::persisting::Held;
use self::serving::{Asker, Reads, Served};
pub use self::status::About;
use self::status::Standing;
use self::telling::Telling;
use crate::chain_thread::{self, ChainHandle};
use crate::http::Question;
use crate::service_node::{
    CommandId, Gossip, Incoming, Input, Outgoing, Output, Refusal, ReplyId, ServiceNode, Tag, To, Token, Tunnel,
};
use crate::status::survey::SurveyStatus;
use crate::store::StoreError;
use crate::store::mail::Found;
use crate::store::writer::StoreHandle;
use crate::{metrics, process};

/// Answers from stored blocks under way; each holds up to 1 MiB.
pub const READS: usize = 16;
/// Those of askers that are no nodes.
pub const READS_OF_STRANGERS: usize = 12;
/// Things the storage thread may have said and the loop not heard; the thread waits when there are more.
const STORED: usize = 64;

/// Between two warnings of what peers do.
const WARN_INTERVAL: Duration = Duration::from_secs(10);

/// Where a lot of blocks came from, to tell its source what became of it.
#[derive(Debug)]
pub enum Source {
    /// Chain sync fetched it.
    Fetch(FetchId),
    /// A peer gossiped it.
    Gossip {
        /// Who.
        from: NodeId,
        /// Which message.
        gossip: GossipId,
    },
}

/// What the storage thread says.
enum Stored {
    Durable(Vec<Token>, Result<(), StoreError>),
    Read(Box<Served>),
    Found(Token, Box<Found>),
}

/// What the loop is made of.
#[derive(Debug)]
pub struct Parts {
    /// The network.
    pub network: Network,
    /// The machine.
    pub machine: ServiceNode,
    /// The clock the machine is told.
    pub clock: Clock,
    /// What never changes, for the status.
    pub about: About,
    /// The way to the chain thread.
    pub chain: ChainHandle<Source>,
    /// What it says.
    pub chain_events: mpsc::Receiver<chain_thread::Event<Source>>,
    /// The way to the storage thread.
    pub store: StoreHandle,
    /// Questions from outside.
    pub questions: mpsc::Receiver<Question>,
    /// Where the network hears of new keys for paths and tunnels.
    pub secrets: watch::Sender<Arc<HopSecrets>>,
}

/// The loop.
pub struct EventLoop {
    parts: Parts,
    stored: mpsc::Receiver<Stored>,
    stored_sender: mpsc::Sender<Stored>,
    held: Held,
    /// Where the machine's answers to peers go.
    replies: BTreeMap<ReplyId, Asker>,
    /// Answers from stored blocks under way.
    reads: Reads,
    /// Own requests without an answer, under the network's names.
    requests: BTreeMap<RequestId, Tag>,
    commands: BTreeMap<CommandId, oneshot::Sender<Result<(), Refusal>>>,
    surveys: BTreeMap<CommandId, oneshot::Sender<Result<SurveyStatus, Refusal>>>,
    /// Gossip that the machine is judging: one message, within one turn.
    gossip: BTreeMap<Gossip, GossipId>,
    next_number: u64,
    alarm: Option<Monotonic>,
    tip: Height,
    listening: Option<NodeAddr>,
    standing: Option<Standing>,
    /// When it is looked at next.
    look_at: Instant,
    warned_at: Option<Instant>,
    /// Changes of the keys that the network was told of.
    key_changes: u64,
    /// Since when peers are connected; as many as connections are allowed.
    connected_at: BTreeMap<NodeId, Instant>,
    /// What is known against the producer, oldest first; as many as the follower keeps.
    evidence: Vec<Equivocation>,
    evidence_logged_at: Option<Instant>,
    /// If the operator has a command for it.
    telling: Option<Telling>,
    /// For tests.
    probe: Probe,
    /// For nodes that are to misbehave.
    outlet: Option<Outlet>,
}

impl std::fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLoop").field("tip", &self.tip).finish_non_exhaustive()
    }
}

/// One turn of the loop.
enum Turn {
    Network(NetEvent),
    Chain(chain_thread::Event<Source>),
    Stored(Stored),
    Question(Question),
    Alarm,
    HeldLongEnough,
    Look,
    Stop,
}

impl EventLoop {
    /// A loop over `parts`.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let (stored_sender, stored) = mpsc::channel(STORED);
        Self {
            parts,
            stored,
            stored_sender,
            held: Held::default(),
            replies: BTreeMap::new(),
            reads: Reads::default(),
            requests: BTreeMap::new(),
            commands: BTreeMap::new(),
            surveys: BTreeMap::new(),
            gossip: BTreeMap::new(),
            next_number: 0,
            alarm: None,
            tip: Height::ZERO,
            listening: None,
            standing: None,
            look_at: Instant::now(),
            warned_at: None,
            key_changes: 0,
            connected_at: BTreeMap::new(),
            evidence: Vec::new(),
            evidence_logged_at: None,
            telling: None,
            probe: Box::new(|_| {}),
            outlet: None,
        }
    }

    /// Has each [`KillPoint`] told to `probe`.
    #[must_use]
    pub fn with_probe(mut self, probe: Probe) -> Self {
        self.probe = probe;
        self
    }

    /// Takes over what was known against the producer before.
    #[must_use]
    pub fn with_evidence(mut self, evidence: Vec<Equivocation>) -> Self {
        self.evidence = evidence;
        self
    }

    /// Tells the machine `first`, then runs until `shutdown`. Whether the machine was draining then: the next one on
    /// the same data directory goes on with that.
    pub async fn run(mut self, first: Input, shutdown: CancellationToken) -> bool {
        if let Input::Chain(update) = &first {
            self.tip = update.tip.height();
        }
        self.tell(first);
        loop {
            let turn = self.next(&shutdown).await;
            let began = Instant::now();
            match turn {
                Turn::Network(event) => self.on_network(event),
                Turn::Chain(event) => self.on_chain(event),
                Turn::Stored(stored) => self.on_stored(stored),
                Turn::Question(question) => self.on_question(question, &shutdown),
                Turn::Alarm => {
                    self.alarm = None;
                    self.tell(Input::WakeUp);
                }
                Turn::HeldLongEnough => {
                    let failed = self.persist_held();
                    self.tell_all(failed);
                }
                Turn::Look => self.look(),
                Turn::Stop => {
                    self.persist_held(); // nobody is told any more
                    self.parts.network.drain().await;
                    return self.parts.machine.drains();
                }
            }
            metrics::loop_busy(began.elapsed());
        }
    }

    async fn next(&mut self, shutdown: &CancellationToken) -> Turn {
        let until = |at: Option<Monotonic>| {
            let wait = at.map(|at| self.parts.clock.until(at));
            async move {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            }
        };
        let (alarm, held) = (until(self.alarm), until(self.held.due()));
        let look = tokio::time::sleep_until(self.look_at.into());
        tokio::select! {
            () = shutdown.cancelled() => Turn::Stop,
            event = self.parts.network.next() => Turn::Network(event),
            event = self.parts.chain_events.recv() => event.map_or(Turn::Stop, Turn::Chain),
            Some(stored) = self.stored.recv() => Turn::Stored(stored),
            Some(question) = self.parts.questions.recv() => Turn::Question(question),
            () = alarm => Turn::Alarm,
            () = held => Turn::HeldLongEnough,
            () = look => Turn::Look,
        }
    }

    fn on_network(&mut self, event: NetEvent) {
        match event {
            NetEvent::Listening(address) => {
                tracing::info!(%address, "listening");
                self.listening = Some(address);
                process::notify("READY=1");
            }
            NetEvent::PeerConnected { node, registered } => {
                tracing::debug!(node = node.short(), registered, "connected");
                self.connected_at.insert(node, Instant::now());
                self.tell(Input::Connected(node));
                self.tell_network();
            }
            NetEvent::PeerDisconnected { node } => {
                tracing::debug!(node = node.short(), "disconnected");
                self.connected_at.remove(&node);
                self.tell(Input::Disconnected(node));
                self.tell_network();
            }
            NetEvent::OtherGenesis { node } => {
                tracing::debug!(node = node.short(), "the peer is of another chain");
                self.tell(Input::OtherGenesis(node));
            }
            NetEvent::Block { from, gossip, bytes } => {
                self.insert(Source::Gossip { from, gossip }, vec![bytes]);
            }
            NetEvent::Blocks { fetch, blocks, .. } => self.insert(Source::Fetch(fetch), blocks),
            NetEvent::SwarmMessage { gossip, bytes, .. } => self.on_swarm_message(gossip, bytes),
            NetEvent::Request { from, request, reply } => {
                let id = ReplyId(self.number());
                let asker = Asker::Peer { reply, of_node: self.parts.network.is_node(&from) };
                self.replies.insert(id, asker);
                self.tell(Input::Received { from, message: Incoming::Request { reply: id, request } });
            }
            NetEvent::TunnelRequest { tunnel, request: SwarmRequest::List(request) } => {
                let id = ReplyId(self.number());
                self.replies.insert(id, Asker::Tunnel(tunnel));
                let (from, request) = (self.parts.network.local_node(), Request::List(request));
                self.tell(Input::Received { from, message: Incoming::Request { reply: id, request } });
            }
            NetEvent::TunnelRequest { tunnel, request } => {
                self.tell(Input::Tunnel { tunnel: Tunnel(tunnel.number()), request });
            }
            NetEvent::TunnelReady { tunnel } => self.tell(Input::TunnelReady(Tunnel(tunnel.number()))),
            NetEvent::TunnelClosed { tunnel } => self.tell(Input::TunnelClosed(Tunnel(tunnel.number()))),
            NetEvent::Response { from, id, result } => {
                if let Some(tag) = self.requests.remove(&id) {
                    self.tell(Input::Received { from, message: Incoming::Response { tag, result } });
                }
            }
            NetEvent::ClockJudged(_) => self.tell_network(),
        }
    }

    fn on_stored(&mut self, stored: Stored) {
        match stored {
            Stored::Durable(tokens, Ok(())) => {
                (self.probe)(KillPoint::Durable);
                self.tell_all(tokens.into_iter().map(Input::Durable));
                self.tell_keys();
                (self.probe)(KillPoint::Told);
            }
            Stored::Durable(tokens, Err(error)) => self.not_durable(tokens, &error),
            Stored::Read(served) => {
                self.reads.ended(served.of_node);
                self.respond(served.reply, served.response);
            }
            Stored::Found(token, found) => self.tell(Input::Found { token, found: *found }),
        }
    }

    /// Tells the network which keys open paths and tunnels now.
    fn tell_keys(&mut self) {
        let changes = self.parts.machine.key_changes();
        if changes != self.key_changes
            && let Some(secrets) = self.parts.machine.hop_secrets()
        {
            self.key_changes = changes;
            self.parts.secrets.send_replace(Arc::new(secrets));
        }
    }

    fn not_durable(&mut self, tokens: Vec<Token>, error: &StoreError) {
        if let StoreError::Failed(reason) = error {
            self.tell(Input::StorageFailed(reason.clone()));
        }
        let reason = error.to_string();
        self.tell_all(tokens.into_iter().map(|token| Input::NotDurable { token, reason: reason.clone() }));
    }

    /// Logs what peers do wrong, once in a while: they must not fill the log.
    fn warn_of_peer(&mut self, reason: &str, what: &str) {
        let now = Instant::now();
        if self.warned_at.is_none_or(|at| now.duration_since(at) >= WARN_INTERVAL) {
            self.warned_at = Some(now);
            tracing::warn!(reason, "{what}");
        }
    }

    /// Tells the machine how the network is.
    fn tell_network(&mut self) {
        let (counts, clock) = (self.parts.network.counts(), self.parts.network.clock_offset());
        metrics::connections(&counts);
        self.tell(Input::Network { counts, clock });
    }

    /// Tells the machine what happened and does what it says; what fails at once is told in turn.
    fn tell(&mut self, input: Input) {
        self.tell_all([input]);
    }

    fn tell_all(&mut self, inputs: impl IntoIterator<Item = Input>) {
        let mut inputs: VecDeque<_> = inputs.into_iter().collect();
        while let Some(input) = inputs.pop_front() {
            let outputs = self.parts.machine.handle(input, self.parts.clock.now());
            for output in self.let_out(outputs) {
                inputs.extend(self.perform(output));
            }
        }
    }

    fn perform(&mut self, output: Output) -> Vec<Input> {
        match output {
            Output::Send { to, message } => return self.send(to, message).into_iter().collect(),
            Output::Persist { batch, token, sync } => return self.persist(batch, token, sync),
            Output::WakeAt(at) => self.alarm = Some(at),
            Output::LookUp { token, lookup } => return self.look_up(token, lookup),
            Output::Judge { gossip, verdict } => self.judge(gossip, verdict),
            Output::Publish(message) => {
                (self.probe)(KillPoint::Publishing);
                self.parts.network.publish_swarm(message);
                (self.probe)(KillPoint::Published);
            }
            Output::TunnelAnswer { tunnel, response, more } => {
                return self.answer_tunnel(tunnel, response, more).into_iter().collect();
            }
            Output::CloseTunnel(tunnel) => self.close_tunnel(tunnel),
            Output::Surveyed { id, result } => self.tell_of_survey(id, result),
            Output::Answer { id, result } => {
                if let Some(reply) = self.commands.remove(&id) {
                    drop(reply.send(result)); // whoever asked may have gone away
                }
            }
        }
        Vec::new()
    }

    fn send(&mut self, to: To, message: Outgoing) -> Option<Input> {
        let hands = matches!(&message, Outgoing::Request { request: Request::Offer(OfferRequest::Hand(_)), .. });
        let network = &mut self.parts.network;
        let (tag, from, sent) = match (message, to) {
            (Outgoing::Response { reply, response }, _) => {
                self.respond(reply, response);
                return None;
            }
            (Outgoing::Stored { reply, part, from, limit, tip }, _) => {
                self.read(reply, part, from, limit, tip);
                return None;
            }
            (Outgoing::Request { tag, request }, To::Node(node)) => (tag, node, network.request(node, request)),
            (Outgoing::Request { tag, .. }, To::Producer) => (tag, network.local_node(), Err(SendError::NoAddress)),
            (Outgoing::Transaction { tag, bytes }, _) => (tag, network.local_node(), network.submit_transaction(bytes)),
        };
        match sent {
            Ok(id) => {
                self.requests.insert(id, tag);
                if hands {
                    (self.probe)(KillPoint::Handed);
                }
                None
            }
            Err(error) => {
                let error = match error {
                    SendError::NoAddress => RequestError::Unreachable,
                    error => RequestError::Io(error.to_string()),
                };
                Some(Input::Received { from, message: Incoming::Response { tag, result: Err(error) } })
            }
        }
    }

    const fn number(&mut self) -> u64 {
        self.next_number = self.next_number.wrapping_add(1);
        self.next_number
    }
}
