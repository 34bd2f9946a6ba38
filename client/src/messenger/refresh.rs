//! Keeping the node list fresh.
//!
//! | the list | what is done |
//! | --- | --- |
//! | none | one bootstrap node is asked, directly |
//! | not agreed on yet, or old | three nodes are asked through a path that contains none of them |
//! | older than the keys in it | a guard is asked directly, which knows the client's address anyway; else a bootstrap node |

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sotto_behaviours::network::Peer;
use sotto_behaviours::onion::client::Path;
use sotto_proto::chain::{GenesisFile, SignedHeader};
use sotto_proto::id::{ChainId, Height, NodeId};
use sotto_proto::limits::RECENT_MAPS;
use sotto_proto::network::NodeList;
use sotto_proto::sign::Ed25519;
use tokio::time::timeout;

use super::{Error, Messenger};
use crate::network::choice::Avoid;
use crate::network::clock::SharedClock;
use crate::network::directory::{Age, Directory};
use crate::network::hedge::{self, Plan};
use crate::network::light_client::{self, Trust, UpdateError, WITNESSES};
use crate::network::lookups::{Lookup, LookupError};
use crate::network::paths::{Purpose, hop};
use crate::network::renewal::Renewal;
use crate::network::ways::Ways;
use crate::network::{self, NetworkList, Step};
use crate::store::{EQUIVOCATION, Evidence, OpenAccount, SavedNetwork};

/// How long witnesses may take for a header, having answered just before: one that froze in between is not waited for
/// as long as a first answer.
const HEADER_PATIENCE: Duration = Duration::from_secs(3);

/// How long one of them may take for the whole list, in times of what one answer may: whoever hands it out bucket by
/// bucket, each just in time, holds nobody up.
const LIST_PATIENCE_TIMES: u32 = 2;

/// Nodes that may tell what cannot be true, or be behind, before a list is given up for now.
const LEFT_OUT: usize = 3;

/// What came of asking for a newer list.
#[derive(Debug)]
pub(super) enum Newer {
    /// It is the one known now.
    Adopted,
    /// There is none.
    Nowhere,
    /// It is not to be had.
    Failed(Error),
}

/// Three answers of so many candidates.
const fn three_of(candidates: usize, patience: Duration) -> Plan {
    Plan { candidates, due: WITNESSES, needed: WITNESSES, least: WITNESSES, at_once: WITNESSES, patience }
}

/// The list that was stored, or the first one.
pub(super) async fn stored_or_first(
    genesis: &GenesisFile,
    account: &OpenAccount,
    clock: &SharedClock,
    patience: Duration,
    progress: impl FnMut(Step),
) -> Result<Directory, Error> {
    if let Some(saved) = account.store.network()? {
        let nodes = saved.nodes.into_iter().map(|record| (record.node, Arc::new(record))).collect();
        return Ok(Directory::new(saved.header, nodes, saved.fetched, true)?);
    }
    let list = network::fetch(genesis, patience, progress).await?;
    Ok(Directory::first(list, clock.own().wall)?)
}

/// Fetches what is still missing of the list that `header` commits to: first the hashes of its buckets, then those
/// buckets that are others in the `present` list. What another node told before is not fetched again.
async fn fetch_missing(
    lookup: &mut Lookup,
    chain: ChainId,
    header: &SignedHeader,
    present: &NodeList,
    renewal: &mut Option<Renewal>,
) -> Result<(), Error> {
    let (height, node) = (header.header.height, lookup.node());
    let renewal = match renewal {
        Some(begun) => begun,
        None => renewal.insert(Renewal::new(chain, header, present, lookup.hashes(height).await?, node)?),
    };
    while !renewal.missing().is_empty() {
        let buckets = lookup.buckets(height, renewal.missing()).await?;
        renewal.take(&buckets, node)?;
    }
    Ok(())
}

impl Messenger {
    /// Makes sure that the list can be worked with: agreed on by three nodes, and not too old.
    ///
    /// # Errors
    /// [`Error`] when it cannot be had; the list known stays.
    pub async fn refresh_if_needed(&mut self) -> Result<(), Error> {
        let now = self.clock.own().wall;
        match self.directory.age(&self.genesis.genesis.params, now) {
            Age::Fresh if self.directory.agreed() => Ok(()),
            // An old list that three nodes once agreed on serves; a new one is had another time.
            Age::Old if self.directory.agreed() => match self.refresh().await {
                Err(Error::Store(error)) => Err(error.into()),
                Err(Error::Update(UpdateError::Equivocation(evidence))) => {
                    Err(UpdateError::Equivocation(evidence).into())
                }
                Err(error) => {
                    tracing::debug!(%error, "the list stays as it is");
                    Ok(())
                }
                Ok(()) => Ok(()),
            },
            Age::Fresh | Age::Old => self.refresh().await,
            Age::Stale => {
                self.refresh_directly().await?;
                self.refresh().await
            }
        }
    }

