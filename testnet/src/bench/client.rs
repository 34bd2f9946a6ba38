//! A light client: guards, paths and tunnels as every client has them, without an encrypted store.
//!
//! It sends as a messenger does that knows time and height already: a new tunnel to each of three members drawn from the
//! recipient's swarm, with the record in its first message, others where one is slow or fails, through another path where
//! the first is silent, receipts checked. What it leaves out is the outbox; beside many clients in one process that would
//! be most of what is measured.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use sotto_behaviours::network::WallClock;
use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::client::Path;
use sotto_behaviours::tunnel::client::Tunnel;
use sotto_client::network::choice::Avoid;
use sotto_client::network::clock::SharedClock;
use sotto_client::network::guards::Guards;
use sotto_client::network::paths::{self, Paths, hop};
use sotto_client::network::storing::{self, MemberError, StoreError, WANTED};
use sotto_client::network::ways::Ways;
use sotto_proto::id::{NodeId, SwarmId};
use sotto_proto::limits::{PATH_NEW_STREAMS, STREAMS_PER_PATH};
use sotto_proto::request::{SwarmRequest, SwarmResponse};
use sotto_proto::sign::Ed25519;
use tokio::sync::{Mutex, OnceCell, Semaphore};

use super::draws::shuffle;
use super::network::Network;
use super::stamping::Stamped;

/// How long three members may take, as in the messenger.
const STORE_PATIENCE: Duration = Duration::from_secs(10);
/// A path this close to its age for new streams is not used any more.
const LAST_MOMENTS: Duration = Duration::from_secs(15);
/// Messages on their way on one path, each with three streams.
const MESSAGES_PER_PATH: usize = STREAMS_PER_PATH / (WANTED + 1);
/// Streams of a path for members that are asked beside the three, because one is slow.
const SPARE_STREAMS: usize = STREAMS_PER_PATH - MESSAGES_PER_PATH * WANTED;

/// A client.
pub(crate) struct LightClient {
    network: Arc<Network>,
    pub(crate) clock: SharedClock,
    /// A lane that is silent builds a path beside those that the client builds.
    paths: Arc<Mutex<Paths>>,
    own: SwarmId,
    /// Nodes that are on none of its paths.
    past: BTreeSet<NodeId>,
    lanes: BTreeMap<SwarmId, Lane>,
    rng: ChaCha20Rng,
}

/// A path to one swarm, with places for as many messages as it has streams for: a messenger sends one after the other and
/// never meets this bound.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) path: Path,
    pub(crate) places: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    second: Arc<Second>,
}

/// The path in place of one that is silent.
#[derive(Debug)]
struct Second {
    network: Arc<Network>,
    paths: Arc<Mutex<Paths>>,
    avoid: Avoid,
    /// Built when it is wanted first.
    built: OnceCell<Option<Path>>,
    /// It has served while the first one was silent.
    better: OnceLock<Path>,
}

impl Second {
    async fn path(&self, first: &Path) -> Option<Path> {
        let build = async || {
            let mut avoid = self.avoid.clone();
            avoid.nodes.extend(first.hops().iter().skip(1).map(|hop| hop.node));
            self.paths.lock().await.build(self.network.directory.nodes(), &avoid).await.ok()
        };
        self.built.get_or_init(build).await.clone()
    }
}

impl LightClient {
    /// A client of somebody whose mail is in swarm `own`, with a sample of guards and no path yet; `draws` are two sources
    /// of all its choices.
    pub(crate) fn new(network: &Arc<Network>, own: SwarmId, draws: [ChaCha20Rng; 2]) -> Self {
        Self::guarded(network, own, Guards::default(), draws)
    }

    /// The same with guards that it has already; the sample is filled up.
    pub(crate) fn guarded(network: &Arc<Network>, own: SwarmId, guards: Guards, draws: [ChaCha20Rng; 2]) -> Self {
        let [of_paths, rng] = draws;
        let clock = SharedClock::new(WallClock::system());
        let genesis = Arc::clone(&network.genesis);
        let mut paths = Paths::new(genesis, clock.clone(), guards, of_paths);
        paths.maintain(network.directory.nodes(), &Network::avoid([own]));
        let paths = Arc::new(Mutex::new(paths));
        Self { network: Arc::clone(network), clock, paths, own, past: BTreeSet::new(), lanes: BTreeMap::new(), rng }
    }

    /// The same, with these nodes on none of its paths.
    pub(crate) fn past(self, nodes: BTreeSet<NodeId>) -> Self {
        Self { past: nodes, ..self }
    }

