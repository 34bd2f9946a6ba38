//! Requests of peers: what is refused, what is answered here, what goes up.

use libp2p::PeerId;
use libp2p::request_response::{self, InboundFailure, InboundRequestId, Message, ResponseChannel};
use sotto_proto::id::NodeId;
use sotto_proto::request::{ChainRequest, ChainResponse, ListRequest, ListResponse, StatusRequest, StatusResponse};

use super::behaviour::ExchangeEvent;
use super::event::ReplyChannel;
use super::outbox::Protocol;
use super::{Event, Network, ReplyTo, Request, Response, Role};
use crate::chain_sync::protocol::Received;
use crate::chain_sync::route::Route;
use crate::peer;

impl Network {
    /// Answers a request. An answer of another protocol than the request's is not sent, and the peer sees its request
    /// fail.
    pub fn respond(&mut self, reply: ReplyTo, response: Response) {
        match (reply.0, response) {
            (ReplyChannel::Chain(peer, channel), Response::Chain(response)) => {
                self.charge(&peer, chain_bytes(&response));
                self.answer_chain(channel, response);
            }
            (ReplyChannel::List(peer, channel), Response::List(response)) => {
                self.charge(&peer, list_bytes(&response));
                // Refused only when the asker has gone meanwhile.
                let _gone = self.swarm.behaviour_mut().list.send_response(channel, response);
            }
            (reply, response) => tracing::error!(?reply, ?response, "answer of another protocol"),
        }
    }

    pub(super) fn answer_chain(&mut self, channel: ResponseChannel<ChainResponse>, response: ChainResponse) {
        // Refused only when the asker has gone meanwhile.
        let _gone = self.swarm.behaviour_mut().chain.send_response(channel, response);
    }

    pub(super) fn on_chain(&mut self, event: ExchangeEvent<ChainRequest, ChainResponse>) {
        let Some((peer, message)) = self.sort(Protocol::Chain, event) else { return };
        match message {
            Message::Response { request_id, response } => {
                self.on_response(Protocol::Chain, request_id, Response::Chain(response));
            }
            Message::Request { request_id, request, channel } => {
                self.on_chain_request(peer, request_id, request, channel);
            }
        }
    }

    pub(super) fn on_list(&mut self, event: ExchangeEvent<ListRequest, ListResponse>) {
        let Some((peer, message)) = self.sort(Protocol::List, event) else { return };
        match message {
            Message::Response { request_id, response } => {
                self.on_response(Protocol::List, request_id, Response::List(response));
            }
            Message::Request { request_id, request, channel } => {
                self.on_list_request(peer, request_id, request, channel);
            }
        }
    }

    pub(super) fn on_status_event(&mut self, event: ExchangeEvent<StatusRequest, StatusResponse>) {
        let Some((peer, message)) = self.sort(Protocol::Status, event) else { return };
        match message {
            Message::Response { request_id, response } => {
                self.on_response(Protocol::Status, request_id, Response::Status(response));
            }
            Message::Request { request_id, request, channel } => {
                self.on_status_request(peer, request_id, request, channel);
            }
        }
    }

    /// Books what ended, and passes on what was said.
    fn sort<Q, A>(
        &mut self,
        protocol: Protocol,
        event: ExchangeEvent<Q, A>,
    ) -> Option<(PeerId, Message<Received<Q>, A>)> {
        match event {
            request_response::Event::Message { peer, message, .. } => return Some((peer, message)),
            request_response::Event::ResponseSent { request_id, .. } => self.inbox.done(protocol, request_id),
            request_response::Event::InboundFailure { peer, request_id, error, .. } => {
                tracing::debug!(%peer, ?protocol, %error, "request of a peer failed");
                self.inbox.done(protocol, request_id);
                self.metrics.request_refused(inbound_label(&error));
            }
            request_response::Event::OutboundFailure { request_id, error, .. } => {
                self.on_failure(protocol, request_id, error);
            }
        }
        None
    }

