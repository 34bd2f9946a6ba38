//! The mail within the machine: it sees the chain, the clock and the key, and nothing else of the node. What tunnels ask
//! goes to it, or to those who listen and push.

use sotto_behaviours::network::{Request, RequestError, Response, Verdict};
use sotto_proto::chain::NodeState;
use sotto_proto::id::NodeId;
use sotto_proto::limits::NMIN;
use sotto_proto::request::{Error, SwarmRequest};
use sotto_proto::sign::Ed25519;
use sotto_proto::time::Now;

use super::ServiceNode;
use super::listening::Listeners;
use super::mail::{self, Asker, Env, Mail};
use super::message::{Gossip, Outgoing, Output, Refusal, ReplyId, Tag, To, Token, Tunnel};
use super::requests;
use crate::store::mail::Found;

impl ServiceNode {
    /// The mail.
    #[must_use]
    pub const fn mail(&self) -> &Mail {
        &self.mail
    }

    /// Has the mail do something. False, and nothing happens, before the chain is known.
    fn with_mail(
        &mut self,
        now: Now,
        out: &mut Vec<Output>,
        act: impl FnOnce(&mut Mail, &Env<'_>, &mut Vec<Output>),
    ) -> bool {
        let Some(chain) = &self.chain else { return false };
        let env = Env {
            key: &self.identity.node,
            view: &chain.view,
            params: chain.tip.params(),
            now,
            clock: self.clock_offset(now),
            may_write: self.storage_failure.is_none(),
            verify: &Ed25519,
        };
        act(&mut self.mail, &env, out);
        true
    }

    /// Begins to drain.
    ///
    /// # Errors
    /// When that cannot be judged yet, and, unless `force`, when the swarm would be left with too few members.
    pub(super) fn drain(&mut self, force: bool, now: Now, out: &mut Vec<Output>) -> Result<(), Refusal> {
        if self.drains {
            return Ok(());
        }
        let swarms = self.chain.as_ref().filter(|_| self.mail.is_ready()).map(|chain| &chain.view.current().swarms);
        let Some(swarms) = swarms else {
            return Err(Refusal::State(
                "the node has only begun to read its disk and the chain; try again soon".into(),
            ));
        };
        let members = self.swarm.and_then(|swarm| swarms.members(swarm)).map_or(0, <[NodeId]>::len);
        if (1..=NMIN).contains(&members) && !force {
            let reason = format!(
                "its swarm has {members} members and must not have fewer than {NMIN}: wait until another node has \
                 joined it, or say --force"
            );
            return Err(Refusal::State(reason));
        }
        self.drains = true;
        self.go_on_draining(now, out);
        Ok(())
    }

    /// Has the mail drain if it is wanted. Before it is there it takes nothing anyway.
    fn go_on_draining(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.drains && self.mail.is_ready() && !self.mail.is_draining() {
            self.with_mail(now, out, |mail, env, _| mail.begin_draining(env));
        }
    }

    /// Ends that.
    ///
    /// # Errors
    /// When the node does not drain.
    pub(super) fn end_drain(&mut self) -> Result<(), Refusal> {
        if !std::mem::take(&mut self.drains) {
            return Err(Refusal::State("the node does not drain".into()));
        }
        self.mail.end_draining();
        Ok(())
    }

    pub(super) fn mail_follows_chain(&mut self, now: Now, out: &mut Vec<Output>) {
        let tip = self.chain.as_ref().map(|chain| (chain.tip.height(), chain.tip.tip_hash()));
        if let Some(tip) = tip {
            self.with_mail(now, out, |mail, env, out| mail.on_chain(tip, env, out));
        }
    }

    /// Who listens.
    #[must_use]
    pub const fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    pub(super) fn on_tunnel(&mut self, tunnel: Tunnel, request: SwarmRequest, now: Now, out: &mut Vec<Output>) {
        let request = match request {
            SwarmRequest::Listen(_) if !self.serves_listeners() => return mail::refuse(tunnel, Error::Busy, out),
            SwarmRequest::Listen(tags) => return self.listeners.listen(tunnel, &tags, now.monotonic, out),
            // Whatever it would be answered could not be told from what is pushed.
            _ if self.listeners.has(tunnel) => {
                self.listeners.forget(tunnel, out);
                return out.push(Output::CloseTunnel(tunnel));
            }
            SwarmRequest::Push(push) => return self.listeners.push(tunnel, push, now.monotonic, out),
            request => request,
        };
        if !self.with_mail(now, out, |mail, env, out| mail.on_tunnel(tunnel, request, env, out)) {
            mail::refuse(tunnel, Error::Busy, out);
        }
    }

    /// Whether the node is one that is listened at: it is active, and is not about to go.
    fn serves_listeners(&self) -> bool {
        !self.drains && self.entry().is_some_and(|entry| entry.record.state == NodeState::Active)
    }

    pub(super) fn on_tunnel_closed(&mut self, tunnel: Tunnel, now: Now, out: &mut Vec<Output>) {
        self.with_mail(now, out, |mail, env, out| mail.on_closed(tunnel, env, out));
        self.listeners.forget(tunnel, out);
    }

    pub(super) fn on_tunnel_ready(&mut self, tunnel: Tunnel, now: Now, out: &mut Vec<Output>) {
        if self.listeners.has(tunnel) {
            return self.listeners.written(tunnel, out);
        }
        self.with_mail(now, out, |mail, env, out| mail.on_room(tunnel, env, out));
    }

    pub(super) fn on_gossip(&mut self, gossip: Gossip, bytes: &[u8], now: Now, out: &mut Vec<Output>) {
        if !self.with_mail(now, out, |mail, env, out| mail.on_gossip(gossip, bytes, env, out)) {
            out.push(Output::Judge { gossip, verdict: Verdict::Ignore });
        }
    }

    /// A peer asks something that the mail answers; anything else comes back.
    pub(super) fn on_mail_request(
        &mut self,
        node: NodeId,
        reply: ReplyId,
        request: Request,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Option<Request> {
        let asker = Asker { node, reply };
        match request {
            Request::Repair(_) | Request::Offer(_) if self.chain.is_none() => {
                let message = Outgoing::Response { reply, response: requests::busy(&request) };
                out.push(Output::Send { to: To::Node(node), message });
            }
            Request::Repair(request) => {
                self.with_mail(now, out, |mail, env, out| mail.on_repair(asker, request, env, out));
            }
            Request::Offer(request) => {
                self.with_mail(now, out, |mail, env, out| mail.on_offer(asker, request, env, out));
            }
            other => return Some(other),
        }
        None
    }

    /// A request of the mail was answered, or never will be.
    pub(super) fn on_mail_response(
        &mut self,
        tag: Tag,
        result: Result<Response, RequestError>,
        now: Now,
        out: &mut Vec<Output>,
    ) {
        self.with_mail(now, out, |mail, env, out| mail.on_member_answer(tag, result, env, out));
    }

    pub(super) fn on_mail_written(&mut self, token: Token, written: bool, now: Now, out: &mut Vec<Output>) {
        self.with_mail(now, out, |mail, env, out| mail.on_written(token, written, env, out));
    }

    pub(super) fn on_found(&mut self, token: Token, found: Found, now: Now, out: &mut Vec<Output>) {
        self.with_mail(now, out, |mail, env, out| mail.on_found(token, found, env, out));
    }

    pub(super) fn advance_mail(&mut self, now: Now, out: &mut Vec<Output>) {
        self.go_on_draining(now, out);
        self.with_mail(now, out, Mail::advance);
    }
}
