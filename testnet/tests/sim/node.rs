//! A simulated node: the machine of production, its disk, and the rules by which the event loop drives both.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use sotto_node::event_loop::persisting::Held;
use sotto_node::keys::KeyDirectory;
use sotto_node::service_node::{
    ChainUpdate, Identity, Input, KeyRing, MailLimits, Output, ServiceNode, Settings, Token,
};
use sotto_node::store::mail::Found;
use sotto_node::store::{Batch, Write};
use sotto_proto::id::NodeId;
use sotto_proto::sign::SigningKey;
use sotto_proto::time::{Monotonic, Now, UnixMillis};
use zeroize::Zeroizing;

use super::bugs::Bug;
use super::chain::{Chain, address, key};
use super::dice::Dice;
use super::disk::{Disk, Done, Job};

/// Wall clock at the beginning of a simulation: the last block of [`Chain::begin`] is new then.
pub(crate) const START: UnixMillis = UnixMillis(1_790_000_000_000 + 130_000);

/// What stays when a process ends.
pub(crate) struct Machine {
    pub(crate) index: usize,
    /// The number of its key.
    pub(crate) number: usize,
    key: SigningKey,
    pub(crate) disk: Disk,
    /// How many milliseconds its clock is ahead.
    pub(crate) skew: i64,
    /// The process, while there is one.
    pub(crate) process: Option<Process>,
    /// Counts the processes: what was meant for an earlier one is lost.
    pub(crate) incarnation: u32,
    /// Its disk takes so much longer.
    pub(crate) disk_delay: Duration,
    /// The chain as its blocks on disk say.
    known: ChainUpdate,
    bug: Option<Bug>,
}

/// A running process.
pub(crate) struct Process {
    pub(crate) machine: ServiceNode,
    held: Held,
    /// Alarms before this are not rung: the machine has set another.
    pub(crate) alarm: Option<Monotonic>,
    /// Gossip that it has heard or published, by hash.
    heard: BTreeSet<u64>,
}

/// What a node wants of the world.
#[derive(Debug)]
pub(crate) enum Want {
    /// What the machine wants sent, judged, answered.
    Output(Output),
    /// Tell it that its time has come.
    Alarm(Monotonic),
    /// Held writes are due.
    Held(Monotonic),
    /// The disk has begun a job.
    Disk,
    /// What this node persisted is, as far as its machine knows, on disk.
    Told(Vec<Token>),
}

