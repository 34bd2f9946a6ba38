//! What a member of a swarm, or any node, answers a client, inside a tunnel.

use super::{Error, ListResponse, Message, MessageError, Push, Receipt, at_most, fixed, joined, split};
use crate::codec::DecodeError;
use crate::id::RecordId;
use crate::limits::budget::{RECORDS_BASE, stored_record_bytes};
use crate::limits::{ANSWER_RECORDS, DELETE_IDS, RECORD_MAX, RESPONSE_MAX};
use crate::sign::Signature;
use crate::wire;
use crate::wire::swarm_response;

/// The answer to a [`SwarmRequest`](super::SwarmRequest). After the first one to a subscription more follow, each of
/// them [`Records`]; after that to a listener, each of them [`SwarmResponse::Pushed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwarmResponse {
    /// The envelope is on the node's disk.
    Stored {
        /// The node's word for it.
        receipt: Receipt,
        /// Its signature, not checked.
        signature: Signature,
    },
    /// What is kept at the address after the reader's cursor.
    Records(Records),
    /// Erased.
    Deleted {
        /// All but these: the node does not have them.
        unknown: Vec<RecordId>,
    },
    /// To a question about the node list.
    List(ListResponse),
    /// To a listener: its tags are listened to from now on.
    Listening,
    /// To a listener: something was pushed.
    Pushed(Push),
    /// To a push: it was written to the listener.
    Delivered,
    /// To a push: nobody listens to the tag.
    NoListener,
    /// Not served.
    Error(Error),
}

/// Records of an address in the order in which they came to the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Which database the numbers belong to.
    pub epoch: u64,
    /// The records, ascending by number.
    pub records: Vec<StoredRecord>,
    /// The number to read on from: that of the last record here, or what the reader came with.
    pub next_seq: u64,
    /// There are more right now.
    pub more: bool,
    /// The node still takes over from other members, who may have records that are missing here.
    pub syncing: bool,
}

/// A record and its number at one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// The number of its arrival, from 1.
    pub seq: u64,
    /// The record (B4), not looked into.
    pub record: Vec<u8>,
}

impl Records {
    /// Bytes of the answer with these records in it, at most: what a node goes by while it fills a page. Start with
    /// [`Records::EMPTY_BYTES`] and add [`StoredRecord::encoded_bytes`] for each record.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        Self::EMPTY_BYTES
            + self.records.iter().map(|stored| StoredRecord::encoded_bytes(stored.record.len())).sum::<usize>()
    }

    /// Bytes of the answer without any record, at most.
    pub const EMPTY_BYTES: usize = RECORDS_BASE;
}

impl StoredRecord {
    /// Bytes that a record of `length` bytes adds to the answer, at most.
    #[must_use]
    pub const fn encoded_bytes(length: usize) -> usize {
        stored_record_bytes(length)
    }
}

impl Message for SwarmResponse {
    type Wire = wire::SwarmResponse;
    const MAX_BYTES: usize = RESPONSE_MAX;
}

impl From<SwarmResponse> for wire::SwarmResponse {
    fn from(response: SwarmResponse) -> Self {
        use swarm_response::Kind;
        let kind = match response {
            SwarmResponse::Stored { receipt, signature } => Kind::Store(wire::StoreResponse {
                receipt: receipt.to_bytes(),
                signature: signature.as_bytes().to_vec(),
            }),
            SwarmResponse::Records(records) => Kind::Records(records.into()),
            SwarmResponse::Deleted { unknown } => Kind::Delete(wire::DeleteResponse { unknown: joined(&unknown) }),
            SwarmResponse::List(response) => Kind::List(response.into()),
            SwarmResponse::Listening => Kind::Listening(wire::ListenResponse {}),
            SwarmResponse::Pushed(push) => Kind::Pushed(push.into()),
            SwarmResponse::Delivered => Kind::Push(wire::PushResponse { delivered: true }),
            SwarmResponse::NoListener => Kind::Push(wire::PushResponse { delivered: false }),
            SwarmResponse::Error(error) => Kind::Error(error.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::SwarmResponse> for SwarmResponse {
    type Error = MessageError;

    fn try_from(response: wire::SwarmResponse) -> Result<Self, MessageError> {
        use swarm_response::Kind;
        Ok(match response.kind.ok_or(MessageError::Missing("swarm response"))? {
            Kind::Store(stored) => Self::Stored {
                receipt: Receipt::decode(&stored.receipt)?,
                signature: fixed("signature", &stored.signature)?,
            },
            Kind::Records(records) => Self::Records(records.try_into()?),
            Kind::Delete(deleted) => Self::Deleted { unknown: split("unknown", DELETE_IDS, &deleted.unknown)? },
            Kind::List(response) => Self::List(response.try_into()?),
            Kind::Listening(wire::ListenResponse {}) => Self::Listening,
            Kind::Pushed(push) => Self::Pushed(push.try_into()?),
            Kind::Push(wire::PushResponse { delivered: true }) => Self::Delivered,
            Kind::Push(wire::PushResponse { delivered: false }) => Self::NoListener,
            Kind::Error(error) => Self::Error(error.try_into()?),
        })
    }
}

impl From<Records> for wire::RecordsResponse {
    fn from(records: Records) -> Self {
        let stored = |stored: StoredRecord| wire::StoredRecord { seq: stored.seq, record: stored.record };
        Self {
            epoch: records.epoch,
            records: records.records.into_iter().map(stored).collect(),
            next_seq: records.next_seq,
            more: records.more,
            syncing: records.syncing,
        }
    }
}

impl TryFrom<wire::RecordsResponse> for Records {
    type Error = MessageError;

    fn try_from(response: wire::RecordsResponse) -> Result<Self, MessageError> {
        at_most("records", ANSWER_RECORDS, response.records.len())?;
        if !response.records.is_sorted_by(|a, b| a.seq < b.seq) {
            return Err(DecodeError::Value("records (not ascending)").into());
        }
        if response.records.last().is_some_and(|last| last.seq > response.next_seq) {
            return Err(DecodeError::Value("next number").into());
        }
        let records = response.records.into_iter().map(StoredRecord::try_from).collect::<Result<_, _>>()?;
        Ok(Self {
            epoch: response.epoch,
            records,
            next_seq: response.next_seq,
            more: response.more,
            syncing: response.syncing,
        })
    }
}

impl TryFrom<wire::StoredRecord> for StoredRecord {
    type Error = MessageError;

    fn try_from(stored: wire::StoredRecord) -> Result<Self, MessageError> {
        at_most("record", RECORD_MAX, stored.record.len())?;
        if stored.seq == 0 || stored.record.is_empty() {
            return Err(DecodeError::Value("record").into());
        }
        Ok(Self { seq: stored.seq, record: stored.record })
    }
}
