//! Says one thing to one and another thing to the next, and signs both.
//!
//! | to whom | what |
//! | --- | --- |
//! | senders | receipts of one record that differ in height and expiry, each with a good signature |
//! | members | sets that are the same in one answer and not in the next; another set in every question |
//! | former owners | nothing is wanted, all is durable; what they hand over and what repair brings is not kept |

use std::time::Instant;

use sotto_behaviours::network::{Request, Response};
use sotto_node::service_node::{Outgoing, Output};
use sotto_node::store::Write;
use sotto_node::store::records::Source;
use sotto_proto::id::Height;
use sotto_proto::limits::OFFER_ITEMS;
use sotto_proto::request::{
    Fingerprint, OfferResponse, Receipt, RepairRequest, RepairResponse, Summary, SwarmResponse, Wanted,
};
use sotto_proto::sign::Signature;
use sotto_proto::time::UnixSeconds;

use crate::answers::{Answer, Turns, answer_in, flipped};
use crate::mode::{Misbehaviour, Signer};

/// Blocks and seconds by which receipts differ.
const APART: u64 = 1000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Equivocating {
    signer: Signer,
    turns: Turns,
}

impl Equivocating {
    pub(crate) fn new(signer: Signer) -> Self {
        Self { signer, turns: Turns::default() }
    }

    /// The same receipt of another height, for another time, or as it was.
    fn differ(&mut self, receipt: &mut Receipt, signature: &mut Signature) {
        match self.turns.next() % 4 {
            0 => return,
            1 => receipt.height = receipt.height.plus(APART),
            2 => receipt.height = Height::ZERO,
            _ => receipt.expiry = UnixSeconds(receipt.expiry.0.saturating_add(APART)),
        }
        *signature = receipt.sign(&self.signer.key, &self.signer.chain);
    }

    fn another(&mut self, summary: &mut Summary) {
        let turn = self.turns.next();
        summary.count = summary.count.wrapping_add(1);
        summary.fingerprint = Fingerprint::from(flipped(summary.fingerprint.as_bytes(), turn));
    }
}

impl Misbehaviour for Equivocating {
    fn instead_of(&mut self, mut output: Output, _now: Instant) -> Option<Output> {
        match &mut output {
            Output::Persist { batch, .. } => batch.batch.writes.retain(|write| !is_handed(write)),
            Output::Send { message: Outgoing::Request { request, .. }, .. } => {
                if let Request::Repair(RepairRequest::Summary(summary)) = request {
                    self.another(summary);
                }
            }
            _ => match answer_in(&mut output) {
                Some(Answer::Client(SwarmResponse::Stored { receipt, signature }, _)) => {
                    self.differ(receipt, signature);
                }
                Some(Answer::Peer(Response::Repair(RepairResponse::Summary { equal }))) => {
                    *equal = self.turns.next().is_multiple_of(2);
                }
                Some(Answer::Peer(Response::Offer(OfferResponse::Wanted(wanted)))) => want_nothing(wanted),
                _ => {}
            },
        }
        Some(output)
    }
}

/// Whether a node brought it, and not a client or gossip.
const fn is_handed(write: &Write) -> bool {
    matches!(write, Write::PutRecord { entry, .. } if matches!(entry.source, Source::Repair))
}

