//! A client's first look at the network: the node list from one bootstrap node, checked against the genesis alone.
//!
//! The node is asked for its final height F, for the header of F, and for all 256 buckets of the list at F. The header
//! must carry the authority's signature and a believable time, and the buckets must hash to its list root. A lying node
//! can therefore show an old list, but neither add nor leave out a node. That several nodes agree on the newest list is
//! checked later, through paths.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sotto_behaviours::network::{
    BuildError, ConnectionLimits, Event, Network, NetworkConfig, Peer, Request, RequestError, Response, Role,
    SendError, Timeouts, WallClock,
};
use sotto_proto::chain::{GenesisFile, SignedHeader, list_root_of};
use sotto_proto::codec::DecodeError;
use sotto_proto::id::{Hash, Height, NodeId};
use sotto_proto::network::{NetworkView, NodeList};
use sotto_proto::request::{self, ListRequest, ListResponse};
use sotto_proto::sign::Ed25519;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::light_client::TIME_TOLERANCE_MS;
use super::renewal::read_bucket;

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum FirstListError {
    /// The genesis file names nobody to ask.
    #[error("the genesis file names no bootstrap node and no producer address")]
    NobodyToAsk,
    /// The operating system gave no randomness.
    #[error("no randomness from the operating system: {0}")]
    Random(getrandom::Error),
    /// The host could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The request could not be sent.
    #[error("{node}: {source}", node = node.short())]
    Send {
        /// Who was to be asked.
        node: NodeId,
        /// Why not.
        source: SendError,
    },
    /// The node did not answer.
    #[error("{node} did not answer: {source}", node = node.short())]
    NoAnswer {
        /// Who was asked.
        node: NodeId,
        /// Why not.
        source: RequestError,
    },
    /// The node speaks another chain's protocols.
    #[error("{node} belongs to another network: it was started with another genesis", node = node.short())]
    OtherGenesis {
        /// Who was asked.
        node: NodeId,
    },
    /// The node refused.
    #[error("{node} refused: {source}", node = node.short())]
    Refused {
        /// Who was asked.
        node: NodeId,
        /// Its reason.
        source: request::Error,
    },
    /// The node answered something else than it was asked.
    #[error("{node} sent an answer that does not fit the question ({what})", node = node.short())]
    Nonsense {
        /// Who was asked.
        node: NodeId,
        /// What does not fit.
        what: &'static str,
    },
    /// The header is not the authority's.
    #[error("{node} sent a header that the chain's authority did not sign", node = node.short())]
    Forged {
        /// Who was asked.
        node: NodeId,
    },
    /// The header's time is not believable, or this machine's clock is wrong.
    #[error("the newest block of {node} is {} min away from this machine's clock: one of the two is wrong", distance_ms / 60_000, node = node.short())]
    Time {
        /// Who was asked.
        node: NodeId,
        /// How far it is away.
        distance_ms: u64,
    },
    /// A record is not canonical.
    #[error("{node} sent a record that is none: {source}", node = node.short())]
    Record {
        /// Who was asked.
        node: NodeId,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The records are not those that the header commits to.
    #[error("{node} sent a list that is not the one the chain's header commits to", node = node.short())]
    Incomplete {
        /// Who was asked.
        node: NodeId,
    },
    /// Nothing came in time.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
}

/// A list that the chain's authority has committed to.
#[derive(Clone, Debug)]
pub struct NetworkList {
    /// The header it was checked against.
    pub header: SignedHeader,
    /// Every registered node.
    pub nodes: NodeList,
    /// Who was asked.
    pub source: NodeId,
}

/// How far the look-up is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Asking a node for its final height.
    Asking(NodeId),
    /// Fetching the header of that height.
    Header(Height),
    /// Fetching the list; so many of 256 buckets are there.
    Buckets(usize),
}

/// Fetches the list from the first node of the genesis file that answers, and checks it.
///
/// Must run inside a tokio runtime. Each bootstrap node, and last the producer, is given `patience`; `progress` is told
/// each step.
///
/// # Errors
/// The error of the last one asked, if none could serve.
pub async fn fetch(
    genesis: &GenesisFile,
    patience: Duration,
    mut progress: impl FnMut(Step),
) -> Result<NetworkList, FirstListError> {
    let mut error = FirstListError::NobodyToAsk;
    for peer in peers(genesis) {
        progress(Step::Asking(peer.node));
        match tokio::time::timeout(patience, fetch_from(genesis, peer, &mut progress)).await {
            Ok(Ok(list)) => return Ok(list),
            Ok(Err(failure)) => error = failure,
            Err(_) => error = FirstListError::Timeout(patience),
        }
    }
    Err(error)
}

/// Fetches the list from one node, for a client whose list is too old to build paths with: its guard knows its address
/// anyway.
///
/// # Errors
/// As [`fetch`].
pub async fn fetch_directly(
    genesis: &GenesisFile,
    peer: Peer,
    patience: Duration,
) -> Result<NetworkList, FirstListError> {
    let fetched = tokio::time::timeout(patience, fetch_from(genesis, peer, &mut |_| ())).await;
    fetched.map_err(|_| FirstListError::Timeout(patience))?
}

fn peers(genesis: &GenesisFile) -> Vec<Peer> {
    let mut peers: BTreeMap<NodeId, Vec<_>> = BTreeMap::new();
    for (node, address) in &genesis.bootstrap {
        peers.entry(*node).or_default().push(*address);
    }
    let mut peers: Vec<_> = peers.into_iter().map(|(node, addresses)| Peer { node, addresses }).collect();
    if !genesis.producer_addresses.is_empty() {
        peers.push(Peer { node: genesis.genesis.producer, addresses: genesis.producer_addresses.clone() });
    }
    peers
}

