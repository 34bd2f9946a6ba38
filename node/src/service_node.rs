//! The service node as a state machine: [`ServiceNode::handle`] takes what happened and when, and says what to do.
//!
//! No clock, task, channel, disk or randomness of its own is in here, and nothing is remembered that the chain or the
//! disk does not say again after a restart, but that the node is to drain. The event loop runs it against the real
//! world; a simulator runs thousands.
//!
//! | what happens | where it is handled |
//! | --- | --- |
//! | a new tip | [`ServiceNode::handle`]: finals |
//! | anything: what follows from how things stand now | `advancing` |
//! | something the chain should say of the node and does not | [`duties`], sent by [`submitter`] |
//! | the node is not registered: is its clock right? | `clock_check` |
//! | the X25519 key gets old | [`key_ring`], written by `key_steps` |
//! | peers come and go, say how far they are | `peers` |
//! | a peer asks | `requests` |
//! | a client asks through a tunnel, a member gossips or asks, something expires | [`mail`] |
//! | a client listens through a tunnel, another pushes to it | `listening` |
//! | the operator wants something done | `commands` |
//! | the operator asks how peers see it | `survey` |
//! | somebody asks how it is | `report`, judged by `health` |

mod advancing;
mod clock_check;
mod commands;
pub mod duties;
mod health;
pub mod key_ring;
mod key_steps;
mod listening;
pub mod mail;
mod mailing;
pub mod message;
mod peers;
mod report;
mod requests;
pub mod submitter;
mod survey;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sotto_behaviours::network::{Counts, RequestError, Response};
use sotto_behaviours::onion::build::HopSecrets;
use sotto_behaviours::status::ClockOffset;
use sotto_proto::chain::{Account, Region, ServiceNode as Entry};
use sotto_proto::id::{Amount, NodeId, PublicKey, SwarmId};
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::request::ChainResponse;
use sotto_proto::sign::SigningKey;
use sotto_proto::time::{Monotonic, Now};
use zeroize::Zeroizing;

use self::clock_check::ClockCheck;
pub(crate) use self::health::rfc3339;
pub use self::key_ring::{KeyRing, Shown};
use self::key_steps::KeySteps;
pub use self::listening::{Listeners, PushCounts};
pub use self::mail::{Comparison, Drained, Mail, MailCounts, MailLimits};
pub use self::message::{
    ChainUpdate, Command, CommandId, Gossip, Incoming, Input, Outgoing, Output, Part, Refusal, ReplyId, Sync, Tag, To,
    Token, Tunnel,
};
use self::peers::Peers;
pub use self::report::Report;
pub use self::requests::VERSION;
use self::submitter::Submitter;
use self::survey::Surveys;
pub use self::survey::{Listed, PEERS as SURVEY_PEERS, PeerAnswer, PeerView};
use crate::status::FinalStatus;

/// Final blocks whose derived values are shown.
const FINALS: usize = 32;
/// Transactions of the operator that wait for their answers.
const COMMANDS: usize = 32;

/// The keys a node signs with.
#[derive(Debug)]
pub struct Identity {
    /// Its own.
    pub node: SigningKey,
    /// Its operator's, if that is on this machine.
    pub operator: Option<SigningKey>,
}

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where others reach the node; empty if that is not known.
    pub addresses: Vec<NodeAddr>,
    /// Where it says it stands.
    pub region: Region,
    /// Whether it registers itself.
    pub register: bool,
    /// How much it stakes then; `None`: what the chain asks for.
    pub stake: Option<Amount>,
    /// The software's version, as uptime proofs state it.
    pub version: u32,
    /// How much mail the node takes.
    pub mail: MailLimits,
}

/// The machine.
#[derive(Debug)]
pub struct ServiceNode {
    identity: Identity,
    settings: Settings,
    keys: KeyRing,
    rng: ChaCha20Rng,
    chain: Option<Box<ChainUpdate>>,
    peers: Peers,
    submitter: Submitter,
    /// The operator's transactions on their way; at most [`COMMANDS`].
    commands: BTreeMap<Tag, CommandId>,
    key_steps: KeySteps,
    clock_check: ClockCheck,
    surveys: Surveys,
    next_number: u64,
    counts: Counts,
    clock: Option<(ClockOffset, Now)>,
    finals: VecDeque<FinalStatus>,
    storage_failure: Option<String>,
    mail: Mail,
    listeners: Listeners,
    /// The operator wants it to drain: the mail does, or will as soon as it is there.
    drains: bool,
    swarm: Option<SwarmId>,
    /// When that last changed; from the start on.
    swarm_since: Monotonic,
    /// When the tip last changed.
    block_at: Monotonic,
    /// When silence was last answered by asking around.
    asked_at: Monotonic,
    /// The chain has shown the node registered: if that ends, somebody wanted it to.
    was_registered: bool,
    wake_at: Option<Monotonic>,
}

