//! Keeping the node list fresh.
//!
//! | the list | what is done |
//! | --- | --- |
//! | none | one bootstrap node is asked, directly |
//! | not agreed on yet, or old | three nodes are asked through a path that contains none of them |
//! | older than the keys in it | a guard is asked directly, which knows the client's address anyway; else a bootstrap node |

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use sotto_behaviours::network::Peer;
use sotto_proto::chain::GenesisFile;
use sotto_proto::limits::RECENT_MAPS;
use sotto_proto::sign::Ed25519;

use super::{Error, Messenger};
use crate::network::clock::SharedClock;
use crate::network::directory::{Age, Directory};
use crate::network::light_client::{self, Trust, UpdateError, WITNESSES};
use crate::network::lookups::Lookup;
use crate::network::paths::{Purpose, hop};
use crate::network::{self, NetworkList, Step};
use crate::store::{Evidence, OpenAccount, SavedNetwork};

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
        let result = self.agreed_list().await;
        if let Err(Error::Update(UpdateError::Equivocation(evidence))) = &result {
            let bytes = [evidence.one.encode(), evidence.other.encode()].concat();
            let found = self.clock.own().wall;
            self.account.store.add_evidence(&Evidence { found, kind: "two blocks of one height".into(), bytes })?;
        }
        let list = result?;
        let fetched = self.clock.own().wall;
        self.adopt(Directory::new(list.header, list.nodes, fetched, true)?)
    }

    async fn agreed_list(&mut self) -> Result<NetworkList, Error> {
        if !self.account.store.evidence()?.is_empty() {
            return Err(UpdateError::Stopped.into());
        }
        let mut avoid = self.avoid([])?;
        let witnesses = light_client::witnesses(self.directory.nodes(), &avoid, &mut self.rng)?;
        avoid.nodes.extend(witnesses.iter().copied());
        let path = self.path_without(Purpose::Other, &avoid).await?;
        let mut hops = witnesses.iter().filter_map(|node| hop(self.directory.nodes(), node));
        let (mut lookups, mut finals) = (Vec::new(), Vec::new());
        loop {
            let next: Vec<_> = hops.by_ref().take(WITNESSES - lookups.len()).collect();
            if next.is_empty() {
                break;
            }
            let clock = &self.clock;
            for answer in join_all(next.into_iter().map(|to| Lookup::connect(&path, to, clock))).await {
                match answer {
                    Ok((lookup, info)) => {
                        finals.push(info.final_height);
                        lookups.push(lookup);
                    }
                    Err(error) => tracing::debug!(%error, "a node was no witness"),
                }
            }
        }
        // One bootstrap node may be some blocks ahead of the three; what three agreed on is never gone back from.
        let known = self.directory.header().header.height;
        let floor = if self.directory.agreed() { known } else { known.minus(RECENT_MAPS as u64) };
        let height = light_client::agreed_height(&finals, floor)?;
        let asked = lookups.iter_mut().map(|lookup| async {
            let node = lookup.node();
            lookup.header(height).await.map(|header| (node, header))
        });
        let headers: Vec<_> = join_all(asked).await.into_iter().filter_map(Result::ok).collect();
        let authority = self.genesis.genesis.authority;
        let trust =
            Trust { chain: &self.chain, authority: &authority, known: self.directory.header(), verify: &Ed25519 };
        let header = trust.agreed_header(height, &headers, self.clock.own().wall)?;
        if header.header.list_root == self.directory.header().header.list_root {
            let (nodes, source) = (self.directory.nodes().clone(), path.hops()[0].node);
            return Ok(NetworkList { header, nodes, source });
        }
        let Some(lookup) = lookups.first_mut() else { return Err(UpdateError::TooFew { answered: 0 }.into()) };
        let nodes = lookup.list(height).await?;
        trust.whole_list(&header, &nodes, lookup.node())?;
        Ok(NetworkList { header, nodes, source: lookup.node() })
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
            return Err(UpdateError::Older { found: list.header.header.height, known }.into());
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
