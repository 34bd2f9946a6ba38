//! How far the exchange with one member is.

use std::collections::VecDeque;
use std::time::Duration;

use sotto_proto::id::{ItemId, NodeId};
use sotto_proto::request::Scope;
use sotto_proto::time::Monotonic;

use super::page::Page;
use super::patience::Patience;
use crate::replication::session::Session;

/// An exchange whose own disk stood still for this long is given up: a failure should have been heard of long before.
const STALLED: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) node: NodeId,
    pub(super) scope: Scope,
    pub(super) stage: Stage,
    /// Items to fetch.
    pub(super) need: VecDeque<ItemId>,
    /// Items to give.
    pub(super) have: VecDeque<ItemId>,
    /// The session found all there are, and what the other member claimed to have it brought.
    pub(super) complete: bool,
    /// Items that were new here, or left for the other member, since the session.
    pub(super) moved: usize,
    /// Sessions so far.
    pub(super) sessions: usize,
    /// Something of the own set was lost since it began.
    pub(super) doubted: bool,
    /// When it last went on.
    pub(super) moved_at: Monotonic,
    pub(super) patience: Patience,
}

impl Exchange {
    /// Whether the other member is waited for, and not the own disk.
    pub(super) const fn is_asking(&self) -> bool {
        !matches!(self.stage, Stage::Taking(_) | Stage::Reading { .. })
    }

    /// When it is given up unless it goes on before.
    pub(super) const fn until(&self) -> Monotonic {
        self.moved_at.plus(if self.is_asking() { self.patience.left() } else { STALLED })
    }

    /// It goes on.
    pub(super) const fn advance(&mut self, now: Monotonic) {
        if self.is_asking() {
            self.patience.waited(now.since(self.moved_at));
        }
        self.moved_at = now;
    }
}

#[derive(Debug)]
pub(super) enum Stage {
    Comparing(Session),
    Fetching { asked: Vec<ItemId> },
    Taking(Page),
    Reading { asked: Vec<ItemId> },
    Giving { count: usize },
}