impl ServiceNode {
    /// A node that knows nothing yet. `seed` is all the randomness it will have.
    #[must_use]
    pub fn new(identity: Identity, settings: Settings, keys: KeyRing, seed: &Zeroizing<[u8; 32]>, now: Now) -> Self {
        let mut rng = ChaCha20Rng::from_seed(**seed);
        let mail = Mail::new(settings.mail, &mut rng);
        Self {
            identity,
            settings,
            keys,
            rng,
            chain: None,
            peers: Peers::new(now.monotonic),
            submitter: Submitter::default(),
            commands: BTreeMap::new(),
            key_steps: KeySteps::default(),
            clock_check: ClockCheck::default(),
            surveys: Surveys::default(),
            next_number: 0,
            counts: Counts::default(),
            clock: None,
            finals: VecDeque::new(),
            storage_failure: None,
            mail,
            listeners: Listeners::default(),
            drains: false,
            swarm: None,
            swarm_since: now.monotonic,
            block_at: now.monotonic,
            asked_at: now.monotonic,
            was_registered: false,
            wake_at: None,
        }
    }

    /// The same, and what the operator wanted of the one before it: a database that is opened anew ends no draining.
    #[must_use]
    pub fn with_drain(mut self, drains: bool) -> Self {
        self.drains = drains;
        self
    }

    /// Whether the operator wants it to drain.
    #[must_use]
    pub const fn drains(&self) -> bool {
        self.drains
    }

