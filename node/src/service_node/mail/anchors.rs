//! The hashes of the blocks that work is anchored at: every A-th final block of as long as a record may live.
//!
//! They come with the final states as the chain grows, from the blocks on disk after a start, and are kept on disk
//! themselves, because blocks are pruned long before records expire. On a chain that was followed from elsewhere some
//! may never be known: no service node can be asked, because all of them prune blocks at the same age. So whoever lacks a hash
//! waits until the blocks on disk were looked through, and then goes without:
//!
//! | a record whose anchor is lost | why that is sound |
//! | --- | --- |
//! | is taken from repair and hand-over | its work was checked when it was stored; to refuse it would lose what was acknowledged |
//! | is checked in all else: form, times, owner, the right to write | none of that needs the hash |
//! | is not taken from gossip, and not passed on | new ones are anchored at the last blocks, which everybody knows |
//!
//! So only a staked node can have records without work kept, at nodes that lack the anchor and only there, and no anchor
//! is of use for longer than four days. Its height says little of when the record was written: a chain may have stood
//! still, or have been out of reach of whoever stored it.

use std::collections::{BTreeMap, BTreeSet};

use sotto_proto::chain::Params;
use sotto_proto::id::{BlockHash, Height};
use sotto_proto::limits::{ANCHOR_PERIODS, TIMESTAMP_PAST_SECONDS, TTL_SECONDS};
use sotto_proto::network::NetworkView;

use crate::store::{Batch, Write};

/// Hashes looked for at once.
const AT_ONCE: usize = 64;
/// A block this far below the tip is on disk, or was pruned.
const WRITTEN: u64 = 256;

/// What is known of an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    /// The hash of the block there.
    Known(BlockHash),
    /// It is not on this node's chain yet, or still looked for.
    NotYet,
    /// Its block is no longer on disk, and nobody noted the hash.
    Lost,
    /// No work is anchored there: not a multiple of the period, or too old for any record alive.
    Impossible,
}

/// The hashes.
#[derive(Clone, Debug, Default)]
pub(super) struct Anchors {
    known: BTreeMap<Height, BlockHash>,
    /// An anchor that is on the chain and not final yet: there is at most one.
    tip: Option<(Height, BlockHash)>,
    /// What lies at or below this height and is not known never will be.
    lost: Option<Height>,
    /// The same of single heights above it, whose blocks are damaged.
    holes: BTreeSet<Height>,
    looking: bool,
    unwritten: Batch,
}

impl Anchors {
    /// Takes in what the disk has noted.
    pub(super) fn load(&mut self, known: BTreeMap<Height, BlockHash>) {
        self.known.extend(known);
    }

    /// The chain has grown.
    pub(super) fn follow(&mut self, view: &NetworkView, tip: (Height, BlockHash), params: &Params) {
        let is_anchor = |height: Height| height.0.is_multiple_of(params.epoch_blocks.max(1)) && height > Height::ZERO;
        for snapshot in view.recent().filter(|snapshot| is_anchor(snapshot.height)) {
            self.note(snapshot.height, snapshot.block_hash);
        }
        let current = view.current().height;
        let kept = self.tip.filter(|(height, _)| *height > current && *height < tip.0);
        self.tip = if is_anchor(tip.0) && tip.0 > current { Some(tip) } else { kept };
        let oldest = oldest(current, params);
        self.holes = self.holes.split_off(&oldest);
        let after = self.known.split_off(&oldest);
        if !std::mem::replace(&mut self.known, after).is_empty() {
            self.unwritten.push(Write::PruneAnchorsBelow(oldest));
        }
    }

    fn note(&mut self, height: Height, hash: BlockHash) {
        if self.known.insert(height, hash) != Some(hash) {
            self.unwritten.push(Write::PutAnchor { height, hash });
        }
    }

    /// What is not on disk yet, once.
    pub(super) fn take_unwritten(&mut self) -> Batch {
        std::mem::take(&mut self.unwritten)
    }

