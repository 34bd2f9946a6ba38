//! What the chain should say of this node and does not: each becomes a transaction.
//!
//! | duty | wanted while | signed by |
//! | --- | --- | --- |
//! | register | asked to, not registered, addresses and coins there | operator and node |
//! | update address | the record's addresses are not the node's | node |
//! | rotate key | the next X25519 key is on disk and not in the record | node |
//! | uptime proof | none of this epoch yet, and the node's place in the epoch has come | node |

use sotto_chain::State;
use sotto_proto::chain::{NodeState, Payload, ServiceNode as Entry, Transaction, TxBody};
use sotto_proto::id::{Amount, NodeId, PublicKey};

use super::submitter::Duty;
use super::{Identity, KeyRing, Settings, Shown};

/// Why a node that should register cannot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotRegister {
    /// The operator key is somewhere else.
    #[error("the operator key is not in the data directory")]
    NoOperator,
    /// It listens everywhere, which is no address.
    #[error("there is no address to register")]
    NoAddress,
    /// The operator has not the coins.
    #[error("operator {operator} has {available} coins, the stake is {needed}")]
    Coins {
        /// The operator's key.
        operator: PublicKey,
        /// What it has.
        available: Amount,
        /// What it takes.
        needed: Amount,
    },
}

/// What duties follow from.
pub(super) struct Situation<'a> {
    pub(super) tip: &'a State,
    pub(super) identity: &'a Identity,
    pub(super) settings: &'a Settings,
    pub(super) keys: &'a KeyRing,
    pub(super) shown: Option<&'a Shown>,
    /// Whether an unregistered node is to register itself.
    pub(super) register: bool,
}

impl Situation<'_> {
    fn entry(&self) -> Option<&Entry> {
        self.tip.service_node(&self.identity.node.node_id())
    }

    /// Everything wanted now. Of those that count in the node key's nonce only one: the next has another nonce.
    pub(super) fn wanted(&self) -> Vec<(Duty, Payload)> {
        let Some(entry) = self.entry() else {
            let register = self.register.then(|| self.registration().ok()).flatten();
            return register.map(|payload| (Duty::Register, payload)).into_iter().collect();
        };
        if entry.record.state == NodeState::Exiting {
            return Vec::new();
        }
        let change = self.address_change(entry).or_else(|| self.key_change(entry));
        change.into_iter().chain(self.uptime_proof(entry)).collect()
    }

    /// The registration, or why it is not possible.
    pub(super) fn registration(&self) -> Result<Payload, CannotRegister> {
        let operator = self.identity.operator.as_ref().ok_or(CannotRegister::NoOperator)?.public();
        let x25519 = self.keys.current().ok_or(CannotRegister::NoOperator)?;
        if self.settings.addresses.is_empty() {
            return Err(CannotRegister::NoAddress);
        }
        let needed = self.settings.stake.unwrap_or(Amount(self.tip.params().stake));
        let available = self.tip.account(&operator).balance;
        if available < needed {
            return Err(CannotRegister::Coins { operator, available, needed });
        }
        Ok(Payload::Register {
            node: self.identity.node.node_id(),
            x25519,
            stake: needed,
            region: self.settings.region.clone(),
            addresses: self.settings.addresses.clone(),
        })
    }

    fn address_change(&self, entry: &Entry) -> Option<(Duty, Payload)> {
        let addresses = &self.settings.addresses;
        let differs = !addresses.is_empty() && *addresses != entry.record.addresses;
        let payload = || Payload::UpdateAddress { addresses: addresses.clone() };
        (differs && self.may_change(entry.address_changed_at)).then(|| (Duty::UpdateAddress, payload()))
    }

    fn key_change(&self, entry: &Entry) -> Option<(Duty, Payload)> {
        let x25519 = self.keys.to_announce(self.shown?)?;
        self.may_change(entry.key_rotated_at).then_some((Duty::RotateKey, Payload::RotateKey { x25519 }))
    }

    /// The chain takes a change of addresses or key once in half an epoch.
    fn may_change(&self, last: sotto_proto::id::Height) -> bool {
        last.0 == 0 || self.tip.height().next() >= last.plus(self.tip.params().epoch_blocks / 2)
    }

    fn uptime_proof(&self, entry: &Entry) -> Option<(Duty, Payload)> {
        let length = self.tip.params().epoch_blocks;
        let next = self.tip.height().next().0;
        let (epoch, place) = (next.checked_div(length)?, next.checked_rem(length)?);
        let due = entry.proved_epoch < epoch && place >= proof_place(&entry.record.node, length);
        let payload = Payload::UptimeProof { epoch, version: self.settings.version };
        due.then_some((Duty::UptimeProof, payload))
    }

    /// The signed transaction of a payload.
    pub(super) fn sign(&self, payload: Payload) -> Option<Transaction> {
        let node = &self.identity.node;
        let is_registration = matches!(payload, Payload::Register { .. });
        let signer = if is_registration { self.identity.operator.as_ref()? } else { node };
        let nonce = if payload.bears_nonce() { self.tip.account(&signer.public()).nonce } else { 0 };
        let body = TxBody { signer: signer.public(), nonce, fee: Amount(0), payload };
        Some(Transaction::sign(body, signer, is_registration.then_some(node), &self.tip.chain()))
    }
}

/// The block of an epoch from which on a node sends its proof: drawn by its key over the first half, so that neither
/// all come at once nor any too late to be sent again.
fn proof_place(node: &NodeId, epoch_blocks: u64) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&node.as_bytes()[..8]);
    u64::from_be_bytes(first) % (epoch_blocks / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_are_spread_over_the_first_half_of_an_epoch() {
        let place = |byte: u8| proof_place(&NodeId::new(std::array::from_fn(|i| byte.wrapping_mul(i as u8 + 7))), 60);
        let places: std::collections::BTreeSet<u64> = (0..200).map(place).collect();
        assert!(places.len() > 10 && places.iter().all(|place| *place < 30), "{places:?}");
        assert_eq!(proof_place(&NodeId::new([0xff; 32]), 1), 0);
    }
}
