//! Receipts for a record: what they must be about.

use sotto_proto::address::Address;
use sotto_proto::id::{ChainId, NodeId, RecordId};
use sotto_proto::request::SwarmResponse;
use sotto_proto::sign::Ed25519;
use sotto_proto::time::UnixSeconds;

use crate::network::storing::MemberError;
use crate::store::StoredReceipt;

/// What a receipt must be about.
pub(super) struct Expected {
    pub(super) chain: ChainId,
    pub(super) address: Address,
    pub(super) id: RecordId,
    pub(super) expiry: UnixSeconds,
}

impl Expected {
    /// The receipt in a member's answer, checked.
    pub(super) fn receipt(&self, node: NodeId, answer: SwarmResponse) -> Result<StoredReceipt, MemberError> {
        match answer {
            SwarmResponse::Stored { receipt, signature } => {
                let fits = receipt.node == node
                    && receipt.address == self.address
                    && receipt.id == self.id
                    && receipt.expiry == self.expiry;
                if fits && receipt.verify(&self.chain, &signature, &Ed25519) {
                    Ok(StoredReceipt { receipt, signature })
                } else {
                    Err(MemberError::Nonsense("the receipt does not hold"))
                }
            }
            SwarmResponse::Error(error) => Err(MemberError::Refused(error)),
            _ => Err(MemberError::Nonsense("not an answer to a store")),
        }
    }
}
