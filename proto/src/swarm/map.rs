//! The swarms and their members, as a value.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;

use super::ring;
use crate::address::{Address, Position};
use crate::codec::{DecodeError, Reader};
use crate::domain;
use crate::hash::Hasher;
use crate::id::{Hash, NodeId, SwarmId};
use crate::limits::{NMAX, NMIN, NTARGET};

/// The members of one swarm, ascending by node key; shared between the maps of successive blocks.
pub type Members = Arc<[NodeId]>;

/// Which swarms exist, who is in them, and who waits for a place.
///
/// A value: cloning it is cheap, maps of successive blocks share what did not change, and
/// [`begin_block`](Self::begin_block) makes the next from this one. Every map is *settled*, as `begin_block` leaves it
/// and [`from_parts`](Self::from_parts) checks it:
///
/// - a swarm has 5 to 10 members, unless it is the only one: that may have fewer, even none;
/// - a node waits only where there is no place for it: because all swarms are full and the excess of all together with
///   the waiting does not make a new swarm, or because fewer than five nodes exist and no swarm. So at most six wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwarmMap {
    swarms: OrdMap<SwarmId, Members>,
    waiting: Members,
}

impl SwarmMap {
    /// A map from what was stored of it: every swarm with its members in ascending order, and those who wait in their
    /// order.
    ///
    /// # Errors
    /// [`InvalidMap`] if this is no settled map.
    pub fn from_parts(
        swarms: impl IntoIterator<Item = (SwarmId, Vec<NodeId>)>,
        waiting: Vec<NodeId>,
    ) -> Result<Self, InvalidMap> {
        let mut map = Self { swarms: OrdMap::new(), waiting: waiting.into() };
        for (id, members) in swarms {
            if id == SwarmId::NONE || map.swarms.insert(id, members.into()).is_some() {
                return Err(InvalidMap::Id(id));
            }
        }
        map.check()?;
        Ok(map)
    }

    /// A map known to be settled.
    pub(super) fn settled(swarms: OrdMap<SwarmId, Members>, waiting: Members) -> Self {
        Self { swarms, waiting }
    }

    fn check(&self) -> Result<(), InvalidMap> {
        let mut seen = BTreeSet::new();
        if let Some(node) =
            self.iter().flat_map(|(_, members)| members).chain(self.waiting()).find(|n| !seen.insert(*n))
        {
            return Err(InvalidMap::Twice(*node));
        }
        let least = if self.len() > 1 { NMIN } else { 0 };
        for (swarm, members) in self.iter() {
            if !(least..=NMAX).contains(&members.len()) {
                return Err(InvalidMap::Size { swarm, size: members.len() });
            }
            if !members.is_sorted() {
                return Err(InvalidMap::Order(swarm));
            }
        }
        let full = self.swarms.values().all(|members| members.len() == NMAX);
        let excess = self.len() * (NMAX - NTARGET);
        let most = match self.len() {
            0 => NMIN - 1,
            _ if full => (NTARGET - 1).saturating_sub(excess),
            _ => 0,
        };
        if self.waiting.len() > most {
            return Err(InvalidMap::Waiting { waiting: self.waiting.len(), most });
        }
        Ok(())
    }

    /// How many swarms there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.swarms.len()
    }

    /// Whether there is no swarm.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.swarms.is_empty()
    }

    /// The members of a swarm, ascending, if it exists.
    #[must_use]
    pub fn members(&self, id: SwarmId) -> Option<&[NodeId]> {
        self.swarms.get(&id).map(AsRef::as_ref)
    }

    /// Whether `node` is a member of swarm `id`.
    #[must_use]
    pub fn contains(&self, id: SwarmId, node: &NodeId) -> bool {
        self.members(id).is_some_and(|members| members.binary_search(node).is_ok())
    }

    /// The swarm that keeps what is sent to `address`. `None` if there is nobody to keep it: no swarm at all, or a last
    /// one whose members have all left.
    #[must_use]
    pub fn owner(&self, address: &Address) -> Option<SwarmId> {
        self.owner_of(address.position())
    }

    /// The swarm that keeps what lies at `position`, as [`owner`](Self::owner).
    #[must_use]
    pub fn owner_of(&self, position: Position) -> Option<SwarmId> {
        ring::owner_in(position, &self.swarms).filter(|id| self.members(*id).is_some_and(|members| !members.is_empty()))
    }

    /// The swarms with their members, ascending by id.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (SwarmId, &[NodeId])> {
        self.swarms.iter().map(|(id, members)| (*id, members.as_ref()))
    }

    /// The nodes that wait for a place, the first in turn first; at most six.
    #[must_use]
    pub fn waiting(&self) -> &[NodeId] {
        &self.waiting
    }

    /// One hash over the whole map, for comparing nodes; takes time in proportion to the number of nodes.
    #[must_use]
    pub fn digest(&self) -> Hash {
        let lists = self.iter().chain([(SwarmId::NONE, self.waiting())]);
        lists
            .fold(Hasher::new(domain::SWARM_MAP), |hasher, (id, nodes)| {
                hasher.chain(id.0.to_be_bytes()).chain(encode_members(nodes))
            })
            .finish()
    }

    pub(super) const fn swarms(&self) -> &OrdMap<SwarmId, Members> {
        &self.swarms
    }
}

/// The canonical bytes of one swarm's members, or of those who wait: `u16 count ‖ node keys` in the order of the list.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "lists of a settled map hold at most ten nodes")]
pub fn encode_members(nodes: &[NodeId]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 + 32 * nodes.len());
    bytes.extend_from_slice(&(nodes.len() as u16).to_be_bytes());
    nodes.iter().for_each(|node| bytes.extend_from_slice(node.as_bytes()));
    bytes
}

/// Reads what [`encode_members`] wrote; whether the nodes are in order and fit into a map is for
/// [`SwarmMap::from_parts`] to say.
///
/// # Errors
/// [`DecodeError`] if what comes next is not such a list of at most ten nodes.
pub fn read_members(reader: &mut Reader<'_>) -> Result<Vec<NodeId>, DecodeError> {
    let count = usize::from(reader.u16()?);
    if count > NMAX {
        return Err(DecodeError::TooLong { field: "members", limit: NMAX, actual: count });
    }
    (0..count).map(|_| reader.id()).collect()
}

/// Why stored swarms are not a map that a block can have left behind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMap {
    /// An id stands twice, or is the one that no swarm can have.
    #[error("swarm {0} twice, or not an id")]
    Id(SwarmId),
    /// A node stands in two places.
    #[error("node {0} stands in the map twice")]
    Twice(NodeId),
    /// The members are not in ascending order.
    #[error("members of swarm {0} out of order")]
    Order(SwarmId),
    /// A swarm has too few or too many members.
    #[error("swarm {swarm} has {size} members")]
    Size {
        /// The swarm.
        swarm: SwarmId,
        /// Its members.
        size: usize,
    },
    /// More nodes wait than the swarms leave without a place.
    #[error("{waiting} nodes wait where at most {most} can be without a place")]
    Waiting {
        /// How many wait.
        waiting: usize,
        /// How many can.
        most: usize,
    },
}
