//! What a client knows of the nodes: the list it last checked, and the swarms that follow from it.

use std::collections::BTreeMap;
use std::time::Duration;

use sotto_proto::address::Address;
use sotto_proto::chain::{Params, SignedHeader};
use sotto_proto::id::{NodeId, SwarmId};
use sotto_proto::network::NodeList;
use sotto_proto::swarm::SwarmMap;
use sotto_proto::time::UnixMillis;

use super::NetworkList;

/// The list is checked anew after this part of the key rotation period.
const REFRESH_PART: u64 = 24;
/// A list older than five sixths of the period may hold no key that is still good: it comes from the guard directly.
const STALE: (u64, u64) = (5, 6);

/// The node list with what follows from it.
#[derive(Clone, Debug)]
pub struct Directory {
    header: SignedHeader,
    nodes: NodeList,
    swarms: SwarmMap,
    /// When it was checked, by this machine's clock.
    fetched: UnixMillis,
    /// Whether three nodes agreed on it, each asked through a path; not so after a first launch.
    agreed: bool,
}

/// A list that is none: it puts a node into two swarms, or a swarm where none can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node list makes no swarms")]
pub struct NoSwarms;

/// How old a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// It serves.
    Fresh,
    /// It serves, but should be checked anew before long-lasting work.
    Old,
    /// Its keys may be gone.
    Stale,
}

impl Directory {
    /// A list that was checked against its header.
    ///
    /// # Errors
    /// [`NoSwarms`] if no swarms follow from it, which no list that a chain made can be.
    pub fn new(header: SignedHeader, nodes: NodeList, fetched: UnixMillis, agreed: bool) -> Result<Self, NoSwarms> {
        let mut members: BTreeMap<SwarmId, Vec<NodeId>> = BTreeMap::new();
        for record in nodes.values() {
            if let Some(swarm) = record.swarm {
                members.entry(swarm).or_default().push(record.node);
            }
        }
        let swarms = SwarmMap::from_parts(members, Vec::new()).map_err(|_| NoSwarms)?;
        Ok(Self { header, nodes, swarms, fetched, agreed })
    }

    /// The list of a first launch, from one bootstrap node.
    ///
    /// # Errors
    /// As [`Directory::new`].
    pub fn first(list: NetworkList, fetched: UnixMillis) -> Result<Self, NoSwarms> {
        Self::new(list.header, list.nodes, fetched, false)
    }

    /// The header that the list was checked against.
    #[must_use]
    pub const fn header(&self) -> &SignedHeader {
        &self.header
    }

    /// The list.
    #[must_use]
    pub const fn nodes(&self) -> &NodeList {
        &self.nodes
    }

    /// The swarms.
    #[must_use]
    pub const fn swarms(&self) -> &SwarmMap {
        &self.swarms
    }

    /// When it was checked.
    #[must_use]
    pub const fn fetched(&self) -> UnixMillis {
        self.fetched
    }

    /// Whether three nodes agreed on it.
    #[must_use]
    pub const fn agreed(&self) -> bool {
        self.agreed
    }

    /// The swarm that keeps an address' mail.
    #[must_use]
    pub fn owner(&self, address: &Address) -> Option<SwarmId> {
        self.swarms.owner(address)
    }

    /// The members of a swarm.
    #[must_use]
    pub fn members(&self, swarm: SwarmId) -> &[NodeId] {
        self.swarms.members(swarm).unwrap_or_default()
    }

    /// How old the list is. A clock that went back makes it old.
    #[must_use]
    pub fn age(&self, params: &Params, now: UnixMillis) -> Age {
        let period = Duration::from_secs(params.key_rotation_s);
        let age = Duration::from_millis(now.distance(self.fetched));
        let stale = period.saturating_mul(STALE.0 as u32) / STALE.1 as u32;
        if age > stale {
            Age::Stale
        } else if age > period / REFRESH_PART as u32 || now < self.fetched {
            Age::Old
        } else {
            Age::Fresh
        }
    }
}
