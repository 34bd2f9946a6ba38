//! What goes between nodes, and between clients and nodes: gossip, requests, tunnels; late, out of order, or not at
//! all.

use std::sync::Arc;

use sotto_behaviours::network::{Request, RequestError, Response, Verdict};
use sotto_node::service_node::{Gossip, Incoming, Input, Outgoing, Output, ReplyId, Tag, To, Tunnel};
use sotto_proto::id::NodeId;
use sotto_proto::request::{ChainResponse, SwarmRequest, SwarmResponse};

use super::{Event, REQUEST_PATIENCE, World};
use crate::client::Talk;

impl World {
    /// Whether a message from one node gets to the other.
    pub(super) fn arrives(&mut self, from: usize, to: usize) -> bool {
        !self.is_cut(from, to) && !self.dice.permille(self.loss)
    }

    pub(super) fn is_cut(&self, from: usize, to: usize) -> bool {
        let split = self.split.is_some_and(|split| (split >> from) & 1 != (split >> to) & 1);
        split || self.one_way == Some((from, to))
    }

    /// Whether a node is on the smaller side of a split network, where no blocks are.
    pub(super) fn is_cut_off(&self, node: usize) -> bool {
        let Some(split) = self.split else { return false };
        let side = (0..self.nodes.len()).filter(|other| (split >> other) & 1 == (split >> node) & 1).count();
        2 * side < self.nodes.len()
    }

    pub(super) fn output(&mut self, node: usize, output: Output) {
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
            Output::Answer { .. }
            | Output::Surveyed { .. }
            | Output::Persist { .. }
            | Output::LookUp { .. }
            | Output::WakeAt(_) => {}
        }
    }

    /// Gossip goes to every member that is connected, and each that accepts it passes it on.
    pub(super) fn gossip(&mut self, from: usize, message: &Arc<[u8]>, not_to: Option<usize>) {
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
    pub(super) fn on_gossip(&mut self, node: usize, incarnation: u32, from: usize, message: Arc<[u8]>) {
        if !self.is_same(node, incarnation) || !self.nodes[node].hears(&message) {
            return;
        }
        let gossip = Gossip(self.number());
        let bytes = message.to_vec();
        self.judged.insert(gossip, (from, message));
        self.tell(node, Input::Gossip { gossip, bytes });
    }

    pub(super) fn on_verdict(&mut self, node: usize, gossip: Gossip, verdict: Verdict) {
        let Some((from, message)) = self.judged.remove(&gossip) else { return };
        match verdict {
            Verdict::Accept => self.gossip(node, &message, Some(from)),
            Verdict::Ignore => self.trace(|| format!("node {node} ignores gossip of node {from}")),
            Verdict::Reject if [node, from].into_iter().any(|node| self.model.is_liar(node)) => {}
            Verdict::Reject => {
                self.model.violated("I9", format!("node {node} blames node {from} for what it gossiped"))
            }
        }
    }

    pub(super) fn send(&mut self, node: usize, to: To, message: Outgoing) {
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

    pub(super) fn request(&mut self, from: usize, to: NodeId, tag: Tag, request: Request) {
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
    pub(super) fn answer(&mut self, node: usize, incarnation: u32, tag: Tag, result: Result<Response, RequestError>) {
        let Some(from) = self.asked.remove(&(node, incarnation, tag)) else { return };
        let (wait, message) = (self.latency(), Incoming::Response { tag, result });
        self.after(wait, Event::Input(node, incarnation, Box::new(Input::Received { from, message })));
    }

    pub(super) fn respond_to(
        &mut self,
        node: usize,
        incarnation: u32,
        tag: Tag,
        result: Result<Response, RequestError>,
    ) {
        if let Some(from) = self.asked.remove(&(node, incarnation, tag))
            && self.is_same(node, incarnation)
        {
            let message = Incoming::Response { tag, result };
            self.tell(node, Input::Received { from, message });
        }
    }

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

    pub(super) fn tunnel_answer(&mut self, node: usize, tunnel: Tunnel, response: SwarmResponse, more: bool) {
        if !self.talks.contains_key(&tunnel.0) {
            return;
        }
        let wait = self.latency();
        if self.dice.permille(self.loss) {
            // A stream that loses something ends.
            return self.after(wait, Event::TunnelOver(tunnel.0));
        }
        let told = more || matches!(response, SwarmResponse::Records(_));
        self.after(wait, Event::Answer(tunnel.0, Box::new(response)));
        if told {
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
}

/// The beginning of a text, for traces.
fn short(text: &str) -> &str {
    text.get(..160).unwrap_or(text)
}
