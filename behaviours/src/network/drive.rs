//! The loop: what happened in the swarm, in the network's state, or because of the time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::gossipsub::TopicHash;
use libp2p::metrics::Recorder as _;
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, ping};
use sotto_proto::id::{Height, NodeId};
use sotto_proto::limits::FINAL_DEPTH;
use sotto_proto::network::NetworkView;
use sotto_proto::request::{ChainRequest, ChainResponse, StatusRequest, StatusResponse};
use sotto_proto::time::Monotonic;

use super::behaviour::Out;
use super::outbox::{Protocol, Purpose};
use super::{Event, FetchId, Network, Request, RequestError, Role, TICK};
use crate::chain_sync::state::{Failure, Output};
use crate::gated::Gated;
use crate::membership::Direction;
use crate::status::whom;
use crate::{gossip, membership, onion, peer, transport};

/// How often a peer is reported to be of another network.
const SAY_AGAIN: Duration = Duration::from_secs(600);
/// How many peers are remembered to have been reported.
const FOREIGN: usize = 64;

impl Network {
    /// Waits for one thing to happen and deals with it. Nothing is lost when this is dropped while it waits.
    pub(super) async fn step(&mut self) {
        self.ask_for_blocks();
        let due =
            self.sync.as_ref().and_then(|sync| sync.next_timeout()).map_or(self.next_tick, |at| at.min(self.next_tick));
        let due = self.clock.instant(due);
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
        tokio::select! {
            biased;
            changed = self.view.changed(), if !self.view_ended => match changed {
                Ok(()) => self.on_view(),
                Err(_) => self.view_ended = true,
            },
            () = &mut self.timer => self.on_timer(),
            Some(event) = self.tunnel_events.recv() => self.on_tunnel(event),
            event = self.swarm.select_next_some() => self.on_swarm_event(event),
        }
    }

    /// The network changed: who is admitted, who is a node, which links are wanted, which swarm is ours.
    pub(super) fn on_view(&mut self) {
        let view = Arc::clone(&self.view.borrow_and_update());
        let (own, producer) = (self.own, self.producer);
        let behaviour = self.swarm.behaviour_mut();

        let (known, bootstrap) = (Arc::clone(&view), self.bootstrap.clone());
        behaviour.limits.set_nodes(Box::new(move |node| {
            *node == producer || bootstrap.contains(node) || known.is_registered(node)
        }));

        // Both ends must be in the mesh, so that both find the same answer and a newcomer's own registration opens it.
        let in_mesh = move |view: &NetworkView, node: &NodeId| *node == producer || view.is_registered(node);
        if let Some(gate) = behaviour.chain_gossip.as_mut() {
            let view = Arc::clone(&view);
            gate.set_admission(Box::new(move |node| in_mesh(&view, &own) && in_mesh(&view, node)));
        }
        if let Some(gate) = behaviour.status.as_mut() {
            let view = Arc::clone(&view);
            gate.set_admission(Box::new(move |node| in_mesh(&view, &own) && in_mesh(&view, node)));
        }
        self.swarm_mates = Arc::new(view.swarm_mates(&own));
        if let Some(gate) = behaviour.swarm_gossip.as_mut() {
            let mates = Arc::clone(&self.swarm_mates);
            gate.set_admission(Box::new(move |node| mates.contains(node)));
        }
        if let Some(gate) = behaviour.repair.as_mut() {
            let mates = Arc::clone(&self.swarm_mates);
            gate.set_admission(Box::new(move |node| mates.contains(node)));
        }
        if let Some(gate) = behaviour.offer.as_mut() {
            let view = Arc::clone(&view);
            gate.set_admission(Box::new(move |node| view.is_registered(&own) && view.is_registered(node)));
        }
        behaviour.membership.set_view(Arc::clone(&view));

        self.chain_intake.set_tip(view.tip);
        self.follow_swarm_topic(view.current().swarm_of(&own));
        let now = self.clock.monotonic();
        let connected: Vec<NodeId> = self.connected().filter(|node| self.is_node(node)).collect();
        if let Some(sync) = &mut self.sync {
            sync.set_gossiping(view.is_registered(&own), now);
            sync.set_tip(view.tip, now);
            for node in connected {
                sync.connected(node);
            }
        }
    }

    fn on_timer(&mut self) {
        let now = self.clock.monotonic();
        if let Some(sync) = &mut self.sync
            && sync.next_timeout().is_some_and(|at| at <= now)
        {
            sync.timeout(now);
        }
        if self.next_tick <= now {
            self.next_tick = now.plus(TICK);
            self.tick(now);
        }
    }

