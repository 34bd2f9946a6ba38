//! What an envelope is made with: the network's time, and the block that its work is anchored at.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use sotto_behaviours::onion::client::Path;
use sotto_behaviours::tunnel::client::Tunnel;
use sotto_proto::id::{BlockHash, Height, NodeId};
use sotto_proto::pow;
use sotto_proto::sign::Ed25519;
use sotto_proto::time::{Monotonic, UnixMillis};

use super::{Error, Messenger};
use crate::network::choice::Avoid;
use crate::network::hedge::BLIND;
use crate::network::lookups::Lookup;
use crate::network::paths::{Purpose, hop};
use crate::network::storing::WANTED;
use crate::network::ways::Ways;

/// What members said of time and height holds for the next messages, too: an anchor is good for three periods.
const TERMS_HOLD: Duration = Duration::from_secs(30);
/// Members that are asked for time and height at once; three answers are enough, so one may be frozen.
const ASKED: usize = 4;
/// How long the second and third answer are waited for after the first.
const OTHERS_WAIT: Duration = Duration::from_millis(150);

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

impl Messenger {
    /// Asks three members for time and final height, and one of them for the anchor's header if it is not known. Their
    /// tunnels stay open. Where nothing comes back through `path`, it is replaced.
    pub(super) async fn terms(
        &mut self,
        path: &mut Path,
        avoid: &Avoid,
        members: &[NodeId],
        open: &mut BTreeMap<NodeId, Tunnel>,
    ) -> Result<Terms, Error> {
        let hops: Vec<_> = members.iter().filter_map(|node| hop(self.directory.nodes(), node)).collect();
        let (mut lookups, mut finals) = (Vec::<Lookup>::new(), Vec::new());
        let mut last = None;
        let (nodes, clock, paths) = (self.directory.nodes(), &self.clock, &mut self.paths);
        let silent = path.clone();
        let second = async { paths.another(nodes, Purpose::Send, avoid, &silent).await.ok() };
        let ways = Ways::new(path.clone(), second);
        let look = |to, late| ways.look_up(to, late, clock);
        for some in hops.chunks(ASKED) {
            let mut pending: FuturesUnordered<_> = some.iter().map(|to| look(*to, false)).collect();
            // Whoever is slow is not waited for once somebody has answered; while nobody has, it may be the path.
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
                        until.get_or_insert_with(|| tokio::time::Instant::now() + OTHERS_WAIT);
                    }
                    Some(Err(error)) => last = Some(error),
                    None => break,
                }
            }
            if !lookups.is_empty() {
                break;
            }
        }
        let better = ways.better();
        drop(ways);
        if let Some(better) = better {
            self.paths.silent(path, &better);
            *path = better;
        }
        finals.sort_unstable();
        // The lower median: neither one that is behind nor one that makes up a height decides.
        let Some(last_final) = finals.get(finals.len().saturating_sub(1) / 2) else {
            return Err(last.map_or(Error::NoOwner, Error::Lookup));
        };
        let anchor = pow::anchor(*last_final, self.genesis.genesis.params.epoch_blocks);
        let hash = self.anchor_hash(anchor, &mut lookups).await?;
        self.anchor = Some(Anchor { height: anchor, hash, heard: self.clock.own().monotonic });
        open.extend(lookups.into_iter().map(|lookup| (lookup.node(), lookup.into_tunnel())));
        Ok(Terms { now: self.clock.now(), anchor, anchor_hash: hash })
    }

    /// What members said a moment ago.
    pub(super) fn known_terms(&self) -> Option<Terms> {
        let Anchor { height, hash, .. } =
            self.anchor.filter(|anchor| self.clock.own().monotonic.since(anchor.heard) < TERMS_HOLD)?;
        Some(Terms { now: self.clock.now(), anchor: height, anchor_hash: hash })
    }

    /// The hash of the block that work is anchored at: the same for a whole epoch, so it is asked for once.
    async fn anchor_hash(&mut self, anchor: Height, lookups: &mut [Lookup]) -> Result<BlockHash, Error> {
        if anchor == Height::ZERO {
            return Ok(self.chain.into());
        }
        if let Some(known) = self.anchor.filter(|known| known.height == anchor) {
            return Ok(known.hash);
        }
        let mut last = None;
        // All at once: one that has become silent meanwhile is not waited for.
        let mut pending: FuturesUnordered<_> =
            lookups.iter_mut().map(|lookup| async move { (lookup.node(), lookup.header(anchor).await) }).collect();
        while let Some((node, answer)) = pending.next().await {
            match answer {
                Ok(header) if header.verify(&self.chain, &self.genesis.genesis.authority, &Ed25519) => {
                    return Ok(header.hash(&self.chain));
                }
                Ok(_) => tracing::debug!(node = node.short(), "a forged header"),
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or(Error::NoOwner, Error::Lookup))
    }
}
