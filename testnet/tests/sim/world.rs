//! The world: virtual time, and everything that happens in it, in one order that the seed decides.
//!
//! | file | what |
//! | --- | --- |
//! | `traffic` | what goes between nodes, and between clients and nodes |
//! | `links` | who is connected with whom |
//! | `faulting` | faults as they happen |
//! | `judging` | the end |

mod faulting;
mod judging;
mod links;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use sotto_behaviours::network::RequestError;
use sotto_node::keys::KeyDirectory;
use sotto_node::service_node::{Gossip, Input, ReplyId, Tag, Token};
use sotto_proto::id::NodeId;
use sotto_proto::network::NetworkView;
use sotto_proto::request::SwarmResponse;
use sotto_proto::time::{Monotonic, UnixMillis};

use super::bugs::Bug;
use super::chain::{BLOCK_TIME_MS, Chain, key};
use super::client::{Client, Talk, Task};
use super::dice::Dice;
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
    /// How a node is linked, and how its clock compares, at the moment when it is told.
    Network(usize),
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
            | Self::Follow(node)
            | Self::Network(node) => Some(*node),
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
    /// The producer's other branch, and the bits of the nodes that are shown it.
    fork: Option<(u64, Chain)>,
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
        let bug_of = |index| plan.liar.filter(|(liar, _)| *liar == index).map(|(_, lie)| lie).or(bug);
        let machine = |(index, (number, _)): (usize, &(usize, _))| Machine::new(index, *number, &chain, bug_of(index));
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
            fork: None,
            map_changed_at: None,
            client_view,
            model: Model::new(chain.id(), plan.liar.map(|(liar, _)| liar)),
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
            Event::Network(node) => self.tell_network(node),
            Event::Follow(node) => {
                // Blocks come from the producer through others: whoever is cut off from most has none.
                if !self.is_cut_off(node) {
                    let shown = self.fork.as_ref().filter(|(nodes, _)| (nodes >> node) & 1 == 1);
                    let chain = shown.map_or(&self.chain, |(_, fork)| fork);
                    let wants = self.nodes[node].follow(chain, self.now);
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
        if let Some(waiting) = self.frozen.get_mut(&node) {
            waiting.push(Event::Input(node, self.nodes[node].incarnation, Box::new(input)));
            return;
        }
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
        if waiting > DISK_QUEUE && !self.model.is_liar(node) {
            self.model.violated("I7", format!("{waiting} jobs wait for node {node}'s disk"));
        }
    }

    fn disk_time(&mut self) -> Duration {
        if self.dice.permille(5) { self.dice.millis(20..200) } else { self.dice.millis(0..4) }
    }

    fn latency(&mut self) -> Duration {
        if self.dice.permille(10) { self.dice.millis(30..400) } else { self.dice.millis(1..12) }
    }

    fn block(&mut self) {
        self.after(Duration::from_millis(BLOCK_TIME_MS), Event::Block);
        if self.stalled {
            return;
        }
        self.chain.produce();
        // Whoever is shown both branches goes by the longer one.
        self.fork = self.fork.take().filter(|(_, fork)| fork.tip().height() >= self.chain.tip().height());
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
