//! The node list, checked anew from time to time (B11).
//!
//! A client trusts the genesis and nobody else. It asks three nodes of its present list, each through a path that does
//! not contain it, for their final heights; takes the least, h; wants the header of h from all three; and adopts the
//! list of h only if
//!
//! - the three headers are equal byte for byte,
//! - the authority signed them,
//! - h is not below the height known, and the header's time is believable,
//! - the records add up to the header's list root, so that nobody was left out or made up: see `renewal`.
//!
//! Whatever differs leaves the old list as it is and is written down. Two headers of one height that the authority both
//! signed prove that it equivocates: from then on nothing is adopted, and the user is told.
//!
//! This file holds the checks; who is asked through which path is the keeper's business.

use std::collections::BTreeSet;

use rand_core::Rng;
use sotto_proto::chain::{NodeRecord, SignedHeader};
use sotto_proto::id::{ChainId, Height, NodeId, PublicKey};
use sotto_proto::limits::RECENT_MAPS;
use sotto_proto::network::NodeList;
use sotto_proto::sign::Verify;
use sotto_proto::time::UnixMillis;

use super::choice::Avoid;
use super::draw;

/// Nodes that must agree.
pub const WITNESSES: usize = 3;
/// Blocks the last of the nodes may be behind the one before it: those further ahead have lists of a few heights only.
const BEHIND: u64 = RECENT_MAPS as u64 / 2;
/// Nodes that may be asked, if some do not answer.
const CANDIDATES: usize = 9;
/// A header further from the client's clock than this is reported, not believed, in either direction.
pub const TIME_TOLERANCE_MS: u64 = 3_600_000;

/// Why the old list stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// Fewer than three nodes answered.
    #[error("only {answered} of {WITNESSES} nodes answered")]
    TooFew {
        /// How many did.
        answered: usize,
    },
    /// A node sent a header of another height than it was asked for.
    #[error("{node} sent the header of another block", node = .node.short())]
    OtherHeight {
        /// Who.
        node: NodeId,
    },
    /// A node sent a header that the authority did not sign.
    #[error("{node} sent a header that the chain's authority did not sign", node = .node.short())]
    Forged {
        /// Who.
        node: NodeId,
    },
    /// The authority signed two headers of one height.
    #[error("the chain's authority signed two blocks of height {}: no list is believed any more", .0.height())]
    Equivocation(Box<Evidence>),
    /// It equivocated before, and the evidence is kept.
    #[error("the chain's authority signed two blocks of one height: the node list is not renewed any more")]
    Stopped,
    /// A node is behind what is known already, or too far behind the others.
    #[error("{node} is behind: its newest block is {found}, and there is {known}", node = .node.short())]
    Older {
        /// Who.
        node: NodeId,
        /// What it is at.
        found: Height,
        /// That of the list known, or what another node is at.
        known: Height,
    },
    /// The header's time is not believable, or this machine's clock is wrong.
    #[error("the newest block is {} min away from this machine's clock: one of the two is wrong", distance_ms / 60_000)]
    Time {
        /// How far it is away.
        distance_ms: u64,
    },
    /// The records, or the hashes of their buckets, are not those that the header commits to.
    #[error("{node} sent a list that is not the one the header commits to", node = .node.short())]
    Incomplete {
        /// Who.
        node: NodeId,
    },
}

impl UpdateError {
    /// Who is left out when others are asked: whoever told what cannot be true, or is behind.
    #[must_use]
    pub const fn left_out(&self) -> Option<NodeId> {
        match self {
            Self::Older { node, .. } => Some(*node),
            other => other.liar(),
        }
    }

    /// Who told what cannot be true.
    #[must_use]
    pub const fn liar(&self) -> Option<NodeId> {
        match self {
            Self::OtherHeight { node } | Self::Forged { node } | Self::Incomplete { node } => Some(*node),
            Self::TooFew { .. } | Self::Equivocation(_) | Self::Stopped | Self::Older { .. } | Self::Time { .. } => {
                None
            }
        }
    }
}

/// Two headers of one height, both signed by the authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// One.
    pub one: SignedHeader,
    /// The other.
    pub other: SignedHeader,
}

impl Evidence {
    /// The height.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.one.header.height
    }

    /// Whether the headers prove what they should.
    #[must_use]
    pub fn holds(&self, chain: &ChainId, authority: &PublicKey, verify: &dyn Verify) -> bool {
        let both = [&self.one, &self.other];
        self.one.header.height == self.other.header.height
            && self.one.hash(chain) != self.other.hash(chain)
            && both.iter().all(|header| header.verify(chain, authority, verify))
    }
}

