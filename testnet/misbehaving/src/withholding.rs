//! Shows readers none of their mail, or every second record of it, and calls that all. The cursor goes on as if they had
//! everything, so whoever believes it never asks for the rest here. To members it is honest.

use std::time::Instant;

use sotto_node::service_node::Output;
use sotto_proto::request::{Records, SwarmResponse};

use crate::answers::Turns;
use crate::mode::Misbehaviour;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Withholding {
    turns: Turns,
}

impl Misbehaviour for Withholding {
    fn instead_of(&mut self, mut output: Output, _now: Instant) -> Option<Output> {
        if let Output::TunnelAnswer { response: SwarmResponse::Records(records), .. } = &mut output
            && !records.records.is_empty()
        {
            withhold(records, self.turns.next());
        }
        Some(output)
    }
}

fn withhold(records: &mut Records, turn: usize) {
    if turn.is_multiple_of(2) {
        records.records.clear();
    } else {
        let mut shown = true;
        records.records.retain(|_| {
            shown = !shown;
            shown
        });
    }
    (records.more, records.syncing) = (false, false);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{every_output, mailbox, records, same, to_client};

    fn answer(withholding: &mut Withholding, honest: Records) -> Records {
        let output = withholding.instead_of(to_client(1, SwarmResponse::Records(honest)), Instant::now());
        let Some(Output::TunnelAnswer { response: SwarmResponse::Records(records), .. }) = output else {
            panic!("{output:?}")
        };
        records
    }

    #[test]
    fn mailboxes_are_empty_or_half_empty_and_said_to_be_read_to_the_end() {
        let honest = Records { more: true, syncing: true, ..records(mailbox(1), 5) };
        let mut withholding = Withholding::default();
        let (none, half) = (answer(&mut withholding, honest.clone()), answer(&mut withholding, honest.clone()));
        assert_eq!(none.records, []);
        let shown: Vec<_> = half.records.iter().map(|stored| stored.seq).collect();
        assert_eq!(shown, [2, 4]);
        for records in [none, half] {
            assert_eq!((records.epoch, records.next_seq), (honest.epoch, honest.next_seq), "the cursor goes on");
            assert!(!records.more && !records.syncing);
        }
    }

    #[test]
    fn a_single_record_is_never_shown_and_all_else_passes() {
        let mut withholding = Withholding::default();
        for _ in 0..4 {
            assert_eq!(answer(&mut withholding, records(mailbox(1), 1)).records, []);
        }
        for honest in every_output(1) {
            if !matches!(honest, Output::TunnelAnswer { response: SwarmResponse::Records(_), .. }) {
                let passed = withholding.instead_of(honest.clone(), Instant::now());
                assert!(passed.is_some_and(|passed| same(&passed, &honest)), "{honest:?}");
            }
        }
    }
}
