//! What the operator is shown of the mail, beside how much there is. Nothing here says whose it is.

use sotto_behaviours::replication::ItemSet;
use sotto_proto::id::NodeId;
use sotto_proto::time::Monotonic;

use super::Mail;

/// What another member of the swarm said when it was asked whether it has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// When it answered.
    pub at: Monotonic,
    /// Whether it has the same, but for what came in the last seconds and what expires soon.
    pub equal: bool,
}

impl Mail {
    /// How many tombstones there are.
    #[must_use]
    pub fn tombstones(&self) -> usize {
        self.index.tombstone_count()
    }

    /// Records and tombstones on disk that other swarms own: they stay until those have confirmed them, or they expire.
    #[must_use]
    pub fn to_hand_over(&self) -> usize {
        let sets = self.index.sets();
        let others = sets.swarms().filter(|swarm| Some(*swarm) != self.swarm);
        others.filter_map(|swarm| sets.of(swarm)).map(ItemSet::len).sum()
    }

    /// What a member of the own swarm last said of its set; `None` if it has not been asked since the node started or
    /// came into the swarm.
    #[must_use]
    pub fn compared_with(&self, node: &NodeId) -> Option<Comparison> {
        self.replication.compared_with(node)
    }
}