impl Machine {
    pub(crate) fn new(index: usize, number: usize, chain: &Chain, bug: Option<Bug>) -> Self {
        Self {
            index,
            number,
            key: key("node", number),
            disk: Disk::default(),
            skew: 0,
            process: None,
            incarnation: 0,
            disk_delay: Duration::ZERO,
            known: chain.update(),
            bug,
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.key.node_id()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    pub(crate) fn now(&self, at: Monotonic) -> Now {
        let millis = u64::try_from(at.0.as_millis()).unwrap();
        Now { monotonic: at, wall: UnixMillis((START.0 + millis).saturating_add_signed(self.skew)) }
    }

    /// The process begins, with what is on disk.
    pub(crate) fn start(&mut self, keys: &KeyDirectory, chain: &Chain, dice: &mut Dice, at: Monotonic) -> Vec<Want> {
        self.incarnation += 1;
        self.disk.failing = false;
        let identity = Identity { node: key("node", self.number), operator: None };
        let settings = Settings {
            addresses: vec![address(self.number)],
            region: "eu".parse().unwrap(),
            register: false,
            stake: None,
            version: 1,
            mail: MailLimits::default(),
        };
        let ring = KeyRing::load(keys, None).unwrap();
        let seed = match self.bug {
            Some(Bug::SameEpochAfterWipe) => Zeroizing::new([7; 32]),
            _ => Zeroizing::new(dice.bytes()),
        };
        let machine = ServiceNode::new(identity, settings, ring, &seed, self.now(at));
        self.process = Some(Process { machine, held: Held::default(), alarm: None, heard: BTreeSet::new() });
        let mut wants = self.write_anchors(chain);
        wants.extend(self.tell(Input::Chain(Box::new(self.known.clone())), at));
        wants
    }

    /// The chain moved on, for this node.
    pub(crate) fn follow(&mut self, chain: &Chain, at: Monotonic) -> Vec<Want> {
        if self.bug == Some(Bug::StaleMap) && self.index.is_multiple_of(3) {
            return Vec::new();
        }
        if !self.is_up() {
            return Vec::new();
        }
        self.known = chain.update();
        let mut wants = self.write_anchors(chain);
        wants.extend(self.tell(Input::Chain(Box::new(self.known.clone())), at));
        wants
    }

    /// Blocks are written by the chain's thread and synced by whoever syncs next. Of all blocks only these are asked for.
    fn write_anchors(&mut self, chain: &Chain) -> Vec<Want> {
        let blocks = chain.anchors().iter().rev().take(4);
        let writes = blocks
            .map(|(height, (hash, bytes))| Write::PutBlock { height: *height, hash: *hash, bytes: bytes.clone() })
            .collect();
        self.queue(Job::Write(Batch { writes }))
    }

    fn queue(&mut self, job: Job) -> Vec<Want> {
        if self.disk.push(job) { vec![Want::Disk] } else { Vec::new() }
    }

    /// The process ends; nobody is told anything.
    pub(crate) fn stop(&mut self) {
        self.process = None;
        self.incarnation += 1;
    }

    /// Tells the machine what happened; what it wants of its own disk is done here, the rest comes back.
    pub(crate) fn tell(&mut self, input: Input, at: Monotonic) -> Vec<Want> {
        let now = self.now(at);
        let Some(process) = &mut self.process else { return Vec::new() };
        let outputs = process.machine.handle(input, now);
        let mut wants = Vec::new();
        for output in outputs.into_iter().flat_map(|output| self.spoil_output(output)).collect::<Vec<_>>() {
            match output {
                Output::Persist { batch, token, sync } => {
                    let Some(process) = &mut self.process else { break };
                    assert!(batch.keys.is_empty(), "no key changes in a simulation");
                    if self.bug == Some(Bug::AcknowledgeBeforeWriting) {
                        wants.push(Want::Told(vec![token]));
                    }
                    match process.held.add(batch.batch, token, sync, now.monotonic) {
                        Some((batch, tokens)) => wants.extend(self.queue(Job::Persist(batch, tokens))),
                        None => wants.extend(process.held.due().map(Want::Held)),
                    }
                }
                Output::LookUp { token, lookup } => {
                    if Held::is_waited_for_by(&lookup) {
                        wants.extend(self.persist_held());
                    }
                    wants.extend(self.queue(Job::LookUp(token, lookup)));
                }
                Output::WakeAt(at) => {
                    if let Some(process) = &mut self.process {
                        process.alarm = Some(at);
                    }
                    wants.push(Want::Alarm(at));
                }
                output => wants.push(Want::Output(output)),
            }
        }
        wants
    }

    /// Held writes go to the disk, if they have been held long enough.
    pub(crate) fn persist_held_if_due(&mut self, at: Monotonic) -> Vec<Want> {
        let due = self.process.as_ref().and_then(|process| process.held.due()).is_some_and(|due| due <= at);
        if due { self.persist_held() } else { Vec::new() }
    }

    fn persist_held(&mut self) -> Vec<Want> {
        let taken = self.process.as_mut().and_then(|process| process.held.take());
        taken.map(|(batch, tokens)| self.queue(Job::Persist(batch, tokens))).unwrap_or_default()
    }

    /// The disk has done its first job.
    pub(crate) fn disk_done(&mut self, at: Monotonic) -> Vec<Want> {
        let honest = self.bug != Some(Bug::SkipTheSync);
        let mut wants = match self.disk.serve(honest) {
            Done::Durable(tokens) => self.durable(tokens, at),
            Done::Failed(tokens) => self.not_durable(tokens, at),
            Done::Found(token, _) if self.bug == Some(Bug::LoseFound) && token.0.is_multiple_of(8) => Vec::new(),
            Done::Found(token, found) => self.tell(Input::Found { token, found: self.spoil_found(found) }, at),
            Done::Nothing => Vec::new(),
        };
        // Whoever found it busy did not wake it.
        if !self.disk.is_idle() && !wants.iter().any(|want| matches!(want, Want::Disk)) {
            wants.push(Want::Disk);
        }
        wants
    }

    pub(crate) fn durable(&mut self, mut tokens: Vec<Token>, at: Monotonic) -> Vec<Want> {
        if self.bug == Some(Bug::ForgetTheHeld) {
            tokens.drain(..tokens.len().saturating_sub(1));
        }
        tokens.into_iter().flat_map(|token| self.tell(Input::Durable(token), at)).collect()
    }

    fn not_durable(&mut self, tokens: Vec<Token>, at: Monotonic) -> Vec<Want> {
        let reason = "no space left on device".to_owned();
        let mut wants = self.tell(Input::StorageFailed(reason.clone()), at);
        for token in tokens {
            wants.extend(self.tell(Input::NotDurable { token, reason: reason.clone() }, at));
        }
        wants
    }

    /// Whether gossip is new to this process.
    pub(crate) fn hears(&mut self, message: &Arc<[u8]>) -> bool {
        let mut hash = DefaultHasher::new();
        message.hash(&mut hash);
        self.process.as_mut().is_some_and(|process| process.heard.insert(hash.finish()))
    }

    /// The view it goes by.
    pub(crate) fn view(&self) -> &Arc<sotto_proto::network::NetworkView> {
        &self.known.view
    }

    pub(crate) const fn bug(&self) -> Option<Bug> {
        self.bug
    }

    fn spoil_output(&self, output: Output) -> Vec<Output> {
        match self.bug {
            Some(bug) => bug.output(output),
            None => vec![output],
        }
    }

    fn spoil_found(&self, found: Found) -> Found {
        match self.bug {
            Some(bug) => bug.found(found),
            None => found,
        }
    }
}
