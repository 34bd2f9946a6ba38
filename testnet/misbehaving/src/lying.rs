//! Says what is not so of itself and of the chain, each time something else.
//!
//! | asked for | what it says |
//! | --- | --- |
//! | how it stands, clock, final height | a height far behind or ahead, a clock two hours off, not registered |
//! | headers | headers that nobody signed |
//! | blocks | none, of a chain that is far ahead or has ended here |
//! | the tip | another block, far behind or ahead |
//! | buckets of the list, their hashes | a flipped bit, a bucket without nodes, those of another height |
//! | to keep a record | that the clock is wrong, that more work is needed (it keeps it all the same) |

use std::collections::BTreeMap;
use std::time::Instant;

use sotto_behaviours::network::Response;
use sotto_node::service_node::{Outgoing, Output, Part};
use sotto_proto::chain::{Buckets, Header, SignedHeader};
use sotto_proto::id::{BlockHash, Hash, Height};
use sotto_proto::request::{ChainResponse, Error, Info, ListResponse, SwarmResponse};
use sotto_proto::sign::Signature;
use sotto_proto::time::UnixMillis;

use crate::answers::{Answer, Turns, answer_in, flip, flipped};
use crate::mode::Misbehaviour;

/// Blocks that a false height is away.
const BLOCKS: u64 = 1000;
/// Milliseconds that a false clock is away.
const CLOCK_MS: u64 = 2 * 60 * 60 * 1000;
/// Headers that are made up at once.
const HEADERS: usize = 64;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lying {
    turns: Turns,
}

impl Misbehaviour for Lying {
    fn instead_of(&mut self, mut output: Output, _now: Instant) -> Option<Output> {
        if let Output::Send { message, .. } = &mut output
            && let Outgoing::Stored { reply, part, from, limit, .. } = message
        {
            let response = self.made_up(*part, *from, limit.count);
            *message = Outgoing::Response { reply: *reply, response };
            return Some(output);
        }
        match answer_in(&mut output) {
            Some(Answer::Client(response, _)) => self.refuse(response),
            Some(Answer::Peer(Response::List(ListResponse::Info(info)))) => self.stand_otherwise(info),
            Some(Answer::Peer(Response::List(ListResponse::Buckets { height, buckets }))) => {
                self.falsify(height, buckets);
            }
            Some(Answer::Peer(Response::List(ListResponse::Hashes { hashes, .. }))) => self.falsify_hashes(hashes),
            Some(Answer::Peer(Response::Chain(ChainResponse::Tip { height, hash }))) => {
                let turn = self.turns.next();
                (*height, *hash) = (elsewhere(*height, turn), BlockHash::new(flipped(hash.as_bytes(), turn)));
            }
            _ => {}
        }
        Some(output)
    }
}

impl Lying {
    /// Refuses what was stored.
    fn refuse(&mut self, response: &mut SwarmResponse) {
        let SwarmResponse::Stored { receipt, .. } = response else { return };
        // The record's last second is now: as far from the truth as its life is long.
        *response = SwarmResponse::Error(match self.turns.next() % 2 {
            0 => Error::ClockSkew { now: receipt.expiry },
            _ => Error::InsufficientWork { difficulty: u32::MAX },
        });
    }

    fn stand_otherwise(&mut self, info: &mut Info) {
        match self.turns.next() % 4 {
            0 => info.final_height = info.final_height.minus(BLOCKS),
            1 => info.final_height = info.final_height.plus(BLOCKS),
            2 => info.time = wrong(info.time, 0),
            _ => (info.time, info.state) = (wrong(info.time, 1), None),
        }
    }

    fn falsify(&mut self, height: &mut Height, buckets: &mut BTreeMap<u8, Vec<u8>>) {
        let turn = self.turns.next();
        let filled = buckets.values_mut().find(|records| !records.is_empty());
        match (turn % 3, filled) {
            (0, Some(records)) => flip(records, turn),
            (1, Some(records)) => records.clear(),
            _ => *height = height.next(),
        }
    }

    fn falsify_hashes(&mut self, hashes: &mut Buckets) {
        let (turn, mut false_hashes) = (self.turns.next(), *hashes.hashes());
        let at = turn.checked_rem(false_hashes.len()).unwrap_or(0);
        if let Some(hash) = false_hashes.get_mut(at) {
            *hash = Hash::new(flipped(hash.as_bytes(), turn));
        }
        *hashes = false_hashes.into();
    }

    fn made_up(&mut self, part: Part, from: Height, count: usize) -> Response {
        let turn = self.turns.next();
        match part {
            Part::Blocks => {
                let tip = if turn.is_multiple_of(2) { from.plus(BLOCKS) } else { from.minus(1) };
                Response::Chain(ChainResponse::Blocks { blocks: Vec::new(), tip })
            }
            Part::Headers => {
                let heights = (from.0..=u64::MAX).take(count.min(HEADERS));
                Response::List(ListResponse::Headers(heights.map(|height| unsigned(Height(height), turn)).collect()))
            }
        }
    }
}

/// A header of which nothing is true but the height.
fn unsigned(height: Height, turn: usize) -> SignedHeader {
    let hash = Hash::new(flipped(&[0; 32], turn));
    let header = Header {
        height,
        previous: hash.into(),
        time: UnixMillis(height.0),
        tx_root: hash,
        state_root: hash,
        list_root: hash,
    };
    SignedHeader { header, signature: Signature::new([0; 64]) }
}

