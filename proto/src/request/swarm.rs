//! What a client asks a member of a swarm, or any node, inside a tunnel.

use std::time::Duration;

use super::{
    Authorization, ListRequest, ListenTags, Message, MessageError, Push, Retrieve, SignedDelete, SignedRead, Subscribe,
    at_most,
};
use crate::codec::DecodeError;
use crate::limits::{RECORD_MAX, REQUEST_MAX};
use crate::wire;
use crate::wire::swarm_request;

/// A question to a member of a swarm, or to any node. In the first message of a tunnel are only those that an exit which
/// recorded it may repeat without being told anything or having anything done twice ([`SwarmRequest::may_be_first`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwarmRequest {
    /// Keep an envelope.
    Store {
        /// The record (B4): envelope, nonce, write signature; not looked into.
        record: Vec<u8>,
        /// When the member passes it on.
        publish_order: PublishOrder,
    },
    /// Hand out what is kept at an address.
    Retrieve(SignedRead<Retrieve>),
    /// Erase records.
    Delete(SignedDelete),
    /// Hand out what is kept at an address, and what arrives there later.
    Subscribe(SignedRead<Subscribe>),
    /// The node itself, headers, the node list: what `list` serves to neighbours, for clients that must not be known.
    List(ListRequest),
    /// Any node: hand out what is pushed to these tags, from now on.
    Listen(ListenTags),
    /// Any node: hand this to whoever listens to its tag.
    Push(Push),
}

impl SwarmRequest {
    /// Whether it may be in the first message of a tunnel, which an exit can send again (H4).
    #[must_use]
    pub const fn may_be_first(&self) -> bool {
        match self {
            Self::Store { .. } | Self::Retrieve(_) | Self::Delete(_) | Self::Subscribe(_) | Self::List(_) => true,
            Self::Listen(_) | Self::Push(_) => false,
        }
    }
}

/// A sender stores at three members and numbers them, so that its record is gossiped once and not three times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PublishOrder {
    /// Publishes at once.
    #[default]
    First,
    /// Publishes what it has not seen a second later.
    Second,
    /// Publishes what it has not seen two seconds later. Every member asked beyond the three has this, too.
    Third,
}

impl PublishOrder {
    /// How long the member waits for the record to come by gossip before it publishes it itself.
    #[must_use]
    pub const fn delay(self) -> Duration {
        Duration::from_secs(match self {
            Self::First => 0,
            Self::Second => 1,
            Self::Third => 2,
        })
    }
}

impl From<PublishOrder> for u32 {
    fn from(order: PublishOrder) -> Self {
        match order {
            PublishOrder::First => 0,
            PublishOrder::Second => 1,
            PublishOrder::Third => 2,
        }
    }
}

impl TryFrom<u32> for PublishOrder {
    type Error = DecodeError;

    fn try_from(order: u32) -> Result<Self, DecodeError> {
        match order {
            0 => Ok(Self::First),
            1 => Ok(Self::Second),
            2 => Ok(Self::Third),
            _ => Err(DecodeError::Value("publish order")),
        }
    }
}

impl Message for SwarmRequest {
    type Wire = wire::SwarmRequest;
    const MAX_BYTES: usize = REQUEST_MAX;
}

impl From<SwarmRequest> for wire::SwarmRequest {
    fn from(request: SwarmRequest) -> Self {
        use swarm_request::Kind;
        let kind = match request {
            SwarmRequest::Store { record, publish_order } => {
                Kind::Store(wire::StoreRequest { record, publish_order: publish_order.into() })
            }
            SwarmRequest::Retrieve(signed) => {
                let (key, signature) = Authorization::to_fields(signed.authorization(), &signed.read().address);
                Kind::Retrieve(wire::RetrieveRequest { request: signed.read().to_bytes(), key, signature })
            }
            SwarmRequest::Delete(signed) => {
                let (key, signature) =
                    Authorization::to_fields(Some(signed.authorization()), signed.delete().address());
                Kind::Delete(wire::DeleteRequest { request: signed.delete().to_bytes(), key, signature })
            }
            SwarmRequest::Subscribe(signed) => {
                let (key, signature) = Authorization::to_fields(signed.authorization(), &signed.read().address);
                Kind::Subscribe(wire::SubscribeRequest { request: signed.read().to_bytes(), key, signature })
            }
            SwarmRequest::List(request) => Kind::List(request.into()),
            SwarmRequest::Listen(tags) => Kind::Listen(tags.into()),
            SwarmRequest::Push(push) => Kind::Push(push.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::SwarmRequest> for SwarmRequest {
    type Error = MessageError;

    fn try_from(request: wire::SwarmRequest) -> Result<Self, MessageError> {
        use swarm_request::Kind;
        Ok(match request.kind.ok_or(MessageError::Missing("swarm request"))? {
            Kind::Store(store) => {
                at_most("record", RECORD_MAX, store.record.len())?;
                Self::Store { record: store.record, publish_order: store.publish_order.try_into()? }
            }
            Kind::Retrieve(wire) => Self::Retrieve(SignedRead::from_fields(&wire.request, &wire.key, &wire.signature)?),
            Kind::Delete(wire) => Self::Delete(SignedDelete::from_fields(&wire.request, &wire.key, &wire.signature)?),
            Kind::Subscribe(wire) => {
                Self::Subscribe(SignedRead::from_fields(&wire.request, &wire.key, &wire.signature)?)
            }
            Kind::List(request) => Self::List(request.try_into()?),
            Kind::Listen(tags) => Self::Listen(tags.try_into()?),
            Kind::Push(push) => Self::Push(push.try_into()?),
        })
    }
}
