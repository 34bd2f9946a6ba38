//! Answers among the outputs of a machine, and how bytes in them are altered.

use sotto_behaviours::network::Response;
use sotto_node::service_node::{Outgoing, Output};
use sotto_proto::request::SwarmResponse;

/// An answer, to be changed in its place.
pub(crate) enum Answer<'a> {
    /// To a client, through a tunnel; and whether others follow without being asked for.
    Client(&'a mut SwarmResponse, &'a mut bool),
    /// To a peer. What clients ask about the node list comes here, too.
    Peer(&'a mut Response),
}

/// The answer in an output, if it is one whose content is known.
pub(crate) fn answer_in(output: &mut Output) -> Option<Answer<'_>> {
    match output {
        Output::TunnelAnswer { response, more, .. } => Some(Answer::Client(response, more)),
        Output::Send { message: Outgoing::Response { response, .. }, .. } => Some(Answer::Peer(response)),
        _ => None,
    }
}

/// Whether an output is an answer, be its content known or still to be read.
pub(crate) const fn is_answer(output: &Output) -> bool {
    matches!(
        output,
        Output::TunnelAnswer { .. } | Output::Send { message: Outgoing::Response { .. } | Outgoing::Stored { .. }, .. }
    )
}

/// Flips one bit, another one each turn.
pub(crate) fn flip(bytes: &mut [u8], turn: usize) {
    // A prime, so that every byte has its turn.
    let at = turn.wrapping_mul(7919).checked_rem(bytes.len()).unwrap_or(0);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << (turn % 8);
    }
}

/// The same for what is not to be changed in its place.
pub(crate) fn flipped<const N: usize>(bytes: &[u8; N], turn: usize) -> [u8; N] {
    let mut flipped = *bytes;
    flip(&mut flipped, turn);
    flipped
}

/// Counts, for what is done in turns.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turns(usize);

impl Turns {
    /// The turns before this one.
    pub(crate) const fn next(&mut self) -> usize {
        let turn = self.0;
        self.0 = turn.wrapping_add(1);
        turn
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_byte_has_its_turn_and_nothing_happens_to_none() {
        let changed: BTreeSet<_> = (0..500)
            .map(|turn| flipped(&[0; 100], turn).iter().position(|byte| byte.count_ones() == 1).unwrap())
            .collect();
        assert_eq!(changed.len(), 100);
        flip(&mut [], 3);
    }
}