    /// Asks three nodes for the newest list and adopts it if they agree.
    ///
    /// # Errors
    /// [`Error`] when they do not; the list known stays, and what contradicts itself is kept as evidence.
    pub async fn refresh(&mut self) -> Result<(), Error> {
        let mut left_out = BTreeSet::new();
        let list = loop {
            let result = self.agreed_list(&left_out).await;
            let Err(error) = result else { break result? };
            // Nodes that do not answer may be behind a path that is silent.
            self.rotate(Purpose::Other);
            let Error::Update(wrong) = &error else { return Err(error) };
            self.keep_evidence(wrong)?;
            match wrong.left_out() {
                Some(node) if left_out.len() < LEFT_OUT && left_out.insert(node) => {
                    tracing::info!(%error, "others are asked");
                }
                _ => return Err(error),
            }
        };
        let fetched = self.clock.own().wall;
        self.adopt(Directory::new(list.header, list.nodes, fetched, true)?)
    }

    /// Asks for a newer list if a member speaks of a final `height` above that of the list known. That there is none is
    /// no failure: the member may have made the height up.
    ///
    /// # Errors
    /// [`Error`] of the store, and a producer that contradicts itself.
    pub(super) async fn refresh_for(&mut self, height: Height) -> Result<Newer, Error> {
        let known = self.directory.header().header.height;
        if height <= known {
            return Ok(Newer::Nowhere);
        }
        match self.refresh().await {
            Ok(()) if self.directory.header().header.height > known => Ok(Newer::Adopted),
            Ok(()) => Ok(Newer::Nowhere),
            Err(Error::Store(error)) => Err(error.into()),
            Err(Error::Update(UpdateError::Equivocation(evidence))) => Err(UpdateError::Equivocation(evidence).into()),
            Err(error) => {
                tracing::debug!(%error, "the list stays as it is");
                Ok(Newer::Failed(error))
            }
        }
    }

    fn keep_evidence(&mut self, wrong: &UpdateError) -> Result<(), Error> {
        let found = self.clock.own().wall;
        let (kind, bytes) = match wrong {
            UpdateError::Equivocation(evidence) => {
                (EQUIVOCATION.to_owned(), [evidence.one.encode(), evidence.other.encode()].concat())
            }
            other => match other.liar() {
                Some(liar) => (other.to_string(), liar.as_bytes().to_vec()),
                None => return Ok(()),
            },
        };
        Ok(self.account.store.add_evidence(&Evidence { found, kind, bytes })?)
    }

    /// The list that three nodes agree on. Those of `left_out` are not asked.
    async fn agreed_list(&mut self, left_out: &BTreeSet<NodeId>) -> Result<NetworkList, Error> {
        if self.account.store.has_equivocation()? {
            return Err(UpdateError::Stopped.into());
        }
        let mut avoid = self.avoid([])?;
        avoid.nodes.extend(left_out);
        let mut witnesses = light_client::witnesses(self.directory.nodes(), &avoid, &mut self.rng)?;
        avoid.nodes.extend(witnesses.iter().copied());
        witnesses = self.slow_last(witnesses);
        let path = self.path_without(Purpose::Other, &avoid).await?;
        let (mut lookups, finals) = self.witness_heights(&path, &avoid, &witnesses).await;
        // One bootstrap node may be some blocks ahead of the three; what three agreed on is never gone back from.
        let known = self.directory.header().header.height;
        let floor = if self.directory.agreed() { known } else { known.minus(RECENT_MAPS as u64) };
        let height = light_client::agreed_height(&finals, floor)?;
        let headers = self.witness_headers(&mut lookups, height).await;
        let authority = self.genesis.genesis.authority;
        let trust =
            Trust { chain: &self.chain, authority: &authority, known: self.directory.header(), verify: &Ed25519 };
        let header = trust.agreed_header(height, &headers, self.clock.own().wall)?;
        if header.header.list_root == self.directory.header().header.list_root {
            let (nodes, source) = (self.directory.nodes().clone(), path.hops()[0].node);
            return Ok(NetworkList { header, nodes, source });
        }
        let order: Vec<_> = headers.iter().map(|(node, _)| *node).collect();
        let (nodes, source) = self.renewed(&mut lookups, &order, &header).await?;
        Ok(NetworkList { header, nodes, source })
    }