/// Draws nodes of different operators to be asked, one after the other until three have answered: at least three, and
/// some that stand in for those that are away.
///
/// # Errors
/// [`UpdateError::TooFew`] if there are not so many operators.
pub fn witnesses(nodes: &NodeList, avoid: &Avoid, rng: &mut dyn Rng) -> Result<Vec<NodeId>, UpdateError> {
    let mut candidates: Vec<&NodeRecord> =
        nodes.values().map(|record| &**record).filter(|record| avoid.allows(record)).collect();
    draw::shuffle(rng, &mut candidates);
    let mut operators = BTreeSet::new();
    candidates.retain(|record| operators.insert(record.operator));
    if candidates.len() < WITNESSES {
        return Err(UpdateError::TooFew { answered: candidates.len() });
    }
    // Whoever is on the path is no witness: a large list leaves enough for it, of a small one a third is kept for it.
    let most = CANDIDATES.min(candidates.len() - candidates.len() / 3).max(WITNESSES);
    Ok(candidates.into_iter().take(most).map(|record| record.node).collect())
}

/// The height that is asked for: the least of three, which all of them have. A node so far behind the others that they
/// may not have its list any more does not count.
///
/// # Errors
/// [`UpdateError::TooFew`] if fewer answered, [`UpdateError::Older`] if one is below `known` or far behind the others.
pub fn agreed_height(finals: &[(NodeId, Height)], known: Height) -> Result<Height, UpdateError> {
    let mut sorted = finals.to_vec();
    sorted.sort_unstable_by_key(|(node, height)| (*height, *node));
    let [(node, found), (_, second), _, ..] = sorted[..] else {
        return Err(UpdateError::TooFew { answered: finals.len() });
    };
    if found < known.max(second.minus(BEHIND)) {
        return Err(UpdateError::Older { node, found, known: known.max(second) });
    }
    Ok(found)
}

/// What headers are checked against.
#[derive(Clone, Copy)]
pub struct Trust<'a> {
    /// The chain.
    pub chain: &'a ChainId,
    /// Who signs its blocks.
    pub authority: &'a PublicKey,
    /// The newest header known.
    pub known: &'a SignedHeader,
    /// How signatures are checked.
    pub verify: &'a dyn Verify,
}

