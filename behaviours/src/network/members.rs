//! Requests that only some peers can make at all: `repair` of members of the own swarm, `offer` of registered nodes.
//!
//! Everybody else negotiates in vain, so nothing here asks who it is. What is served to members is not charged to the
//! allowance that `chain` and `list` share, or a member that syncs could not be brought up to date.

use libp2p::request_response::{Message, ResponseChannel};
use sotto_proto::request::{OfferRequest, OfferResponse, RepairRequest, RepairResponse};

use super::behaviour::ExchangeEvent;
use super::event::ReplyChannel;
use super::outbox::Protocol;
use super::{Event, Network, ReplyTo, Request, Response};

impl Network {
    pub(super) fn on_repair(&mut self, event: ExchangeEvent<RepairRequest, RepairResponse>) {
        let Some((source, message)) = self.sort(Protocol::Repair, event) else { return };
        let (id, request, channel) = match message {
            Message::Response { request_id, response } => {
                self.on_response(Protocol::Repair, request_id, Response::Repair(response));
                return;
            }
            Message::Request { request_id, request, channel } => (request_id, request, channel),
        };
        let Some(asker) = self.asker(source) else { return };
        let now = self.clock.monotonic();
        match self.inbox.admit(asker, Protocol::Repair, id, request, now) {
            Err(error) => {
                self.metrics.request_refused(error.label());
                self.answer_repair(channel, RepairResponse::Error(error));
            }
            Ok(request) => {
                let reply = ReplyTo(ReplyChannel::Repair(channel));
                self.events.push_back(Event::Request { from: asker.node, request: Request::Repair(request), reply });
            }
        }
    }

    pub(super) fn on_offer(&mut self, event: ExchangeEvent<OfferRequest, OfferResponse>) {
        let Some((source, message)) = self.sort(Protocol::Offer, event) else { return };
        let (id, request, channel) = match message {
            Message::Response { request_id, response } => {
                self.on_response(Protocol::Offer, request_id, Response::Offer(response));
                return;
            }
            Message::Request { request_id, request, channel } => (request_id, request, channel),
        };
        let Some(asker) = self.asker(source) else { return };
        let now = self.clock.monotonic();
        match self.inbox.admit(asker, Protocol::Offer, id, request, now) {
            Err(error) => {
                self.metrics.request_refused(error.label());
                self.answer_offer(channel, OfferResponse::Error(error));
            }
            Ok(request) => {
                let reply = ReplyTo(ReplyChannel::Offer(channel));
                self.events.push_back(Event::Request { from: asker.node, request: Request::Offer(request), reply });
            }
        }
    }

    pub(super) fn answer_repair(&mut self, channel: ResponseChannel<RepairResponse>, response: RepairResponse) {
        if let Some(gate) = self.swarm.behaviour_mut().repair.as_mut() {
            // Refused only when the asker has gone meanwhile.
            let _gone = gate.inner_mut().send_response(channel, response);
        }
    }

    pub(super) fn answer_offer(&mut self, channel: ResponseChannel<OfferResponse>, response: OfferResponse) {
        if let Some(gate) = self.swarm.behaviour_mut().offer.as_mut() {
            // Refused only when the asker has gone meanwhile.
            let _gone = gate.inner_mut().send_response(channel, response);
        }
    }
}