/// An answer about as many items, none of which is lacking.
fn want_nothing(wanted: &mut Wanted) {
    let items = (8..=OFFER_ITEMS).step_by(8).find(|items| wanted.of(*items).is_some());
    if let Some(items) = items {
        *wanted = Wanted::new((0..items).map(|_| false));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sotto_node::service_node::{Tag, To};
    use sotto_proto::sign::Ed25519;

    use super::*;
    use crate::samples::{CHAIN, every_output, node, receipt, same, signer, summary, to_client, to_peer};

    fn peer_answer(equivocating: &mut Equivocating, honest: Response) -> Response {
        match equivocating.instead_of(to_peer(1, honest), Instant::now()) {
            Some(Output::Send { message: Outgoing::Response { response, .. }, .. }) => response,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn receipts_of_one_record_contradict_each_other_and_all_are_signed() {
        let (mut equivocating, (right, signature)) = (Equivocating::new(signer()), receipt(1));
        let mut given = BTreeSet::new();
        for _ in 0..4 {
            let honest = to_client(1, SwarmResponse::Stored { receipt: right, signature });
            let said = equivocating.instead_of(honest, Instant::now());
            let Some(Output::TunnelAnswer { response: SwarmResponse::Stored { receipt, signature }, .. }) = said else {
                panic!("{said:?}")
            };
            assert!(receipt.verify(&CHAIN, &signature, &Ed25519));
            assert_eq!((receipt.node, receipt.address, receipt.id), (right.node, right.address, right.id));
            given.insert((receipt.height, receipt.expiry));
        }
        assert_eq!(given.len(), 4);
    }

    #[test]
    fn a_set_is_the_same_and_not_the_same() {
        let mut equivocating = Equivocating::new(signer());
        let mut said = BTreeSet::new();
        for honest in [true, true, false, false] {
            let response = Response::Repair(RepairResponse::Summary { equal: honest });
            let Response::Repair(RepairResponse::Summary { equal }) = peer_answer(&mut equivocating, response) else {
                panic!()
            };
            said.insert((honest, equal));
        }
        assert_eq!(said.len(), 4);
    }

    #[test]
    fn every_member_is_asked_about_another_set() {
        let mut equivocating = Equivocating::new(signer());
        let mut asked = Vec::new();
        for member in 1..=5 {
            let request = Request::Repair(RepairRequest::Summary(summary(1)));
            let honest =
                Output::Send { to: To::Node(node(member)), message: Outgoing::Request { tag: Tag(1), request } };
            let said = equivocating.instead_of(honest, Instant::now());
            let Some(Output::Send { message: Outgoing::Request { request, .. }, .. }) = said else { panic!() };
            let Request::Repair(RepairRequest::Summary(said)) = request else { panic!() };
            assert_eq!(said.scope, summary(1).scope);
            assert!(said != summary(1) && !asked.contains(&said));
            asked.push(said);
        }
    }

    #[test]
    fn nothing_is_wanted_of_an_offer_of_any_length() {
        let mut equivocating = Equivocating::new(signer());
        for items in [1, 7, 8, 9, 1000, OFFER_ITEMS] {
            let honest = Wanted::new((0..items).map(|_| true));
            let response = Response::Offer(OfferResponse::Wanted(honest));
            let Response::Offer(OfferResponse::Wanted(wanted)) = peer_answer(&mut equivocating, response) else {
                panic!()
            };
            assert_eq!(wanted.of(items).map(|wanted| wanted.filter(|is| *is).count()), Some(0), "of {items}");
        }
    }

    #[test]
    fn what_nodes_bring_is_not_kept_what_clients_bring_is_and_all_else_passes() {
        let (mut equivocating, mut dropped) = (Equivocating::new(signer()), 0);
        for honest in every_output(1) {
            let passed = equivocating.instead_of(honest.clone(), Instant::now()).unwrap();
            match (&honest, &passed) {
                (Output::Persist { batch: all, .. }, Output::Persist { batch, .. }) => {
                    let (handed, kept): (Vec<_>, Vec<_>) = all.batch.writes.iter().cloned().partition(is_handed);
                    assert_eq!(batch.batch.writes, kept);
                    dropped += handed.len();
                }
                (Output::TunnelAnswer { response: SwarmResponse::Stored { .. }, .. }, _) => {}
                (Output::Send { message: Outgoing::Request { .. }, .. }, _) => {}
                _ => {
                    let altered = matches!(
                        answer_in(&mut honest.clone()),
                        Some(Answer::Peer(
                            Response::Repair(RepairResponse::Summary { .. })
                                | Response::Offer(OfferResponse::Wanted(_))
                        ))
                    );
                    assert!(altered || same(&passed, &honest), "{honest:?}");
                }
            }
        }
        assert_eq!(dropped, 1, "of three records");
    }
}
