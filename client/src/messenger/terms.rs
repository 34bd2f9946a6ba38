//! What an envelope is made with: the network's time, and the block that its work is anchored at.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use sotto_behaviours::onion::client::Path;
use sotto_behaviours::tunnel::client::{self as tunnel, Tunnel};
use sotto_proto::id::{BlockHash, Height, NodeId};
use sotto_proto::pow;
use sotto_proto::sign::Ed25519;
use sotto_proto::time::{Monotonic, UnixMillis};

use super::{Error, Messenger};
use crate::network::choice::Avoid;
use crate::network::hedge::BLIND;
use crate::network::lookups::{Lookup, LookupError};
use crate::network::paths::{Purpose, hop};
use crate::network::storing::WANTED;
use crate::network::ways::Ways;

/// What members said of time and height holds for the next messages, too: an anchor is good for three periods.
const TERMS_HOLD: Duration = Duration::from_secs(30);
/// Members that are asked for time and height at once; three answers are enough, so one may be frozen.
const ASKED: usize = 4;
/// How long the second and third answer are waited for after the first, once what was told is borne out.
const OTHERS_WAIT: Duration = Duration::from_millis(150);
/// How long others are waited for after the first answer while it stands alone.
const ALONE_WAIT: Duration = Duration::from_secs(2);

/// The block that work is anchored at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anchor {
    height: Height,
    hash: BlockHash,
    /// When members said so.
    heard: Monotonic,
}

/// What the network says that an envelope is made with.
pub(super) struct Terms {
    pub(super) now: UnixMillis,
    pub(super) anchor: Height,
    pub(super) anchor_hash: BlockHash,
}

/// Why there are none.
pub(super) enum NoTerms {
    /// Nobody answers.
    Silent(Error),
    /// What members say is not borne out ([`LookupError::Alone`]), or they do not tell the block that follows from it.
    /// Others may say better.
    Unbelieved(LookupError),
}

/// Heights that a member may tell without another one saying the same.
struct Likely {
    /// That of the node list.
    known: Height,
    /// What it should be by now, were every block in time.
    now: Height,
    /// How many blocks heights may differ: anchors a period apart are both good.
    tolerance: u64,
}

impl Likely {
    /// The final height that `told` ones bear out: the largest that another one confirms, or else one that agrees with
    /// the node list. Of two that confirm each other the lower one counts, whose anchor both have.
    fn believed(&self, told: &[Height]) -> Option<Height> {
        let mut sorted = told.to_vec();
        sorted.sort_unstable();
        let is_close = |pair: &&[Height]| matches!(pair, [low, high] if high.0 - low.0 <= self.tolerance);
        let confirmed = sorted.windows(2).rfind(is_close).and_then(<[Height]>::first);
        let likely = self.known.minus(self.tolerance).0..=self.now.0.saturating_add(self.tolerance);
        confirmed.or_else(|| sorted.iter().rfind(|height| likely.contains(&height.0))).copied()
    }
}

impl Messenger {
    /// Asks three members for time and final height, and one of them for the anchor's header if it is not known. Their
    /// tunnels stay open. Where nothing comes back through `path`, it is replaced. What one member says alone is believed
    /// only if it agrees with the node list.
    ///
    /// # Errors
    /// [`NoTerms`], which says whether others may say better.
    pub(super) async fn terms(
        &mut self,
        (purpose, path): (Purpose, &mut Path),
        avoid: &Avoid,
        members: &[NodeId],
        open: &mut BTreeMap<NodeId, Tunnel>,
    ) -> Result<Terms, NoTerms> {
        let hops: Vec<_> = members.iter().filter_map(|node| hop(self.directory.nodes(), node)).collect();
        let (mut lookups, mut finals) = (Vec::<Lookup>::new(), Vec::new());
        let likely = self.likely_heights();
        let believed = |finals: &[Height]| likely.believed(finals);
        let mut last = None;
        let (nodes, clock, paths) = (self.directory.nodes(), &self.clock, &mut self.paths);
        let silent = path.clone();
        let second = async { paths.another(nodes, purpose, avoid, &silent).await.ok() };
        let ways = Ways::new(path.clone(), second);
        let look = |to, late| ways.look_up(to, late, clock);
        for some in hops.chunks(ASKED) {
            let mut pending: FuturesUnordered<_> = some.iter().map(|to| look(*to, false)).collect();
            // Whoever is slow is not waited for once enough is said; while nobody has answered, it may be the path.
            let (mut until, mut again_at) = (None, Some(tokio::time::Instant::now() + BLIND));
            while lookups.len() < WANTED {
                let answer = match until.or(again_at) {
                    Some(at) => match tokio::time::timeout_at(at, pending.next()).await {
                        Ok(answer) => answer,
                        Err(_) if until.is_some() => None,
                        Err(_) => {
                            again_at = None;
                            pending.extend(some.iter().map(|to| look(*to, true)));
                            continue;
                        }
                    },
                    None => pending.next().await,
                };
                match answer {
                    // The same one, both ways.
                    Some(Ok((lookup, _))) if lookups.iter().any(|other| other.node() == lookup.node()) => {}
                    Some(Ok((lookup, info))) => {
                        finals.push(info.final_height);
                        lookups.push(lookup);
                        let now = tokio::time::Instant::now();
                        let latest = *until.get_or_insert(now + ALONE_WAIT);
                        if believed(&finals).is_some() {
                            until = Some(latest.min(now + OTHERS_WAIT));
                        }
                    }
                    Some(Err(error)) => last = Some(error),
                    None => break,
                }
            }
            if believed(&finals).is_some() {
                break;
            }
        }
        let better = ways.better();
        drop(ways);
        if let Some(better) = better {
            self.paths.silent(path, &better);
            *path = better;
        }
        let Some(last_final) = believed(&finals) else {
            if finals.is_empty() {
                return Err(NoTerms::Silent(last.map_or(Error::NoOwner, Error::Lookup)));
            }
            // One of them at least is off: the next ones to be asked are others.
            lookups.iter().for_each(|lookup| self.paths.slow(lookup.node()));
            return Err(NoTerms::Unbelieved(LookupError::Alone));
        };
        let anchor = pow::anchor(last_final, self.genesis.genesis.params.epoch_blocks);
        let hash = self.anchor_hash(anchor, &mut lookups).await.map_err(NoTerms::Unbelieved)?;
        self.anchor = Some(Anchor { height: anchor, hash, heard: self.clock.own().monotonic });
        open.extend(lookups.into_iter().map(|lookup| (lookup.node(), lookup.into_tunnel())));
        Ok(Terms { now: self.clock.now(), anchor, anchor_hash: hash })
    }