    fn avoid(&self, destination: SwarmId) -> Avoid {
        Avoid { nodes: self.past.clone(), ..Network::avoid([self.own, destination]) }
    }

    /// A new path past its own swarm and `destination`.
    pub(crate) async fn build(&mut self, destination: SwarmId) -> Result<Path, paths::Error> {
        let avoid = self.avoid(destination);
        self.paths.lock().await.build(self.network.directory.nodes(), &avoid).await
    }

    /// The path to a swarm: the one that is up, or a new one.
    pub(crate) async fn lane(&mut self, destination: SwarmId) -> Result<Lane, paths::Error> {
        let known = self.lanes.get(&destination);
        let better = known.and_then(|lane| lane.second.better.get());
        let path = match (known, better) {
            (Some(lane), None) if serves(&lane.path) => return Ok(lane.clone()),
            (_, Some(better)) if serves(better) => better.clone(),
            _ => self.build(destination).await?,
        };
        let second = Second {
            network: Arc::clone(&self.network),
            paths: Arc::clone(&self.paths),
            avoid: self.avoid(destination),
            built: OnceCell::new(),
            better: OnceLock::new(),
        };
        let (places, spare) = (MESSAGES_PER_PATH, SPARE_STREAMS);
        let [places, spare] = [places, spare].map(|places| Arc::new(Semaphore::new(places)));
        let lane = Lane { path, places, spare, second: Arc::new(second) };
        self.lanes.insert(destination, lane.clone());
        Ok(lane)
    }

    /// Lets go of the path to a swarm: the next one is new.
    pub(crate) fn leave(&mut self, destination: SwarmId) {
        self.lanes.remove(&destination);
    }

    /// The members of a swarm in the order in which they are asked.
    pub(crate) fn members(&mut self, swarm: SwarmId) -> Vec<NodeId> {
        let mut members = self.network.members(swarm);
        shuffle(&mut members, &mut self.rng);
        members
    }
}

fn serves(path: &Path) -> bool {
    path.end().is_none() && path.age() + LAST_MOMENTS < PATH_NEW_STREAMS
}

/// Stores a message at three members; `noted` is told how many have given their receipts.
pub(crate) async fn store(
    network: &Network,
    lane: &Lane,
    members: &[NodeId],
    message: &Stamped,
    mut noted: impl FnMut(usize),
) -> Result<(), StoreError> {
    let mut asked = 0;
    let ways = Ways::new(lane.path.clone(), lane.second.path(&lane.path));
    let ask = |node, order| {
        asked += 1;
        let (is_spare, ways) = (asked > WANTED, &ways);
        let to = hop(network.directory.nodes(), &node);
        let request = SwarmRequest::Store { record: message.record.clone(), publish_order: order };
        async move {
            // Nobody closes the semaphore.
            let spare = if is_spare { lane.spare.acquire().await.ok() } else { None };
            let (tunnel, answer) = ask(ways, is_spare, to, request).await?;
            check(network, message, node, answer)?;
            // Ended together, once nobody is waited for.
            Ok((tunnel, spare))
        }
    };
    let stored = storing::store(members, STORE_PATIENCE, ask, |_, receipts| noted(receipts)).await;
    if let Some(better) = ways.better() {
        // Another message may have said so already.
        let _ = lane.second.better.set(better);
    }
    stored.map(drop)
}

async fn ask(
    ways: &Ways<impl Future<Output = Option<Path>>>,
    is_spare: bool,
    to: Option<HopInfo>,
    request: SwarmRequest,
) -> Result<(Tunnel, SwarmResponse), MemberError> {
    let to = to.ok_or(MemberError::Nonsense("not in the list"))?;
    let connected = ways.connect(to, is_spare, request).await;
    let (tunnel, answer) = connected.map_err(|error| MemberError::Unreachable(error.to_string()))?;
    Ok((tunnel, answer.ok_or(MemberError::Nonsense("not an answer to a store"))?))
}

/// Whether the answer is a receipt for this message that holds.
fn check(network: &Network, message: &Stamped, node: NodeId, answer: SwarmResponse) -> Result<(), MemberError> {
    match answer {
        SwarmResponse::Stored { receipt, signature } => {
            let fits = receipt.node == node
                && receipt.address == message.address
                && receipt.id == message.id
                && receipt.expiry == message.expiry;
            if fits && receipt.verify(&network.chain, &signature, &Ed25519) {
                Ok(())
            } else {
                Err(MemberError::Nonsense("the receipt does not hold"))
            }
        }
        SwarmResponse::Error(error) => Err(MemberError::Refused(error)),
        _ => Err(MemberError::Nonsense("not an answer to a store")),
    }
}
