//! The world: virtual time, a network that delays, reorders, doubles and loses, and everything that happens in it, in one
//! order that the seed decides.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use sotto_behaviours::network::{Counts, Request, RequestError, Response, Verdict};
use sotto_behaviours::status::ClockOffset;
use sotto_node::keys::KeyDirectory;
use sotto_node::service_node::{Gossip, Incoming, Input, Outgoing, Output, ReplyId, Tag, To, Token, Tunnel};
use sotto_proto::id::NodeId;
use sotto_proto::limits::CLOCK_OFFSET_MAX;
use sotto_proto::network::NetworkView;
use sotto_proto::request::{ChainResponse, Cursor, SwarmRequest, SwarmResponse};
use sotto_proto::time::{Monotonic, UnixMillis};

use super::bugs::Bug;
use super::chain::{BLOCK_TIME_MS, Chain, key};
use super::client::{Client, Talk, Task};
use super::dice::Dice;
use super::disk::Disk;
use super::faults::{Fault, Plan, SPARE};
use super::model::{Model, Tally, Violation};
use super::node::{Machine, START, Want};

/// How long a request may be without an answer.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at who is connected with whom.
const LINKS: Duration = Duration::from_millis(500);
/// Looks after which a cut connection is found dead: two pings.
const DEAD_AFTER: u32 = 12;
/// Looks after which nodes are told of each other's clocks.
const CLOCKS: u32 = 20;
/// From a change of the map to when everybody goes by it, even those who were cut off for a while.
const MAP_KNOWN: Duration = Duration::from_secs(25);
/// Jobs that may wait for a disk; the storage queue of production, and what one turn of a machine may add to it.
const DISK_QUEUE: usize = 512;

/// Something happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// To the process of this number of a node.
    Input(usize, u32, Box<Input>),
    /// Gossip from another node.
    Gossip(usize, u32, usize, Arc<[u8]>),
    Alarm(usize, u32, Monotonic),
    Held(usize, u32),
    Disk(usize, u32),
    Told(usize, u32, Vec<Token>),
    /// A node may have the newest block now.
    Follow(usize),
    Block,
    Links,
    RequestOver(usize, u32, Tag),
    Client(usize),
    Answer(u64, Box<SwarmResponse>),
    TunnelOver(u64),
    MemberSlow(u64, u64),
    TaskOver(u64),
    Fault(Fault),
    Audit,
    LastPolls,
}

impl Event {
    /// The node whose process deals with it.
    const fn node(&self) -> Option<usize> {
        match self {
            Self::Input(node, ..)
            | Self::Gossip(node, ..)
            | Self::Alarm(node, ..)
            | Self::Held(node, ..)
            | Self::Disk(node, ..)
            | Self::Told(node, ..)
            | Self::Follow(node) => Some(*node),
            _ => None,
        }
    }
}

/// How a simulation ended.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) violations: Vec<Violation>,
    pub(crate) tally: Tally,
    pub(crate) events: u64,
    /// Of everything that happened, in order.
    pub(crate) trace: u64,
    pub(crate) faults: usize,
}

/// Requests without an answer, by who asks.
type Asked = BTreeMap<(usize, u32, Tag), NodeId>;

pub(crate) struct World {
    pub(crate) now: Monotonic,
    queue: BTreeMap<(Monotonic, u64), Event>,
    next: u64,
    pub(crate) dice: Dice,
    pub(crate) plan: Plan,
    pub(crate) chain: Chain,
    stalled: bool,
    /// When the final map last changed, if it did.
    map_changed_at: Option<Monotonic>,
    /// The list as clients know it.
    pub(crate) client_view: Arc<NetworkView>,
    pub(crate) nodes: Vec<Machine>,
    /// Which disk each node has: counts the wipes.
    pub(crate) disks: Vec<u32>,
    keys: Arc<Vec<(usize, KeyDirectory)>>,
    pub(crate) index_of: BTreeMap<NodeId, usize>,
    pub(crate) clients: Vec<Client>,
    pub(crate) model: Model,
    pub(crate) talks: BTreeMap<u64, Talk>,
    pub(crate) tasks: BTreeMap<u64, Task>,
    pub(crate) audited: usize,
    audits: usize,
    /// Which nodes are connected, the lower one first.
    linked: BTreeSet<(usize, usize)>,
    /// For how many looks they were connected and cut.
    cut_for: BTreeMap<(usize, usize), u32>,
    split: Option<u64>,
    one_way: Option<(usize, usize)>,
    loss: u64,
    looks: u32,
    /// What waits for processes that stand still.
    frozen: BTreeMap<usize, Vec<Event>>,
    asked: Asked,
    /// Whose request an answer is to.
    replies: BTreeMap<ReplyId, (usize, u32, Tag)>,
    /// Gossip that is being judged: who brought it.
    judged: BTreeMap<Gossip, (usize, Arc<[u8]>)>,
    hash: DefaultHasher,
    events: u64,
    tracing: bool,
}