    fn tick(&mut self, now: Monotonic) {
        self.watch_topics();
        self.ask_for_status(now);
        self.inbox.forget(now);
        self.punish(now);
        for (node, purpose) in self.outbox.expired(now) {
            self.concluded(node, purpose, Err(RequestError::Unreachable));
        }
        self.tick_paths();
        let (all, connected) = self.swarm.behaviour().membership.state().members();
        self.metrics.members(all, connected);
    }

    /// Tells membership who is admitted to a topic and not subscribed to it.
    fn watch_topics(&mut self) {
        let chain_topic = self.names.chain_topic().hash();
        let swarm_topic = self.own_swarm.map(|swarm| self.names.swarm_topic(swarm).hash());
        let view = Arc::clone(&self.view.borrow());
        let behaviour = self.swarm.behaviour();
        let mut deaf = BTreeSet::new();
        if let Some(gate) = behaviour.chain_gossip.as_ref() {
            deaf.extend(not_subscribed(gate, &chain_topic));
        }
        if let (Some(gate), Some(topic)) = (behaviour.swarm_gossip.as_ref(), swarm_topic) {
            // A member of an earlier map may have left for another topic; only present ones must hear this.
            let present = |node: &NodeId| view.current().swarm_of(node) == self.own_swarm;
            deaf.extend(not_subscribed(gate, &topic).filter(present));
        }
        self.swarm.behaviour_mut().membership.deaf(&deaf);
    }

    /// Members of the own swarm are asked for their clocks; where they are few, other neighbours in the mesh as well, and
    /// of those first whom this node chose to dial: who dials it chooses it.
    fn ask_for_status(&mut self, now: Monotonic) {
        if self.role == Role::Client {
            return;
        }
        let view = Arc::clone(&self.view.borrow());
        let gate = self.swarm.behaviour().status.as_ref();
        let open = |node: &NodeId| gate.is_some_and(|gate| gate.is_open(&peer::peer_id(node)));
        let (mates, mut others): (Vec<NodeId>, Vec<NodeId>) =
            self.connected().filter(open).partition(|node| self.swarm_mates.contains(node));
        others.sort_by_key(|node| !self.directions(node).any(|direction| direction == Direction::Dialed));
        let final_height = view.current().height;
        for node in self.status.due(whom(mates, others), now) {
            let request = Request::Status(StatusRequest { time: self.clock.now().wall, final_height });
            // A peer that is too busy for it is asked in the next round.
            let _busy = self.send(node, Purpose::Status(now), request);
        }
        self.judge_clock();
    }

    fn judge_clock(&mut self) {
        let Some(offset) = self.clock_offset() else { return };
        if offset.off != self.clock_off {
            self.clock_off = offset.off;
            self.events.push_back(Event::ClockJudged(offset));
        }
    }

    pub(super) fn on_status(&mut self, node: NodeId, response: StatusResponse, asked: Monotonic) {
        let now = self.clock.monotonic();
        self.status.answered(node, response.time, asked, now);
        if response.final_height > Height::ZERO {
            self.heard_tip(node, response.final_height.plus(FINAL_DEPTH));
        }
        self.judge_clock();
    }

    pub(super) fn heard_tip(&mut self, node: NodeId, height: Height) {
        let now = self.clock.monotonic();
        if let Some(sync) = &mut self.sync {
            sync.heard(node, height, now);
        }
    }

    fn ask_for_blocks(&mut self) {
        while let Some(output) = self.sync.as_mut().and_then(|sync| sync.poll_output()) {
            let (node, purpose, request) = match output {
                Output::Tip { node } => (node, Purpose::Tip, ChainRequest::Tip),
                Output::Blocks { node, fetch, from, max_bytes } => {
                    (node, Purpose::Fetch(fetch), ChainRequest::Blocks { from, max_bytes })
                }
            };
            if let Err(error) = self.send(node, purpose, Request::Chain(request)) {
                tracing::debug!(node = node.short(), %error, "not asked for blocks");
                self.concluded(node, purpose, Err(RequestError::Unreachable));
            }
        }
    }