    /// Where the chain may be by the node list and the time since.
    fn likely_heights(&self) -> Likely {
        let (params, header) = (&self.genesis.genesis.params, &self.directory.header().header);
        let passed = self.clock.now().0.saturating_sub(header.time.0);
        Likely {
            known: header.height,
            now: Height(header.height.0.saturating_add(passed / params.block_time_ms.max(1))),
            tolerance: params.epoch_blocks,
        }
    }

    /// What members said a moment ago.
    pub(super) fn known_terms(&self) -> Option<Terms> {
        let Anchor { height, hash, .. } =
            self.anchor.filter(|anchor| self.clock.own().monotonic.since(anchor.heard) < TERMS_HOLD)?;
        Some(Terms { now: self.clock.now(), anchor: height, anchor_hash: hash })
    }

    /// The hash of the block that work is anchored at: the same for a whole epoch, so it is asked for once.
    async fn anchor_hash(&mut self, anchor: Height, lookups: &mut [Lookup]) -> Result<BlockHash, LookupError> {
        if anchor == Height::ZERO {
            return Ok(self.chain.into());
        }
        if let Some(known) = self.anchor.filter(|known| known.height == anchor) {
            return Ok(known.hash);
        }
        let mut last = LookupError::Nonsense;
        // All at once: one that has become silent meanwhile is not waited for.
        let mut pending: FuturesUnordered<_> =
            lookups.iter_mut().map(|lookup| async move { (lookup.node(), lookup.header(anchor).await) }).collect();
        while let Some((node, answer)) = pending.next().await {
            match answer {
                Ok(header) if header.verify(&self.chain, &self.genesis.genesis.authority, &Ed25519) => {
                    return Ok(header.hash(&self.chain));
                }
                Ok(_) => tracing::debug!(node = node.short(), "a forged header"),
                // It may be the path that is silent.
                Err(error @ LookupError::Tunnel(tunnel::Error::TimedOut)) => {
                    last = error;
                    continue;
                }
                Err(error) => last = error,
            }
            // The next ones to be asked are others.
            self.paths.slow(node);
        }
        Err(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIKELY: Likely = Likely { known: Height(1000), now: Height(1030), tolerance: 60 };

    fn believed(told: &[u64]) -> Option<u64> {
        LIKELY.believed(&told.iter().copied().map(Height).collect::<Vec<_>>()).map(|height| height.0)
    }

    #[test]
    fn a_height_that_another_member_confirms_is_believed_and_one_liar_moves_it_by_a_period_at_most() {
        assert_eq!(believed(&[5000, 5001, 5002]), Some(5001));
        assert_eq!(believed(&[5001, 5000]), Some(5000));
        for lie in [0, 1, 4000, 9000, u64::MAX] {
            assert_eq!(believed(&[5000, lie, 5001]), Some(5000), "{lie}");
        }
        for lie in 4900..5100 {
            let height = believed(&[5000, lie, 5001]).unwrap();
            assert!((4940..=5001).contains(&height), "{lie}: {height}");
        }
    }

    #[test]
    fn a_height_that_stands_alone_is_believed_if_it_agrees_with_the_node_list() {
        for (height, is_believed) in [(939, false), (940, true), (1000, true), (1090, true), (1091, false), (0, false)]
        {
            assert_eq!(believed(&[height]).is_some(), is_believed, "{height}");
        }
        assert_eq!(believed(&[1010, 7]), Some(1010), "the honest one of two");
        assert_eq!(believed(&[1010, u64::MAX]), Some(1010));
        assert_eq!(believed(&[7, u64::MAX]), None);
        assert_eq!(believed(&[]), None);
    }
}
