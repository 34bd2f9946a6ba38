//! What goes wrong with paths and streams, and whom it speaks against.

use sotto_proto::cell::{DestroyReason, Minute, Position, ResetReason, Status};

use crate::onion::build::BuildFailure;

/// Why a path was not built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// There is no connection with the guard.
    #[error("the guard cannot be reached")]
    GuardUnreachable,
    /// There are too many paths through this guard already.
    #[error("too many paths through this guard")]
    Busy,
    /// The guard ended the stream without a reply: it did not know the key, took the build for a repeated one, or is no
    /// node of this network.
    #[error("the guard closed without a reply")]
    GuardClosed,
    /// The guard did not reply in time.
    #[error("the guard did not reply in time")]
    TimedOut,
    /// A hop says why it went no further.
    #[error("the {position} says: {status:?}")]
    Refused {
        /// Which hop says so. The reply is sealed: no hop speaks for another.
        position: Position,
        /// What it says.
        status: Status,
        /// Its clock: with [`Status::TimeRefused`] ours is wrong, or its.
        minute: Minute,
    },
    /// What a hop should have sealed does not open: it, or one before it, altered the reply.
    #[error("the {position}'s reply does not open")]
    Forged {
        /// Whose reply.
        position: Position,
    },
    /// The build could not be sealed: a key in the list is no good.
    #[error("the build cannot be sealed")]
    Keys,
}

/// Whom a failure speaks against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Nobody on the path: the clock, or this host.
    Nobody,
    /// This hop.
    Hop(Position),
    /// Half the first, half the second: the first says that the second failed, and either may be lying.
    Either(Position, Position),
}

impl PathError {
    /// Whom it speaks against.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::GuardUnreachable | Self::GuardClosed | Self::TimedOut => Blame::Hop(Position::Guard),
            Self::Busy | Self::Keys => Blame::Nobody,
            Self::Refused { status: Status::TimeRefused, .. } => Blame::Nobody,
            Self::Refused { position, status, .. } if status.blames_next() => between(*position),
            Self::Refused { position, .. } => Blame::Hop(*position),
            Self::Forged { position: Position::Guard } => Blame::Hop(Position::Guard),
            Self::Forged { position: Position::Middle } => Blame::Either(Position::Guard, Position::Middle),
            Self::Forged { position: Position::Exit } => Blame::Either(Position::Middle, Position::Exit),
        }
    }
}

const fn between(position: Position) -> Blame {
    match position.next() {
        Some(next) => Blame::Either(position, next),
        None => Blame::Hop(position),
    }
}

impl From<BuildFailure> for PathError {
    fn from(failure: BuildFailure) -> Self {
        match (failure.status, failure.minute) {
            (Some(status), Some(minute)) => Self::Refused { position: failure.position, status, minute },
            _ => Self::Forged { position: failure.position },
        }
    }
}

/// How a path ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathEnd {
    /// A hop ended it and says why; of several the deepest.
    Destroyed {
        /// The hop.
        position: Position,
        /// Why.
        reason: DestroyReason,
    },
    /// The guard ended the stream, or the connection with it broke.
    GuardClosed,
    /// The guard takes nothing.
    Stalled,
    /// A cell did not open, or broke a rule; any hop may have done it.
    Violation,
    /// It reached its age, here.
    TooOld,
    /// Nobody uses it any more.
    Closed,
}

impl PathEnd {
    /// Whom it speaks against.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Destroyed { position, reason: DestroyReason::NextClosed } => between(*position),
            Self::Destroyed { position, reason: DestroyReason::ChainBehind } => Blame::Hop(*position),
            Self::Destroyed { .. } | Self::TooOld | Self::Closed | Self::Violation => Blame::Nobody,
            Self::GuardClosed | Self::Stalled => Blame::Hop(Position::Guard),
        }
    }
}

/// Why a stream ended, or could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The exit ended it, or says that the destination did. Never counts against the path.
    #[error("the stream was reset: {0:?}")]
    Reset(ResetReason),
    /// The path ended.
    #[error("the path ended: {0:?}")]
    Path(PathEnd),
    /// The path has as many streams as it can have, or the guard takes nothing at the moment.
    #[error("the path takes no more streams now")]
    Full,
    /// The path is too old for new streams.
    #[error("the path is too old for new streams")]
    TooOld,
    /// First bytes or a destination that a cell does not hold.
    #[error("the destination or its first bytes do not fit a cell")]
    TooLong,
}