    fn on_chain_request(
        &mut self,
        peer: PeerId,
        id: InboundRequestId,
        request: Received<ChainRequest>,
        channel: ResponseChannel<ChainResponse>,
    ) {
        let Some(from) = self.asker(&peer) else { return };
        let now = self.clock.monotonic();
        match self.inbox.admit(from, Protocol::Chain, id, request, now) {
            Err(error) => {
                self.metrics.request_refused(error.label());
                self.answer_chain(channel, ChainResponse::Error(error));
            }
            Ok(ChainRequest::SubmitTransaction(bytes)) if self.role != Role::Producer => {
                let id = self.new_request();
                if let Err(error) = self.submit(id, Some((peer, channel)), Route::passed_on(self.producer), bytes) {
                    tracing::debug!(%error, "transaction not passed on");
                }
            }
            Ok(request) => {
                let reply = ReplyTo(ReplyChannel::Chain(peer, channel));
                self.events.push_back(Event::Request { from, request: Request::Chain(request), reply });
            }
        }
    }

    fn on_list_request(
        &mut self,
        peer: PeerId,
        id: InboundRequestId,
        request: Received<ListRequest>,
        channel: ResponseChannel<ListResponse>,
    ) {
        let Some(from) = self.asker(&peer) else { return };
        let now = self.clock.monotonic();
        match self.inbox.admit(from, Protocol::List, id, request, now) {
            Err(error) => {
                self.metrics.request_refused(error.label());
                // Refused only when the asker has gone meanwhile.
                let _gone = self.swarm.behaviour_mut().list.send_response(channel, ListResponse::Error(error));
            }
            Ok(request) => {
                let reply = ReplyTo(ReplyChannel::List(peer, channel));
                self.events.push_back(Event::Request { from, request: Request::List(request), reply });
            }
        }
    }

    /// Answered here. There are no typed errors in this protocol: a neighbour that breaks it gets no answer.
    fn on_status_request(
        &mut self,
        peer: PeerId,
        id: InboundRequestId,
        request: Received<StatusRequest>,
        channel: ResponseChannel<StatusResponse>,
    ) {
        let Some(from) = self.asker(&peer) else { return };
        let now = self.clock.now();
        match self.inbox.admit(from, Protocol::Status, id, request, now.monotonic) {
            Err(error) => self.metrics.request_refused(error.label()),
            Ok(_) => {
                let response = StatusResponse { time: now.wall, final_height: self.view.borrow().current().height };
                if let Some(gate) = self.swarm.behaviour_mut().status.as_mut() {
                    // Refused only when the asker has gone meanwhile.
                    let _gone = gate.inner_mut().send_response(channel, response);
                }
            }
        }
    }

    fn asker(&mut self, peer: &PeerId) -> Option<NodeId> {
        let node = peer::node_id(peer).ok()?;
        self.swarm.behaviour_mut().membership.used(node);
        Some(node)
    }

    fn charge(&mut self, peer: &PeerId, bytes: usize) {
        self.metrics.served(bytes);
        let now = self.clock.monotonic();
        if let Ok(node) = peer::node_id(peer) {
            self.inbox.charge(node, bytes, now);
        }
    }
}

fn chain_bytes(response: &ChainResponse) -> usize {
    match response {
        ChainResponse::Blocks { blocks, .. } => blocks.iter().map(Vec::len).sum(),
        ChainResponse::Submitted | ChainResponse::Tip { .. } | ChainResponse::Error(_) => 0,
    }
}

fn list_bytes(response: &ListResponse) -> usize {
    match response {
        ListResponse::Buckets { buckets, .. } => buckets.values().map(Vec::len).sum(),
        ListResponse::Headers(headers) => headers.len() * sotto_proto::chain::SignedHeader::LEN,
        ListResponse::Info(_) | ListResponse::Error(_) => 0,
    }
}

const fn inbound_label(failure: &InboundFailure) -> &'static str {
    match failure {
        InboundFailure::Timeout => "timeout",
        InboundFailure::ConnectionClosed => "closed",
        InboundFailure::UnsupportedProtocols => "unsupported",
        InboundFailure::ResponseOmission => "unanswered",
        InboundFailure::Io(_) => "broken",
    }
}
