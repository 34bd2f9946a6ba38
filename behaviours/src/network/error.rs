//! What goes wrong on the network, one enum per operation.

use std::io;

use sotto_proto::net_addr::NodeAddr;

/// Why a network cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Noise handshake cannot be set up from the identity.
    #[error("the identity key cannot be used: {0}")]
    Identity(Box<dyn std::error::Error + Send + Sync>),
    /// The listen address cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: NodeAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The replay sets cannot be read or written.
    #[error("replay sets: {0}")]
    Replays(io::Error),
    /// The operating system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
    /// A gossip setting is out of its range.
    #[error("gossip settings: {0}")]
    Gossip(String),
}

impl BuildError {
    pub(super) fn identity(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Identity(Box::new(error))
    }
}

/// Why a request was not even queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Too many requests wait for their answers already, to this peer or altogether.
    #[error("too many requests in flight")]
    Busy,
    /// The peer is not connected and no dialable address of it is known.
    #[error("no address of the peer is known")]
    NoAddress,
    /// The peer could not be reached a moment ago; the next attempt is not due.
    #[error("the peer could not be reached lately")]
    Unreachable,
    /// The peer is this process itself.
    #[error("the peer is this node itself")]
    Own,
    /// The request is larger than its protocol allows.
    #[error("the request has {actual} bytes, at most {limit} are allowed")]
    TooLarge {
        /// The limit.
        limit: usize,
        /// Its size.
        actual: usize,
    },
}

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No connection could be made.
    #[error("the peer cannot be reached")]
    Unreachable,
    /// The answer did not come in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection ended before the answer came.
    #[error("the connection closed before the answer")]
    ConnectionClosed,
    /// The peer does not speak the protocol, or not with us.
    #[error("the peer does not speak this protocol with us (another genesis?)")]
    Unsupported,
    /// The answer is not what the protocol allows.
    #[error("malformed answer: {0}")]
    Malformed(String),
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Io(String),
}

impl RequestError {
    /// A fixed name for metrics and logs.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::ConnectionClosed => "closed",
            Self::Unsupported => "unsupported",
            Self::Malformed(_) => "malformed",
            Self::Io(_) => "broken",
        }
    }
}