    pub(super) fn on_blocks(&mut self, from: NodeId, fetch: FetchId, answer: Result<ChainResponse, RequestError>) {
        let now = self.clock.monotonic();
        let Some(sync) = &mut self.sync else { return };
        match answer {
            Ok(ChainResponse::Blocks { blocks, tip }) => {
                if sync.answered(fetch, blocks.len(), tip, now) {
                    self.events.push_back(Event::Blocks { from, fetch, blocks });
                } else {
                    self.metrics.fetch("unused");
                }
            }
            Ok(ChainResponse::Error(error)) => {
                self.metrics.fetch(error.label());
                sync.failed(fetch, &Failure::Refused(error), now);
            }
            Ok(ChainResponse::Submitted | ChainResponse::Tip { .. }) | Err(_) => {
                self.metrics.fetch("broken");
                sync.failed(fetch, &Failure::Broken, now);
            }
        }
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<Out>) {
        if let Some(metrics) = &self.libp2p_metrics {
            metrics.record(&event);
        }
        match event {
            SwarmEvent::Behaviour(out) => self.on_behaviour(out),
            SwarmEvent::ConnectionEstablished { peer_id, num_established, .. } if num_established.get() == 1 => {
                self.on_connected(&peer_id);
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, "disconnected");
                self.on_disconnected(&peer_id);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                if let Some(address) = transport::node_addr(&address) {
                    self.address = Some(address);
                    self.events.push_back(Event::Listening(address));
                }
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listening"),
            SwarmEvent::ListenerClosed { reason: Err(error), .. } => tracing::error!(%error, "no longer listening"),
            _ => {}
        }
    }

    fn on_behaviour(&mut self, out: Out) {
        match out {
            Out::Membership(membership::Event::Unreachable(node)) => {
                self.metrics.unreachable();
                self.swarm.behaviour_mut().onion.unreachable(&node);
                for waiting in self.outbox.take_waiting(&node) {
                    self.concluded(node, waiting.purpose, Err(RequestError::Unreachable));
                }
            }
            Out::Membership(membership::Event::Closing(node, reason)) => {
                tracing::debug!(node = node.short(), reason = reason.label(), "closing");
                self.metrics.closed(reason);
            }
            Out::Ping(event) => self.on_ping(&event),
            Out::Gossip(event) => self.on_gossip(event),
            Out::Chain(event) => self.on_chain(event),
            Out::List(event) => self.on_list(event),
            Out::Status(event) => self.on_status_event(event),
            Out::Repair(event) => self.on_repair(event),
            Out::Offer(event) => self.on_offer(event),
            Out::Onion(onion::behaviour::Event::Dial(node)) => self.on_dial_for_path(node),
        }
    }

    fn on_ping(&mut self, event: &ping::Event) {
        if let Some(metrics) = &self.libp2p_metrics {
            metrics.record(event);
        }
        // libp2p reports the second failure in a row and keeps the first to itself.
        if let (Err(error), Ok(node)) = (&event.result, peer::node_id(&event.peer)) {
            tracing::debug!(node = node.short(), %error, "no answer to pings");
            self.swarm.behaviour_mut().membership.ping_failed(node);
        }
    }

    fn on_connected(&mut self, peer: &PeerId) {
        let Ok(node) = peer::node_id(peer) else { return };
        let registered = self.is_node(&node);
        if let Some(sync) = self.sync.as_mut().filter(|_| registered) {
            sync.connected(node);
        }
        for waiting in self.outbox.take_waiting(&node) {
            self.dispatch(node, waiting.purpose, waiting.request);
        }
        self.events.push_back(Event::PeerConnected { node, registered });
    }

    fn on_disconnected(&mut self, peer: &PeerId) {
        let Ok(node) = peer::node_id(peer) else { return };
        self.judging.remove(peer);
        let now = self.clock.monotonic();
        if let Some(sync) = &mut self.sync {
            sync.disconnected(node, now);
        }
        self.events.push_back(Event::PeerDisconnected { node });
    }

    /// The peer does not even speak `chain`, which everybody answers who can be dialled.
    pub(super) fn on_foreign(&mut self, node: NodeId, protocol: Protocol) {
        if matches!(protocol, Protocol::Status | Protocol::Repair | Protocol::Offer) {
            // Refused while one of both does not know of a registration, or of a change of swarms, yet.
            return;
        }
        self.swarm.behaviour_mut().membership.foreign(node);
        let now = self.clock.monotonic();
        self.foreign.retain(|_, said| now.since(*said) < SAY_AGAIN);
        if self.foreign.len() < FOREIGN && !self.foreign.contains_key(&node) {
            self.foreign.insert(node, now);
            tracing::warn!(
                node = node.short(),
                "speaks none of our protocols: most likely it runs with another genesis, or this process does"
            );
            self.events.push_back(Event::OtherGenesis { node });
        }
    }
}

/// Peers inside the gate that have not subscribed to `topic`.
fn not_subscribed<'a>(
    gate: &'a Gated<gossip::Behaviour>,
    topic: &'a TopicHash,
) -> impl Iterator<Item = NodeId> + use<'a> {
    let deaf = gate.inner().all_peers().filter(move |(_, topics)| !topics.contains(&topic));
    deaf.filter_map(|(peer, _)| peer::node_id(peer).ok())
}
