//! The paths of one account: each serves one purpose, takes new streams for ten minutes, and is replaced in time.
//!
//! The first guard of the sample that can be reached is used. Guards are never scored and never replaced because paths
//! through them failed; other hops are shunned for a while when they fail, half for a report about a neighbour.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::client::{Blame, Path, PathError};
use sotto_proto::cell::{Position, Status};
use sotto_proto::chain::GenesisFile;
use sotto_proto::id::NodeId;
use sotto_proto::limits::{HOPS, PATH_NEW_STREAMS};
use sotto_proto::network::NodeList;

use super::choice::{self, Avoid, NoPath};
use super::clock::SharedClock;
use super::guards::Guards;
use super::host::{GuardHost, HostError};
use super::scores::Scores;

/// Builds that are tried before a client says that there is no path.
const ATTEMPTS: usize = 8;
/// A path this close to its age for new streams is not begun to be used.
const LAST_MOMENTS: Duration = Duration::from_secs(15);

/// What a path is for. No path serves two purposes, or the exit of one would see them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Storing messages for others.
    Send,
    /// Reading one's own.
    Receive,
    /// The node list.
    Other,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Send, Self::Receive, Self::Other];

    /// For people and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Other => "other",
        }
    }
}

/// Why there is no path.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The rules leave none.
    #[error(transparent)]
    Choice(#[from] NoPath),
    /// No host could be made.
    #[error(transparent)]
    Host(#[from] HostError),
    /// None of the guards can be reached.
    #[error("none of {tried} guards can be reached: is this machine connected?")]
    NoGuard {
        /// How many were tried.
        tried: usize,
    },
    /// Too many builds failed.
    #[error("no path could be built: {0}")]
    Failed(PathError),
}

/// Paths, guards and scores.
#[derive(Debug)]
pub struct Paths {
    genesis: Arc<GenesisFile>,
    clock: SharedClock,
    guards: Guards,
    scores: Scores,
    /// One connection with each guard in use.
    hosts: BTreeMap<NodeId, GuardHost>,
    held: Vec<(Purpose, Path)>,
    rng: ChaCha20Rng,
}

impl Paths {
    /// No path yet. `rng` is all the randomness that choices are made from.
    #[must_use]
    pub fn new(genesis: Arc<GenesisFile>, clock: SharedClock, guards: Guards, rng: ChaCha20Rng) -> Self {
        Self { genesis, clock, guards, scores: Scores::default(), hosts: BTreeMap::new(), held: Vec::new(), rng }
    }

    /// The guards, to be stored when [`Paths::maintain`] or [`Paths::get`] changed them.
    #[must_use]
    pub const fn guards(&self) -> &Guards {
        &self.guards
    }

    /// Keeps the sample of guards complete; `own` are the swarms of the user's own addresses.
    pub fn maintain(&mut self, nodes: &NodeList, own: &Avoid) -> bool {
        self.guards.maintain(nodes, own, self.clock.now().seconds(), &mut self.rng)
    }

    /// Paths that are up, with their purposes.
    pub fn held(&self) -> impl Iterator<Item = (Purpose, &Path)> {
        self.held.iter().filter(|(_, path)| path.end().is_none()).map(|(purpose, path)| (*purpose, path))
    }

    /// Lets go of all paths of a purpose: the next one is a new one.
    pub fn rotate(&mut self, purpose: Purpose) {
        self.held.retain(|(of, _)| *of != purpose);
    }

    /// A path for `purpose` without any of `avoid`: one that is up, or a new one.
    ///
    /// # Errors
    /// [`Error`] when none can be built.
    pub async fn get(&mut self, nodes: &NodeList, purpose: Purpose, avoid: &Avoid) -> Result<Path, Error> {
        self.note_ends();
        let serves = |path: &Path| {
            path.age() + LAST_MOMENTS < PATH_NEW_STREAMS
                && path.hops().iter().all(|hop| nodes.get(&hop.node).is_some_and(|record| avoid.allows(record)))
        };
        if let Some((_, path)) = self.held.iter().find(|(of, path)| *of == purpose && serves(path)) {
            return Ok(path.clone());
        }
        let path = self.build(nodes, avoid).await?;
        self.held.push((purpose, path.clone()));
        Ok(path)
    }

    /// A new path, whatever there is. It is not held: whoever asked for it decides what it is for.
    ///
    /// # Errors
    /// [`Error`] when none can be built.
    pub async fn build(&mut self, nodes: &NodeList, avoid: &Avoid) -> Result<Path, Error> {
        let mut unreachable = BTreeSet::new();
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let guard = match self.guard(nodes, avoid, &unreachable) {
                Ok(guard) => guard,
                Err(_) if !unreachable.is_empty() => return Err(Error::NoGuard { tried: unreachable.len() }),
                Err(error) => return Err(error.into()),
            };
            let shunned = self.scores.shunned(nodes.len(), self.clock.own().monotonic);
            let chosen = choice::behind_guard(nodes, &guard, avoid, &shunned, &mut self.rng)?;
            let hops = hops(nodes, chosen).ok_or(NoPath::TooFew)?;
            match self.host(nodes, guard)?.build(hops).await {
                Ok(path) => return Ok(path),
                Err(error) => {
                    tracing::debug!(%error, "a path was not built");
                    if let PathError::Refused { status: Status::TimeRefused, minute, .. } = &error {
                        self.clock.refused(*minute);
                    }
                    if error.blame() == Blame::Hop(Position::Guard) {
                        // A new connection next time: this one may be dead.
                        self.hosts.remove(&guard);
                        unreachable.insert(guard);
                    }
                    self.blame(error.blame(), &chosen);
                    last = Some(error);
                }
            }
        }
        Err(last.map_or(Error::Choice(NoPath::TooFew), Error::Failed))
    }

    /// The first guard of the sample that may begin the path and was not found unreachable.
    fn guard(&mut self, nodes: &NodeList, avoid: &Avoid, unreachable: &BTreeSet<NodeId>) -> Result<NodeId, NoPath> {
        let now = self.clock.now().seconds();
        self.guards.extend(nodes, avoid, unreachable, now, &mut self.rng);
        let mut allowed = self.guards.for_path(nodes, avoid);
        allowed.find(|guard| !unreachable.contains(guard)).ok_or(NoPath::Guard)
    }

    fn host(&mut self, nodes: &NodeList, guard: NodeId) -> Result<&GuardHost, Error> {
        if !self.hosts.contains_key(&guard) {
            let record = nodes.get(&guard).ok_or(NoPath::Guard)?;
            let host = GuardHost::new(&self.genesis, record, self.clock.for_host())?;
            // Hosts of guards that left the sample go with their last path.
            let (guards, held) = (&self.guards, &self.held);
            self.hosts.retain(|node, _| {
                guards.iter().any(|guard| guard.node == *node)
                    || held.iter().any(|(_, path)| path.hops().iter().any(|hop| hop.node == *node))
            });
            self.hosts.insert(guard, host);
        }
        self.hosts.get(&guard).ok_or(Error::Choice(NoPath::Guard))
    }

    /// Lets go of paths that ended or take no new streams, and scores how they ended.
    fn note_ends(&mut self) {
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|(_, path)| path.end().is_none() && path.age() < PATH_NEW_STREAMS);
        self.held = kept;
        for (_, path) in gone {
            if let Some(end) = path.end() {
                self.blame(end.blame(), &path.hops().map(|hop| hop.node));
            }
        }
    }

    fn blame(&mut self, blame: Blame, hops: &[NodeId; HOPS]) {
        let now = self.clock.own().monotonic;
        let node = |position: Position| hops[usize::from(position.number()) - 1];
        match blame {
            Blame::Nobody | Blame::Hop(Position::Guard) => {}
            Blame::Hop(position) => self.scores.failed(node(position), now),
            Blame::Either(Position::Guard, next) => self.scores.half(node(next), now),
            Blame::Either(reporter, next) => self.scores.reported(node(reporter), node(next), now),
        }
    }

    /// The source of randomness of all choices of this account.
    pub fn rng(&mut self) -> &mut dyn Rng {
        &mut self.rng
    }
}

/// What a path is built with.
fn hops(nodes: &NodeList, chosen: [NodeId; HOPS]) -> Option<[HopInfo; HOPS]> {
    let [guard, middle, exit] = chosen.map(|node| hop(nodes, &node));
    Some([guard?, middle?, exit?])
}

/// A node of the list as a hop or a destination.
#[must_use]
pub fn hop(nodes: &NodeList, node: &NodeId) -> Option<HopInfo> {
    nodes.get(node).map(|record| HopInfo { node: record.node, x25519: record.x25519 })
}
