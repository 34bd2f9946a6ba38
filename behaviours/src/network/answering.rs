//! Requests of peers: what is refused, what is answered here, what goes up.

use libp2p::PeerId;
use libp2p::request_response::{self, InboundFailure, InboundRequestId, Message, ResponseChannel};
use libp2p::swarm::ConnectionId;
use sotto_proto::chain::{Buckets, SignedHeader, Transaction};
use sotto_proto::id::ChainId;
use sotto_proto::request::{
    ChainRequest, ChainResponse, Error, ListRequest, ListResponse, StatusRequest, StatusResponse,
};
use sotto_proto::sign::Ed25519;
use sotto_proto::time::Monotonic;

use super::behaviour::ExchangeEvent;
use super::event::ReplyChannel;
use super::inbox::Asker;
use super::outbox::Protocol;
use super::{Event, Network, ReplyTo, Request, Response, Role};
use crate::chain_sync::protocol::Received;
use crate::chain_sync::route::Route;
use crate::peer;

/// Over which connection of whom something came.
type Source = (PeerId, ConnectionId);

impl Network {
    /// Answers a request. An answer of another protocol than the request's is not sent, and the peer sees its request
    /// fail.
    pub fn respond(&mut self, reply: ReplyTo, response: Response) {
        match (reply.0, response) {
            (ReplyChannel::Chain(id, channel), Response::Chain(response)) => {
                self.charge(Protocol::Chain, id, chain_bytes(&response));
                self.answer_chain(channel, response);
            }
            (ReplyChannel::List(id, channel), Response::List(response)) => {
                self.charge(Protocol::List, id, list_bytes(&response));
                // Refused only when the asker has gone meanwhile.
                let _gone = self.swarm.behaviour_mut().list.send_response(channel, response);
            }
            (ReplyChannel::Repair(channel), Response::Repair(response)) => self.answer_repair(channel, response),
            (ReplyChannel::Offer(channel), Response::Offer(response)) => self.answer_offer(channel, response),
            (reply, response) => tracing::error!(?reply, ?response, "answer of another protocol"),
        }
    }

    pub(super) fn answer_chain(&mut self, channel: ResponseChannel<ChainResponse>, response: ChainResponse) {
        // Refused only when the asker has gone meanwhile.
        let _gone = self.swarm.behaviour_mut().chain.send_response(channel, response);
    }

    pub(super) fn on_chain(&mut self, event: ExchangeEvent<ChainRequest, ChainResponse>) {
        let Some((from, message)) = self.sort(Protocol::Chain, event) else { return };
        match message {
            Message::Response { request_id, response } => {
                self.on_response(Protocol::Chain, request_id, Response::Chain(response));
            }
            Message::Request { request_id, request, channel } => {
                if let Some(asker) = self.asker(from) {
                    self.on_chain_request(asker, request_id, request, channel);
                }
            }
        }
    }

    pub(super) fn on_list(&mut self, event: ExchangeEvent<ListRequest, ListResponse>) {
        let Some((from, message)) = self.sort(Protocol::List, event) else { return };
        match message {
            Message::Response { request_id, response } => {
                self.on_response(Protocol::List, request_id, Response::List(response));
            }
            Message::Request { request_id, request, channel } => {
                if let Some(asker) = self.asker(from) {
                    self.on_list_request(asker, request_id, request, channel);
                }
            }
        }
    }

    pub(super) fn on_status_event(&mut self, event: ExchangeEvent<StatusRequest, StatusResponse>) {
        let Some((from, message)) = self.sort(Protocol::Status, event) else { return };
        match message {
            Message::Response { request_id, response } => {
                self.on_response(Protocol::Status, request_id, Response::Status(response));
            }
            Message::Request { request_id, request, channel } => {
                if let Some(asker) = self.asker(from) {
                    self.on_status_request(asker, request_id, request, channel);
                }
            }
        }
    }

