//! The paths of one account: each serves one purpose, takes new streams for ten minutes, and is replaced in time.
//!
//! The first guard of the sample that can be reached is used; `race` says when the next one is tried. Guards are never scored and never replaced because paths
//! through them failed; other hops are shunned for a while when they fail, half for a report about a neighbour.

mod spares;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::client::{Blame, Path, PathError};
use sotto_proto::cell::{Position, Status};
use sotto_proto::chain::GenesisFile;
use sotto_proto::id::NodeId;
use sotto_proto::limits::{HOPS, PATH_NEW_STREAMS};
use sotto_proto::network::NodeList;
use sotto_proto::time::Monotonic;

pub use self::spares::SETTLED;
use self::spares::Spares;
use super::choice::{self, Avoid, NoPath};
use super::clock::SharedClock;
use super::guards::Guards;
use super::host::{GuardHost, HostError};
use super::race::{Next, Race, Runner};
use super::scores::Scores;

/// How long other guards go before one that was silent or failed.
const AWAY: Duration = Duration::from_secs(60);
/// A path this close to its age for new streams is not begun to be used.
const LAST_MOMENTS: Duration = Duration::from_secs(15);

/// What a path is for. No path serves two purposes, or the exit of one would see them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Storing messages for others.
    Send,
    /// Reading one's inbox.
    Receive,
    /// Reading one's mailbox.
    Mailbox,
    /// The node list.
    Other,
    /// Listening for contacts.
    Listen,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Send, Self::Receive, Self::Mailbox, Self::Other, Self::Listen];

    /// For people and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Mailbox => "mailbox",
            Self::Other => "other",
            Self::Listen => "listen",
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
    /// The first of a purpose that serves is the one in use.
    held: Vec<(Purpose, Path)>,
    spares: Spares,
    /// Guards that were silent or failed, and until when others go before them.
    away: BTreeMap<NodeId, Monotonic>,
    /// Sleeps of this machine that were taken note of.
    sleeps: u64,
    rng: ChaCha20Rng,
}