    /// Heights whose hashes are to be looked for among the blocks on disk, newest first; none while a search goes on.
    pub(super) fn wanted(&mut self, view: &NetworkView, params: &Params) -> Vec<Height> {
        if self.looking {
            return Vec::new();
        }
        let (current, period) = (view.current().height, params.epoch_blocks.max(1));
        let lowest = oldest(current, params).max(self.lost.map_or(Height(1), Height::next));
        let first = current.0 - current.0 % period;
        let heights = (0..).map_while(|n: u64| first.checked_sub(n.checked_mul(period)?)).map(Height);
        let wanted: Vec<_> = heights
            .take_while(|height| *height >= lowest)
            .filter(|height| !self.known.contains_key(height) && !self.holes.contains(height))
            .take(AT_ONCE)
            .collect();
        self.looking = !wanted.is_empty();
        wanted
    }

    /// The search for `asked` is over.
    pub(super) fn found(&mut self, asked: &[Height], found: &[(Height, BlockHash)], tip: Height) {
        self.looking = false;
        for (height, hash) in found {
            self.note(*height, *hash);
        }
        let missing = asked.iter().filter(|height| !self.known.contains_key(height) && tip.since(**height) > WRITTEN);
        for height in missing {
            // Blocks are pruned from below: where others are there one that is missing may be damaged, and more lie below.
            if found.is_empty() {
                self.lost = self.lost.max(Some(*height));
            } else {
                self.holes.insert(*height);
            }
        }
    }

    /// The search failed; it is tried again with the next block.
    pub(super) const fn failed(&mut self) {
        self.looking = false;
    }

    /// What is known of the block at `height`.
    pub(super) fn at(&self, height: Height, view: &NetworkView, params: &Params) -> Anchor {
        let current = view.current().height;
        if !height.0.is_multiple_of(params.epoch_blocks.max(1)) || height < oldest(current, params) {
            return Anchor::Impossible;
        }
        if height == Height::ZERO {
            return Anchor::Known(view.chain.into());
        }
        if let Some(hash) = self.known.get(&height) {
            return Anchor::Known(*hash);
        }
        match self.tip {
            Some((at, hash)) if at == height => Anchor::Known(hash),
            _ if self.lost.is_some_and(|lost| height <= lost) || self.holes.contains(&height) => Anchor::Lost,
            _ => Anchor::NotYet,
        }
    }
}

