//! Protocol `offer`: how a node hands over what another swarm owns now (B10).
//!
//! The node may erase an item only once members of the owning swarm hold it on disk. It names what it holds, is told
//! what of it is wanted, and hands that over; it learns nothing about items that it did not name. What an answer calls
//! durable, or does not want, the member will find again after a loss of power.

use super::repair::{not_none, page_from_wire, page_to_wire};
use super::{Error, Item, Message, MessageError, at_most, joined, split};
use crate::id::ItemId;
use crate::limits::{OFFER_ITEMS, OFFER_REQUEST_MAX, OFFER_RESPONSE_MAX};
use crate::wire;
use crate::wire::{offer_request, offer_response};

/// What a former owner asks a member of the owning swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfferRequest {
    /// Which of these items, 1 to 1,024, do you lack?
    Offer(Vec<ItemId>),
    /// Keep these: 1 to 512 items of at most 512 KiB, which stand for at most 1,024 item ids.
    Hand(Vec<Item>),
}

/// Which of the items of an offer the member lacks: one bit for each id, in the order of the offer. It travels in whole
/// bytes, so what is read may be up to seven longer than what was asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted(Vec<u8>);

impl Wanted {
    /// From one answer for each id.
    #[must_use]
    pub fn new(wanted: impl IntoIterator<Item = bool>) -> Self {
        let mut bytes = Vec::new();
        for (index, wanted) in wanted.into_iter().enumerate() {
            if index.is_multiple_of(8) {
                bytes.push(0);
            }
            if let Some(last) = bytes.last_mut() {
                *last |= u8::from(wanted) << (index % 8);
            }
        }
        Self(bytes)
    }

    /// Whether each of the `ids` of the offer is wanted. `None` if this is an answer about another number of ids: what
    /// it says nothing about must not count as held.
    #[must_use]
    pub fn of(&self, ids: usize) -> Option<impl Iterator<Item = bool>> {
        let bits = self.0.iter().flat_map(|byte| (0..8).map(move |bit| (byte >> bit) & 1 == 1));
        (self.0.len() == ids.div_ceil(8)).then(|| bits.take(ids))
    }
}

/// The answer to an [`OfferRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfferResponse {
    /// To an offer. What is not wanted is on the member's disk.
    Wanted(Wanted),
    /// To a hand-over: the items of it that are on disk now.
    Durable(Vec<ItemId>),
    /// Not served.
    Error(Error),
}

impl Message for OfferRequest {
    type Wire = wire::OfferRequest;
    const MAX_BYTES: usize = OFFER_REQUEST_MAX;
}

impl Message for OfferResponse {
    type Wire = wire::OfferResponse;
    const MAX_BYTES: usize = OFFER_RESPONSE_MAX;
}

impl From<OfferRequest> for wire::OfferRequest {
    fn from(request: OfferRequest) -> Self {
        use offer_request::Kind;
        let kind = match request {
            OfferRequest::Offer(ids) => Kind::Offer(wire::OfferedItems { ids: joined(&ids) }),
            OfferRequest::Hand(items) => Kind::Hand(wire::HandRequest { items: page_to_wire(items) }),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::OfferRequest> for OfferRequest {
    type Error = MessageError;

    fn try_from(request: wire::OfferRequest) -> Result<Self, MessageError> {
        use offer_request::Kind;
        Ok(match request.kind.ok_or(MessageError::Missing("offer request"))? {
            Kind::Offer(offer) => Self::Offer(not_none("ids", split("ids", OFFER_ITEMS, &offer.ids)?)?),
            Kind::Hand(hand) => Self::Hand(not_none("items", page_from_wire(hand.items)?)?),
        })
    }
}

impl From<OfferResponse> for wire::OfferResponse {
    fn from(response: OfferResponse) -> Self {
        use offer_response::Kind;
        let kind = match response {
            OfferResponse::Wanted(wanted) => Kind::Wanted(wire::WantedItems { bitmap: wanted.0 }),
            OfferResponse::Durable(ids) => Kind::Durable(wire::DurableItems { ids: joined(&ids) }),
            OfferResponse::Error(error) => Kind::Error(error.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::OfferResponse> for OfferResponse {
    type Error = MessageError;

    fn try_from(response: wire::OfferResponse) -> Result<Self, MessageError> {
        use offer_response::Kind;
        Ok(match response.kind.ok_or(MessageError::Missing("offer response"))? {
            Kind::Wanted(wanted) => {
                at_most("bitmap", OFFER_ITEMS / 8, wanted.bitmap.len())?;
                Self::Wanted(Wanted(wanted.bitmap))
            }
            Kind::Durable(durable) => Self::Durable(split("ids", OFFER_ITEMS, &durable.ids)?),
            Kind::Error(error) => Self::Error(error.try_into()?),
        })
    }
}