impl Paths {
    /// No path yet. `rng` is all the randomness that choices are made from.
    #[must_use]
    pub fn new(genesis: Arc<GenesisFile>, clock: SharedClock, guards: Guards, rng: ChaCha20Rng) -> Self {
        Self {
            genesis,
            sleeps: clock.sleeps(),
            clock,
            guards,
            scores: Scores::default(),
            hosts: BTreeMap::new(),
            held: Vec::new(),
            spares: Spares::default(),
            away: BTreeMap::new(),
            rng,
        }
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

    /// Whether a path is up and has not been let go of.
    #[must_use]
    pub fn is_held(&self, path: &Path) -> bool {
        self.held().any(|(_, held)| held.is(path))
    }

    /// Lets go of all paths of a purpose: the next one is a new one.
    pub fn rotate(&mut self, purpose: Purpose) {
        self.take_spares();
        self.spares.drop_build(purpose);
        self.held.retain(|(of, _)| *of != purpose);
    }

    /// Lets go of a path, because nobody answers through it.
    pub fn give_up(&mut self, path: &Path) {
        self.held.retain(|(_, held)| !held.is(path));
    }

    /// Paths that are up and serve `purpose` without any of `avoid`.
    fn serving(&self, nodes: &NodeList, purpose: Purpose, avoid: &Avoid) -> impl Iterator<Item = &Path> {
        let serves = move |path: &Path| {
            path.end().is_none()
                && path.age() + LAST_MOMENTS < PATH_NEW_STREAMS
                && path.hops().iter().all(|hop| nodes.get(&hop.node).is_some_and(|record| avoid.allows(record)))
        };
        self.held.iter().filter(move |(of, path)| *of == purpose && serves(path)).map(|(_, path)| path)
    }

    /// A path for `purpose` without any of `avoid`: one that is up, or a new one.
    ///
    /// # Errors
    /// [`Error`] when none can be built.
    pub async fn get(&mut self, nodes: &NodeList, purpose: Purpose, avoid: &Avoid) -> Result<Path, Error> {
        self.note_sleep();
        self.take_spares();
        self.note_ends();
        let serving = self.serving(nodes, purpose, avoid).next().cloned();
        if let Some(path) = serving {
            self.keep_spare(nodes, purpose, avoid);
            return Ok(path);
        }
        let path = self.build(nodes, avoid).await?;
        self.held.push((purpose, path.clone()));
        Ok(path)
    }

    /// A new path for a purpose past the hops of `path`, through which nothing comes back. The one that is kept beside it
    /// may be silent as well: their guard is the same.
    ///
    /// # Errors
    /// [`Error`] when none can be built.
    pub async fn another(
        &mut self,
        nodes: &NodeList,
        purpose: Purpose,
        avoid: &Avoid,
        path: &Path,
    ) -> Result<Path, Error> {
        let [guard, middle, exit] = path.hops().map(|hop| hop.node);
        let mut past = avoid.clone();
        past.nodes.extend([middle, exit]);
        let built = match self.build_past(nodes, &past, Some(guard)).await {
            // In a small network there may be no others.
            Err(Error::Choice(_)) => self.build_past(nodes, avoid, Some(guard)).await?,
            built => built?,
        };
        // It is the one to be used now: those before it have proven nothing.
        self.held.insert(0, (purpose, built.clone()));
        Ok(built)
    }

    /// Lets go of a path through which nothing came back while `better` served: a hop behind its guard is suspected; if
    /// that is not the same, it may be the guard, and all paths through it go.
    pub fn silent(&mut self, path: &Path, better: &Path) {
        let now = self.clock.own().monotonic;
        let [guard, middle, exit] = path.hops().map(|hop| hop.node);
        if better.hops().first().is_some_and(|hop| hop.node == guard) {
            [middle, exit].iter().for_each(|hop| self.scores.half(*hop, now));
            self.give_up(path);
        } else {
            self.held.retain(|(_, held)| held.hops().first().is_none_or(|hop| hop.node != guard));
            self.spares.clear();
        }
    }

    /// A new path, whatever there is. It is not held: whoever asked for it decides what it is for.
    ///
    /// # Errors
    /// [`Error`] when none can be built.
    pub async fn build(&mut self, nodes: &NodeList, avoid: &Avoid) -> Result<Path, Error> {
        self.build_past(nodes, avoid, None).await
    }

    /// `suspect` is the guard of a path that is silent.
    async fn build_past(&mut self, nodes: &NodeList, avoid: &Avoid, suspect: Option<NodeId>) -> Result<Path, Error> {
        self.note_sleep();
        let mut race = Race::new(self.clock.own().monotonic, suspect);
        let (mut builds, mut last) = (FuturesUnordered::new(), None);
        // Middles and exits of the builds of this race.
        let mut tried = BTreeMap::new();
        loop {
            let now = self.clock.own().monotonic;
            let runners = self.runners(nodes, avoid, race.unreachable());
            let build = race.begun();
            match race.next(&runners, now) {
                Next::Begin(guard) => {
                    let shunned = self.scores.shunned(nodes.len(), now);
                    // One of them may be why nothing came back; in a small network there may be no others.
                    let all = shunned.iter().chain(tried.values().flatten()).copied().collect();
                    let chosen = choice::behind_guard(nodes, &guard, avoid, &all, &mut self.rng)
                        .or_else(|_| choice::behind_guard(nodes, &guard, avoid, &shunned, &mut self.rng))?;
                    tried.insert(build, [chosen[1], chosen[2]]);
                    let hops = hops(nodes, chosen).ok_or(NoPath::TooFew)?;
                    let built = self.host(nodes, guard)?.build(hops);
                    builds.push(async move { (build, chosen, built.await) });
                }
                Next::Wait(until) => tokio::select! {
                    biased;
                    Some((build, chosen, built)) = builds.next() => match built {
                        Ok(path) => {
                            self.clock.accepted();
                            self.note_silent(&race, chosen[0], &tried);
                            return Ok(path);
                        }
                        Err(error) => {
                            tracing::debug!(%error, "a path was not built");
                            race.failed(build, error.blame() == Blame::Hop(Position::Guard));
                            self.note_failure(&error, &chosen);
                            last = Some(error);
                        }
                    },
                    () = tokio::time::sleep(until.since(now)) => {}
                },
                Next::NoGuard if race.unreachable().is_empty() => return Err(NoPath::Guard.into()),
                Next::NoGuard => return Err(Error::NoGuard { tried: race.unreachable().len() }),
                Next::Over => return Err(Error::Failed(last.unwrap_or(PathError::TimedOut))),
            }
        }
    }

    /// The guards that may begin the path: those that were silent or failed a moment ago come last.
    fn runners(&mut self, nodes: &NodeList, avoid: &Avoid, unreachable: &BTreeSet<NodeId>) -> Vec<Runner> {
        let (now, time) = (self.clock.own().monotonic, self.clock.now().seconds());
        self.guards.extend(nodes, avoid, unreachable, time, &mut self.rng);
        self.away.retain(|_, until| *until > now);
        let connected = |guard: &NodeId| self.hosts.get(guard).is_some_and(GuardHost::is_connected);
        let guards = self.guards.for_path(nodes, avoid);
        let mut runners: Vec<_> = guards.map(|guard| Runner { guard, connected: connected(&guard) }).collect();
        runners.sort_by_key(|runner| self.away.contains_key(&runner.guard));
        runners
    }

    fn note_failure(&mut self, error: &PathError, chosen: &[NodeId; HOPS]) {
        if let PathError::Refused { status: Status::TimeRefused, minute, position } = error {
            let [guard, middle, exit] = *chosen;
            let hop = match position {
                Position::Guard => guard,
                Position::Middle => middle,
                Position::Exit => exit,
            };
            self.clock.refused(hop, *minute);
        }
        if error.blame() == Blame::Hop(Position::Guard) {
            self.set_away(chosen[0]);
        }
        self.blame(error.blame(), chosen);
    }

    /// A path was built through `winner` while other builds were silent: their guards, or if it was the same one, a hop
    /// behind it.
    fn note_silent(&mut self, race: &Race, winner: NodeId, tried: &BTreeMap<usize, [NodeId; 2]>) {
        let now = self.clock.own().monotonic;
        for (build, guard) in race.silent(now) {
            if guard != winner {
                self.set_away(guard);
                continue;
            }
            for hop in tried.get(&build).into_iter().flatten() {
                self.scores.half(*hop, now);
            }
        }
        self.away.remove(&winner);
    }

    /// Others of the sample go before this guard for a while, and it gets a new connection: the one there is may be dead.
    fn set_away(&mut self, guard: NodeId) {
        self.hosts.remove(&guard);
        self.away.insert(guard, self.clock.own().monotonic.plus(AWAY));
    }

    /// After a sleep no path and no connection is believed: those at their other ends have long given them up.
    fn note_sleep(&mut self) {
        let sleeps = self.clock.sleeps();
        if sleeps != self.sleeps {
            tracing::debug!("this machine slept: all paths are dropped");
            self.sleeps = sleeps;
            self.held.clear();
            self.spares.clear();
            self.hosts.clear();
            self.away.clear();
        }
    }

    /// Who failed lately, for the store.
    #[must_use]
    pub const fn scores(&self) -> &Scores {
        &self.scores
    }

    /// Begins with what an earlier process knew.
    pub fn set_scores(&mut self, scores: Scores) {
        self.scores = scores;
    }

    /// A node was slow to answer through one of these paths.
    pub fn slow(&mut self, node: NodeId) {
        self.scores.half(node, self.clock.own().monotonic);
    }

    /// Nodes that failed or were slow lately.
    pub fn shunned(&mut self, nodes: &NodeList) -> BTreeSet<NodeId> {
        self.scores.shunned(nodes.len(), self.clock.own().monotonic)
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