impl World {
    pub(crate) fn new(
        seed: u64,
        plan: Plan,
        chain: Chain,
        keys: Arc<Vec<(usize, KeyDirectory)>>,
        bug: Option<Bug>,
        tracing: bool,
    ) -> Self {
        let machine = |(index, (number, _)): (usize, &(usize, _))| Machine::new(index, *number, &chain, bug);
        let nodes: Vec<_> = keys.iter().enumerate().map(machine).collect();
        let index_of = nodes.iter().map(|node| (node.id(), node.index)).collect();
        let clients = (0..plan.clients).map(Client::new).collect();
        let client_view = chain.update().view;
        let mut world = Self {
            now: Monotonic::default(),
            queue: BTreeMap::new(),
            next: 0,
            dice: Dice::new(seed, 2),
            disks: vec![0; nodes.len()],
            stalled: false,
            map_changed_at: None,
            client_view,
            model: Model::new(chain.id()),
            chain,
            nodes,
            keys,
            index_of,
            clients,
            talks: BTreeMap::new(),
            tasks: BTreeMap::new(),
            audited: 0,
            audits: 0,
            linked: BTreeSet::new(),
            cut_for: BTreeMap::new(),
            split: None,
            one_way: None,
            loss: 0,
            looks: 0,
            frozen: BTreeMap::new(),
            asked: BTreeMap::new(),
            replies: BTreeMap::new(),
            judged: BTreeMap::new(),
            hash: DefaultHasher::new(),
            events: 0,
            tracing,
            plan,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for node in 0..self.nodes.len() {
            self.start(node);
        }
        self.after(Duration::from_millis(BLOCK_TIME_MS), Event::Block);
        self.after(Duration::from_millis(10), Event::Links);
        for client in 0..self.clients.len() {
            let pause = self.dice.millis(1_000..2_000);
            self.after(pause, Event::Client(client));
        }
        for (at, fault) in self.plan.faults.clone() {
            self.at(at, Event::Fault(fault));
        }
        self.at(self.plan.last_polls, Event::LastPolls);
        self.at(self.plan.audit, Event::Audit);
    }

    /// Lets everything happen; how it ended.
    pub(crate) fn run(mut self, seed: u64) -> Outcome {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if at > self.plan.length || !self.model.violations.is_empty() {
                break;
            }
            self.now = at;
            self.events += 1;
            (at.0.as_micros(), std::mem::discriminant(&event)).hash(&mut self.hash);
            self.happen(event);
        }
        if self.model.violations.is_empty() {
            self.judge();
        }
        Outcome {
            seed,
            violations: self.model.violations,
            tally: self.model.tally,
            events: self.events,
            trace: self.hash.finish(),
            faults: self.plan.faults.len(),
        }
    }