    /// Books what ended, and passes on what was said.
    pub(super) fn sort<Q, A>(
        &mut self,
        protocol: Protocol,
        event: ExchangeEvent<Q, A>,
    ) -> Option<(Source, Message<Received<Q>, A>)> {
        match event {
            request_response::Event::Message { peer, connection_id, message } => {
                return Some(((peer, connection_id), message));
            }
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
        asker: Asker,
        id: InboundRequestId,
        request: Received<ChainRequest>,
        channel: ResponseChannel<ChainResponse>,
    ) {
        let now = self.clock.monotonic();
        match self.inbox.admit(asker, Protocol::Chain, id, request, now) {
            Err(error) => {
                self.metrics.request_refused(error.label());
                self.answer_chain(channel, ChainResponse::Error(error));
            }
            Ok(ChainRequest::SubmitTransaction(bytes)) if self.role != Role::Producer => {
                self.pass_on(&asker, bytes, channel, now);
            }
            Ok(request) => {
                let reply = ReplyTo(ReplyChannel::Chain(id, channel));
                self.events.push_back(Event::Request { from: asker.node, request: Request::Chain(request), reply });
            }
        }
    }

    /// Passes a transaction on to the producer, if it is one: there this node pays for it.
    fn pass_on(&mut self, asker: &Asker, bytes: Vec<u8>, channel: ResponseChannel<ChainResponse>, now: Monotonic) {
        if let Err(error) = well_signed(&bytes, &self.chain).and_then(|()| self.inbox.relay(asker, now)) {
            self.metrics.request_refused(error.label());
            self.answer_chain(channel, ChainResponse::Error(error));
            return;
        }
        let id = self.new_request();
        if let Err(error) = self.submit(id, Some(channel), Route::passed_on(self.producer), bytes) {
            tracing::debug!(%error, "transaction not passed on");
        }
    }

    fn on_list_request(
        &mut self,
        asker: Asker,
        id: InboundRequestId,
        request: Received<ListRequest>,
        channel: ResponseChannel<ListResponse>,
    ) {
        let now = self.clock.monotonic();
        match self.inbox.admit(asker, Protocol::List, id, request, now) {
            Err(error) => {
                self.metrics.request_refused(error.label());
                // Refused only when the asker has gone meanwhile.
                let _gone = self.swarm.behaviour_mut().list.send_response(channel, ListResponse::Error(error));
            }
            Ok(request) => {
                let reply = ReplyTo(ReplyChannel::List(id, channel));
                self.events.push_back(Event::Request { from: asker.node, request: Request::List(request), reply });
            }
        }
    }

    /// Answered here. There are no typed errors in this protocol: a neighbour that breaks it gets no answer.
    fn on_status_request(
        &mut self,
        asker: Asker,
        id: InboundRequestId,
        request: Received<StatusRequest>,
        channel: ResponseChannel<StatusResponse>,
    ) {
        let now = self.clock.now();
        match self.inbox.admit(asker, Protocol::Status, id, request, now.monotonic) {
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

    pub(super) fn asker(&mut self, (peer, connection): Source) -> Option<Asker> {
        let node = peer::node_id(&peer).ok()?;
        let behaviour = self.swarm.behaviour_mut();
        behaviour.membership.used(node);
        let address = behaviour.limits.address_of(connection);
        Some(Asker::new(node, self.is_node(&node), address))
    }

    fn charge(&mut self, protocol: Protocol, id: InboundRequestId, bytes: usize) {
        self.metrics.served(bytes);
        let now = self.clock.monotonic();
        self.inbox.answered(protocol, id, bytes, now);
    }
}

/// Whether the producer would look at these bytes at all.
fn well_signed(transaction: &[u8], chain: &ChainId) -> Result<(), Error> {
    let transaction = Transaction::decode(transaction).map_err(|_| Error::Malformed)?;
    if transaction.verify(chain, &Ed25519) { Ok(()) } else { Err(Error::Unauthorized) }
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
        ListResponse::Hashes { .. } => Buckets::LEN,
        ListResponse::Headers(headers) => headers.len() * SignedHeader::LEN,
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
