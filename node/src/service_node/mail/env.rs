//! What the rules of mail look at, whatever happens.

use sotto_behaviours::status::ClockOffset;
use sotto_proto::address::Address;
use sotto_proto::chain::Params;
use sotto_proto::id::{ChainId, Height, NodeId, RecordId, SwarmId};
use sotto_proto::network::NetworkView;
use sotto_proto::pow::Difficulty;
use sotto_proto::request::{Error, Receipt, SwarmResponse};
use sotto_proto::sign::{SigningKey, Verify};
use sotto_proto::time::{Now, UnixMillis, UnixSeconds};

/// What expired by `now` is not shown; what expired by `sure` is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) now: UnixSeconds,
    pub(super) sure: UnixSeconds,
}

/// How things stand.
#[derive(Clone, Copy)]
pub(in crate::service_node) struct Env<'a> {
    /// The node's key.
    pub(in crate::service_node) key: &'a SigningKey,
    /// The final states.
    pub(in crate::service_node) view: &'a NetworkView,
    /// The chain's parameters.
    pub(in crate::service_node) params: &'a Params,
    /// The time.
    pub(in crate::service_node) now: Now,
    /// How far the own clock is from the others', if that is known.
    pub(in crate::service_node) clock: Option<ClockOffset>,
    /// Whether the database takes writes.
    pub(in crate::service_node) may_write: bool,
    /// Checks signatures.
    pub(in crate::service_node) verify: &'a dyn Verify,
}

impl Times {
    /// A time that is known to be right.
    #[cfg(test)]
    pub(super) const fn sure(now: UnixSeconds) -> Self {
        Self { now, sure: now }
    }
}

impl Env<'_> {
    pub(super) fn me(&self) -> NodeId {
        self.key.node_id()
    }

    pub(super) const fn chain(&self) -> &ChainId {
        &self.view.chain
    }

    /// F.
    pub(super) fn height(&self) -> Height {
        self.view.current().height
    }

    /// Whether the own clock is known to be wrong: nothing is acknowledged then, and nothing deleted.
    pub(super) fn clock_off(&self) -> bool {
        self.clock.is_some_and(|clock| clock.off)
    }

    /// The time: by the own clock, or by the others' if the own is known to be wrong.
    pub(super) fn time(&self) -> UnixSeconds {
        let offset = self.clock.filter(|clock| clock.off).map_or(0, |clock| clock.millis);
        UnixMillis(self.now.wall.0.saturating_add_signed(offset)).seconds()
    }

    /// The time, and one that it is at least: while nobody has said whether the own clock is right, that of the chain.
    pub(super) fn times(&self) -> Times {
        let now = self.time();
        let sure = if self.clock.is_some() { now } else { now.min(self.view.current().time.seconds()) };
        Times { now, sure }
    }

    /// The node's swarm.
    pub(super) fn swarm(&self) -> Option<SwarmId> {
        self.view.current().swarm_of(&self.me())
    }

    /// Whether the node's swarm owns the address.
    pub(super) fn owns(&self, address: &Address) -> bool {
        let owner = self.view.current().swarms.owner(address);
        owner.is_some() && owner == self.swarm()
    }

    /// What to say to a client whose address the node's swarm does not own.
    pub(super) fn not_owner(&self, address: &Address) -> Error {
        match self.view.current().swarms.owner(address) {
            Some(swarm) => Error::WrongSwarm { swarm, height: self.height() },
            None => Error::Busy, // there is no swarm yet, or nobody is left in the last one
        }
    }

    /// What the chain asks for in this swarm, before any surcharge.
    pub(super) fn difficulty(&self) -> Difficulty {
        let least = u32::try_from(self.params.min_difficulty).unwrap_or(u32::MAX);
        Difficulty::new(least).unwrap_or(Difficulty::MIN)
    }

    /// The node's word that it keeps a record.
    pub(super) fn receipt(&self, address: Address, id: RecordId, expiry: UnixSeconds) -> SwarmResponse {
        let receipt = Receipt { node: self.me(), address, id, expiry, height: self.height() };
        SwarmResponse::Stored { receipt, signature: receipt.sign(self.key, self.chain()) }
    }
}