async fn fetch_from(
    genesis: &GenesisFile,
    peer: Peer,
    progress: &mut impl FnMut(Step),
) -> Result<NetworkList, FirstListError> {
    let mut session = Session::open(genesis, peer)?;
    let node = session.node;
    let ListResponse::Info(info) = session.ask(ListRequest::Info).await? else {
        return Err(FirstListError::Nonsense { node, what: "no info" });
    };
    let height = info.final_height;
    progress(Step::Header(height));
    let header = session.header(height).await?;
    let chain = genesis.genesis.chain_id();
    if !header.verify(&chain, &genesis.genesis.authority, &Ed25519) {
        return Err(FirstListError::Forged { node });
    }
    let distance_ms = header.header.time.distance(WallClock::system().now());
    if distance_ms > TIME_TOLERANCE_MS {
        return Err(FirstListError::Time { node, distance_ms });
    }
    let nodes = session.list(height, progress).await?;
    if list_root_of(&chain, &nodes) != header.header.list_root {
        return Err(FirstListError::Incomplete { node });
    }
    Ok(NetworkList { header, nodes, source: node })
}

/// A host of its own for one connection, so that no two of a client's connections share a key.
struct Session {
    network: Network,
    node: NodeId,
    /// The network follows the view of whoever holds the sender.
    _view: watch::Sender<Arc<NetworkView>>,
}

impl Session {
    fn open(genesis: &GenesisFile, peer: Peer) -> Result<Self, FirstListError> {
        let mut identity = Zeroizing::new([0; 32]);
        getrandom::fill(identity.as_mut()).map_err(FirstListError::Random)?;
        let (sender, view) = watch::channel(Arc::new(NetworkView::unknown(&genesis.genesis)));
        let node = peer.node;
        let config = NetworkConfig {
            identity,
            chain: genesis.genesis.chain_id(),
            role: Role::Client,
            listen: None,
            producer: Peer { node: genesis.genesis.producer, addresses: genesis.producer_addresses.clone() },
            bootstrap: vec![peer],
            limits: ConnectionLimits::default(),
            private_addresses: genesis.genesis.params.private_allowed(),
            timeouts: Timeouts::default(),
            clock: WallClock::system(),
            relay: None,
        };
        Ok(Self { network: Network::new(config, view, None)?, node, _view: sender })
    }

    async fn ask(&mut self, question: ListRequest) -> Result<ListResponse, FirstListError> {
        let node = self.node;
        let request = self
            .network
            .request(node, Request::List(question))
            .map_err(|source| FirstListError::Send { node, source })?;
        loop {
            match self.network.next().await {
                Event::OtherGenesis { .. } => return Err(FirstListError::OtherGenesis { node }),
                Event::Response { id, result, .. } if id == request => {
                    return match result {
                        Ok(Response::List(ListResponse::Error(source))) => {
                            Err(FirstListError::Refused { node, source })
                        }
                        Ok(Response::List(answer)) => Ok(answer),
                        Ok(_) => Err(FirstListError::Nonsense { node, what: "another protocol's answer" }),
                        Err(source) => Err(FirstListError::NoAnswer { node, source }),
                    };
                }
                _ => {}
            }
        }
    }

    async fn header(&mut self, height: Height) -> Result<SignedHeader, FirstListError> {
        let node = self.node;
        let answer = self.ask(ListRequest::Headers { from: height, count: 1 }).await?;
        let ListResponse::Headers(mut headers) = answer else {
            return Err(FirstListError::Nonsense { node, what: "no headers" });
        };
        headers
            .pop()
            .filter(|header| header.header.height == height)
            .ok_or(FirstListError::Nonsense { node, what: "another header" })
    }

    async fn list(&mut self, height: Height, progress: &mut impl FnMut(Step)) -> Result<NodeList, FirstListError> {
        let node = self.node;
        let mut missing: BTreeSet<u8> = (0..=u8::MAX).collect();
        let mut nodes = NodeList::new();
        while !missing.is_empty() {
            progress(Step::Buckets(256 - missing.len()));
            let answer = self.ask(ListRequest::Buckets { height, buckets: missing.clone() }).await?;
            let ListResponse::Buckets { height: of, buckets } = answer else {
                return Err(FirstListError::Nonsense { node, what: "no buckets" });
            };
            let before = missing.len();
            for (bucket, bytes) in &buckets {
                if of == height && missing.remove(bucket) {
                    read_bucket(*bucket, bytes, &mut nodes)
                        .map_err(|source| FirstListError::Record { node, source })?;
                }
            }
            if missing.len() == before {
                return Err(FirstListError::Nonsense { node, what: "none of the buckets asked for" });
            }
        }
        Ok(nodes)
    }
}

impl NetworkList {
    /// How many members each swarm has; nodes in none are not counted.
    #[must_use]
    pub fn swarms(&self) -> BTreeMap<sotto_proto::id::SwarmId, usize> {
        let mut swarms = BTreeMap::new();
        for swarm in self.nodes.values().filter_map(|record| record.swarm) {
            *swarms.entry(swarm).or_default() += 1;
        }
        swarms
    }

    /// The list root that the records were checked against.
    #[must_use]
    pub const fn root(&self) -> Hash {
        self.header.header.list_root
    }
}
