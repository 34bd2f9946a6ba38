//! Gives an earlier answer of the same kind in place of the right one: in turn one that somebody else got, and an old one
//! to the same asker. As long as there is none, the right one.

use std::collections::VecDeque;
use std::mem::discriminant;
use std::time::Instant;

use sotto_behaviours::network::Response;
use sotto_node::service_node::{Outgoing, Output, To, Tunnel};
use sotto_proto::id::NodeId;
use sotto_proto::request::SwarmResponse;

use crate::answers::Turns;
use crate::mode::Misbehaviour;

/// Answers remembered, of clients and of peers; each has up to 1 MiB.
const REMEMBERED: usize = 32;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Replaying {
    clients: Earlier<Tunnel, SwarmResponse>,
    peers: Earlier<NodeId, Response>,
}

impl Misbehaviour for Replaying {
    fn instead_of(&mut self, mut output: Output, _now: Instant) -> Option<Output> {
        match &mut output {
            Output::TunnelAnswer { tunnel, response, .. } => {
                self.clients.exchange(*tunnel, response, |one, other| discriminant(one) == discriminant(other));
            }
            Output::Send { to: To::Node(node), message: Outgoing::Response { response, .. } } => {
                self.peers.exchange(*node, response, same_kind);
            }
            _ => {}
        }
        Some(output)
    }
}

/// Right answers, oldest first, with those who asked.
#[derive(Debug)]
struct Earlier<Asker, Answer> {
    said: VecDeque<(Asker, Answer)>,
    turns: Turns,
}

impl<Asker, Answer> Default for Earlier<Asker, Answer> {
    fn default() -> Self {
        Self { said: VecDeque::new(), turns: Turns::default() }
    }
}

impl<Asker: PartialEq, Answer: Clone + PartialEq> Earlier<Asker, Answer> {
    fn exchange(&mut self, asker: Asker, answer: &mut Answer, same_kind: impl Fn(&Answer, &Answer) -> bool) {
        let right = answer.clone();
        let to_another = self.turns.next().is_multiple_of(2);
        let fits = |said: &&(Asker, Answer)| same_kind(&said.1, &right) && said.1 != right;
        let wanted = |said: &&(Asker, Answer)| fits(said) && (said.0 != asker) == to_another;
        let earlier = self.said.iter().find(wanted).or_else(|| self.said.iter().find(fits));
        if let Some((_, earlier)) = earlier {
            *answer = earlier.clone();
        }
        self.said.push_back((asker, right));
        if self.said.len() > REMEMBERED {
            self.said.pop_front();
        }
    }
}

/// Whether both answer the same question.
fn same_kind(one: &Response, other: &Response) -> bool {
    match (one, other) {
        (Response::Chain(one), Response::Chain(other)) => discriminant(one) == discriminant(other),
        (Response::List(one), Response::List(other)) => discriminant(one) == discriminant(other),
        (Response::Repair(one), Response::Repair(other)) => discriminant(one) == discriminant(other),
        (Response::Offer(one), Response::Offer(other)) => discriminant(one) == discriminant(other),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{mailbox, other_outputs, peer_answers, records, same, to_client, to_peer};

    fn asked(replaying: &mut Replaying, tunnel: u64, answer: SwarmResponse) -> SwarmResponse {
        match replaying.instead_of(to_client(tunnel, answer), Instant::now()) {
            Some(Output::TunnelAnswer { tunnel: of, response, .. }) if of == Tunnel(tunnel) => response,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn clients_get_what_another_got_and_then_what_they_had_themselves() {
        let mut replaying = Replaying::default();
        let mail = |owner, count| SwarmResponse::Records(records(mailbox(owner), count));
        assert_eq!(asked(&mut replaying, 1, mail(1, 1)), mail(1, 1), "there is no other yet");
        assert_eq!(asked(&mut replaying, 2, mail(2, 1)), mail(1, 1), "somebody else's, for want of an own");
        assert_eq!(asked(&mut replaying, 2, mail(2, 2)), mail(1, 1), "somebody else's");
        assert_eq!(asked(&mut replaying, 2, mail(2, 3)), mail(2, 1), "an old one");
        let deleted = SwarmResponse::Deleted { unknown: Vec::new() };
        assert_eq!(asked(&mut replaying, 3, deleted.clone()), deleted, "none of this kind yet");
    }

    #[test]
    fn peers_get_earlier_answers_to_the_same_kind_of_question() {
        let mut replaying = Replaying::default();
        for (first, second) in peer_answers(1).into_iter().zip(peer_answers(2)) {
            assert!(same_kind(&first, &second));
            let honest = to_peer(1, first);
            assert!(replaying.instead_of(honest.clone(), Instant::now()).is_some_and(|said| same(&said, &honest)));
            let replayed = replaying.instead_of(to_peer(2, second.clone()), Instant::now()).unwrap();
            let Output::Send { message: Outgoing::Response { response, .. }, .. } = &replayed else { panic!() };
            assert!(same_kind(response, &second));
            let differs = *response != second;
            assert!(differs || same(&honest, &to_peer(1, second)), "{replayed:?}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_no_answer_passes() {
        let mut replaying = Replaying::default();
        for count in 0..100 {
            asked(&mut replaying, 1, SwarmResponse::Records(records(mailbox(1), count)));
        }
        assert_eq!(replaying.clients.said.len(), REMEMBERED);
        for honest in other_outputs() {
            assert!(replaying.instead_of(honest.clone(), Instant::now()).is_some_and(|passed| same(&passed, &honest)));
        }
    }
}
