//! What the kernel was told about the links of a testnet, whoever told it. It outlives whoever did, and the testnet.

use std::collections::BTreeSet;

use super::cuts::Cuts;
use super::{groups, links, rates};
use crate::failure::Failure;
use crate::plan::Plan;

/// The rules for the links of a testnet. `None` is what cannot be looked at here: it takes root, and the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkRules {
    /// Directed links that are cut.
    pub cut: Option<usize>,
    /// Nodes that lose packets.
    pub lossy: Option<BTreeSet<u16>>,
    /// Nodes that are slow.
    pub slow: Option<BTreeSet<u16>>,
}

impl LinkRules {
    /// Those of a machine on which nobody did anything.
    #[must_use]
    pub fn none() -> Self {
        Self { cut: Some(0), lossy: Some(BTreeSet::new()), slow: Some(BTreeSet::new()) }
    }

    /// Those that there are.
    pub async fn look(plan: &Plan) -> Self {
        // One by one: there may be only one of the programs, and everybody may look at some of it.
        Self {
            cut: Cuts::count(plan).await.ok(),
            lossy: links::lossy(plan).await.ok(),
            slow: rates::slow(plan).await.ok(),
        }
    }

    /// Removes those of this testnet and no others. Returns which there were.
    ///
    /// # Errors
    /// [`Failure`] of the first kind that is left, because the kernel refuses; all others are removed.
    pub async fn clear(plan: &Plan) -> Result<Self, Failure> {
        let rules = Self::look(plan).await;
        // Whoever may look is not always allowed to remove. What is empty goes, too: its maker may have been killed.
        let joined = if rules.cut.is_some() { Cuts::clear(plan).await } else { Ok(()) };
        let whole = if rules.lossy.is_some() { links::clear(plan).await } else { Ok(()) };
        let fast = if rules.slow.is_some() { rates::clear(plan).await } else { Ok(()) };
        let cleared = joined.and(whole).and(fast);
        cleared.map(|()| rules).map_err(|failure| {
            let message = format!("links are not as they were: {}", failure.message);
            Failure { message, ..failure }
                .hint("as root: sotto-testnet chaos clear    # or, when it does not run: sotto-testnet down")
        })
    }

    /// How many nodes lose packets or are slow, as far as it is known; `None` if nothing is.
    #[must_use]
    pub fn bad_nodes(&self) -> Option<usize> {
        let bad = |nodes: &Option<BTreeSet<u16>>| nodes.clone().unwrap_or_default();
        let known = self.lossy.is_some() || self.slow.is_some();
        known.then(|| bad(&self.lossy).union(&bad(&self.slow)).count())
    }

    /// What there is, as far as it is known, for people.
    fn found(&self) -> Vec<String> {
        let cut = self.cut.filter(|links| *links > 0).map(|links| format!("{links} links are cut"));
        let bad = self.bad_nodes().filter(|nodes| *nodes > 0).map(|nodes| format!("links of {nodes} nodes are bad"));
        cut.into_iter().chain(bad).collect()
    }

    /// What could not be looked at and what would help, for people: a line each.
    #[must_use]
    pub fn unknown(&self) -> Vec<String> {
        let kinds = [
            (self.cut.is_none(), "cut links", "nft"),
            (self.lossy.is_none(), "lossy links", "nft"),
            (self.slow.is_none(), "slow links", "tc"),
        ];
        let unknown = kinds.into_iter().filter(|(is_unknown, ..)| *is_unknown);
        unknown
            .map(|(_, what, program)| format!("{what} could not be looked at: again as root, with {program}"))
            .collect()
    }
}

/// Removes what faults left in the kernel of a testnet that does not run. Returns which rules for links there were.
///
/// # Errors
/// [`Failure`] of the first that is left; all others are removed.
pub async fn clear_ended(plan: &Plan) -> Result<LinkRules, Failure> {
    let free = groups::remove_groups(plan);
    let rules = LinkRules::clear(plan).await;
    free.and(rules)
}

/// What faults left in the kernel under the name of a testnet, for people: only what may be looked at here.
pub async fn left_behind(plan: &Plan) -> Vec<String> {
    let mut left = LinkRules::look(plan).await.found();
    let limited = groups::limited(plan).len();
    left.extend((limited > 0).then(|| format!("{limited} nodes are limited")));
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_is_named() {
        assert!(LinkRules::none().found().is_empty() && LinkRules::default().found().is_empty());
        let rules = LinkRules { cut: Some(4), lossy: Some([1, 2].into()), slow: None };
        assert_eq!(rules.found(), ["4 links are cut", "links of 2 nodes are bad"]);
    }

    #[test]
    fn a_node_that_is_lossy_and_slow_counts_once() {
        let rules = LinkRules { lossy: Some([1, 2].into()), slow: Some([2, 3].into()), ..LinkRules::default() };
        assert_eq!(rules.bad_nodes(), Some(3));
        assert_eq!(LinkRules { lossy: None, ..rules }.bad_nodes(), Some(2));
        assert_eq!(LinkRules::default().bad_nodes(), None);
    }

    #[test]
    fn what_could_not_be_looked_at_is_not_told_as_nothing() {
        assert!(LinkRules::none().unknown().is_empty());
        let lines = LinkRules { slow: Some([3].into()), ..LinkRules::default() }.unknown();
        let expected =
            ["cut links", "lossy links"].map(|what| format!("{what} could not be looked at: again as root, with nft"));
        assert_eq!(lines, expected);
        assert_eq!(LinkRules::default().unknown().len(), 3);
    }
}
