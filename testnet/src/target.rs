//! Which processes a command means: `17`, `3,5`, `10-14`, `all`, `chain`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One process of a testnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The block producer.
    Chain,
    /// A node.
    Node(u16),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain => f.write_str("chain"),
            Self::Node(index) => write!(f, "node{index:02}"),
        }
    }
}

impl Target {
    /// As it is written on a command line: `17` or `chain`.
    #[must_use]
    pub fn argument(self) -> String {
        match self {
            Self::Chain => "chain".to_owned(),
            Self::Node(index) => index.to_string(),
        }
    }
}

/// A choice of processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Every node, not the producer.
    AllNodes,
    /// Those named.
    Some(BTreeSet<Target>),
}

/// What is wrong with a selection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: want a node's number, several as 3,5 or 10-14, `all`, or `chain`")]
pub struct SelectionError(String);

impl FromStr for Selection {
    type Err = SelectionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" {
            return Ok(Self::AllNodes);
        }
        let mut targets = BTreeSet::new();
        for part in text.split(',') {
            targets.extend(parse_part(part).ok_or_else(|| SelectionError(text.to_owned()))?);
        }
        Ok(Self::Some(targets))
    }
}

/// `chain`, a number (also as `node07`) or a range of numbers.
fn parse_part(part: &str) -> Option<Vec<Target>> {
    if part == "chain" {
        return Some(vec![Target::Chain]);
    }
    let number = |text: &str| text.strip_prefix("node").unwrap_or(text).parse::<u16>().ok();
    match part.split_once('-') {
        None => Some(vec![Target::Node(number(part)?)]),
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| (first..=last).map(Target::Node).collect())
        }
    }
}

impl Selection {
    /// The processes meant, of a testnet with `nodes` nodes.
    ///
    /// # Errors
    /// The first that does not exist.
    pub fn resolve(&self, nodes: u16) -> Result<Vec<Target>, Target> {
        match self {
            Self::AllNodes => Ok((0..nodes).map(Target::Node).collect()),
            Self::Some(targets) => {
                let exists = |target: &&Target| !matches!(target, Target::Node(index) if *index >= nodes);
                match targets.iter().find(|target| !exists(target)) {
                    Some(missing) => Err(*missing),
                    None => Ok(targets.iter().copied().collect()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<Vec<Target>, Target> {
        text.parse::<Selection>().unwrap().resolve(50)
    }

    #[test]
    fn numbers_lists_ranges_and_names_are_understood() {
        use Target::{Chain, Node};
        assert_eq!(resolve("17"), Ok(vec![Node(17)]));
        assert_eq!(resolve("node07"), Ok(vec![Node(7)]));
        assert_eq!(resolve("5,3,5,chain"), Ok(vec![Chain, Node(3), Node(5)]));
        assert_eq!(resolve("10-12,1"), Ok(vec![Node(1), Node(10), Node(11), Node(12)]));
        assert_eq!(resolve("all").unwrap().len(), 50);
    }

    #[test]
    fn a_node_that_does_not_exist_is_named() {
        assert_eq!(resolve("48-50"), Err(Target::Node(50)));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "x", "3-", "5-3", "-1", "70000", "1,,2"] {
            assert!(text.parse::<Selection>().is_err(), "{text}");
        }
    }
}