impl Trust<'_> {
    /// The header of `height` that all of `answers` agree on.
    ///
    /// # Errors
    /// [`UpdateError`] if they do not, or if what they agree on cannot be believed.
    pub fn agreed_header(
        &self,
        height: Height,
        answers: &[(NodeId, SignedHeader)],
        now: UnixMillis,
    ) -> Result<SignedHeader, UpdateError> {
        for (node, header) in answers {
            if header.header.height != height {
                return Err(UpdateError::OtherHeight { node: *node });
            }
            if !header.verify(self.chain, self.authority, self.verify) {
                return Err(UpdateError::Forged { node: *node });
            }
        }
        let [(_, first), others @ ..] = answers else { return Err(UpdateError::TooFew { answered: 0 }) };
        let same_height = (self.known.header.height == height).then_some(self.known);
        for other in others.iter().map(|(_, header)| header).chain(same_height) {
            if other != first {
                let evidence = Evidence { one: first.clone(), other: other.clone() };
                return Err(UpdateError::Equivocation(Box::new(evidence)));
            }
        }
        if answers.len() < WITNESSES {
            return Err(UpdateError::TooFew { answered: answers.len() });
        }
        let distance_ms = first.header.time.distance(now);
        if distance_ms > TIME_TOLERANCE_MS {
            return Err(UpdateError::Time { distance_ms });
        }
        Ok(first.clone())
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;
    use sotto_proto::chain::{Header, list_root_of};
    use sotto_proto::id::{BlockHash, Hash};
    use sotto_proto::sign::{Ed25519, SigningKey};

    use super::*;
    use crate::network::test_support::{Spec, list, node};

    const CHAIN: ChainId = ChainId::new([9; 32]);
    const NOW: UnixMillis = UnixMillis(10_000_000);

    fn authority() -> SigningKey {
        SigningKey::from_seed(&[5; 32])
    }

    fn header(height: u64, mark: u8, signer: &SigningKey) -> SignedHeader {
        let header = Header {
            height: Height(height),
            previous: BlockHash::new([mark; 32]),
            time: NOW,
            tx_root: Hash::new([0; 32]),
            state_root: Hash::new([0; 32]),
            list_root: list_root_of(&CHAIN, &list((0..5).map(Spec::new))),
        };
        header.sign(signer, &CHAIN)
    }

    fn check(known: &SignedHeader, answers: &[SignedHeader], now: UnixMillis) -> Result<SignedHeader, UpdateError> {
        let key = authority().public();
        let trust = Trust { chain: &CHAIN, authority: &key, known, verify: &Ed25519 };
        let answers: Vec<_> = answers.iter().zip(0..).map(|(header, n)| (node(n), header.clone())).collect();
        trust.agreed_header(Height(20), &answers, now)
    }

    #[test]
    fn three_equal_headers_of_the_authority_are_believed() {
        let (known, new) = (header(10, 1, &authority()), header(20, 1, &authority()));
        assert_eq!(check(&known, &[new.clone(), new.clone(), new.clone()], NOW), Ok(new));
    }

    #[test]
    fn one_honest_node_of_three_is_enough_to_keep_a_lie_out() {
        let (known, right) = (header(10, 1, &authority()), header(20, 1, &authority()));
        let liar = SigningKey::from_seed(&[6; 32]);
        for place in 0..3 {
            let mut answers = vec![header(20, 2, &liar); 3];
            answers[place] = right.clone();
            assert!(matches!(check(&known, &answers, NOW), Err(UpdateError::Forged { .. })));
            let mut answers = vec![header(19, 1, &authority()); 3];
            answers[place] = right.clone();
            assert!(matches!(check(&known, &answers, NOW), Err(UpdateError::OtherHeight { .. })));
        }
    }

    #[test]
    fn two_signed_headers_of_one_height_are_evidence_also_against_what_is_known() {
        let (known, right) = (header(10, 1, &authority()), header(20, 1, &authority()));
        let other = header(20, 2, &authority());
        let Err(UpdateError::Equivocation(evidence)) =
            check(&known, &[right.clone(), right.clone(), other.clone()], NOW)
        else {
            panic!("two heads are not one")
        };
        assert!(evidence.holds(&CHAIN, &authority().public(), &Ed25519));
        let no_evidence = Evidence { one: right.clone(), other: right.clone() };
        assert!(!no_evidence.holds(&CHAIN, &authority().public(), &Ed25519));
        let all_equal = [right.clone(), right.clone(), right];
        assert!(matches!(check(&other, &all_equal, NOW), Err(UpdateError::Equivocation(_))));
    }

    /// What nodes 0, 1, … told.
    fn told<const N: usize>(heights: [u64; N]) -> Vec<(NodeId, Height)> {
        heights.into_iter().zip(0..).map(|(height, n)| (node(n), Height(height))).collect()
    }

    #[test]
    fn fewer_than_three_do_not_do() {
        let (known, right) = (header(10, 1, &authority()), header(20, 1, &authority()));
        assert_eq!(check(&known, &[right.clone(), right], NOW), Err(UpdateError::TooFew { answered: 2 }));
        assert_eq!(check(&known, &[], NOW), Err(UpdateError::TooFew { answered: 0 }));
        assert_eq!(agreed_height(&told([9, 9]), Height(3)), Err(UpdateError::TooFew { answered: 2 }));
    }

    #[test]
    fn the_least_height_counts_and_never_goes_back() {
        assert_eq!(agreed_height(&told([22, 20, 21]), Height(20)), Ok(Height(20)));
        let older = UpdateError::Older { node: node(1), found: Height(19), known: Height(21) };
        assert_eq!(older.left_out(), Some(node(1)), "others are asked");
        assert_eq!(older.liar(), None, "it is no evidence");
        assert_eq!(agreed_height(&told([22, 19, 21]), Height(20)), Err(older));
    }

    #[test]
    fn a_node_far_behind_the_others_is_left_out_and_one_far_ahead_changes_nothing() {
        let older = UpdateError::Older { node: node(2), found: Height(91), known: Height(100) };
        assert!(older.to_string().ends_with("its newest block is 91, and there is 100"), "{older}");
        assert_eq!(agreed_height(&told([100, 101, 91]), Height(20)), Err(older));
        assert_eq!(agreed_height(&told([100, 101, 92]), Height(20)), Ok(Height(92)));
        assert_eq!(agreed_height(&told([100, u64::MAX, 101]), Height(20)), Ok(Height(100)));
    }

    #[test]
    fn a_time_more_than_an_hour_away_is_reported_in_either_direction() {
        let (known, right) = (header(10, 1, &authority()), header(20, 1, &authority()));
        let answers = [right.clone(), right.clone(), right];
        for (now, believed) in [(0, true), (TIME_TOLERANCE_MS, true), (TIME_TOLERANCE_MS + 1, false)] {
            for now in [NOW.0 + now, NOW.0 - now] {
                assert_eq!(check(&known, &answers, UnixMillis(now)).is_ok(), believed);
            }
        }
    }

    #[test]
    fn witnesses_are_of_three_operators() {
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let nodes = list((0..9).map(|n| Spec { operator: n / 3, ..Spec::new(n) }));
        for _ in 0..50 {
            let asked = witnesses(&nodes, &Avoid::default(), &mut rng).unwrap();
            let operators: BTreeSet<_> = asked.iter().map(|node| nodes.get(node).unwrap().operator).collect();
            assert_eq!((asked.len(), operators.len()), (WITNESSES, WITNESSES));
        }
        let two = list((0..6).map(|n| Spec { operator: n / 3, ..Spec::new(n) }));
        assert_eq!(witnesses(&two, &Avoid::default(), &mut rng), Err(UpdateError::TooFew { answered: 2 }));
    }
}
