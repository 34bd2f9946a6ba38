//! Why a request was not served, as the one who asked can act on it.

use std::time::Duration;

use super::{Line, MessageError};
use crate::id::{Height, SwarmId};
use crate::limits::REASON_MAX;
use crate::time::UnixSeconds;
use crate::wire;

/// The answer to a request that was not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another swarm owns the address.
    #[error("swarm {swarm} owns the address at height {height}")]
    WrongSwarm {
        /// The owner, as the answering node sees it.
        swarm: SwarmId,
        /// The final height it sees that at.
        height: Height,
    },
    /// The proof of work is below what is asked for.
    #[error("the proof of work is too small: difficulty {difficulty} is asked for")]
    InsufficientWork {
        /// The difficulty asked for.
        difficulty: u32,
    },
    /// The request, or what it carries, is larger than allowed.
    #[error("too large")]
    TooLarge,
    /// The envelope has expired, or its time is out of the window.
    #[error("expired")]
    Expired,
    /// The request's time is too far from the node's clock.
    #[error("the request's time is too far from the node's, which is {}", now.0)]
    ClockSkew {
        /// The node's clock.
        now: UnixSeconds,
    },
    /// The asker may not do this, or the signature is wrong.
    #[error("not allowed")]
    Unauthorized,
    /// The cursor belongs to another database; start anew.
    #[error("the cursor is not of this database")]
    CursorUnknown,
    /// The asker asks too often.
    #[error("asked too often; again in {} ms", retry_after.as_millis())]
    RateLimited {
        /// When to ask again; sent in whole milliseconds.
        retry_after: Duration,
    },
    /// The node has no room for this now.
    #[error("busy")]
    Busy,
    /// The request is not understood.
    #[error("malformed request")]
    Malformed,
    /// The chain's rules refuse the transaction.
    #[error("refused: {reason}")]
    Rejected {
        /// The rule, for people.
        reason: Line<REASON_MAX>,
    },
    /// The node no longer has, or does not yet have, what was asked for.
    #[error("not available here; lowest height is {lowest}")]
    Unavailable {
        /// The lowest height it can serve.
        lowest: Height,
    },
}

/// What helps against an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// Another request: this one fails everywhere.
    Change,
    /// Another node: this one cannot, others may.
    Elsewhere,
    /// The same request at the same node, later.
    Later,
}

impl Error {
    /// What helps.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::InsufficientWork { .. }
            | Self::TooLarge
            | Self::Expired
            | Self::ClockSkew { .. }
            | Self::Unauthorized
            | Self::CursorUnknown
            | Self::Malformed
            | Self::Rejected { .. } => ErrorKind::Change,
            Self::WrongSwarm { .. } | Self::Unavailable { .. } => ErrorKind::Elsewhere,
            Self::RateLimited { .. } | Self::Busy => ErrorKind::Later,
        }
    }

    /// A fixed name for metrics and logs.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::WrongSwarm { .. } => "wrong_swarm",
            Self::InsufficientWork { .. } => "insufficient_work",
            Self::TooLarge => "too_large",
            Self::Expired => "expired",
            Self::ClockSkew { .. } => "clock_skew",
            Self::Unauthorized => "unauthorized",
            Self::CursorUnknown => "cursor_unknown",
            Self::RateLimited { .. } => "rate_limited",
            Self::Busy => "busy",
            Self::Malformed => "malformed",
            Self::Rejected { .. } => "rejected",
            Self::Unavailable { .. } => "unavailable",
        }
    }
}

impl From<Error> for wire::Error {
    fn from(error: Error) -> Self {
        use wire::error::Kind;
        let kind = match error {
            Error::WrongSwarm { swarm, height } => {
                Kind::WrongSwarm(wire::WrongSwarm { swarm_id: swarm.0, height: height.0 })
            }
            Error::InsufficientWork { difficulty } => Kind::InsufficientWork(wire::InsufficientWork { difficulty }),
            Error::TooLarge => Kind::TooLarge(wire::TooLarge {}),
            Error::Expired => Kind::Expired(wire::Expired {}),
            Error::ClockSkew { now } => Kind::ClockSkew(wire::ClockSkew { now: now.0 }),
            Error::Unauthorized => Kind::Unauthorized(wire::Unauthorized {}),
            Error::CursorUnknown => Kind::CursorUnknown(wire::CursorUnknown {}),
            Error::RateLimited { retry_after } => Kind::RateLimited(wire::RateLimited {
                retry_after_ms: retry_after.as_millis().try_into().unwrap_or(u32::MAX),
            }),
            Error::Busy => Kind::Busy(wire::Busy {}),
            Error::Malformed => Kind::Malformed(wire::Malformed {}),
            Error::Rejected { reason } => Kind::Rejected(wire::Rejected { reason: reason.into() }),
            Error::Unavailable { lowest } => Kind::Unavailable(wire::Unavailable { lowest_height: lowest.0 }),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::Error> for Error {
    type Error = MessageError;

    fn try_from(error: wire::Error) -> Result<Self, MessageError> {
        use wire::error::Kind;
        // A reason that a later version added: all that is known is that it was not served.
        let Some(kind) = error.kind else { return Ok(Self::Busy) };
        Ok(match kind {
            Kind::WrongSwarm(wrong) => {
                Self::WrongSwarm { swarm: SwarmId(wrong.swarm_id), height: Height(wrong.height) }
            }
            Kind::InsufficientWork(work) => Self::InsufficientWork { difficulty: work.difficulty },
            Kind::TooLarge(_) => Self::TooLarge,
            Kind::Expired(_) => Self::Expired,
            Kind::ClockSkew(skew) => Self::ClockSkew { now: UnixSeconds(skew.now) },
            Kind::Unauthorized(_) => Self::Unauthorized,
            Kind::CursorUnknown(_) => Self::CursorUnknown,
            Kind::RateLimited(limited) => {
                Self::RateLimited { retry_after: Duration::from_millis(limited.retry_after_ms.into()) }
            }
            Kind::Busy(_) => Self::Busy,
            Kind::Malformed(_) => Self::Malformed,
            Kind::Rejected(rejected) => Self::Rejected { reason: rejected.reason.try_into()? },
            Kind::Unavailable(unavailable) => Self::Unavailable { lowest: Height(unavailable.lowest_height) },
        })
    }
}
