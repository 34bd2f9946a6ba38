//! What of the node's standing is worth waking somebody for. Pure: two looks at it go in, what happened between them
//! comes out.

use sotto_proto::chain::NodeState;
use sotto_proto::id::SwarmId;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The node does everything it should.
    Ready,
    /// It no longer does.
    NotReady,
    /// The network has taken it out of service.
    Decommissioned,
    /// It has come into a swarm.
    JoinedSwarm(SwarmId),
    /// It is no longer in this swarm.
    LeftSwarm(SwarmId),
    /// Its database takes no more writes.
    DiskFailure,
    /// Its database was damaged; it was moved aside, and what could be read of it is in a new one.
    DatabaseDamaged,
}

impl Happening {
    /// A fixed name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NotReady => "not_ready",
            Self::Decommissioned => "decommissioned",
            Self::JoinedSwarm(_) => "joined_swarm",
            Self::LeftSwarm(_) => "left_swarm",
            Self::DiskFailure => "disk_failure",
            Self::DatabaseDamaged => "database_damaged",
        }
    }

    /// The swarm it is about.
    #[must_use]
    pub const fn swarm(self) -> Option<SwarmId> {
        match self {
            Self::JoinedSwarm(swarm) | Self::LeftSwarm(swarm) => Some(swarm),
            Self::Ready | Self::NotReady | Self::Decommissioned | Self::DiskFailure | Self::DatabaseDamaged => None,
        }
    }
}

/// How the node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Whether it does everything it should.
    pub ready: bool,
    /// Its state, as the status names it.
    pub state: &'static str,
    /// Its swarm.
    pub swarm: Option<SwarmId>,
    /// Whether its database takes no more writes.
    pub disk_failed: bool,
    /// Whether the start found a damaged database.
    pub database_damaged: bool,
}

/// Compares each look with the one before.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    last: Option<Watched>,
}

impl Watch {
    /// What has happened since the last look. The first one tells what is bad or was waited for; being in a swarm is
    /// neither: every start would tell it.
    pub fn look(&mut self, now: Watched) -> Vec<Happening> {
        let first = Watched { ready: false, state: "", swarm: now.swarm, disk_failed: false, database_damaged: false };
        let before = self.last.replace(now).unwrap_or(first);
        let out_of_service = NodeState::Decommissioned.name();
        let (left, joined) = if before.swarm == now.swarm { (None, None) } else { (before.swarm, now.swarm) };
        [
            (now.database_damaged && !before.database_damaged).then_some(Happening::DatabaseDamaged),
            (now.disk_failed && !before.disk_failed).then_some(Happening::DiskFailure),
            (now.state == out_of_service && before.state != out_of_service).then_some(Happening::Decommissioned),
            left.map(Happening::LeftSwarm),
            joined.map(Happening::JoinedSwarm),
            (before.ready && !now.ready).then_some(Happening::NotReady),
            (now.ready && !before.ready).then_some(Happening::Ready),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIVE: Watched =
        Watched { ready: true, state: "active", swarm: Some(SwarmId(7)), disk_failed: false, database_damaged: false };

    #[test]
    fn only_changes_are_told() {
        let mut watch = Watch::default();
        assert_eq!(watch.look(Watched { ready: false, ..ACTIVE }), []);
        assert_eq!(watch.look(ACTIVE), [Happening::Ready]);
        assert_eq!(watch.look(ACTIVE), []);
        assert_eq!(watch.look(Watched { ready: false, ..ACTIVE }), [Happening::NotReady]);
        assert_eq!(watch.look(Watched { ready: false, ..ACTIVE }), []);
    }

    #[test]
    fn a_change_of_swarms_is_leaving_one_and_joining_the_other() {
        let mut watch = Watch::default();
        watch.look(ACTIVE);
        let (old, new) = (SwarmId(7), SwarmId(8));
        let moved = Watched { swarm: Some(new), ..ACTIVE };
        assert_eq!(watch.look(moved), [Happening::LeftSwarm(old), Happening::JoinedSwarm(new)]);
        let out = Watched { ready: false, state: "decommissioned", swarm: None, ..ACTIVE };
        let expected = [Happening::Decommissioned, Happening::LeftSwarm(new), Happening::NotReady];
        assert_eq!(watch.look(out), expected);
        assert_eq!(watch.look(ACTIVE), [Happening::JoinedSwarm(old), Happening::Ready]);
    }

    #[test]
    fn what_is_bad_at_the_start_is_told_at_the_start() {
        let failed = Watched { ready: false, disk_failed: true, state: "decommissioned", ..ACTIVE };
        assert_eq!(Watch::default().look(failed), [Happening::DiskFailure, Happening::Decommissioned]);
        assert_eq!(Watch::default().look(ACTIVE), [Happening::Ready]);
        let mut watch = Watch::default();
        let damaged = Watched { database_damaged: true, ..ACTIVE };
        assert_eq!(watch.look(damaged), [Happening::DatabaseDamaged, Happening::Ready]);
        assert_eq!(watch.look(damaged), [], "once");
    }
}
