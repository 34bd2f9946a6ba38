//! What the rules of repair are told, and what they want done.

use std::collections::BTreeSet;

use sotto_proto::id::{Height, ItemId, NodeId, SwarmId};
use sotto_proto::request::{Item, RepairRequest, Scope};
use sotto_proto::time::{Monotonic, UnixSeconds};

use crate::replication::set::ItemSet;

/// What the member is, as it takes the next step.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Its swarm.
    pub swarm: SwarmId,
    /// A final height under whose map the set is the swarm's, known to the neighbours too.
    pub height: Height,
    /// What it holds on disk.
    pub set: &'a ItemSet,
    /// The time since the start.
    pub now: Monotonic,
    /// The time of day.
    pub time: UnixSeconds,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairAct {
    /// Ask this and call [`Repair::answered`](super::Repair::answered).
    Ask {
        /// Whom.
        node: NodeId,
        /// What.
        request: RepairRequest,
    },
    /// Judge and keep these, then call [`Repair::took`](super::Repair::took).
    Take {
        /// Who sent them.
        from: NodeId,
        /// The items.
        items: Vec<Item>,
    },
    /// Read these, as many as fit a page, and call [`Repair::read`](super::Repair::read).
    Read {
        /// Which.
        ids: Vec<ItemId>,
    },
}

/// What became of a page that was fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Which items were in it, those refused among them.
    pub received: BTreeSet<ItemId>,
    /// How many items are new here.
    pub kept: usize,
    /// How many were none, or are such as nobody may send.
    pub refused: usize,
    /// Some could not be judged here and now, and are to be fetched again.
    pub postponed: bool,
}

/// What comparing with another member has told of what is held here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The other member.
    pub node: NodeId,
    /// What was compared.
    pub scope: Scope,
    /// Items of that which it had not on disk. All others that were here from the beginning to the end it had.
    pub lacking: BTreeSet<ItemId>,
}