    fn happen(&mut self, event: Event) {
        if let Some(waiting) = event.node().and_then(|node| self.frozen.get_mut(&node)) {
            waiting.push(event);
            return;
        }
        match event {
            Event::Input(node, incarnation, input) => {
                if self.is_same(node, incarnation) {
                    self.tell(node, *input);
                }
            }
            Event::Gossip(node, incarnation, from, message) => self.on_gossip(node, incarnation, from, message),
            Event::Alarm(node, incarnation, at) => {
                let due = self.nodes[node].process.as_ref().is_some_and(|process| process.alarm == Some(at));
                if due && self.is_same(node, incarnation) {
                    self.tell(node, Input::WakeUp);
                }
            }
            Event::Held(node, incarnation) => {
                if self.is_same(node, incarnation) {
                    let wants = self.nodes[node].persist_held_if_due(self.now);
                    self.perform(node, wants);
                }
            }
            Event::Disk(node, incarnation) => {
                if self.is_same(node, incarnation) {
                    let wants = self.nodes[node].disk_done(self.now);
                    self.perform(node, wants);
                }
            }
            Event::Told(node, incarnation, tokens) => {
                if self.is_same(node, incarnation) {
                    let wants = self.nodes[node].durable(tokens, self.now);
                    self.perform(node, wants);
                }
            }
            Event::Follow(node) => {
                // Blocks come from the producer through others: whoever is cut off from most has none.
                if !self.is_cut_off(node) {
                    let wants = self.nodes[node].follow(&self.chain, self.now);
                    self.perform(node, wants);
                }
            }
            Event::Block => self.block(),
            Event::Links => self.look_at_links(),
            Event::RequestOver(node, incarnation, tag) => {
                self.respond_to(node, incarnation, tag, Err(RequestError::Timeout));
            }
            Event::Client(client) => self.client_acts(client),
            Event::Answer(tunnel, response) => self.answered(tunnel, *response),
            Event::TunnelOver(tunnel) => self.tunnel_over(tunnel),
            Event::MemberSlow(task, tunnel) => self.member_slow(task, tunnel),
            Event::TaskOver(task) => self.task_over(task),
            Event::Fault(fault) => self.suffer(fault),
            Event::Audit => self.begin_audit(),
            Event::LastPolls => self.last_polls(),
        }
    }

    /// Says something of what happens, where one simulation is looked at.
    pub(crate) fn trace(&self, what: impl FnOnce() -> String) {
        if self.tracing {
            println!("{:>11.6}  {}", self.now.0.as_secs_f64(), what());
        }
    }

    pub(crate) fn at(&mut self, at: Monotonic, event: Event) {
        self.next += 1;
        self.queue.insert((at.max(self.now), self.next), event);
    }

    pub(crate) fn after(&mut self, wait: Duration, event: Event) {
        self.at(self.now.plus(wait), event);
    }

    pub(crate) const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The time of day by no node's clock.
    pub(crate) fn true_time(&self) -> UnixMillis {
        UnixMillis(START.0 + u64::try_from(self.now.0.as_millis()).unwrap())
    }

    fn is_same(&self, node: usize, incarnation: u32) -> bool {
        self.nodes[node].is_up() && self.nodes[node].incarnation == incarnation
    }

    fn tell(&mut self, node: usize, input: Input) {
        let wants = self.nodes[node].tell(input, self.now);
        self.perform(node, wants);
    }

    fn perform(&mut self, node: usize, wants: Vec<Want>) {
        let incarnation = self.nodes[node].incarnation;
        for want in wants {
            match want {
                Want::Alarm(at) => self.at(at, Event::Alarm(node, incarnation, at)),
                Want::Held(at) => self.at(at, Event::Held(node, incarnation)),
                Want::Disk => {
                    let wait = self.nodes[node].disk_delay + self.disk_time();
                    self.after(wait, Event::Disk(node, incarnation));
                }
                Want::Told(tokens) => self.after(Duration::ZERO, Event::Told(node, incarnation, tokens)),
                Want::Output(output) => self.output(node, output),
            }
        }
        let waiting = self.nodes[node].disk.waiting();
        if waiting > DISK_QUEUE {
            self.model.violated("I7", format!("{waiting} jobs wait for node {node}'s disk"));
        }
    }

    fn disk_time(&mut self) -> Duration {
        if self.dice.permille(5) { self.dice.millis(20..200) } else { self.dice.millis(0..4) }
    }

    fn latency(&mut self) -> Duration {
        if self.dice.permille(10) { self.dice.millis(30..400) } else { self.dice.millis(1..12) }
    }

    /// Whether a message from one node gets to the other.
    fn arrives(&mut self, from: usize, to: usize) -> bool {
        !self.is_cut(from, to) && !self.dice.permille(self.loss)
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        let split = self.split.is_some_and(|split| (split >> from) & 1 != (split >> to) & 1);
        split || self.one_way == Some((from, to))
    }

    /// Whether a node is on the smaller side of a split network, where no blocks are.
    fn is_cut_off(&self, node: usize) -> bool {
        let Some(split) = self.split else { return false };
        let side = (0..self.nodes.len()).filter(|other| (split >> other) & 1 == (split >> node) & 1).count();
        2 * side < self.nodes.len()
    }

    fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Send { to, message } => self.send(node, to, message),
            Output::TunnelAnswer { tunnel, response, more } => self.tunnel_answer(node, tunnel, response, more),
            Output::CloseTunnel(tunnel) => {
                let wait = self.latency();
                self.after(wait, Event::TunnelOver(tunnel.0));
            }
            Output::Judge { gossip, verdict } => self.on_verdict(node, gossip, verdict),
            Output::Publish(message) => {
                let message = Arc::from(message);
                self.nodes[node].hears(&message);
                self.gossip(node, &message, None);
            }
            Output::Answer { .. } | Output::Persist { .. } | Output::LookUp { .. } | Output::WakeAt(_) => {}
        }
    }

    /// Gossip goes to every member that is connected, and each that accepts it passes it on.
    fn gossip(&mut self, from: usize, message: &Arc<[u8]>, not_to: Option<usize>) {
        let mates = self.nodes[from].view().swarm_mates(&self.nodes[from].id());
        for mate in mates {
            let Some(to) = self.index_of.get(&mate).copied() else { continue };
            if to == from || Some(to) == not_to || !self.is_linked(from, to) || !self.arrives(from, to) {
                continue;
            }
            let wait = self.latency();
            self.after(wait, Event::Gossip(to, self.nodes[to].incarnation, from, Arc::clone(message)));
        }
    }

    /// Gossip came. Each message is told once.
    fn on_gossip(&mut self, node: usize, incarnation: u32, from: usize, message: Arc<[u8]>) {
        if !self.is_same(node, incarnation) || !self.nodes[node].hears(&message) {
            return;
        }
        let gossip = Gossip(self.number());
        let bytes = message.to_vec();
        self.judged.insert(gossip, (from, message));
        self.tell(node, Input::Gossip { gossip, bytes });
    }

    fn on_verdict(&mut self, node: usize, gossip: Gossip, verdict: Verdict) {
        let Some((from, message)) = self.judged.remove(&gossip) else { return };
        match verdict {
            Verdict::Accept => self.gossip(node, &message, Some(from)),
            Verdict::Ignore => self.trace(|| format!("node {node} ignores gossip of node {from}")),
            Verdict::Reject => {
                self.model.violated("I9", format!("node {node} blames node {from} for what it gossiped"))
            }
        }
    }

    fn send(&mut self, node: usize, to: To, message: Outgoing) {
        let (own, incarnation) = (self.nodes[node].id(), self.nodes[node].incarnation);
        match (message, to) {
            (Outgoing::Request { tag, request }, To::Node(to)) => self.request(node, to, tag, request),
            (Outgoing::Request { tag, .. }, To::Producer) => {
                self.asked.insert((node, incarnation, tag), own);
                self.answer(node, incarnation, tag, Err(RequestError::Unreachable));
            }
            (Outgoing::Transaction { tag, bytes }, _) => {
                let reachable = !self.is_cut_off(node) && !self.dice.permille(self.loss);
                if reachable {
                    self.chain.submit(&bytes);
                }
                let submitted = Response::Chain(ChainResponse::Submitted);
                self.asked.insert((node, incarnation, tag), own);
                self.answer(
                    node,
                    incarnation,
                    tag,
                    if reachable { Ok(submitted) } else { Err(RequestError::Unreachable) },
                );
            }
            (Outgoing::Response { reply, response }, _) => {
                let Some((asker, of, tag)) = self.replies.remove(&reply) else { return };
                self.trace(|| format!("node {node} answers {asker}: {}", short(&format!("{response:?}"))));
                if self.arrives(node, asker) {
                    self.answer(asker, of, tag, Ok(response));
                }
            }
            // Nobody asks for blocks here.
            (Outgoing::Stored { .. }, _) => {}
        }
    }

    fn request(&mut self, from: usize, to: NodeId, tag: Tag, request: Request) {
        let incarnation = self.nodes[from].incarnation;
        self.trace(|| format!("node {from} asks {}: {}", to.short(), short(&format!("{request:?}"))));
        self.asked.insert((from, incarnation, tag), to);
        let Some(to) = self.index_of.get(&to).copied().filter(|to| self.is_linked(from, *to)) else {
            return self.answer(from, incarnation, tag, Err(RequestError::Unreachable));
        };
        self.after(REQUEST_PATIENCE, Event::RequestOver(from, incarnation, tag));
        if !self.arrives(from, to) {
            return;
        }
        // The network lets only members of the own swarm compare.
        let own = self.nodes[to].id();
        let admitted = match request {
            Request::Repair(_) => self.nodes[to].view().swarm_mates(&own).contains(&self.nodes[from].id()),
            _ => self.nodes[to].view().is_registered(&self.nodes[from].id()),
        };
        if !admitted {
            return self.answer(from, incarnation, tag, Err(RequestError::Unsupported));
        }
        let reply = ReplyId(self.number());
        self.replies.insert(reply, (from, incarnation, tag));
        let message = Incoming::Request { reply, request };
        let input = Input::Received { from: self.nodes[from].id(), message };
        let wait = self.latency();
        self.after(wait, Event::Input(to, self.nodes[to].incarnation, Box::new(input)));
    }

    /// An answer is on its way. Only the first one counts, and none comes to a process that has ended.
    fn answer(&mut self, node: usize, incarnation: u32, tag: Tag, result: Result<Response, RequestError>) {
        let Some(from) = self.asked.remove(&(node, incarnation, tag)) else { return };
        let (wait, message) = (self.latency(), Incoming::Response { tag, result });
        self.after(wait, Event::Input(node, incarnation, Box::new(Input::Received { from, message })));
    }

    fn respond_to(&mut self, node: usize, incarnation: u32, tag: Tag, result: Result<Response, RequestError>) {
        if let Some(from) = self.asked.remove(&(node, incarnation, tag))
            && self.is_same(node, incarnation)
        {
            let message = Incoming::Response { tag, result };
            self.tell(node, Input::Received { from, message });
        }
    }

    // Tunnels.

    /// A client's question gets to a node, or does not.
    pub(crate) fn ask_through(&mut self, tunnel: u64, node: usize, incarnation: u32, request: SwarmRequest) {
        if !self.nodes[node].is_up() {
            let wait = self.latency();
            return self.after(wait, Event::TunnelOver(tunnel));
        }
        if self.dice.permille(self.loss) {
            return;
        }
        let wait = self.latency();
        let input = Input::Tunnel { tunnel: Tunnel(tunnel), request };
        self.after(wait, Event::Input(node, incarnation, Box::new(input)));
    }

    fn tunnel_answer(&mut self, node: usize, tunnel: Tunnel, response: SwarmResponse, more: bool) {
        if !self.talks.contains_key(&tunnel.0) {
            return;
        }
        let wait = self.latency();
        if self.dice.permille(self.loss) {
            // A stream that loses something ends.
            return self.after(wait, Event::TunnelOver(tunnel.0));
        }
        self.after(wait, Event::Answer(tunnel.0, Box::new(response)));
        if more {
            let incarnation = self.nodes[node].incarnation;
            self.after(wait, Event::Input(node, incarnation, Box::new(Input::TunnelReady(tunnel))));
        }
    }

    /// The node hears that a tunnel has ended.
    pub(crate) fn close(&mut self, tunnel: u64, talk: &Talk) {
        let wait = self.latency();
        let input = Input::TunnelClosed(Tunnel(tunnel));
        self.after(wait, Event::Input(talk.node, talk.incarnation, Box::new(input)));
    }

    // The chain.

    fn block(&mut self) {
        self.after(Duration::from_millis(BLOCK_TIME_MS), Event::Block);
        if self.stalled {
            return;
        }
        self.chain.produce();
        self.spread_block();
    }

    fn spread_block(&mut self) {
        let view = self.chain.update().view;
        if view.current().swarms != self.client_view.current().swarms {
            self.map_changed_at = Some(self.now);
            self.model.tally.maps += 1;
        }
        self.client_view = view;
        for node in 0..self.nodes.len() {
            if !self.dice.permille(self.loss) {
                let wait = self.dice.millis(1..150);
                self.after(wait, Event::Follow(node));
            }
        }
    }

    // Connections.

    fn is_linked(&self, one: usize, other: usize) -> bool {
        self.linked.contains(&(one.min(other), one.max(other)))
    }

    fn look_at_links(&mut self) {
        self.after(LINKS, Event::Links);
        self.looks += 1;
        let mut changed = BTreeSet::new();
        for one in 0..self.nodes.len() {
            for other in one + 1..self.nodes.len() {
                let up = self.nodes[one].is_up() && self.nodes[other].is_up();
                let whole = !self.is_cut(one, other) && !self.is_cut(other, one);
                let linked = self.linked.contains(&(one, other));
                if linked && up && !whole {
                    let cut_for = self.cut_for.entry((one, other)).or_default();
                    *cut_for += 1;
                    if *cut_for < DEAD_AFTER {
                        continue;
                    }
                }
                self.cut_for.remove(&(one, other));
                if linked != (up && whole) {
                    self.set_link(one, other, up && whole);
                    changed.extend([one, other]);
                }
            }
        }
        for node in 0..self.nodes.len() {
            if self.looks.is_multiple_of(CLOCKS) || changed.contains(&node) {
                self.tell_network(node);
            }
        }
    }

    fn set_link(&mut self, one: usize, other: usize, linked: bool) {
        if linked {
            self.linked.insert((one, other));
        } else {
            self.linked.remove(&(one, other));
        }
        for (node, peer) in [(one, other), (other, one)] {
            let peer = self.nodes[peer].id();
            self.tell(node, if linked { Input::Connected(peer) } else { Input::Disconnected(peer) });
            if !linked {
                let incarnation = self.nodes[node].incarnation;
                let lost: Vec<_> = (self.asked.iter())
                    .filter(|((asker, of, _), asked)| (*asker, *of) == (node, incarnation) && **asked == peer)
                    .map(|((_, _, tag), _)| *tag)
                    .collect();
                for tag in lost {
                    self.respond_to(node, incarnation, tag, Err(RequestError::ConnectionClosed));
                }
            }
        }
    }

    /// A node hears how the network is: how many it is connected with, and how far their clocks are from its own.
    fn tell_network(&mut self, node: usize) {
        let peers: Vec<_> = (0..self.nodes.len()).filter(|other| self.is_linked(node, *other)).collect();
        let own = self.nodes[node].skew;
        let mut offsets: Vec<_> = peers.iter().map(|peer| self.nodes[*peer].skew - own).collect();
        offsets.sort_unstable();
        let clock = (offsets.len() >= 3).then(|| {
            let millis = offsets[offsets.len() / 2];
            let off = u128::from(millis.unsigned_abs()) > CLOCK_OFFSET_MAX.as_millis();
            ClockOffset {
                millis,
                peers: offsets.len(),
                off: off && self.nodes[node].bug() != Some(Bug::ExpireByOwnClock),
            }
        });
        let counts = Counts { established: peers.len(), nodes: peers.len(), ..Counts::default() };
        self.tell(node, Input::Network { counts, clock });
    }

    // Faults.

    fn start(&mut self, node: usize) {
        if self.nodes[node].is_up() {
            return;
        }
        self.look_at_disk(node);
        let wants = self.nodes[node].start(&self.keys[node].1, &self.chain, &mut self.dice, self.now);
        self.perform(node, wants);
    }

    fn look_at_disk(&mut self, node: usize) {
        let (records, time) = (self.nodes[node].disk.records(), self.true_time().seconds());
        // What a node held for another swarm it may have handed over since.
        let since = self.map_changed_at.map(|at| at.plus(MAP_KNOWN)).unwrap_or_default();
        self.model.keeps(node, self.disks[node], &records, (since, time));
    }

    fn stop(&mut self, node: usize) {
        self.nodes[node].stop();
        self.frozen.remove(&node);
        for other in 0..self.nodes.len() {
            let (one, other) = (node.min(other), node.max(other));
            if self.linked.contains(&(one, other)) {
                self.set_link(one, other, false);
            }
        }
        let gone: Vec<_> = self.talks.iter().filter(|(_, talk)| talk.node == node).map(|(tunnel, _)| *tunnel).collect();
        for tunnel in gone {
            let wait = self.latency();
            self.after(wait, Event::TunnelOver(tunnel));
        }
    }

    fn lose_power(&mut self, node: usize) {
        if self.nodes[node].is_up() {
            self.stop(node);
            self.nodes[node].disk.lose_power(&mut self.dice);
        }
    }

    fn suffer(&mut self, fault: Fault) {
        self.trace(|| format!("{fault:?}"));
        match fault {
            Fault::Kill(node) => {
                if self.nodes[node].is_up() {
                    self.stop(node);
                    self.nodes[node].disk.lose_process();
                }
            }
            Fault::PowerLoss(node) => self.lose_power(node),
            Fault::SwarmPowerLoss(swarm) => {
                let members: Vec<_> = (0..self.nodes.len()).filter(|node| self.plan.swarm_of[*node] == swarm).collect();
                members.into_iter().for_each(|node| self.lose_power(node));
            }
            Fault::Wipe(node) => {
                self.stop(node);
                self.nodes[node].disk = Disk::default();
                self.disks[node] += 1;
            }
            Fault::Start(node) => self.start(node),
            Fault::Split(split) => self.split = Some(split),
            Fault::OneWay(from, to) => self.one_way = Some((from, to)),
            Fault::Whole => (self.split, self.one_way) = (None, None),
            Fault::Loss(permille) => self.loss = permille,
            Fault::SlowDisk(node, delay) => self.nodes[node].disk_delay = delay,
            Fault::Skew(node, millis) => {
                self.nodes[node].skew = millis;
                self.tell_network(node);
                if millis == 0 {
                    self.look_at_disk(node);
                }
            }
            Fault::Stall(stalled) => self.stalled = stalled,
            Fault::DiskFails(node) => self.nodes[node].disk.failing = true,
            Fault::Freeze(node, true) => drop(self.frozen.entry(node).or_default()),
            Fault::Freeze(node, false) => {
                for event in self.frozen.remove(&node).into_iter().flatten() {
                    self.after(Duration::ZERO, event);
                }
            }
            Fault::Join(node) => self.chain.register(self.nodes[node].number),
            Fault::Leave(node) => self.chain.request_exit(self.nodes[node].number),
            Fault::Reorganisation(depth) => {
                self.chain.reorganise(depth);
                self.spread_block();
            }
        }
    }

    // The end.

    /// Every member is read from the beginning, for every address of its swarm.
    fn begin_audit(&mut self) {
        for client in 0..self.clients.len() {
            for node in self.members_of(client) {
                self.audits += 1;
                self.audit(client, node, Cursor::default(), BTreeSet::new());
            }
        }
    }

    /// Every member is read once more, from where its reader stands.
    fn last_polls(&mut self) {
        for client in 0..self.clients.len() {
            for node in self.members_of(client) {
                self.poll_at(client, node);
            }
        }
    }

    fn members_of(&self, client: usize) -> Vec<usize> {
        let snapshot = self.client_view.current();
        let swarm = snapshot.swarms.owner(&self.clients[client].address);
        let members = swarm.and_then(|swarm| snapshot.swarms.members(swarm)).unwrap_or_default();
        members.iter().filter_map(|node| self.index_of.get(node).copied()).collect()
    }

    fn judge(&mut self) {
        if self.audited < self.audits {
            let what = format!("{} of {} audits came to an end", self.audited, self.audits);
            self.model.violated("I14", what);
        }
        let time = self.true_time().seconds();
        for client in 0..self.clients.len() {
            self.model.has_read(client, &self.clients[client].seen, self.now, time);
        }
        self.compare_sets();
    }

    /// Members hold equal sets, and agree on the map.
    fn compare_sets(&mut self) {
        let snapshot = Arc::clone(&self.client_view);
        let (height, time) = (snapshot.current().height, self.true_time().seconds());
        for (swarm, members) in snapshot.current().swarms.iter() {
            let mut summaries = BTreeMap::new();
            for node in members.iter().filter_map(|node| self.index_of.get(node).copied()) {
                let Some(process) = &self.nodes[node].process else { continue };
                let summary = process.machine.mail().summary(swarm, height, time);
                summaries.insert(node, summary);
                let view = self.nodes[node].view();
                if view.current().height == height && view.current().swarms != snapshot.current().swarms {
                    self.model.violated("I5", format!("node {node} has another map of block {}", height.0));
                }
            }
            let distinct: BTreeSet<_> = summaries.values().collect();
            if distinct.len() > 1 {
                let counts: Vec<_> = summaries.iter().map(|(node, (count, _))| format!("{node}: {count}")).collect();
                self.model.violated("I4", format!("sets of swarm {swarm} differ ({})", counts.join(", ")));
            }
        }
    }
}

/// The beginning of a text, for traces.
fn short(text: &str) -> &str {
    text.get(..160).unwrap_or(text)
}

/// A number for the swarm of each of the nodes with these keys.
pub(crate) fn swarm_numbers(chain: &Chain, numbers: &[usize]) -> Vec<usize> {
    let update = chain.update();
    let swarms = &update.view.current().swarms;
    let swarm_of = |number: &usize| {
        let id = key("node", *number).node_id();
        swarms.iter().position(|(_, members)| members.contains(&id)).unwrap_or(SPARE)
    };
    numbers.iter().map(swarm_of).collect()
}