    /// The node's key.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.identity.node.node_id()
    }

    /// What opens builds of paths and tunnels to this node.
    #[must_use]
    pub fn hop_secrets(&self) -> Option<HopSecrets> {
        self.keys.hop_secrets()
    }

    /// Counts the changes of [`Self::hop_secrets`].
    #[must_use]
    pub const fn key_changes(&self) -> u64 {
        self.keys.changes()
    }

    /// The chain as it is known, if it is.
    #[must_use]
    pub fn chain(&self) -> Option<&ChainUpdate> {
        self.chain.as_deref()
    }

    /// The node after the newest block, if it is registered there.
    #[must_use]
    pub fn entry(&self) -> Option<&Entry> {
        self.chain.as_ref()?.tip.service_node(&self.node_id())
    }

    /// The operator: of the record if there is one, else of the key in the data directory.
    #[must_use]
    pub fn operator(&self) -> Option<PublicKey> {
        let recorded = self.entry().map(|entry| entry.record.operator);
        recorded.or_else(|| self.identity.operator.as_ref().map(SigningKey::public))
    }

    /// Balance and nonce of an account after the newest block.
    #[must_use]
    pub fn account(&self, key: &PublicKey) -> Option<Account> {
        self.chain.as_ref().map(|chain| chain.tip.account(key))
    }

    /// Its swarm under the final map.
    #[must_use]
    pub const fn swarm(&self) -> Option<SwarmId> {
        self.swarm
    }

    /// The last final blocks, newest first.
    pub fn finals(&self) -> impl Iterator<Item = &FinalStatus> {
        self.finals.iter()
    }

    /// Takes in what happened; says what to do.
    #[must_use]
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Output> {
        let mut outputs = Vec::new();
        match input {
            Input::Chain(update) => {
                self.on_chain(update, now);
                self.mail_follows_chain(now, &mut outputs);
            }
            Input::Connected(node) => {
                self.peers.connected(node);
                self.mail.on_connection(node, true);
            }
            Input::Disconnected(node) => {
                self.peers.disconnected(&node);
                self.mail.on_connection(node, false);
            }
            Input::OtherGenesis(_) => self.peers.stranger(),
            Input::Network { counts, clock } => {
                self.peers.count(counts.nodes, now.monotonic);
                (self.counts, self.clock) = (counts, clock.map(|clock| (clock, now)));
            }
            Input::Received { from, message: Incoming::Request { reply, request } } => {
                if let Some(request) = self.on_mail_request(from, reply, request, now, &mut outputs) {
                    let me = self.node_id();
                    let message = requests::answer(&me, self.chain.as_deref(), reply, request, now.wall);
                    outputs.push(Output::Send { to: To::Node(from), message });
                }
            }
            Input::Received { message: Incoming::Response { tag, result }, .. } if mail::is_mail_request(tag) => {
                self.on_mail_response(tag, result, now, &mut outputs);
            }
            Input::Received { message: Incoming::Response { tag, result }, .. } => {
                self.on_response(tag, &result, now, &mut outputs);
            }
            Input::Durable(token) if mail::is_mail(token) => self.on_mail_written(token, true, now, &mut outputs),
            Input::NotDurable { token, .. } if mail::is_mail(token) => {
                self.on_mail_written(token, false, now, &mut outputs);
            }
            Input::Durable(token) => self.on_durable(token, &Ok(()), now),
            Input::NotDurable { token, reason } => self.on_durable(token, &Err(reason), now),
            Input::StorageFailed(reason) => self.storage_failure = Some(reason),
            Input::Command { id, command } => self.on_command(id, command, now, &mut outputs),
            Input::Survey { id, peers } => self.begin_survey(id, peers, now, &mut outputs),
            Input::WakeUp => self.wake_at = None,
            Input::Tunnel { tunnel, request } => self.on_tunnel(tunnel, request, now, &mut outputs),
            Input::TunnelReady(tunnel) => self.on_tunnel_ready(tunnel, now, &mut outputs),
            Input::TunnelClosed(tunnel) => self.on_tunnel_closed(tunnel, now, &mut outputs),
            Input::Gossip { gossip, bytes } => self.on_gossip(gossip, &bytes, now, &mut outputs),
            Input::Found { token, found } => self.on_found(token, found, now, &mut outputs),
        }
        self.advance(now, &mut outputs);
        outputs
    }

    fn on_chain(&mut self, update: Box<ChainUpdate>, now: Now) {
        let moved = self.chain.as_ref().is_none_or(|known| known.tip.tip_hash() != update.tip.tip_hash());
        if moved {
            self.block_at = now.monotonic;
        }
        self.was_registered |= update.tip.service_node(&self.node_id()).is_some();
        self.note_finals(&update);
        let swarm = update.view.current().swarm_of(&self.node_id());
        if swarm != self.swarm {
            (self.swarm, self.swarm_since) = (swarm, now.monotonic);
        }
        self.chain = Some(update);
    }

    fn note_finals(&mut self, update: &ChainUpdate) {
        let newest = self.finals.front().map(|newest| newest.height);
        let mut new: Vec<_> =
            update.view.recent().filter(|snapshot| newest.is_none_or(|newest| snapshot.height.0 > newest)).collect();
        new.sort_unstable_by_key(|snapshot| snapshot.height);
        for snapshot in new {
            self.finals.push_front(FinalStatus::from(snapshot));
        }
        self.finals.truncate(FINALS);
    }

    fn on_response(&mut self, tag: Tag, result: &Result<Response, RequestError>, now: Now, outputs: &mut Vec<Output>) {
        if let Some(id) = self.commands.remove(&tag) {
            let result = submitter::outcome(result).map_err(|failure| match failure.is_rejected {
                true => Refusal::Rejected(failure.reason),
                false => Refusal::Unreachable(failure.reason),
            });
            outputs.push(Output::Answer { id, result });
            return;
        }
        if self.on_survey_answer(tag, result, now, outputs) {
            return;
        }
        let tip = match result {
            Ok(Response::Chain(ChainResponse::Tip { height, .. })) => Some(*height),
            _ => None,
        };
        if self.peers.answered(tag, tip) || self.clock_check.answered(tag, result, now.monotonic) {
            return;
        }
        let block_time = self.block_time();
        if let Some(duty) = self.submitter.answered(tag, result, block_time, now.monotonic, &mut self.rng)
            && let Some(reason) = self.submitter.reason(duty)
        {
            tracing::warn!(?duty, reason, "a transaction was not taken; it is sent again");
        }
    }

    fn on_durable(&mut self, token: Token, result: &Result<(), String>, now: Now) {
        if self.key_steps.ended(token, result, now.monotonic) {
            self.keys.stepped(result.is_ok());
            if let Err(reason) = result {
                tracing::warn!(reason, "a key change could not be written; it is tried again");
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number = self.next_number.wrapping_add(1);
        self.next_number
    }

    fn block_time(&self) -> Duration {
        Duration::from_millis(self.chain.as_ref().map_or(1000, |chain| chain.tip.params().block_time_ms))
    }

    fn rotation_period(&self) -> u64 {
        self.chain.as_ref().map_or(u64::MAX / 2, |chain| chain.tip.params().key_rotation_s.saturating_mul(1000))
    }
}

#[cfg(test)]
mod tests;