fn elsewhere(height: Height, turn: usize) -> Height {
    if turn.is_multiple_of(2) { height.minus(BLOCKS) } else { height.plus(BLOCKS) }
}

fn wrong(time: UnixMillis, turn: usize) -> UnixMillis {
    let ahead = turn.is_multiple_of(2);
    UnixMillis(if ahead { time.0.saturating_add(CLOCK_MS) } else { time.0.saturating_sub(CLOCK_MS) })
}

#[cfg(test)]
mod tests {
    use sotto_proto::sign::Ed25519;

    use super::*;
    use crate::samples::{CHAIN, authority, every_output, info, receipt, same, stored, to_client, to_peer};

    fn said(lying: &mut Lying, honest: Response) -> Response {
        response_in(lying.instead_of(to_peer(1, honest), Instant::now()))
    }

    fn response_in(output: Option<Output>) -> Response {
        match output {
            Some(Output::Send { message: Outgoing::Response { response, .. }, .. }) => response,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn height_clock_and_standing_are_wrong_in_turn() {
        let (mut lying, right) = (Lying::default(), info(5000));
        let said: Vec<_> = (0..4)
            .map(|_| match said(&mut lying, Response::List(ListResponse::Info(right.clone()))) {
                Response::List(ListResponse::Info(info)) => info,
                other => panic!("{other:?}"),
            })
            .collect();
        let heights: Vec<_> = said.iter().map(|info| info.final_height.0).collect();
        assert_eq!(heights, [4000, 6000, 5000, 5000]);
        let clocks: Vec<_> = said.iter().map(|info| info.time.0 as i64 - right.time.0 as i64).collect();
        assert_eq!(clocks, [0, 0, CLOCK_MS as i64, -(CLOCK_MS as i64)]);
        assert!(right.state.is_some() && said[3].state.is_none());
    }

    #[test]
    fn headers_are_consecutive_as_asked_and_nobody_signed_them() {
        let mut lying = Lying::default();
        let output = lying.instead_of(stored(Part::Headers, Height(7), 3), Instant::now());
        let Response::List(ListResponse::Headers(headers)) = response_in(output) else { panic!() };
        let heights: Vec<_> = headers.iter().map(|signed| signed.header.height.0).collect();
        assert_eq!(heights, [7, 8, 9]);
        assert!(headers.iter().all(|signed| !signed.verify(&CHAIN, &authority().public(), &Ed25519)));
    }

    #[test]
    fn a_chain_is_far_ahead_and_then_at_its_end_and_never_shown() {
        let mut lying = Lying::default();
        for tip in [1007, 6] {
            let output = lying.instead_of(stored(Part::Blocks, Height(7), 100), Instant::now());
            let none = ChainResponse::Blocks { blocks: Vec::new(), tip: Height(tip) };
            assert_eq!(response_in(output), Response::Chain(none));
        }
    }

    #[test]
    fn lists_and_their_hashes_are_never_those_of_the_chain() {
        let mut lying = Lying::default();
        let buckets = BTreeMap::from([(3, vec![1; 40]), (4, Vec::new())]);
        for _ in 0..6 {
            let honest = Response::List(ListResponse::Buckets { height: Height(9), buckets: buckets.clone() });
            assert_ne!(said(&mut lying, honest.clone()), honest);
            let honest =
                Response::List(ListResponse::Hashes { height: Height(9), hashes: [Hash::new([1; 32]); 256].into() });
            assert_ne!(said(&mut lying, honest.clone()), honest);
        }
        let honest = Response::List(ListResponse::Buckets { height: Height(9), buckets: BTreeMap::new() });
        assert_ne!(said(&mut lying, honest.clone()), honest, "a list of nobody is of another height");
    }

    #[test]
    fn who_stores_is_told_a_wrong_time_and_then_a_wrong_price() {
        let (mut lying, (receipt, signature)) = (Lying::default(), receipt(1));
        for expected in [Error::ClockSkew { now: receipt.expiry }, Error::InsufficientWork { difficulty: u32::MAX }] {
            let honest = to_client(1, SwarmResponse::Stored { receipt, signature });
            let said = lying.instead_of(honest, Instant::now());
            let Some(Output::TunnelAnswer { response, .. }) = said else { panic!() };
            assert_eq!(response, SwarmResponse::Error(expected));
        }
    }

    #[test]
    fn all_else_passes() {
        for honest in every_output(1) {
            let is_lied_about = matches!(&honest, Output::Send { message: Outgoing::Stored { .. }, .. })
                || matches!(
                    answer_in(&mut honest.clone()),
                    Some(
                        Answer::Client(SwarmResponse::Stored { .. }, _)
                            | Answer::Peer(
                                Response::List(
                                    ListResponse::Info(_) | ListResponse::Buckets { .. } | ListResponse::Hashes { .. }
                                ) | Response::Chain(ChainResponse::Tip { .. })
                            )
                    )
                );
            let passed = Lying::default().instead_of(honest.clone(), Instant::now()).unwrap();
            assert_eq!(same(&passed, &honest), !is_lied_about, "{honest:?}");
        }
    }
}
