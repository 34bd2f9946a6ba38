//! Own requests: to whom, over what, and who hears of the answer.

use libp2p::PeerId;
use libp2p::request_response::{OutboundFailure, OutboundRequestId, ResponseChannel};
use sotto_proto::id::NodeId;
use sotto_proto::request::{ChainRequest, ChainResponse, Error, Message};

use super::behaviour::GatedExchange;
use super::outbox::{Protocol, Purpose};
use super::{Event, Network, Request, RequestError, RequestId, Response, SendError};
use crate::chain_sync::route::Route;
use crate::membership::Unreachable;
use crate::peer;

/// Transactions under way at once.
const SUBMISSIONS: usize = 256;

/// A transaction on its way to the producer.
#[derive(Debug)]
pub(super) struct Submission {
    /// The peer that handed it over; `None`: this process made it.
    origin: Option<ResponseChannel<ChainResponse>>,
    route: Route,
    bytes: Vec<u8>,
}

impl Network {
    /// Sends a request over a connection there is, or as soon as there is one.
    pub(super) fn send(&mut self, to: NodeId, purpose: Purpose, request: Request) -> Result<(), SendError> {
        if to == self.own {
            return Err(SendError::Own);
        }
        if !self.outbox.has_room(&to, request.protocol()) {
            return Err(SendError::Busy);
        }
        if self.is_connected(&peer::peer_id(&to)) {
            self.dispatch(to, purpose, request);
            return Ok(());
        }
        self.swarm.behaviour_mut().membership.demand(to).map_err(|error| match error {
            Unreachable::NoAddress => SendError::NoAddress,
            Unreachable::BackingOff => SendError::Unreachable,
        })?;
        let until = self.clock.monotonic().plus(self.timeouts.request);
        self.outbox.wait(to, purpose, request, until);
        Ok(())
    }

    /// Sends a request to a connected peer.
    pub(super) fn dispatch(&mut self, to: NodeId, purpose: Purpose, request: Request) {
        let peer = peer::peer_id(&to);
        let protocol = request.protocol();
        let behaviour = self.swarm.behaviour_mut();
        if !matches!(purpose, Purpose::Status(_) | Purpose::Tip) {
            behaviour.membership.used(to);
        }
        let id = match request {
            Request::Chain(request) => Some(behaviour.chain.send_request(&peer, Ok(request))),
            Request::List(request) => Some(behaviour.list.send_request(&peer, Ok(request))),
            Request::Status(request) => send_gated(&mut behaviour.status, &peer, request),
            Request::Repair(request) => send_gated(&mut behaviour.repair, &peer, request),
            Request::Offer(request) => send_gated(&mut behaviour.offer, &peer, request),
        };
        match id {
            Some(id) => self.outbox.sent(to, purpose, protocol, id),
            None => self.concluded(to, purpose, Err(RequestError::Unsupported)),
        }
    }

    pub(super) fn on_response(&mut self, protocol: Protocol, id: OutboundRequestId, response: Response) {
        if let Some((node, purpose)) = self.outbox.answered(protocol, id) {
            self.concluded(node, purpose, Ok(response));
        }
    }

    pub(super) fn on_failure(&mut self, protocol: Protocol, id: OutboundRequestId, failure: OutboundFailure) {
        let Some((node, purpose)) = self.outbox.answered(protocol, id) else { return };
        let error = RequestError::from(failure);
        tracing::debug!(node = node.short(), ?protocol, %error, "no answer");
        self.metrics.request_failed(error.label());
        let is_foreign = error == RequestError::Unsupported;
        self.concluded(node, purpose, Err(error));
        if is_foreign {
            self.on_foreign(node, protocol);
        }
    }

    /// A request has its answer, or never will.
    pub(super) fn concluded(&mut self, from: NodeId, purpose: Purpose, result: Result<Response, RequestError>) {
        match purpose {
            Purpose::Caller(id) => self.events.push_back(Event::Response { from, id, result }),
            Purpose::Tip => {
                if let Ok(Response::Chain(ChainResponse::Tip { height, .. })) = result {
                    self.heard_tip(from, height);
                }
            }
            Purpose::Fetch(fetch) => self.on_blocks(from, fetch, chain_answer(result)),
            Purpose::Status(asked) => {
                if let Ok(Response::Status(status)) = result {
                    self.on_status(from, status, asked);
                }
            }
            Purpose::Transaction(id) => self.on_submitted(from, id, chain_answer(result)),
        }
    }

    /// Sets a transaction on its way.
    pub(super) fn submit(
        &mut self,
        id: RequestId,
        origin: Option<ResponseChannel<ChainResponse>>,
        route: Route,
        bytes: Vec<u8>,
    ) -> Result<(), SendError> {
        if self.submissions.len() >= SUBMISSIONS {
            if let Some(channel) = origin {
                self.answer_chain(channel, ChainResponse::Error(Error::Busy));
            }
            return Err(SendError::Busy);
        }
        self.submissions.insert(id, Submission { origin, route, bytes });
        self.submit_further(id, self.producer, Err(RequestError::Unreachable));
        Ok(())
    }

    fn on_submitted(&mut self, from: NodeId, id: RequestId, answer: Result<ChainResponse, RequestError>) {
        if Route::is_final(&answer) {
            self.submitted(from, id, answer);
        } else {
            self.submit_further(id, from, answer);
        }
    }

    /// Gives a transaction to the next on its route, or its maker the last answer there was.
    fn submit_further(&mut self, id: RequestId, mut from: NodeId, mut last: Result<ChainResponse, RequestError>) {
        let nodes: Vec<NodeId> = self.connected().filter(|node| self.is_node(node)).collect();
        loop {
            let Some(submission) = self.submissions.get_mut(&id) else { return };
            let Some(next) = submission.route.next(nodes.iter().copied()) else { break };
            let request = Request::Chain(ChainRequest::SubmitTransaction(submission.bytes.clone()));
            match self.send(next, Purpose::Transaction(id), request) {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(node = next.short(), %error, "cannot take a transaction");
                    (from, last) = (next, Err(RequestError::Unreachable));
                }
            }
        }
        self.submitted(from, id, last);
    }

    fn submitted(&mut self, from: NodeId, id: RequestId, answer: Result<ChainResponse, RequestError>) {
        match self.submissions.remove(&id).map(|submission| submission.origin) {
            Some(Some(channel)) => {
                let response = answer.unwrap_or(ChainResponse::Error(Error::Busy));
                self.answer_chain(channel, response);
            }
            Some(None) => {
                self.events.push_back(Event::Response { from, id, result: answer.map(Response::Chain) });
            }
            None => {}
        }
    }
}

/// Sends over a connection that the gate let through. Behind a closed gate there is none, and the behaviour inside
/// would dial for one.
fn send_gated<Q, A>(gate: &mut GatedExchange<Q, A>, peer: &PeerId, request: Q) -> Option<OutboundRequestId>
where
    Q: Message + Send + 'static,
    A: Message + Send + 'static,
{
    let gate = gate.as_mut().filter(|gate| gate.is_open(peer))?;
    Some(gate.inner_mut().send_request(peer, Ok(request)))
}

fn chain_answer(result: Result<Response, RequestError>) -> Result<ChainResponse, RequestError> {
    match result? {
        Response::Chain(response) => Ok(response),
        Response::List(_) | Response::Status(_) | Response::Repair(_) | Response::Offer(_) => {
            Err(RequestError::Malformed("an answer of another protocol".into()))
        }
    }
}
