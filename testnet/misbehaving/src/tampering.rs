//! Alters what is in its answers, each time in another way: a flipped bit, another recipient's record, a record that is
//! cut or told twice, numbers that are wrong, receipts that do not hold.

use std::collections::VecDeque;
use std::time::Instant;

use sotto_behaviours::network::Response;
use sotto_node::service_node::Output;
use sotto_proto::id::RecordId;
use sotto_proto::request::{Item, Records, RepairResponse, StoredRecord, SwarmResponse};
use sotto_proto::sign::Signature;

use crate::answers::{Answer, Turns, answer_in, flip, flipped};
use crate::mode::Misbehaviour;

/// Records of others that are remembered.
const REMEMBERED: usize = 16;
/// Ways to alter an answer with records.
const WAYS: usize = 6;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tampering {
    turns: Turns,
    /// Records that were read, newest last.
    seen: VecDeque<Vec<u8>>,
}

impl Misbehaviour for Tampering {
    fn instead_of(&mut self, mut output: Output, _now: Instant) -> Option<Output> {
        match answer_in(&mut output) {
            Some(Answer::Client(SwarmResponse::Records(records), _)) => self.alter(records),
            Some(Answer::Client(SwarmResponse::Stored { receipt, signature }, _)) => match self.turns.next() {
                turn if turn.is_multiple_of(2) => *signature = Signature::new(flipped(signature.as_bytes(), turn)),
                turn => receipt.id = RecordId::new(flipped(receipt.id.as_bytes(), turn)),
            },
            Some(Answer::Peer(Response::Repair(RepairResponse::Items { items, .. }))) => {
                for item in items {
                    let (Item::Record(bytes) | Item::Delete(bytes)) = item;
                    flip(bytes, self.turns.next());
                }
            }
            _ => {}
        }
        Some(output)
    }
}

impl Tampering {
    fn alter(&mut self, records: &mut Records) {
        let honest: Vec<_> = records.records.iter().map(|stored| stored.record.clone()).collect();
        let turn = self.turns.next();
        match turn % WAYS {
            0 => records.records.iter_mut().for_each(|stored| flip(&mut stored.record, turn)),
            1 => self.exchange(records, turn),
            2 => {
                for stored in &mut records.records {
                    stored.record.pop();
                }
            }
            3 => tell_twice(records),
            // There is always more, and it is at the end of all numbers.
            4 => (records.more, records.next_seq) = (true, u64::MAX),
            // Of another database.
            _ => records.epoch ^= 1,
        }
        self.seen.extend(honest);
        let beyond = self.seen.len().saturating_sub(REMEMBERED);
        self.seen.drain(..beyond);
    }

    /// Another recipient's record in place of each; a flipped bit where none is known.
    fn exchange(&self, records: &mut Records, turn: usize) {
        for stored in &mut records.records {
            let other = self.seen.iter().find(|other| address(other) != address(&stored.record));
            match other {
                Some(other) => stored.record.clone_from(other),
                None => flip(&mut stored.record, turn),
            }
        }
    }
}

/// The last record once more, as one that came later.
fn tell_twice(records: &mut Records) {
    let Some(last) = records.records.last() else { return };
    let again = StoredRecord { seq: last.seq.saturating_add(1), record: last.record.clone() };
    records.next_seq = records.next_seq.max(again.seq);
    records.records.push(again);
}

/// The address in a record's bytes, behind the version (B4).
fn address(record: &[u8]) -> Option<&[u8]> {
    record.get(1..34)
}

#[cfg(test)]
mod tests {
    use sotto_proto::envelope::Record;
    use sotto_proto::sign::Ed25519;

    use super::*;
    use crate::samples::{CHAIN, every_output, mailbox, receipt, records, same, to_client, to_peer};

    fn answer(tampering: &mut Tampering, honest: SwarmResponse) -> SwarmResponse {
        match tampering.instead_of(to_client(1, honest), Instant::now()) {
            Some(Output::TunnelAnswer { response, .. }) => response,
            other => panic!("{other:?}"),
        }
    }

    /// What becomes of an answer in each of the ways, after one for somebody else.
    fn ways() -> (Records, Vec<Records>) {
        let (honest, mut tampering) = (records(mailbox(1), 3), Tampering::default());
        tampering.seen.extend(records(mailbox(2), 1).records.into_iter().map(|stored| stored.record));
        let mut way = || match answer(&mut tampering, SwarmResponse::Records(honest.clone())) {
            SwarmResponse::Records(records) => records,
            other => panic!("{other:?}"),
        };
        let all = (0..WAYS).map(|_| way()).collect();
        (honest, all)
    }

    #[test]
    fn records_are_flipped_exchanged_cut_or_told_twice() {
        let (honest, ways) = ways();
        let [flipped, exchanged, cut, twice, ..] = &ways[..] else { panic!() };
        for (stored, right) in flipped.records.iter().zip(&honest.records) {
            let pairs = stored.record.iter().zip(&right.record);
            assert_eq!(pairs.map(|(one, other)| (one ^ other).count_ones()).sum::<u32>(), 1);
        }
        for stored in &exchanged.records {
            assert_eq!(Record::decode(&stored.record).unwrap().envelope().address(), mailbox(2));
        }
        assert!(cut.records.iter().all(|stored| Record::decode(&stored.record).is_err()));
        let [.., third, again] = &twice.records[..] else { panic!() };
        assert_eq!((third.record == again.record, again.seq, twice.next_seq), (true, 4, 4));
    }

    #[test]
    fn numbers_are_wrong() {
        let (honest, ways) = ways();
        let [.., endless, foreign] = &ways[..] else { panic!() };
        assert_eq!((endless.more, endless.next_seq), (true, u64::MAX));
        assert_ne!(foreign.epoch, honest.epoch);
    }

    #[test]
    fn no_receipt_holds_for_what_it_was_asked_for() {
        let (mut tampering, (right, signature)) = (Tampering::default(), receipt(1));
        for _ in 0..4 {
            let stored = SwarmResponse::Stored { receipt: right, signature };
            let SwarmResponse::Stored { receipt, signature } = answer(&mut tampering, stored) else { panic!() };
            assert!(receipt.id != right.id || !receipt.verify(&CHAIN, &signature, &Ed25519));
        }
    }

    #[test]
    fn what_members_fetch_is_altered_and_all_else_passes() {
        let honest = records(mailbox(1), 2).records.into_iter().map(|stored| Item::Record(stored.record)).collect();
        let fetched = to_peer(1, Response::Repair(RepairResponse::Items { items: honest, more: false }));
        let passed = Tampering::default().instead_of(fetched.clone(), Instant::now());
        assert!(passed.is_some_and(|passed| !same(&passed, &fetched)));
        for honest in every_output(1) {
            let altered = matches!(
                answer_in(&mut honest.clone()),
                Some(
                    Answer::Client(SwarmResponse::Records(_) | SwarmResponse::Stored { .. }, _)
                        | Answer::Peer(Response::Repair(RepairResponse::Items { .. }))
                )
            );
            let passed = Tampering::default().instead_of(honest.clone(), Instant::now()).unwrap();
            assert_eq!(same(&passed, &honest), !altered, "{honest:?}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut tampering = Tampering::default();
        for owner in 0..40 {
            answer(&mut tampering, SwarmResponse::Records(records(mailbox(owner), 1)));
        }
        assert_eq!(tampering.seen.len(), REMEMBERED);
    }
}