    /// The list that `header` commits to, and who told the last of it. Any of the witnesses can serve it: the header says
    /// whether it is the right one. They are asked in this `order`, each for so long; the next one goes on where the one
    /// before has come to.
    async fn renewed(
        &mut self,
        lookups: &mut [Lookup],
        order: &[NodeId],
        header: &SignedHeader,
    ) -> Result<(NodeList, NodeId), Error> {
        let (mut renewal, mut last) = (None, Error::from(UpdateError::TooFew { answered: 0 }));
        for node in order {
            let Some(lookup) = lookups.iter_mut().find(|lookup| lookup.node() == *node) else { continue };
            let fetching = fetch_missing(lookup, self.chain, header, self.directory.nodes(), &mut renewal);
            match timeout(self.patience * LIST_PATIENCE_TIMES, fetching).await {
                Ok(Ok(())) => match renewal {
                    Some(renewal) => return Ok((renewal.into_nodes(), *node)),
                    None => break,
                },
                Ok(Err(error @ Error::Update(_))) => return Err(error),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a node has no list");
                    last = error;
                }
                Err(_) => {
                    tracing::debug!(node = node.short(), "a node is slow with its list");
                    last = LookupError::Slow.into();
                    self.paths.slow(*node);
                }
            }
        }
        Err(last)
    }

    /// Asks witnesses for their final heights until three have answered.
    async fn witness_heights(
        &mut self,
        path: &Path,
        avoid: &Avoid,
        witnesses: &[NodeId],
    ) -> (Vec<Lookup>, Vec<(NodeId, Height)>) {
        let (nodes, paths) = (self.directory.nodes(), &mut self.paths);
        let hops: Vec<_> = witnesses.iter().filter_map(|node| hop(nodes, node)).collect();
        let (plan, clock) = (three_of(hops.len(), self.patience), &self.clock);
        let second = async { paths.another(nodes, Purpose::Other, avoid, path).await.ok() };
        let ways = Ways::new(path.clone(), second);
        let told = hedge::ask(plan, |place| {
            let (to, ways) = (hops.get(place).copied(), &ways);
            async move { ways.look_up(to.ok_or(LookupError::Nonsense)?, place >= plan.due, clock).await }
        })
        .await;
        let (better, blames) = (ways.better(), ways.blames(told.late.len()));
        drop(ways);
        for (_, error) in &told.failures {
            tracing::debug!(%error, "a node was no witness");
        }
        for to in told.late.iter().filter_map(|place| hops.get(*place)) {
            tracing::debug!(node = to.node.short(), "a witness is slow");
            if blames {
                self.paths.slow(to.node);
            }
        }
        if let Some(better) = better {
            self.paths.silent(path, &better);
        }
        let answers = told.answers.into_iter().map(|(_, (lookup, info))| (lookup.node(), lookup, info.final_height));
        answers.map(|(node, lookup, height)| (lookup, (node, height))).unzip()
    }

    /// Asks all witnesses for the header of `height`.
    async fn witness_headers(&mut self, lookups: &mut [Lookup], height: Height) -> Vec<(NodeId, SignedHeader)> {
        let nodes: Vec<_> = lookups.iter().map(Lookup::node).collect();
        let plan = Plan { due: nodes.len(), ..three_of(nodes.len(), self.patience.min(HEADER_PATIENCE)) };
        let mut waiting: Vec<_> = lookups.iter_mut().map(Some).collect();
        let told = hedge::ask(plan, |place| {
            let lookup = waiting.get_mut(place).and_then(Option::take);
            async move { lookup.ok_or(LookupError::Nonsense)?.header(height).await }
        })
        .await;
        for node in told.late.iter().filter_map(|place| nodes.get(*place)) {
            self.paths.slow(*node);
        }
        told.answers.into_iter().filter_map(|(place, header)| Some((*nodes.get(place)?, header))).collect()
    }

    /// Asks a guard directly, or failing that a bootstrap node.
    async fn refresh_directly(&mut self) -> Result<(), Error> {
        let known = self.directory.header().header.height;
        let guards: Vec<_> = self.paths.guards().iter().map(|guard| guard.node).collect();
        for guard in guards {
            let Some(record) = self.directory.nodes().get(&guard) else { continue };
            let peer = Peer { node: guard, addresses: record.addresses.clone() };
            match network::fetch_directly(&self.genesis, peer, self.patience).await {
                Ok(list) if list.header.header.height >= known => return self.adopt_first(list),
                Ok(_) => tracing::debug!(guard = guard.short(), "the guard is behind"),
                Err(error) => tracing::debug!(guard = guard.short(), %error, "the guard has no list"),
            }
        }
        let list = network::fetch(&self.genesis, self.patience, |_| ()).await?;
        if list.header.header.height < known {
            return Err(UpdateError::Older { node: list.source, found: list.header.header.height, known }.into());
        }
        self.adopt_first(list)
    }

    fn adopt_first(&mut self, list: NetworkList) -> Result<(), Error> {
        let now = self.clock.own().wall;
        self.directory = Directory::first(list, now)?;
        self.keep_guards()
    }

    fn adopt(&mut self, directory: Directory) -> Result<(), Error> {
        self.account.store.save_network(&SavedNetwork {
            header: directory.header().clone(),
            nodes: directory.nodes().values().map(|record| (**record).clone()).collect(),
            fetched: directory.fetched(),
        })?;
        self.directory = directory;
        self.keep_guards()
    }
}
