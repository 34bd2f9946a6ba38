//! Says that another swarm owns the address: to clients, and to members that compare or hand over. In turn one that does
//! not exist, none at all, and one of a map that is far ahead or long over. An answer names a swarm and a height and
//! nothing else, so nodes are not named.

use std::time::Instant;

use sotto_behaviours::network::Response;
use sotto_node::service_node::Output;
use sotto_proto::id::{Height, SwarmId};
use sotto_proto::request::{Error, ListResponse, OfferResponse, RepairResponse, SwarmResponse};

use crate::answers::{Answer, Turns, answer_in};
use crate::mode::Misbehaviour;

/// Blocks that a false map is ahead.
const AHEAD: u64 = 1000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Redirecting {
    turns: Turns,
    /// The final height, as the node last said it.
    height: Height,
}

impl Misbehaviour for Redirecting {
    fn instead_of(&mut self, mut output: Output, _now: Instant) -> Option<Output> {
        match answer_in(&mut output) {
            // What is not about mail has no address that could be another swarm's.
            Some(Answer::Client(response, _)) if !is_about_mail(response) => {}
            None => {}
            Some(Answer::Client(response, more)) => {
                if let SwarmResponse::Stored { receipt, .. } = response {
                    self.height = receipt.height;
                }
                (*response, *more) = (SwarmResponse::Error(self.elsewhere()), false);
            }
            Some(Answer::Peer(Response::Repair(response))) => *response = RepairResponse::Error(self.elsewhere()),
            Some(Answer::Peer(Response::Offer(response))) => *response = OfferResponse::Error(self.elsewhere()),
            Some(Answer::Peer(Response::List(ListResponse::Info(info)))) => self.height = info.final_height,
            Some(Answer::Peer(_)) => {}
        }
        Some(output)
    }
}

/// Whether a client asked for something that only a swarm's members do.
const fn is_about_mail(response: &SwarmResponse) -> bool {
    matches!(response, SwarmResponse::Stored { .. } | SwarmResponse::Records(_) | SwarmResponse::Deleted { .. })
}

impl Redirecting {
    fn elsewhere(&mut self) -> Error {
        let turn = self.turns.next();
        // Odd, so that no two of them are the same and hardly one exists.
        let made_up = SwarmId(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * (turn as u64 % (1 << 32)) + 1));
        let (swarm, height) = match turn % 4 {
            0 => (made_up, self.height),
            1 => (SwarmId::NONE, self.height),
            2 => (made_up, self.height.plus(AHEAD)),
            _ => (made_up, Height::ZERO),
        };
        Error::WrongSwarm { swarm, height }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{every_output, receipt, same, to_client};

    fn is_redirected(output: &Output) -> bool {
        matches!(
            answer_in(&mut output.clone()),
            Some(
                Answer::Client(SwarmResponse::Error(Error::WrongSwarm { .. }), false)
                    | Answer::Peer(
                        Response::Repair(RepairResponse::Error(Error::WrongSwarm { .. }))
                            | Response::Offer(OfferResponse::Error(Error::WrongSwarm { .. }))
                    )
            )
        )
    }

    #[test]
    fn who_stores_reads_deletes_compares_or_hands_over_is_sent_elsewhere_all_else_passes() {
        let mut redirecting = Redirecting::default();
        for honest in every_output(1) {
            let is_about_mail = match answer_in(&mut honest.clone()) {
                Some(Answer::Client(response, _)) => is_about_mail(response),
                Some(Answer::Peer(response)) => matches!(response, Response::Repair(_) | Response::Offer(_)),
                None => false,
            };
            let passed = redirecting.instead_of(honest.clone(), Instant::now()).unwrap();
            assert!(if is_about_mail { is_redirected(&passed) } else { same(&passed, &honest) }, "{honest:?}");
        }
    }

    #[test]
    fn swarms_are_made_up_and_maps_of_now_of_later_and_of_long_ago() {
        let (mut redirecting, (receipt, signature)) = (Redirecting::default(), receipt(1));
        let mut said = Vec::new();
        for _ in 0..4 {
            let stored = to_client(1, SwarmResponse::Stored { receipt, signature });
            let passed = redirecting.instead_of(stored, Instant::now());
            let Some(Output::TunnelAnswer { response: SwarmResponse::Error(error), .. }) = passed else { panic!() };
            let Error::WrongSwarm { swarm, height } = error else { panic!() };
            said.push((swarm, height));
        }
        let heights: Vec<_> = said.iter().map(|(_, height)| *height).collect();
        assert_eq!(heights, [receipt.height, receipt.height, receipt.height.plus(AHEAD), Height::ZERO]);
        assert_eq!(said[1].0, SwarmId::NONE);
        assert!(said[0].0 != said[2].0 && said[2].0 != said[3].0);
    }
}
