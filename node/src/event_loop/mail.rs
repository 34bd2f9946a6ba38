//! The mail's side of the loop: gossip in the own swarm, tunnels of clients, reads from the storage thread.

use sotto_behaviours::network::{GossipId, Verdict};
use sotto_behaviours::tunnel::TunnelId;
use sotto_proto::request::SwarmResponse;

use super::persisting::Held;
use super::{EventLoop, Stored};
use crate::metrics;
use crate::service_node::{Gossip, Input, Token, Tunnel};
use crate::store::Store;
use crate::store::mail::{Found, Lookup, look_up};

impl EventLoop {
    pub(super) fn on_swarm_message(&mut self, gossip: GossipId, bytes: Vec<u8>) {
        let name = Gossip(self.number());
        self.gossip.insert(name, gossip);
        self.tell(Input::Gossip { gossip: name, bytes });
    }

    pub(super) fn judge(&mut self, gossip: Gossip, verdict: Verdict) {
        metrics::mail_gossip(match verdict {
            Verdict::Accept => "accepted",
            Verdict::Ignore => "ignored",
            Verdict::Reject => "rejected",
        });
        if let Some(gossip) = self.gossip.remove(&gossip) {
            self.parts.network.judge(gossip, verdict);
        }
    }

    /// Has something read on the storage thread, after all that was written before.
    pub(super) fn look_up(&mut self, token: Token, lookup: Lookup) -> Vec<Input> {
        let mut failed = if Held::is_waited_for_by(&lookup) { self.persist_held() } else { Vec::new() };
        let sender = self.stored_sender.clone();
        let read = Box::new(move |store: &dyn Store| {
            let found = Box::new(look_up(store, &lookup));
            // The loop has ended: nobody waits any more.
            let _ = sender.blocking_send(Stored::Found(token, found));
        });
        let unread = self.parts.store.try_read(read).err();
        failed.extend(unread.map(|error| Input::Found { token, found: Found::Failed(error.to_string()) }));
        failed
    }

    pub(super) fn answer_tunnel(&mut self, tunnel: Tunnel, response: SwarmResponse, more: bool) -> Option<Input> {
        metrics::request("tunnel", response_label(&response));
        let is_open = self.parts.network.tunnel_answer(TunnelId::new(tunnel.0), response, more);
        (!is_open).then_some(Input::TunnelClosed(tunnel))
    }

    pub(super) fn close_tunnel(&self, tunnel: Tunnel) {
        self.parts.network.close_tunnel(TunnelId::new(tunnel.0));
    }
}

const fn response_label(response: &SwarmResponse) -> &'static str {
    match response {
        SwarmResponse::Error(error) => error.label(),
        _ => "ok",
    }
}
