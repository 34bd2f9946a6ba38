//! What comes out of a [`Network`](super::Network), and the ids by which it is answered.

use libp2p::PeerId;
use libp2p::gossipsub::MessageId;
use libp2p::request_response::{InboundRequestId, ResponseChannel};
use sotto_proto::id::{Height, NodeId};
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::request::{
    ChainRequest, ChainResponse, ListRequest, ListResponse, OfferRequest, OfferResponse, RepairRequest, RepairResponse,
    StatusRequest, StatusResponse, SwarmRequest,
};

use super::RequestError;
use crate::status::ClockOffset;
use crate::tunnel::TunnelId;

/// Something happened on the network.
#[derive(Debug)]
pub enum Event {
    /// The host accepts connections here. Port 0 of the configuration is resolved.
    Listening(NodeAddr),
    /// The first connection with a peer was made.
    PeerConnected {
        /// The peer.
        node: NodeId,
        /// Whether it is a registered node or the producer.
        registered: bool,
    },
    /// The last connection with a peer ended.
    PeerDisconnected {
        /// The peer.
        node: NodeId,
    },
    /// A peer speaks none of our protocols: most likely it, or this process, runs with another genesis. Said every ten
    /// minutes at most.
    OtherGenesis {
        /// The peer.
        node: NodeId,
    },
    /// A block was gossiped. Answer with [`Network::judge`](super::Network::judge).
    Block {
        /// Who passed it on.
        from: NodeId,
        /// What the verdict names.
        gossip: GossipId,
        /// B7 bytes; the header's version and length were checked, nothing else.
        bytes: Vec<u8>,
    },
    /// Chain sync fetched blocks. Answer with [`Network::fetched`](super::Network::fetched).
    Blocks {
        /// Who sent them.
        from: NodeId,
        /// What the outcome names.
        fetch: FetchId,
        /// Consecutive blocks, lowest first, B7 bytes each; nothing was checked.
        blocks: Vec<Vec<u8>>,
    },
    /// A message was gossiped in the own swarm. Answer with [`Network::judge`](super::Network::judge).
    SwarmMessage {
        /// Who passed it on: a member of the own swarm under a recent map.
        from: NodeId,
        /// What the verdict names.
        gossip: GossipId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// A peer asks. Answer with [`Network::respond`](super::Network::respond). Status requests never come up, they are
    /// answered inside; a transaction comes up at the producer only, other nodes pass it on inside.
    Request {
        /// Who asks.
        from: NodeId,
        /// What.
        request: Request,
        /// Where the answer goes.
        reply: ReplyTo,
    },
    /// An own request was answered, or will not be.
    Response {
        /// Who was asked (for a transaction: who took it).
        from: NodeId,
        /// Which request.
        id: RequestId,
        /// The answer, which may be a typed error of the peer; `Err` when there is none.
        result: Result<Response, RequestError>,
    },
    /// A client asks through a tunnel. Answer with [`Network::tunnel_answer`](super::Network::tunnel_answer).
    TunnelRequest {
        /// Which tunnel. The next request of it comes after the last answer to this one; one that comes while a
        /// subscription is answered ends that.
        tunnel: TunnelId,
        /// What.
        request: SwarmRequest,
    },
    /// An answer with records, or with more to follow, is on its way to the client: there is room for the next.
    TunnelReady {
        /// Which tunnel.
        tunnel: TunnelId,
    },
    /// A tunnel that had asked has ended: nothing more can be answered.
    TunnelClosed {
        /// Which tunnel.
        tunnel: TunnelId,
    },
    /// The clock's distance from the peers' median crossed the limit, one way or the other.
    ClockJudged(ClockOffset),
}

/// A request of one of the protocols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Blocks, tip, transactions.
    Chain(ChainRequest),
    /// The node list for clients and newcomers.
    List(ListRequest),
    /// Time and final height.
    Status(StatusRequest),
    /// Comparing and exchanging what is stored; from members of the own swarm.
    Repair(RepairRequest),
    /// Handing over what the own swarm owns now; from registered nodes.
    Offer(OfferRequest),
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// To [`Request::Chain`].
    Chain(ChainResponse),
    /// To [`Request::List`].
    List(ListResponse),
    /// To [`Request::Status`].
    Status(StatusResponse),
    /// To [`Request::Repair`].
    Repair(RepairResponse),
    /// To [`Request::Offer`].
    Offer(OfferResponse),
}

/// An own request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) u64);

/// A fetch of chain sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(pub(crate) u64);

/// Where the answer to a peer's request goes. Dropped unused, the peer sees its request fail.
#[derive(Debug)]
pub struct ReplyTo(pub(crate) ReplyChannel);

/// The protocol that is answered, with the request and its channel.
#[derive(Debug)]
pub(crate) enum ReplyChannel {
    Chain(InboundRequestId, ResponseChannel<ChainResponse>),
    List(InboundRequestId, ResponseChannel<ListResponse>),
    Repair(ResponseChannel<RepairResponse>),
    Offer(ResponseChannel<OfferResponse>),
}

/// A gossiped message that waits for a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GossipId {
    pub(crate) instance: Instance,
    pub(crate) message: MessageId,
    pub(crate) source: PeerId,
}

/// Which of the two gossip instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instance {
    Chain,
    Swarm,
}

/// What becomes of a gossiped message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is valid: pass it on.
    Accept,
    /// It cannot be judged here and now (behind on the chain, for example): do not pass it on.
    Ignore,
    /// It is provably invalid: whoever passed it on misbehaves.
    Reject,
}

/// What became of fetched blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchOutcome {
    /// They are inserted, or were known: blocks of the own chain are known however old they are. The tip is now this.
    Inserted {
        /// The own tip.
        tip: Height,
    },
    /// The parent of the first is not known: the peer is on another branch, ask from further back.
    NeedsParent,
    /// At least one is invalid: do not ask this peer again for a while.
    Invalid,
}

impl FetchOutcome {
    /// A fixed name for metrics and logs.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Inserted { .. } => "inserted",
            Self::NeedsParent => "needs_parent",
            Self::Invalid => "invalid",
        }
    }
}

/// Connections by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Established connections; a peer may have two for a moment.
    pub established: usize,
    /// Connected registered nodes and the producer.
    pub nodes: usize,
    /// Other connected peers.
    pub clients: usize,
    /// Other members of the own swarm.
    pub swarm_members: usize,
    /// How many of them are connected.
    pub swarm_connected: usize,
    /// Inbound connections in their handshakes.
    pub pending_incoming: usize,
    /// Outbound connections in their handshakes.
    pub pending_outgoing: usize,
}
