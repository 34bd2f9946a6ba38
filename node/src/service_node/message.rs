//! What the machine is told and what it asks for.

use std::sync::Arc;

use sotto_behaviours::network::{Counts, Request, RequestError, Response, Verdict};
use sotto_behaviours::status::ClockOffset;
use sotto_chain::State;
use sotto_proto::id::{Height, NodeId};
use sotto_proto::network::NetworkView;
use sotto_proto::request::{SwarmRequest, SwarmResponse};
use sotto_proto::time::Monotonic;

use super::survey::PeerAnswer;
use crate::store::Limit;
use crate::store::mail::{Found, Lookup};
use crate::store::writer::Job;

/// Names one of the machine's own requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

/// Names something the machine wants on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Names a request of a peer that waits for its answer; given by whoever drives the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyId(pub u64);

/// Names a request of the operator that waits for its answer; given by whoever drives the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// Names a tunnel of a client; given by whoever drives the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tunnel(pub u64);

/// Names a gossiped message that waits for a verdict; given by whoever drives the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gossip(pub u64);

/// The chain after a block.
#[derive(Clone, Debug)]
pub struct ChainUpdate {
    /// The final states.
    pub view: Arc<NetworkView>,
    /// The state after the newest block: for nonces, and to see own transactions early.
    pub tip: State,
}

impl ChainUpdate {
    /// Whether a peer is a registered node under a recent final state, or the producer.
    #[must_use]
    pub fn is_node(&self, peer: &NodeId) -> bool {
        *peer == self.tip.founding().producer || self.view.is_registered(peer)
    }
}

/// What comes from a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// It asks.
    Request {
        /// Where the answer goes.
        reply: ReplyId,
        /// What.
        request: Request,
    },
    /// An own request was answered, or never will be.
    Response {
        /// Which.
        tag: Tag,
        /// The answer.
        result: Result<Response, RequestError>,
    },
}

/// What goes to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// A request. Exactly one [`Incoming::Response`] with the tag must follow.
    Request {
        /// Its name.
        tag: Tag,
        /// What.
        request: Request,
    },
    /// A transaction (B7 wire bytes). Exactly one [`Incoming::Response`] with the tag must follow.
    Transaction {
        /// Its name.
        tag: Tag,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The answer to a request.
    Response {
        /// Which.
        reply: ReplyId,
        /// The answer.
        response: Response,
    },
    /// The answer to a request, from blocks in the store: whoever drives the machine reads them and answers.
    Stored {
        /// Which.
        reply: ReplyId,
        /// What of the blocks.
        part: Part,
        /// The first block.
        from: Height,
        /// How much.
        limit: Limit,
        /// The own tip.
        tip: Height,
    },
}

/// What of stored blocks is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Whole blocks.
    Blocks,
    /// Their signed headers.
    Headers,
}

/// Who a message goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// A node.
    Node(NodeId),
    /// The producer, over other nodes if need be.
    Producer,
}

/// What the operator may ask of a running node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Passes a transaction on to the producer.
    Submit(Vec<u8>),
    /// Changes the X25519 key now.
    RotateKey,
    /// Takes no more mail, and makes sure that others have what is here.
    Drain {
        /// However few members the swarm is left with.
        force: bool,
    },
    /// Takes mail again.
    EndDrain,
}

/// What becomes of a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The chain's rules refuse it.
    #[error("the chain refuses it: {0}")]
    Rejected(String),
    /// It could not be handed over.
    #[error("the producer cannot be reached: {0}")]
    Unreachable(String),
    /// The node is not in a state for it.
    #[error("{0}")]
    State(String),
    /// Too many commands wait already.
    #[error("too many commands wait already")]
    Busy,
}

/// Something happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The chain has another tip, or is known for the first time.
    Chain(Box<ChainUpdate>),
    /// The first connection with a peer was made.
    Connected(NodeId),
    /// The last connection with a peer ended.
    Disconnected(NodeId),
    /// A peer speaks none of our protocols.
    OtherGenesis(NodeId),
    /// How the network is.
    Network {
        /// Connections.
        counts: Counts,
        /// The clock's distance from the peers'.
        clock: Option<ClockOffset>,
    },
    /// A message came.
    Received {
        /// From whom.
        from: NodeId,
        /// The message.
        message: Incoming,
    },
    /// What [`Output::Persist`] named is on disk.
    Durable(Token),
    /// It is not, and will not be.
    NotDurable {
        /// What.
        token: Token,
        /// Why.
        reason: String,
    },
    /// The database takes no more writes.
    StorageFailed(String),
    /// The operator asks. Answered by [`Output::Answer`].
    Command {
        /// Where the answer goes.
        id: CommandId,
        /// What.
        command: Command,
    },
    /// The operator wants to know how peers see the node. Answered by [`Output::Surveyed`].
    Survey {
        /// Where the answer goes.
        id: CommandId,
        /// How many peers to ask.
        peers: u16,
    },
    /// The time of [`Output::WakeAt`] has come.
    WakeUp,
    /// A client asks through a tunnel. Answered by [`Output::TunnelAnswer`].
    Tunnel {
        /// Which.
        tunnel: Tunnel,
        /// What.
        request: SwarmRequest,
    },
    /// An answer with `more`, or with records, is sent: the tunnel has room for another one.
    TunnelReady(Tunnel),
    /// A tunnel has ended.
    TunnelClosed(Tunnel),
    /// A member gossiped something. Answered by [`Output::Judge`].
    Gossip {
        /// Where the verdict goes.
        gossip: Gossip,
        /// The message.
        bytes: Vec<u8>,
    },
    /// What [`Output::LookUp`] asked for.
    Found {
        /// Which.
        token: Token,
        /// What was read.
        found: Found,
    },
}

/// When something written must be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// As soon as possible: somebody waits for it.
    Now,
    /// Within a tenth of a second, together with others. What is read meanwhile is read after it, but for the bytes of
    /// records and deletes, which are asked for by what is on disk.
    Later,
}

/// Something is to be done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a message.
    Send {
        /// To whom.
        to: To,
        /// The message.
        message: Outgoing,
    },
    /// Put something on disk, then say [`Input::Durable`].
    Persist {
        /// What.
        batch: Job,
        /// Its name.
        token: Token,
        /// When.
        sync: Sync,
    },
    /// Say [`Input::WakeUp`] at this time; replaces the time said before.
    WakeAt(Monotonic),
    /// The answer to a command.
    Answer {
        /// Which.
        id: CommandId,
        /// `Err`: not done.
        result: Result<(), Refusal>,
    },
    /// What peers answered.
    Surveyed {
        /// To which question.
        id: CommandId,
        /// `Err`: nobody was asked.
        result: Result<Vec<PeerAnswer>, Refusal>,
    },
    /// An answer to a client.
    TunnelAnswer {
        /// Which.
        tunnel: Tunnel,
        /// The answer.
        response: SwarmResponse,
        /// Whether others follow without being asked for. Then, and if it is one of records, say [`Input::TunnelReady`]
        /// when it is sent.
        more: bool,
    },
    /// End a tunnel: whoever is behind it misbehaves, or does not read. [`Input::TunnelClosed`] may follow.
    CloseTunnel(Tunnel),
    /// What becomes of a gossiped message.
    Judge {
        /// Which.
        gossip: Gossip,
        /// The verdict.
        verdict: Verdict,
    },
    /// Gossip this in the own swarm.
    Publish(Vec<u8>),
    /// Read something from disk, then say [`Input::Found`].
    LookUp {
        /// Its name.
        token: Token,
        /// What.
        lookup: Lookup,
    },
}