/// The oldest anchor that a record alive may have.
fn oldest(current: Height, params: &Params) -> Height {
    let life = u64::from(*TTL_SECONDS.end()) + TIMESTAMP_PAST_SECONDS;
    let blocks = life.saturating_mul(1000) / params.block_time_ms.max(1);
    current.minus(blocks.saturating_add(params.epoch_blocks.saturating_mul(ANCHOR_PERIODS)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sotto_proto::chain::{Genesis, Preset};
    use sotto_proto::network::Snapshot;

    use super::*;
    use crate::test_chain::TestChain;

    fn hash(height: u64) -> BlockHash {
        BlockHash::new(std::array::from_fn(|i| (height >> (8 * (i % 8))) as u8))
    }

    fn view(genesis: &Genesis, finals: std::ops::RangeInclusive<u64>) -> NetworkView {
        let unknown = NetworkView::unknown(genesis);
        let tip = Height(finals.end() + 3);
        let snapshot = |height| {
            let state = unknown.current().clone();
            Arc::new(Snapshot { height: Height(height), block_hash: hash(height), ..state })
        };
        let current = snapshot(*finals.end());
        NetworkView::new(genesis.chain_id(), tip, false, current, finals.rev().skip(1).map(snapshot).collect())
    }

    #[test]
    fn hashes_come_with_final_states_and_from_disk() {
        let (genesis, params) = (TestChain::new().genesis, Params::preset(Preset::Testnet));
        let mut anchors = Anchors::default();
        let now = view(&genesis, 594..=609);
        anchors.follow(&now, (Height(612), hash(612)), &params);
        assert_eq!(anchors.at(Height(600), &now, &params), Anchor::Known(hash(600)));
        assert_eq!(anchors.at(Height(0), &now, &params), Anchor::Known(genesis.chain_id().into()));
        assert_eq!(anchors.at(Height(540), &now, &params), Anchor::NotYet);
        assert_eq!(anchors.at(Height(660), &now, &params), Anchor::NotYet);
        assert_eq!(anchors.at(Height(601), &now, &params), Anchor::Impossible);

        let wanted = anchors.wanted(&now, &params);
        assert_eq!(wanted, [540, 480, 420, 360, 300, 240, 180, 120, 60].map(Height));
        assert_eq!(anchors.wanted(&now, &params), [], "one search at a time");
        let found: Vec<_> = [540, 480, 420].map(|height| (Height(height), hash(height))).into();
        anchors.found(&wanted, &found, Height(612));
        assert_eq!(anchors.at(Height(480), &now, &params), Anchor::Known(hash(480)));
        assert_eq!(anchors.at(Height(300), &now, &params), Anchor::Lost);
        assert_eq!(anchors.at(Height(360), &now, &params), Anchor::NotYet, "it may not be written yet");
        assert_eq!(anchors.wanted(&now, &params), [Height(360)]);
        assert_eq!(anchors.take_unwritten().writes.len(), 4, "600 and the three found");
        assert!(anchors.take_unwritten().writes.is_empty());
    }

    #[test]
    fn one_damaged_block_does_not_hide_those_below_it() {
        let (genesis, params) = (TestChain::new().genesis, Params::preset(Preset::Testnet));
        let now = view(&genesis, 6000..=6009);
        // In the middle of those that are looked for at once, and the last of them.
        for place in [9, AT_ONCE - 1] {
            let mut anchors = Anchors::default();
            anchors.follow(&now, (Height(6012), hash(6012)), &params);
            let wanted = anchors.wanted(&now, &params);
            let (damaged, lowest) = (wanted[place], *wanted.last().unwrap());
            let readable = wanted.iter().filter(|height| **height != damaged);
            let found: Vec<_> = readable.map(|height| (*height, hash(height.0))).collect();
            anchors.found(&wanted, &found, Height(6012));
            assert_eq!(anchors.at(damaged, &now, &params), Anchor::Lost);
            assert_eq!(anchors.at(lowest.minus(60), &now, &params), Anchor::NotYet);
            assert_eq!(anchors.wanted(&now, &params).first(), Some(&lowest.minus(60)), "and the damaged one no more");
        }
    }

    #[test]
    fn an_anchor_that_is_not_final_counts_while_it_is_on_the_chain() {
        let (genesis, params) = (TestChain::new().genesis, Params::preset(Preset::Testnet));
        let mut anchors = Anchors::default();
        anchors.follow(&view(&genesis, 50..=57), (Height(60), hash(7)), &params);
        let later = view(&genesis, 51..=58);
        anchors.follow(&later, (Height(61), hash(61)), &params);
        assert_eq!(anchors.at(Height(60), &later, &params), Anchor::Known(hash(7)));
        let last = view(&genesis, 53..=60);
        anchors.follow(&last, (Height(63), hash(63)), &params);
        assert_eq!(anchors.at(Height(60), &last, &params), Anchor::Known(hash(60)), "the final block's");
    }

    #[test]
    fn what_no_record_can_need_is_dropped() {
        let (genesis, mut params) = (TestChain::new().genesis, Params::preset(Preset::Testnet));
        params.block_time_ms = 3_600_000; // 96 blocks are four days
        let mut anchors = Anchors::default();
        for final_height in (60..=600).step_by(10) {
            let view = view(&genesis, final_height - 9..=final_height);
            anchors.follow(&view, (Height(final_height + 3), hash(final_height + 3)), &params);
        }
        let now = view(&genesis, 595..=600);
        assert_eq!(anchors.known.keys().map(|height| height.0).collect::<Vec<_>>(), [360, 420, 480, 540, 600]);
        assert_eq!(anchors.at(Height(300), &now, &params), Anchor::Impossible);
        assert!(anchors.take_unwritten().writes.contains(&Write::PruneAnchorsBelow(Height(304))));
    }
}
