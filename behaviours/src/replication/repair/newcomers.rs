//! Members that lack so much that they are fetching it themselves.
//!
//! Each connection is compared by both of its ends. A member without a database lacks everything at all others; gave each
//! of them what it lacks, it would have it once for every member, beside what it fetches. So whoever lacks more than a
//! page is left to fetch, and is given only what it still lacks when a later comparison finds that it gets no further.

use std::collections::{BTreeMap, BTreeSet};

use sotto_proto::id::NodeId;
use sotto_proto::limits::PAGE_ITEMS;

/// How many items each of them lacked when it was last compared with.
#[derive(Debug, Default)]
pub(super) struct Newcomers(BTreeMap<NodeId, usize>);

impl Newcomers {
    /// Whether a member that lacks so many items now is left to fetch them.
    pub(super) fn fetches(&mut self, node: NodeId, lacking: usize) -> bool {
        let gets_on = self.0.get(&node).is_none_or(|before| lacking < *before);
        if lacking <= PAGE_ITEMS || !gets_on {
            self.0.remove(&node);
            return false;
        }
        self.0.insert(node, lacking);
        true
    }

    /// Only these are connected.
    pub(super) fn retain(&mut self, members: &BTreeSet<NodeId>) {
        self.0.retain(|node, _| members.contains(node));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::node;

    #[test]
    fn who_lacks_more_than_a_page_is_left_to_fetch_as_long_as_it_gets_on() {
        let mut newcomers = Newcomers::default();
        assert!(!newcomers.fetches(node(1), PAGE_ITEMS), "a page is given at once");
        assert!(newcomers.fetches(node(1), 10_000) && newcomers.fetches(node(2), 10_000));
        assert!(newcomers.fetches(node(1), 4000));
        assert!(!newcomers.fetches(node(1), 4000), "it stands still");
        assert!(newcomers.fetches(node(1), 5000), "and may begin anew");
        newcomers.retain(&[node(1)].into());
        assert!(newcomers.fetches(node(2), 10_000), "another connection is another beginning");
    }
}
