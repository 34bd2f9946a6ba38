//! Who is to blame for silence under subscriptions: members, or the path that they are all behind.

use std::collections::BTreeSet;

use sotto_proto::id::NodeId;

/// Members that answer nothing in a row before it is the path that is silent.
const SILENT_IN_A_ROW: usize = 2;

/// Who was silent since something came back through the path: they are to blame once something does, the path if nothing
/// does.
#[derive(Debug, Default)]
pub(super) struct Silence {
    members: BTreeSet<NodeId>,
    /// Silences of members that nobody expected it of.
    surprises: usize,
}

impl Silence {
    /// A member did not answer in time; `expected`: it was slow or silent before, on whatever path.
    pub(super) fn add(&mut self, member: NodeId, expected: bool) {
        let is_new = self.members.insert(member);
        self.surprises += usize::from(is_new && !expected);
    }

    /// Those who are silent so far.
    pub(super) const fn members(&self) -> &BTreeSet<NodeId> {
        &self.members
    }

    /// Something came back through the path. Those who were silent meanwhile were so themselves.
    pub(super) fn end(&mut self) -> BTreeSet<NodeId> {
        std::mem::take(self).members
    }

    /// Whether it is the path that is silent.
    pub(super) const fn blames_path(&self) -> bool {
        self.surprises >= SILENT_IN_A_ROW
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::test_support::node;

    #[test]
    fn members_that_are_silent_in_a_row_are_not_to_blame_but_the_path() {
        let mut silence = Silence::default();
        silence.add(node(1), false);
        assert!(!silence.blames_path(), "one may be its own fault");
        silence.add(node(2), false);
        assert!(silence.blames_path());
    }

    #[test]
    fn a_member_that_is_silent_while_another_answers_is_to_blame() {
        let mut silence = Silence::default();
        silence.add(node(1), false);
        assert_eq!(silence.end(), [node(1)].into());
        assert_eq!(silence.end(), [].into(), "once");
        silence.add(node(2), false);
        assert!(!silence.blames_path(), "not in a row");
    }

    #[test]
    fn one_member_that_is_silent_again_and_again_says_nothing_about_the_path() {
        let mut silence = Silence::default();
        for _ in 0..3 {
            silence.add(node(1), false);
        }
        assert!(!silence.blames_path());
        silence.add(node(2), false);
        assert!(silence.blames_path());
    }

    #[test]
    fn members_known_to_be_silent_say_nothing_about_the_path() {
        let mut silence = Silence::default();
        for n in 1..10 {
            silence.add(node(n), true);
        }
        silence.add(node(10), false);
        assert!(!silence.blames_path(), "all but one are frozen, and their paths are not exchanged for ever");
        assert_eq!(silence.end().len(), 10);
    }
}
